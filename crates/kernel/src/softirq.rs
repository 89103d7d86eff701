//! How long this machine's soft interrupts run.
//!
//! Keep-alive lives in them: `tcp_keepalive_timer` sends probes in the TIMER
//! kind, probes and answers are received in the NET_RX kind. Ticks of
//! `/proc/stat` see them badly: a tick is counted before the timers that it
//! sets off run. The tracepoints `softirq_entry` and `softirq_exit` see all.

use crate::bpf::softirq::types::tcpalive_span;
use crate::bpf::softirq::{SoftirqSkel, SoftirqSkelBuilder};
use crate::bpf::{object_storage, read_plain, silence_libbpf};
use crate::error::{Doing, Error, Result};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags};
use std::ops::Sub;
use std::time::Duration;

/// A kind of soft interrupt: its number in `include/linux/interrupt.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Timers that are due.
    Timer = 1,
    /// Packets that were received.
    NetRx = 3,
}

/// Packets of one namespace, as a port divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The port received them.
    ToPort = 0,
    /// The port sent them.
    FromPort = 1,
}

/// How often something ran since the watch began, on all processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// All runs together.
    pub total: Duration,
    /// How many runs ended.
    pub runs: u64,
    /// The longest of them, since the watch began.
    pub longest: Duration,
}

/// What happened between two looks. `longest` stays the later one's.
impl Sub for Spent {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            runs: self.runs.saturating_sub(earlier.runs),
            longest: self.longest,
        }
    }
}

/// Counts from when it is opened until it is dropped.
pub struct Watch {
    skeleton: SoftirqSkel<'static>,
    _links: Vec<Link>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches all soft interrupts of this machine, which costs next to nothing.
    ///
    /// # Errors
    /// When BPF is not allowed (CAP_BPF, CAP_PERFMON).
    pub fn open() -> Result<Self> {
        Self::load(None)
    }

    /// Watches also the receiving of each IPv4 packet in the namespace with this
    /// inode number, by whether `port` receives or sent it. That adds some to
    /// the time that each packet takes.
    ///
    /// # Errors
    /// When BPF is not allowed, or this kernel has no BTF.
    pub fn open_for_port(netns_inode: u32, port: u16) -> Result<Self> {
        Self::load(Some((netns_inode, port)))
    }

    fn load(port: Option<(u32, u16)>) -> Result<Self> {
        silence_libbpf();
        let loading = || "loading the program that watches soft interrupts".to_owned();
        let mut open = SoftirqSkelBuilder::default()
            .open(object_storage())
            .doing(loading)?;
        if let Some((netns, port)) = port {
            let constants = open.maps.rodata_data.as_deref_mut().ok_or_else(|| {
                Error::NotFound("the program that watches soft interrupts has no constants".into())
            })?;
            constants.watched_netns = netns;
            constants.watched_port = port.to_be();
            open.progs.packet_begins.set_autoload(true);
        }
        let skeleton = open.load().doing(loading)?;
        let attaching = || "attaching to soft interrupts".to_owned();
        // Ends first: a run is counted when its beginning was seen.
        let mut links = vec![
            skeleton.progs.softirq_ends.attach().doing(attaching)?,
            skeleton.progs.softirq_begins.attach().doing(attaching)?,
        ];
        if port.is_some() {
            links.push(skeleton.progs.packet_begins.attach().doing(attaching)?);
        }
        Ok(Self {
            skeleton,
            _links: links,
        })
    }

    /// Soft interrupts of one kind so far. A run that has not ended is not in it.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn spent(&self, kind: Kind) -> Result<Spent> {
        read(&self.skeleton.maps.kinds, kind as u32)
    }

    /// Packets of one side so far; none unless opened for a port.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn received(&self, side: Side) -> Result<Spent> {
        read(&self.skeleton.maps.sides, side as u32)
    }
}

fn read(map: &impl MapCore, key: u32) -> Result<Spent> {
    let processors = map
        .lookup_percpu(&key.to_ne_bytes(), MapFlags::ANY)
        .doing(|| "reading how long soft interrupts ran".to_owned())?
        .unwrap_or_default();
    let mut spent = Spent::default();
    for bytes in processors {
        let span: tcpalive_span = read_plain(&bytes);
        spent.total += Duration::from_nanos(span.total_ns);
        spent.runs += span.runs;
        spent.longest = spent.longest.max(Duration::from_nanos(span.longest_ns));
    }
    Ok(spent)
}
