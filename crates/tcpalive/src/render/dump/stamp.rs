//! The time in front of a line.

use std::fmt::Write;
use tcpalive_kernel::local_time::LocalTime;

/// What the time in front of a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampStyle {
    /// The time of day here: `20:23:58.123456`.
    TimeOfDay,
    /// Nothing (`-t`).
    None,
    /// Seconds since the Unix epoch (`-tt`).
    Unix,
    /// Since the line before (`-ttt`).
    SincePrevious,
    /// Date and time of day here (`-tttt`).
    Date,
    /// Since the first line (`-ttttt`).
    SinceFirst,
}

impl StampStyle {
    /// The style for so many `t`. tcpdump takes no more than five.
    #[must_use]
    pub const fn from_count(count: u8) -> Option<Self> {
        Some(match count {
            0 => Self::TimeOfDay,
            1 => Self::None,
            2 => Self::Unix,
            3 => Self::SincePrevious,
            4 => Self::Date,
            5 => Self::SinceFirst,
            _ => return None,
        })
    }
}

/// Writes times as tcpdump does: to the microsecond.
#[derive(Debug)]
pub struct Stamp {
    style: StampStyle,
    /// What times are counted from, in microseconds.
    reference: Option<u64>,
    /// The second that was written last, and its text: working out the local
    /// time takes longer than all the rest of a line.
    second: Option<(u64, String)>,
}

impl Stamp {
    /// Nothing was written yet.
    #[must_use]
    pub const fn new(style: StampStyle) -> Self {
        Self {
            style,
            reference: None,
            second: None,
        }
    }

    /// Appends the time, given in nanoseconds since the Unix epoch, and a
    /// space.
    pub(super) fn push(&mut self, out: &mut String, time: u64) {
        let micros = time / 1000;
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        // Writing to a string does not fail.
        let _ = match self.style {
            StampStyle::None => Ok(()),
            StampStyle::Unix => write!(out, "{seconds}.{fraction:06} "),
            StampStyle::TimeOfDay | StampStyle::Date => {
                out.push_str(self.local(seconds));
                write!(out, ".{fraction:06} ")
            }
            StampStyle::SincePrevious | StampStyle::SinceFirst => {
                let reference = *self.reference.get_or_insert(micros);
                if self.style == StampStyle::SincePrevious {
                    self.reference = Some(micros);
                }
                let sign = if micros < reference { '-' } else { ' ' };
                let distance = micros.abs_diff(reference);
                let (seconds, fraction) = (distance / 1_000_000, distance % 1_000_000);
                let (minutes, seconds) = (seconds / 60, seconds % 60);
                let (hours, minutes) = (minutes / 60, minutes % 60);
                write!(
                    out,
                    "{sign}{hours:02}:{minutes:02}:{seconds:02}.{fraction:06} "
                )
            }
        };
    }

    fn local(&mut self, seconds: u64) -> &str {
        if self
            .second
            .as_ref()
            .is_none_or(|(known, _)| *known != seconds)
        {
            let text = i64::try_from(seconds)
                .ok()
                .and_then(LocalTime::at)
                .map_or_else(|| "?".to_owned(), |time| self.text(&time));
            self.second = Some((seconds, text));
        }
        self.second.as_ref().map_or("", |(_, text)| text)
    }

    fn text(&self, time: &LocalTime) -> String {
        let LocalTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = time;
        let clock = format!("{hour:02}:{minute:02}:{second:02}");
        if self.style == StampStyle::Date {
            format!("{year:04}-{month:02}-{day:02} {clock}")
        } else {
            clock
        }
    }
}
