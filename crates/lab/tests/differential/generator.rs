//! Random scenarios of a few seconds each, from a seed.
//!
//! A scenario in which lateness decides what happens (an event at the very
//! time of a probe, a user timeout at the very time of a fire) has no one
//! prediction. Each draw is played in virtual time with many latenesses, and
//! turned away unless all of them see the same.

use std::time::Duration;
use tcpalive_keepalive::{
    Count, Errno, Happening, Hz, Moment, Opened, Options, Peer, Reaction, Scenario, Seconds,
    SetOption, Sight, Simulation, Step, Sysctl, Time, UserTimeout,
};
use tcpalive_lab::play::{self, Part};

/// Between events: more than an answer and the subject's delayed ACK take. (A
/// peer's empty probe is acceptable while such an ACK is pending.)
const SPACING_MS: u64 = 450;
/// How much later than the wheel allows a draw must bear its timers to be.
const NOISE: Duration = Duration::from_millis(60);
/// How much later than asked for a draw must bear its events to be.
const EVENT_NOISE_MS: u64 = 60;
/// How often each draw is played in virtual time.
const TRIALS: u32 = 200;

/// Draws parts from a seed.
pub(crate) struct Generator {
    random: Random,
    turned_away: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            turned_away: 0,
        }
    }

    /// How many draws had no one prediction.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away
    }

    pub(crate) fn part(&mut self) -> Part {
        loop {
            let ipv6 = self.random.chance(25);
            let scenario = Draw {
                random: &mut self.random,
                ipv6,
            }
            .scenario();
            if has_one_prediction(&scenario, &mut self.random) {
                return Part {
                    scenario,
                    timestamps: self.random.chance(70),
                    ipv6,
                    reads: true,
                };
            }
            self.turned_away += 1;
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Both ends included.
    fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn one_of<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.within(0, things.len() as u64 - 1) as usize].clone()
    }
}

struct Draw<'r> {
    random: &'r mut Random,
    ipv6: bool,
}

