//! The part of a filter that the kernel can apply by itself.
//!
//! A [`Selection`] is a necessary condition: whatever a filter accepts, its
//! selection accepts too. The kernel drops the rest before it costs anything,
//! and the whole filter decides on what is left.

use crate::{Connection, State};
use std::net::{IpAddr, Ipv6Addr};

/// A set of TCP states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSet {
    bits: u16,
}

impl StateSet {
    /// Every state.
    pub const ALL: Self = Self { bits: u16::MAX };
    /// No state.
    pub const NONE: Self = Self { bits: 0 };

    /// Just this one. A request socket and a full socket in SYN-RECV share
    /// a name, so either stands for both.
    #[must_use]
    pub fn of(state: State) -> Self {
        let bits = State::ALL
            .into_iter()
            .filter(|other| other.name() == state.name())
            .fold(0, |bits, other| bits | 1 << other as u8);
        Self { bits }
    }

    /// States in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            bits: self.bits | other.bits,
        }
    }

    /// States in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self {
            bits: self.bits & other.bits,
        }
    }

    /// States that are not in this set.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self { bits: !self.bits }
    }

    /// Whether the state is in the set.
    #[must_use]
    pub const fn contains(self, state: State) -> bool {
        self.bits & (1 << state as u8) != 0
    }

    /// Whether no state is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        !State::ALL.into_iter().any(|state| self.contains(state))
    }

    /// Bit n is set when the state with the kernel's number n is in the set.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.bits
    }
}

/// Ports from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub low: u16,
    /// Highest port.
    pub high: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self {
        low: 0,
        high: u16::MAX,
    };

    /// Whether the port lies in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }
}

/// Addresses that share their first bits, IPv4 held as v4-mapped IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

impl Prefix {
    /// Every address of both families.
    pub const ALL: Self = Self {
        address: Ipv6Addr::UNSPECIFIED,
        length: 0,
    };

    /// The network of `address` with `length` bits of its own family, or
    /// `None` when the length is over 32 or 128. Host bits are cleared.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let (address, length, limit) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), length.checked_add(96)?, 128),
            IpAddr::V6(v6) => (v6, length, 128),
        };
        if length > limit {
            return None;
        }
        let bits = u128::from(address) & Self::mask(length);
        Some(Self {
            address: Ipv6Addr::from(bits),
            length,
        })
    }

    /// The one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self {
            address,
            length: 128,
        }
    }

    /// Whether the address lies in the network. v4-mapped IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        u128::from(address) & Self::mask(self.length) == u128::from(self.address)
    }

    /// The network's first address, IPv4 as v4-mapped IPv6.
    #[must_use]
    pub const fn address(self) -> Ipv6Addr {
        self.address
    }

    /// Leading bits of [`Prefix::address`] that count, 0 to 128.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// A mask with `length` leading ones.
    #[must_use]
    pub const fn mask(length: u8) -> u128 {
        match length {
            0 => 0,
            1..=127 => u128::MAX << (128 - length),
            _ => u128::MAX,
        }
    }
}

/// A condition simple enough to be applied inside the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// States to see.
    pub states: StateSet,
    /// Local ports to see.
    pub local_port: PortRange,
    /// Remote ports to see.
    pub remote_port: PortRange,
    /// Ports of which the local or the remote one must be one.
    pub either_port: PortRange,
    /// Local addresses to see.
    pub local: Prefix,
    /// Remote addresses to see.
    pub remote: Prefix,
    /// Only sockets with this keep-alive switch. Sockets whose switch is
    /// unknown or that have none are not accepted when this is set.
    pub keepalive: Option<bool>,
    /// Only sockets whose peer was last heard at least so many milliseconds
    /// ago; sockets that have no such time are not accepted when over 0.
    pub idle_at_least_ms: u64,
}

impl Selection {
    /// Accepts every socket.
    pub const ALL: Self = Self {
        states: StateSet::ALL,
        local_port: PortRange::ALL,
        remote_port: PortRange::ALL,
        either_port: PortRange::ALL,
        local: Prefix::ALL,
        remote: Prefix::ALL,
        keepalive: None,
        idle_at_least_ms: 0,
    };

    /// The same without what a connection changes in its life (state,
    /// keep-alive, idle time): what still selects it later.
    #[must_use]
    pub const fn lasting(self) -> Self {
        Self {
            states: StateSet::ALL,
            keepalive: None,
            idle_at_least_ms: 0,
            ..self
        }
    }

    /// Whether the kernel would hand this socket out. What is unknown is not
    /// accepted by a condition on it.
    #[must_use]
    pub fn accepts(&self, connection: &Connection) -> bool {
        let (local, remote) = (connection.local, connection.remote);
        self.states.contains(connection.state)
            && self.local_port.contains(local.port())
            && self.remote_port.contains(remote.port())
            && (self.either_port.contains(local.port()) || self.either_port.contains(remote.port()))
            && self.local.contains(local.ip())
            && self.remote.contains(remote.ip())
            && self.keepalive.is_none_or(|wanted| {
                connection
                    .keepalive
                    .is_some_and(|keepalive| keepalive.enabled == wanted)
            })
            && (self.idle_at_least_ms == 0
                || connection
                    .last_heard_ms
                    .is_some_and(|idle| idle >= self.idle_at_least_ms))
    }
}
