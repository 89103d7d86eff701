//! The loop that plays many connections at once, in one thread: peers on the
//! wire, programs at their sockets, and the clock.

use super::Part;
use super::end::{End, Left, PEER_PORTS, watched};
use super::record::{Between, Fact, Record};
use super::scripted_peer::{Heard, Say, icmp_of};
use super::stage::{Stage, from_kernel, write_sysctls};
use super::subject::{self, News};
use crate::error::{Doing, LabError, Result};
use crate::night::Interrupt;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::mem;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tcpalive_keepalive::{Event, Happening, Opened, Reaction, Time};
use tcpalive_kernel::wire::Wire;
use tcpalive_segment::Segment;

/// From one connection's beginning to the next one's.
const STAGGER: Duration = Duration::from_millis(2);
/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the count of probes is read while the queue is full.
const GLANCE: Duration = Duration::from_millis(10);
/// How long a packet may take through the cable, on a host with much to do.
const UNDER_WAY: Duration = Duration::from_millis(400);
/// How soon a step is tried again for which there is no socket yet.
const NOT_YET: Duration = Duration::from_millis(1);
/// How long the loop sleeps at the most.
const NAP: Duration = Duration::from_millis(100);
/// The key of listeners is that of their connection plus this.
const LISTENER: u64 = 1 << 32;
/// What programs send.
const DATA: &[u8] = b"from the subject";

fn now() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    Time::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// Does something and tells when.
fn timed<T>(action: impl FnOnce() -> Result<T>) -> Result<(T, Between)> {
    let from = now();
    let result = action()?;
    Ok((result, Between { from, to: now() }))
}

/// What is to be done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Open a connection.
    Start(usize),
    Say(usize, Say),
    /// An acceptable ACK that answers a probe.
    Answer(usize),
    /// The scenario's event of this number.
    Step(usize, usize),
    /// Look how many probes were made.
    Glance,
}

pub(super) struct Playing<'s> {
    stage: &'s Stage,
    /// The subject's end of the cable, to see what leaves it.
    wire: Wire,
    /// The peers' end: what arrives, and where they send from.
    peers_wire: Wire,
    epoll: OwnedFd,
    ends: Vec<End<'s>>,
    /// By time; among equals in the order in which they were asked for.
    tasks: BTreeMap<(Time, u64), Task>,
    next_task: u64,
    /// While the queue is full: how many probes had been made, and when that
    /// was read.
    queue_full: Option<(u64, Time)>,
}

impl<'s> Playing<'s> {
    pub(super) fn new(
        stage: &'s Stage,
        wire: Wire,
        peers_wire: Wire,
        parts: &[&'s Part],
    ) -> Result<Self> {
        let ends: Vec<End<'s>> = parts
            .iter()
            .zip(0..)
            .map(|(part, number)| End::new(part, number))
            .collect();
        let mut playing = Self {
            stage,
            wire,
            peers_wire,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)
                .doing(|| "watch sockets".to_owned())?,
            tasks: BTreeMap::new(),
            next_task: 0,
            queue_full: None,
            ends,
        };
        let begin = now() + NAP;
        for (index, delay) in (0..parts.len()).zip(0..) {
            playing.at(begin + STAGGER * delay, Task::Start(index));
        }
        Ok(playing)
    }

    fn at(&mut self, at: Time, task: Task) {
        self.tasks.insert((at, self.next_task), task);
        self.next_task += 1;
    }

