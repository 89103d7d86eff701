//! Long scenarios made short.

use std::fmt;
use std::time::Duration;
use tcpalive_keepalive::{
    Happening, Options, Peer, Scenario, Seconds, SetOption, Step, Sysctl, Time, UserTimeout,
};

/// A scale that would leave times that no socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleError {
    /// What was asked for.
    pub scale: u32,
    /// What stands in the way, in seconds.
    pub seconds: u64,
    /// The largest scale that would do.
    pub largest: u32,
}

impl fmt::Display for ScaleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scale,
            seconds,
            largest,
        } = self;
        write!(
            f,
            "cannot play the scenario {scale} times as fast: {seconds} s would not be whole seconds, \
             as Linux takes them for idle time and interval; --scale {largest} would do"
        )
    }
}

impl std::error::Error for ScaleError {}

/// The same scenario with all its times divided by `scale`: the options', the
/// sysctls' that are in use, the peer's and the events'. (The kernel's own
/// times stay: half a second between tries of a full queue and between a
/// peer's answers, and the ticks of its timers.)
///
/// # Errors
/// When an idle time or an interval would not be whole seconds, or a user
/// timeout less than a millisecond; a scale of 0.
pub fn scaled(scenario: &Scenario, scale: u32) -> Result<Scenario, ScaleError> {
    let times = whole_seconds(scenario);
    let divides = |scale: u32| {
        scale > 0
            && times
                .iter()
                .all(|seconds| seconds.is_multiple_of(u64::from(scale)))
    };
    let shortest = user_timeouts(scenario).into_iter().min();
    let does = |scale: u32| divides(scale) && shortest.is_none_or(|millis| millis >= scale);
    if !does(scale) {
        let obstacle = times
            .iter()
            .find(|seconds| scale == 0 || !seconds.is_multiple_of(u64::from(scale)))
            .copied()
            .unwrap_or_default();
        let largest = (1..scale).rev().find(|smaller| does(*smaller));
        return Err(ScaleError {
            scale,
            seconds: obstacle,
            largest: largest.unwrap_or(1),
        });
    }
    let scaling = Scaling { scale };
    Ok(Scenario {
        until: scaling.time(scenario.until),
        options: scaling.options(&scenario.options),
        sysctl: scaling.sysctl(scenario, &scenario.sysctl),
        opened: scenario.opened,
        peer: Peer {
            rtt: scenario.peer.rtt / scale,
            silent_from: scenario.peer.silent_from.map(|from| scaling.time(from)),
            resets_from: scenario.peer.resets_from.map(|from| scaling.time(from)),
        },
        events: scenario
            .events
            .iter()
            .map(|step| Step {
                at: scaling.time(step.at),
                what: match &step.what {
                    Happening::Set(options) => {
                        Happening::Set(options.iter().map(|set| scaling.option(*set)).collect())
                    }
                    Happening::Sysctl(sysctl) => {
                        Happening::Sysctl(scaling.sysctl(scenario, sysctl))
                    }
                    other => other.clone(),
                },
            })
            .collect(),
    })
}

/// All times that must stay whole seconds.
fn whole_seconds(scenario: &Scenario) -> Vec<u64> {
    let options = &scenario.options;
    let mut times: Vec<u64> = [options.idle, options.interval]
        .into_iter()
        .flatten()
        .map(|seconds| u64::from(seconds.get()))
        .collect();
    let mut of_sysctl = |sysctl: &Sysctl| {
        if options.idle.is_none() {
            times.push(sysctl.time().as_secs());
        }
        if options.interval.is_none() {
            times.push(sysctl.interval().as_secs());
        }
    };
    of_sysctl(&scenario.sysctl);
    for step in &scenario.events {
        if let Happening::Sysctl(sysctl) = &step.what {
            of_sysctl(sysctl);
        }
    }
    for step in &scenario.events {
        if let Happening::Set(options) = &step.what {
            times.extend(options.iter().filter_map(|option| match option {
                SetOption::Idle(seconds) | SetOption::Interval(seconds) => {
                    Some(u64::from(seconds.get()))
                }
                _ => None,
            }));
        }
    }
    times
}

