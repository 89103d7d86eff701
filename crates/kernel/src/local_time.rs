//! The wall clock of the place where this runs.

use std::mem::zeroed;

/// A moment as the clocks and calendars here show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Year of our era.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

impl LocalTime {
    /// In the time zone that `TZ` or /etc/localtime says, at this many
    /// seconds since the Unix epoch. `None` for a year that no calendar has.
    #[must_use]
    pub fn at(unix_seconds: i64) -> Option<Self> {
        let seconds: libc::time_t = unix_seconds;
        // SAFETY: `struct tm` is numbers and a pointer to a name; zeros are
        // valid for all of them.
        let mut time: libc::tm = unsafe { zeroed() };
        // SAFETY: both pointers are to locals of the right types. glibc reads
        // the environment under its own lock, and nothing here changes it.
        let found = unsafe { libc::localtime_r(&raw const seconds, &raw mut time) };
        if found.is_null() {
            return None;
        }
        let small = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
        Some(Self {
            year: time.tm_year + 1900,
            month: small(time.tm_mon + 1),
            day: small(time.tm_mday),
            hour: small(time.tm_hour),
            minute: small(time.tm_min),
            second: small(time.tm_sec),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_pass_alike_everywhere_on_the_hour() {
        // Zones differ by quarters of an hour.
        let at = |seconds| LocalTime::at(seconds).unwrap();
        let (first, second) = (at(1_500_000_000), at(1_500_000_061));
        assert_eq!((first.minute % 15, first.second), (10, 0));
        assert_eq!((second.minute % 15, second.second), (11, 1));
        assert_eq!(first.year, 2017);
    }

    #[test]
    fn a_year_that_no_calendar_has_is_none() {
        assert_eq!(LocalTime::at(i64::MAX), None);
    }
}