    pub(super) fn run(&mut self, interrupt: &Interrupt) -> Result<()> {
        let give_up = now() + STAGGER * self.ends.len() as u32 + PATIENCE;
        loop {
            interrupt.check()?;
            self.read_wire()?;
            self.read_sockets()?;
            let time = now();
            while let Some(entry) = self
                .tasks
                .first_entry()
                .filter(|entry| entry.key().0 <= time)
            {
                let task = entry.remove();
                self.perform(task)?;
                // What came meanwhile came before what is done next.
                self.read_wire()?;
            }
            if time > give_up
                && let Some(end) = self.ends.iter().find(|end| end.established.is_none())
            {
                return Err(LabError::Other(format!(
                    "the connection with {} was not established within {} s",
                    end.peer_address,
                    PATIENCE.as_secs()
                )));
            }
            if self.ends.iter().all(|end| end.is_over(time)) {
                break;
            }
            self.wait()?;
        }
        let [left, arrived] = [&self.wire, &self.peers_wire].map(Wire::lost);
        match left.map_err(from_kernel)? + arrived.map_err(from_kernel)? {
            0 => Ok(()),
            lost => Err(LabError::Other(format!(
                "{lost} frames were lost: this process was not scheduled soon enough to read them"
            ))),
        }
    }

    pub(super) fn records(self) -> Result<Vec<Record>> {
        let ended = now();
        self.ends
            .into_iter()
            .map(|end| {
                if let Some(socket) = end.socket {
                    subject::discard(socket);
                }
                let established = end.established.ok_or_else(|| {
                    LabError::Other(format!("no connection with {}", end.peer_address))
                })?;
                let until = end.watched_until.map_or(ended, |until| until.min(ended));
                Ok(Record::new(end.facts, established, until))
            })
            .collect()
    }

