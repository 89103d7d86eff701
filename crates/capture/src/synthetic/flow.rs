//! The life of one connection.

use super::frame::Outgoing;
use super::{End, Kind, Probers, Shape, Truth};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tcpalive_segment::Flags;

const MICROSECOND: u64 = 1000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// An end of the connection, as an index.
type Side = u8;
const A: Side = 0;
const B: Side = 1;

/// What happens next to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Begin,
    SynAck,
    HandshakeAck,
    /// A's data, B's data in return, A's acknowledgment.
    Request,
    RequestAgain,
    Reply,
    ReplyAck,
    /// B's data in a burst, the number of the segment in it.
    Chunk(u8),
    DuplicateAck(u8),
    ChunkAgain,
    ChunkAck,
    /// B asks whether A's window is still 0, for the nth time.
    WindowProbe(u8),
    WindowAnswer(u8),
    WindowOpen,
    /// The keep-alive timer.
    Timer(Side),
    Answer(Side),
    Close(u8),
}

/// A connection. All times in nanoseconds.
#[derive(Debug)]
pub(super) struct Flow {
    random: Random,
    /// When each side last heard from the other, as keep-alive has it.
    heard: [u64; 2],
    first_frame: u64,
    /// The next sequence number of each side.
    next: [u32; 2],
    /// What each side knows to have arrived.
    acknowledged: [u32; 2],
    /// The timestamp that each side sent last.
    stamped: [u32; 2],
    round_trip: u32,
    packets: u32,
    /// Packets that it may still have.
    left: u32,
    probes: u32,
    answers: u32,
    request: u16,
    reply: u16,
    idle: u16,
    interval: u16,
    count: u8,
    unanswered: [u8; 2],
    longest_unanswered: u8,
    kind: Kind,
    probers: Probers,
    /// How it is to end.
    fate: End,
    /// How it ended so far.
    end: End,
    has_timestamps: bool,
    handshake: bool,
    garbage: bool,
    /// In the burst under way a segment was lost.
    loss: bool,
    /// The side that is not there any more.
    gone: Option<Side>,
    closed: bool,
}

/// Addresses and ports by number: no two connections have the same.
pub(super) fn addresses(index: u32) -> [SocketAddr; 2] {
    const CLIENT_PORTS: u32 = 40_000;
    const SERVER_PORTS: [u16; 5] = [443, 5432, 22, 6379, 80];
    let host = index / CLIENT_PORTS;
    // Lossless: below 60,000.
    let port = (20_000 + index % CLIENT_PORTS) as u16;
    let server = index % 50;
    let server_port = SERVER_PORTS[server as usize % SERVER_PORTS.len()];
    if index % 8 == 7 {
        let address = |net, host| Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host as u16);
        [
            (address(0xa, host + 1), port).into(),
            (address(0xb, server + 1), server_port).into(),
        ]
    } else {
        let client = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + host);
        let server = Ipv4Addr::new(203, 0, 113, server as u8 + 1);
        [(client, port).into(), (server, server_port).into()]
    }
}

impl Flow {
    /// The connection of this number, and how long after the start of the
    /// capture it begins.
    pub(super) fn new(shape: &Shape, index: u32) -> (Self, u64) {
        let mut random = Random::new(shape.seed, index);
        let kind = match random.below(100) {
            0..60 => Kind::KeepAlive,
            60..75 => Kind::Requests,
            75..85 => Kind::Typing,
            85..95 => Kind::Bulk,
            _ => Kind::Quiet,
        };
        let keeps_alive = kind == Kind::KeepAlive;
        let probers = match random.below(10) {
            _ if !keeps_alive => Probers::Neither,
            0..5 => Probers::A,
            5..9 => Probers::B,
            _ => Probers::Both,
        };
        let fate = match random.below(100) {
            _ if shape.stay_open => End::Open,
            0..30 => End::Open,
            30..65 => End::Fin,
            65..75 => End::Reset,
            _ if keeps_alive => End::KeepAliveTimeout,
            _ => End::Fin,
        };
        let (request, reply) = match kind {
            Kind::Typing => (1, 1),
            _ => (
                random.between(20, 400) as u16,
                random.between(60, 1400) as u16,
            ),
        };
        let next = [random.next() as u32, random.next() as u32];
        let flow = Self {
            heard: [0; 2],
            first_frame: 0,
            next,
            acknowledged: next,
            stamped: [random.next() as u32, random.next() as u32],
            round_trip: random.between(200 * MICROSECOND, 80 * MILLISECOND) as u32,
            packets: 0,
            left: shape.packets_per_flow.max(20),
            probes: 0,
            answers: 0,
            request,
            reply,
            idle: random.of(&[10, 15, 20, 30, 45, 60, 75, 120]),
            interval: random.of(&[1, 2, 5, 10, 15, 20, 30, 75]),
            count: random.of(&[3, 4, 5, 6, 8, 9]) as u8,
            unanswered: [0; 2],
            longest_unanswered: 0,
            kind,
            probers,
            fate,
            end: End::Open,
            has_timestamps: random.below(8) > 0,
            handshake: random.below(10) < 7,
            garbage: keeps_alive && random.below(8) == 0,
            loss: false,
            gone: None,
            closed: false,
            random: Random(0),
        };
        let begins = random.below(shape.spread.max(1));
        (Self { random, ..flow }, begins)
    }

