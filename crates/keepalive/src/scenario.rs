//! A connection's life as data: what its options are, when its peer falls
//! silent, what happens to it and when.
//!
//! * [`simulation`](crate::simulation) plays a scenario in virtual time.
//! * The feature `toml` reads scenarios from files (`Scenario::from_toml`).
//!
//! Times count from the moment at which the connection was established and
//! last heard.

#[cfg(feature = "toml")]
mod toml;

use crate::machine::Errno;
use crate::options::{Options, SetOption, Sysctl};
use crate::time::Time;
use alloc::vec::Vec;
use core::time::Duration;

#[cfg(feature = "toml")]
pub use self::toml::ScenarioError;

/// A connection's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// When to stop looking.
    pub until: Time,
    /// What the connection has set when it is established.
    pub options: Options,
    /// The values of its network namespace at that time.
    pub sysctl: Sysctl,
    /// Which end opened the connection. An accepted one has its options from
    /// the listener.
    pub opened: Opened,
    /// The other end.
    pub peer: Peer,
    /// What happens, in time order.
    pub events: Vec<Step>,
}

impl Default for Scenario {
    /// Nothing happens, for Linux's detection time of 7875 s.
    fn default() -> Self {
        Self {
            until: Time::from_secs(7875),
            options: Options::default(),
            sysctl: Sysctl::LINUX,
            opened: Opened::Connect,
            peer: Peer::default(),
            events: Vec::new(),
        }
    }
}

/// How the connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Opened {
    /// The program called `connect`.
    #[default]
    Connect,
    /// A listener accepted it.
    Accept,
}

/// The other end: a Linux host, as far as probes can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Peer {
    /// From a probe to its answer.
    pub rtt: Duration,
    /// From then on nothing comes from it. A probe is answered if it arrives,
    /// half a round trip after it was sent, before that.
    pub silent_from: Option<Time>,
    /// From then on it knows nothing of the connection, and answers with a
    /// reset. Where both are given, the later one holds once it has begun.
    pub resets_from: Option<Time>,
}

/// How a peer meets a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// It answers.
    Answers,
    /// It does not.
    Silent,
    /// It resets the connection.
    Resets,
}

impl Peer {
    /// How the peer meets a segment that was sent at this time.
    #[must_use]
    pub fn reaction(&self, sent: Time) -> Reaction {
        let arrival = sent + self.rtt / 2;
        let begun = |from: Option<Time>| from.filter(|from| *from <= arrival);
        match (begun(self.silent_from), begun(self.resets_from)) {
            (None, None) => Reaction::Answers,
            (Some(silent), Some(resets)) if resets < silent => Reaction::Silent,
            (Some(_), None) => Reaction::Silent,
            (_, Some(_)) => Reaction::Resets,
        }
    }
}

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Time,
    /// What.
    pub what: Happening,
}

/// What can happen to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// In-order data come from the peer, acknowledging nothing new.
    ReceiveData,
    /// An acceptable ACK comes from the peer, acknowledging nothing new.
    ReceiveAck,
    /// The peer's own keep-alive probe comes, without data (its sequence
    /// number is old, so its acknowledgment is not looked at).
    ReceiveProbe,
    /// The peer's own keep-alive probe comes, with one garbage byte.
    ReceiveGarbageProbe,
    /// Data come that leave a gap.
    ReceiveOutOfOrder,
    /// An ACK comes for less than was already acknowledged.
    ReceiveOldAck,
    /// An ACK comes for what was never sent.
    ReceiveFutureAck,
    /// The program sends data.
    SendData {
        /// Whether the peer acknowledges them, one round trip later. If not,
        /// they stay in flight for good.
        acked: bool,
    },
    /// The program sets options, in this order.
    Set(Vec<SetOption>),
    /// Somebody sets the sysctls of the namespace.
    Sysctl(Sysctl),
    /// An ICMP error comes.
    IcmpError {
        /// What it stands for.
        error: Errno,
        /// Whether it quotes a keep-alive probe, and so nothing that was in
        /// the window, or an ordinary segment.
        quotes_probe: bool,
    },
    /// This host's own queue is full from now on: what is sent is dropped.
    QueueFull,
    /// It is no more.
    QueueDrained,
    /// The peer closes its side.
    PeerCloses,
    /// The program shuts its side down and keeps the connection open
    /// (`shutdown(SHUT_WR)`); the peer acknowledges that.
    Shutdown,
    /// The program closes the connection; the peer acknowledges that.
    Close,
}
