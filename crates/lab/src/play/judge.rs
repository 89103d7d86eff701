//! Follows the kernel with the machine: is what was seen what the machine
//! says, given what really happened and when?
//!
//! Not every fire of a timer is seen: the kernel re-arms in silence while
//! something is in flight, or when the peer was heard meanwhile. So the judge
//! follows all lives at once that agree with what was seen so far. One must
//! be left in the end.

use super::record::{Between, Fact, Record};
use std::time::Duration;
use tcpalive_keepalive::{Action, Errno, Event, Hz, Machine, Scenario, Sight, Sysctl, Time};

/// How much later than its wheel bucket a timer may be seen to fire: time
/// that a loaded machine with two processors takes to run its softirqs and
/// the threads of the play.
pub const SLACK: Duration = Duration::from_millis(150);

/// Something that was seen, and when it had to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it was.
    pub at: Between,
    /// What it was, in each of the lives that it agrees with.
    pub what: Vec<Sight>,
    /// When the machine says that the timer fires, at the soonest and at the
    /// latest; `None` for what the peer does.
    pub window: Option<Window>,
}

/// What the judge found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What was seen, as far as it agreed with the machine.
    pub seen: Vec<Seen>,
    /// Why no life of the machine agrees with the record.
    pub failure: Option<String>,
}

/// When a timer fires, as far as that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// A tick before the machine's deadline at the soonest: the kernel counts
    /// silence in ticks.
    pub earliest: Time,
    /// The latest deadline, the width of the wheel's bucket, and [`SLACK`].
    pub latest: Time,
}

impl Window {
    fn is_same_tick(&self, other: &Self, hz: Hz) -> bool {
        let (a, b) = (self.earliest, other.earliest);
        a.since(b).max(b.since(a)) <= hz.tick()
    }
}

/// Holds a record against the machine.
#[must_use]
pub fn judge(scenario: &Scenario, record: &Record, hz: Hz) -> Judgement {
    let mut judge = Judge {
        hz,
        sysctl: scenario.sysctl,
        queue_full: false,
        blur: record.origin_width,
        socket_closed: false,
        lives: Vec::new(),
        lost: Vec::new(),
        seen: Vec::new(),
    };
    let established = Between {
        from: Time::ZERO,
        to: Time::from_origin(record.origin_width),
    };
    let mut life = Life {
        machine: Machine::connecting(scenario.options),
        timer: None,
        error: None,
    };
    judge.tell(&mut life, Event::Established, established);
    judge.lives.push(life);
    for (at, fact) in &record.facts {
        if let Err(failure) = judge.take(*at, fact) {
            return judge.failed(failure);
        }
    }
    match judge.end(record.watched_until) {
        Ok(()) => Judgement {
            seen: judge.seen,
            failure: None,
        },
        Err(failure) => judge.failed(failure),
    }
}

/// One of the lives that agree with what was seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    machine: Machine,
    timer: Option<Window>,
    /// What the program is about to be given.
    error: Option<Errno>,
}

struct Judge {
    hz: Hz,
    sysctl: Sysctl,
    queue_full: bool,
    /// How uncertain the times of events were at the most.
    blur: Duration,
    socket_closed: bool,
    lives: Vec<Life>,
    /// Why lives ended since the last fact.
    lost: Vec<String>,
    seen: Vec<Seen>,
}

impl Judge {
    fn failed(self, failure: String) -> Judgement {
        Judgement {
            seen: self.seen,
            failure: Some(failure),
        }
    }