    pub(super) fn truth(&self, index: u32) -> Truth {
        let [a, b] = addresses(index);
        let keeps_alive = |value: u32| {
            if self.kind == Kind::KeepAlive {
                value
            } else {
                0
            }
        };
        Truth {
            a,
            b,
            kind: self.kind,
            first_frame: self.first_frame,
            packets: self.packets,
            handshake: self.handshake,
            probers: self.probers,
            idle: keeps_alive(self.idle.into()),
            interval: keeps_alive(self.interval.into()),
            count: keeps_alive(self.count.into()),
            garbage: self.garbage,
            probes: self.probes,
            answers: self.answers,
            longest_unanswered: self.unanswered[0]
                .max(self.unanswered[1])
                .max(self.longest_unanswered)
                .into(),
            end: self.end,
        }
    }

    pub(super) fn count_packet(&mut self, frame: u64) {
        if self.packets == 0 {
            self.first_frame = frame;
        }
        self.packets += 1;
        self.left = self.left.saturating_sub(1);
    }

    /// Lets something happen. What follows from it is given to `then`; the
    /// segment that is sent, if there is one, is returned.
    pub(super) fn happen(
        &mut self,
        event: Event,
        now: u64,
        mut then: impl FnMut(u64, Event),
    ) -> Option<Outgoing> {
        let round_trip = u64::from(self.round_trip);
        match event {
            Event::Begin if self.handshake => {
                then(now + round_trip, Event::SynAck);
                let syn = self.send(A, now, Flags::SYN, 0);
                self.next[0] = self.next[0].wrapping_add(1);
                Some(syn)
            }
            Event::Begin => {
                // The timers have been running since before the capture.
                for side in self.probing() {
                    let since = self.random.below(self.idle());
                    self.heard[usize::from(side)] = now.saturating_sub(since);
                    then(now + self.idle() - since, Event::Timer(side));
                }
                self.first_turn(now, &mut then);
                None
            }
            Event::SynAck => {
                self.hear(A, now);
                then(now + 50 * MICROSECOND, Event::HandshakeAck);
                let syn_ack = self.send(B, now, Flags::SYN | Flags::ACK, 0);
                self.next[1] = self.next[1].wrapping_add(1);
                Some(syn_ack)
            }
            Event::HandshakeAck => {
                self.hear(B, now);
                for side in self.probing() {
                    let late = self.late(self.idle());
                    then(now + self.idle() + late, Event::Timer(side));
                }
                self.first_turn(now, &mut then);
                Some(self.send(A, now, Flags::ACK, 0))
            }

            Event::Request if self.closed || self.gone.is_some() => None,
            Event::Request => {
                if self.kind != Kind::KeepAlive && self.random.below(50) == 0 {
                    let timeout = 200 * MILLISECOND + round_trip;
                    then(now + timeout, Event::RequestAgain);
                } else {
                    then(now + round_trip, Event::Reply);
                }
                let request = self.send(A, now, Flags::ACK | Flags::PSH, self.request);
                self.next[0] = self.next[0].wrapping_add(self.request.into());
                Some(request)
            }
            Event::RequestAgain => {
                then(now + round_trip, Event::Reply);
                let mut again = self.send(A, now, Flags::ACK | Flags::PSH, self.request);
                again.sequence = again.sequence.wrapping_sub(self.request.into());
                Some(again)
            }
            Event::Reply => {
                self.hear(A, now);
                let delay = self.random.between(50 * MICROSECOND, 40 * MILLISECOND);
                then(now + delay, Event::ReplyAck);
                let reply = self.send(B, now, Flags::ACK | Flags::PSH, self.reply);
                self.next[1] = self.next[1].wrapping_add(self.reply.into());
                Some(reply)
            }
            Event::ReplyAck => {
                self.hear(B, now);
                self.next_turn(now, &mut then);
                Some(self.send(A, now, Flags::ACK, 0))
            }

            Event::Chunk(number) => self.chunk(number, now, &mut then),
            Event::DuplicateAck(number) => {
                let following = if number < 2 {
                    Event::DuplicateAck(number + 1)
                } else {
                    Event::ChunkAgain
                };
                then(now + 30 * MICROSECOND, following);
                let mut ack = self.send(A, now, Flags::ACK, 0);
                ack.acknowledgment = self.acknowledged[1];
                Some(ack)
            }
            Event::ChunkAgain => {
                then(now + round_trip, Event::ChunkAck);
                let mut again = self.send(B, now, Flags::ACK, CHUNK);
                again.sequence = self.acknowledged[1];
                Some(again)
            }
            Event::ChunkAck => {
                self.hear(B, now);
                let mut ack = self.send(A, now, Flags::ACK, 0);
                if self.random.below(30) == 0 {
                    ack.window = 0;
                    then(now + 200 * MILLISECOND, Event::WindowProbe(0));
                } else {
                    self.next_turn(now, &mut then);
                }
                Some(ack)
            }
            Event::WindowProbe(number) => {
                then(now + round_trip, Event::WindowAnswer(number));
                let mut probe = self.send(B, now, Flags::ACK, 0);
                probe.sequence = probe.sequence.wrapping_sub(1);
                Some(probe)
            }
            Event::WindowAnswer(number) => {
                let wait = (400 * MILLISECOND) << number;
                let following = if number < 3 {
                    Event::WindowProbe(number + 1)
                } else {
                    Event::WindowOpen
                };
                then(now + wait, following);
                let mut answer = self.send(A, now, Flags::ACK, 0);
                answer.window = 0;
                Some(answer)
            }
            Event::WindowOpen => {
                self.next_turn(now, &mut then);
                Some(self.send(A, now, Flags::ACK, 0))
            }

            Event::Timer(side) => self.timer(side, now, &mut then),
            Event::Answer(_) if self.closed => None,
            Event::Answer(side) => {
                self.answers += 1;
                self.hear(1 - side, now);
                Some(self.send(side, now, Flags::ACK, 0))
            }
            Event::Close(step) => self.close(step, now, &mut then),
        }
    }

