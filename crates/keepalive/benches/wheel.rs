//! The wheel beside its peers, at a million timers; and alone at ten million.
//!
//! `cargo bench -p tcpalive-keepalive --bench wheel [-- [--json] [--runs N]]`
//!
//! Contestants run in turn, several times; the figures are medians. `--json`
//! prints an object a line: `name`, `ns_per_op`, `ops_per_s`, and `ratio`, the
//! time in terms of the wheel's.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark reads its arguments and prints"
)]

use rustix::time::{ClockId, clock_gettime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::sync::LazyLock;
use std::time::Duration;
use tcpalive_keepalive::{Time, Wheel};
use tokio::runtime::{EnterGuard, Runtime};
use tokio_util::time::{DelayQueue, delay_queue};

const TICK: Duration = Duration::from_millis(4);
const TIMERS: u32 = 1_000_000;
const MANY: u32 = 10_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let runs = arguments
        .iter()
        .position(|argument| argument == "--runs")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(5);
    let report = Report { json };

    let mut peers = Table::default();
    let work = Work::new(TIMERS);
    for _ in 0..runs {
        peers.note("Wheel", WheelQueue::run(&work));
        peers.note("DelayQueue", TokioQueue::run(&work));
        peers.note("BTreeSet", TreeQueue::run(&work));
        peers.note("BinaryHeap", HeapQueue::run(&work));
    }
    report.title("1,000,000 timers, in random order, due within 2 h; ns per operation");
    for &operation in OPERATIONS {
        for name in ["Wheel", "DelayQueue", "BTreeSet", "BinaryHeap"] {
            report.line(
                operation,
                name,
                peers.median(name, operation),
                peers.median("Wheel", operation),
            );
        }
    }

    let mut alone = Table::default();
    let mut memory = 0;
    for _ in 0..runs.min(3) {
        for order in ["slot order", "random order"] {
            memory = expire_rounds(order, &mut alone);
        }
        alone.note("floor", floor());
    }
    report.title("10,000,000 timers, each re-armed by 75 s when it expires; ns per expiry");
    let batch = alone.median("random order", "pop_batch, arm");
    for order in ["slot order", "random order"] {
        for operation in ["pop_batch, arm", "pop, arm"] {
            report.line(operation, order, alone.median(order, operation), batch);
        }
    }
    report.title("the same words touched in random order, and nothing else");
    for operation in ["one read and write", "two reads and writes"] {
        report.line(operation, "floor", alone.median("floor", operation), batch);
    }
    report.memory(memory as f64 / f64::from(MANY));
}

/// What is measured, in this order.
const OPERATIONS: &[&str] = &[
    "arm",
    "re-arm later",
    "re-arm earlier",
    "re-arm mixed",
    "cancel",
    "arm again",
    "expire all",
];

/// Operations and their times in nanoseconds.
type Times = Vec<(&'static str, f64)>;

/// What all contestants do: the same timers and deadlines in the same order.
struct Work {
    /// Timers in random order.
    order: Vec<u32>,
    /// For each operation a deadline in milliseconds for each timer, in the
    /// order of the timers, so that reading them costs nothing.
    deadlines: Vec<Vec<u64>>,
}

impl Work {
    fn new(timers: u32) -> Self {
        let mut number = numbers();
        let first: Vec<u64> = (0..timers).map(|_| 3_600_000 + number(1_800_000)).collect();
        let later: Vec<u64> = first.iter().map(|d| d + number(1_800_000)).collect();
        let earlier = later
            .iter()
            .map(|d| d - 1_800_000 - number(1_800_000))
            .collect();
        let mixed = (0..timers).map(|_| 1 + number(7_200_000)).collect();
        let again = (0..timers).map(|_| 1 + number(7_200_000)).collect();
        Self {
            order: shuffled(timers, &mut number),
            deadlines: vec![first, later, earlier, mixed, again],
        }
    }
}

/// Timers by number, with deadlines in milliseconds.
trait Queue {
    fn new(timers: usize) -> Self;
    fn arm(&mut self, timer: u32, deadline: u64);
    fn re_arm(&mut self, timer: u32, deadline: u64);
    fn cancel(&mut self, timer: u32);
    /// Lets all expire that are due within 2 h, and says how many those were.
    fn expire_all(&mut self) -> usize;

    fn run(work: &Work) -> Times
    where
        Self: Sized,
    {
        let mut queue = Self::new(work.order.len());
        let mut times = Vec::new();
        let mut time = |name, operation: &mut dyn FnMut(&mut Self)| {
            let before = cpu_time();
            operation(&mut queue);
            let spent = cpu_time() - before;
            times.push((name, spent / work.order.len() as f64));
        };
        time("arm", &mut |queue| {
            for (&timer, &deadline) in work.order.iter().zip(&work.deadlines[0]) {
                queue.arm(timer, deadline);
            }
        });
        for (at, name) in [
            (1, "re-arm later"),
            (2, "re-arm earlier"),
            (3, "re-arm mixed"),
        ] {
            time(name, &mut |queue| {
                for (&timer, &deadline) in work.order.iter().zip(&work.deadlines[at]) {
                    queue.re_arm(timer, deadline);
                }
            });
        }
        time("cancel", &mut |queue| {
            for &timer in &work.order {
                queue.cancel(timer);
            }
        });
        time("arm again", &mut |queue| {
            for (&timer, &deadline) in work.order.iter().zip(&work.deadlines[4]) {
                queue.arm(timer, deadline);
            }
        });
        time("expire all", &mut |queue| {
            assert_eq!(queue.expire_all(), work.order.len());
        });
        times
    }
}

struct WheelQueue(Wheel);

impl Queue for WheelQueue {
    fn new(timers: usize) -> Self {
        Self(Wheel::with_capacity(TICK, Time::ZERO, timers))
    }

    fn arm(&mut self, timer: u32, deadline: u64) {
        self.0.arm(timer, Time::from_millis(deadline));
    }

    fn re_arm(&mut self, timer: u32, deadline: u64) {
        self.0.arm(timer, Time::from_millis(deadline));
    }

    fn cancel(&mut self, timer: u32) {
        self.0.cancel(timer);
    }

    fn expire_all(&mut self) -> usize {
        let mut batch = [0; 64];
        let mut expired = 0;
        loop {
            let count = self.0.pop_batch(Time::from_secs(7201), &mut batch);
            if count == 0 {
                return expired;
            }
            expired += black_box(&batch[..count]).len();
        }
    }
}

/// Time stands still there until it is told to move.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
});

