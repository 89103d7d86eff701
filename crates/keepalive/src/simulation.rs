//! A [`Scenario`] played in virtual time.
//!
//! ```
//! use tcpalive_keepalive::{Params, Peer, Scenario, Time, simulate};
//!
//! // The cable is cut at once.
//! let params: Params = "10/20/5".parse()?;
//! let life = simulate(&Scenario {
//!     until: Time::from_secs(200),
//!     options: params.into(),
//!     peer: Peer { silent_from: Some(Time::ZERO), ..Peer::default() },
//!     ..Scenario::default()
//! });
//! let seconds: Vec<u64> = life.iter().map(|moment| moment.at.as_nanos() / 1_000_000_000).collect();
//! assert_eq!(seconds, [10, 30, 50, 70, 90, 110]);
//! # Ok::<(), tcpalive_keepalive::ParamsError>(())
//! ```

use crate::detection::Timing;
use crate::machine::{Abort, Action, Errno, Event, Machine};
use crate::options::Sysctl;
use crate::scenario::{Happening, Reaction, Scenario, Step};
use crate::time::Time;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// A Linux peer answers at most one probe in this time for each connection
/// (`net.ipv4.tcp_invalid_ratelimit`, `__tcp_oow_rate_limited`).
pub const ANSWER_RATE_LIMIT: Duration = Duration::from_millis(500);

/// Something that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    /// When.
    pub at: Time,
    /// What.
    pub what: Sight,
}

/// What can be seen of keep-alive from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// A probe left.
    Probe {
        /// Unanswered probes, this one included.
        probes_out: u8,
    },
    /// A probe was made and dropped by this host's own full queue.
    Dropped,
    /// The peer's answer to a probe arrived.
    Answer,
    /// Keep-alive gave the connection up: RST with ACK, and an error.
    Abort(Abort),
    /// A reset arrived from the peer.
    Reset {
        /// What the program gets.
        error: Errno,
    },
}

/// Plays the scenario with an exact clock, until its end or the connection's.
///
/// What happens at the same time happens in this order: the scenario's
/// events, what arrives from the peer, the timer: a real timer is late.
#[must_use]
pub fn simulate(scenario: &Scenario) -> Vec<Moment> {
    Simulation::new(scenario).collect()
}

/// A scenario on its way: an iterator over what is seen.
#[derive(Debug)]
pub struct Simulation<'a> {
    scenario: &'a Scenario,
    machine: Machine,
    sysctl: Sysctl,
    timer: Option<Time>,
    events: core::slice::Iter<'a, Step>,
    arrivals: VecDeque<(Time, Arrival)>,
    /// When the peer last answered a probe, at its end.
    last_answer: Option<Time>,
    /// Data that nobody will ever acknowledge are in flight.
    stuck: bool,
    queue_full: bool,
    peer_closed: bool,
    fin_acked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Answer,
    /// The peer acknowledges all data so far.
    DataAcked,
    FinAcked {
        orphan: bool,
    },
    Reset,
}

enum Next<'a> {
    Step(&'a Step),
    Arrival(Time, Arrival),
    Timer(Time),
}