/// All user timeouts that are not off, in milliseconds.
fn user_timeouts(scenario: &Scenario) -> Vec<u32> {
    let set = scenario.events.iter().flat_map(|step| match &step.what {
        Happening::Set(options) => options.as_slice(),
        _ => &[],
    });
    let set = set.filter_map(|option| match option {
        SetOption::UserTimeout(timeout) => Some(timeout.as_millis()),
        _ => None,
    });
    std::iter::once(scenario.options.user_timeout.as_millis())
        .chain(set)
        .filter(|millis| *millis != 0)
        .collect()
}

/// The division, once it is known to come out even.
struct Scaling {
    scale: u32,
}

impl Scaling {
    fn time(&self, time: Time) -> Time {
        Time::from_origin(time.since_origin() / self.scale)
    }

    fn seconds(&self, seconds: Seconds) -> Seconds {
        Seconds::new(u32::from(seconds.get()) / self.scale).unwrap_or(seconds)
    }

    fn user_timeout(&self, timeout: UserTimeout) -> UserTimeout {
        UserTimeout::from_millis(u64::from(timeout.as_millis() / self.scale)).unwrap_or(timeout)
    }

    fn options(&self, options: &Options) -> Options {
        Options {
            idle: options.idle.map(|idle| self.seconds(idle)),
            interval: options.interval.map(|interval| self.seconds(interval)),
            user_timeout: self.user_timeout(options.user_timeout),
            ..*options
        }
    }

    fn option(&self, option: SetOption) -> SetOption {
        match option {
            SetOption::Idle(idle) => SetOption::Idle(self.seconds(idle)),
            SetOption::Interval(interval) => SetOption::Interval(self.seconds(interval)),
            SetOption::UserTimeout(timeout) => SetOption::UserTimeout(self.user_timeout(timeout)),
            other => other,
        }
    }

    /// Values that the socket has of its own stand for the namespace's, which
    /// then stay as they are.
    fn sysctl(&self, scenario: &Scenario, sysctl: &Sysctl) -> Sysctl {
        let shorter = |time: Duration, in_use: bool| {
            let divisor = if in_use { u64::from(self.scale) } else { 1 };
            i64::try_from(time.as_secs() / divisor).unwrap_or(i64::MAX)
        };
        Sysctl::new(
            shorter(sysctl.time(), scenario.options.idle.is_none()),
            shorter(sysctl.interval(), scenario.options.interval.is_none()),
            i64::from(sysctl.probes()),
        )
        .unwrap_or(*sysctl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_keepalive::Params;

    fn scenario(params: &str) -> Scenario {
        let params: Params = params.parse().unwrap();
        Scenario {
            until: Time::from_secs(200),
            options: params.into(),
            ..Scenario::default()
        }
    }

    #[test]
    fn all_times_are_divided() {
        let mut article = scenario("10/20/5/30s");
        article.peer.silent_from = Some(Time::from_secs(30));
        article.events.push(Step {
            at: Time::from_secs(5),
            what: Happening::Set(vec![SetOption::Idle(Seconds::new(20).unwrap())]),
        });
        let short = scaled(&article, 10).unwrap();
        let expected: Params = "1/2/5/3s".parse().unwrap();
        assert_eq!(short.options, expected.into());
        assert_eq!(short.until, Time::from_secs(20));
        assert_eq!(short.peer.silent_from, Some(Time::from_secs(3)));
        assert_eq!(short.events[0].at, Time::from_millis(500));
        assert_eq!(
            short.events[0].what,
            Happening::Set(vec![SetOption::Idle(Seconds::new(2).unwrap())])
        );
        // The socket has values of its own: the namespace's are not in use.
        assert_eq!(short.sysctl, Sysctl::LINUX);
    }

    #[test]
    fn sysctls_in_use_are_divided_too() {
        let default = Scenario {
            options: Options::ON,
            ..Scenario::default()
        };
        let short = scaled(&default, 75).unwrap();
        assert_eq!(short.sysctl, Sysctl::new(96, 1, 9).unwrap());
    }

    #[test]
    fn scale_that_does_not_come_out_even_says_which_would_do() {
        let error = scaled(&scenario("10/75/9"), 10).unwrap_err();
        assert_eq!((error.seconds, error.largest), (75, 5));
        assert!(error.to_string().contains("--scale 5 would do"), "{error}");
        assert_eq!(scaled(&scenario("10/20/5"), 0).unwrap_err().largest, 1);
        // A user timeout is milliseconds, one at least.
        let error = scaled(&scenario("10/20/5/7ms"), 10).unwrap_err();
        assert_eq!(error.largest, 5);
    }
}
