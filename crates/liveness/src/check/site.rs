//! The connections of one network namespace under check.

use super::subject::{Look, Movement, Subject};
use super::{CheckOptions, Run};
use crate::evidence;
use crate::loss::{Losses, assumed_loss, probes_against};
use crate::way::{Way, Ways};
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tcpalive_connections::{Connection, Outcome, Selection, Verdict};
use tcpalive_kernel::Result;
use tcpalive_kernel::clock::KernelClock;
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::probe::{Outgoing, ProbeSender};
use tcpalive_kernel::sweep::BpfSweeper;
use tcpalive_kernel::tap::{Tap, Watch};

/// Probes sent between two looks at the clock, at most.
const BURST: u32 = 64;
/// Probes that are due within so many nanoseconds are sent in one round, each
/// in its time.
const ROUND_NS: u64 = 300_000_000;

/// The connections of one network namespace under check.
pub(super) struct Site<'n> {
    index: usize,
    namespace: &'n Namespace,
    subjects: Vec<Subject>,
    by_cookie: HashMap<u64, u32>,
    /// Indices of subjects without a verdict.
    open: Vec<u32>,
    movements: Vec<Movement>,
    round: u32,
    tap: Tap,
    sender: ProbeSender<'n>,
    ways: Ways,
    losses: Losses,
}

/// What speaks against a verdict of death.
enum Silence {
    NotYet,
    Proves(String),
    ProvesNothing(String),
}

impl<'n> Site<'n> {
    /// Sweeps the namespace and gets ready to probe; `None` when nothing in
    /// it is to be probed.
    pub(super) fn open(
        index: usize,
        namespace: &'n Namespace,
        sweeper: &mut BpfSweeper,
        selection: &Selection,
        accept: &mut dyn FnMut(&Connection) -> bool,
        run: &mut Run<'_>,
    ) -> Result<Option<Self>> {
        let mut subjects = Vec::new();
        sweeper.sweep_for_probing(namespace, selection, |swept| {
            if !accept(&swept.connection) {
                return;
            }
            run.progress.total += 1;
            let transmission = swept.transmission();
            match (
                evidence::not_probed(swept.connection.state, transmission.as_ref()),
                transmission,
            ) {
                (None, Some(transmission)) => {
                    subjects.push(Subject::new(swept.connection, transmission));
                }
                (reason, _) => {
                    let reason =
                        reason.unwrap_or("the socket has no sequence numbers to probe with");
                    run.decide(&swept.connection, &unprobed(&swept.connection, reason));
                }
            }
        })?;
        if subjects.is_empty() {
            return Ok(None);
        }
        let watches: Vec<Watch> = subjects
            .iter()
            .map(|subject| Watch {
                local: subject.connection.local,
                remote: subject.connection.remote,
                snd_una: subject.transmission.snd_una,
            })
            .collect();
        let tap = Tap::open(namespace, &watches)?;
        drop(watches);
        let mut ways = Ways::open(namespace)?;
        run.anybody_recent |= subjects
            .iter()
            .any(|subject| subject.heard_recently() && ways.leads_out(&subject.flow()));
        let count = u32::try_from(subjects.len()).expect("fewer sockets than 2³²");
        Ok(Some(Self {
            index,
            namespace,
            by_cookie: subjects
                .iter()
                .map(|subject| subject.connection.cookie)
                .zip(0..)
                .collect(),
            open: (0..count).collect(),
            movements: vec![Movement::Nothing; subjects.len()],
            round: 0,
            tap,
            sender: ProbeSender::open(namespace, sweeper.clock())?,
            ways,
            losses: Losses::default(),
            subjects,
        }))
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn count_open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn into_tap(self) -> (usize, Tap) {
        (self.index, self.tap)
    }

    /// Whether every connection of the namespace has been heard on the wire.
    pub(super) fn all_heard(&self) -> bool {
        self.open.is_empty() || self.tap.connections_heard() >= self.subjects.len() as u64
    }

    /// When something is to be done next, on the kernel's monotonic clock.
    pub(super) fn wake_ns(&self) -> Option<u64> {
        self.open
            .iter()
            .map(|index| self.subjects[*index as usize].due_ns)
            .min()
    }

    /// Looks at the sockets and the wire, and decides what was heard, reset
    /// or closed.
    pub(super) fn observe(
        &mut self,
        sweeper: &mut BpfSweeper,
        selection: &Selection,
        run: &mut Run<'_>,
    ) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        self.round += 1;
        let clock = sweeper.clock();
        let (round, subjects, movements) = (self.round, &mut self.subjects, &mut self.movements);
        let by_cookie = &self.by_cookie;
        sweeper.pulses(self.namespace, selection, |pulse| {
            if let Some(index) = by_cookie.get(&pulse.cookie) {
                let index = *index as usize;
                if !subjects[index].is_decided {
                    movements[index] = subjects[index].take(pulse, round, &clock);
                }
            }
        })?;
        let now_ns = clock.now_ns();
        let open = std::mem::take(&mut self.open);
        self.open = open
            .into_iter()
            .filter(|index| {
                let index = *index as usize;
                let subject = &mut self.subjects[index];
                let seen = self
                    .tap
                    .sighting(subject.connection.local, subject.connection.remote);
                let Look::Decided(outcome, reason) =
                    subject.look(self.movements[index], self.round, &seen)
                else {
                    return true;
                };
                subject.is_decided = true;
                let verdict = subject.verdict(outcome, reason, now_ns, &seen);
                if matches!(outcome, Outcome::Alive | Outcome::Gone) {
                    run.anybody_heard |= self.ways.answered(&subject.flow());
                    if subject.sent > 0 {
                        self.losses
                            .record(subject.connection.remote.ip(), subject.sent);
                        run.overall.record(subject.sent);
                    }
                }
                run.decide(&subject.connection, &verdict);
                false
            })
            .collect();
        Ok(())
    }