impl<'a> Simulation<'a> {
    /// The connection is just established.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        let (machine, action) =
            Machine::established(scenario.options, &scenario.sysctl, Time::ZERO);
        let mut simulation = Self {
            scenario,
            machine,
            sysctl: scenario.sysctl,
            timer: None,
            events: scenario.events.iter(),
            arrivals: VecDeque::new(),
            last_answer: None,
            stuck: false,
            queue_full: false,
            peer_closed: false,
            fin_acked: false,
        };
        simulation.act(action, Time::ZERO);
        simulation
    }

    /// The connection's state, as far as the iterator has come.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// When the timer is set to fire.
    #[must_use]
    pub const fn timer(&self) -> Option<Time> {
        self.timer
    }

    /// The values in force now.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.machine.options().timing(&self.sysctl)
    }

    /// Makes the timer that is set fire later, as a real one does.
    pub fn delay_timer(&mut self, by: Duration) {
        self.timer = self.timer.map(|at| at + by);
    }

    /// Plays the next thing that happens, also one that is not seen, and
    /// tells its time. `None` when the scenario or the connection is over.
    pub fn advance(&mut self) -> Option<(Time, Option<Sight>)> {
        if self.machine.is_closed() {
            return None;
        }
        Some(match self.take_next()? {
            Next::Step(step) => (step.at, self.step(step)),
            Next::Arrival(at, arrival) => (at, self.arrive(at, arrival)),
            Next::Timer(at) => {
                let action = self.machine.on_timer(at, &self.sysctl);
                (at, self.act(action, at))
            }
        })
    }

    fn take_next(&mut self) -> Option<Next<'a>> {
        let step = self.events.as_slice().first();
        let arrival = self.arrivals.front().copied();
        // The order among equals is that of this list.
        let times = [
            step.map(|step| step.at),
            arrival.map(|(at, _)| at),
            self.timer,
        ];
        let soonest = times.into_iter().flatten().min()?;
        if soonest > self.scenario.until {
            return None;
        }
        Some(if times[0] == Some(soonest) {
            Next::Step(self.events.next()?)
        } else if times[1] == Some(soonest) {
            let (at, arrival) = self.arrivals.pop_front()?;
            Next::Arrival(at, arrival)
        } else {
            Next::Timer(self.timer.take()?)
        })
    }

    fn handle(&mut self, event: Event, now: Time) -> Option<Sight> {
        let action = self.machine.handle(event, now, &self.sysctl);
        self.act(action, now)
    }

    fn act(&mut self, action: Action, now: Time) -> Option<Sight> {
        match action {
            Action::Keep => None,
            Action::Arm(at) => {
                self.timer = Some(at);
                None
            }
            Action::Disarm => {
                self.timer = None;
                None
            }
            Action::Probe { probes_out, next } => {
                self.timer = Some(next);
                if self.queue_full {
                    self.handle(Event::LocalCongestion, now);
                    return Some(Sight::Dropped);
                }
                self.probe_reaches_peer(now);
                Some(Sight::Probe { probes_out })
            }
            Action::Abort(abort) => {
                self.timer = None;
                Some(Sight::Abort(abort))
            }
            Action::Closed { error } => {
                self.timer = None;
                error.map(|error| Sight::Reset { error })
            }
        }
    }

    fn probe_reaches_peer(&mut self, sent: Time) {
        let peer = &self.scenario.peer;
        match peer.reaction(sent) {
            Reaction::Silent => {}
            Reaction::Resets => self.arrives(sent + peer.rtt, Arrival::Reset),
            Reaction::Answers => {
                let arrival = sent + peer.rtt / 2;
                let limited = self
                    .last_answer
                    .is_some_and(|last| arrival.since(last) < ANSWER_RATE_LIMIT);
                if !limited {
                    self.last_answer = Some(arrival);
                    self.arrives(sent + peer.rtt, Arrival::Answer);
                }
            }
        }
    }

    /// The round-trip time is constant, so arrivals stay in order.
    fn arrives(&mut self, at: Time, arrival: Arrival) {
        self.arrivals.push_back((at, arrival));
    }

    fn step(&mut self, step: &Step) -> Option<Sight> {
        let now = step.at;
        match &step.what {
            Happening::ReceiveData => self.handle(Event::Data, now),
            Happening::ReceiveAck
            | Happening::ReceiveGarbageProbe
            | Happening::ReceiveOutOfOrder => self.acked(now),
            // `tcp_validate_incoming` and `tcp_ack` turn these away.
            Happening::ReceiveProbe | Happening::ReceiveOldAck | Happening::ReceiveFutureAck => {
                None
            }
            Happening::SendData { acked } => {
                self.handle(Event::Send, now);
                let back = now + self.scenario.peer.rtt;
                if *acked {
                    self.arrives(back, Arrival::DataAcked);
                } else {
                    self.stuck = true;
                    if self.scenario.peer.reaction(now) == Reaction::Resets {
                        self.arrives(back, Arrival::Reset);
                    }
                }
                None
            }
            // None of them is seen at once: the timer is armed for now at the soonest.
            Happening::Set(options) => {
                for option in options {
                    self.handle(Event::Set(*option), now);
                }
                None
            }
            Happening::Sysctl(sysctl) => {
                self.sysctl = *sysctl;
                None
            }
            Happening::IcmpError {
                error,
                quotes_probe,
            } => {
                if *quotes_probe {
                    return None;
                }
                self.handle(Event::SoftError(*error), now)
            }
            Happening::QueueFull => {
                self.queue_full = true;
                None
            }
            Happening::QueueDrained => {
                self.queue_full = false;
                None
            }
            Happening::PeerCloses => {
                self.acked(now);
                self.peer_closed = true;
                self.handle(Event::PeerClosed, now);
                self.closed_by_both(now)
            }
            Happening::Shutdown => self.finish(now, false),
            Happening::Close => self.finish(now, true),
        }
    }

    /// A FIN leaves.
    fn finish(&mut self, now: Time, orphan: bool) -> Option<Sight> {
        self.handle(Event::Send, now);
        let back = now + self.scenario.peer.rtt;
        match self.scenario.peer.reaction(now) {
            Reaction::Answers => self.arrives(back, Arrival::FinAcked { orphan }),
            Reaction::Resets => self.arrives(back, Arrival::Reset),
            Reaction::Silent => self.stuck = true,
        }
        None
    }

    /// TIME_WAIT, or the end of LAST_ACK: no keep-alive timer runs any more.
    fn closed_by_both(&mut self, now: Time) -> Option<Sight> {
        if self.peer_closed && self.fin_acked {
            self.handle(Event::Closed, now)
        } else {
            None
        }
    }

    fn acked(&mut self, now: Time) -> Option<Sight> {
        let outstanding = self.machine.is_outstanding();
        self.handle(Event::Ack { outstanding }, now)
    }

    fn arrive(&mut self, now: Time, arrival: Arrival) -> Option<Sight> {
        match arrival {
            Arrival::Answer => {
                self.acked(now);
                Some(Sight::Answer)
            }
            Arrival::DataAcked | Arrival::FinAcked { .. } => {
                let more = self.arrivals.iter().any(|(_, later)| {
                    matches!(later, Arrival::DataAcked | Arrival::FinAcked { .. })
                });
                let outstanding = self.stuck || more;
                self.handle(Event::Ack { outstanding }, now);
                if let Arrival::FinAcked { orphan } = arrival
                    && !self.stuck
                {
                    self.fin_acked = true;
                    if orphan {
                        self.handle(Event::Orphaned, now);
                    }
                }
                self.closed_by_both(now)
            }
            Arrival::Reset => self.handle(Event::Reset, now),
        }
    }
}

impl Iterator for Simulation<'_> {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        loop {
            let (at, what) = self.advance()?;
            if let Some(what) = what {
                return Some(Moment { at, what });
            }
        }
    }
}
