//! Which values fit a wish.
//!
//! [`Wish::plan`] chooses them, or says why none can fit ([`Impossible`]) and
//! what would. A plan keeps all of these rules, the kernel's lateness included:
//!
//! * A peer that died is noticed in time ([`Wish::detect_within`]).
//! * A quiet connection is never quiet for more than [`SHARE_OF_PATH`] of the
//!   shortest idle timeout on its way, and when the probe that should have
//!   refreshed it is lost, the next one still comes before the timeout.
//! * The interval is no longer than the idle time. The timer is lazy: with a
//!   longer one, an interval could pass before the first probe.
//! * The interval is [`ROUND_TRIPS`] round trips or more: an answer that is on
//!   its way is not missed.
//! * At least [`LEAST_COUNT`] probes: one lost answer is not death (RFC 9293
//!   §3.8.4, MUST-29).
//! * The user timeout passes at the very fire at which the count would end the
//!   connection, however late the kernel's timers are. With a user timeout the
//!   count is not looked at, so the two must agree.

mod impossible;
#[cfg(test)]
mod properties;

pub use impossible::Impossible;

use crate::detection::{Hz, Timing};
use crate::params::{Count, Params, Seconds, UserTimeout};
use core::time::Duration;

/// How much of the shortest idle timeout on the way a quiet connection may
/// stay quiet: four fifths, in hundredths. The rest is for a probe that is
/// lost, for the next one, and for timers of boxes that are coarse.
pub const SHARE_OF_PATH: u32 = 80;

/// The fewest probes. RFC 9293 forbids to call a peer dead for one that was
/// not answered; with three, two may be lost.
pub const LEAST_COUNT: u8 = 3;

/// The interval is so many round trips at least.
pub const ROUND_TRIPS: u32 = 4;

/// The round-trip time that is assumed when none is known: the other side of
/// the world, with some queueing.
pub const ASSUMED_RTT: Duration = Duration::from_millis(250);

/// What is assumed to forget a quiet connection when neither a detection time
/// nor an idle timeout is wished: 240 s, the shortest default of the large
/// clouds' load balancers and NAT gateways that probes refresh.
pub const ASSUMED_IDLE_TIMEOUT: Duration = Duration::from_secs(240);

/// No plan waits longer before the first probe: Linux's default, and the least
/// that RFC 9293 (MUST-28) allows for a default.
pub const LONGEST_IDLE: u32 = 7200;

/// Counts in the order in which they are tried: more probes forgive more losses.
const COUNTS: [u8; 3] = [5, 4, LEAST_COUNT];

/// What the values have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The latest that the death of a peer may be noticed, counted from the
    /// last segment that was heard, lateness of the kernel included.
    pub detect_within: Option<Duration>,
    /// What forgets or ends quiet connections on the way.
    pub idle_timeouts: &'a [IdleTimeout],
    /// The longest round-trip time to expect.
    pub rtt: Duration,
    /// The kernel's ticks per second.
    pub hz: Hz,
}

impl Default for Wish<'_> {
    /// Nothing wished: [`ASSUMED_IDLE_TIMEOUT`], [`ASSUMED_RTT`], Debian's kernel.
    fn default() -> Self {
        Self {
            detect_within: None,
            idle_timeouts: &[],
            rtt: ASSUMED_RTT,
            hz: Hz::DEBIAN,
        }
    }
}

/// Something on the way that lets go of connections that are quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimeout {
    /// After so long.
    pub after: Duration,
    /// Whether a keep-alive probe counts. To a proxy that reads the stream it
    /// does not: a probe carries no data.
    pub refreshed_by_probes: bool,
}

/// What decided the idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// The detection time that was wished: half of it is for silence, the
    /// other half for asking.
    Detection,
    /// The idle timeout with this index in [`Wish::idle_timeouts`].
    IdleTimeout(usize),
    /// [`ASSUMED_IDLE_TIMEOUT`], since nothing was wished.
    Assumption,
    /// [`LONGEST_IDLE`]: what was wished would allow more.
    Longest,
}

/// Values that fit a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The values, a user timeout included.
    pub params: Params,
    /// What decided the idle time.
    pub decided_by: DecidedBy,
    rules: Rules,
}