    /// Decides those that have been silent, or stalled, for long enough.
    pub(super) fn judge(&mut self, now_ns: u64, run: &mut Run<'_>) {
        if self.open.is_empty() {
            return;
        }
        self.ways.look();
        let open = std::mem::take(&mut self.open);
        let mut still_open = Vec::with_capacity(open.len());
        for index in open {
            match self.judge_one(index as usize, now_ns, run) {
                None => still_open.push(index),
                Some((outcome, reason)) => {
                    let subject = &mut self.subjects[index as usize];
                    subject.is_decided = true;
                    let seen = self
                        .tap
                        .sighting(subject.connection.local, subject.connection.remote);
                    let verdict = subject.verdict(outcome, reason, now_ns, &seen);
                    run.decide(&subject.connection, &verdict);
                    if let (Outcome::Dead, Some(dead)) = (outcome, &mut run.dead) {
                        dead.push(subject.to_dead(self.index, verdict));
                    }
                }
            }
        }
        self.open = still_open;
    }

    fn judge_one(&mut self, index: usize, now_ns: u64, run: &Run<'_>) -> Option<(Outcome, String)> {
        let subject = &self.subjects[index];
        let options = &run.options;
        if subject.is_queued {
            // Two looks apart: data is in flight on every busy connection.
            let patience = options
                .schedule(false)
                .window
                .max(subject.grace(options.interval));
            let queued_ns = now_ns - subject.queued_since_ns.max(run.start_ns);
            return (queued_ns >= patience.as_nanos() as u64).then(|| {
                (
                    Outcome::Stalled,
                    subject.stall((now_ns - run.start_ns) / 1_000_000),
                )
            });
        }
        if subject.tries() == 0 {
            return None;
        }
        match self.judge_silence(index, now_ns, run) {
            Silence::NotYet => None,
            Silence::Proves(reason) => Some((Outcome::Dead, reason)),
            Silence::ProvesNothing(reason) => Some((Outcome::Unprovable, reason)),
        }
    }

