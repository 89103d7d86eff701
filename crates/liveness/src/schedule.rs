//! When a connection is probed, and when silence has lasted long enough.

use std::time::Duration;

/// Peers answer out-of-window segments at most once per 500 ms and socket
/// (`tcp_invalid_ratelimit`): probes that come faster are not answered. What a
/// way that jitters brings a little closer together than it was sent must not
/// be either, else a living peer is silent to every second probe: hence the rest.
pub const MINIMAL_INTERVAL: Duration = Duration::from_millis(600);

/// A peer heard so recently is given [`RECENT_WINDOW`].
pub const RECENT: Duration = Duration::from_secs(60);

/// The window of peers that were heard within the last minute: that they all
/// died just now is less likely than a short outage.
pub const RECENT_WINDOW: Duration = Duration::from_secs(15);

/// Parts that what follows the first probes is divided into.
const SPREAD: u32 = 8;

/// The times of one connection's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Probes at least.
    pub probes: u32,
    /// Between the first of them, and at least between all others.
    pub interval: Duration,
    /// From the first probe to the verdict at least.
    pub window: Duration,
}

impl Schedule {
    /// Probes `interval` apart, and further ones spread over the rest of the
    /// window. The window lasts at least one interval for each probe.
    #[must_use]
    pub fn new(probes: u32, interval: Duration, window: Duration) -> Self {
        let interval = interval.max(MINIMAL_INTERVAL);
        Self {
            probes,
            interval,
            window: window.max(interval * probes),
        }
    }

    /// When the next probe is due after `sent` probes, the last of them at
    /// `last`, both counted from the first. The last one within the window
    /// comes one interval before its end; beyond it they go on at the interval.
    #[must_use]
    pub fn next(&self, sent: u32, last: Duration) -> Duration {
        let last_in_window = self.window - self.interval;
        if sent < self.probes || last >= last_in_window {
            return last + self.interval;
        }
        let gap = self.interval.max(self.window / SPREAD);
        let next = last + gap;
        if next + gap / 2 >= last_in_window {
            last_in_window.max(last + self.interval)
        } else {
            next
        }
    }

    /// Whether a probe sent at `at` carries a garbage byte, for stacks that
    /// ignore the empty form: the last one does, and in a window that has
    /// room for more than the fewest probes, all of its second half.
    #[must_use]
    pub fn is_garbage(&self, sent: u32, at: Duration, required: u32) -> bool {
        self.is_last(sent, at, required)
            || (sent + 1 >= required.max(self.probes) && at * 2 >= self.window)
    }

    /// Whether a probe sent at `at` is the last before a verdict that needs
    /// `required` probes, of which `sent` went before.
    #[must_use]
    pub fn is_last(&self, sent: u32, at: Duration, required: u32) -> bool {
        at + self.interval >= self.window && sent + 1 >= required.max(self.probes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: Schedule) -> Vec<f64> {
        let mut at = Duration::ZERO;
        let mut times = vec![0.0];
        let mut sent = 1;
        while !schedule.is_last(sent - 1, at, 3) {
            at = schedule.next(sent, at);
            sent += 1;
            times.push((at.as_secs_f64() * 10.0).round() / 10.0);
        }
        times
    }

    #[test]
    fn the_default_probes_at_0_1_2_and_decides_at_3() {
        let schedule = Schedule::new(3, Duration::from_secs(1), Duration::ZERO);
        assert_eq!(schedule.window, Duration::from_secs(3));
        assert_eq!(times(schedule), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn a_longer_window_is_covered_to_its_end() {
        let schedule = Schedule::new(3, Duration::from_secs(1), Duration::from_secs(15));
        assert_eq!(
            times(schedule),
            [0.0, 1.0, 2.0, 3.9, 5.8, 7.6, 9.5, 11.4, 14.0]
        );
    }

    #[test]
    fn a_minute_takes_about_a_dozen_probes() {
        let times = times(Schedule::new(
            6,
            Duration::from_secs(1),
            Duration::from_secs(60),
        ));
        assert!((10..=14).contains(&times.len()), "{times:?}");
        assert_eq!(times.last(), Some(&59.0));
    }

    #[test]
    fn probes_are_never_closer_than_peers_answer() {
        let schedule = Schedule::new(3, Duration::from_millis(10), Duration::from_secs(2));
        let times = times(schedule);
        assert!(
            times.windows(2).all(|pair| pair[1] - pair[0] >= 0.5),
            "{times:?}"
        );
    }
}
