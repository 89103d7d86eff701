//! The kernel's clocks: jiffies, in which sockets keep their times, and the
//! monotonic clock that TCP timestamps tick with.

use crate::error::{Error, Result};
use rustix::time::{ClockId, clock_gettime};

/// Tick rates that kernels are built with (`kernel/Kconfig.hz` and the
/// architectures' own).
const TICK_RATES: [u32; 14] = [
    250, 1000, 100, 300, 24, 32, 48, 64, 128, 200, 256, 500, 1024, 1200,
];

/// Jiffies start five minutes before they wrap (`INITIAL_JIFFIES`,
/// include/linux/jiffies.h).
const INITIAL_SECONDS_BEFORE_WRAP: u32 = 300;

/// The rate of jiffies and the place of this process's monotonic clock on
/// the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelClock {
    hz: u32,
    /// Kernel's monotonic clock minus this process's, which a time namespace
    /// may have moved.
    offset_ns: i64,
}

impl KernelClock {
    /// Works out HZ from both clocks read at one moment in the kernel, and
    /// the offset of this process's monotonic clock from one reading of it
    /// taken just after.
    ///
    /// # Errors
    /// When no tick rate that kernels are built with explains the two.
    pub(crate) fn from_readings(jiffies: u64, kernel_ns: u64, process_ns: u64) -> Result<Self> {
        let error = |hz: u32| {
            let initial = u64::from((INITIAL_SECONDS_BEFORE_WRAP * hz).wrapping_neg());
            let expected = kernel_ns as f64 / 1e9 * f64::from(hz);
            (jiffies as f64 - initial as f64 - expected).abs() / f64::from(hz)
        };
        let hz = TICK_RATES
            .into_iter()
            .min_by(|a, b| error(*a).total_cmp(&error(*b)))
            .expect("the list of tick rates is not empty");
        if error(hz) > 60.0 {
            return Err(Error::NotFound(format!(
                "working out the kernel's tick rate: {jiffies} jiffies at {kernel_ns} ns after boot fit no known HZ"
            )));
        }
        // The process's reading is the later one, so where both are of one
        // clock, this puts us a little behind it: never ahead, which a TCP
        // timestamp must not be.
        let offset_ns = kernel_ns as i64 - process_ns as i64;
        Ok(Self { hz, offset_ns })
    }

    /// Ticks per second.
    #[must_use]
    pub const fn hz(&self) -> u32 {
        self.hz
    }

    /// Milliseconds in so many jiffies.
    #[must_use]
    pub const fn milliseconds(&self, jiffies: u32) -> u64 {
        jiffies as u64 * 1000 / self.hz as u64
    }

    /// Whole jiffies in so many milliseconds, rounded down; at most half the
    /// range of the 32-bit counter.
    #[must_use]
    pub fn jiffies(&self, milliseconds: u64) -> u32 {
        let jiffies = u128::from(milliseconds) * u128::from(self.hz) / 1000;
        u32::try_from(jiffies.min(u128::from(u32::MAX / 2))).unwrap_or(u32::MAX / 2)
    }

    /// The kernel's monotonic clock now, in nanoseconds: what
    /// `tcp_clock_ns()` and `bpf_ktime_get_ns()` read.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        process_monotonic_ns().wrapping_add_signed(self.offset_ns)
    }
}

/// This process's `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn process_monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jiffies_after(hz: u32, seconds: u64) -> u64 {
        u64::from((300 * hz).wrapping_neg()) + u64::from(hz) * seconds
    }

    #[test]
    fn every_tick_rate_is_recognised_from_a_minute_after_boot_to_years_later() {
        for hz in TICK_RATES {
            for seconds in [60, 3_600, 86_400 * 365 * 3] {
                let ns = seconds * 1_000_000_000;
                let clock =
                    KernelClock::from_readings(jiffies_after(hz, seconds), ns, ns + 4000).unwrap();
                assert_eq!(
                    (clock.hz(), clock.offset_ns),
                    (hz, -4000),
                    "after {seconds} s"
                );
            }
        }
    }

    #[test]
    fn a_time_namespace_moves_the_offset() {
        let ns = 3_600_000_000_000;
        let clock =
            KernelClock::from_readings(jiffies_after(250, 3600), ns, ns + 10_000_000_000).unwrap();
        assert_eq!(clock.offset_ns, -10_000_000_000);
    }

    #[test]
    fn jiffies_of_a_long_time_do_not_overflow() {
        let clock = KernelClock {
            hz: 1000,
            offset_ns: 0,
        };
        assert_eq!(clock.jiffies(u64::MAX), u32::MAX / 2);
        assert_eq!(clock.jiffies(1500), 1500);
    }
}
