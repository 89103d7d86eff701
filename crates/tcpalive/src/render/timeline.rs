//! A life as rows in time order: what the text and the drawing share.

use super::sim::{Life, Seen, seconds};
use super::units::Count;
use std::time::Duration;
use tcpalive_keepalive::{Happening, Moment, Peer, Reaction, SetOption, Sight, Step, Time, Timing};

/// One row of a timeline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) at: Time,
    pub(crate) arrow: Arrow,
    pub(crate) says: String,
}

/// Where something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrow {
    /// From this host to the peer.
    Sent,
    /// From this host, and the peer never gets it.
    Lost,
    /// From the peer, and this host never gets it.
    LostBack,
    /// From either to the other.
    Both,
    /// From the peer to this host.
    Received,
    /// At this host.
    Here,
    /// At the peer.
    There,
    /// Many rows that are alike.
    Skip,
}

/// All that happened in a life, from its establishment to its end.
pub(crate) fn rows(life: &Life<'_>) -> Vec<Row> {
    let end = life.end.by.map_or(life.scenario.until, |last| last.at);
    let mut rows = vec![established(life)];
    rows.extend(
        peer_changes(&life.scenario.peer)
            .into_iter()
            .filter(|row| row.at <= end),
    );
    let steps = life.scenario.events.iter().filter(|step| step.at <= end);
    rows.extend(steps.map(|step| event(step, &life.scenario.peer)));
    rows.extend(life.seen.iter().map(|seen| row(life, seen)));
    // Stable: among equals, events stand before what follows from them.
    rows.sort_by_key(|row| row.at);
    rows.push(ending(life, end));
    rows
}

fn established(life: &Life<'_>) -> Row {
    let options = life.scenario.options;
    let timing = options.timing(&life.scenario.sysctl);
    let says = if options.enabled {
        let timeout = match timing.user_timeout {
            Some(timeout) => format!(", user timeout {timeout:?}"),
            None => String::new(),
        };
        format!(
            "established, keep-alive {}/{}/{}{timeout}",
            timing.idle.as_secs(),
            timing.interval.as_secs(),
            timing.count
        )
    } else {
        "established, keep-alive off".to_owned()
    };
    Row {
        at: Time::ZERO,
        arrow: Arrow::Here,
        says,
    }
}

