//! What keep-alive costs the kernel: `docs/cost.md`.
//!
//! One crowd, whose near ends have keep-alive off or on; what differs is told
//! by what is counted in [`window`]s of time.
//!
//! * [`memory`]: what connections hold in the kernel.
//! * [`window`]: soft interrupts, probes, packets in a stretch of time.
//! * [`sleepers`]: what programs feel of bursts.
//! * [`page`]: the document.

mod memory;
mod page;
mod sleepers;
mod window;

use crate::bench::{Bench, Failure, must};
use crate::machine;
use memory::{Grown, Memory};
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
    (60, Duration::from_secs(30)),
    (15, Duration::from_secs(15)),
];
/// Linux's default: on, but no probe for two hours.
const FAR_AWAY: u32 = 7200;
const QUIET: Duration = Duration::from_secs(8);

/// Packets that a processor's backlog must hold so that none is lost: far
/// more than one burst.
const ROOMY: u64 = 2_000_000;
const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

/// All that was measured.
pub(crate) struct Cost {
    pub(crate) connections: usize,
    pub(crate) hz: Hz,
    pub(crate) backlog: u64,
    pub(crate) objects: Vec<Grown>,
    /// Bytes of the kernel's memory for each connection, by /proc/meminfo.
    pub(crate) slab_each: f64,
    /// On less off, bytes for each socket that was switched, turn by turn: by
    /// objects, and by /proc/meminfo.
    pub(crate) on_less_off: Vec<(f64, f64)>,
    /// Nanoseconds of a call, turn by turn.
    pub(crate) calls: Vec<Calls>,
    pub(crate) off: Vec<Window>,
    /// On with [`FAR_AWAY`].
    pub(crate) armed: Vec<Window>,
    pub(crate) rates: Vec<Rate>,
    /// At the last of the rates: who receives.
    pub(crate) sides: Window,
    /// At the last of the rates: with the backlog as it was found.
    pub(crate) usual_backlog: Window,
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

/// Measures and returns the page.
pub(crate) fn page(bench: &Bench) -> Result<String, Failure> {
    let machine = machine::describe();
    let cost = measure(bench)?;
    Ok(page::page(&machine, bench, &cost))
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
    let built = Memory::now()?;
    let objects = built.grown_since(&before, connections);
    let slab_each = built.slab.saturating_sub(before.slab) as f64 / connections as f64;

    bench.say("switching on and off");
    let (on_less_off, calls) = switch(bench, &mut crowd, &objects)?;

    bench.say("off, and on with timers far away, in turns");
    let mut off = Vec::new();
    let mut armed = Vec::new();
    for _ in 0..bench.runs {
        off.push(Window::watch(bench, &host, QUIET)?);
        crowd.set_keep_alive(on(FAR_AWAY), Duration::ZERO)?;
        armed.push(Window::watch(bench, &host, QUIET)?);
        crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
    }

    let mut rates = Vec::new();
    for (idle_s, time) in MEASURED {
        bench.say(&format!("on with {idle_s} s, evenly over {idle_s} s"));
        crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
        crowd.set_keep_alive(on(idle_s), Duration::from_secs(idle_s.into()))?;
        let windows = (0..bench.runs).map(|_| window(bench, &host, time));
        rates.push(Rate {
            idle_s,
            windows: windows.collect::<Result<_, _>>()?,
        });
    }
    let (_, time) = MEASURED[MEASURED.len() - 1];
    bench.say("who receives");
    let sides = Window::watch_sides(bench, &host, time)?;
    bench.say("with the backlog as it was");
    let found = backlog.found;
    drop(backlog);
    let usual_backlog = Window::watch(bench, &host, time)?;
    crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
    off.push(Window::watch(bench, &host, QUIET)?);
    bench.say("taking the crowd down");
    Ok(Cost {
        connections,
        hz,
        backlog: found,
        objects,
        slab_each,
        on_less_off,
        calls,
        off,
        armed,
        rates,
        sides,
        usual_backlog,
    })
}

/// A count that no run reaches: nobody is to be given up.
fn on(idle_s: u32) -> KeepAlive {
    KeepAlive::On {
        idle_s,
        interval_s: idle_s,
        count: 127,
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

fn switch(bench: &Bench, crowd: &mut Crowd, objects: &[Grown]) -> Result<Switching, Failure> {
    let each = |switched: Switched| switched.took_ns as f64 / switched.sockets as f64;
    let sockets = crowd.connections() as f64;
    let mut on_less_off = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..bench.runs {
        bench.check()?;
        let off_memory = Memory::now()?;
        let to_on = crowd.set_keep_alive(on(FAR_AWAY), Duration::ZERO)?;
        let on_memory = Memory::now()?;
        let again = crowd.set_keep_alive(on(FAR_AWAY), Duration::ZERO)?;
        let to_off = crowd.set_keep_alive(KeepAlive::Off, Duration::ZERO)?;
        let difference = |on: u64, off: u64| (on as f64 - off as f64) / sockets;
        on_less_off.push((
            difference(on_memory.bytes_in(objects), off_memory.bytes_in(objects)),
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
