//! What `check` and `reap` gather of one kind of result: single connections
//! while they are few, counts by peer, process and evidence when they are
//! many. Memory is bounded either way.

use super::text::clean;
use super::units::{Count, Of, Span};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use tcpalive_connections::{Comm, Owner, View};

/// Up to so many are listed one by one.
pub(crate) const LISTED: usize = 40;

/// Keys that are counted apart.
const KEYS: usize = 65_536;

/// Counts by key; when there are too many keys, further ones together.
#[derive(Debug, Clone)]
struct Tally<K> {
    counts: HashMap<K, u64>,
    others: u64,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self {
            counts: HashMap::new(),
            others: 0,
        }
    }
}

impl<K: Hash + Eq> Tally<K> {
    fn add<Q>(&mut self, key: &Q, keys: usize)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(count) = self.counts.get_mut(key) {
            *count += 1;
        } else if self.counts.len() < keys {
            self.counts.insert(key.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// `10.9.1.1 (19,980), 10.9.1.7 (20)`: the most frequent, and how many
    /// more there are.
    fn most(&self, show: usize, more: &str, name: impl Fn(&K) -> String) -> String
    where
        K: Ord,
    {
        let mut all: Vec<(&K, u64)> = self.counts.iter().map(|(k, n)| (k, *n)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut text = String::new();
        for (index, (key, count)) in all.iter().take(show).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(text, "{comma}{} ({})", name(key), Count(*count))
                .expect("a String takes everything");
        }
        let hidden = all.len().saturating_sub(show);
        let rest: u64 = all.iter().skip(show).map(|(_, n)| n).sum::<u64>() + self.others;
        if rest > 0 {
            let over = if self.others > 0 { "over " } else { "" };
            let hidden = u64::try_from(hidden).unwrap_or(u64::MAX);
            write!(
                text,
                " and {over}{} more {more} ({})",
                Count(hidden),
                Count(rest)
            )
            .expect("a String takes everything");
        }
        text
    }
}

/// A connection that is listed by itself.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) owners: String,
    pub(crate) heard_ms: Option<u64>,
    pub(crate) evidence: String,
}

/// Results of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) count: u64,
    pub(crate) memory_bytes: u64,
    /// Descriptors that refer to these connections.
    pub(crate) descriptors: u64,
    listed: Vec<Listed>,
    peers: Tally<IpAddr>,
    processes: Tally<(u32, Comm)>,
    unowned: u64,
    evidence: Tally<String>,
    heard_ms: Option<(u64, u64)>,
}

impl Findings {
    pub(crate) fn add(&mut self, view: &View<'_>, heard_ms: Option<u64>, evidence: &str) {
        let connection = view.connection;
        self.count += 1;
        self.memory_bytes = self.memory_bytes.saturating_add(connection.memory_bytes);
        self.descriptors += view.owners.len() as u64;
        if self.listed.len() < LISTED {
            self.listed.push(Listed {
                local: connection.local,
                remote: connection.remote,
                owners: owners_text(view.owners),
                heard_ms,
                evidence: clean(evidence),
            });
        }
        self.peers.add(&connection.remote.ip(), KEYS);
        for (pid, comm) in processes_of(view.owners) {
            self.processes.add(&(pid, comm), KEYS);
        }
        self.unowned += u64::from(view.owners.is_empty());
        if !evidence.is_empty() {
            self.evidence.add(evidence, 1024);
        }
        if let Some(ms) = heard_ms {
            let (low, high) = self.heard_ms.unwrap_or((ms, ms));
            self.heard_ms = Some((low.min(ms), high.max(ms)));
        }
    }

    /// The connections one by one, the longest silent first, or `None` if
    /// they are too many for that.
    pub(crate) fn listed(&self) -> Option<Vec<&Listed>> {
        if self.count > LISTED as u64 {
            return None;
        }
        let mut listed: Vec<&Listed> = self.listed.iter().collect();
        listed.sort_by_key(|one| (std::cmp::Reverse(one.heard_ms), one.remote, one.local));
        Some(listed)
    }

    /// What they have in common, as labels and values.
    pub(crate) fn grouped(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![(
            "peers",
            self.peers.most(8, "addresses", ToString::to_string),
        )];
        let mut held_by = self.processes.most(8, "processes", |(pid, comm)| {
            format!("{}[{pid}]", clean(&comm.as_text()))
        });
        if self.unowned > 0 {
            let comma = if held_by.is_empty() { "" } else { ", " };
            write!(held_by, "{comma}no process ({})", Count(self.unowned))
                .expect("a String takes everything");
        }
        rows.push(("held by", held_by));
        if let Some((low, high)) = self.heard_ms {
            let (low, high) = (Span(low).to_string(), Span(high).to_string());
            let text = if low == high {
                format!("{low} ago")
            } else {
                format!("{low} to {high} ago")
            };
            rows.push(("last heard", text));
        }
        if !self.evidence.counts.is_empty() {
            rows.push((
                "evidence",
                self.evidence.most(4, "kinds", |text| clean(text)),
            ));
        }
        rows.push((
            "holding",
            format!(
                "{} of kernel memory, {}",
                super::units::Bytes(self.memory_bytes),
                Of(self.descriptors, "descriptor")
            ),
        ));
        rows
    }
}

/// `nginx[812] +3`: the first process, and how many more there are.
pub(crate) fn push_owners(out: &mut String, owners: &[Owner]) {
    let Some(first) = owners.first() else {
        out.push('-');
        return;
    };
    super::text::push_clean(out, &first.comm.as_text());
    write!(out, "[{}]", first.pid).expect("a String takes everything");
    let others = processes_of(owners).len() - 1;
    if others > 0 {
        write!(out, " +{others}").expect("a String takes everything");
    }
}

/// Each process once, however many descriptors it has.
fn processes_of(owners: &[Owner]) -> Vec<(u32, Comm)> {
    let mut processes: Vec<_> = owners.iter().map(|owner| (owner.pid, owner.comm)).collect();
    processes.sort_unstable();
    processes.dedup_by_key(|(pid, _)| *pid);
    processes
}

fn owners_text(owners: &[Owner]) -> String {
    let mut text = String::new();
    push_owners(&mut text, owners);
    text
}
