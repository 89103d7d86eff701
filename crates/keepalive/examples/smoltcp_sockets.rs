//! Linux's keep-alive for the TCP sockets of smoltcp, whose own keep-alive has
//! one interval and no count: the engine decides when to probe and when to
//! give up, smoltcp sends.
//!
//! Three hosts and their cables are in memory, and time is virtual: it jumps
//! to whatever happens next. The first peer lives, the second one's cable is
//! cut at 12 s, the third one reboots at 12 s and knows nothing any more.
//! The example checks its own timeline and fails if it is not the expected one.
//!
//! `cargo run -p tcpalive-keepalive --example smoltcp_sockets`

#![expect(
    clippy::disallowed_macros,
    reason = "the crate prints nothing; a program that embeds it does"
)]

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::Instant;
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv4Packet, TcpPacket, TcpSeqNumber,
};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use tcpalive_keepalive::{Engine, Errno, Event, Key, Output, Params, Time};

/// 10 s of silence, then a probe every 5 s; three unanswered are the end.
const PARAMS: Params = match Params::new(10, 5, 3) {
    Ok(params) => params,
    Err(_) => panic!(),
};
/// Through a cable.
const ONE_WAY: Duration = Duration::from_millis(10);
const ACCIDENT: Time = Time::from_secs(12);
const END: Time = Time::from_secs(40);
const PORT: u16 = 80;
const PEERS: usize = 3;

fn main() {
    let timeline = World::new().run();
    for seen in &timeline {
        println!("{seen}");
    }
    check(&timeline);
    println!("all of it as expected");
}

/// What Linux would have done with these values, computed.
fn check(timeline: &[Seen]) {
    let times = |peer, what: fn(What) -> bool| -> Vec<Duration> {
        let seen = timeline.iter().filter(|seen| seen.peer == peer);
        let seen = seen.filter(|seen| what(seen.what));
        seen.map(|seen| seen.at.since_origin()).collect()
    };
    let probes = |peer| times(peer, |what| what == What::Probe);
    let (idle, interval) = (PARAMS.idle.duration(), PARAMS.interval.duration());
    let count = u32::from(PARAMS.count.get());
    let round_trip = 2 * ONE_WAY;

    // The handshake took a round trip, and so does each answer to a probe.
    let first = round_trip + idle;
    let second = first + round_trip + idle;
    let third = second + round_trip + idle;
    assert_eq!(probes(1), [first, second, third]);

    // The first probe was answered: the last sign of life.
    let heard = first + round_trip;
    let unanswered = (0..count).map(|probe| heard + idle + probe * interval);
    let all: Vec<Duration> = [first].into_iter().chain(unanswered).collect();
    assert_eq!(probes(2), all);
    let reset = heard + idle + count * interval;
    assert_eq!(times(2, |what| what == What::ResetSent), [reset]);
    // The same without arithmetic of one's own.
    let detection = PARAMS.detection_time().from_last_heard;
    assert_eq!(
        (detection.best, detection.worst),
        (reset - heard, reset - heard)
    );

    // The rebooted peer answers the next probe with a reset.
    assert_eq!(probes(3), [first, second]);
    let ended = What::Ended(Some(Errno::ECONNRESET));
    let last = timeline.iter().rfind(|seen| seen.peer == 3);
    assert_eq!(last.map(|seen| seen.what), Some(ended));
}

/// All hosts, what is on its way between them, and the engine.
struct World {
    now: Time,
    /// The host whose sockets the engine looks after, and its peers.
    hosts: Vec<Host>,
    connections: Vec<Connection>,
    /// Packets that arrive later, in that order.
    cable: VecDeque<(Time, Vec<u8>)>,
    /// The host whose cable is cut.
    cut: Option<Ipv4Address>,
    engine: Engine<usize>,
    timeline: Vec<Seen>,
}

impl World {
    /// Our host connects to each peer.
    fn new() -> Self {
        let mut world = Self {
            now: Time::ZERO,
            hosts: (0..=PEERS).map(Host::new).collect(),
            connections: Vec::new(),
            cable: VecDeque::new(),
            cut: None,
            // A tick of 1 ms, so that virtual milliseconds come out exactly.
            engine: Engine::with_tick(Duration::from_millis(1), Time::ZERO, PEERS),
            timeline: Vec::new(),
        };
        for peer in 1..=PEERS {
            world.hosts[peer].listen();
            let socket = world.hosts[0].connect(peer);
            let key = world.engine.insert_connecting(peer, PARAMS.into());
            world.connections.push(Connection::new(key, socket));
        }
        world
    }

    /// One round for each moment at which something happens.
    fn run(mut self) -> Vec<Seen> {
        loop {
            self.deliver();
            for host in &mut self.hosts {
                host.poll(self.now);
            }
            self.note_states();
            // What the stacks sent just now, and what the engine makes them
            // send, is on the cable before time goes on.
            self.ask_engine();
            self.carry();

            let Some(next) = self.next_wake_up().filter(|next| *next <= END) else {
                return self.timeline;
            };
            if self.now < ACCIDENT && ACCIDENT <= next {
                self.now = ACCIDENT;
                self.accident();
            } else {
                self.now = next;
            }
        }
    }

