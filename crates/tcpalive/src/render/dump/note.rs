//! What a packet means for keep-alive, in words.

use crate::render::units::RoundTrip;
use std::fmt;

/// What a packet means for keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A keep-alive probe.
    Probe {
        /// Probes since the peer was heard last, this one included.
        number: u16,
        /// Probes after which this prober gives up, if it was seen doing so.
        of: Option<u16>,
        /// It carries one byte, which the peer has already.
        garbage: bool,
        /// What is known of the prober's timers, where it was not said yet.
        timers: Option<Timers>,
    },
    /// The answer to a probe.
    Answer {
        /// Time since the probe, in nanoseconds.
        delay_ns: u64,
        /// Earlier packets that this one shows to have been probes.
        earlier: u32,
    },
    /// A probe of a closed window, which looks the same.
    WindowProbe,
    /// The reset of a prober that gave up.
    Exhausted {
        /// Probes that had no answer.
        unanswered: u16,
    },
}

/// Timers as they were seen to fire: what they were set to, or up to an
/// eighth more, which the kernel's timers may be late by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// From a probe to the next, in nanoseconds.
    pub between_ns: u64,
    /// From the peer's last sign of life to the first probe, in nanoseconds.
    pub idle_ns: Option<u64>,
}

/// A packet of keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A probe.
    Probe,
    /// Its answer.
    Answer,
}

impl Kind {
    /// As JSON names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "keepalive",
            Self::Answer => "keepalive-ack",
        }
    }
}

impl Meaning {
    /// Which of the two kinds it is, if either.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Probe { .. } => Some(Kind::Probe),
            Self::Answer { .. } => Some(Kind::Answer),
            Self::WindowProbe | Self::Exhausted { .. } => None,
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Probe {
                number,
                of,
                garbage,
                timers,
            } => {
                write!(f, "keep-alive probe {number}")?;
                if let Some(of) = of {
                    write!(f, "/{of}")?;
                }
                if garbage {
                    f.write_str(" with one byte")?;
                }
                if number > 1 {
                    write!(f, ", unanswered so far: {}", number - 1)?;
                }
                timers.map_or(Ok(()), |timers| write!(f, " ({timers})"))
            }
            Self::Answer { delay_ns, earlier } => {
                write!(f, "answer, {}", RoundTrip(delay_ns / 1000))?;
                match earlier {
                    0 => Ok(()),
                    1 => f.write_str(" (to a packet that can only now be told to be a probe)"),
                    n => write!(
                        f,
                        " (to {n} packets that can only now be told to be probes)"
                    ),
                }
            }
            Self::WindowProbe => f.write_str("probe of a closed window"),
            Self::Exhausted { unanswered: 1 } => f.write_str("reset after 1 unanswered probe"),
            Self::Exhausted { unanswered } => {
                write!(f, "reset after {unanswered} unanswered probes")
            }
        }
    }
}

impl fmt::Display for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "probes every {}", Seconds(self.between_ns))?;
        self.idle_ns
            .map_or(Ok(()), |idle| write!(f, "; idle {}", Seconds(idle)))
    }
}

/// Whole seconds, which timers are set in: Linux is late, never early.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Of two packets either may be captured late.
        const SLACK_MS: u64 = 50;
        let ms = self.0 / 1_000_000;
        match (ms + SLACK_MS) / 1000 {
            0 => write!(f, "{ms} ms"),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings_are_told_in_the_contracts_words() {
        let probe = |number, of, timers| Meaning::Probe {
            number,
            of,
            garbage: false,
            timers,
        };
        let timers = Timers {
            between_ns: 75_290_000_000,
            idle_ns: Some(9_990_000_000),
        };
        for (meaning, text) in [
            (probe(1, None, None), "keep-alive probe 1"),
            (
                probe(2, Some(5), None),
                "keep-alive probe 2/5, unanswered so far: 1",
            ),
            (
                probe(1, None, Some(timers)),
                "keep-alive probe 1 (probes every 75 s; idle 10 s)",
            ),
            (
                Meaning::Answer {
                    delay_ns: 600_000,
                    earlier: 0,
                },
                "answer, 600 µs",
            ),
            (
                Meaning::Exhausted { unanswered: 5 },
                "reset after 5 unanswered probes",
            ),
        ] {
            assert_eq!(meaning.to_string(), text);
        }
    }
}