impl Wish<'_> {
    /// Chooses values.
    ///
    /// Half of the detection time is given to silence and half to asking, so
    /// that an outage of nearly half of it ends no connection; the idle time
    /// shrinks to what the way demands.
    ///
    /// # Errors
    /// Why no values can do it, with what would be possible.
    pub fn plan(&self) -> Result<Plan, Impossible> {
        let shortest = self.shortest_idle_timeout()?;
        let mut rules = Rules {
            detect_within: self.detect_within,
            idle_timeout: match (shortest, self.detect_within) {
                (Some((_, after)), _) => Some(after),
                (None, None) => Some(ASSUMED_IDLE_TIMEOUT),
                (None, Some(_)) => None,
            },
            rtt: self.rtt,
            hz: self.hz,
        };
        let nothing_wished = shortest.is_none() && self.detect_within.is_none();
        if nothing_wished && rules.least().is_err() {
            // What is assumed cannot make anything impossible.
            rules.idle_timeout = None;
        }
        let least = rules.least()?;
        let (highest, decided_by) = rules.highest_idle(shortest.map(|(index, _)| index));
        let highest = round(highest).max(least.idle.get().into());
        let chosen = (u32::from(least.idle.get())..=highest)
            .rev()
            .find_map(|idle| rules.choose(idle));
        Ok(Plan {
            // The least values keep every rule that they keep alone.
            params: chosen.unwrap_or(least),
            decided_by,
            rules,
        })
    }

    fn shortest_idle_timeout(&self) -> Result<Option<(usize, Duration)>, Impossible> {
        for (index, timeout) in self.idle_timeouts.iter().enumerate() {
            if !timeout.refreshed_by_probes {
                return Err(Impossible::NotRefreshed {
                    index,
                    after: timeout.after,
                });
            }
        }
        let all = self.idle_timeouts.iter().map(|it| it.after).enumerate();
        Ok(all.min_by_key(|(_, after)| *after))
    }
}

/// The wish in a form that values are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    detect_within: Option<Duration>,
    idle_timeout: Option<Duration>,
    rtt: Duration,
    hz: Hz,
}

impl Rules {
    /// The values with the shortest detection and the shortest silence that
    /// the round-trip time allows; whether they fit decides what is possible.
    fn least(&self) -> Result<Params, Impossible> {
        let shortest_interval = self.shortest_interval();
        let candidates = shortest_interval..=u32::from(Seconds::MAX.get());
        let least = candidates
            .filter_map(|interval| params(interval, interval, LEAST_COUNT))
            .find(|params| self.ends_after_its_count(params))
            .ok_or(Impossible::RoundTripTooLong {
                rtt: self.rtt,
                longest: Seconds::MAX.duration() / ROUND_TRIPS,
            })?;
        // The way first: no other detection time would mend it, while the one
        // that is named for a wish too fast must do.
        if let Some(after) = self.idle_timeout
            && !self.keeps_the_way_open(&least)
        {
            let quiet = self.quiet(&least);
            let share = quiet * 100 / SHARE_OF_PATH;
            return Err(Impossible::ForgetsTooSoon {
                after,
                at_least: up_to_tenths(share.max(self.quiet_after_a_loss(&least))),
                rtt: self.rtt,
            });
        }
        if let Some(wished) = self.detect_within
            && !self.detects_in_time(&least)
        {
            return Err(Impossible::TooFast {
                wished,
                at_least: up_to_tenths(detection(&least.timing(), self.hz)),
                rtt: self.rtt,
            });
        }
        Ok(least)
    }

    /// The longest idle time that may do, and what decided it.
    fn highest_idle(&self, shortest: Option<usize>) -> (u32, DecidedBy) {
        let mut highest = (LONGEST_IDLE, DecidedBy::Longest);
        if let Some(within) = self.detect_within {
            let half = u32::try_from(within.as_secs() / 2).unwrap_or(u32::MAX);
            if half < highest.0 {
                highest = (half, DecidedBy::Detection);
            }
        }
        if self.idle_timeout.is_some() {
            let fits = |idle: &u32| {
                params(*idle, 1, LEAST_COUNT).is_some_and(|it| self.is_within_share(&it))
            };
            let decided_by = shortest.map_or(DecidedBy::Assumption, DecidedBy::IdleTimeout);
            match (1..=highest.0).rev().find(fits) {
                Some(idle) if idle < highest.0 => highest = (idle, decided_by),
                _ => {}
            }
        }
        highest
    }

