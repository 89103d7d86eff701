//! The flows that are shown one by one.

use std::collections::{BinaryHeap, HashMap};
use tcpalive_capture::flow::{Flow, FlowEnd, Verdict};

/// Flows that are shown at most.
pub(super) const MOST: usize = 5_000;

/// Of how many each class is sure, if it has them.
const SHARES: [usize; 4] = [2_500, 1_000, 1_000, 500];

/// What a flow is to who looks for dead peers, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    Dead,
    Unknown,
    Alive,
    NotProbed,
}

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Dead, Self::Unknown, Self::Alive, Self::NotProbed];

    pub(super) fn of(flow: &Flow) -> Self {
        match flow.verdict {
            _ if flow.probes() == 0 => Self::NotProbed,
            Verdict::Dead => Self::Dead,
            Verdict::Unknown => Self::Unknown,
            Verdict::Alive => Self::Alive,
        }
    }

    /// The word for it, and a sign that needs no colour.
    pub(super) const fn word(self) -> (&'static str, &'static str) {
        match self {
            Self::Dead => ("✖", "dead"),
            Self::Unknown => ("?", "unknown"),
            Self::Alive => ("●", "alive"),
            Self::NotProbed => ("–", "not probed"),
        }
    }
}

/// Which flow: the number of its capture, its first frame there.
pub(super) type Id = (usize, u64);

/// A flow, and where it was found. They are ordered by that.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) id: Id,
    pub(super) flow: Flow,
}

impl Kept {
    pub(super) fn class(&self) -> Class {
        Class::of(&self.flow)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}

/// Keeps the first flows of each class.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    classes: [BinaryHeap<Kept>; 4],
    /// How many flows there were of each class.
    pub(super) counts: [u64; 4],
}

impl Keeper {
    pub(super) fn add(&mut self, id: Id, flow: &Flow) {
        let class = Class::of(flow) as usize;
        self.counts[class] += 1;
        let heap = &mut self.classes[class];
        if heap.len() < MOST {
            let flow = flow.clone();
            heap.push(Kept { id, flow });
        } else if let Some(mut last) = heap.peek_mut()
            && id < last.id
        {
            let flow = flow.clone();
            *last = Kept { id, flow };
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Those to be shown, the dead first: at most [`MOST`].
    pub(super) fn shown(&self) -> Vec<Kept> {
        let mut rooms = [0; 4];
        let mut free = MOST;
        for (class, share) in SHARES.into_iter().enumerate() {
            rooms[class] = share.min(self.classes[class].len());
            free -= rooms[class];
        }
        let mut shown = Vec::new();
        for (class, room) in rooms.into_iter().enumerate() {
            let more = free.min(self.classes[class].len() - room);
            free -= more;
            let mut flows: Vec<&Kept> = self.classes[class].iter().collect();
            flows.sort_unstable();
            shown.extend(flows.into_iter().take(room + more).cloned());
        }
        shown
    }
}

/// The flows that tell most, of those that are shown: the dead first, but not
/// ten times the same two hosts, nor the dead alone.
pub(super) fn telling(shown: &[Kept], most: usize) -> Vec<Id> {
    let mut before: HashMap<_, usize> = HashMap::new();
    let mut ranked: Vec<(usize, usize, Class, Id)> = shown
        .iter()
        .filter(|kept| kept.class() != Class::NotProbed || shown.len() <= most)
        .map(|kept| {
            let flow = &kept.flow;
            let class = kept.class();
            let prober = flow.prober().unwrap_or(FlowEnd::A);
            let pair = (class, prober, flow.a.ip(), flow.b.ip());
            let nth = before.entry(pair).or_default();
            *nth += 1;
            (0, *nth, class, kept.id)
        })
        .collect();
    ranked.sort_by_key(|(_, nth, class, id)| (*class, *nth, *id));
    // Of every ten, six dead, two of which nothing is known, two that live.
    let mut of_class = [0; 4];
    for (round, _, class, _) in &mut ranked {
        let share = [6, 2, 2, 1][*class as usize];
        *round = of_class[*class as usize] / share;
        of_class[*class as usize] += 1;
    }
    ranked.sort_by_key(|(round, nth, class, id)| (*round, *class, *nth, *id));
    ranked.truncate(most);
    ranked.sort_by_key(|(_, nth, class, id)| (*class, *nth, *id));
    ranked.into_iter().map(|(_, _, _, id)| id).collect()
}
