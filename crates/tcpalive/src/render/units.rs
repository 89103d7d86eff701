//! Quantities as people read them, and durations as people write them.

use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Milliseconds as a span of time: `250ms`, `8.1s`, `42s`, `2m 5s`, `12m`,
/// `3h 12m`, `3d 4h`. What is finer than shown is dropped, not rounded: a
/// peer is never said to be silent for longer than it is.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let (whole, part) = match self.0 / 1000 {
            0 => return write!(f, "{}ms", self.0),
            1..10 => return write!(f, "{}.{}s", self.0 / 1000, self.0 / 100 % 10),
            s if s < MINUTE => return write!(f, "{s}s"),
            s if s < 10 * MINUTE => ((s / MINUTE, "m"), (s % MINUTE, "s")),
            s if s < HOUR => ((s / MINUTE, "m"), (0, "s")),
            s if s < DAY => ((s / HOUR, "h"), (s % HOUR / MINUTE, "m")),
            s if s < 100 * DAY => ((s / DAY, "d"), (s % DAY / HOUR, "h")),
            s => ((s / DAY, "d"), (0, "h")),
        };
        write!(f, "{}{}", Count(whole.0), whole.1)?;
        if part.0 > 0 {
            write!(f, " {}{}", part.0, part.1)?;
        }
        Ok(())
    }
}

/// Whole seconds without anything dropped: `2 h 11 min 15 s`, `1 d 2 h`, `0 s`.
#[derive(Debug, Clone, Copy)]
pub struct Exact(pub u64);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.0 / 86_400, "d"),
            (self.0 / 3_600 % 24, "h"),
            (self.0 / 60 % 60, "min"),
            (self.0 % 60, "s"),
        ];
        let mut separator = "";
        for (number, unit) in parts {
            if number > 0 || (unit == "s" && separator.is_empty()) {
                write!(f, "{separator}{} {unit}", Count(number))?;
                separator = " ";
            }
        }
        Ok(())
    }
}

/// Bytes in binary units: `512 B`, `2.3 KiB`, `41.3 MiB`, `640 GiB`.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let bytes = u128::from(self.0);
        for (power, unit) in (1..).zip(["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]) {
            let size = 1_u128 << (10 * power);
            let tenths = (bytes * 10 + size / 2) / size;
            if tenths < 1000 {
                return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
            }
            let whole = (bytes + size / 2) / size;
            if whole < 1024 {
                return write!(f, "{whole} {unit}");
            }
        }
        unreachable!("2^64 bytes are 16 EiB")
    }
}

/// A count with thousands separators: `20,480`.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(self.0);
        let first = (digits.len() - 1) % 3 + 1;
        f.write_str(&digits[..first])?;
        for group in digits.as_bytes()[first..].chunks(3) {
            f.write_str(",")?;
            f.write_str(std::str::from_utf8(group).expect("digits are ASCII"))?;
        }
        Ok(())
    }
}

/// A count in at most six columns, for tables that would not fit otherwise:
/// `9,999`, `20.5k`, `412k`, `1.2M`.
#[derive(Debug, Clone, Copy)]
pub struct Compact(pub u64);

impl fmt::Display for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10_000 {
            return Count(self.0).fmt(f);
        }
        let mut size: u64 = 1;
        for unit in ["k", "M", "G", "T", "P", "E"] {
            size *= 1000;
            let tenths = self.0 / (size / 10);
            if tenths < 1000 {
                return write!(f, "{}.{}{unit}", tenths / 10, tenths % 10);
            }
            if tenths < 10_000 {
                return write!(f, "{}{unit}", tenths / 10);
            }
        }
        unreachable!("2^64 is 18E")
    }
}

/// Microseconds as a round-trip time: `412 µs`, `1.3 ms`, `213 ms`, `1.2 s`.
#[derive(Debug, Clone, Copy)]
pub struct RoundTrip(pub u64);

impl fmt::Display for RoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us @ ..1_000 => write!(f, "{us} µs"),
            us @ 1_000..100_000 => write!(f, "{}.{} ms", us / 1_000, us / 100 % 10),
            us @ 100_000..1_000_000 => write!(f, "{} ms", us / 1_000),
            us => write!(f, "{}.{} s", Count(us / 1_000_000), us / 100_000 % 10),
        }
    }
}

/// `1 connection`, `20,480 connections`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a>(pub(crate) u64, pub(crate) &'a str);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", Count(self.0), self.1)
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is no text.
    #[error("a duration is missing: write 90s, 15m, 2h, 250ms or 1d")]
    Empty,
    /// No digit where a number has to begin.
    #[error("`{0}` does not begin with a number: write 90s, 15m, 2h, 250ms or 1d")]
    NoNumber(String),
    /// A number without a unit.
    #[error("`{0}` has no unit: write {0}s for seconds, or use ms, m, h or d")]
    NoUnit(String),
    /// A unit that is not known.
    #[error("`{0}` is not a unit of time: use ms, s, m, h or d")]
    UnknownUnit(String),
    /// Longer than [`LONGEST_DURATION`].
    #[error("`{0}` is too long: at most 36500d are possible")]
    TooLong(String),
}

/// A hundred years: nothing that is waited for takes longer, and arithmetic
/// in nanoseconds stays within 64 bits.
pub const LONGEST_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