    fn judge_silence(&mut self, index: usize, now_ns: u64, run: &Run<'_>) -> Silence {
        let subject = &self.subjects[index];
        let options = &run.options;
        let schedule = options.schedule(subject.heard_recently());
        let waited = Duration::from_nanos(now_ns - subject.first_ns);
        let since_last = Duration::from_nanos(now_ns - subject.last_ns);
        self.ways.ask(&subject.flow());
        if waited < schedule.window || since_last < subject.grace(schedule.interval) {
            return Silence::NotYet;
        }
        // A slow --rate is not the path's fault.
        let timed_out = waited >= options.timeout.max(schedule.window + schedule.interval)
            && subject.tries() >= options.probes;
        let seen = self
            .tap
            .sighting(subject.connection.local, subject.connection.remote);
        if seen.heard > 0 || seen.resets > 0 {
            // What came since the socket was looked at may have reached it.
            if !subject.wire_heard.1 {
                return Silence::NotYet;
            }
            return Silence::ProvesNothing(
                "segments came from the peer's address and port, but none that the kernel accepted"
                    .into(),
            );
        }
        let silent = evidence::silent(subject.sent, waited);
        let way = self.ways.judge(
            &subject.flow(),
            subject.ports(),
            (now_ns - run.start_ns) / 1_000_000,
        );
        let required = required(&mut self.losses, subject, run);
        let counted = if options.trust_silence {
            subject.sent
        } else {
            subject.left
        };
        // Whatever comes between must not have begun before the last probe.
        let is_complete =
            options.trust_silence || (subject.last_left() && subject.has_sent_garbage);
        if counted < required || !is_complete {
            if let Some(errno) = subject.refused.filter(|_| subject.left == 0 || timed_out) {
                return Silence::ProvesNothing(evidence::refused(&io::Error::from_raw_os_error(
                    errno,
                )));
            }
            if let Way::Broken(reason) = way {
                return Silence::ProvesNothing(reason);
            }
            if subject.left == 0 {
                return Silence::ProvesNothing(format!(
                    "the kernel took {} probes, but no interface was seen to send one: a rule, or NAT on this very \
                     host, may stand between",
                    subject.sent
                ));
            }
            return if timed_out && counted >= required {
                Silence::ProvesNothing(
                    "no interface was seen to send the last of the probes".into(),
                )
            } else if timed_out {
                Silence::ProvesNothing(format!(
                    "{silent}, but with the loss here ({:.0} % of exchanges seen lost, {} of {} segments retransmitted \
                     before) chance is ruled out after {required} probes only; --timeout allows more",
                    100.0 * run.overall.loss(),
                    subject.transmission.total_retransmitted,
                    subject.transmission.data_segments_out,
                ))
            } else {
                Silence::NotYet
            };
        }
        let strange = subject
            .transmission
            .received_by
            .filter(|device| !options.trust_silence && !seen.left_by.contains(device));
        if let Some(device) = strange {
            return Silence::ProvesNothing(format!(
                "probes leave by {}, but the connection's packets came in by {}: its way is another one",
                self.ways.device_name(seen.left_by[0]),
                self.ways.device_name(device)
            ));
        }
        match way {
            _ if options.trust_silence => Silence::Proves(silent),
            Way::Broken(reason) => Silence::ProvesNothing(reason),
            Way::Works => Silence::Proves(silent),
            // The kernel takes some seconds to give up on it.
            Way::Asked if !timed_out => Silence::NotYet,
            Way::Unknown | Way::Asked if !run.anybody_heard && run.anybody_recent => Silence::ProvesNothing(
                "it looks like an outage here: nobody answered, though peers were heard within the last minute, and \
                 the path is not shown to work; --trust-silence calls them dead all the same"
                    .into(),
            ),
            Way::Unknown | Way::Asked => Silence::Proves(silent),
        }
    }

