//! How soon the death of a peer is noticed, computed.

use core::time::Duration;

/// Keep-alive values in force: a socket's own where it has some, else its
/// namespace's. Unlike [`Params`](crate::Params) they can be out of the range
/// that sockets take, since sysctls have other limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long nothing must have been heard before the first probe.
    pub idle: Duration,
    /// The time between probes.
    pub interval: Duration,
    /// How many unanswered probes end the connection; 0 ends it at the idle
    /// time without any (`tcp_keepalive_probes` may be 0).
    pub count: u8,
    /// Ends the connection in place of the count.
    pub user_timeout: Option<Duration>,
}

/// How long it takes from an event to the reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// At the soonest.
    pub best: Duration,
    /// At the latest.
    pub worst: Duration,
}

/// How soon an idle connection to a dead peer is ended.
///
/// The times are ideal: an exact clock, and no lateness of the kernel's timer
/// wheel, which [`Timing::lateness`] bounds. They hold for a connection with
/// nothing in flight: data in flight are for the retransmission timer, and
/// keep-alive waits until it is done (`tcp_keepalive_timer` skips while
/// `packets_out` or the write queue is not empty).
///
/// The timer is lazy: it fires when it was set to fire, and looks then how
/// long the peer has been silent. So when the interval is longer than the
/// idle time, up to an interval may pass before the first probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Detection {
    /// From the last segment that was heard from the peer.
    pub from_last_heard: Span,
    /// From the death of the peer: at best it dies just before it is probed,
    /// at worst just after it was heard.
    pub from_death: Span,
}

impl Timing {
    /// How soon the death of a peer is noticed.
    #[must_use]
    pub fn detection_time(&self) -> Detection {
        // Silence at the first probe: this much at least and at most.
        let (soonest, latest) = (self.idle, self.idle.max(self.interval));
        let at_soonest = soonest.saturating_add(self.probing(soonest));
        let at_latest = latest.saturating_add(self.probing(latest));
        let mut from_last_heard = Span {
            best: at_soonest.min(at_latest),
            worst: at_soonest.max(at_latest),
        };
        // In between, one probe fewer may do: the end then is no sooner than
        // the user timeout, and just before that point an interval later.
        if self.probing(soonest) > self.probing(latest)
            && let Some(user_timeout) = self.user_timeout
        {
            from_last_heard.best = from_last_heard.best.min(user_timeout);
            from_last_heard.worst = (user_timeout + self.interval).max(from_last_heard.worst);
        }
        Detection {
            from_last_heard,
            from_death: Span {
                best: self.probing(latest),
                worst: from_last_heard.worst,
            },
        }
    }

    /// From the first unanswered probe to the reset, when the first is sent
    /// after this much silence.
    fn probing(&self, silence: Duration) -> Duration {
        self.interval
            .saturating_mul(self.fires_after_first(silence))
    }

    /// How often the timer fires after the first unanswered probe, the reset included.
    fn fires_after_first(&self, silence: Duration) -> u32 {
        let Some(user_timeout) = self.user_timeout else {
            return u32::from(self.count);
        };
        let rest = user_timeout.saturating_sub(silence).as_nanos();
        let interval = self.interval.as_nanos().max(1);
        u32::try_from(rest.div_ceil(interval).max(1)).unwrap_or(u32::MAX)
    }

    /// How much later than [`Timing::detection_time`] says a kernel with this
    /// tick may be, because its timers fire in buckets. It is never earlier.
    #[must_use]
    pub fn lateness(&self, hz: Hz) -> Duration {
        let first = hz.lateness(self.idle.max(self.interval));
        let fires = self.fires_after_first(self.idle);
        hz.lateness(self.interval)
            .saturating_mul(fires)
            .saturating_add(first)
    }
}

/// Ticks per second of a Linux kernel (`CONFIG_HZ`), which decide how late its
/// timers are.
///
/// ```
/// use core::time::Duration;
/// use tcpalive_keepalive::Hz;
///
/// // A timer of two hours fires up to 131 s late on Debian's kernel.
/// assert_eq!(Hz::DEBIAN.lateness(Duration::from_secs(7200)).as_secs(), 131);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hz(core::num::NonZeroU32);

impl Hz {
    /// 250 ticks per second, as Debian and Ubuntu build their kernels.
    pub const DEBIAN: Self = Self(core::num::NonZeroU32::new(250).unwrap());