/// tokio-util's, with the key that it hands out kept for each timer.
struct TokioQueue {
    /// Entered once, as a program would be all the time.
    _context: EnterGuard<'static>,
    start: tokio::time::Instant,
    queue: DelayQueue<u32>,
    keys: Vec<Option<delay_queue::Key>>,
}

impl Queue for TokioQueue {
    fn new(timers: usize) -> Self {
        let context = RUNTIME.enter();
        let start = tokio::time::Instant::now();
        let queue = DelayQueue::with_capacity(timers);
        Self {
            _context: context,
            start,
            queue,
            keys: vec![None; timers],
        }
    }

    fn arm(&mut self, timer: u32, deadline: u64) {
        let when = self.start + Duration::from_millis(deadline);
        self.keys[timer as usize] = Some(self.queue.insert_at(timer, when));
    }

    fn re_arm(&mut self, timer: u32, deadline: u64) {
        let when = self.start + Duration::from_millis(deadline);
        if let Some(key) = &self.keys[timer as usize] {
            self.queue.reset_at(key, when);
        }
    }

    fn cancel(&mut self, timer: u32) {
        if let Some(key) = self.keys[timer as usize].take() {
            self.queue.remove(&key);
        }
    }

    fn expire_all(&mut self) -> usize {
        let queue = &mut self.queue;
        RUNTIME.block_on(async move {
            tokio::time::advance(Duration::from_secs(7201)).await;
            let mut expired = 0;
            let mut queue = pin!(queue);
            // What is due is ready; a turn in which nothing is waits for the
            // runtime to wake the queue.
            while let Some(timer) = poll_fn(|context| queue.poll_expired(context)).await {
                black_box(timer.into_inner());
                expired += 1;
            }
            expired
        })
    }
}

/// An ordered set, and the deadlines to find what to take out of it.
struct TreeQueue {
    set: BTreeSet<(u64, u32)>,
    deadlines: Vec<u64>,
}

impl Queue for TreeQueue {
    fn new(timers: usize) -> Self {
        Self {
            set: BTreeSet::new(),
            deadlines: vec![0; timers],
        }
    }

    fn arm(&mut self, timer: u32, deadline: u64) {
        self.set.insert((deadline, timer));
        self.deadlines[timer as usize] = deadline;
    }

    fn re_arm(&mut self, timer: u32, deadline: u64) {
        let before = std::mem::replace(&mut self.deadlines[timer as usize], deadline);
        self.set.remove(&(before, timer));
        self.set.insert((deadline, timer));
    }

    fn cancel(&mut self, timer: u32) {
        self.set.remove(&(self.deadlines[timer as usize], timer));
    }

    fn expire_all(&mut self) -> usize {
        let mut expired = 0;
        while let Some((_, timer)) = self.set.pop_first() {
            black_box(timer);
            expired += 1;
        }
        expired
    }
}

/// A heap from which nothing is removed: what differs from the timer's
/// deadline is passed over when it comes up.
struct HeapQueue {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    deadlines: Vec<u64>,
}