impl Draw<'_> {
    fn scenario(&mut self) -> Scenario {
        let until_ms = self.random.within(5000, 11_000);
        let from_sysctl = self.random.chance(15);
        let sysctl = if from_sysctl {
            self.sysctl()
        } else {
            Sysctl::LINUX
        };
        let mut scenario = Scenario {
            until: Time::from_millis(until_ms),
            options: self.options(from_sysctl),
            sysctl,
            opened: self.random.one_of(&[Opened::Connect, Opened::Accept]),
            peer: self.peer(until_ms),
            events: Vec::new(),
        };
        scenario.events = match self.random.within(0, 99) {
            0..2 => self.queue(until_ms),
            2..4 => self.sysctls(&mut scenario, until_ms),
            _ => self.events(&scenario, until_ms),
        };
        cut_after_the_end(&mut scenario);
        scenario
    }

    fn options(&mut self, from_sysctl: bool) -> Options {
        let own = |random: &mut Random| !from_sysctl || random.chance(50);
        let random = &mut *self.random;
        Options {
            enabled: random.chance(92),
            idle: own(random).then(|| seconds(random, 4)),
            interval: own(random).then(|| seconds(random, 3)),
            count: own(random).then(|| count(random)),
            user_timeout: user_timeout(random, 35),
        }
    }

    /// Few different ones: each is a namespace.
    fn sysctl(&mut self) -> Sysctl {
        let (time, interval, probes) =
            self.random
                .one_of(&[(1, 1, 2), (2, 1, 3), (3, 2, 0), (1, 3, 255)]);
        Sysctl::new(time, interval, probes).unwrap()
    }

    fn peer(&mut self, until_ms: u64) -> Peer {
        let rtt_ms = self.random.one_of(&[0, 0, 1, 10, 20, 100, 300]);
        let mut at = |percent| {
            let random = &mut *self.random;
            random
                .chance(percent)
                .then(|| Time::from_millis(random.within(0, until_ms / 2)))
        };
        Peer {
            rtt: Duration::from_millis(rtt_ms),
            silent_from: at(60),
            resets_from: at(15),
        }
    }

    fn events(&mut self, scenario: &Scenario, until_ms: u64) -> Vec<Step> {
        let mut events = Vec::new();
        let mut state = State::new(scenario);
        let mut at_ms = self.random.within(50, 2500);
        for _ in 0..self.random.within(0, 5) {
            if at_ms >= until_ms || state.closed {
                break;
            }
            let at = Time::from_millis(at_ms);
            let what = self.happening(&mut state, scenario, at);
            events.push(Step { at, what });
            at_ms += SPACING_MS + self.random.within(0, 2500);
        }
        events
    }

    fn happening(&mut self, state: &mut State, scenario: &Scenario, at: Time) -> Happening {
        loop {
            let what = match self.random.within(0, 17) {
                0 => Happening::ReceiveData,
                1 => Happening::ReceiveAck,
                2 => Happening::ReceiveProbe,
                3 => Happening::ReceiveGarbageProbe,
                4 => Happening::ReceiveOutOfOrder,
                5 => Happening::ReceiveOldAck,
                6 => Happening::ReceiveFutureAck,
                7 | 8 => Happening::SendData {
                    acked: self.random.chance(80),
                },
                9 | 10 => Happening::IcmpError {
                    error: self.icmp_error(),
                    quotes_probe: self.random.chance(30),
                },
                11 if self.random.chance(50) => Happening::PeerCloses,
                12 if self.random.chance(50) => Happening::Shutdown,
                13 if self.random.chance(30) => Happening::Close,
                11..=13 => continue,
                _ => Happening::Set(
                    (0..self.random.within(1, 3))
                        .map(|_| self.option())
                        .collect(),
                ),
            };
            if state.allows(&what, scenario, at) {
                state.after(&what, scenario.peer.reaction(at));
                return what;
            }
        }
    }

    fn icmp_error(&mut self) -> Errno {
        if self.ipv6 {
            self.random.one_of(&[
                Errno::ENETUNREACH,
                Errno::EHOSTUNREACH,
                Errno::EACCES,
                Errno::ECONNREFUSED,
            ])
        } else {
            self.random.one_of(&[
                Errno::ENETUNREACH,
                Errno::EHOSTUNREACH,
                Errno::EHOSTDOWN,
                Errno::ECONNREFUSED,
                Errno::ENOPROTOOPT,
            ])
        }
    }

    fn option(&mut self) -> SetOption {
        let random = &mut *self.random;
        match random.within(0, 9) {
            0 | 1 => SetOption::KeepAlive(random.chance(60)),
            2..=4 => SetOption::Idle(seconds(random, 4)),
            5 | 6 => SetOption::Interval(seconds(random, 3)),
            7 | 8 => SetOption::Count(count(random)),
            _ => SetOption::UserTimeout(user_timeout(random, 60)),
        }
    }

    fn queue(&mut self, until_ms: u64) -> Vec<Step> {
        let full = self.random.within(100, until_ms / 2);
        let drained = full + self.random.within(600, 4000);
        let mut events = vec![Step {
            at: Time::from_millis(full),
            what: Happening::QueueFull,
        }];
        if self.random.chance(80) {
            events.push(Step {
                at: Time::from_millis(drained),
                what: Happening::QueueDrained,
            });
        }
        events
    }

    fn sysctls(&mut self, scenario: &mut Scenario, until_ms: u64) -> Vec<Step> {
        scenario.sysctl = self.sysctl();
        scenario.options = self.options(true);
        let mut at_ms = self.random.within(100, until_ms / 2);
        (0..self.random.within(1, 2))
            .map(|_| {
                let at = Time::from_millis(at_ms);
                at_ms += SPACING_MS + self.random.within(0, 2500);
                Step {
                    at,
                    what: Happening::Sysctl(self.sysctl()),
                }
            })
            .collect()
    }
}

fn seconds(random: &mut Random, most: u64) -> Seconds {
    Seconds::new(random.within(1, most) as u32).unwrap()
}

fn count(random: &mut Random) -> Count {
    Count::new(random.within(1, 4) as u32).unwrap()
}

fn user_timeout(random: &mut Random, percent: u64) -> UserTimeout {
    if !random.chance(percent) {
        return UserTimeout::OFF;
    }
    UserTimeout::from_millis(random.within(300, 8000)).unwrap()
}

/// What of TCP beside keep-alive an event must not meet.
struct State {
    /// With a user timeout the retransmission timer ends connections, too
    /// (`tcp_write_timeout`): then nothing may stay in flight for longer than
    /// it takes to retransmit, 200 ms. The scenario's language is about
    /// keep-alive alone. It may be set later, so this is asked of all.
    timed: bool,
    in_flight: bool,
    shut_down: bool,
    peer_closed: bool,
    closed: bool,
}

impl State {
    fn new(scenario: &Scenario) -> Self {
        Self {
            timed: scenario.options.user_timeout != UserTimeout::OFF,
            in_flight: false,
            shut_down: false,
            peer_closed: false,
            closed: false,
        }
    }