    /// `tcp_keepalive_timer`, as far as it is seen on the wire.
    fn timer(
        &mut self,
        side: Side,
        now: u64,
        then: &mut impl FnMut(u64, Event),
    ) -> Option<Outgoing> {
        let at = usize::from(side);
        if self.closed || self.gone == Some(side) {
            return None;
        }
        if self.next[at] != self.acknowledged[at] {
            then(now + self.idle(), Event::Timer(side));
            return None;
        }
        let until = self.heard[at] + self.idle();
        if now < until {
            let late = self.late(until - now);
            then(until + late, Event::Timer(side));
            return None;
        }
        if self.unanswered[at] >= self.count {
            self.closed = true;
            self.end = End::KeepAliveTimeout;
            return Some(self.send(side, now, Flags::RST | Flags::ACK, 0));
        }
        if self.gone.is_none() && self.left <= u32::from(self.count) + 4 {
            if self.fate == End::KeepAliveTimeout {
                self.gone = Some(1 - side);
            } else {
                then(now + 200 * MILLISECOND, Event::Close(0));
                return None;
            }
        }
        self.unanswered[at] += 1;
        self.probes += 1;
        let interval = u64::from(self.interval) * SECOND;
        let late = self.late(interval);
        then(now + interval + late, Event::Timer(side));
        let lost = self.unanswered[at] + 1 < self.count && self.random.below(64) == 0;
        if self.gone.is_none() && !lost {
            then(now + u64::from(self.round_trip), Event::Answer(1 - side));
        }
        let mut probe = self.send(side, now, Flags::ACK, self.garbage.into());
        probe.sequence = probe.sequence.wrapping_sub(1);
        Some(probe)
    }

    /// A burst of four segments, of which sometimes the first is lost.
    fn chunk(
        &mut self,
        number: u8,
        now: u64,
        then: &mut impl FnMut(u64, Event),
    ) -> Option<Outgoing> {
        if number == 0 {
            self.loss = self.random.below(40) == 0;
        }
        if number < 3 {
            then(now + 12 * MICROSECOND, Event::Chunk(number + 1));
        } else if self.loss {
            then(now + u64::from(self.round_trip), Event::DuplicateAck(0));
        } else {
            then(now + u64::from(self.round_trip), Event::ChunkAck);
        }
        let chunk = self.send(B, now, Flags::ACK, CHUNK);
        self.next[1] = self.next[1].wrapping_add(CHUNK.into());
        Some(chunk)
    }

