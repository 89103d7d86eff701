//! What a prober's record learns: from a probe, from a sign of life, from a
//! reset.

use super::FrameKind;
use super::recognise::{COPY_NS, Observer, Packet};
use super::state::{Common, Fact, NO_RECORD, Record, Side, far_apart};
use super::timing;
use tcpalive_segment::Flags;

/// What comes from a peer so soon after a probe may be instead of an answer.
const ANSWERS_WITHIN_NS: u64 = 1_000_000_000;

impl Observer {
    /// A probe, empty or with a byte; or what may turn out to be one.
    pub(crate) fn probe(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        let peer = side ^ 1;
        self.take_acknowledgment_of_probe(flow, packet, side);
        self.mark_signs(flow, peer);
        let is_garbage = packet.length > 0;
        let quiet_ms = quiet_time(flow, packet.time_ns, peer);
        let watched_ms = if flow.bits.both(Fact::Syn) {
            u32::MAX
        } else {
            milliseconds(packet.time_ns.saturating_sub(flow.first_ns))
        };
        let echo = packet.segment.timestamps().map(|stamps| stamps.echo_reply);
        let record = self.record(flow, side);
        let is_copy = record.probes > 0 && packet.time_ns.abs_diff(record.last_probe_ns) < COPY_NS;
        if !is_copy {
            let gap_ms = milliseconds(packet.time_ns.saturating_sub(record.last_probe_ns));
            record.take_echo(echo);
            if record.run > 0 {
                record.interval_ms = record.interval_ms.min(gap_ms);
                record.widest_ms = record.widest_ms.max(gap_ms);
            } else if record.probes > 0 && record.is(Record::ONLY_ANSWERED) {
                record.period_ms = record.period_ms.min(gap_ms);
            } else {
                record.take_quiet_time(quiet_ms, gap_ms, watched_ms);
            }
            if record.run == 0 {
                record.put(Record::PEER_SIGNS, false);
            }
            record.probes = record.probes.saturating_add(1);
            record.run = record.run.saturating_add(1);
            record.garbage = record.garbage.saturating_add(u16::from(is_garbage));
            record.put(Record::OUTSTANDING, true);
            record.last_probe_ns = packet.time_ns;
        }
        let kind = FrameKind::KeepAlive {
            garbage: is_garbage,
            unanswered: record.run,
        };
        if is_garbage {
            // The byte is a duplicate, but its ACK counts (`tcp_ack`).
            flow.directions[side].heard = flow.tick(packet.time_ns);
            flow.bits.set(Fact::Heard, side, true);
        }
        self.tell(flow, side, packet.frame, kind)
    }

    /// The peer of `prober` gave a sign of life that the prober's kernel
    /// counts. `is_answer`: it has the form of an answer.
    pub(crate) fn heard(
        &mut self,
        flow: &Common,
        packet: &Packet<'_>,
        prober: Side,
        is_answer: bool,
    ) -> Option<FrameKind> {
        if flow.records[prober] == NO_RECORD {
            return None;
        }
        if flow.bits.has(Fact::Exhausted, prober) {
            self.mark_signs(flow, prober);
            return None;
        }
        let record = self.records.entry(flow.records[prober]);
        let delay_ns = packet.time_ns.saturating_sub(record.last_probe_ns);
        let is_copy =
            is_answer && record.is(Record::ONLY_ANSWERED) && !record.is(Record::OUTSTANDING);
        if is_copy && record.answers > 0 {
            let heard = flow.since(flow.directions[prober ^ 1].heard, packet.time_ns);
            if heard.is_some_and(|ms| u64::from(ms) * 1_000_000 < COPY_NS) {
                let kind = FrameKind::KeepAliveAck { delay_ns };
                return self.tell(flow, prober, packet.frame, kind);
            }
        }
        let answers = is_answer && record.is(Record::OUTSTANDING);
        if answers {
            record.answers = record.answers.saturating_add(1);
            if record.run == 1 {
                record.take_round_trip(delay_ns);
            }
        }
        // What comes much later than an answer would is none.
        let late = !answers && delay_ns > ANSWERS_WITHIN_NS;
        let before = record.run.saturating_sub(u16::from(!late));
        record.longest = record.longest.max(before);
        record.survived = record.survived.max(before);
        record.run = 0;
        record.put(Record::OUTSTANDING | Record::ECHO_STILL, false);
        record.put(Record::ONLY_ANSWERED, answers);
        if !answers {
            return None;
        }
        let kind = FrameKind::KeepAliveAck { delay_ns };
        self.tell(flow, prober, packet.frame, kind)
    }

    /// The peer of `prober` lives, but did nothing that the prober's kernel
    /// counts: its probes go on.
    pub(crate) fn mark_signs(&mut self, flow: &Common, prober: Side) {
        if flow.records[prober] != NO_RECORD {
            let record = self.records.entry(flow.records[prober]);
            record.put(Record::PEER_SIGNS, true);
        }
    }

