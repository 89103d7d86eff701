//! Timers read from a wire: how late they fire, and which whole seconds they
//! were set to.

use super::state::Record;

/// What clocks of captures and rounding to milliseconds may take off.
const SLACK_MS: u32 = 50;

/// A time that a prober's timer was set to, as far as the capture tells.
///
/// Linux is never early, and late by up to one bucket of its timer wheel
/// (`kernel/time/timer.c`). How wide that is depends on the kernel's ticks
/// per second; `from` and `to` hold for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Estimate {
    /// The likeliest value, in seconds: of those that are possible at 250
    /// ticks per second the roundest, since people choose those; or a
    /// multiple of 5 minutes that is possible at any.
    pub seconds: u32,
    /// The least that fits, in seconds.
    pub from: u32,
    /// The most that fits, in seconds.
    pub to: u32,
}

impl Estimate {
    /// From the least time that was measured. `None` for less than a second,
    /// which no timer of Linux is set to.
    pub(crate) fn from_measured(ms: u32) -> Option<Self> {
        if ms == u32::MAX {
            return None;
        }
        let to = ms.saturating_add(SLACK_MS) / 1000;
        let least = |lateness: u32| {
            ms.saturating_sub(lateness)
                .div_ceil(1000)
                .clamp(1, to.max(1))
        };
        let from = least(lateness_ms(ms));
        let likely = least(lateness_at(250, ms));
        (to > 0).then(|| Self {
            seconds: roundest(&[3600, 1800, 900, 600, 300], from, to)
                .or(roundest(&[60, 30, 15, 10, 5], likely, to))
                .unwrap_or(to),
            from,
            to,
        })
    }
}

/// How late a timer of this length may fire, in ms, whatever the kernel's
/// ticks.
fn lateness_ms(ms: u32) -> u32 {
    [100, 250, 300, 1000]
        .into_iter()
        .map(|ticks_per_second| lateness_at(ticks_per_second, ms))
        .max()
        .unwrap_or(0)
}

/// One bucket of the timer wheel: a bucket is 8 times as wide from level to
/// level, and a level has 63 of them.
fn lateness_at(ticks_per_second: u64, ms: u32) -> u32 {
    let ticks = u64::from(ms) * ticks_per_second / 1000;
    let bucket = (0..9)
        .map(|level| 1_u64 << (3 * level))
        .find(|bucket| ticks / 63 < *bucket)
        .unwrap_or(1 << 27);
    // At most 2²⁷ ticks of 10 ms.
    (bucket * 1000 / ticks_per_second) as u32
}

/// The latest that a timer fires of which one firing was measured.
pub(crate) fn latest_ms(measured: u32) -> u32 {
    measured
        .saturating_add(lateness_ms(measured))
        .saturating_add(SLACK_MS)
}

/// The earliest.
pub(crate) fn earliest_ms(measured: u32) -> u32 {
    measured.saturating_sub(lateness_ms(measured) + SLACK_MS)
}

/// Whether spacings between these two may be one timer's.
pub(crate) fn is_even(least: u32, widest: u32) -> bool {
    least != u32::MAX && widest <= latest_ms(least)
}

/// Whether a reset so long after the last unanswered probe is the timer that
/// gave up: it comes one interval after that probe. Where the interval is not
/// known, as with one probe alone, any whole number of seconds may be it.
pub(crate) fn runs_out(record: &Record, gap_ms: u32) -> bool {
    if record.interval_ms != u32::MAX {
        let interval = record.interval_ms;
        return (earliest_ms(interval)..=latest_ms(interval)).contains(&gap_ms);
    }
    let whole = gap_ms.saturating_add(SLACK_MS) / 1000 * 1000;
    whole > 0 && gap_ms <= latest_ms(whole)
}

/// The number between these two, both included, that people would choose: a
/// multiple of the largest of the units.
fn roundest(units: &[u32], from: u32, to: u32) -> Option<u32> {
    units
        .iter()
        .map(|unit| to / unit * unit)
        .find(|&multiple| multiple >= from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(ms: u32) -> Option<u32> {
        Estimate::from_measured(ms).map(|estimate| estimate.seconds)
    }

    #[test]
    fn lateness_is_the_wheels() {
        for (ms, late) in [
            (1_000, 32),
            (10_000, 256),
            (75_000, 2_048),
            (300_000, 16_384),
            (7_200_000, 131_072),
        ] {
            assert_eq!(lateness_at(250, ms), late, "{ms}");
        }
    }

    #[test]
    fn a_late_timer_gives_the_value_it_was_set_to() {
        for (set, late) in [
            (1, 31),
            (2, 32),
            (3, 250),
            (10, 256),
            (15, 200),
            (20, 2_000),
            (30, 1_900),
            (60, 2_040),
            (75, 300),
            (75, 2_000),
            (300, 16_000),
            (600, 16_000),
            (7200, 131_000),
            // A thousand ticks a second.
            (7200, 262_000),
        ] {
            assert_eq!(seconds(set * 1000 + late), Some(set), "{set} s + {late} ms");
        }
    }

    #[test]
    fn the_truth_is_always_within_the_bounds() {
        for set in 1..9_000_u32 {
            for ticks in [100, 250, 300, 1000] {
                let late = lateness_at(ticks, set * 1000);
                let estimate = Estimate::from_measured(set * 1000 + late).unwrap();
                assert!(
                    (estimate.from..=estimate.to).contains(&set),
                    "{set} s + {late} ms: {estimate:?}"
                );
                assert!((estimate.from..=estimate.to).contains(&estimate.seconds));
            }
        }
    }

    #[test]
    fn a_capture_clock_that_runs_fast_takes_no_second_off() {
        assert_eq!(seconds(74_980), Some(75));
        assert_eq!(seconds(980), Some(1));
    }

    #[test]
    fn less_than_a_second_is_no_timer() {
        assert_eq!(seconds(200), None);
        assert_eq!(seconds(u32::MAX), None);
    }
}