    fn accident(&mut self) {
        self.cut = Some(address(2));
        self.see(2, What::CableCut);
        self.hosts[3] = Host::new(3);
        self.see(3, What::Reboots);
    }

    /// The soonest of the engine's, the stacks' and the cable's.
    fn next_wake_up(&mut self) -> Option<Time> {
        let now = self.now;
        let stacks = self.hosts.iter_mut().filter_map(|host| host.poll_at(now));
        let arrival = self.cable.front().map(|(at, _)| *at);
        stacks
            .chain(arrival)
            .chain(self.engine.next_timeout())
            .min()
    }

    /// What arrives now. Our host's segments are looked at on the way in:
    /// smoltcp does not say when a socket last heard from its peer.
    fn deliver(&mut self) {
        while self.cable.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, packet)) = self.cable.pop_front() else {
                return;
            };
            let segment = Segment::parse(&packet);
            let host = host_number(segment.to);
            if host == 0 {
                let peer = host_number(segment.from);
                let connection = &mut self.connections[peer - 1];
                if let Some(event) = connection.hear(&segment) {
                    self.engine.handle(connection.key, event, self.now);
                }
                if segment.reset {
                    self.see(peer, What::ResetHeard);
                }
            }
            self.hosts[host].device.inbox.push_back(packet);
        }
    }

    /// What the hosts have sent goes on the cable, unless that is cut.
    fn carry(&mut self) {
        for host in 0..self.hosts.len() {
            while let Some(packet) = self.hosts[host].device.outbox.pop_front() {
                let segment = Segment::parse(&packet);
                if host == 0 {
                    self.watch_sent(&segment);
                }
                if self.cut != Some(segment.from) && self.cut != Some(segment.to) {
                    self.cable.push_back((self.now + ONE_WAY, packet));
                }
            }
        }
    }

    fn watch_sent(&mut self, segment: &Segment) {
        let peer = host_number(segment.to);
        let connection = &mut self.connections[peer - 1];
        if segment.reset {
            self.see(peer, What::ResetSent);
        } else if connection.is_probe(segment) {
            self.see(peer, What::Probe);
        } else if connection.send(segment) {
            let key = connection.key;
            self.engine.handle(key, Event::Send, self.now);
        }
    }

    /// The stack knows best when a handshake is done, and which resets count.
    fn note_states(&mut self) {
        for peer in 1..=PEERS {
            let connection = &mut self.connections[peer - 1];
            let state = self.hosts[0].socket(connection.socket).state();
            let before = std::mem::replace(&mut connection.state, state);
            let event = match (before, state) {
                (before, State::Established) if before != state => Event::Established,
                (before, State::Closed) if before != state => Event::Reset,
                _ => continue,
            };
            let key = connection.key;
            let error = self.engine.handle(key, event, self.now);
            if state == State::Closed {
                self.engine.remove(key);
                self.see(peer, What::Ended(error));
            } else {
                self.see(peer, What::Established);
            }
        }
    }

    /// Does what the engine says.
    fn ask_engine(&mut self) {
        while let Some((key, output)) = self.engine.poll(self.now) {
            let Some(&peer) = self.engine.id(key) else {
                continue;
            };
            let connection = &mut self.connections[peer - 1];
            let socket = self.hosts[0].socket(connection.socket);
            match output {
                Output::Probe { .. } => {
                    // Switching smoltcp's keep-alive on winds its timer up for
                    // one probe at the next poll; with it off again by then,
                    // no other follows.
                    socket.set_keep_alive(Some(smoltcp::time::Duration::MAX));
                    socket.set_keep_alive(None);
                }
                Output::Abort(abort) => {
                    socket.abort();
                    connection.state = State::Closed;
                    self.engine.remove(key);
                    self.see(peer, What::Ended(Some(abort.error)));
                }
            }
            self.hosts[0].poll(self.now);
        }
    }

    fn see(&mut self, peer: usize, what: What) {
        let at = self.now;
        self.timeline.push(Seen { at, peer, what });
    }
}

/// A connection of our host, as the wire shows it.
struct Connection {
    key: Key,
    socket: SocketHandle,
    state: State,
    /// The oldest sequence number that is not acknowledged (`SND.UNA`).
    unacknowledged: TcpSeqNumber,
    /// The next that will be sent (`SND.NXT`).
    next: TcpSeqNumber,
}

impl Connection {
    fn new(key: Key, socket: SocketHandle) -> Self {
        Self {
            key,
            socket,
            state: State::SynSent,
            unacknowledged: TcpSeqNumber(0),
            next: TcpSeqNumber(0),
        }
    }

