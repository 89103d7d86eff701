//! When what happened, in bounded memory: time is cut into at most
//! [`MOST_BINS`] bins, which become twice as wide when they do not suffice.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::AddAssign;
use tcpalive_capture::flow::{Flow, FlowEnd, FrameKind, Verdict};

/// Bins in which the whole capture lies.
pub(super) const MOST_BINS: u64 = 128;

/// Groups of flows that are kept apart; what comes later is "others".
const MOST_GROUPS: usize = 2_048;

/// How time is cut: a bin has 2^shift ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    shift: u32,
}

impl Scale {
    pub(super) const fn bin(&self, ns: u64) -> u64 {
        ns >> self.shift
    }

    pub(super) const fn first_bin(&self) -> u64 {
        self.bin(self.first_ns)
    }

    pub(super) const fn bins(&self) -> u64 {
        self.bin(self.last_ns) - self.first_bin() + 1
    }

    /// When a bin begins.
    pub(super) const fn begins(&self, bin: u64) -> u64 {
        bin << self.shift
    }

    pub(super) const fn bin_ns(&self) -> u64 {
        1 << self.shift
    }
}

/// What happened in one bin, over all flows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beat {
    pub(super) probes: u32,
    pub(super) answers: u32,
    /// Flows of which a dead peer was the end.
    pub(super) deaths: u32,
}

/// What happened in one bin to a group of probed flows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) begun: u32,
    pub(super) ended: u32,
    pub(super) deaths: u32,
}

impl AddAssign for Beat {
    fn add_assign(&mut self, other: Self) {
        self.probes += other.probes;
        self.answers += other.answers;
        self.deaths += other.deaths;
    }
}

impl AddAssign for Change {
    fn add_assign(&mut self, other: Self) {
        self.begun += other.begun;
        self.ended += other.ended;
        self.deaths += other.deaths;
    }
}

/// Who probes, and who is probed; `None`: several.
pub(super) type Parties = (Option<IpAddr>, Option<IpAddr>);

/// Probed flows that have their hosts in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) flows: u64,
    pub(super) alive: u64,
    pub(super) dead: u64,
    pub(super) unknown: u64,
    pub(super) probes: u64,
    pub(super) answers: u64,
    /// The least, in s.
    pub(super) idle_s: Option<u32>,
    pub(super) bins: BTreeMap<u64, Change>,
}

impl Group {
    fn add(&mut self, flow: &Flow, scale: &Scale) {
        self.flows += 1;
        match flow.verdict {
            Verdict::Alive => self.alive += 1,
            Verdict::Dead => self.dead += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        self.probes += flow.probes();
        self.answers += flow.answers();
        let idle = flow.idle().map(|idle| idle.seconds);
        self.idle_s = self.idle_s.into_iter().chain(idle).min();
        let deaths = u32::from(flow.verdict == Verdict::Dead);
        self.bins.entry(scale.bin(flow.first_ns)).or_default().begun += 1;
        let last = self.bins.entry(scale.bin(flow.last_ns)).or_default();
        last.ended += 1;
        last.deaths += deaths;
    }
}

impl Group {
    /// Adds another group's flows.
    pub(super) fn merge(&mut self, other: &Self) {
        self.flows += other.flows;
        self.alive += other.alive;
        self.dead += other.dead;
        self.unknown += other.unknown;
        self.probes += other.probes;
        self.answers += other.answers;
        self.idle_s = self.idle_s.into_iter().chain(other.idle_s).min();
        for (bin, change) in &other.bins {
            *self.bins.entry(*bin).or_default() += *change;
        }
    }
}

/// Groups by some key.
#[derive(Debug)]
pub(super) struct Groups<K> {
    pub(super) by: HashMap<K, Group>,
    /// Flows of groups that came when there was no room for more.
    pub(super) others: Group,
}

impl<K: Hash + Eq> Groups<K> {
    fn new() -> Self {
        Self {
            by: HashMap::new(),
            others: Group::default(),
        }
    }

    fn add(&mut self, key: K, flow: &Flow, scale: &Scale) {
        let group = if self.by.len() < MOST_GROUPS || self.by.contains_key(&key) {
            self.by.entry(key).or_default()
        } else {
            &mut self.others
        };
        group.add(flow, scale);
    }

