//! What a program feels of bursts: threads of ordinary priority, one on each
//! processor, that sleep a millisecond at a time and note how much later they
//! are woken.

use rustix::thread::{CpuSet, sched_setaffinity};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const NAP: Duration = Duration::from_millis(1);

/// How late the threads of one window were woken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lateness {
    /// Ascending.
    all: Vec<Duration>,
}

impl Lateness {
    /// The latest.
    pub(crate) fn worst(&self) -> Duration {
        self.all.last().copied().unwrap_or_default()
    }

    /// So many of a thousand naps were no later.
    pub(crate) fn permille(&self, share: usize) -> Duration {
        let index = self.all.len().saturating_sub(1) * share / 1000;
        self.all.get(index).copied().unwrap_or_default()
    }
}

/// The threads of one window.
pub(crate) struct Sleepers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Duration>>>,
}

impl Sleepers {
    pub(crate) fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors)
            .map(|processor| {
                let is_over = Arc::clone(&is_over);
                std::thread::spawn(move || nap(processor, &is_over))
            })
            .collect();
        Self { is_over, threads }
    }

    pub(crate) fn end(self) -> Lateness {
        self.is_over.store(true, Ordering::Relaxed);
        let naps = self.threads.into_iter().map(JoinHandle::join);
        let mut all: Vec<Duration> = naps.flat_map(Result::unwrap_or_default).collect();
        all.sort_unstable();
        Lateness { all }
    }
}

fn nap(processor: usize, is_over: &AtomicBool) -> Vec<Duration> {
    let mut only = CpuSet::new();
    only.set(processor);
    // Where it may not be pinned it sleeps wherever it is.
    let _ = sched_setaffinity(None, &only);
    let mut late = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        std::thread::sleep(NAP);
        late.push(begin.elapsed().saturating_sub(NAP));
    }
    late
}
