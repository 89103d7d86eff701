//! What the flows of a capture say about hosts: who probes whom, whose peers
//! are dead, whose timers do not fit the network.

use crate::flow::{End, Flow, FlowEnd, Verdict};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A period of probes below this many seconds is eager: ten times in the
/// shortest time after which common NATs forget a connection (5 min).
const EAGER_PERIOD_S: u32 = 30;

/// How one host probes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair {
    /// Flows in which the first host probes the second.
    pub flows: u64,
    /// Probes.
    pub probes: u64,
    /// Answers.
    pub answers: u64,
    /// Flows whose verdict is dead.
    pub dead: u64,
    /// Flows that the prober gave up.
    pub given_up: u64,
    /// Of the dead: those that had answered probes or sent data before a
    /// silence that was as long as the prober's idle time, and of those that the
    /// peer reset at the first probe: the least of those
    /// idle times, in s. Another flow of the pair lives, so it may be a NAT
    /// that forgets, and not a host that died.
    pub forgotten_after_s: Option<u32>,
    /// The least idle time that was seen, in s.
    pub least_idle_s: Option<u32>,
    /// Flows of the pair whose verdict is alive.
    pub alive: u64,
}

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Concern {
    /// Flows die in silence, or are reset at their first probe, while others between the same hosts live: something
    /// between them forgets connections before they are probed. A shorter idle
    /// time than this many seconds would keep them.
    ForgottenOnTheWay {
        /// The idle time after which they were found dead, in s.
        idle_s: u32,
    },
    /// Probes come far more often than any NAT asks for.
    TooEager {
        /// The idle time, in s.
        idle_s: u32,
    },
}

/// The findings about all hosts. Its memory is that of the pairs of hosts that
/// probe.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pairs: BTreeMap<(IpAddr, IpAddr), Pair>,
}

impl Findings {
    /// Takes a flow in.
    pub fn add(&mut self, flow: &Flow) {
        for (end, prober, peer) in [
            (FlowEnd::A, flow.a.ip(), flow.b.ip()),
            (FlowEnd::B, flow.b.ip(), flow.a.ip()),
        ] {
            let probing = flow.probing(end);
            if probing.probes == 0 {
                continue;
            }
            let pair = self.pairs.entry((prober, peer)).or_default();
            pair.flows += 1;
            pair.probes += u64::from(probing.probes);
            pair.answers += u64::from(probing.answers);
            let gave_up = flow.end == End::KeepAliveTimeout && flow.reset_by == Some(end);
            pair.given_up += u64::from(gave_up);
            let idle_s = probing.idle.map(|idle| idle.seconds);
            pair.least_idle_s = least(pair.least_idle_s, idle_s);
            let reset_at_once = flow.end == End::Reset
                && flow.reset_by.is_some_and(|by| by != end)
                && probing.answers == 0;
            if reset_at_once {
                pair.forgotten_after_s = least(pair.forgotten_after_s, idle_s);
            }
            match flow.verdict {
                Verdict::Dead if probing.unanswered_at_end > 0 => {
                    pair.dead += 1;
                    pair.forgotten_after_s = least(pair.forgotten_after_s, idle_s);
                }
                Verdict::Alive => pair.alive += 1,
                Verdict::Dead | Verdict::Unknown => {}
            }
        }
    }

    /// Prober, peer, and what was seen between them, in the order of addresses.
    pub fn pairs(&self) -> impl Iterator<Item = (IpAddr, IpAddr, &Pair)> {
        self.pairs
            .iter()
            .map(|(&(prober, peer), pair)| (prober, peer, pair))
    }
}

impl Pair {
    /// What does not fit between these two.
    pub fn concerns(&self) -> impl Iterator<Item = Concern> {
        let forgotten = self
            .forgotten_after_s
            .filter(|_| self.alive > 0)
            .map(|idle_s| Concern::ForgottenOnTheWay { idle_s });
        let eager = self
            .least_idle_s
            .filter(|&idle_s| idle_s < EAGER_PERIOD_S)
            .map(|idle_s| Concern::TooEager { idle_s });
        forgotten.into_iter().chain(eager)
    }
}

fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    a.into_iter().chain(b).min()
}