/// Reads a duration: `90s`, `15m`, `2h`, `250ms`, `1d`, also `1.5s` and
/// `2h11m15s`. A number needs its unit.
///
/// # Errors
/// What is wrong with the text, and what is expected, for people.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut nanoseconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(DurationError::NoNumber(rest.to_owned()));
        }
        let (unit, tail) = split_while(tail, |c| !c.is_ascii_digit() && c != '.');
        let unit_ns: u64 = match unit.trim() {
            "" => return Err(DurationError::NoUnit(number.to_owned())),
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "d" => 86_400 * 1_000_000_000,
            unit => return Err(DurationError::UnknownUnit(unit.to_owned())),
        };
        let whole: u64 = whole.parse().map_err(|_| too_long())?;
        nanoseconds = whole
            .checked_mul(unit_ns)
            .and_then(|part| part.checked_add(fraction_of(fraction, unit_ns)))
            .and_then(|part| part.checked_add(nanoseconds))
            .ok_or_else(too_long)?;
        rest = tail;
    }
    let duration = Duration::from_nanos(nanoseconds);
    if duration > LONGEST_DURATION {
        return Err(too_long());
    }
    Ok(duration)
}

fn split_while(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !accept(c)).unwrap_or(text.len()))
}

/// Nanoseconds of `0.<digits>` of a unit; digits beyond the ninth are
/// dropped.
fn fraction_of(digits: &str, unit_ns: u64) -> u64 {
    let mut scale: u128 = 1;
    let mut value: u128 = 0;
    for digit in digits.bytes().take(9) {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(value * u128::from(unit_ns) / scale).expect("less than one unit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0ms"),
            (250, "250ms"),
            (999, "999ms"),
            (1_000, "1.0s"),
            (8_199, "8.1s"),
            (9_999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (125_000, "2m 5s"),
            (599_999, "9m 59s"),
            (754_000, "12m"),
            (3_600_000, "1h"),
            (7_875_000, "2h 11m"),
            (86_399_999, "23h 59m"),
            (86_400_000, "1d"),
            (273_600_000, "3d 4h"),
            (8_640_000_000, "100d"),
            (u64::MAX, "213,503,982,334d"),
        ] {
            assert_eq!(Span(ms).to_string(), text);
        }
    }

    #[test]
    fn exact_seconds_drop_nothing() {
        for (seconds, text) in [
            (0, "0 s"),
            (75, "1 min 15 s"),
            (7_875, "2 h 11 min 15 s"),
            (86_400, "1 d"),
            (90_001, "1 d 1 h 1 s"),
            (u64::MAX, "213,503,982,334,601 d 7 h 15 s"),
        ] {
            assert_eq!(Exact(seconds).to_string(), text);
        }
    }

    #[test]
    fn bytes_keep_three_digits_or_four() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (2_355, "2.3 KiB"),
            (102_348, "99.9 KiB"),
            (102_399, "100 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_575, "1.0 MiB"),
            (43_306_189, "41.3 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn counts_are_grouped_in_thousands() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (20_480, "20,480"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(Count(count).to_string(), text);
        }
        assert_eq!(Of(1, "connection").to_string(), "1 connection");
        assert_eq!(Of(20_480, "connection").to_string(), "20,480 connections");
    }

    #[test]
    fn round_trips_go_from_microseconds_to_seconds() {
        for (us, text) in [
            (412, "412 µs"),
            (1_300, "1.3 ms"),
            (99_999, "99.9 ms"),
            (213_400, "213 ms"),
            (1_240_000, "1.2 s"),
        ] {
            assert_eq!(RoundTrip(us).to_string(), text);
        }
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [
            ("90s", 90_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("250ms", 250),
            ("1d", 86_400_000),
            ("1.5s", 1_500),
            ("2h11m15s", 7_875_000),
            ("1m 30s", 90_000),
            (" 3s ", 3_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, message) in [
            ("", "a duration is missing: write 90s, 15m, 2h, 250ms or 1d"),
            (
                "90",
                "`90` has no unit: write 90s for seconds, or use ms, m, h or d",
            ),
            (
                "1h30",
                "`30` has no unit: write 30s for seconds, or use ms, m, h or d",
            ),
            (
                "soon",
                "`soon` does not begin with a number: write 90s, 15m, 2h, 250ms or 1d",
            ),
            (
                "-5s",
                "`-5s` does not begin with a number: write 90s, 15m, 2h, 250ms or 1d",
            ),
            (
                "5 weeks",
                "`weeks` is not a unit of time: use ms, s, m, h or d",
            ),
            (
                "99999999999999999999d",
                "`99999999999999999999d` is too long: at most 36500d are possible",
            ),
            (
                "36501d",
                "`36501d` is too long: at most 36500d are possible",
            ),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_duration_or_an_error(text in "[0-9.]{0,24}[a-zµ ]{0,3}[0-9.]{0,12}\\PC{0,3}") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(duration <= LONGEST_DURATION);
            }
        }

        #[test]
        fn every_quantity_can_be_shown(n: u64) {
            prop_assert!(Bytes(n).to_string().len() <= 8);
            prop_assert!(Compact(n).to_string().len() <= 6);
            prop_assert_eq!(Count(n).to_string().replace(',', ""), n.to_string());
            for text in [Span(n).to_string(), RoundTrip(n).to_string()] {
                prop_assert!(!text.is_empty());
            }
        }
    }
}
