//! What keep-alive costs the kernel: `docs/cost.md`.
//!
//! One crowd, whose near ends have keep-alive off or on; what differs is told
//! by what is counted in [`window`]s of time.
//!
//! * [`memory`]: what connections hold in the kernel.
//! * [`window`]: soft interrupts, probes, packets in a stretch of time.
//! * [`sleepers`]: what programs feel of bursts.
//! * [`derived`]: what follows from it.
//! * [`page`]: the document, and the constants for programs.
//! * [`text`]: numbers and tables for people.

mod derived;
mod memory;
mod page;
mod sleepers;
mod text;
mod window;

use crate::bench::{Bench, Failure, must};
use crate::machine;
use memory::{Kind, Memory};
use std::time::Duration;
use tcpalive_keepalive::Hz;
use tcpalive_lab::crowd::{Crowd, KeepAlive, Switched};
use tcpalive_lab::{Host, Lab};
use window::Window;

/// The name that this is asked for by.
pub(crate) const COST: &str = "cost";

/// Near ends: 1,000,000 sockets with the far ones.
const CONNECTIONS: usize = 500_000;

/// The idle times that are measured, and the time of a window: some bursts of
/// each, since timers of 60 s fire every 2 s.
const MEASURED: [(u32, Duration); 2] = [
    (60, Duration::from_millis(20_480)),
    (15, Duration::from_secs(15)),
];
/// Linux's default: on, but no probe for two hours.
const FAR_AWAY: u32 = 7200;
const QUIET: Duration = Duration::from_secs(6);

/// Packets that a processor's backlog must hold so that none is lost: far
/// more than one burst.
const ROOMY: u64 = 2_000_000;
/// With the backlog as it was found: idle time and interval, and Linux's count.
const LOSING: u32 = 5;
const LOSING_COUNT: u32 = 9;
/// As long as it takes to give up whoever is never heard, and a little.
const LOSING_TIME: Duration = Duration::from_secs((LOSING * (LOSING_COUNT + 1) + 5) as u64);

const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

/// All that was measured.
pub(crate) struct Cost {
    pub(crate) connections: usize,
    pub(crate) hz: Hz,
    pub(crate) backlog: u64,
    /// What a socket consists of.
    pub(crate) kinds: Vec<Kind>,
    /// On less off, bytes for each socket that was switched, turn by turn: by
    /// objects of sockets, and by /proc/meminfo.
    pub(crate) on_less_off: Vec<(f64, f64)>,
    /// Nanoseconds of a call, turn by turn.
    pub(crate) calls: Vec<Calls>,
    pub(crate) off: Vec<Window>,
    /// On with [`FAR_AWAY`].
    pub(crate) armed: Vec<Window>,
    pub(crate) rates: Vec<Rate>,
    /// At the last of the rates: who receives.
    pub(crate) sides: Window,
    /// Idle time and interval [`LOSING`], with the backlog as it was found.
    pub(crate) losing: Window,
}

/// What setsockopt(SO_KEEPALIVE) takes, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls {
    /// Off to on: a timer is armed.
    pub(crate) on: f64,
    /// On to on: nothing happens.
    pub(crate) again: f64,
    /// On to off: a timer is removed.
    pub(crate) off: f64,
}

/// Windows with one idle time.
pub(crate) struct Rate {
    pub(crate) idle_s: u32,
    pub(crate) windows: Vec<Window>,
}

/// What is written when all is measured.
pub(crate) struct Written {
    /// `docs/cost.md`.
    pub(crate) page: String,
    /// `crates/keepalive/src/measured.rs`.
    pub(crate) constants: String,
}

/// Measures.
pub(crate) fn write(bench: &Bench) -> Result<Written, Failure> {
    let machine = machine::describe();
    let cost = measure(bench)?;
    Ok(Written {
        page: page::page(&machine, bench, &cost),
        constants: page::constants(&machine, &cost),
    })
}