    /// A segment of the peer came. Only an acknowledgment of what was sent is
    /// a sign of life: `SND.UNA ≤ SEG.ACK ≤ SND.NXT`.
    fn hear(&mut self, segment: &Segment) -> Option<Event> {
        let acknowledged = segment.acknowledged?;
        if segment.reset || acknowledged < self.unacknowledged || self.next < acknowledged {
            return None;
        }
        self.unacknowledged = acknowledged;
        let outstanding = self.unacknowledged < self.next;
        Some(Event::Ack { outstanding })
    }

    /// Whether it sends something that must be acknowledged. (Data that wait
    /// in the socket for a window would count, too; nothing here sends data.)
    fn send(&mut self, segment: &Segment) -> bool {
        if segment.syn {
            self.unacknowledged = segment.first;
            self.next = segment.first;
        }
        let end = segment.first + segment.length;
        let new = self.next < end;
        if new {
            self.next = end;
        }
        new
    }

    /// smoltcp's probes repeat the last octet, which was acknowledged.
    fn is_probe(&self, segment: &Segment) -> bool {
        segment.length == 1 && segment.first + 1 == self.unacknowledged
    }
}

/// What matters here of a TCP segment.
struct Segment {
    from: Ipv4Address,
    to: Ipv4Address,
    first: TcpSeqNumber,
    /// In sequence space: SYN and FIN count.
    length: usize,
    acknowledged: Option<TcpSeqNumber>,
    syn: bool,
    reset: bool,
}

impl Segment {
    /// Nothing but smoltcp sends here, and nothing but TCP over IPv4.
    fn parse(packet: &[u8]) -> Self {
        let ip = Ipv4Packet::new_checked(packet).expect("an IPv4 packet");
        let tcp = TcpPacket::new_checked(ip.payload()).expect("a TCP segment");
        Self {
            from: ip.src_addr(),
            to: ip.dst_addr(),
            first: tcp.seq_number(),
            length: tcp.segment_len(),
            acknowledged: tcp.ack().then(|| tcp.ack_number()),
            syn: tcp.syn(),
            reset: tcp.rst(),
        }
    }
}

/// A stack, its sockets and its network card.
struct Host {
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Card,
}

impl Host {
    fn new(number: usize) -> Self {
        let mut device = Card::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = IpAddress::Ipv4(address(number));
            addresses
                .push(IpCidr::new(address, 24))
                .expect("room for one");
        });
        let sockets = SocketSet::new(Vec::new());
        Self {
            interface,
            sockets,
            device,
        }
    }

    fn listen(&mut self) {
        let mut socket = new_socket();
        socket.listen(PORT).expect("a port that is free");
        self.sockets.add(socket);
    }

    fn connect(&mut self, peer: usize) -> SocketHandle {
        let handle = self.sockets.add(new_socket());
        let remote = (IpAddress::Ipv4(address(peer)), PORT);
        let local_port = 49_152 + peer as u16;
        self.sockets
            .get_mut::<tcp::Socket<'_>>(handle)
            .connect(self.interface.context(), remote, local_port)
            .expect("a socket that is new");
        handle
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn poll(&mut self, now: Time) {
        self.interface
            .poll(instant(now), &mut self.device, &mut self.sockets);
    }

    fn poll_at(&mut self, now: Time) -> Option<Time> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Time::from_nanos(at.total_micros().unsigned_abs() * 1000).max(now))
    }
}

fn new_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 1024]);
    tcp::Socket::new(buffer(), buffer())
}

/// 192.0.2.1 is our host, the peers follow (RFC 5737).
fn address(host: usize) -> Ipv4Address {
    Ipv4Address::new(192, 0, 2, 1 + host as u8)
}

fn host_number(address: Ipv4Address) -> usize {
    usize::from(address.octets()[3]) - 1
}

/// smoltcp counts microseconds.
fn instant(time: Time) -> Instant {
    Instant::from_micros((time.as_nanos() / 1000) as i64)
}

/// A network card in memory.
#[derive(Default)]
struct Card {
    inbox: VecDeque<Vec<u8>>,
    outbox: VecDeque<Vec<u8>>,
}

impl Device for Card {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let packet = self.inbox.pop_front()?;
        Some((Incoming(packet), Outgoing(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Incoming(Vec<u8>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let written = write(&mut packet);
        self.0.push_back(packet);
        written
    }
}

/// A line of the timeline.
struct Seen {
    at: Time,
    peer: usize,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Established,
    Probe,
    CableCut,
    Reboots,
    ResetSent,
    ResetHeard,
    Ended(Option<Errno>),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.since_origin().as_secs_f64();
        write!(f, "{seconds:7.3} s  peer {}  ", self.peer)?;
        match self.what {
            What::Established => f.write_str("connection established"),
            What::Probe => f.write_str("probe sent"),
            What::CableCut => f.write_str("its cable is cut"),
            What::Reboots => f.write_str("it reboots"),
            What::ResetSent => f.write_str("reset sent"),
            What::ResetHeard => f.write_str("reset received"),
            What::Ended(None) => f.write_str("connection closed"),
            What::Ended(Some(error)) => write!(f, "connection ended: {error}"),
        }
    }
}
