//! Proving the peers of connections alive or dead.
//!
//! A check goes in rounds. Each begins with a look at the sockets by cookie
//! and at what the wire showed; what was heard, reset or closed gets its
//! verdict there. Then those that have been silent for long enough are
//! judged, and those that are due get their next probe. See
//! [`crate::schedule`], [`crate::loss`] and [`crate::way`] for the rules.

mod site;
mod subject;

use crate::loss::Answers;
use crate::schedule::{MINIMAL_INTERVAL, RECENT_WINDOW, Schedule};
use site::Site;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tcpalive_connections::{Connection, Selection, Verdict};
use tcpalive_kernel::Result;
use tcpalive_kernel::destroy::Condemned;
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;
use tcpalive_kernel::tap::Tap;

/// How often the tap is asked whether everybody has answered already.
const POLL: Duration = Duration::from_millis(20);

/// Between two looks at the sockets at least, unless everybody was heard.
const TICK: Duration = Duration::from_millis(50);

/// A sleep that lasts so much longer than planned says that this host stood
/// still: a suspended machine, or one that is badly overloaded.
const PAUSE: Duration = Duration::from_secs(2);

/// How a check is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckOptions {
    /// Probes before a verdict of death, at least 3 (RFC 9293 MUST-29: one
    /// lost answer is not death).
    pub probes: u32,
    /// Time between the probes of one connection, at least 500 ms.
    pub interval: Duration,
    /// Silence from the first probe to the verdict. `None`: one interval for
    /// each probe, and 15 s for peers heard within the last minute.
    pub window: Option<Duration>,
    /// Probes per second over all connections.
    pub rate: u32,
    /// When to give up on connections that need more probes than there is time for.
    pub timeout: Duration,
    /// Chance, at most, that a living peer lost every exchange.
    pub error: f64,
    /// Take silence for death also where this side may be at fault.
    pub trust_silence: bool,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            probes: 3,
            interval: Duration::from_secs(1),
            window: None,
            rate: 100_000,
            timeout: Duration::from_secs(60),
            error: 1e-6,
            trust_silence: false,
        }
    }
}

impl CheckOptions {
    /// The schedule of a connection, depending on whether its peer was heard
    /// within the last minute.
    #[must_use]
    pub fn schedule(&self, heard_recently: bool) -> Schedule {
        let window = match self.window {
            Some(window) => window,
            None if heard_recently => RECENT_WINDOW,
            None => Duration::ZERO,
        };
        Schedule::new(
            self.probes.max(3),
            self.interval.max(MINIMAL_INTERVAL),
            window,
        )
    }
}

/// Where a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Connections to be checked.
    pub total: usize,
    /// Those that have a verdict.
    pub decided: usize,
    /// Probes sent so far.
    pub probes: u64,
}

/// Who is told of verdicts as they fall.
pub trait Observer {
    /// A connection has its verdict.
    fn verdict(&mut self, connection: &Connection, verdict: &Verdict);

    /// Something moved on. Called a few times per second at most.
    fn progress(&mut self, _progress: Progress) {}
}

/// A connection that was proven dead, and what it looked like then.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Which of the namespaces it is in.
    pub namespace: usize,
    /// The connection as it was swept.
    pub connection: Connection,
    /// What must not have moved when it is destroyed.
    pub condemned: Condemned,
    /// The evidence.
    pub verdict: Verdict,
}

/// What a check leaves behind.
#[derive(Debug)]
pub struct Checked {
    /// Connections selected.
    pub selected: usize,
    /// Connections that were stopped before they had a verdict.
    pub undecided: usize,
    /// Those proven dead; empty unless they were asked for.
    pub dead: Vec<Dead>,
    /// The taps, one for each namespace that had connections to probe: they
    /// keep listening until they are dropped.
    pub taps: Vec<Option<Tap>>,
}

/// A check, about to run.
#[derive(Debug)]
pub struct Check<'a> {
    /// Sweeps the sockets.
    pub sweeper: &'a mut BpfSweeper,
    /// Where.
    pub namespaces: &'a [Namespace],
    /// How.
    pub options: CheckOptions,
    /// Set from outside to stop early.
    pub stop: &'a AtomicBool,
    /// Whether [`Checked::dead`] is wanted.
    pub keep_dead: bool,
}