    /// Sends every probe that is due, not faster than the rate. What awaits
    /// its verdict was due when silence was last judged, at `judged_ns`, and
    /// was found to need more.
    pub(super) fn send(
        &mut self,
        judged_ns: u64,
        clock: &KernelClock,
        run: &mut Run<'_>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let options: CheckOptions = run.options;
        let begin_ns = clock.now_ns();
        let mut due = Vec::new();
        for index in &self.open {
            let subject = &mut self.subjects[*index as usize];
            if subject.is_queued {
                // Never probed; looked at again one interval later.
                subject.due_ns = begin_ns + options.interval.as_nanos() as u64;
            } else if subject.due_ns
                <= if subject.awaits_verdict {
                    judged_ns
                } else {
                    begin_ns + ROUND_NS
                }
            {
                due.push((subject.due_ns, *index));
            }
        }
        due.sort_unstable();
        // Small bursts at small rates: fifty a second, at most.
        let burst_size = (options.rate / 50).clamp(1, BURST) as usize;
        for burst in due.chunks(burst_size) {
            if stopped() {
                break;
            }
            // Not ahead of the rate, and none before its time.
            let at_ns = burst
                .last()
                .map_or(0, |(due_ns, _)| *due_ns)
                .max(run.next_burst_ns);
            let now_ns = clock.now_ns();
            if at_ns > now_ns {
                std::thread::sleep(Duration::from_nanos(at_ns - now_ns));
            }
            self.send_burst(burst, clock, run)?;
            let share_ns = burst.len() as u64 * 1_000_000_000 / u64::from(options.rate.max(1));
            run.next_burst_ns = run.next_burst_ns.max(now_ns) + share_ns;
            run.tell_progress_sometimes(now_ns);
        }
        Ok(())
    }

    fn send_burst(
        &mut self,
        burst: &[(u64, u32)],
        clock: &KernelClock,
        run: &mut Run<'_>,
    ) -> Result<()> {
        let now_ns = clock.now_ns();
        let mut probes: Vec<Outgoing> = Vec::with_capacity(burst.len());
        for (_, index) in burst {
            let subject = &mut self.subjects[*index as usize];
            let schedule = run.options.schedule(subject.heard_recently());
            let at = Duration::from_nanos(subject.since_first_ns(now_ns));
            let required = required(&mut self.losses, subject, run);
            subject.awaits_verdict = schedule.is_last(subject.sent, at, required);
            let garbage = schedule.is_garbage(subject.sent, at, required);
            subject.has_sent_garbage |= garbage;
            probes.push(subject.probe(now_ns, garbage));
        }
        let results = self.sender.send(&probes)?;
        for ((_, index), result) in burst.iter().zip(&results) {
            let subject = &mut self.subjects[*index as usize];
            let schedule = run.options.schedule(subject.heard_recently());
            subject.note_sent(result, now_ns, &schedule);
            run.progress.probes += u64::from(result.is_ok());
        }
        Ok(())
    }
}

/// Probes that this subject must have been sent before it can be called dead.
fn required(losses: &mut Losses, subject: &Subject, run: &Run<'_>) -> u32 {
    let error = run.options.error;
    let state = &subject.transmission;
    let assumed = assumed_loss(state.total_retransmitted, state.data_segments_out);
    losses
        .required(
            subject.connection.remote.ip(),
            &run.overall,
            subject.sent,
            error,
        )
        .max(probes_against(assumed, error))
        .max(run.options.probes)
}

/// The verdict on a socket that has no peer to be asked.
fn unprobed(connection: &Connection, reason: &str) -> Verdict {
    Verdict {
        outcome: Outcome::Unprovable,
        probes: 0,
        answered: false,
        rtt_us: None,
        waited_ms: 0,
        last_heard_ms: connection.last_heard_ms,
        reason: reason.into(),
    }
}
