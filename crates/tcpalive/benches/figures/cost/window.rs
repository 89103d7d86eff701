//! What is counted while a crowd does nothing.

use crate::bench::{Bench, Failure};
use std::fs;
use std::time::{Duration, Instant};
use tcpalive_kernel::softirq::{Kind, Side, Spent, Watch};
use tcpalive_lab::Host;
use tcpalive_lab::crowd::PORT;

use super::sleepers::{Lateness, Sleepers};

/// Between two looks at the number of probes: what falls between is one burst.
const SLICE: Duration = Duration::from_millis(20);

/// What happened in a stretch of time.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) timer: Spent,
    pub(crate) net_rx: Spent,
    /// Segments that the far ends and the near ends received; only when asked for.
    pub(crate) far: Spent,
    pub(crate) near: Spent,
    pub(crate) counted: Counters,
    /// Probes in each slice of 20 ms.
    pub(crate) slices: Vec<u64>,
    pub(crate) lateness: Lateness,
}

impl Window {
    /// Watches for so long.
    pub(crate) fn watch(bench: &Bench, host: &Host, time: Duration) -> Result<Self, Failure> {
        Self::with(bench, host, time, &Watch::open()?)
    }

    /// Watches also who receives, which adds to the time that receiving takes.
    pub(crate) fn watch_sides(bench: &Bench, host: &Host, time: Duration) -> Result<Self, Failure> {
        let netns = u32::try_from(host.netns_inode())
            .map_err(|_| Failure::Other("a namespace's inode number has 32 bits".to_owned()))?;
        Self::with(bench, host, time, &Watch::open_for_port(netns, PORT)?)
    }

    fn with(bench: &Bench, host: &Host, time: Duration, watch: &Watch) -> Result<Self, Failure> {
        let sleepers = Sleepers::start();
        let (begun, timer, net_rx) = look(watch)?;
        let (slices, counted) = host.run(|| sample(bench, time))?;
        let (ended, timer_after, net_rx_after) = look(watch)?;
        Ok(Self {
            seconds: ended.duration_since(begun).as_secs_f64(),
            timer: timer_after - timer,
            net_rx: net_rx_after - net_rx,
            far: watch.received(Side::ToPort)?,
            near: watch.received(Side::FromPort)?,
            counted,
            slices,
            lateness: sleepers.end(),
        })
    }

    pub(crate) fn probes_per_s(&self) -> f64 {
        self.counted.probes as f64 / self.seconds
    }

    /// Seconds a second.
    pub(crate) fn timer_share(&self) -> f64 {
        self.timer.total.as_secs_f64() / self.seconds
    }

    /// Seconds a second.
    pub(crate) fn net_rx_share(&self) -> f64 {
        self.net_rx.total.as_secs_f64() / self.seconds
    }

    /// The most probes between two looks.
    pub(crate) fn largest_burst(&self) -> u64 {
        self.slices.iter().copied().max().unwrap_or(0)
    }

    /// Share of the looks that saw any probe.
    pub(crate) fn slices_with_probes(&self) -> f64 {
        let some = self.slices.iter().filter(|probes| **probes > 0).count();
        some as f64 / self.slices.len().max(1) as f64
    }
}

fn look(watch: &Watch) -> Result<(Instant, Spent, Spent), Failure> {
    let timer = watch.spent(Kind::Timer)?;
    Ok((Instant::now(), timer, watch.spent(Kind::NetRx)?))
}

fn sample(bench: &Bench, time: Duration) -> Result<(Vec<u64>, Counters), Failure> {
    let before = Counters::read()?;
    let begin = Instant::now();
    let mut slices = Vec::new();
    let mut last = before.probes;
    while begin.elapsed() < time {
        bench.check()?;
        std::thread::sleep(SLICE);
        let probes = probes()?;
        slices.push(probes - last);
        last = probes;
    }
    Ok((slices, Counters::read()?.since(&before)))
}