    fn take(&mut self, at: Between, fact: &Fact) -> Result<(), String> {
        self.lost.clear();
        self.pass_until(at.from);
        match fact {
            Fact::Happened(event) => self.happened(at, *event),
            Fact::UnreadData { outstanding } => {
                // The kernel's fast path does not look at the acknowledgment
                // of data that acknowledge nothing new; whether it is taken
                // depends on memory (`tcp_rcv_established`).
                let mut looked_at = self.lives.clone();
                self.tell_all(Event::Data, at);
                let ack = Event::Ack {
                    outstanding: *outstanding,
                };
                for life in &mut looked_at {
                    self.tell(life, ack, at);
                    self.add(*life);
                }
            }
            Fact::Answer { outstanding } => {
                self.tell_all(
                    Event::Ack {
                        outstanding: *outstanding,
                    },
                    at,
                );
                self.see(at, vec![Sight::Answer], None);
            }
            Fact::Sysctl(sysctl) => self.sysctl = *sysctl,
            Fact::QueueFull => self.queue_full = true,
            Fact::QueueDrained => self.queue_full = false,
            Fact::Probe => self.fired(at, |sight| matches!(sight, Sight::Probe { .. })),
            Fact::Dropped => self.fired(at, |sight| sight == Sight::Dropped),
            Fact::Abort => self.fired(at, |sight| matches!(sight, Sight::Abort(_))),
            Fact::Lost => {}
            Fact::SocketClosed => self.socket_closed = true,
            Fact::Error(error) => {
                // The reset was dropped like everything else.
                if self.queue_full && self.lives.iter().all(|life| life.error.is_none()) {
                    self.fired(at, |sight| matches!(sight, Sight::Abort(_)));
                }
                for mut life in std::mem::take(&mut self.lives) {
                    let expected = life.error.take();
                    if expected == Some(*error) {
                        self.add(life);
                    } else {
                        self.lost.push(match expected {
                            Some(expected) => format!("the program's error was to be {expected}"),
                            None => "the program was to have no error".to_owned(),
                        });
                    }
                }
            }
            Fact::Odd(what) => return Err(format!("at {}: {what}", at.from)),
        }
        self.check(|| format!("{fact:?} at {}", at.from))
    }

    fn end(&mut self, until: Time) -> Result<(), String> {
        self.lost.clear();
        self.pass_until(until);
        if !self.socket_closed {
            self.lives.retain(|life| match life.error {
                None => true,
                Some(error) => {
                    self.lost
                        .push(format!("the program was to be given {error}"));
                    false
                }
            });
        }
        self.check(|| format!("the end at {until}"))
    }

    fn check(&self, what: impl FnOnce() -> String) -> Result<(), String> {
        if self.lives.is_empty() {
            Err(format!(
                "{} disagrees: {}",
                what(),
                self.lost.join("; or else ")
            ))
        } else {
            Ok(())
        }
    }

    fn add(&mut self, life: Life) {
        if !self.lives.contains(&life) {
            self.lives.push(life);
        }
    }

    fn see(&mut self, at: Between, what: Vec<Sight>, window: Option<Window>) {
        self.seen.push(Seen { at, what, window });
    }

    fn happened(&mut self, at: Between, event: Event) {
        self.tell_all(event, at);
        if event == Event::Reset
            && let Some(error) = self.lives.iter().find_map(|life| life.error)
        {
            self.see(at, vec![Sight::Reset { error }], None);
        }
    }

    fn tell_all(&mut self, event: Event, at: Between) {
        for mut life in std::mem::take(&mut self.lives) {
            self.tell(&mut life, event, at);
            self.add(life);
        }
    }

    /// The machine is told the earliest time; what that leaves open makes
    /// windows wider.
    fn tell(&mut self, life: &mut Life, event: Event, at: Between) {
        self.blur = self.blur.max(at.width());
        let action = life.machine.handle(event, at.from, &self.sysctl);
        match action {
            Action::Arm(deadline) => {
                let delay = deadline.since(at.from);
                let mut window = self.window(deadline, deadline, delay);
                // A timer that is set anew to the same tick stays in the
                // bucket that it is in, one for a longer delay (`__mod_timer`).
                if let Some(pending) = life.timer
                    && pending.is_same_tick(&window, self.hz)
                {
                    window.latest = window.latest.max(pending.latest);
                }
                life.timer = Some(window);
            }
            Action::Disarm => life.timer = None,
            Action::Closed { error } => {
                life.timer = None;
                life.error = error;
            }
            Action::Keep | Action::Probe { .. } | Action::Abort(_) => {}
        }
    }

