//! What a check found out about the peer of a connection.

use std::fmt;

/// The six answers to "is the peer of this connection still there?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The peer answered, or was heard by itself meanwhile.
    Alive,
    /// Silent to every probe, and nothing but death is left to explain it.
    Dead,
    /// The peer's host answered with a reset: it does not know the connection.
    Gone,
    /// Data is in flight or the peer's window is closed: keep-alive does not
    /// run then; the retransmission timer decides.
    Stalled,
    /// Silence proves nothing here, for the reason given.
    Unprovable,
    /// It ended by itself while it was being checked.
    Closed,
}

impl Outcome {
    /// All outcomes, in the order of the contract's summary.
    pub const ALL: [Self; 6] = [
        Self::Alive,
        Self::Dead,
        Self::Gone,
        Self::Stalled,
        Self::Unprovable,
        Self::Closed,
    ];

    /// The name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Gone => "gone",
            Self::Stalled => "stalled",
            Self::Unprovable => "unprovable",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An outcome with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The answer.
    pub outcome: Outcome,
    /// Probes sent on behalf of the connection.
    pub probes: u32,
    /// Whether a probe was answered.
    pub answered: bool,
    /// Round-trip time of the answer in microseconds.
    pub rtt_us: Option<u64>,
    /// From the first probe to the verdict, in milliseconds.
    pub waited_ms: u64,
    /// Milliseconds since the peer was last heard, at the verdict.
    pub last_heard_ms: Option<u64>,
    /// The evidence in a sentence.
    pub reason: String,
}