    /// The values for an idle time, if any fit: first a third of it at the
    /// most as interval (a fifth when there is no hurry), then longer ones.
    fn choose(&self, idle: u32) -> Option<Params> {
        let shortest = self.shortest_interval();
        let part = if self.detect_within.is_some() { 3 } else { 5 };
        COUNTS.into_iter().find_map(|count| {
            let longest = self.longest_interval(idle, count);
            let preferred = (idle / part).max(shortest).min(longest);
            let down = (shortest..=preferred).rev();
            let up = preferred + 1..=longest;
            let chosen = down
                .chain(up)
                .find(|interval| self.allows(idle, *interval, count))?;
            let rounded = round(chosen).max(shortest);
            let interval = match self.allows(idle, rounded, count) {
                true => rounded,
                false => chosen,
            };
            params(idle, interval, count)
        })
    }

    /// An interval that is longer than this cannot fit; it saves looking.
    fn longest_interval(&self, idle: u32, count: u8) -> u32 {
        let whole = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let mut longest = idle;
        if let Some(within) = self.detect_within {
            longest = longest.min(whole(within).saturating_sub(idle) / u32::from(count));
        }
        if let Some(after) = self.idle_timeout {
            longest = longest.min(whole(after).saturating_sub(idle));
        }
        longest
    }

    /// Whole seconds, one at least.
    fn shortest_interval(&self) -> u32 {
        let round_trips = self.rtt.saturating_mul(ROUND_TRIPS);
        let whole = round_trips.as_nanos().div_ceil(1_000_000_000);
        u32::try_from(whole).unwrap_or(u32::MAX).max(1)
    }

    fn allows(&self, idle: u32, interval: u32, count: u8) -> bool {
        params(idle, interval, count).is_some_and(|params| {
            interval <= idle
                && interval >= self.shortest_interval()
                && self.ends_after_its_count(&params)
                && self.detects_in_time(&params)
                && self.keeps_the_way_open(&params)
        })
    }

    fn ends_after_its_count(&self, params: &Params) -> bool {
        ends_after_its_count(&params.timing(), self.hz)
    }

    fn detects_in_time(&self, params: &Params) -> bool {
        let within = self.detect_within;
        within.is_none_or(|within| detection(&params.timing(), self.hz) <= within)
    }

    fn keeps_the_way_open(&self, params: &Params) -> bool {
        let after = self.idle_timeout;
        self.is_within_share(params)
            && after.is_none_or(|after| self.quiet_after_a_loss(params) <= after)
    }

    fn is_within_share(&self, params: &Params) -> bool {
        let quiet = self.quiet(params);
        let after = self.idle_timeout;
        after.is_none_or(|after| quiet <= after.saturating_mul(SHARE_OF_PATH) / 100)
    }

    /// The longest that a box on the way sees nothing of a living quiet
    /// connection: an answer passes it a round trip before it is heard here,
    /// at most, and the probe comes when idle is over, late as the kernel is.
    fn quiet(&self, params: &Params) -> Duration {
        let idle = params.idle.duration();
        idle.saturating_add(self.hz.lateness(idle))
            .saturating_add(self.rtt)
    }

    /// The same when the first probe is lost before the box.
    fn quiet_after_a_loss(&self, params: &Params) -> Duration {
        let interval = params.interval.duration();
        self.quiet(params)
            .saturating_add(interval)
            .saturating_add(self.hz.lateness(interval))
    }
}

impl Plan {
    /// The latest that a dead peer is noticed after it was last heard, by an
    /// exact clock.
    #[must_use]
    pub fn detects_within(&self) -> Duration {
        self.params.detection_time().from_last_heard.worst
    }