    fn window(&self, soonest: Time, latest: Time, delay: Duration) -> Window {
        let tick = self.hz.tick();
        // The wheel counts delays from its own clock, which is behind when
        // softirqs are late (`base->clk` in `calc_wheel_index`): a delay just
        // below a level's reach can end up in the next one.
        let delay = delay + SLACK;
        Window {
            earliest: Time::from_origin(soonest.since_origin().saturating_sub(tick)),
            latest: latest + self.hz.lateness(delay) + tick + self.blur + SLACK,
        }
    }

    /// Lets timers fire in silence until then, and ends the lives whose
    /// timers should have been seen.
    fn pass_until(&mut self, now: Time) {
        let mut waiting = std::mem::take(&mut self.lives);
        let mut known = waiting.clone();
        while let Some(life) = waiting.pop() {
            let Some(window) = life.timer.filter(|window| window.earliest <= now) else {
                self.lives.push(life);
                continue;
            };
            let soonest = window.earliest;
            let latest = window.latest.min(now);
            for fired in self.silent_fires(&life, soonest, latest) {
                if !known.contains(&fired) {
                    known.push(fired);
                    waiting.push(fired);
                }
            }
            if window.latest >= now {
                self.lives.push(life);
            } else {
                let (_, action) = fire(&life.machine, window.latest, &self.sysctl);
                self.lost.push(format!(
                    "{} was due from {} to {}",
                    told(action),
                    window.earliest,
                    window.latest
                ));
            }
        }
    }

    /// What follows when the timer fires between the two and nothing is seen.
    fn silent_fires(&self, life: &Life, soonest: Time, latest: Time) -> Vec<Life> {
        let [first, last] = [soonest, latest].map(|at| fire(&life.machine, at, &self.sysctl));
        let mut found = Vec::new();
        let armed = [first.1, last.1].map(|action| match action {
            Action::Arm(deadline) => Some(deadline),
            _ => None,
        });
        if let Some(one) = armed[0].or(armed[1]) {
            let (from, to) = (armed[0].unwrap_or(one), armed[1].unwrap_or(one));
            found.push(Life {
                timer: Some(self.window(from, to, from.since(soonest))),
                ..*life
            });
        }
        if first.1 == Action::Disarm {
            found.push(Life {
                timer: None,
                ..*life
            });
        }
        found
    }

    /// A fire was seen then.
    fn fired(&mut self, at: Between, is: impl Fn(Sight) -> bool) {
        let mut sights = Vec::new();
        let mut widest: Option<Window> = None;
        for life in std::mem::take(&mut self.lives) {
            let Some(window) = life.timer else {
                self.lost.push("no timer was set".to_owned());
                continue;
            };
            if at.to < window.earliest || at.from > window.latest {
                let (_, action) = fire(&life.machine, window.latest, &self.sysctl);
                self.lost.push(format!(
                    "{} was due from {} to {}",
                    told(action),
                    window.earliest,
                    window.latest
                ));
                continue;
            }
            let Some((after, sight)) = self.fire_seen(&life, at, &is) else {
                let (_, action) = fire(&life.machine, at.from, &self.sysctl);
                self.lost.push(format!("{} was due", told(action)));
                continue;
            };
            if !sights.contains(&sight) {
                sights.push(sight);
            }
            widest = Some(widest.map_or(window, |known| Window {
                earliest: known.earliest.min(window.earliest),
                latest: known.latest.max(window.latest),
            }));
            self.add(after);
        }
        if !sights.is_empty() {
            self.see(at, sights, widest);
        }
    }

