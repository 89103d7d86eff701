//! What happened in one flow, packet by packet: the first and the last of
//! them, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use tcpalive_capture::flow::{Flow, FrameKind};
use tcpalive_segment::{Flags, Segment};

/// A packet of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) frame: u64,
    pub(super) ns: u64,
    pub(super) flags: Flags,
    /// Payload, in bytes.
    pub(super) length: u32,
    /// Sent by the end with the lower address.
    pub(super) from_low: bool,
    pub(super) kind: Option<FrameKind>,
}

/// What tells flows of a capture apart, as long as ports are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    context: u64,
    low: SocketAddr,
    high: SocketAddr,
}

impl Key {
    /// The key, and whether the first address is the lower one.
    pub(super) fn new(context: u64, from: SocketAddr, to: SocketAddr) -> (Self, bool) {
        let from_low = from <= to;
        let (low, high) = if from_low { (from, to) } else { (to, from) };
        (Self { context, low, high }, from_low)
    }

    pub(super) fn of(flow: &Flow) -> Self {
        Self::new(flow.context, flow.a, flow.b).0
    }
}

/// How many packets a log holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) head: usize,
    pub(super) tail: usize,
}

/// Packets of a flow.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) head: Vec<Event>,
    pub(super) tail: VecDeque<Event>,
    pub(super) omitted: Omitted,
    room: Room,
}

/// Packets between head and tail.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Omitted {
    pub(super) packets: u64,
    pub(super) probes: u64,
    pub(super) answers: u64,
}

impl Log {
    pub(super) const fn new(room: Room) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            omitted: Omitted {
                packets: 0,
                probes: 0,
                answers: 0,
            },
            room,
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.head.len() < self.room.head {
            self.head.push(event);
            return;
        }
        if self.tail.len() == self.room.tail
            && let Some(gone) = self.tail.pop_front()
        {
            self.omitted.packets += 1;
            match gone.kind {
                Some(FrameKind::KeepAlive { .. }) => self.omitted.probes += 1,
                Some(FrameKind::KeepAliveAck { .. }) => self.omitted.answers += 1,
                _ => {}
            }
        }
        self.tail.push_back(event);
    }

    /// What a frame is, has become clear. Whether it is one of this flow.
    pub(super) fn amend(&mut self, frame: u64, kind: FrameKind) -> bool {
        let of = |event: &Event| event.frame.cmp(&frame);
        let event = match self.head.binary_search_by(of) {
            Ok(at) => self.head.get_mut(at),
            Err(_) => match self.tail.binary_search_by(of) {
                Ok(at) => self.tail.get_mut(at),
                Err(_) => None,
            },
        };
        event.map(|event| event.kind = Some(kind)).is_some()
    }
}

/// A packet, as it is put into a log.
pub(super) fn event(
    frame: u64,
    ns: u64,
    segment: &Segment<'_>,
    from_low: bool,
    kind: Option<FrameKind>,
) -> Event {
    Event {
        frame,
        ns,
        flags: segment.flags(),
        // An IP packet holds at most 65,535.
        length: segment.payload_len() as u32,
        from_low,
        kind,
    }
}

/// Logs of flows that are probed, for input that cannot be read again: they
/// begin with the first probe, and there are not more than
/// [`Streamed::MOST`] at a time.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    open: HashMap<Key, Log>,
}

impl Streamed {
    const MOST: usize = 2_000;
    const ROOM: Room = Room { head: 32, tail: 96 };

    pub(super) fn packet(
        &mut self,
        frame: u64,
        ns: u64,
        context: u64,
        segment: &Segment<'_>,
        kind: Option<FrameKind>,
    ) {
        let is_probe = matches!(kind, Some(FrameKind::KeepAlive { .. }));
        let may_open = is_probe && self.open.len() < Self::MOST;
        if !may_open && self.open.is_empty() {
            return;
        }
        let (key, from_low) = Key::new(context, segment.source(), segment.destination());
        let event = event(frame, ns, segment, from_low, kind);
        if may_open {
            let log = self
                .open
                .entry(key)
                .or_insert(const { Log::new(Self::ROOM) });
            log.push(event);
        } else if let Some(log) = self.open.get_mut(&key) {
            log.push(event);
        }
    }

    /// The flow's log; it is over. A flow before it between the same ports
    /// may have left packets in it.
    pub(super) fn take(&mut self, flow: &Flow) -> Option<Log> {
        let mut log = self.open.remove(&Key::of(flow))?;
        let is_own = |event: &Event| event.frame >= flow.first_frame && event.ns <= flow.last_ns;
        log.head.retain(is_own);
        log.tail.retain(is_own);
        (!log.head.is_empty()).then_some(log)
    }
}