/// Counters of the calling thread's namespace, and of the machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// `TCPKeepAlive`.
    pub(crate) probes: u64,
    /// `TCPAbortOnTimeout`.
    pub(crate) aborts: u64,
    /// What the loopback device took, in packets.
    pub(crate) packets: u64,
    /// In bytes, with the 14 bytes of an Ethernet header.
    pub(crate) bytes: u64,
    /// Of the machine: packets that did not fit into a processor's backlog.
    pub(crate) dropped: u64,
    /// Of the machine: all that is not idle, in ticks of /proc/stat, and all ticks.
    pub(crate) busy: u64,
    pub(crate) ticks: u64,
}

impl Counters {
    fn read() -> Result<Self, Failure> {
        let device = read("/proc/thread-self/net/dev")?;
        // "lo:" bytes packets errs drop fifo frame compressed multicast bytes packets …
        let line = device
            .lines()
            .find_map(|line| line.trim().strip_prefix("lo:"))
            .unwrap_or_default();
        let sent: Vec<u64> = numbers(line).skip(8).collect();
        let [bytes, packets, ..] = sent[..] else {
            return Err(Failure::Other(
                "/proc/net/dev does not tell what lo sent".to_owned(),
            ));
        };
        let stat = read("/proc/stat")?;
        let cpu: Vec<u64> = numbers(stat.lines().next().unwrap_or_default()).collect();
        let ticks = cpu.iter().take(8).sum();
        // Fourth and fifth: idle and waiting for disks.
        let idle: u64 = cpu.iter().skip(3).take(2).sum();
        Ok(Self {
            probes: probes()?,
            aborts: extension("TCPAbortOnTimeout")?,
            packets,
            bytes,
            dropped: read("/proc/net/softnet_stat")?
                .lines()
                .filter_map(|line| u64::from_str_radix(line.split(' ').nth(1)?, 16).ok())
                .sum(),
            busy: ticks - idle,
            ticks,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            probes: self.probes - before.probes,
            aborts: self.aborts - before.aborts,
            packets: self.packets - before.packets,
            bytes: self.bytes - before.bytes,
            dropped: self.dropped - before.dropped,
            busy: self.busy - before.busy,
            ticks: self.ticks - before.ticks,
        }
    }

    /// Of all processors' time.
    pub(crate) fn busy_share(&self) -> f64 {
        self.busy as f64 / self.ticks.max(1) as f64
    }
}

fn probes() -> Result<u64, Failure> {
    extension("TCPKeepAlive")
}

/// A counter of `TcpExt` in the calling thread's namespace.
fn extension(name: &str) -> Result<u64, Failure> {
    let text = read("/proc/thread-self/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().unwrap_or_default().split_whitespace();
    let values = lines.next().unwrap_or_default().split_whitespace();
    names
        .zip(values)
        .find(|(known, _)| *known == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| Failure::Other(format!("/proc/net/netstat has no {name}")))
}

fn numbers(line: &str) -> impl Iterator<Item = u64> {
    line.split_whitespace().filter_map(|word| word.parse().ok())
}

pub(super) fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Other(format!("read {path}: {error}")))
}

/// Ticks per second of this kernel's timers: `jiffies` against the clock.
pub(super) fn ticks_per_second() -> Result<u32, Failure> {
    let jiffies = || -> Result<(u64, Instant), Failure> {
        let text = read("/proc/timer_list")?;
        let line = text.lines().find_map(|line| line.strip_prefix("jiffies: "));
        let count = line.and_then(|count| count.parse().ok());
        let count =
            count.ok_or_else(|| Failure::Other("/proc/timer_list has no jiffies".to_owned()))?;
        Ok((count, Instant::now()))
    };
    let (first, begun) = jiffies()?;
    std::thread::sleep(Duration::from_secs(1));
    let (last, ended) = jiffies()?;
    let rate = (last - first) as f64 / ended.duration_since(begun).as_secs_f64();
    // Those that kernels are built with.
    [100, 250, 300, 1000]
        .into_iter()
        .find(|hz| (rate / f64::from(*hz) - 1.0).abs() < 0.1)
        .ok_or_else(|| Failure::Other(format!("a kernel with {rate:.0} ticks per second")))
}