fn measure(bench: &Bench) -> Result<Cost, Failure> {
    let hz = Hz::new(window::ticks_per_second()?)
        .ok_or_else(|| Failure::Other("a kernel without ticks".to_owned()))?;
    let backlog = Backlog::make_roomy()?;
    let lab = Lab::new("bench")?;
    let host = lab.host("crowd")?;
    let connections = bench
        .scaled(CONNECTIONS)
        .min(machine::connections_that_fit());
    let before = Memory::now()?;
    bench.say(&format!("opening {connections} connections"));
    let mut crowd = Crowd::build(&host, &bench.worker("crowd")?, connections)?;
    let kinds = Memory::now()?.kinds_since(&before, 2 * connections);

    bench.say("switching on and off");
    let (on_less_off, calls) = switch(bench, &mut crowd)?;

    bench.say("off, and on with timers far away, in turns");
    let mut off = Vec::new();
    let mut armed = Vec::new();
    for _ in 0..bench.runs {
        off.push(Window::watch(bench, &host, QUIET)?);
        crowd.set_keep_alive(on(FAR_AWAY, ENDLESS), Duration::ZERO)?;
        armed.push(Window::watch(bench, &host, QUIET)?);
        crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
    }

    let mut rates = Vec::new();
    for (idle_s, time) in MEASURED {
        bench.say(&format!("on with {idle_s} s, evenly over {idle_s} s"));
        crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
        crowd.set_keep_alive(on(idle_s, ENDLESS), Duration::from_secs(idle_s.into()))?;
        let windows = (0..bench.runs).map(|_| window(bench, &host, time));
        rates.push(Rate {
            idle_s,
            windows: windows.collect::<Result<_, _>>()?,
        });
    }
    let (_, time) = MEASURED[MEASURED.len() - 1];
    bench.say("who receives");
    let sides = Window::watch_sides(bench, &host, time)?;
    crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
    off.push(Window::watch(bench, &host, QUIET)?);
    bench.say("with the backlog as it was");
    let found = backlog.found;
    drop(backlog);
    let losing = on(LOSING, LOSING_COUNT);
    crowd.set_keep_alive(losing, Duration::from_secs(LOSING.into()))?;
    let losing = Window::watch(bench, &host, LOSING_TIME)?;
    bench.say("taking the crowd down");
    Ok(Cost {
        connections,
        hz,
        backlog: found,
        kinds,
        on_less_off,
        calls,
        off,
        armed,
        rates,
        sides,
        losing,
    })
}

/// A count that no run reaches: nobody is to be given up.
const ENDLESS: u32 = 127;

fn on(idle_s: u32, count: u32) -> KeepAlive {
    KeepAlive::On {
        idle_s,
        interval_s: idle_s,
        count,
    }
}

/// A window in which nothing was lost.
fn window(bench: &Bench, host: &Host, time: Duration) -> Result<Window, Failure> {
    let window = Window::watch(bench, host, time)?;
    must("connections given up", window.counted.aborts, 0)?;
    let Window {
        timer,
        net_rx,
        counted,
        ..
    } = &window;
    bench.say(&format!(
        "{} probes, {} packets, {} dropped, timers {:.3} s (longest {:.1} ms), receiving {:.3} s",
        counted.probes,
        counted.packets,
        counted.dropped,
        timer.total.as_secs_f64(),
        timer.longest.as_secs_f64() * 1e3,
        net_rx.total.as_secs_f64(),
    ));
    Ok(window)
}

type Switching = (Vec<(f64, f64)>, Vec<Calls>);

fn switch(bench: &Bench, crowd: &mut Crowd) -> Result<Switching, Failure> {
    let each = |switched: Switched| switched.took_ns as f64 / switched.sockets as f64;
    let sockets = crowd.connections() as f64;
    let mut on_less_off = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..bench.runs {
        bench.check()?;
        let off_memory = Memory::now()?;
        let to_on = crowd.set_keep_alive(on(FAR_AWAY, ENDLESS), Duration::ZERO)?;
        let on_memory = Memory::now()?;
        let again = crowd.set_keep_alive(on(FAR_AWAY, ENDLESS), Duration::ZERO)?;
        let to_off = crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
        let difference = |on: u64, off: u64| (on as f64 - off as f64) / sockets;
        on_less_off.push((
            difference(on_memory.of_sockets(), off_memory.of_sockets()),
            difference(on_memory.slab, off_memory.slab),
        ));
        calls.push(Calls {
            on: each(to_on),
            again: each(again),
            off: each(to_off),
        });
    }
    Ok((on_less_off, calls))
}

/// `net.core.netdev_max_backlog` of the machine, which is as it was found
/// once this is dropped.
///
/// Loopback hands packets to the receiver through a queue for each processor,
/// 1,000 long, that is not emptied while timers run. All probes that are due
/// at once go in there, and what does not fit is lost.
struct Backlog {
    found: u64,
}

impl Backlog {
    fn make_roomy() -> Result<Self, Failure> {
        let text = window::read(BACKLOG)?;
        let found = text
            .trim()
            .parse()
            .map_err(|_| Failure::Other(format!("{BACKLOG} is no number: {text}")))?;
        let backlog = Self { found };
        backlog.set(ROOMY.max(found))?;
        Ok(backlog)
    }

    fn set(&self, packets: u64) -> Result<(), Failure> {
        std::fs::write(BACKLOG, packets.to_string())
            .map_err(|error| Failure::Other(format!("write {BACKLOG}: {error}")))
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Err(failure) = self.set(self.found) {
            eprintln!("figures: set it to {} again: {failure}", self.found);
        }
    }
}
