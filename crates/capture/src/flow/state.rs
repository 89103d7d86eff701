//! What is remembered of a live flow: 80 bytes, and 64 more for each end that
//! probes.

use super::timing;
use tcpalive_segment::sequence;

/// The end with the lower address and port is 0, the other 1.
pub(crate) type Side = usize;

/// No record.
pub(crate) const NO_RECORD: u32 = u32::MAX;

/// A tick of the coarse clock in which quiet times are kept: 1.05 ms. It
/// runs from the flow's first packet for 52 days, and then stands still.
const TICK_BITS: u32 = 20;

/// One bit for each end: [`Bits::has`] and [`Bits::set`] take a side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bits(u32);

/// Facts that hold for one end each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Fact {
    /// The direction's numbers are known.
    Known,
    /// The direction's first segment was an empty ACK: its number may be the
    /// next to be sent, or a probe's, which is one less.
    Guessed,
    /// Sent a SYN without ACK: it opened the connection.
    Opened,
    /// Sent a SYN, with ACK or without.
    Syn,
    /// Sent a FIN.
    Fin,
    /// Its last segment offered no window.
    ZeroWindow,
    /// The last that it sent and that occupies numbers is known, and occupies
    /// one: a byte, SYN or FIN.
    ShortTail,
    /// The same, and it occupies two or more.
    LongTail,
    /// The last time when it was heard is not certain: what it sent may have
    /// been a repetition that the other end threw away.
    HeardUnsure,
    /// Was heard at all: its part of [`Direction::heard`] counts.
    Heard,
    /// Reset the connection.
    Reset,
    /// Reset the connection as its last unanswered probe ran out.
    Exhausted,
    /// Sent the flow's first packet.
    First,
}

impl Bits {
    #[inline]
    pub(crate) fn has(self, fact: Fact, side: Side) -> bool {
        self.0 >> (fact as u32 * 2 + side as u32) & 1 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, fact: Fact, side: Side, value: bool) {
        let bit = fact as u32 * 2 + side as u32;
        self.0 = self.0 & !(1 << bit) | u32::from(value) << bit;
    }

    pub(crate) fn either(self, fact: Fact) -> bool {
        self.has(fact, 0) || self.has(fact, 1)
    }

    pub(crate) fn both(self, fact: Fact) -> bool {
        self.has(fact, 0) && self.has(fact, 1)
    }
}

/// The numbers of what one end sends. They count with [`Fact::Known`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Direction {
    /// Follows the highest number that was sent, or that the peer says it got.
    pub(crate) next: u32,
    /// The highest that the peer acknowledged.
    pub(crate) acknowledged: u32,
    /// Tick of the last segment that the peer takes for a sign of life.
    pub(crate) heard: u32,
    /// Tick of the last segment with payload, SYN or FIN.
    pub(crate) data: u32,
}

/// A flow, apart from its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    pub(crate) first_frame: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// Payload, both directions.
    pub(crate) bytes: u64,
    pub(crate) packets: u32,
    /// Index of each end's [`Record`] as a prober.
    pub(crate) records: [u32; 2],
    pub(crate) bits: Bits,
    pub(crate) directions: [Direction; 2],
}

impl Common {
    /// What stands in a free entry.
    pub(crate) const VACANT: Self = Self {
        first_frame: 0,
        first_ns: 0,
        last_ns: 0,
        bytes: 0,
        packets: 0,
        records: [NO_RECORD; 2],
        bits: Bits(0),
        directions: [Direction {
            next: 0,
            acknowledged: 0,
            heard: 0,
            data: 0,
        }; 2],
    };

    /// A flow whose first packet this end sends.
    pub(crate) fn new(frame: u64, time_ns: u64, side: Side) -> Self {
        let mut bits = Bits::default();
        bits.set(Fact::First, side, true);
        Self {
            first_frame: frame,
            first_ns: time_ns,
            last_ns: time_ns,
            bits,
            ..Self::VACANT
        }
    }