    fn wait(&self) -> Result<()> {
        let until = self
            .tasks
            .first_key_value()
            .map_or(NAP, |((at, _), _)| at.since(now()).min(NAP));
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        let mut ready = [
            PollFd::new(&self.wire, PollFlags::IN),
            PollFd::new(&self.peers_wire, PollFlags::IN),
            PollFd::new(&self.epoll, PollFlags::IN),
        ];
        match poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).doing(|| "wait for frames".to_owned()),
        }
    }

    // ---- the wire

    /// Takes what left the subject, with the time, and what of it arrived.
    fn read_wire(&mut self) -> Result<()> {
        // In this order: what is seen to arrive is then known to have left.
        let arrived = self.read(&self.peers_wire)?;
        for (index, at, packet) in self.read(&self.wire)? {
            let end = &mut self.ends[index];
            if let Ok(segment) = Segment::parse(&packet) {
                let heard = end.peer.expect(&segment);
                end.left.push_back(Left { at, packet, heard });
            }
        }
        for (index, at, packet) in arrived {
            self.arrived(index, at, &packet);
        }
        let now = now();
        for end in &mut self.ends {
            while let Some(left) = end.left.pop_front_if(|left| now.since(left.at) > UNDER_WAY) {
                end.dropped(left);
            }
        }
        Ok(())
    }

    fn read(&self, wire: &Wire) -> Result<Vec<(usize, Time, Vec<u8>)>> {
        let mut packets = Vec::new();
        let mut frame = [0; 2048];
        while let Some(received) = wire.receive(&mut frame).map_err(from_kernel)? {
            let Some(packet) = self.stage.packet(&frame[..received.length]) else {
                continue;
            };
            // Neighbour discovery and the like.
            let Ok(segment) = Segment::parse(packet) else {
                continue;
            };
            let index = usize::from(segment.destination().port().wrapping_sub(PEER_PORTS));
            if index < self.ends.len() {
                packets.push((index, Time::from_nanos(received.at_ns), packet.to_vec()));
            }
        }
        Ok(packets)
    }

    /// A packet reached the peer. Packets overtake each other: each processor
    /// has a backlog of its own.
    fn arrived(&mut self, index: usize, at: Time, packet: &[u8]) {
        let end = &mut self.ends[index];
        let position = end
            .left
            .iter()
            .position(|left| left.packet == packet && at.since(left.at) < UNDER_WAY);
        if let Some(left) = position.and_then(|position| end.left.remove(position))
            && let Ok(segment) = Segment::parse(packet)
        {
            let heard = match left.heard {
                expected @ (Heard::Probe | Heard::Reset | Heard::Odd(_)) => expected,
                _ => end.peer.hear(&segment),
            };
            self.heard(index, heard, left.at);
        }
    }

    fn heard(&mut self, index: usize, heard: Heard, at: Time) {
        let end = &mut self.ends[index];
        let rtt = end.rtt();
        let exactly = Between::exactly(at);
        let reply = match heard {
            Heard::Syn => Some(Task::Say(index, Say::SynAck)),
            Heard::SynAck => Some(Task::Say(index, Say::Ack)),
            Heard::Probe => {
                end.note(exactly, Fact::Probe);
                match end.reaction(at) {
                    Reaction::Answers if end.peer.may_answer(at) => Some(Task::Answer(index)),
                    Reaction::Resets => Some(Task::Say(index, Say::Reset)),
                    _ => None,
                }
            }
            Heard::New if mem::take(&mut end.resets_new) => Some(Task::Say(index, Say::Reset)),
            Heard::New => end
                .peer
                .has_more_to_acknowledge()
                .then_some(Task::Say(index, Say::Ack)),
            Heard::Reset => {
                end.note(exactly, Fact::Abort);
                end.ended(at);
                None
            }
            Heard::Odd(what) => {
                end.note(exactly, Fact::Odd(what));
                None
            }
            Heard::Ack | Heard::NothingNew => None,
        };
        if let Some(task) = reply {
            self.at(at + rtt, task);
        }
    }

    fn say(&mut self, index: usize, say: Say) -> Result<Between> {
        let packet = self.ends[index]
            .peer
            .say(say, now())
            .map_err(|error| LabError::Other(error.to_string()))?;
        let frame = self.stage.frame(&packet);
        let give_up = now() + PATIENCE;
        loop {
            let (sent, at) = timed(|| self.peers_wire.send(&frame).map_err(from_kernel))?;
            if sent {
                return Ok(at);
            }
            if at.to > give_up {
                return Err(LabError::Other(
                    "the cable took no frame: this host's backlog is full \
                     (net.core.netdev_max_backlog)"
                        .to_owned(),
                ));
            }
            std::thread::yield_now();
        }
    }

    // ---- the clock

    fn perform(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Start(index) => self.start(index),
            Task::Say(index, say) => self.reply(index, say),
            Task::Answer(index) => {
                let at = self.say(index, Say::Ack)?;
                let end = &mut self.ends[index];
                let outstanding = end.outstanding();
                end.note(at, Fact::Answer { outstanding });
                Ok(())
            }
            Task::Step(index, step) => self.step(index, step),
            Task::Glance => self.glance(),
        }
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let end = &mut self.ends[index];
        let options = &end.part.scenario.options;
        match end.part.scenario.opened {
            Opened::Connect => {
                let socket = subject::socket(end.peer_address, options)?;
                subject::connect(&socket, end.peer_address)?;
                subject::watch(&self.epoll, &socket, index as u64)?;
                end.socket = Some(socket);
            }
            Opened::Accept => {
                let listener = subject::socket(end.listener_address, options)?;
                subject::listen(&listener, end.listener_address)?;
                subject::watch(&self.epoll, &listener, index as u64 + LISTENER)?;
                end.listener = Some(listener);
                self.say(index, Say::Syn)?;
            }
        }
        Ok(())
    }

    /// What the peer says by itself, in reply to a segment that was no probe.
    fn reply(&mut self, index: usize, say: Say) -> Result<()> {
        let at = self.say(index, say)?;
        let end = &mut self.ends[index];
        if end.established.is_none() {
            self.established(index, at);
            return Ok(());
        }
        if say == Say::Reset {
            end.note(at, Fact::Happened(Event::Reset));
            if end.socket.is_none() {
                end.ended(at.to);
            }
            return Ok(());
        }
        let outstanding = end.outstanding();
        end.note(at, Fact::Happened(Event::Ack { outstanding }));
        if !outstanding && end.fin == Some(false) {
            end.note(at, Fact::Happened(Event::Orphaned));
        }
        end.closed_by_both(at);
        Ok(())
    }

    fn established(&mut self, index: usize, at: Between) {
        let end = &mut self.ends[index];
        let scenario = &end.part.scenario;
        end.established = Some(at);
        end.initial = end.peer.acknowledged();
        end.watched_until = Some(at.to + watched(scenario).since_origin());
        let steps: Vec<Duration> = scenario
            .events
            .iter()
            .map(|step| step.at.since_origin())
            .collect();
        for (step, delay) in steps.into_iter().enumerate() {
            self.at(at.from + delay, Task::Step(index, step));
        }
    }

    /// An event of the scenario.
    fn step(&mut self, index: usize, number: usize) -> Result<()> {
        let end = &mut self.ends[index];
        let part = end.part;
        let Some(socket) = end.socket.as_ref() else {
            if end.fin.is_none() {
                // Accepted in a moment.
                self.at(now() + NOT_YET, Task::Step(index, number));
            }
            return Ok(());
        };
        let happening = &part.scenario.events[number].what;
        match happening {
            Happening::Set(options) => {
                for option in options {
                    let (set, at) = timed(|| Ok(subject::set(socket, *option)))?;
                    set?;
                    end.facts.push((at, Fact::Happened(Event::Set(*option))));
                }
            }
            Happening::SendData { acked } => {
                if *acked {
                    end.peer.will_acknowledge(DATA.len() as u32);
                } else {
                    end.stuck = true;
                    end.resets_new = end.reaction(now()) == Reaction::Resets;
                }
                let ((), at) = timed(|| subject::send(socket, DATA))?;
                end.written += DATA.len() as u32;
                end.note(at, Fact::Happened(Event::Send));
            }
            Happening::Shutdown => self.finish(index, true)?,
            Happening::Close => self.finish(index, false)?,
            Happening::Sysctl(sysctl) => {
                let ((), at) = timed(|| write_sysctls(sysctl))?;
                end.note(at, Fact::Sysctl(*sysctl));
            }
            Happening::QueueFull => {
                let ((), at) = timed(|| self.stage.stop_queue(true))?;
                end.note(at, Fact::QueueFull);
                self.queue_full = Some((subject::probes_made()?, now()));
                self.at(now() + GLANCE, Task::Glance);
            }
            Happening::QueueDrained => {
                self.glance()?;
                let ((), at) = timed(|| self.stage.stop_queue(false))?;
                self.read_wire()?;
                self.glance()?;
                self.queue_full = None;
                self.ends[index].note(at, Fact::QueueDrained);
            }
            _ => self.receive(index, happening)?,
        }
        Ok(())
    }

    /// An event that comes from the peer.
    fn receive(&mut self, index: usize, happening: &Happening) -> Result<()> {
        let say = match happening {
            Happening::ReceiveData => Say::Data,
            Happening::ReceiveAck => Say::Ack,
            Happening::ReceiveProbe => Say::Probe,
            Happening::ReceiveGarbageProbe => Say::GarbageProbe,
            Happening::ReceiveOutOfOrder => Say::OutOfOrder,
            Happening::ReceiveOldAck => Say::OldAck,
            Happening::ReceiveFutureAck => Say::FutureAck,
            Happening::PeerCloses => Say::Fin,
            Happening::IcmpError {
                error,
                quotes_probe,
            } => {
                let ipv6 = self.ends[index].part.ipv6;
                let (kind, code) = icmp_of(*error, ipv6).ok_or_else(|| {
                    let family = if ipv6 { "ICMPv6" } else { "ICMP" };
                    LabError::Other(format!("no {family} error stands for {error}"))
                })?;
                Say::Icmp {
                    kind,
                    code,
                    quotes_probe: *quotes_probe,
                }
            }
            other => return Err(LabError::Other(format!("cannot play {other:?}"))),
        };
        let at = self.say(index, say)?;
        let end = &mut self.ends[index];
        let outstanding = end.outstanding();
        match happening {
            Happening::ReceiveData if !end.part.reads => {
                end.note(at, Fact::UnreadData { outstanding });
            }
            Happening::ReceiveData
            | Happening::ReceiveAck
            | Happening::ReceiveGarbageProbe
            | Happening::ReceiveOutOfOrder => {
                end.note(at, Fact::Happened(Event::Ack { outstanding }));
            }
            Happening::PeerCloses => {
                end.peer_closed = true;
                end.note(at, Fact::Happened(Event::Ack { outstanding }));
                end.note(at, Fact::Happened(Event::PeerClosed));
                end.closed_by_both(at);
            }
            Happening::IcmpError {
                error,
                quotes_probe: false,
            } => end.note(at, Fact::Happened(Event::SoftError(*error))),
            // Nothing that the machine would be told.
            _ => {}
        }
        Ok(())
    }

    /// The program sends a FIN.
    fn finish(&mut self, index: usize, keep: bool) -> Result<()> {
        let end = &mut self.ends[index];
        match end.reaction(now()) {
            Reaction::Answers => end.peer.will_acknowledge(1),
            Reaction::Resets => end.resets_new = true,
            Reaction::Silent => end.stuck = true,
        }
        end.written += 1;
        end.fin = Some(keep);
        let at = if keep {
            let socket = end.socket.as_ref();
            timed(|| socket.map_or(Ok(()), subject::shut_down))?.1
        } else {
            let socket = end.socket.take();
            timed(|| {
                drop(socket);
                Ok(())
            })?
            .1
        };
        end.note(at, Fact::Happened(Event::Send));
        if !keep {
            end.note(at, Fact::SocketClosed);
        }
        Ok(())
    }

    /// Looks whether a probe was made that no wire saw.
    fn glance(&mut self) -> Result<()> {
        let Some((before, from)) = self.queue_full else {
            return Ok(());
        };
        let made = subject::probes_made()?;
        let to = now();
        // A queue that is full is a namespace's, and so is the count: such a
        // scenario has a namespace of its own.
        let end = &mut self.ends[0];
        let since = end.facts.iter().rev().take_while(|(at, _)| at.from >= from);
        let came = since.filter(|(_, fact)| *fact == Fact::Probe).count() + end.left.len();
        for _ in before + came as u64..made {
            end.note(Between { from, to }, Fact::Dropped);
        }
        self.queue_full = Some((made, to));
        self.at(to + GLANCE, Task::Glance);
        Ok(())
    }

    // ---- the programs

    fn read_sockets(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(64);
        let now_at_once = Timespec::default();
        let buffer = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, buffer, Some(&now_at_once)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing(|| "wait for sockets".to_owned()),
        }
        for event in events {
            let key = event.data.u64();
            if key >= LISTENER {
                self.accept((key - LISTENER) as usize)?;
            } else {
                self.look(key as usize, event.flags)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> Result<()> {
        let end = &mut self.ends[index];
        if let Some(listener) = &end.listener
            && let Some(socket) = subject::accept(listener)?
        {
            subject::watch(&self.epoll, &socket, index as u64)?;
            end.socket = Some(socket);
            end.listener = None;
        }
        Ok(())
    }

    fn look(&mut self, index: usize, events: epoll::EventFlags) -> Result<()> {
        let end = &mut self.ends[index];
        let Some(socket) = &end.socket else {
            return Ok(());
        };
        if let News::Error(error) = subject::look(socket, events, end.part.reads)? {
            let at = now();
            end.note(Between::exactly(at), Fact::Error(error));
            end.ended(at);
        }
        Ok(())
    }
}
