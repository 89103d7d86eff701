//! Keep-alive scenarios on the real kernel, beside what the machine predicts.
//!
//! A [`Part`] is a [`Scenario`] and how its connection looks on the wire.
//! [`play`] gives each a real socket in a namespace, and at the other end of
//! the cable a scripted peer: no kernel, but user space that speaks TCP, as a
//! Linux host does where the scenario says nothing else. Hundreds of
//! connections play side by side. What comes back is a [`Record`]: each probe
//! and each reset with the kernel's time of its arrival, each `setsockopt`
//! with the times before and after, each error that the program was given.
//!
//! * [`judge`](mod@judge): holds a record against the machine, step by step.
//! * [`compare`]: one scenario, and a table of what was predicted and measured.
//! * [`record`]: what was seen.
//! * [`scale`]: long scenarios made short.

pub mod comparison;
mod end;
pub mod judge;
mod playing;
pub mod record;
pub mod scale;
mod scripted_peer;
mod stage;
mod subject;

pub use comparison::{Comparison, Row, compare};
pub use end::watched;
pub use judge::{Judgement, judge};
pub use record::Record;
pub use scale::{ScaleError, scaled};

use crate::connections::raise_descriptor_limit;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::night::Interrupt;
use rustix::time::{ClockId, clock_getres};
use stage::Stage;
use tcpalive_keepalive::{Happening, Hz, Scenario};

/// A scenario, and how its connection looks on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The connection's life.
    pub scenario: Scenario,
    /// Whether the peer agrees to timestamps.
    pub timestamps: bool,
    /// IPv6 in place of IPv4.
    pub ipv6: bool,
    /// Whether the program reads what comes, at once.
    pub reads: bool,
}

impl From<Scenario> for Part {
    /// On IPv4 with timestamps, as most connections of Linux hosts are; the
    /// program reads.
    fn from(scenario: Scenario) -> Self {
        Self {
            scenario,
            timestamps: true,
            ipv6: false,
            reads: true,
        }
    }
}

/// Plays all parts at the same time, in the scenarios' own seconds, and
/// returns a record of each, in their order. A connection is watched for an
/// eighth longer than its scenario, as the kernel's timers are late.
///
/// Scenarios that change sysctls or stop the queue get a namespace of their
/// own; others share one with those of the same sysctls.
///
/// # Errors
/// [`LabError::NotRoot`]; [`LabError::Interrupted`]; when a connection does
/// not come about; when frames were lost; an ICMP error for which there is no
/// message.
pub fn play(parts: &[Part]) -> Result<Vec<Record>> {
    let interrupt = Interrupt::on_signals()?;
    raise_descriptor_limit();
    let lab = Lab::new("play")?;
    let groups = grouped(parts);
    let stages = groups
        .iter()
        .enumerate()
        .map(|(number, group)| Stage::build(&lab, number, &parts[group[0]].scenario.sysctl))
        .collect::<Result<Vec<Stage>>>()?;
    let played: Vec<Result<Vec<Record>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = stages
            .iter()
            .zip(&groups)
            .map(|(stage, group)| {
                let interrupt = &interrupt;
                let members: Vec<&Part> = group.iter().map(|index| &parts[*index]).collect();
                scope.spawn(move || stage.play(&members, interrupt))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut records: Vec<Option<Record>> = parts.iter().map(|_| None).collect();
    for (group, played) in groups.iter().zip(played) {
        for (index, record) in group.iter().zip(played?) {
            records[*index] = Some(record);
        }
    }
    Ok(records.into_iter().flatten().collect())
}

/// Which parts share a namespace.
fn grouped(parts: &[Part]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let shared = groups.iter_mut().find(|group| {
            let first = &parts[group[0]];
            !wants_own_namespace(&part.scenario)
                && !wants_own_namespace(&first.scenario)
                && first.scenario.sysctl == part.scenario.sysctl
                && group.len() < end::CAPACITY
        });
        match shared {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

fn wants_own_namespace(scenario: &Scenario) -> bool {
    scenario.events.iter().any(|step| {
        matches!(
            step.what,
            Happening::Sysctl(_) | Happening::QueueFull | Happening::QueueDrained
        )
    })
}

/// The running kernel's ticks per second: its coarse clock has the resolution
/// of a tick.
///
/// # Errors
/// When the kernel tells none that there is.
pub fn ticks_per_second() -> Result<Hz> {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    u32::try_from(tick.tv_nsec)
        .ok()
        .filter(|_| tick.tv_sec == 0)
        .and_then(|nanos| 1_000_000_000_u32.checked_div(nanos))
        .and_then(Hz::new)
        .ok_or_else(|| {
            LabError::Other(format!(
                "work out the kernel's tick rate: its coarse clock has a resolution of {} s",
                tick.tv_sec
            ))
        })
}