    fn allows(&self, what: &Happening, scenario: &Scenario, at: Time) -> bool {
        let reaction = scenario.peer.reaction(at);
        let answers = reaction == Reaction::Answers;
        let soon = scenario.peer.rtt < Duration::from_millis(150);
        match what {
            Happening::ReceiveData
            | Happening::ReceiveGarbageProbe
            | Happening::ReceiveOutOfOrder => !self.peer_closed,
            Happening::PeerCloses => !self.peer_closed && !self.in_flight,
            Happening::SendData { acked } => {
                !self.in_flight && !self.shut_down && (!self.timed || (*acked && soon))
            }
            Happening::Shutdown | Happening::Close => {
                !self.in_flight && !self.shut_down && (!self.timed || (answers && soon))
            }
            // From now on, what is in flight is timed.
            Happening::Set(options) => {
                let sets = options.iter().any(|option| {
                    matches!(option, SetOption::UserTimeout(timeout) if *timeout != UserTimeout::OFF)
                });
                !sets || !self.in_flight
            }
            _ => true,
        }
    }

    fn after(&mut self, what: &Happening, reaction: Reaction) {
        match what {
            Happening::SendData { acked } => self.in_flight |= !acked,
            Happening::Shutdown => {
                self.shut_down = true;
                self.in_flight |= reaction != Reaction::Answers;
            }
            Happening::Close => self.closed = true,
            Happening::PeerCloses => self.peer_closed = true,
            Happening::Set(options) => {
                self.timed |= options
                    .iter()
                    .any(|option| matches!(option, SetOption::UserTimeout(_)));
            }
            _ => {}
        }
    }
}

/// A program that uses a connection after its end is given errors by other
/// calls.
fn cut_after_the_end(scenario: &mut Scenario) {
    let mut simulation = Simulation::new(scenario);
    let mut end = Time::ZERO;
    while let Some((at, _)) = simulation.advance() {
        end = at;
    }
    if simulation.machine().is_closed() {
        let margin = Duration::from_millis(SPACING_MS);
        scenario.events.retain(|step| step.at + margin < end);
    }
}

fn has_one_prediction(scenario: &Scenario, random: &mut Random) -> bool {
    let watched = Scenario {
        until: play::watched(scenario) + NOISE,
        ..scenario.clone()
    };
    let predicted = seen(&watched, |_| Duration::ZERO);
    let must = seen(scenario, |_| Duration::ZERO).len();
    let latest = |delay| Hz::DEBIAN.lateness(delay) + NOISE;
    (0..TRIALS).all(|trial| {
        let shifted = shifted(&watched, random);
        let seen = seen(&shifted, |delay| match trial {
            0 => latest(delay),
            1 => Duration::ZERO,
            _ => {
                let most = random.one_of(&[0, 20, 100, 1000]);
                latest(delay) * random.within(most / 2, most) as u32 / 1000
            }
        });
        agree(&predicted, &seen, must)
    })
}

/// Whether something that was seen then is what was predicted for then: not
/// sooner, and no later than lateness adds up to. (The worst there is are
/// intervals just above 2 s, which are late by a quarter of a second each.)
/// Else the same thing happened for another reason.
pub(crate) fn is_in_time(predicted: Time, seen: Time) -> bool {
    let most = predicted.since_origin() * 17 / 100 + Duration::from_millis(400);
    seen >= predicted && seen.since(predicted) <= most
}

/// Whether what is seen is what was predicted, never sooner, as far as it
/// goes, and goes far enough. Of the tries of a full queue there may be fewer.
fn agree(predicted: &[Moment], seen: &[Moment], must: usize) -> bool {
    let mut seen = seen.iter().peekable();
    for (number, moment) in predicted.iter().enumerate() {
        let next = seen.next_if(|seen| seen.what == moment.what && is_in_time(moment.at, seen.at));
        if next.is_none() && moment.what != Sight::Dropped {
            return seen.next().is_none() && number >= must;
        }
    }
    seen.next().is_none()
}

fn shifted(scenario: &Scenario, random: &mut Random) -> Scenario {
    let mut shifted = scenario.clone();
    for step in &mut shifted.events {
        step.at = step.at + Duration::from_millis(random.within(0, EVENT_NOISE_MS));
    }
    shifted.peer.rtt += Duration::from_millis(random.within(0, EVENT_NOISE_MS / 2));
    shifted
}

/// What is seen when each timer is as late as `late` says of its delay.
fn seen(scenario: &Scenario, mut late: impl FnMut(Duration) -> Duration) -> Vec<Moment> {
    let mut simulation = Simulation::new(scenario);
    let mut seen = Vec::new();
    let mut now = Time::ZERO;
    let mut deadline = None;
    let mut fires = None;
    loop {
        if simulation.timer() != fires {
            let asked = simulation.timer();
            if let Some(at) = asked {
                // Set anew to the same tick, it stays in its bucket.
                let delay = match fires {
                    Some(fires) if asked == deadline => fires.since(at),
                    _ => late(at.since(now)),
                };
                simulation.delay_timer(delay);
            }
            deadline = asked;
            fires = simulation.timer();
        }
        let Some((at, sight)) = simulation.advance() else {
            return seen;
        };
        now = at;
        seen.extend(sight.map(|what| Moment { at, what }));
    }
}
