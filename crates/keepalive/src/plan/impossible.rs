//! Why no values can do what is wished, and what would be possible.

use super::{LEAST_COUNT, ROUND_TRIPS, SHARE_OF_PATH};
use core::fmt;
use core::time::Duration;

/// Why no values can do what is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Impossible {
    /// A peer cannot be known to be dead that soon.
    TooFast {
        /// What was wished.
        wished: Duration,
        /// What is possible.
        at_least: Duration,
        /// The round-trip time that it is for.
        rtt: Duration,
    },
    /// The way forgets sooner than probes can be sent.
    ForgetsTooSoon {
        /// The idle timeout.
        after: Duration,
        /// The shortest for which there are values.
        at_least: Duration,
        /// The round-trip time that it is for.
        rtt: Duration,
    },
    /// Something on the way does not count probes.
    NotRefreshed {
        /// Its index in [`Wish::idle_timeouts`](super::Wish::idle_timeouts).
        index: usize,
        /// Its idle timeout.
        after: Duration,
    },
    /// No interval that Linux takes is long enough for an answer.
    RoundTripTooLong {
        /// The round-trip time.
        rtt: Duration,
        /// The longest for which there are values.
        longest: Duration,
    },
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFast {
                wished,
                at_least,
                rtt,
            } => write!(
                f,
                "a dead peer cannot be noticed within {wished:?}: idle time and interval are whole \
                 seconds, one lost answer is not death, so {LEAST_COUNT} probes are the least, and \
                 each gets {ROUND_TRIPS} round trips of {rtt:?}; possible is {at_least:?}"
            ),
            Self::ForgetsTooSoon {
                after,
                at_least,
                rtt,
            } => write!(
                f,
                "no probes keep a path open that forgets after {after:?}: idle time and interval are \
                 whole seconds and at least {ROUND_TRIPS} round trips of {rtt:?}, {SHARE_OF_PATH} % of the \
                 timeout may be silence, and a probe that is lost must be followed by another in \
                 time; possible is an idle timeout of {at_least:?}"
            ),
            Self::NotRefreshed { after, .. } => write!(
                f,
                "keep-alive probes do not refresh an idle timeout of {after:?} that counts only data: \
                 a probe carries none"
            ),
            Self::RoundTripTooLong { rtt, longest } => write!(
                f,
                "an answer that takes {rtt:?} is not sure to come within the longest interval that \
                 Linux takes, 32767s; possible is a round-trip time of {longest:?}"
            ),
        }
    }
}

impl core::error::Error for Impossible {}