    pub(crate) fn reset(
        &mut self,
        flow: &mut Common,
        packet: &Packet<'_>,
        side: Side,
    ) -> Option<FrameKind> {
        if flow.bits.has(Fact::Guessed, side) {
            self.guessed_ends(flow, packet, side);
        }
        let is_known = flow.bits.has(Fact::Known, side);
        let next = flow.directions[side].next;
        let in_handshake = packet.sequence == 0;
        if flow.is_over() || is_known && !in_handshake && far_apart(packet.sequence, next) {
            return None;
        }
        let record = self.records.get(flow.records[side]).copied();
        let exhausted = record.filter(|record| {
            packet.sequence == next
                && record.is_confirmed()
                && record.run > 0
                && timing::runs_out(
                    record,
                    milliseconds(packet.time_ns.saturating_sub(record.last_probe_ns)),
                )
        });
        if let Some(record) = exhausted {
            flow.bits.set(Fact::Exhausted, side, true);
            return Some(FrameKind::Exhausted {
                unanswered: record.run,
            });
        }
        flow.bits.set(Fact::Reset, side, true);
        None
    }

    /// A reset behind what may have been probes: at the number that follows
    /// theirs, and after an even run of them, it proves that they were.
    fn guessed_ends(&mut self, flow: &mut Common, packet: &Packet<'_>, side: Side) {
        let stands_right = packet.sequence == flow.directions[side].next.wrapping_add(1)
            && packet.flags.contains(Flags::RST);
        let record = *self.record(flow, side);
        if stands_right && timing::is_even(record.interval_ms, record.widest_ms) {
            self.confirm(flow, side);
        } else {
            self.reject(flow, side);
        }
    }
}

impl Record {
    /// TSecr is the last TSval that the prober took from its peer. As long as
    /// it stands still, the prober heard nothing; if it moves and nothing was
    /// seen, the capture does not show what the prober hears.
    fn take_echo(&mut self, echo: Option<u32>) {
        let Some(echo) = echo else {
            self.put(Self::HAS_ECHO | Self::ECHO_STILL, false);
            return;
        };
        if self.run == 0 {
            self.put(Self::ECHO_STILL, true);
        } else if !self.is(Self::HAS_ECHO) {
            self.put(Self::ECHO_STILL, false);
        } else if echo != self.echo {
            self.put(
                Self::PARTLY_SEEN | Self::ECHO_STILL | Self::ONLY_ANSWERED,
                true,
            );
            self.run = 0;
        }
        self.put(Self::HAS_ECHO, true);
        self.echo = echo;
    }

    /// Time from the last sign of life to the first probe after it. It is the
    /// idle time only if that timer was the last to fire: behind a probe, the
    /// interval's timer may have fired later, and found the idle time long
    /// over.
    fn take_quiet_time(&mut self, quiet_ms: Option<u32>, since_probe_ms: u32, watched_ms: u32) {
        let Some(quiet_ms) = quiet_ms else { return };
        let bound = self.interval_bound_ms();
        if self.probes == 0 {
            self.idle_ms = quiet_ms;
            self.watched_ms = watched_ms;
        } else if bound != u32::MAX && since_probe_ms > timing::latest_ms(bound) {
            self.idle_ms = self.idle_ms.min(quiet_ms);
            self.watched_ms = u32::MAX;
        }
    }

    fn take_round_trip(&mut self, delay_ns: u64) {
        let us = u32::try_from(delay_ns / 1_000).unwrap_or(u32::MAX);
        self.rtt_least_us = self.rtt_least_us.min(us);
        self.rtt_most_us = self.rtt_most_us.max(us);
        if self.rtt_typical_us == 0 {
            self.rtt_typical_us = us;
            return;
        }
        // A step towards each sample that does not grow with its distance
        // settles at the median.
        let step = (self.rtt_typical_us / 16).max(1);
        let distance = us.abs_diff(self.rtt_typical_us).min(step);
        if us > self.rtt_typical_us {
            self.rtt_typical_us += distance;
        } else {
            self.rtt_typical_us -= distance;
        }
    }
}

/// Milliseconds since the peer was heard, if that is certain.
fn quiet_time(flow: &Common, now_ns: u64, peer: Side) -> Option<u32> {
    if !flow.bits.has(Fact::Heard, peer) || flow.bits.has(Fact::HeardUnsure, peer) {
        return None;
    }
    flow.since(flow.directions[peer].heard, now_ns)
}

/// One less than the largest number stands for all that are longer, which is
/// 49 days.
fn milliseconds(ns: u64) -> u32 {
    u32::try_from(ns / 1_000_000)
        .unwrap_or(u32::MAX)
        .min(u32::MAX - 1)
}
