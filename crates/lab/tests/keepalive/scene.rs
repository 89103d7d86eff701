//! A scenario in a few words.

use std::time::Duration;
use tcpalive_keepalive::{
    Errno, Happening, Opened, Options, Params, Peer, Scenario, SetOption, Sight, Step, Sysctl, Time,
};
use tcpalive_lab::play::{self, Comparison, Part};

/// How often a scenario is played again when this host dropped probes of its
/// own accord, under load: such a play says nothing about the prediction.
const ATTEMPTS: u32 = 3;

pub(crate) struct Scene {
    part: Part,
}

/// A connection with these values, whose peer is silent from the beginning.
pub(crate) fn silent(params: &str, until_s: f64) -> Scene {
    let mut scene = alive(params, until_s);
    scene.part.scenario.peer.silent_from = Some(Time::ZERO);
    scene
}

/// A connection with these values, whose peer answers.
pub(crate) fn alive(params: &str, until_s: f64) -> Scene {
    let params: Params = params.parse().unwrap();
    with_options(params.into(), until_s)
}

pub(crate) fn with_options(options: Options, until_s: f64) -> Scene {
    Scene {
        part: Part::from(Scenario {
            until: time(until_s),
            options,
            peer: Peer::default(),
            ..Scenario::default()
        }),
    }
}

impl Scene {
    pub(crate) fn at(mut self, at_s: f64, what: Happening) -> Self {
        let at = time(at_s);
        self.part.scenario.events.push(Step { at, what });
        self
    }

    pub(crate) fn set(self, at_s: f64, option: SetOption) -> Self {
        self.at(at_s, Happening::Set(vec![option]))
    }

    pub(crate) fn peer(mut self, change: impl FnOnce(&mut Peer)) -> Self {
        change(&mut self.part.scenario.peer);
        self
    }

    pub(crate) fn sysctl(mut self, time: i64, interval: i64, probes: i64) -> Self {
        self.part.scenario.sysctl = Sysctl::new(time, interval, probes).unwrap();
        self
    }

    pub(crate) fn accepted(mut self) -> Self {
        self.part.scenario.opened = Opened::Accept;
        self
    }

    pub(crate) fn part(mut self, change: impl FnOnce(&mut Part)) -> Self {
        change(&mut self.part);
        self
    }

    /// Plays it, holds it against prediction and machine, and tells what was
    /// seen on the wire of what belongs to its time: `2 probe 1`, `2.1 answer`, `5 ETIMEDOUT`, each with
    /// the ideal time, which the real one is not before.
    pub(crate) fn seen(self) -> Vec<String> {
        for _ in 0..ATTEMPTS {
            let comparison = self.comparison();
            assert!(comparison.held(), "{comparison:#?}");
            if comparison.congested {
                continue;
            }
            let seen = comparison.rows.iter().filter(|row| row.measured.is_some());
            return seen
                .filter_map(|row| row.predicted)
                .filter(|moment| moment.at <= self.part.scenario.until)
                .map(|moment| format!("{} {}", seconds(moment.at), told(moment.what)))
                .collect();
        }
        panic!("this host dropped probes in each of {ATTEMPTS} plays: it has too much to do");
    }

    pub(crate) fn comparison(&self) -> Comparison {
        let records = play::play(std::slice::from_ref(&self.part)).unwrap();
        let hz = play::ticks_per_second().unwrap();
        Comparison::new(&self.part.scenario, &records[0], hz)
    }

    /// Where the scenario's own prediction does not hold: what was seen and
    /// agrees with the machine, without times.
    pub(crate) fn seen_by_machine(self) -> Vec<String> {
        let comparison = self.comparison();
        let records = comparison.rows.iter().filter_map(|row| row.measured);
        records.map(|moment| kind(moment.what).to_owned()).collect()
    }
}

fn time(seconds: f64) -> Time {
    Time::from_origin(Duration::from_secs_f64(seconds))
}

fn seconds(time: Time) -> f64 {
    time.since_origin().as_secs_f64()
}

fn kind(sight: Sight) -> &'static str {
    match sight {
        Sight::Probe { .. } => "probe",
        Sight::Dropped => "dropped",
        Sight::Answer => "answer",
        Sight::Abort(_) => "abort",
        Sight::Reset { .. } => "reset",
    }
}

fn told(sight: Sight) -> String {
    match sight {
        Sight::Probe { probes_out } => format!("probe {probes_out}"),
        Sight::Abort(abort) => abort.error.to_string(),
        Sight::Reset { error } => format!("reset {error}"),
        other => kind(other).to_owned(),
    }
}

pub(crate) fn idle(seconds: u32) -> SetOption {
    SetOption::Idle(tcpalive_keepalive::Seconds::new(seconds).unwrap())
}

pub(crate) fn interval(seconds: u32) -> SetOption {
    SetOption::Interval(tcpalive_keepalive::Seconds::new(seconds).unwrap())
}

pub(crate) fn count(count: u32) -> SetOption {
    SetOption::Count(tcpalive_keepalive::Count::new(count).unwrap())
}

pub(crate) fn user_timeout(millis: u64) -> SetOption {
    SetOption::UserTimeout(tcpalive_keepalive::UserTimeout::from_millis(millis).unwrap())
}

pub(crate) fn icmp(error: Errno, quotes_probe: bool) -> Happening {
    Happening::IcmpError {
        error,
        quotes_probe,
    }
}