    /// How much later it may be by the kernel's timers.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.params.timing().lateness(self.rules.hz)
    }

    /// The longest outage that is sure to end no connection: one that begins
    /// just before the first probe and is over when the last one is sent.
    #[must_use]
    pub fn survives(&self) -> Duration {
        self.params.interval.duration() * u32::from(self.params.count.get() - 1)
    }

    /// The time between two probes of a living quiet connection, by an exact
    /// clock: the timer goes by when the answer to the last one was heard.
    #[must_use]
    pub fn probe_period(&self) -> Duration {
        let idle = self.params.idle.duration() + self.rules.rtt;
        idle.max(self.params.interval.duration())
    }

    /// The width of the kernel's timer bucket for that period: probes of
    /// connections whose timers fall into one leave together.
    #[must_use]
    pub fn bucket(&self) -> Duration {
        self.rules.hz.lateness(self.probe_period())
    }

    /// The longest that a box on the way sees nothing of a living quiet
    /// connection, the kernel's lateness included.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.rules.quiet(&self.params)
    }

    /// The shortest idle timeout that the values were chosen for.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.rules.idle_timeout
    }

    /// For a program that makes all values of a single one: the largest, up to
    /// the plan's idle time, that notices a dead peer no later than the plan
    /// does, keeps the way open as well, and leaves its probes as much time for
    /// answers as a plan does at least. `shape` says what the program makes of
    /// it.
    #[must_use]
    pub fn fit(&self, shape: impl Fn(Seconds) -> Params) -> Option<Seconds> {
        let latest = self.detects_within() + self.lateness();
        let numbers = (1..=u32::from(self.params.idle.get())).rev();
        numbers.filter_map(Seconds::new).find(|number| {
            let params = shape(*number);
            let probing = params.interval.duration() * u32::from(params.count.get());
            detection(&params.timing(), self.rules.hz) <= latest
                && self.rules.keeps_the_way_open(&params)
                && probing >= self.rules.rtt * ROUND_TRIPS * u32::from(LEAST_COUNT)
        })
    }
}

/// When a dead peer is noticed at the latest, the kernel's lateness included.
fn detection(timing: &Timing, hz: Hz) -> Duration {
    let worst = timing.detection_time().from_last_heard.worst;
    worst.saturating_add(timing.lateness(hz))
}

/// Whether the user timeout cannot pass before the last probe had its
/// interval, however late the fires before are. Elsewhere it does: with
/// 140/10/3 and 169 s, half of the connections of Linux 6.18 at 250 ticks
/// end after two probes, since the first comes up to 16 s late.
fn ends_after_its_count(timing: &Timing, hz: Hz) -> bool {
    let late =
        hz.lateness(timing.idle) + hz.lateness(timing.interval) * u32::from(timing.count - 1);
    late < timing.interval - slack(timing.interval)
}

impl Params {
    /// The user timeout that agrees with these values: it passes at the very
    /// fire at which the count would end the connection. `None` where the
    /// kernel's timers are so late that it would pass sooner, for some
    /// connections.
    #[must_use]
    pub fn agreeing_user_timeout(&self, hz: Hz) -> Option<UserTimeout> {
        let (idle, interval) = (self.idle.get().into(), self.interval.get().into());
        let agreeing = params(idle, interval, self.count.get())?;
        ends_after_its_count(&agreeing.timing(), hz).then_some(agreeing.user_timeout)
    }
}

/// Values with the user timeout that agrees with them: just before the fire
/// at which the count would end the connection.
fn params(idle: u32, interval: u32, count: u8) -> Option<Params> {
    let params = Params {
        idle: Seconds::new(idle)?,
        interval: Seconds::new(interval)?,
        count: Count::new(count.into())?,
        user_timeout: UserTimeout::OFF,
    };
    let interval = params.interval.duration();
    let end = params.idle.duration() + interval * u32::from(count);
    let user_timeout = (end - slack(interval)).as_millis();
    let user_timeout = UserTimeout::from_millis(u64::try_from(user_timeout).ok()?)?;
    Some(params.with_user_timeout(user_timeout))
}

/// How far before its fire the user timeout lies: a second, so that rounding
/// to ticks cannot put it behind, and half of it when the interval is one.
fn slack(interval: Duration) -> Duration {
    (interval / 2).min(Duration::from_secs(1))
}

/// Down to a number that is easy to say.
fn round(seconds: u32) -> u32 {
    let step = match seconds {
        ..10 => 1,
        10..100 => 5,
        100..1000 => 10,
        _ => 100,
    };
    seconds - seconds % step
}