    /// So many ticks per second; `None` for none.
    #[must_use]
    pub const fn new(ticks_per_second: u32) -> Option<Self> {
        match core::num::NonZeroU32::new(ticks_per_second) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks per second.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The length of a tick.
    #[must_use]
    pub const fn tick(self) -> Duration {
        Duration::from_nanos(1_000_000_000 / self.0.get() as u64)
    }

    /// How late a timer with this delay may fire at the most: the width of its
    /// bucket in the timer wheel (`calc_wheel_index` in `kernel/time/timer.c`).
    ///
    /// The first level holds delays below 63 ticks and is exact to a tick;
    /// each further level reaches eight times as far, and is eight times as
    /// coarse. Timers are rounded up to the end of their bucket and do not
    /// move down, so a timer is never early and late by an eighth at worst.
    #[must_use]
    pub fn lateness(self, delay: Duration) -> Duration {
        let hz = u128::from(self.0.get());
        let ticks = (delay.as_nanos() * hz).div_ceil(1_000_000_000);
        // The ninth level is the last.
        let level = (0..8).find(|level| ticks < 63 << (3 * level)).unwrap_or(8);
        let nanos = (1_000_000_000_u64 << (3 * level)) / u64::from(self.0.get());
        Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Params, UserTimeout};

    fn seconds(span: Span) -> (f64, f64) {
        (span.best.as_secs_f64(), span.worst.as_secs_f64())
    }

    fn detection(text: &str) -> Detection {
        text.parse::<Params>().unwrap().detection_time()
    }

    #[test]
    fn linux_defaults_take_two_hours_eleven_minutes_and_fifteen_seconds() {
        let found = detection("7200/75/9");
        assert_eq!(seconds(found.from_last_heard), (7875.0, 7875.0));
        assert_eq!(seconds(found.from_death), (675.0, 7875.0));
    }

    #[test]
    fn an_interval_longer_than_the_idle_time_delays_the_first_probe() {
        // The article's second test, had its peer died.
        let found = detection("10/75/9");
        assert_eq!(seconds(found.from_last_heard), (685.0, 750.0));
        assert_eq!(seconds(found.from_death), (675.0, 750.0));
    }

    #[test]
    fn a_user_timeout_ends_at_the_first_fire_past_it_that_follows_a_probe() {
        // The reference: idle 4, interval 2, count 9, user timeout 1 s: abort at 6.
        assert_eq!(seconds(detection("4/2/9/1s").from_last_heard), (6.0, 6.0));
        // 10, 15, 20 are before 21 s; 25 is the first past it.
        assert_eq!(
            seconds(detection("10/5/1/21s").from_last_heard),
            (25.0, 25.0)
        );
        assert_eq!(seconds(detection("10/5/1/21s").from_death), (15.0, 25.0));
        // Exactly on a fire is enough.
        assert_eq!(
            seconds(detection("10/5/1/20s").from_last_heard),
            (20.0, 20.0)
        );
    }

    #[test]
    fn a_user_timeout_with_a_long_interval_has_its_worst_case_in_between() {
        // First probe after 4 to 10 s of silence. After 5 s or more the next
        // fire is past 15 s and ends it; just before, a third is needed.
        let found = detection("4/10/9/15s");
        assert_eq!(seconds(found.from_last_heard), (15.0, 25.0));
        assert_eq!(seconds(found.from_death), (10.0, 25.0));
    }

    #[test]
    fn no_probes_at_all_end_at_the_idle_time() {
        let timing = Timing {
            count: 0,
            ..Params::LINUX.timing()
        };
        let found = timing.detection_time();
        assert_eq!(seconds(found.from_last_heard), (7200.0, 7200.0));
        assert_eq!(found.from_death.best, Duration::ZERO);
    }

    #[test]
    fn lateness_is_the_bucket_of_the_wheel() {
        let late = |delay_ms| {
            Hz::DEBIAN
                .lateness(Duration::from_millis(delay_ms))
                .as_millis()
        };
        assert_eq!(late(0), 4);
        assert_eq!(late(248), 4);
        assert_eq!(late(252), 32);
        assert_eq!(late(2012), 32);
        assert_eq!(late(2016), 256);
        assert_eq!(late(16_124), 256);
        assert_eq!(late(16_128), 2048);
        assert_eq!(late(129_024), 16_384);
        assert_eq!(late(7_200_000), 131_072);
        assert_eq!(
            Hz::new(1000).unwrap().lateness(Duration::from_secs(7200)),
            Duration::from_nanos(262_144_000_000)
        );
        assert_eq!(
            Hz::DEBIAN.lateness(Duration::MAX),
            Duration::from_nanos(67_108_864_000_000)
        );
    }

    #[test]
    fn lateness_of_a_detection_adds_that_of_every_fire() {
        let params: Params = "10/20/5".parse().unwrap();
        // Six fires of 2.048 s each: the first may have been armed for an interval.
        assert_eq!(params.timing().lateness(Hz::DEBIAN).as_millis(), 6 * 2048);
        let timed = params.with_user_timeout(UserTimeout::from_millis(1).unwrap());
        assert_eq!(timed.timing().lateness(Hz::DEBIAN).as_millis(), 2 * 2048);
    }
}