    /// The life after a fire that was seen, if the machine says the same. The
    /// kernel counts silence in ticks, and what fires is seen a little later:
    /// so a tick more or less is tried, too.
    fn fire_seen(
        &self,
        life: &Life,
        at: Between,
        is: impl Fn(Sight) -> bool,
    ) -> Option<(Life, Sight)> {
        let tick = self.hz.tick();
        let before = Time::from_origin(at.from.since_origin().saturating_sub(2 * tick + self.blur));
        [at.to, at.to + tick, before].into_iter().find_map(|when| {
            let (mut machine, action) = fire(&life.machine, when, &self.sysctl);
            let (sight, timer, error) = match action {
                Action::Probe { probes_out, next } => {
                    let delay = next.since(when);
                    if is(Sight::Dropped) {
                        let action = machine.handle(Event::LocalCongestion, at.from, &self.sysctl);
                        let Action::Arm(retry) = action else {
                            return None;
                        };
                        let delay = retry.since(at.from);
                        (
                            Sight::Dropped,
                            Some(self.window(retry, at.to + delay, delay)),
                            None,
                        )
                    } else {
                        (
                            Sight::Probe { probes_out },
                            Some(self.window(at.from + delay, at.to + delay, delay)),
                            None,
                        )
                    }
                }
                Action::Abort(abort) => (Sight::Abort(abort), None, Some(abort.error)),
                _ => return None,
            };
            is(sight).then_some((
                Life {
                    machine,
                    timer,
                    error,
                },
                sight,
            ))
        })
    }
}

fn fire(machine: &Machine, at: Time, sysctl: &Sysctl) -> (Machine, Action) {
    let mut machine = *machine;
    let action = machine.on_timer(at, sysctl);
    (machine, action)
}