fn peer_changes(peer: &Peer) -> Vec<Row> {
    let row = |at: Option<Time>, says: &str| {
        at.map(|at| Row {
            at,
            arrow: Arrow::There,
            says: says.to_owned(),
        })
    };
    [
        row(peer.silent_from, "the peer falls silent"),
        row(
            peer.resets_from,
            "the peer knows nothing of the connection any more",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn event(step: &Step, peer: &Peer) -> Row {
    let to_peer = match peer.reaction(step.at) {
        Reaction::Silent => Arrow::Lost,
        Reaction::Answers | Reaction::Resets => Arrow::Sent,
    };
    let (arrow, says) = match &step.what {
        Happening::ReceiveData => (Arrow::Received, "data".to_owned()),
        Happening::ReceiveAck => (Arrow::Received, "ACK".to_owned()),
        Happening::ReceiveProbe => (Arrow::Received, "the peer's own probe, empty".to_owned()),
        Happening::ReceiveGarbageProbe => (
            Arrow::Received,
            "the peer's own probe with a garbage byte".to_owned(),
        ),
        Happening::ReceiveOutOfOrder => (Arrow::Received, "data that leave a gap".to_owned()),
        Happening::ReceiveOldAck => (Arrow::Received, "an old ACK".to_owned()),
        Happening::ReceiveFutureAck => {
            let says = "an ACK for what was never sent";
            (Arrow::Received, says.to_owned())
        }
        Happening::SendData { acked: true } => (Arrow::Sent, "data, acknowledged".to_owned()),
        Happening::SendData { acked: false } => {
            (Arrow::Lost, "data, never acknowledged".to_owned())
        }
        Happening::Set(options) => {
            let options: Vec<String> = options.iter().map(setsockopt).collect();
            (Arrow::Here, options.join(", "))
        }
        Happening::Sysctl(sysctl) => (
            Arrow::Here,
            format!(
                "sysctl tcp_keepalive_time={}, intvl={}, probes={}",
                sysctl.time().as_secs(),
                sysctl.interval().as_secs(),
                sysctl.probes()
            ),
        ),
        Happening::IcmpError {
            error,
            quotes_probe,
        } => {
            let about = if *quotes_probe {
                "a probe: ignored"
            } else {
                "an ordinary segment: remembered"
            };
            (Arrow::Received, format!("ICMP {error} about {about}"))
        }
        Happening::QueueFull => (Arrow::Here, "this host's queue is full".to_owned()),
        Happening::QueueDrained => (Arrow::Here, "this host's queue has room again".to_owned()),
        Happening::PeerCloses => (Arrow::Received, "FIN: the peer closes its side".to_owned()),
        Happening::Shutdown => (to_peer, "FIN: the program shuts its side down".to_owned()),
        Happening::Close => (to_peer, "FIN: the program closes the connection".to_owned()),
        other => (Arrow::Here, format!("{other:?}")),
    };
    Row {
        at: step.at,
        arrow,
        says,
    }
}

fn setsockopt(option: &SetOption) -> String {
    match option {
        SetOption::KeepAlive(on) => format!("SO_KEEPALIVE={}", u8::from(*on)),
        SetOption::Idle(idle) => format!("TCP_KEEPIDLE={}", idle.get()),
        SetOption::Interval(interval) => format!("TCP_KEEPINTVL={}", interval.get()),
        SetOption::Count(count) => format!("TCP_KEEPCNT={}", count.get()),
        SetOption::UserTimeout(timeout) => format!("TCP_USER_TIMEOUT={}", timeout.as_millis()),
    }
}

fn row(life: &Life<'_>, seen: &Seen) -> Row {
    match seen {
        Seen::Moment(moment, timing) => sight(life, moment, timing),
        Seen::Answered {
            first,
            last,
            probes,
        } => Row {
            at: *first,
            arrow: Arrow::Skip,
            says: match probes {
                1 => "1 more probe, answered".to_owned(),
                _ => format!(
                    "{} more probes, each answered, the last at {} s",
                    Count(*probes),
                    seconds(*last)
                ),
            },
        },
    }
}

fn sight(life: &Life<'_>, moment: &Moment, timing: &Timing) -> Row {
    let silent = life.scenario.peer.reaction(moment.at) == Reaction::Silent;
    let to_peer = if silent { Arrow::Lost } else { Arrow::Sent };
    let (arrow, says) = match moment.what {
        Sight::Probe { probes_out } => (to_peer, probe(probes_out, timing)),
        Sight::Dropped => (
            Arrow::Here,
            "a probe, dropped by this host's own queue: not counted".to_owned(),
        ),
        Sight::Answer => (Arrow::Received, "answer".to_owned()),
        Sight::Abort(abort) => (
            to_peer,
            format!("RST|ACK, the program gets {}", abort.error),
        ),
        Sight::Reset { error } => (Arrow::Received, format!("RST, the program gets {error}")),
    };
    Row {
        at: moment.at,
        arrow,
        says,
    }
}

fn probe(probes_out: u8, timing: &Timing) -> String {
    match timing.user_timeout {
        None => format!("probe {probes_out} of {}", timing.count),
        Some(timeout) => format!("probe {probes_out}, until {timeout:?} of silence"),
    }
}

fn ending(life: &Life<'_>, at: Time) -> Row {
    let probes = match life.end.probes {
        0 => "no probe".to_owned(),
        1 => "1 probe".to_owned(),
        probes => format!("{} probes", Count(probes)),
    };
    let state = life.end.state();
    let says = match life.end.by {
        None => format!("{state} after {probes}"),
        Some(last) => {
            let silence = short(last.at.since(life.end.heard));
            format!("{state} after {probes}, {silence} s after the peer was last heard")
        }
    };
    Row {
        at,
        arrow: Arrow::Here,
        says,
    }
}

fn short(duration: Duration) -> String {
    seconds(Time::from_origin(duration))
}
