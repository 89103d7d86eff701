//! Flows: TCP connections as a capture shows them, and their keep-alive.
//!
//! [`Tracker`] takes segments one after the other, says of each whether it is
//! a probe or an answer, and gives a [`Flow`] for each connection. A capture
//! may begin anywhere, show one direction only, hold packets twice or out of
//! order.
//!
//! # What is a probe
//! An empty ACK one number to the left of what its sender sends next. What
//! that is, the sender's own segments tell, and its peer's acknowledgments.
//! Where a capture begins with the probe itself, nobody can tell yet: the
//! answer does, which acknowledges a number more than the probe bears; or
//! what the sender sends next; or a reset at that number, an interval after
//! an even run. Frames that became clear so late are given by
//! [`Tracker::take_late`].
//!
//! One byte at that place is a probe if the peer has acknowledged it and it
//! cannot be a retransmission, whose ACK may have been lost behind the place
//! of capture: what was sent last had two bytes or more, or was sent over
//! 1000 s ago (Linux gives up after 925 s), or the byte comes four times at
//! even spacing, where retransmissions come twice as late each time.
//!
//! While the peer's window is closed, either is a probe of the window.
//!
//! # When a peer is dead
//! Never for one or two missing answers, unless the prober itself gave up.
//! See [`Verdict`].
//!
//! # Memory
//! 104 bytes for a live flow on IPv4, 128 on IPv6, 64 for each end that
//! probes, 4 to 8 for the table. Flows that ended leave by
//! [`Tracker::take_ended`].

mod hash;
mod outcome;
mod probing;
mod recognise;
mod state;
mod table;
mod timing;
mod tracker;

pub use outcome::{End, Flow, Probing, RoundTrip, Verdict};
pub use timing::Estimate;
pub use tracker::{Tracker, TrackerOptions};

/// What a frame is to keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// A keep-alive probe.
    KeepAlive {
        /// It carries one byte, which the peer has already.
        garbage: bool,
        /// Probes since the peer was heard last, this one included.
        unanswered: u16,
    },
    /// The answer to a keep-alive probe.
    KeepAliveAck {
        /// Time since the last probe, in ns.
        delay_ns: u64,
    },
    /// A probe of a closed window. Linux sends the same bytes for it as for
    /// keep-alive.
    ZeroWindowProbe,
    /// The reset of a prober that gave up.
    Exhausted {
        /// Probes that had no answer.
        unanswered: u16,
    },
}

/// One end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowEnd {
    /// [`Flow::a`].
    A,
    /// [`Flow::b`].
    B,
}
