//! A life as rows in time order: what the text and the drawing share.

use super::sim::{Life, seconds};
use std::time::Duration;
use tcpalive_keepalive::{Happening, Moment, Peer, Reaction, SetOption, Sight, Step, Time, Timing};

/// So many answered probes in a row are shown one by one before the rest is
/// told in one row.
const SHOWN: usize = 3;

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
    let end = match life.moments.last() {
        Some((last, _)) if life.state() == "closed" && is_end(last) => last.at,
        _ => life.scenario.until,
    };
    let mut rows = vec![established(life)];
    rows.extend(
        peer_changes(&life.scenario.peer)
            .into_iter()
            .filter(|row| row.at <= end),
    );
    let steps = life.scenario.events.iter().filter(|step| step.at <= end);
    rows.extend(steps.map(|step| event(step, &life.scenario.peer)));
    seen(life, &mut rows);
    // Stable: among equals, events stand before what follows from them.
    rows.sort_by_key(|row| row.at);
    rows.push(ending(life, end));
    rows
}

fn is_end(moment: &Moment) -> bool {
    matches!(moment.what, Sight::Abort(_) | Sight::Reset { .. })
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

/// What was seen, with long runs of answered probes told in one row.
fn seen(life: &Life<'_>, rows: &mut Vec<Row>) {
    let moments = &life.moments;
    let mut index = 0;
    while index < moments.len() {
        let run = answered_run(&moments[index..]);
        if run > SHOWN + 1 {
            let shown = index + 2 * SHOWN;
            let after = index + 2 * run;
            rows.extend(moments[index..shown].iter().map(|seen| sight(life, seen)));
            let (first, last) = (moments[shown].0.at, moments[after - 2].0.at);
            rows.push(Row {
                at: first,
                arrow: Arrow::Skip,
                says: format!(
                    "{} more probes, each answered, the last at {} s",
                    run - SHOWN,
                    seconds(last)
                ),
            });
            index = after;
        } else {
            rows.push(sight(life, &moments[index]));
            index += 1;
        }
    }
}

/// How many probes follow each other, each with its answer and nothing
/// of the scenario's in between.
fn answered_run(moments: &[(Moment, Timing)]) -> usize {
    let answered = |pair: &[(Moment, Timing)]| {
        matches!(pair[0].0.what, Sight::Probe { probes_out: 1 }) && pair[1].0.what == Sight::Answer
    };
    let pairs = moments.chunks_exact(2);
    pairs.take_while(|pair| answered(pair)).count()
}

fn sight(life: &Life<'_>, (moment, timing): &(Moment, Timing)) -> Row {
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

fn ending(life: &Life<'_>, end: Time) -> Row {
    let probes = match life.probes() {
        0 => "no probe".to_owned(),
        1 => "1 probe".to_owned(),
        probes => format!("{probes} probes"),
    };
    let says = match life.moments.last() {
        Some((last, _)) if is_end(last) => {
            let silence = last.at.since(life.heard);
            format!(
                "closed after {probes}, {} s after the peer was last heard",
                short(silence)
            )
        }
        _ => format!("{} after {probes}", life.state()),
    };
    Row {
        at: end,
        arrow: Arrow::Here,
        says,
    }
}

fn short(duration: Duration) -> String {
    seconds(Time::from_origin(duration))
}