impl Queue for HeapQueue {
    fn new(timers: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(timers),
            deadlines: vec![u64::MAX; timers],
        }
    }

    fn arm(&mut self, timer: u32, deadline: u64) {
        self.heap.push(Reverse((deadline, timer)));
        self.deadlines[timer as usize] = deadline;
    }

    fn re_arm(&mut self, timer: u32, deadline: u64) {
        self.arm(timer, deadline);
    }

    fn cancel(&mut self, timer: u32) {
        self.deadlines[timer as usize] = u64::MAX;
    }

    fn expire_all(&mut self) -> usize {
        let mut expired = 0;
        while let Some(Reverse((deadline, timer))) = self.heap.pop() {
            let armed = &mut self.deadlines[timer as usize];
            if *armed == deadline {
                *armed = u64::MAX;
                black_box(timer);
                expired += 1;
            }
        }
        expired
    }
}

/// Ten million timers that go round every 75 s. Gives the wheel's bytes.
fn expire_rounds(order: &'static str, table: &mut Table) -> usize {
    let period = Duration::from_secs(75);
    let mut number = numbers();
    let timers = match order {
        "slot order" => (0..MANY).collect(),
        _ => shuffled(MANY, &mut number),
    };
    let mut wheel = Wheel::with_capacity(TICK, Time::ZERO, timers.len());
    for (at, &timer) in timers.iter().enumerate() {
        let after = period.as_nanos() as u64 / u64::from(MANY) * at as u64;
        wheel.arm(timer, Time::ZERO + period + Duration::from_nanos(after));
    }
    drop(timers);
    let mut batch = [0; 64];
    let mut now = Time::ZERO;
    let mut times = Vec::new();
    // A round to settle, then one of each kind.
    for kind in ["", "pop_batch, arm", "pop, arm"] {
        let until = now + period;
        let (mut expired, before) = (0_u64, cpu_time());
        while now < until {
            now = now + TICK;
            if kind == "pop, arm" {
                while let Some(timer) = wheel.pop(now) {
                    wheel.arm(timer, now + period);
                    expired += 1;
                }
                continue;
            }
            loop {
                let count = wheel.pop_batch(now, &mut batch);
                if count == 0 {
                    break;
                }
                for &timer in &batch[..count] {
                    wheel.arm(timer, now + period);
                }
                expired += count as u64;
            }
        }
        let spent = cpu_time() - before;
        if !kind.is_empty() {
            assert!(expired > u64::from(MANY) * 9 / 10, "{expired}");
            times.push((kind, spent / expired as f64));
        }
    }
    table.note(order, times);
    wheel.memory()
}

/// What the memory alone costs: a word for each of ten million timers, read
/// and written in random order, by indices that are read one after the other.
/// An expiry touches its timer's word at two times far from each other.
fn floor() -> Times {
    let order = shuffled(MANY, &mut numbers());
    let mut words = vec![1_u64; order.len()];
    let mut times = Vec::new();
    for (name, passes) in [("one read and write", 1), ("two reads and writes", 2)] {
        let before = cpu_time();
        for _ in 0..passes {
            for &timer in &order {
                let word = &mut words[timer as usize];
                *word = word.rotate_left(1);
            }
        }
        let spent = cpu_time() - before;
        times.push((name, spent / order.len() as f64));
        black_box(&words);
    }
    times
}

/// Nanoseconds that this thread has run: what else the machine does is not
/// counted.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Times by contestant and operation, of all runs.
#[derive(Default)]
struct Table(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Table {
    fn note(&mut self, name: &'static str, times: Times) {
        for (operation, nanos) in times {
            self.0.entry((name, operation)).or_default().push(nanos);
        }
    }

    fn median(&self, name: &'static str, operation: &'static str) -> f64 {
        let mut times = self.0[&(name, operation)].clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

struct Report {
    json: bool,
}

impl Report {
    fn title(&self, title: &str) {
        if !self.json {
            println!("\n{title}");
        }
    }

    fn line(&self, operation: &str, name: &str, nanos: f64, ours: f64) {
        let (rate, ratio) = (1e9 / nanos, nanos / ours);
        if self.json {
            println!(
                r#"{{"name":"{operation}: {name}","ns_per_op":{nanos:.2},"ops_per_s":{rate:.0},"ratio":{ratio:.2}}}"#
            );
        } else {
            println!(
                "{operation:22} {name:14} {nanos:9.1} ns {:9.1} M/s {ratio:8.2}×",
                rate / 1e6
            );
        }
    }

    fn memory(&self, bytes: f64) {
        if self.json {
            println!(r#"{{"name":"memory: Wheel","bytes_per_timer":{bytes:.2}}}"#);
        } else {
            println!("\nmemory {bytes:.1} bytes per timer at 10,000,000");
        }
    }
}

/// Numbers without a pattern.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 1_u64;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn shuffled(timers: u32, number: &mut impl FnMut(u64) -> u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..timers).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, number(at as u64 + 1) as usize);
    }
    order
}