impl Check<'_> {
    /// Checks every connection that `selection` and `accept` accept.
    ///
    /// # Errors
    /// When sockets cannot be swept, or raw and packet sockets are not
    /// allowed. What was told to `observer` until then stands.
    pub fn run(
        self,
        selection: &Selection,
        mut accept: impl FnMut(&Connection) -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Checked> {
        let clock = self.sweeper.clock();
        let mut run = Run {
            options: self.options,
            overall: Answers::default(),
            start_ns: clock.now_ns(),
            next_burst_ns: 0,
            told_ns: 0,
            anybody_heard: false,
            anybody_recent: false,
            progress: Progress::default(),
            dead: self.keep_dead.then(Vec::new),
            observer,
        };
        let mut sites = Vec::new();
        for (index, namespace) in self.namespaces.iter().enumerate() {
            if let Some(site) = Site::open(
                index,
                namespace,
                self.sweeper,
                selection,
                &mut accept,
                &mut run,
            )? {
                sites.push(site);
            }
        }
        run.start_ns = clock.now_ns();
        let stopped = || self.stop.load(Ordering::Relaxed);
        let mut judged_ns = None;
        let mut paused = false;
        let mut looked_early_at = 0;
        while sites.iter().any(Site::has_open) && !stopped() {
            // What was swept just now needs no second look before the first probe.
            if judged_ns.is_some() {
                for site in &mut sites {
                    site.observe(self.sweeper, selection, &mut run)?;
                }
            }
            let now_ns = clock.now_ns();
            // After a pause of this host nothing is known of what came
            // meanwhile: silence is judged after another probe.
            if judged_ns.replace(now_ns).is_some() && !paused {
                for site in &mut sites {
                    site.judge(now_ns, &mut run);
                }
            }
            for site in &mut sites {
                site.send(now_ns, &clock, &mut run, &stopped)?;
            }
            run.tell_progress();
            let Some(wake_ns) = sites.iter().filter_map(Site::wake_ns).min() else {
                break;
            };
            let wake_ns = wake_ns.max(clock.now_ns() + TICK.as_nanos() as u64);
            let open: usize = sites.iter().map(Site::count_open).sum();
            while clock.now_ns() < wake_ns && !stopped() {
                // Once everybody was heard there is nothing to wait for,
                // unless a look has already shown that it decided nothing.
                if open != looked_early_at && sites.iter().all(Site::all_heard) {
                    looked_early_at = open;
                    break;
                }
                let left = Duration::from_nanos(wake_ns.saturating_sub(clock.now_ns()));
                std::thread::sleep(left.min(POLL));
            }
            // Measured on the sleep alone: sending and sweeping take their time.
            paused = clock.now_ns().saturating_sub(wake_ns) > PAUSE.as_nanos() as u64;
        }
        run.tell_progress();

        let undecided = sites.iter().map(Site::count_open).sum();
        let mut taps: Vec<Option<Tap>> = self.namespaces.iter().map(|_| None).collect();
        for site in sites {
            let (index, tap) = site.into_tap();
            taps[index] = Some(tap);
        }
        Ok(Checked {
            selected: run.progress.total,
            undecided,
            dead: run.dead.unwrap_or_default(),
            taps,
        })
    }
}

/// What all namespaces of a check share.
struct Run<'o> {
    options: CheckOptions,
    /// Answers of the whole run.
    overall: Answers,
    /// The kernel's monotonic clock when probing began.
    start_ns: u64,
    /// When the rate allows the next burst of probes.
    next_burst_ns: u64,
    /// When progress was told last.
    told_ns: u64,
    /// Somebody beyond this host was heard during the check.
    anybody_heard: bool,
    /// Some peer beyond this host was heard within the minute before it.
    anybody_recent: bool,
    progress: Progress,
    dead: Option<Vec<Dead>>,
    observer: &'o mut dyn Observer,
}

impl Run<'_> {
    fn decide(&mut self, connection: &Connection, verdict: &Verdict) {
        self.progress.decided += 1;
        self.observer.verdict(connection, verdict);
    }

    /// Ten times a second, in long rounds.
    fn tell_progress_sometimes(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.told_ns) >= 100_000_000 {
            self.told_ns = now_ns;
            self.tell_progress();
        }
    }

    fn tell_progress(&mut self) {
        self.observer.progress(self.progress);
    }
}