    fn close(&mut self, step: u8, now: u64, then: &mut impl FnMut(u64, Event)) -> Option<Outgoing> {
        if step == 0 {
            // Another timer may have come to the same conclusion.
            if self.closed || self.gone.is_some() {
                return None;
            }
            self.closed = true;
            self.end = self.fate;
        }
        match (self.fate, step) {
            (End::Open, _) => None,
            (End::Fin, 0) => {
                then(now + u64::from(self.round_trip), Event::Close(1));
                Some(self.send_fin(A, now))
            }
            (End::Fin, 1) => {
                then(now + 100 * MICROSECOND, Event::Close(2));
                Some(self.send_fin(B, now))
            }
            (End::Fin, _) => Some(self.send(A, now, Flags::ACK, 0)),
            (End::Reset | End::KeepAliveTimeout, _) => {
                self.end = End::Reset;
                Some(self.send(B, now, Flags::RST | Flags::ACK, 0))
            }
        }
    }

    fn first_turn(&mut self, now: u64, then: &mut impl FnMut(u64, Event)) {
        let wait = self.random.between(100 * MICROSECOND, SECOND);
        let first = match self.kind {
            Kind::Bulk => Event::Chunk(0),
            _ => Event::Request,
        };
        then(now + wait, first);
    }

    /// What comes after an exchange.
    fn next_turn(&mut self, now: u64, then: &mut impl FnMut(u64, Event)) {
        if self.kind == Kind::KeepAlive {
            // The next request is far enough away for probes to come first.
            let wait = self.idle() * self.random.between(3, 12) + self.random.below(SECOND);
            then(now + wait, Event::Request);
            return;
        }
        let quiet = self.kind == Kind::Quiet && self.packets > 10;
        if quiet || self.left < 8 {
            then(
                now + self.random.between(SECOND, 300 * SECOND),
                Event::Close(0),
            );
            return;
        }
        let (shortest, longest) = match self.kind {
            Kind::Bulk => (100 * MICROSECOND, 100 * MILLISECOND),
            Kind::Typing => (80 * MILLISECOND, 2 * SECOND),
            _ => (5 * MILLISECOND, 20 * SECOND),
        };
        let turn = match self.kind {
            Kind::Bulk => Event::Chunk(0),
            _ => Event::Request,
        };
        then(now + self.random.between(shortest, longest), turn);
    }

    /// A side hears an acknowledgment of all that it sent.
    fn hear(&mut self, side: Side, now: u64) {
        let at = usize::from(side);
        self.heard[at] = now;
        self.acknowledged[at] = self.next[at];
        // The probe that was answered does not count.
        let run = self.unanswered[at].saturating_sub(1);
        self.longest_unanswered = self.longest_unanswered.max(run);
        self.unanswered[at] = 0;
    }

    fn send(&mut self, side: Side, now: u64, flags: Flags, payload: u16) -> Outgoing {
        let (own, other) = (usize::from(side), usize::from(1 - side));
        let timestamps = self.has_timestamps.then(|| {
            // The clock ticks in milliseconds and wraps.
            self.stamped[own] = ((now / MILLISECOND) as u32).wrapping_add(u32::from(side) << 20);
            let echo_reply = if flags.contains(Flags::ACK) {
                self.stamped[other]
            } else {
                0
            };
            [self.stamped[own], echo_reply]
        });
        Outgoing {
            from_a: side == A,
            sequence: self.next[own],
            acknowledgment: if flags.contains(Flags::ACK) {
                self.next[other]
            } else {
                0
            },
            flags,
            window: if flags.contains(Flags::SYN) {
                64_240
            } else {
                501
            },
            timestamps,
            payload,
        }
    }

    fn send_fin(&mut self, side: Side, now: u64) -> Outgoing {
        let fin = self.send(side, now, Flags::FIN | Flags::ACK, 0);
        let next = &mut self.next[usize::from(side)];
        *next = next.wrapping_add(1);
        fin
    }

    fn probing(&self) -> impl Iterator<Item = Side> + use<> {
        let (a, b) = match self.probers {
            Probers::Neither => (None, None),
            Probers::A => (Some(A), None),
            Probers::B => (None, Some(B)),
            Probers::Both => (Some(A), Some(B)),
        };
        a.into_iter().chain(b)
    }

    fn idle(&self) -> u64 {
        u64::from(self.idle) * SECOND
    }

    /// How much later than asked for the kernel's timer wheel fires.
    fn late(&mut self, delay: u64) -> u64 {
        self.random.below(delay / 64 + 1)
    }
}

/// Payload of a full segment with timestamps.
const CHUNK: u16 = 1448;

/// Splitmix64: few instructions, and good enough to deal out connections.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64, index: u32) -> Self {
        let mut random = Self(seed);
        let start = random.next() ^ u64::from(index).wrapping_mul(0xd134_2543_de82_ef95);
        Self(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 up to but not including `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low)
    }

    fn of(&mut self, values: &[u16]) -> u16 {
        values[self.below(values.len() as u64) as usize]
    }
}
