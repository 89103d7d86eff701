//! Durations as people write them: `90s`, `15m`, `2h`, `1d`, `250ms`.

use core::fmt;
use core::time::Duration;

/// A number with a unit (`ms`, `s`, `m`, `h`, `d`), or plain seconds; up to
/// three decimals. `None` for anything else, also for what is too long.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_ms = match unit.trim_start() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.is_empty() || decimals.len() > 3 {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
    let thousandths = whole
        .parse::<u64>()
        .ok()?
        .checked_mul(scale)?
        .checked_add(decimals.parse().ok()?)?;
    let scaled = thousandths.checked_mul(unit_ms)?;
    // Half a millisecond would be lost.
    (scaled % scale == 0).then(|| Duration::from_millis(scaled / scale))
}

/// A duration in the largest unit that needs no decimals: what [`duration`] reads.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let largest = units
            .into_iter()
            .find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
        match largest {
            _ if millis == 0 => f.write_str("0s"),
            Some((unit, name)) => write!(f, "{}{name}", millis / unit),
            None => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn units_are_read_and_anything_else_is_refused() {
        let ms = |text: &str| duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("90s"), Some(90_000));
        assert_eq!(ms("15m"), Some(900_000));
        assert_eq!(ms("2h"), Some(7_200_000));
        assert_eq!(ms("1d"), Some(86_400_000));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("1.5s"), Some(1500));
        assert_eq!(ms("10"), Some(10_000));
        for wrong in [
            "",
            "s",
            "-1s",
            "1.s",
            "1.0005s",
            "1.5ms",
            "1y",
            "1s2",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for ms in [0, 1, 250, 1000, 1500, 60_000, 90_000, 7_200_000] {
            let given = Duration::from_millis(ms);
            assert_eq!(duration(&Shown(given).to_string()), Some(given));
        }
    }
}
