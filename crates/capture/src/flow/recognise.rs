//! What each segment is: a probe, an answer, or a conversation's ordinary
//! part; and what it says about both directions.
//!
//! An empty ACK says where its sender stands: at `next`. One that stands a
//! number to the left of that is a probe, and nothing else looks like it. All
//! the work is in knowing `next`: from what the direction sent, from what its
//! peer acknowledged, and where a capture begins with the probe itself, from
//! what comes later ([`Fact::Guessed`]).

use super::FrameKind;
use super::state::{Common, Fact, NO_RECORD, Record, Records, Side, far_apart};
use super::timing;
use std::collections::HashMap;
use tcpalive_segment::{Flags, Segment, sequence};

/// A copy of a packet, as a capture on all interfaces has it, comes within
/// this time. No timer is so short.
pub(crate) const COPY_NS: u64 = 20_000_000;
/// An empty ACK that was overtaken by the byte, SYN or FIN sent after it
/// looks like a probe. It comes within this time.
const OVERTAKEN_MS: u32 = 50;
/// Empty ACKs that repeat each other faster than this are duplicates that ask
/// for a retransmission, not probes.
const REPEATED_ACK_NS: u64 = 500_000_000;
/// Later than this no sender repeats a byte: Linux gives up after 924.6 s
/// (`tcp_retries2`), and of its last attempts, which come every 120 s, the
/// capture may lack some.
const LAST_RETRANSMISSION_MS: u32 = 1_000_000;
/// Frames that are kept for one direction until it is clear what they are.
const PENDING_FRAMES: usize = 1024;

/// One packet of a flow.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) frame: u64,
    pub(crate) time_ns: u64,
    pub(crate) segment: &'a Segment<'a>,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: Flags,
    pub(crate) length: u32,
}

impl<'a> Packet<'a> {
    #[inline]
    pub(crate) fn new(frame: u64, time_ns: u64, segment: &'a Segment<'a>) -> Self {
        Self {
            frame,
            time_ns,
            segment,
            sequence: segment.sequence(),
            acknowledgment: segment.acknowledgment(),
            flags: segment.flags(),
            // An IP packet holds at most 65,535.
            length: segment.payload_len() as u32,
        }
    }

    fn has(&self, flag: Flags) -> bool {
        self.flags.contains(flag)
    }

    /// The number that follows what it occupies, SYN apart.
    fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.occupies())
    }

    fn occupies(&self) -> u32 {
        self.length + u32::from(self.has(Flags::FIN))
    }
}

/// What an acknowledgment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    /// Less than what is known.
    Stale,
    /// What is known.
    Same,
    /// More.
    News,
}

/// Reads the packets of all flows.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) records: Records,
    /// Frames whose kind became clear after them.
    pub(crate) late: Vec<(u64, FrameKind)>,
    /// How many of these the last flow brought, at the end.
    late_of_last_confirmation: usize,
    /// By record: frames whose kind is not clear yet.
    pending: HashMap<u32, Vec<(u64, FrameKind)>>,
    /// Whether to keep them at all.
    wants_late: bool,
}