    pub(crate) fn is_vacant(&self) -> bool {
        !self.bits.either(Fact::First)
    }

    #[inline]
    pub(crate) fn tick(&self, time_ns: u64) -> u32 {
        let ticks = time_ns.saturating_sub(self.first_ns) >> TICK_BITS;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Milliseconds from a tick to now; `None` when the coarse clock has
    /// come to its end.
    pub(crate) fn since(&self, tick: u32, time_ns: u64) -> Option<u32> {
        let now = self.tick(time_ns);
        if now == u32::MAX {
            return None;
        }
        let ns = u64::from(now.saturating_sub(tick)) << TICK_BITS;
        u32::try_from(ns / 1_000_000).ok()
    }

    /// Nobody will send in it any more, as far as the packets tell.
    pub(crate) fn is_over(&self) -> bool {
        self.bits.either(Fact::Reset)
            || self.bits.either(Fact::Exhausted)
            || self.bits.both(Fact::Fin)
    }
}

/// What one end did as a prober, and what came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) last_probe_ns: u64,
    pub(crate) probes: u32,
    pub(crate) answers: u32,
    /// Least time from a sign of life to the first probe after it, in ms;
    /// `u32::MAX`: none is known. The two below as well.
    pub(crate) idle_ms: u32,
    /// Where `idle_ms` is from the first probe of a flow that began earlier
    /// than the capture: time from the capture's first packet of it to that
    /// probe, in ms. `u32::MAX`: `idle_ms` is certain.
    pub(crate) watched_ms: u32,
    /// Least time between a probe without answer and the next.
    pub(crate) interval_ms: u32,
    /// Least time between a probe with an answer and the next, if nothing
    /// else was heard.
    pub(crate) period_ms: u32,
    /// The longest of the spacings of which `interval_ms` is the least.
    pub(crate) widest_ms: u32,
    pub(crate) rtt_least_us: u32,
    pub(crate) rtt_typical_us: u32,
    pub(crate) rtt_most_us: u32,
    /// TSecr of the last probe; it counts with `HAS_ECHO`.
    pub(crate) echo: u32,
    /// Probes since the peer was heard last.
    pub(crate) run: u16,
    /// Most probes in a row that had no answer.
    pub(crate) longest: u16,
    /// The longest run after which the peer was heard again.
    pub(crate) survived: u16,
    pub(crate) garbage: u16,
    pub(crate) zero_window: u16,
    pub(crate) flags: u16,
}

impl Record {
    pub(crate) const EMPTY: Self = Self {
        last_probe_ns: 0,
        probes: 0,
        answers: 0,
        idle_ms: u32::MAX,
        watched_ms: u32::MAX,
        interval_ms: u32::MAX,
        period_ms: u32::MAX,
        widest_ms: 0,
        rtt_least_us: u32::MAX,
        rtt_typical_us: 0,
        rtt_most_us: 0,
        echo: 0,
        run: 0,
        longest: 0,
        survived: 0,
        garbage: 0,
        zero_window: 0,
        flags: 0,
    };

