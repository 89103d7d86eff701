//! Counts over connections: in total, by state, by process and by peer
//! network (`ls --summary`).
//!
//! Memory is bounded: beyond [`GROUPS`] processes or networks, further ones
//! are counted together.

mod print;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tcpalive_connections::{Comm, Connection, Owner, State, View};

/// Processes, and peer networks, that are counted apart.
pub const GROUPS: usize = 65_536;

/// Upper ends of the idle buckets in milliseconds; the last bucket is open.
const IDLE_ENDS_MS: [u64; 4] = [60_000, 600_000, 3_600_000, 86_400_000];

/// How long ago the peers were heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idle {
    /// Less than a minute, 10 minutes, an hour, a day ago, and longer.
    pub buckets: [u64; 5],
    /// Not known.
    pub unknown: u64,
}

/// What is counted of a set of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Group {
    /// Connections.
    pub connections: u64,
    /// Those with keep-alive on.
    pub keepalive_on: u64,
    /// Those with keep-alive off.
    pub keepalive_off: u64,
    /// Those of which it cannot be known, or that have none.
    pub keepalive_unknown: u64,
    /// When their peers were last heard.
    pub idle: Idle,
    /// Kernel memory that they hold.
    pub memory_bytes: u64,
}

impl Group {
    fn add(&mut self, connection: &Connection) {
        self.connections += 1;
        match connection.keepalive {
            Some(keepalive) if keepalive.enabled => self.keepalive_on += 1,
            Some(_) => self.keepalive_off += 1,
            None => self.keepalive_unknown += 1,
        }
        match connection.last_heard_ms {
            Some(ms) => {
                let bucket = IDLE_ENDS_MS.iter().filter(|end| ms >= **end).count();
                self.idle.buckets[bucket] += 1;
            }
            None => self.idle.unknown += 1,
        }
        self.memory_bytes = self.memory_bytes.saturating_add(connection.memory_bytes);
    }

    /// Adds another set to this one.
    fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.keepalive_on += other.keepalive_on;
        self.keepalive_off += other.keepalive_off;
        self.keepalive_unknown += other.keepalive_unknown;
        for (bucket, more) in self.idle.buckets.iter_mut().zip(other.idle.buckets) {
            *bucket += more;
        }
        self.idle.unknown += other.idle.unknown;
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }
}

/// The cheap part of a summary: totals, and counts by state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// All connections.
    pub all: Group,
    by_state: [Group; State::ALL.len()],
}

impl Totals {
    /// Counts a connection.
    pub fn add(&mut self, connection: &Connection) {
        self.all.add(connection);
        // A request socket goes by the name of its state.
        let state = match connection.state {
            State::NewSynRecv => State::SynRecv,
            state => state,
        };
        self.by_state[state as usize - 1].add(connection);
    }

    /// The states that were seen, in the kernel's order.
    pub fn by_state(&self) -> impl Iterator<Item = (State, &Group)> {
        State::ALL
            .into_iter()
            .zip(&self.by_state)
            .filter(|(_, group)| group.connections > 0)
    }
}

/// What is counted of a process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub comm: Comm,
    /// Its connections. Those that it shares count for each process.
    pub group: Group,
    /// Descriptors that refer to these connections.
    pub descriptors: u64,
    /// Number of the connection counted last: a process may hold a socket as
    /// several descriptors.
    last: u64,
}

/// A process's descriptors, as `/proc/PID/fd` and `/proc/PID/limits` tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Descriptors that are open, of whatever kind.
    pub open: u64,
    /// `RLIMIT_NOFILE`, the soft limit; `u64::MAX` is "unlimited".
    pub soft_limit: u64,
}

impl ProcessLimits {
    /// Whether at least 80 % of the limit is used.
    #[must_use]
    pub fn near(self) -> bool {
        self.soft_limit != u64::MAX
            && u128::from(self.open) * 100 >= u128::from(self.soft_limit) * 80
    }
}

/// Peers that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// The host itself: 127.0.0.0/8 and ::1.
    Loopback,
    /// The /24 of an IPv4 peer: its first three bytes.
    Ipv4([u8; 3]),
    /// The /64 of an IPv6 peer: its first eight bytes.
    Ipv6([u8; 8]),
    /// No peer: a listening socket.
    NoPeer,
}

impl Network {
    /// The network of a peer.
    #[must_use]
    pub fn of(peer: IpAddr) -> Self {
        if peer.is_unspecified() {
            return Self::NoPeer;
        }
        if peer.is_loopback() {
            return Self::Loopback;
        }
        match peer {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::Ipv4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::Ipv6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Ipv4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(*a, *b, *c, 0)),
            Self::Ipv6(prefix) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(prefix);
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
            Self::NoPeer => f.write_str("no peer"),
        }
    }
}

/// Counts by everything.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Totals and counts by state. Here each connection counts once.
    pub totals: Totals,
    processes: HashMap<u32, Process>,
    networks: HashMap<Network, Group>,
    /// Of processes beyond the bound.
    more_processes: Group,
    /// Of networks beyond the bound.
    more_networks: Group,
    unowned: Group,
}

impl Summary {
    /// Counts a connection.
    pub fn add(&mut self, view: &View<'_>) {
        let connection = view.connection;
        self.totals.add(connection);
        self.add_network(connection);
        if view.owners.is_empty() {
            self.unowned.add(connection);
        }
        for owner in view.owners {
            self.add_owner(connection, owner);
        }
    }

    fn add_network(&mut self, connection: &Connection) {
        let network = Network::of(connection.remote.ip());
        if let Some(group) = self.networks.get_mut(&network) {
            group.add(connection);
        } else if self.networks.len() < GROUPS {
            self.networks.entry(network).or_default().add(connection);
        } else {
            self.more_networks.add(connection);
        }
    }

    fn add_owner(&mut self, connection: &Connection, owner: &Owner) {
        if self.processes.len() >= GROUPS && !self.processes.contains_key(&owner.pid) {
            return self.more_processes.add(connection);
        }
        let process = self.processes.entry(owner.pid).or_insert_with(|| Process {
            pid: owner.pid,
            comm: owner.comm,
            group: Group::default(),
            descriptors: 0,
            last: 0,
        });
        process.descriptors += 1;
        let number = self.totals.all.connections;
        if process.last != number {
            process.last = number;
            process.group.add(connection);
        }
    }

    /// The processes, those with the most connections first.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let mut processes: Vec<Process> = self.processes.values().copied().collect();
        processes.sort_unstable_by_key(|p| (std::cmp::Reverse(p.group.connections), p.pid));
        processes
    }

    /// The peer networks, those with the most connections first.
    #[must_use]
    pub fn networks(&self) -> Vec<(Network, Group)> {
        let mut networks: Vec<_> = self.networks.iter().map(|(n, g)| (*n, *g)).collect();
        networks.sort_unstable_by_key(|(n, g)| (std::cmp::Reverse(g.connections), *n));
        networks
    }

    /// Connections that no process holds, or whose owners were not asked for.
    #[must_use]
    pub const fn unowned(&self) -> &Group {
        &self.unowned
    }
}