fn told(action: Action) -> String {
    match action {
        Action::Probe { probes_out, .. } => format!("probe {probes_out}"),
        Action::Abort(abort) => format!("an abort with {}", abort.error),
        _ => "a silent fire of the timer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_keepalive::{Params, Peer, Seconds, SetOption};

    const HZ: Hz = Hz::DEBIAN;

    fn scenario() -> Scenario {
        let params: Params = "2/1/2".parse().unwrap();
        Scenario {
            until: Time::from_secs(5),
            options: params.into(),
            peer: Peer {
                silent_from: Some(Time::ZERO),
                ..Peer::default()
            },
            ..Scenario::default()
        }
    }

    /// Facts at milliseconds after the establishment.
    fn record(facts: &[(u64, Fact)]) -> Record {
        let facts = facts
            .iter()
            .map(|(ms, fact)| (Between::exactly(Time::from_millis(*ms)), fact.clone()));
        Record {
            facts: facts.collect(),
            watched_until: Time::from_millis(5500),
            origin_width: Duration::ZERO,
        }
    }

    fn failure(facts: &[(u64, Fact)]) -> String {
        let judgement = judge(&scenario(), &record(facts), HZ);
        judgement.failure.expect("the judge finds the fault")
    }

    fn error(errno: Errno) -> Fact {
        Fact::Error(errno)
    }

    #[test]
    fn life_as_the_machine_has_it_holds() {
        let judgement = judge(
            &scenario(),
            &record(&[
                (2020, Fact::Probe),
                (3040, Fact::Probe),
                (4060, Fact::Abort),
                (4060, error(Errno::ETIMEDOUT)),
            ]),
            HZ,
        );
        assert_eq!(judgement.failure, None);
        assert_eq!(judgement.seen.len(), 3);
        let window = judgement.seen[1].window.unwrap();
        assert_eq!(window.earliest, Time::from_millis(3016));
        // A second is in a bucket of 32 ms, and a tick and the slack come on top.
        assert_eq!(window.latest, Time::from_millis(3020 + 32 + 4 + 150));
    }

    #[test]
    fn early_late_missing_and_unexpected_fires_are_found() {
        let early = failure(&[(1990, Fact::Probe)]);
        assert!(early.contains("probe 1 was due from 1.996s"), "{early}");
        let late = failure(&[(2450, Fact::Probe)]);
        assert!(late.contains("probe 1 was due"), "{late}");
        let missing = failure(&[]);
        assert!(missing.contains("the end at 5.5s"), "{missing}");
        let one_more = failure(&[
            (2020, Fact::Probe),
            (3040, Fact::Probe),
            (4060, Fact::Probe),
        ]);
        assert!(
            one_more.contains("an abort with ETIMEDOUT was due"),
            "{one_more}"
        );
        let one_less = failure(&[(2020, Fact::Probe), (3040, Fact::Abort)]);
        assert!(one_less.contains("probe 2 was due"), "{one_less}");
    }

    #[test]
    fn wrong_error_and_no_error_are_found() {
        let until_abort = [
            (2020, Fact::Probe),
            (3040, Fact::Probe),
            (4060, Fact::Abort),
        ];
        let none = failure(&until_abort);
        assert!(none.contains("was to be given ETIMEDOUT"), "{none}");
        let mut wrong = until_abort.to_vec();
        wrong.push((4061, error(Errno::ECONNRESET)));
        let wrong = failure(&wrong);
        assert!(wrong.contains("was to be ETIMEDOUT"), "{wrong}");
        let sudden = failure(&[(1000, error(Errno::ETIMEDOUT))]);
        assert!(sudden.contains("no error"), "{sudden}");
    }

    #[test]
    fn malformed_segment_is_found_at_any_time() {
        let odd = failure(&[(100, Fact::Odd("two heads".into()))]);
        assert_eq!(odd, "at 100ms: two heads");
    }

    #[test]
    fn silent_fire_moves_the_window_to_what_was_heard() {
        let ack = Fact::Happened(Event::Ack { outstanding: false });
        let early = failure(&[(1000, ack.clone()), (2020, Fact::Probe)]);
        assert!(early.contains("probe 1 was due from 2.996s"), "{early}");
        let judgement = judge(
            &scenario(),
            &record(&[(1000, ack), (3010, Fact::Probe), (4030, Fact::Probe)]),
            HZ,
        );
        let failure = judgement.failure.unwrap();
        assert!(failure.contains("an abort with ETIMEDOUT"), "{failure}");
        assert_eq!(judgement.seen.len(), 2);
    }

    #[test]
    fn timer_set_anew_to_the_same_tick_may_keep_its_coarse_bucket() {
        let idle = SetOption::Idle(Seconds::new(2).unwrap());
        let record = record(&[
            (1900, Fact::Happened(Event::Set(idle))),
            (2300, Fact::Probe),
            (3320, Fact::Probe),
            (4340, Fact::Abort),
            (4340, error(Errno::ETIMEDOUT)),
        ]);
        assert_eq!(judge(&scenario(), &record, HZ).failure, None);
    }

    #[test]
    fn unread_data_leave_both_lives_open_until_one_is_seen() {
        let record = |last: Fact| {
            record(&[
                (2010, Fact::Probe),
                (2500, Fact::UnreadData { outstanding: false }),
                (4520, Fact::Probe),
                (5530, last),
            ])
        };
        for (last, sights) in [
            (
                Fact::Abort,
                vec![
                    Sight::Probe { probes_out: 1 },
                    Sight::Probe { probes_out: 2 },
                ],
            ),
            (
                Fact::Probe,
                vec![
                    Sight::Probe { probes_out: 1 },
                    Sight::Probe { probes_out: 2 },
                ],
            ),
        ] {
            let judgement = judge(&scenario(), &record(last), HZ);
            let mut what = judgement.seen[1].what.clone();
            what.sort_by_key(|sight| format!("{sight:?}"));
            assert_eq!(what, sights);
            assert_eq!(judgement.seen.len(), 3);
        }
    }
}
