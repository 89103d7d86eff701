//! Segments in, flows out.

use super::FrameKind;
use super::hash::Secret;
use super::outcome::Flow;
use super::recognise::{Observer, Packet};
use super::state::{Common, Fact, Side};
use super::table::Table;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tcpalive_segment::{Flags, Segment, sequence};

/// Words of a key: context, addresses, ports.
const WORDS_V4: usize = 5;
const WORDS_V6: usize = 11;

/// How a [`Tracker`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerOptions {
    /// Whether frames are kept until it is clear what they are, for
    /// [`Tracker::take_late`]. Counts include them either way. Costs 32 bytes
    /// a frame for flows that begin with what may be a probe, 1024 frames for
    /// each at most.
    pub late_frames: bool,
    /// A flow that ended is given once nothing came for so long, in ns of the
    /// capture's time.
    pub grace_ns: u64,
    /// Most live flows of one IP version; beyond it, the longest quiet of 32
    /// flows is given as it is. At least 1.
    pub most_flows: u32,
}

impl Default for TrackerOptions {
    fn default() -> Self {
        Self {
            late_frames: false,
            grace_ns: 10_000_000_000,
            most_flows: u32::MAX,
        }
    }
}

/// Follows all flows of a capture.
///
/// ```
/// use tcpalive_capture::flow::{FrameKind, Tracker, TrackerOptions};
/// use tcpalive_segment::{Draft, Flags, Segment};
///
/// let (a, b) = ("192.0.2.1:40000".parse()?, "192.0.2.2:7".parse()?);
/// let data = Draft { sequence: 100, flags: Flags::ACK, window: 9, payload: b"hi", ..Draft::new(a, b) };
/// let ack = Draft { acknowledgment: 102, flags: Flags::ACK, window: 9, ..Draft::new(b, a) };
/// let probe = Draft { sequence: 101, payload: b"", ..data };
/// let mut tracker = Tracker::new(TrackerOptions::default());
/// let mut kinds = Vec::new();
/// for (frame, (seconds, draft)) in [(0, data), (0, ack), (60, probe), (60, ack)].into_iter().enumerate() {
///     let packet = draft.to_bytes()?;
///     let segment = Segment::parse(&packet)?;
///     kinds.push(tracker.observe(frame as u64 + 1, seconds * 1_000_000_000, 0, &segment));
/// }
/// assert_eq!(kinds[2], Some(FrameKind::KeepAlive { garbage: false, unanswered: 1 }));
/// assert!(matches!(kinds[3], Some(FrameKind::KeepAliveAck { .. })));
/// let mut flows = Vec::new();
/// tracker.finish(|flow| flows.push(flow));
/// assert_eq!((flows[0].probes(), flows[0].answers()), (1, 1));
/// // The handshake is missing: another probe may have been before.
/// assert_eq!(flows[0].idle(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tracker {
    options: TrackerOptions,
    observer: Observer,
    v4: Family<WORDS_V4>,
    v6: Family<WORDS_V6>,
    /// Latest time of a packet.
    now_ns: u64,
}

/// The flows of one IP version.
#[derive(Debug)]
struct Family<const N: usize> {
    table: Table<N>,
    /// Flows that ended: index, first frame, and when to look at them.
    ended: VecDeque<(u32, u64, u64)>,
    /// Flows that made room for others.
    done: Vec<Flow>,
    /// Where the search for a flow to give up goes on.
    hand: u32,
}

impl Tracker {
    /// A tracker without flows. The table is keyed by the process's random
    /// state; what comes out does not depend on it.
    #[must_use]
    pub fn new(options: TrackerOptions) -> Self {
        let secret = Secret::random();
        let observer = Observer::new(options.late_frames);
        Self {
            options,
            observer,
            v4: Family::new(secret.clone()),
            v6: Family::new(secret),
            now_ns: 0,
        }
    }

