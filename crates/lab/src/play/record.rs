//! What happened to a connection, as it was seen, with the times.

use std::time::Duration;
use tcpalive_keepalive::{Errno, Event, Sysctl, Time};

/// When something happened: between two readings of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// Not before.
    pub from: Time,
    /// Not after.
    pub to: Time,
}

impl Between {
    /// A time that is known exactly: a stamp of the kernel.
    #[must_use]
    pub const fn exactly(at: Time) -> Self {
        Self { from: at, to: at }
    }

    /// How much is not known.
    #[must_use]
    pub const fn width(&self) -> Duration {
        self.to.since(self.from)
    }

    fn since(self, origin: Time) -> Self {
        Self {
            from: Time::from_origin(self.from.since(origin)),
            to: Time::from_origin(self.to.since(origin)),
        }
    }
}

/// Something that was done to a connection, or seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// What the machine is told as it is.
    Happened(Event),
    /// In-order data reached the subject, acknowledging nothing new, and
    /// earlier data may wait unread. Then it is the kernel's own affair
    /// whether it looks at their acknowledgment. Without unread data it does
    /// ([`Event::Ack`]).
    UnreadData {
        /// Whether anything of the subject's was in flight.
        outstanding: bool,
    },
    /// The peer answered a probe.
    Answer {
        /// Whether anything of the subject's was in flight.
        outstanding: bool,
    },
    /// Somebody set the namespace's sysctls.
    Sysctl(Sysctl),
    /// The subject's queue was full from then on.
    QueueFull,
    /// The queue took packets again.
    QueueDrained,
    /// A probe of the right form came from the subject.
    Probe,
    /// The subject made a probe and its own host dropped it: its queue
    /// (`TCPKeepAlive` of the namespace went up), or the backlog behind the
    /// cable (it left one end and did not arrive at the other).
    Dropped,
    /// The subject's host dropped something that was no probe.
    Lost,
    /// A reset of the right form came from the subject.
    Abort,
    /// The program closed its socket: it is given no error any more.
    SocketClosed,
    /// The program was given an error.
    Error(Errno),
    /// A segment came from the subject that is wrong whatever the time.
    Odd(String),
}

/// A connection's life, as it was seen. Times count from its establishment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// In time order, by [`Between::from`].
    pub facts: Vec<(Between, Fact)>,
    /// Until when the connection was watched.
    pub watched_until: Time,
    /// How long the peer's segment that established the connection took to
    /// be sent: the origin of all times is not known better.
    pub origin_width: Duration,
}

impl Record {
    /// Orders what was noted until the end of watching, and makes times count
    /// from `established`.
    pub(crate) fn new(
        mut facts: Vec<(Between, Fact)>,
        established: Between,
        watched_until: Time,
    ) -> Self {
        facts.retain(|(at, _)| at.to <= watched_until);
        facts.sort_by_key(|(at, _)| at.from);
        for (at, _) in &mut facts {
            *at = at.since(established.from);
        }
        Self {
            facts,
            watched_until: Time::from_origin(watched_until.since(established.from)),
            origin_width: established.width(),
        }
    }
}