impl Observer {
    pub(crate) fn new(wants_late: bool) -> Self {
        Self {
            wants_late,
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) fn observe(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        flow.packets = flow.packets.saturating_add(1);
        flow.bytes += u64::from(packet.length);
        flow.last_ns = flow.last_ns.max(packet.time_ns);
        if packet.flags.intersects(Flags::RST | Flags::SYN) || !packet.has(Flags::ACK) {
            return self.connection_control(flow, packet, side);
        }
        if !flow.bits.has(Fact::Known, side) {
            if packet.occupies() == 0 {
                return self.first_is_an_empty_ack(flow, packet, side);
            }
            let direction = &mut flow.directions[side];
            direction.next = packet.sequence;
            direction.acknowledged = packet.sequence;
            flow.bits.set(Fact::Known, side, true);
        } else if flow.bits.has(Fact::Guessed, side)
            && let Some(kind) = self.guessed_goes_on(flow, packet, side)
        {
            return kind;
        }
        let one_to_the_left = flow.directions[side].next.wrapping_sub(1);
        if packet.sequence == one_to_the_left && packet.length <= 1 && !packet.has(Flags::FIN) {
            return self.stands_to_the_left(flow, packet, side);
        }
        self.ordinary(flow, packet, side)
    }

    fn connection_control(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        if packet.has(Flags::RST) {
            return self.reset(flow, packet, side);
        }
        if packet.has(Flags::SYN) {
            self.synchronise(flow, packet, side);
        }
        // Without ACK it counts for nobody (RFC 9293 §3.10.7.4).
        None
    }

    fn synchronise(&mut self, flow: &mut Common, packet: &Packet<'_>, side: Side) {
        if flow.bits.has(Fact::Guessed, side) {
            self.reject(flow, side);
        }
        let first = packet.sequence.wrapping_add(1);
        if !flow.bits.has(Fact::Known, side) || flow.directions[side].next == first {
            let tick = flow.tick(packet.time_ns);
            let direction = &mut flow.directions[side];
            direction.next = first.wrapping_add(packet.length);
            direction.acknowledged = packet.sequence;
            direction.heard = tick;
            direction.data = tick;
            let bits = &mut flow.bits;
            bits.set(Fact::Known, side, true);
            bits.set(Fact::ShortTail, side, packet.length == 0);
            bits.set(Fact::LongTail, side, packet.length > 0);
            bits.set(Fact::Heard, side, true);
        }
        flow.bits.set(Fact::Syn, side, true);
        if packet.has(Flags::ACK) {
            self.take_acknowledgment(flow, packet, side);
        } else {
            flow.bits.set(Fact::Opened, side, true);
        }
    }

    /// The first segment of a direction is an empty ACK: it stands at `next`,
    /// or it is a probe.
    fn first_is_an_empty_ack(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        let tick = flow.tick(packet.time_ns);
        let direction = &mut flow.directions[side];
        direction.next = packet.sequence;
        direction.acknowledged = packet.sequence;
        direction.heard = tick;
        for fact in [Fact::Known, Fact::Guessed, Fact::Heard, Fact::HeardUnsure] {
            flow.bits.set(fact, side, true);
        }
        self.record(flow, side).put(Record::UNCONFIRMED, true);
        self.probe(flow, packet, side)
    }

    /// Whether what a direction sends next tells what its first segment was.
    /// `Some` if the packet was another of the same and is dealt with.
    fn guessed_goes_on(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<Option<FrameKind>> {
        let guess = flow.directions[side].next;
        if packet.sequence == guess.wrapping_add(1) {
            self.confirm(flow, side);
            return None;
        }
        let gap = packet
            .time_ns
            .saturating_sub(self.record(flow, side).last_probe_ns);
        let same = packet.sequence == guess
            && packet.occupies() == 0
            && packet.acknowledgment == flow.directions[side ^ 1].acknowledged;
        if same && !(COPY_NS..REPEATED_ACK_NS).contains(&gap) {
            return Some(self.probe(flow, packet, side));
        }
        self.reject(flow, side);
        None
    }

    /// An empty segment or one byte, at `next − 1`.
    fn stands_to_the_left(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        if flow.bits.has(Fact::ZeroWindow, side ^ 1) {
            return self.zero_window_probe(flow, packet, side);
        }
        let since_data = flow.since(flow.directions[side].data, packet.time_ns);
        if packet.length == 0 {
            let overtaken = flow.bits.has(Fact::ShortTail, side)
                && since_data.is_some_and(|ms| ms < OVERTAKEN_MS);
            if overtaken {
                self.take_acknowledgment(flow, packet, side);
                return None;
            }
            return self.probe(flow, packet, side);
        }
        let direction = &flow.directions[side];
        if direction.acknowledged != direction.next {
            return self.ordinary(flow, packet, side);
        }
        let record = self.records.get(flow.records[side]).copied();
        let known_for_it = record.is_some_and(|record| record.is_confirmed() && record.garbage > 0);
        if flow.bits.has(Fact::LongTail, side)
            || known_for_it
            || since_data.is_none_or(|ms| ms > LAST_RETRANSMISSION_MS)
        {
            if record.is_some_and(|record| !record.is_confirmed()) {
                self.confirm(flow, side);
            }
            return self.probe(flow, packet, side);
        }
        self.byte_again(flow, packet, side, record)
    }

    /// One byte that the peer has already, and nobody can tell yet whether it
    /// is repeated because the ACK was lost. A retransmission waits twice as
    /// long each time, a probe does not. Two spacings may still be alike where
    /// the capture lacks some retransmissions, three cannot.
    fn byte_again(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
        record: Option<Record>,
    ) -> Option<FrameKind> {
        // Retransmissions are closer first, and 120 s apart in the end.
        const GAP_MS: std::ops::Range<u32> = 900..100_000;
        let record = record.unwrap_or(Record::EMPTY);
        flow.directions[side].data = flow.tick(packet.time_ns);
        if record.probes == 0 {
            self.record(flow, side).put(Record::UNCONFIRMED, true);
            return self.probe(flow, packet, side);
        }
        if record.is_confirmed() {
            return self.ordinary(flow, packet, side);
        }
        let gap_ns = packet.time_ns.saturating_sub(record.last_probe_ns);
        if gap_ns < COPY_NS {
            return self.probe(flow, packet, side);
        }
        let gap = u32::try_from(gap_ns / 1_000_000).unwrap_or(u32::MAX);
        let before = record.interval_bound_ms();
        let is_even = record.probes == 1 || timing::is_even(gap.min(before), gap.max(before));
        if !GAP_MS.contains(&gap) || !is_even {
            self.reject(flow, side);
            return self.ordinary(flow, packet, side);
        }
        let kind = self.probe(flow, packet, side);
        if record.probes == 3 {
            self.confirm(flow, side);
        }
        kind
    }

    /// Same bytes as a keep-alive probe, other purpose: the peer's window was
    /// closed (`tcp_send_probe0`). Whether data waits for it to open, no
    /// capture tells.
    fn zero_window_probe(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        let record = self.record(flow, side);
        record.zero_window = record.zero_window.saturating_add(1);
        self.take_acknowledgment(flow, packet, side);
        self.take_window(flow, packet, side);
        self.mark_signs(flow, side ^ 1);
        Some(FrameKind::ZeroWindowProbe)
    }

    fn ordinary(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        let end = packet.end();
        let occupies = packet.occupies();
        let tick = flow.tick(packet.time_ns);
        let direction = &mut flow.directions[side];
        if far_apart(end, direction.next) {
            direction.next = packet.sequence;
            direction.acknowledged = packet.sequence;
        }
        let is_left = sequence::before(packet.sequence, direction.next);
        let is_new = sequence::after(end, direction.next);
        if is_new {
            direction.next = end;
            flow.bits.set(Fact::ShortTail, side, occupies == 1);
            flow.bits.set(Fact::LongTail, side, occupies > 1);
        }
        if occupies > 0 {
            direction.data = tick;
        }
        if packet.has(Flags::FIN) {
            flow.bits.set(Fact::Fin, side, true);
        }
        if is_new && flow.records[side] != NO_RECORD {
            self.new_data_of_a_prober(flow, side);
        }
        let acknowledged = self.take_acknowledgment(flow, packet, side);
        if acknowledged != Acknowledged::Stale {
            self.take_window(flow, packet, side);
        }
        let is_repeated = occupies > 0 && !is_new;
        let kind = if acknowledged == Acknowledged::Stale || is_repeated || occupies == 0 && is_left
        {
            // The kernel may not take it as a sign of life, but who reads the
            // capture does.
            if is_repeated {
                flow.bits.set(Fact::HeardUnsure, side, true);
            }
            self.mark_signs(flow, side ^ 1);
            None
        } else {
            let is_answer = occupies == 0
                && acknowledged == Acknowledged::Same
                && packet.acknowledgment == flow.directions[side ^ 1].next;
            let kind = self.heard(flow, packet, side ^ 1, is_answer);
            flow.directions[side].heard = tick;
            flow.bits.set(Fact::Heard, side, true);
            flow.bits.set(Fact::HeardUnsure, side, false);
            kind
        };
        let fills_closed_window = packet.length == 1
            && flow.bits.has(Fact::ZeroWindow, side ^ 1)
            && packet.sequence == flow.directions[side].acknowledged;
        if fills_closed_window {
            let record = self.record(flow, side);
            record.zero_window = record.zero_window.saturating_add(1);
            return Some(FrameKind::ZeroWindowProbe);
        }
        kind
    }

    /// A byte that looked like a probe was not one if the stream goes on
    /// before that is settled.
    fn new_data_of_a_prober(&mut self, flow: &mut Common, side: Side) {
        let is_confirmed = self
            .records
            .get(flow.records[side])
            .is_none_or(Record::is_confirmed);
        if !is_confirmed {
            self.reject(flow, side);
        }
    }

    /// What a segment of `side` says about what the other end sent.
    fn take_acknowledgment(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Acknowledged {
        let other = side ^ 1;
        let number = packet.acknowledgment;
        if flow.bits.has(Fact::Guessed, other) {
            if number == flow.directions[other].next.wrapping_add(1) {
                self.confirm(flow, other);
                if packet.segment.window() == 0 {
                    self.were_of_the_window(flow, other);
                }
            } else {
                self.reject(flow, other);
            }
        }
        let is_known = flow.bits.has(Fact::Known, other);
        let direction = &mut flow.directions[other];
        if !is_known || far_apart(number, direction.next) {
            direction.next = number;
            direction.acknowledged = number;
            flow.bits.set(Fact::Known, other, true);
            flow.bits.set(Fact::ShortTail, other, false);
            flow.bits.set(Fact::LongTail, other, false);
            return Acknowledged::News;
        }
        if sequence::after(number, direction.acknowledged) {
            direction.acknowledged = number;
            if sequence::after(number, direction.next) {
                // Sent, and not captured.
                direction.next = number;
                flow.bits.set(Fact::ShortTail, other, false);
                flow.bits.set(Fact::LongTail, other, false);
            }
            return Acknowledged::News;
        }
        if number == direction.acknowledged {
            Acknowledged::Same
        } else {
            Acknowledged::Stale
        }
    }

    pub(crate) fn take_acknowledgment_of_probe(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) {
        self.take_acknowledgment(flow, packet, side);
        self.take_window(flow, packet, side);
    }

    fn take_window(&mut self, flow: &mut Common, packet: &Packet<'_>, side: Side) {
        let is_closed = packet.segment.window() == 0;
        flow.bits.set(Fact::ZeroWindow, side, is_closed);
    }

    /// The record of an end as a prober; an empty one if there was none.
    pub(crate) fn record(&mut self, flow: &mut Common, side: Side) -> &mut Record {
        if flow.records[side] == NO_RECORD {
            flow.records[side] = self.records.take();
        }
        self.records.entry(flow.records[side])
    }

    /// The kind of a frame, now or when it is clear that its sender probes.
    pub(crate) fn tell(
        &mut self,
        flow: &Common,
        prober: Side,
        frame: u64,
        kind: FrameKind,
    ) -> Option<FrameKind> {
        let index = flow.records[prober];
        if self.records.get(index).is_some_and(Record::is_confirmed) {
            return Some(kind);
        }
        if self.wants_late {
            let frames = self.pending.entry(index).or_default();
            if frames.len() < PENDING_FRAMES {
                frames.push((frame, kind));
            }
        }
        None
    }

    /// What looked like probes of this end are probes.
    pub(crate) fn confirm(&mut self, flow: &mut Common, side: Side) {
        if flow.bits.has(Fact::Guessed, side) {
            flow.bits.set(Fact::Guessed, side, false);
            let direction = &mut flow.directions[side];
            direction.next = direction.next.wrapping_add(1);
            direction.acknowledged = direction.next;
        }
        let index = flow.records[side];
        self.record(flow, side).put(Record::UNCONFIRMED, false);
        let frames = self.pending.remove(&index).unwrap_or_default();
        self.late_of_last_confirmation = frames.len();
        self.late.extend(frames);
    }

    /// The first answer to probes at a capture's beginning says that the window
    /// is closed: so it was before, as far as anybody can tell.
    fn were_of_the_window(&mut self, flow: &mut Common, side: Side) {
        let record = self.record(flow, side);
        let probes = u16::try_from(record.probes).unwrap_or(u16::MAX);
        *record = Record {
            zero_window: record.zero_window.saturating_add(probes),
            ..Record::EMPTY
        };
        let from = self.late.len() - self.late_of_last_confirmation;
        for (_, kind) in &mut self.late[from..] {
            *kind = FrameKind::ZeroWindowProbe;
        }
    }

    /// They are not.
    pub(crate) fn reject(&mut self, flow: &mut Common, side: Side) {
        flow.bits.set(Fact::Guessed, side, false);
        let index = flow.records[side];
        if index == NO_RECORD {
            return;
        }
        self.pending.remove(&index);
        let zero_window = self.records.entry(index).zero_window;
        if zero_window > 0 {
            *self.records.entry(index) = Record {
                zero_window,
                ..Record::EMPTY
            };
        } else {
            self.records.give_back(index);
            flow.records[side] = NO_RECORD;
        }
    }

    /// Takes the records of a flow that is over.
    pub(crate) fn take_records(&mut self, flow: &Common) -> [Option<Record>; 2] {
        flow.records.map(|index| {
            let record = self.records.get(index).copied()?;
            self.pending.remove(&index);
            self.records.give_back(index);
            Some(record)
        })
    }

    pub(crate) fn memory(&self) -> usize {
        let frames: usize = self
            .pending
            .values()
            .map(|frames| frames.capacity() * size_of::<(u64, FrameKind)>())
            .sum();
        self.records.memory() + frames
    }
}
