//! Points in time: UTC, and since a beginning.

const SECOND: u64 = 1_000_000_000;

/// Date and time in UTC, to the second: `2017-07-14 02:40:00`.
pub(super) fn date(ns: u64) -> String {
    let (year, month, day) = civil(ns / SECOND / 86_400);
    format!("{year}-{month:02}-{day:02} {}", &time(ns)[..8])
}

/// Time of day in UTC, to the millisecond: `02:40:00.125`.
pub(super) fn time(ns: u64) -> String {
    let second = ns / SECOND % 86_400;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        ns % SECOND / 1_000_000
    )
}

/// Seconds with milliseconds: `+61.004 s`.
pub(super) fn since(ns: u64) -> String {
    format!("+{}.{:03} s", ns / SECOND, ns % SECOND / 1_000_000)
}

/// Year, month and day of a day that is counted from 1970-01-01.
fn civil(day: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days. Years that begin in March have their leap
    // day at the end.
    let from_march_0 = day + 719_468;
    let era = from_march_0 / 146_097;
    let of_era = from_march_0 % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

/// Distances at which an axis of time has its marks: at most eight.
pub(super) fn step(span_ns: u64) -> u64 {
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let ms = [1, 2, 5, 10, 20, 50, 100, 200, 500].map(|ms| ms * SECOND / 1000);
    let seconds = [1, 2, 5, 10, 15, 30].map(|s| s * SECOND);
    let minutes = [1, 2, 5, 10, 15, 30].map(|m| m * MINUTE);
    let hours = [1, 2, 3, 6, 12].map(|h| h * HOUR);
    let days = [1, 2, 7, 14, 30, 90, 365, 3650].map(|d| d * DAY);
    let all = ms
        .into_iter()
        .chain(seconds)
        .chain(minutes)
        .chain(hours)
        .chain(days);
    let mut steps = all.skip_while(|step| span_ns / step > 8);
    steps.next().unwrap_or(span_ns / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_500_000_000, "2017-07-14 02:40:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (u64::MAX / SECOND, "2554-07-21 23:34:33"),
        ] {
            assert_eq!(date(second * SECOND), text);
        }
        assert_eq!(time(1_500_000_000_125_999_999), "02:40:00.125");
        assert_eq!(since(61_004_000_000), "+61.004 s");
    }

    #[test]
    fn an_axis_has_eight_marks_at_most() {
        for span in [
            1,
            999,
            1_000_000,
            SECOND,
            90 * SECOND,
            86_400 * SECOND,
            u64::MAX,
        ] {
            assert!(span / step(span).max(1) <= 8, "{span}");
        }
    }
}