/// Up to a tenth of a second: what is called possible must be.
fn up_to_tenths(time: Duration) -> Duration {
    let tenths = time.as_nanos().div_ceil(100_000_000);
    Duration::from_millis(
        u64::try_from(tenths)
            .unwrap_or(u64::MAX)
            .saturating_mul(100),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn planned(detect_within: Option<u64>, idle_timeouts: &[u64]) -> String {
        let idle_timeouts: Vec<IdleTimeout> = idle_timeouts
            .iter()
            .map(|seconds| IdleTimeout {
                after: Duration::from_secs(*seconds),
                refreshed_by_probes: true,
            })
            .collect();
        let wish = Wish {
            detect_within: detect_within.map(Duration::from_secs),
            idle_timeouts: &idle_timeouts,
            ..Wish::default()
        };
        wish.plan().unwrap().params.to_string()
    }

    #[test]
    fn half_of_the_detection_time_is_silence_and_half_is_asking() {
        assert_eq!(planned(Some(120), &[]), "60/10/5/109s");
        assert_eq!(planned(Some(60), &[]), "30/5/5/54s");
        assert_eq!(planned(Some(30), &[]), "15/2/5/24s");
        assert_eq!(planned(Some(10), &[]), "5/1/4/8500ms");
        assert_eq!(planned(Some(900), &[]), "450/80/5/849s");
    }

    #[test]
    fn the_shortest_idle_timeout_decides() {
        assert_eq!(planned(None, &[350]), "260/50/5/509s");
        assert_eq!(planned(None, &[3600, 350, 432_000]), "260/50/5/509s");
        assert_eq!(planned(None, &[60]), "45/9/5/89s");
        assert_eq!(planned(Some(120), &[350]), "60/10/5/109s");
        assert_eq!(planned(Some(120), &[60]), "45/10/5/94s");
    }

    #[test]
    fn nothing_wished_keeps_connections_through_a_cloud() {
        assert_eq!(planned(None, &[]), "170/30/5/319s");
    }

    #[test]
    fn an_assumption_makes_nothing_impossible() {
        let wish = Wish {
            rtt: Duration::from_secs(60),
            ..Wish::default()
        };
        let params = wish.plan().unwrap().params;
        assert!(params.interval.duration() >= wish.rtt * 4, "{params}");
    }

    #[test]
    fn no_first_probe_waits_longer_than_two_hours() {
        assert!(planned(None, &[432_000]).starts_with("7200/"));
        assert!(planned(Some(86_400), &[]).starts_with("7200/"));
    }

    #[test]
    fn what_is_impossible_says_what_would_do() {
        let wish = Wish {
            detect_within: Some(Duration::from_secs(3)),
            ..Wish::default()
        };
        let text = wish.plan().unwrap_err().to_string();
        assert!(text.contains("4.2s"), "{text}");
        let wish = Wish {
            rtt: Duration::from_secs(10_000),
            ..Wish::default()
        };
        let text = wish.plan().unwrap_err().to_string();
        assert!(text.contains("8191.75s"), "{text}");
    }

    /// The detection time that was called possible was not, for the way forgot
    /// too soon as well.
    #[test]
    fn a_detection_time_that_is_called_possible_is_possible() {
        let mut wish = Wish {
            detect_within: Some(Duration::from_secs(5)),
            idle_timeouts: &[IdleTimeout {
                after: Duration::from_secs(60),
                refreshed_by_probes: true,
            }],
            rtt: Duration::from_secs(30),
            ..Wish::default()
        };
        let error = wish.plan().unwrap_err();
        assert!(
            matches!(error, Impossible::ForgetsTooSoon { .. }),
            "{error}"
        );
        wish.rtt = Duration::from_secs(3);
        let Err(Impossible::TooFast { at_least, .. }) = wish.plan() else {
            panic!("5 s are too fast for round trips of 3 s");
        };
        wish.detect_within = Some(at_least);
        assert_eq!(wish.plan().map(|_| ()), Ok(()));
    }

    #[test]
    fn a_user_timeout_agrees_only_where_the_timers_are_on_time() {
        let agreeing = |text: &str| {
            let params: Params = text.parse().unwrap();
            let timeout = params.agreeing_user_timeout(Hz::DEBIAN)?;
            Some(timeout.as_millis())
        };
        assert_eq!(agreeing("60/10/5"), Some(109_000));
        assert_eq!(agreeing("1/1/3"), Some(3_500));
        assert_eq!(agreeing("140/10/3"), None);
    }

    #[test]
    fn a_program_with_one_number_gets_the_largest_that_fits() {
        // Redis: a third of it as interval, three probes.
        let wish = Wish {
            detect_within: Some(Duration::from_secs(120)),
            ..Wish::default()
        };
        let plan = wish.plan().unwrap();
        let shape = |n: Seconds| Params::new(n.get().into(), (u32::from(n.get()) / 3).max(1), 3);
        let fits = plan.fit(|n| shape(n).unwrap()).unwrap();
        let latest = plan.detects_within() + plan.lateness();
        let found = shape(fits).unwrap();
        assert!(detection(&found.timing(), Hz::DEBIAN) <= latest, "{found}");
        assert_eq!(found.to_string(), "53/17/3");
    }
}