    /// What looks like probes may be something else yet.
    pub(crate) const UNCONFIRMED: u16 = 1;
    /// The last probe has no answer yet.
    pub(crate) const OUTSTANDING: u16 = 2;
    /// Nothing but answers was heard since the last probe.
    pub(crate) const ONLY_ANSWERED: u16 = 4;
    /// The peer showed during the run that it lives, in a way that the
    /// prober's kernel does not count.
    pub(crate) const PEER_SIGNS: u16 = 8;
    /// `echo` is known.
    pub(crate) const HAS_ECHO: u16 = 16;
    /// TSecr stood still during the whole run: the prober heard nothing.
    pub(crate) const ECHO_STILL: u16 = 32;
    /// TSecr moved although nothing was seen: the capture does not show all
    /// that the prober hears.
    pub(crate) const PARTLY_SEEN: u16 = 64;

    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn put(&mut self, flag: u16, value: bool) {
        if value {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        !self.is(Self::UNCONFIRMED)
    }

    /// The idle time, if it is that. What goes before the first probe of a
    /// flow whose beginning is not in the capture may be an interval's rest:
    /// not if it is longer, or the capture longer than that without a probe.
    pub(crate) fn certain_idle_ms(&self) -> u32 {
        let bound = self.interval_bound_ms();
        let is_certain = self.watched_ms == u32::MAX
            || bound != u32::MAX && self.idle_ms.max(self.watched_ms) > timing::latest_ms(bound);
        if is_certain { self.idle_ms } else { u32::MAX }
    }

    /// The most that the interval can be by what was seen, in ms.
    pub(crate) fn interval_bound_ms(&self) -> u32 {
        self.interval_ms.min(self.period_ms)
    }
}

/// The records of all live flows.
#[derive(Debug, Default)]
pub(crate) struct Records {
    blocks: Vec<Vec<Record>>,
    /// Indices that are free.
    free: Vec<u32>,
}

impl Records {
    const BLOCK: usize = 1 << 10;

    pub(crate) fn entry(&mut self, index: u32) -> &mut Record {
        let index = index as usize;
        &mut self.blocks[index / Self::BLOCK][index % Self::BLOCK]
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Record> {
        let index = index as usize;
        self.blocks
            .get(index / Self::BLOCK)?
            .get(index % Self::BLOCK)
    }

    /// The index of an empty record.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            *self.entry(index) = Record::EMPTY;
            return index;
        }
        if self
            .blocks
            .last()
            .is_none_or(|block| block.len() == Self::BLOCK)
        {
            self.blocks.push(Vec::with_capacity(Self::BLOCK));
        }
        let full = (self.blocks.len() - 1) * Self::BLOCK;
        // `take` made a block if there was none.
        let block = &mut self.blocks[full / Self::BLOCK];
        block.push(Record::EMPTY);
        // Two for each flow at most, whose indices fit in 32 bits with room
        // to spare: 2³² records are 256 GiB.
        (full + block.len() - 1) as u32
    }

    pub(crate) fn give_back(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Bytes of memory that they hold.
    pub(crate) fn memory(&self) -> usize {
        self.blocks.len() * Self::BLOCK * size_of::<Record>()
            + self.blocks.capacity() * size_of::<Vec<Record>>()
            + self.free.capacity() * size_of::<u32>()
    }
}

/// Whether two numbers are so far apart that they cannot belong to one
/// stream: no window is wider than 2³⁰ (RFC 7323 §2.3).
#[inline]
pub(crate) fn far_apart(a: u32, b: u32) -> bool {
    const WIDEST: u32 = 1 << 30;
    !sequence::within(b.wrapping_sub(WIDEST), a, b.wrapping_add(WIDEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_promised_ones() {
        assert_eq!(size_of::<Common>(), 80);
        assert_eq!(size_of::<Record>(), 64);
    }

    #[test]
    fn each_side_has_its_own_bit() {
        let mut bits = Bits::default();
        bits.set(Fact::First, 1, true);
        bits.set(Fact::Known, 0, true);
        assert!(bits.has(Fact::First, 1) && !bits.has(Fact::First, 0));
        assert!(bits.has(Fact::Known, 0) && !bits.has(Fact::Known, 1));
        bits.set(Fact::First, 1, false);
        assert!(!bits.either(Fact::First));
        assert!(bits.has(Fact::Known, 0));
    }

    #[test]
    fn quiet_times_are_kept_to_the_millisecond() {
        let common = Common::new(1, 5_000_000_000, 0);
        let tick = common.tick(6_000_000_000);
        let ms = common.since(tick, 16_000_000_000).unwrap();
        assert!((9_998..=10_002).contains(&ms), "{ms}");
        // 60 days: past the end of the coarse clock.
        assert_eq!(common.since(tick, 60 * 86_400 * 1_000_000_000), None);
        // Time that runs backwards is no time.
        assert_eq!(common.tick(4_000_000_000), 0);
    }
}