    /// Takes the next segment.
    ///
    /// `time_ns` may run backwards a little, as it does in files that several
    /// processors wrote. `context` tells apart connections with the same
    /// addresses: VLAN, tunnel, interface.
    #[inline]
    pub fn observe(
        &mut self,
        frame: u64,
        time_ns: u64,
        context: u64,
        segment: &Segment<'_>,
    ) -> Option<FrameKind> {
        self.now_ns = self.now_ns.max(time_ns);
        let packet = Packet::new(frame, time_ns, segment);
        let (source, destination) = (segment.source(), segment.destination());
        match (source, destination) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let from = (from.ip().to_bits(), from.port());
                let to = (to.ip().to_bits(), to.port());
                let side = Side::from(from > to);
                let (low, high) = if from > to { (to, from) } else { (from, to) };
                let key = [
                    context as u32,
                    (context >> 32) as u32,
                    low.0,
                    high.0,
                    ports(low.1, high.1),
                ];
                self.v4.observe(
                    &mut self.observer,
                    &self.options,
                    self.now_ns,
                    key,
                    side,
                    &packet,
                )
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                let from = (from.ip().to_bits(), from.port());
                let to = (to.ip().to_bits(), to.port());
                let side = Side::from(from > to);
                let (low, high) = if from > to { (to, from) } else { (from, to) };
                let word = |bits: u128, index: u32| (bits >> (32 * index)) as u32;
                let key = [
                    context as u32,
                    (context >> 32) as u32,
                    word(low.0, 0),
                    word(low.0, 1),
                    word(low.0, 2),
                    word(low.0, 3),
                    word(high.0, 0),
                    word(high.0, 1),
                    word(high.0, 2),
                    word(high.0, 3),
                    ports(low.1, high.1),
                ];
                self.v6.observe(
                    &mut self.observer,
                    &self.options,
                    self.now_ns,
                    key,
                    side,
                    &packet,
                )
            }
            // One packet has one IP version.
            _ => None,
        }
    }

    /// Frames of earlier packets whose kind has become clear since the last
    /// call. Empty without [`TrackerOptions::late_frames`].
    pub fn take_late(&mut self) -> impl Iterator<Item = (u64, FrameKind)> + '_ {
        self.observer.late.drain(..)
    }

    /// Gives the flows that ended, and forgets them. To be called now and
    /// then, so that memory is that of the live flows.
    pub fn take_ended(&mut self, mut give: impl FnMut(Flow)) {
        let (now, grace) = (self.now_ns, self.options.grace_ns);
        self.v4
            .take_ended(&mut self.observer, now, grace, &mut give);
        self.v6
            .take_ended(&mut self.observer, now, grace, &mut give);
    }

    /// Gives all flows that are left.
    pub fn finish(mut self, mut give: impl FnMut(Flow)) {
        self.v4.finish(&mut self.observer, self.now_ns, &mut give);
        self.v6.finish(&mut self.observer, self.now_ns, &mut give);
    }

    /// Flows that are held.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.v4.table.live() + self.v6.table.live()
    }

    /// Bytes of memory that are held for flows.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory() + self.observer.memory()
    }
}

fn ports(low: u16, high: u16) -> u32 {
    u32::from(low) << 16 | u32::from(high)
}

/// What a key says for people.
trait Readable {
    fn context(&self) -> u64;
    fn ends(&self) -> [SocketAddr; 2];
}

impl<const N: usize> Readable for [u32; N] {
    fn context(&self) -> u64 {
        u64::from(self[1]) << 32 | u64::from(self[0])
    }

    fn ends(&self) -> [SocketAddr; 2] {
        let words = (N - 3) / 2;
        let ports = self[N - 1];
        let address = |from: usize| -> IpAddr {
            if words == 1 {
                return Ipv4Addr::from_bits(self[from]).into();
            }
            let bits = self[from..from + words]
                .iter()
                .rev()
                .fold(0_u128, |bits, &word| bits << 32 | u128::from(word));
            Ipv6Addr::from_bits(bits).into()
        };
        [
            SocketAddr::new(address(2), (ports >> 16) as u16),
            SocketAddr::new(address(2 + words), (ports & 0xffff) as u16),
        ]
    }
}

impl<const N: usize> Family<N> {
    fn new(secret: Secret) -> Self {
        Self {
            table: Table::new(secret),
            ended: VecDeque::new(),
            done: Vec::new(),
            hand: 0,
        }
    }

    #[inline]
    fn observe(
        &mut self,
        observer: &mut Observer,
        options: &TrackerOptions,
        now_ns: u64,
        key: [u32; N],
        side: Side,
        packet: &Packet<'_>,
    ) -> Option<FrameKind> {
        let index = match self.table.find(&key) {
            Some(index) => {
                if packet.flags.contains(Flags::SYN) {
                    self.begin_again(observer, now_ns, index, side, packet);
                }
                index
            }
            None => self.begin(observer, options, now_ns, key, side, packet)?,
        };
        let flow = &mut self.table.entry(index).common;
        let was_over = flow.is_over();
        let kind = observer.observe(flow, packet, side);
        if !was_over && flow.is_over() {
            let first_frame = flow.first_frame;
            let due = packet.time_ns.saturating_add(options.grace_ns);
            self.ended.push_back((index, first_frame, due));
        }
        kind
    }