    fn coarsen(&mut self) {
        for group in self.by.values_mut() {
            coarsen(&mut group.bins);
        }
        coarsen(&mut self.others.bins);
    }
}

/// Two bins become one.
fn coarsen<T: AddAssign + Default>(bins: &mut BTreeMap<u64, T>) {
    let mut coarse: BTreeMap<u64, T> = BTreeMap::new();
    for (bin, value) in std::mem::take(bins) {
        *coarse.entry(bin >> 1).or_default() += value;
    }
    *bins = coarse;
}

/// All of it.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) scale: Option<Scale>,
    pub(super) beats: BTreeMap<u64, Beat>,
    /// By prober and peer, by prober, by peer.
    pub(super) pairs: Groups<Parties>,
    pub(super) probers: Groups<Parties>,
    pub(super) peers: Groups<Parties>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            scale: None,
            beats: BTreeMap::new(),
            pairs: Groups::new(),
            probers: Groups::new(),
            peers: Groups::new(),
        }
    }

    /// Something came at this time.
    #[inline]
    pub(super) fn reach(&mut self, ns: u64) {
        let scale = self.scale.get_or_insert(Scale {
            first_ns: ns,
            last_ns: ns,
            shift: 16,
        });
        if ns < scale.first_ns || ns > scale.last_ns {
            scale.first_ns = scale.first_ns.min(ns);
            scale.last_ns = scale.last_ns.max(ns);
            if scale.bins() > MOST_BINS {
                self.widen();
            }
        }
    }

    #[cold]
    fn widen(&mut self) {
        while let Some(scale) = &mut self.scale
            && scale.bins() > MOST_BINS
        {
            scale.shift += 1;
            coarsen(&mut self.beats);
            self.pairs.coarsen();
            self.probers.coarsen();
            self.peers.coarsen();
        }
    }

    pub(super) fn frame(&mut self, ns: u64, kind: FrameKind) {
        self.reach(ns);
        let Some(scale) = &self.scale else { return };
        let (probes, answers) = match kind {
            FrameKind::KeepAlive { .. } => (1, 0),
            FrameKind::KeepAliveAck { .. } => (0, 1),
            _ => return,
        };
        *self.beats.entry(scale.bin(ns)).or_default() += Beat {
            probes,
            answers,
            deaths: 0,
        };
    }

    /// A flow with probes.
    pub(super) fn flow(&mut self, flow: &Flow) {
        self.reach(flow.first_ns);
        self.reach(flow.last_ns);
        let Some(scale) = self.scale else { return };
        let (prober, peer) = match flow.prober() {
            Some(FlowEnd::B) => (flow.b.ip(), flow.a.ip()),
            _ => (flow.a.ip(), flow.b.ip()),
        };
        if flow.verdict == Verdict::Dead {
            self.beats
                .entry(scale.bin(flow.last_ns))
                .or_default()
                .deaths += 1;
        }
        self.pairs.add((Some(prober), Some(peer)), flow, &scale);
        self.probers.add((Some(prober), None), flow, &scale);
        self.peers.add((None, Some(peer)), flow, &scale);
    }
}

/// Times of frames, roughly, in bounded memory: for those whose kind is told
/// late.
#[derive(Debug)]
pub(super) struct Clock {
    times: Vec<u64>,
    stride: u64,
}

impl Clock {
    const MOST: usize = 1 << 16;

    pub(super) const fn new() -> Self {
        Self {
            times: Vec::new(),
            stride: 16,
        }
    }

    /// Frames come in order, some may be missing.
    #[inline]
    pub(super) fn note(&mut self, frame: u64, ns: u64) {
        if frame / self.stride >= self.times.len() as u64 {
            self.add(frame, ns);
        }
    }

    #[cold]
    fn add(&mut self, frame: u64, ns: u64) {
        while frame / self.stride >= Self::MOST as u64 {
            self.stride *= 2;
            let mut index = 0;
            self.times.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        // Below MOST.
        let places = (frame / self.stride) as usize + 1;
        if places > self.times.len() {
            self.times.resize(places, ns);
        }
    }

    /// About when the frame was seen.
    pub(super) fn time(&self, frame: u64) -> Option<u64> {
        let place = usize::try_from(frame / self.stride).ok()?;
        self.times.get(place).or(self.times.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_cut_into_few_bins_however_long_it_is() {
        let mut activity = Activity::new();
        let probe = FrameKind::KeepAlive {
            garbage: false,
            unanswered: 1,
        };
        for hour in 0..1000 {
            activity.frame(1_500_000_000_000_000_000 + hour * 3_600_000_000_000, probe);
        }
        // A capture that was given later may be older.
        activity.frame(1_400_000_000_000_000_000, probe);
        let scale = activity.scale.unwrap();
        assert!(scale.bins() <= MOST_BINS);
        assert!(activity.beats.len() as u64 <= MOST_BINS);
        let probes: u32 = activity.beats.values().map(|beat| beat.probes).sum();
        assert_eq!(probes, 1001);
    }

    #[test]
    fn the_clock_knows_frames_of_long_captures_in_bounded_memory() {
        let mut clock = Clock::new();
        for frame in 1..5_000_000 {
            clock.note(frame, frame * 1000);
        }
        assert!(clock.times.len() <= Clock::MOST);
        for frame in [1, 1_000, 77_777, 4_999_999] {
            let time = clock.time(frame).unwrap();
            assert!(time.abs_diff(frame * 1000) <= 128_000, "{frame}: {time}");
        }
    }
}
