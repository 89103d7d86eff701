//! Time in ticks.

use crate::time::Time;

/// The length of a tick.
///
/// Arming divides by it, and of all that arming does a division would take
/// the longest. So it multiplies by the reciprocal, and mends the last unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks {
    nanos: u64,
    /// ⌊(2⁶⁴ − 1) ÷ nanos⌋.
    reciprocal: u64,
}

impl Ticks {
    /// Ticks of so many nanoseconds; 1 at least.
    pub(super) const fn of(nanos: u64) -> Self {
        Self {
            nanos,
            reciprocal: u64::MAX / nanos,
        }
    }

    /// A quotient that is right or 1 too small, and what remains.
    ///
    /// The reciprocal is less than 2⁶⁴ ÷ nanos by at most 1, so the product is
    /// less than the true quotient by at most `time` ÷ 2⁶⁴, which is below 1.
    #[inline]
    const fn divide(self, time: u64) -> (u64, u64) {
        let quotient = ((time as u128 * self.reciprocal as u128) >> 64) as u64;
        (quotient, time - quotient * self.nanos)
    }

    /// The tick at which `time` has come: rounded up.
    #[inline]
    pub(super) const fn until(self, time: Time) -> u64 {
        let (quotient, rest) = self.divide(time.as_nanos());
        quotient + (rest > 0) as u64 + (rest > self.nanos) as u64
    }

    /// How many whole ticks have passed. The end of time ends the last tick.
    #[inline]
    pub(super) const fn passed(self, now: Time) -> u64 {
        if now.as_nanos() == u64::MAX {
            return self.until(now);
        }
        let (quotient, rest) = self.divide(now.as_nanos());
        quotient + (rest >= self.nanos) as u64
    }

    /// When a tick comes.
    pub(super) const fn time_of(self, tick: u64) -> Time {
        Time::from_nanos(tick.saturating_mul(self.nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(nanos: u64, time: u64) {
        let ticks = Ticks::of(nanos);
        assert_eq!(
            ticks.until(Time::from_nanos(time)),
            time.div_ceil(nanos),
            "⌈{time} ÷ {nanos}⌉"
        );
        if time < u64::MAX {
            assert_eq!(
                ticks.passed(Time::from_nanos(time)),
                time / nanos,
                "⌊{time} ÷ {nanos}⌋"
            );
        }
    }

    #[test]
    fn it_divides_at_the_edges() {
        let edges = || (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for nanos in edges().chain([10_000, 4_000_000, u64::MAX]) {
            for time in edges().chain([u64::MAX - 1, u64::MAX]) {
                if nanos > 0 {
                    check(nanos, time);
                    check(nanos, time / nanos * nanos);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_divides(nanos in 1_u64.., narrower in 0_u32..64, time in any::<u64>()) {
            let nanos = (nanos >> narrower).max(1);
            check(nanos, time);
            check(nanos, time / nanos * nanos);
        }
    }
}