    #[cold]
    fn begin(
        &mut self,
        observer: &mut Observer,
        options: &TrackerOptions,
        now_ns: u64,
        key: [u32; N],
        side: Side,
        packet: &Packet<'_>,
    ) -> Option<u32> {
        if self.table.live() >= options.most_flows.max(1) as usize {
            self.make_room(observer, now_ns);
        }
        let common = Common::new(packet.frame, packet.time_ns, side);
        self.table.insert(key, common)
    }

    /// A SYN that does not belong to the connection begins another between
    /// the same ports.
    #[cold]
    fn begin_again(
        &mut self,
        observer: &mut Observer,
        now_ns: u64,
        index: u32,
        side: Side,
        packet: &Packet<'_>,
    ) {
        let entry = self.table.entry(index);
        if !begins_another(&entry.common, side, packet) {
            return;
        }
        let fresh = Common::new(packet.frame, packet.time_ns, side);
        let old = std::mem::replace(&mut entry.common, fresh);
        let key = entry.key;
        self.done.push(conclude(observer, &old, &key, now_ns));
    }

    /// Gives up the longest quiet of some flows, as a clock's hand meets them.
    #[cold]
    fn make_room(&mut self, observer: &mut Observer, now_ns: u64) {
        const LOOKED_AT: usize = 32;
        let mut quietest: Option<(u64, u32)> = None;
        let mut looked_at = 0;
        let mut turns = 0;
        while looked_at < LOOKED_AT && turns < 2 {
            let Some(index) = self.table.next_live(self.hand) else {
                self.hand = 0;
                turns += 1;
                continue;
            };
            self.hand = index + 1;
            looked_at += 1;
            let last_ns = self.table.entry(index).common.last_ns;
            if quietest.is_none_or(|(least, _)| last_ns < least) {
                quietest = Some((last_ns, index));
            }
        }
        if let Some((_, index)) = quietest {
            let (key, common) = self.table.remove(index);
            self.done.push(conclude(observer, &common, &key, now_ns));
        }
    }

    fn take_ended(
        &mut self,
        observer: &mut Observer,
        now_ns: u64,
        grace_ns: u64,
        give: &mut impl FnMut(Flow),
    ) {
        self.done.drain(..).for_each(&mut *give);
        while let Some((index, first_frame, _)) =
            self.ended.pop_front_if(|(_, _, due)| *due <= now_ns)
        {
            let common = &self.table.entry(index).common;
            // Ports may have been used again, and the place given away.
            if common.first_frame != first_frame || !common.is_over() {
                continue;
            }
            let due = common.last_ns.saturating_add(grace_ns);
            if due > now_ns {
                self.ended.push_back((index, first_frame, due));
                continue;
            }
            let (key, common) = self.table.remove(index);
            give(conclude(observer, &common, &key, now_ns));
        }
    }

    fn finish(&mut self, observer: &mut Observer, now_ns: u64, give: &mut impl FnMut(Flow)) {
        self.done.drain(..).for_each(&mut *give);
        let mut from = 0;
        while let Some(index) = self.table.next_live(from) {
            let entry = self.table.entry(index);
            let (key, common) = (entry.key, entry.common);
            give(conclude(observer, &common, &key, now_ns));
            from = index + 1;
        }
    }

    fn memory(&self) -> usize {
        self.table.memory()
            + self.ended.capacity() * size_of::<(u32, u64, u64)>()
            + self.done.capacity() * size_of::<Flow>()
    }
}

fn conclude<const N: usize>(
    observer: &mut Observer,
    common: &Common,
    key: &[u32; N],
    now_ns: u64,
) -> Flow {
    let records = observer.take_records(common);
    Flow::conclude(common, records, key.ends(), key.context(), now_ns)
}

/// Whether a SYN is of another connection than the flow's: not a repetition
/// of the flow's own, nor one that the file has in the wrong order.
fn begins_another(flow: &Common, side: Side, packet: &Packet<'_>) -> bool {
    let bits = flow.bits;
    let first = packet.sequence.wrapping_add(1);
    let direction = &flow.directions[side];
    if !bits.has(Fact::Known, side) {
        // The other end has acknowledged nothing yet: a SYN of both at once,
        // or a middle whose beginning is not in the capture.
        return !bits.has(Fact::Syn, side ^ 1);
    }
    // All that was sent since the SYN is in the capture, or was acknowledged.
    let sent = u32::try_from(flow.bytes)
        .unwrap_or(u32::MAX)
        .saturating_add(2);
    let may_be_own = bits.has(Fact::Syn, side) || bits.has(Fact::Syn, side ^ 1);
    let is_own = direction.next == first
        || may_be_own && sequence::within(direction.next.wrapping_sub(sent), first, direction.next);
    !is_own
}
