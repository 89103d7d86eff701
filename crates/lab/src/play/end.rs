//! What is known of one connection while it is played.

use super::Part;
use super::record::{Between, Fact};
use super::scripted_peer::{Heard, ScriptedPeer};
use super::stage::{PEER, SUBJECT};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tcpalive_keepalive::{Event, Reaction, Scenario, Time};

/// The peer's port of the first connection.
pub(super) const PEER_PORTS: u16 = 10_000;
/// The subject's port of the first connection that it accepts.
const LISTENER_PORTS: u16 = 10_000;
/// Connections of one stage: as many as there are ports below the ephemeral ones.
pub(super) const CAPACITY: usize = 20_000;
/// How long a connection is watched after its end.
const QUIET: Duration = Duration::from_millis(600);

/// One connection.
pub(super) struct End<'p> {
    pub(super) part: &'p Part,
    pub(super) peer: ScriptedPeer,
    pub(super) peer_address: SocketAddr,
    pub(super) listener_address: SocketAddr,
    pub(super) listener: Option<OwnedFd>,
    pub(super) socket: Option<OwnedFd>,
    /// The subject's first sequence number after its SYN's.
    pub(super) initial: u32,
    /// Sequence numbers that the program used, a FIN included.
    pub(super) written: u32,
    /// Data that the peer will not acknowledge were sent.
    pub(super) stuck: bool,
    /// What the subject sends next is met with a reset.
    pub(super) resets_new: bool,
    /// The program sent a FIN; whether it kept the socket.
    pub(super) fin: Option<bool>,
    pub(super) peer_closed: bool,
    pub(super) established: Option<Between>,
    pub(super) watched_until: Option<Time>,
    pub(super) facts: Vec<(Between, Fact)>,
    /// Packets that left the subject and were not seen at the peer so far.
    pub(super) left: VecDeque<Left>,
}

/// A packet that left the subject.
pub(super) struct Left {
    pub(super) at: Time,
    pub(super) packet: Vec<u8>,
    /// What the peer made of it at that time: it may say more before the
    /// packet arrives.
    pub(super) heard: Heard,
}

impl<'p> End<'p> {
    pub(super) fn new(part: &'p Part, number: u16) -> Self {
        let family = usize::from(part.ipv6);
        let address = |text: &str, port| SocketAddr::new(text.parse::<IpAddr>().unwrap(), port);
        let peer_address = address(PEER[family], PEER_PORTS + number);
        let listener_address = address(SUBJECT[family], LISTENER_PORTS + number);
        Self {
            part,
            peer: ScriptedPeer::new(peer_address, listener_address, part.timestamps),
            peer_address,
            listener_address,
            listener: None,
            socket: None,
            initial: 0,
            written: 0,
            stuck: false,
            resets_new: false,
            fin: None,
            peer_closed: false,
            established: None,
            watched_until: None,
            facts: Vec::new(),
            left: VecDeque::new(),
        }
    }

    pub(super) fn outstanding(&self) -> bool {
        !self.peer.all_acknowledged(self.written, self.initial)
    }

    pub(super) fn note(&mut self, at: Between, fact: Fact) {
        self.facts.push((at, fact));
    }

    /// How the peer meets something that was sent at this time.
    pub(super) fn reaction(&self, at: Time) -> Reaction {
        let origin = self.established.map_or(at, |established| established.from);
        let at = Time::from_origin(at.since(origin));
        self.part.scenario.peer.reaction(at)
    }

    /// TIME_WAIT, or the end of LAST_ACK.
    pub(super) fn closed_by_both(&mut self, at: Between) {
        if self.peer_closed && self.fin.is_some() && !self.outstanding() {
            self.note(at, Fact::Happened(Event::Closed));
        }
    }

    /// The connection ended: a little later all is known about it.
    pub(super) fn ended(&mut self, at: Time) {
        if !self.is_over(at) {
            self.watched_until = Some(at + QUIET);
        }
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        self.watched_until.is_some_and(|until| until <= now)
    }

    /// A packet left the subject and was dropped on the way: the processor's
    /// backlog behind the cable was full. The kernel knows that at once, as
    /// of a full queue.
    pub(super) fn dropped(&mut self, left: Left) {
        let exactly = Between::exactly(left.at);
        match left.heard {
            Heard::Probe => self.note(exactly, Fact::Dropped),
            Heard::Odd(what) => self.note(exactly, Fact::Odd(what)),
            Heard::Reset => {
                self.note(exactly, Fact::Abort);
                self.note(exactly, Fact::Lost);
            }
            _ => self.note(exactly, Fact::Lost),
        }
    }

    pub(super) fn rtt(&self) -> Duration {
        self.part.scenario.peer.rtt
    }
}

/// Until when a connection is watched if it does not end: an eighth longer
/// than its scenario, as that is how late the kernel's timers are, and most of
/// a second.
#[must_use]
pub fn watched(scenario: &Scenario) -> Time {
    let until = scenario.until.since_origin();
    Time::from_origin(until + until / 8 + QUIET)
}
