//! The part of a filter that the kernel can apply by itself.
//!
//! A negation is pushed down to the tests (De Morgan holds for three values),
//! each test becomes the narrowest [`Selection`] around it, a conjunction
//! their intersection and a disjunction their hull.

use super::ast::{End, Expr, Network, Number, Numbers, Ranges, Test};
use crate::{Family, PortRange, Prefix, Selection, StateSet};
use std::net::{IpAddr, Ipv4Addr};

/// What is left of an expression for the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    /// `None` accepts nothing.
    selection: Option<Selection>,
    /// Whether the selection accepts just what the expression accepts.
    exact: bool,
}

impl Pushed {
    const EVERYTHING: Self = Self::exact(Selection::ALL);
    const NOTHING: Self = Self {
        selection: None,
        exact: true,
    };
    /// For tests that the kernel does not know.
    const UNDECIDED: Self = Self {
        selection: Some(Selection::ALL),
        exact: false,
    };

    const fn exact(selection: Selection) -> Self {
        Self {
            selection: Some(selection),
            exact: true,
        }
    }

    pub(super) fn selection(self) -> Selection {
        self.selection.unwrap_or(Selection {
            states: StateSet::NONE,
            ..Selection::ALL
        })
    }

    pub(super) const fn is_exact(self) -> bool {
        self.exact
    }

    fn and(self, other: Self) -> Self {
        match (self.selection, other.selection) {
            (Some(a), Some(b)) => match intersection(a, b) {
                Some((selection, exact)) => Self {
                    selection: Some(selection),
                    exact: exact && self.exact && other.exact,
                },
                None => Self::NOTHING,
            },
            _ => Self::NOTHING,
        }
    }

    fn or(self, other: Self) -> Self {
        let (Some(a), Some(b)) = (self.selection, other.selection) else {
            return if self.selection.is_none() {
                other
            } else {
                self
            };
        };
        let hull = hull(a, b);
        let states_alone_differ = Selection {
            states: b.states,
            ..a
        } == b;
        let exact = (self.exact && other.exact && states_alone_differ)
            || (self.exact && a == hull)
            || (other.exact && b == hull);
        Self {
            selection: Some(hull),
            exact,
        }
    }
}

/// What must hold of a connection for the expression to be `wanted`.
pub(super) fn push(expr: &Expr, wanted: bool) -> Pushed {
    match (expr, wanted) {
        (Expr::All(terms), true) | (Expr::Any(terms), false) => terms
            .iter()
            .map(|term| push(term, wanted))
            .fold(Pushed::EVERYTHING, Pushed::and),
        (Expr::All(terms), false) | (Expr::Any(terms), true) => terms
            .iter()
            .map(|term| push(term, wanted))
            .fold(Pushed::NOTHING, Pushed::or),
        (Expr::Not(inner), _) => push(inner, !wanted),
        (Expr::Test(test), _) => push_test(test, wanted),
    }
}

fn push_test(test: &Test, wanted: bool) -> Pushed {
    match test {
        Test::State(states) => {
            let states = if wanted { *states } else { states.complement() };
            if states.is_empty() {
                return Pushed::NOTHING;
            }
            Pushed::exact(Selection {
                states,
                ..Selection::ALL
            })
        }
        Test::Address(end, networks) if wanted => push_networks(*end, networks),
        Test::Address(..) | Test::Text(..) => Pushed::UNDECIDED,
        Test::Number(number, numbers) => push_number(*number, numbers, wanted),
        Test::Family(families) => {
            let is_wanted = |family| families.contains(&family) == wanted;
            match (is_wanted(Family::Ipv4), is_wanted(Family::Ipv6)) {
                (true, true) => Pushed::EVERYTHING,
                (true, false) => Pushed::exact(Selection {
                    local: ipv4(),
                    ..Selection::ALL
                }),
                // Not a prefix: all of `::/0` but IPv4's part of it.
                (false, true) => Pushed::UNDECIDED,
                (false, false) => Pushed::NOTHING,
            }
        }
        Test::KeepAlive => Pushed::exact(Selection {
            keepalive: Some(wanted),
            ..Selection::ALL
        }),
    }
}

fn push_networks(end: End, networks: &[Network]) -> Pushed {
    let Some(prefix) = networks.iter().map(|network| network.prefix).reduce(common) else {
        return Pushed::NOTHING;
    };
    let exact = match networks {
        // An IPv6 network with IPv4's part within it accepts less than its prefix.
        [one] => one.family == Family::Ipv4 || !covers(prefix, ipv4()),
        _ => false,
    };
    let selection = match end {
        End::Local => Selection {
            local: prefix,
            ..Selection::ALL
        },
        End::Remote => Selection {
            remote: prefix,
            ..Selection::ALL
        },
    };
    Pushed {
        selection: Some(selection),
        exact,
    }
}

fn push_number(number: Number, numbers: &Numbers, wanted: bool) -> Pushed {
    let ranges = if wanted {
        numbers.ranges()
    } else {
        numbers.ranges().complement()
    };
    match number {
        Number::LocalPort | Number::RemotePort | Number::Port => {
            push_ports(number, &ranges, wanted)
        }
        Number::Idle => push_idle(&ranges),
        // Pids are those of any owner: with no owner, `not pid >= 0` is true.
        Number::Pid | Number::Uid | Number::Netns | Number::Unacked | Number::Memory => {
            Pushed::UNDECIDED
        }
    }
}

/// `ranges` are the ports to be among; of [`Number::Port`] one of the two
/// when that is `wanted`, and both (neither is among the others) when not.
fn push_ports(number: Number, ranges: &Ranges, wanted: bool) -> Pushed {
    let mut within = ranges.as_slice().iter().filter_map(|(low, high)| {
        let high = u16::try_from(*high).unwrap_or(u16::MAX);
        Some(PortRange {
            low: u16::try_from(*low).ok()?,
            high,
        })
    });
    let Some(first) = within.next() else {
        return Pushed::NOTHING;
    };
    let last = within.next_back();
    let ports = last.map_or(first, |last| around(first, last));
    let selection = match number {
        Number::LocalPort => Selection {
            local_port: ports,
            ..Selection::ALL
        },
        Number::RemotePort => Selection {
            remote_port: ports,
            ..Selection::ALL
        },
        _ if wanted => Selection {
            either_port: ports,
            ..Selection::ALL
        },
        _ => Selection {
            local_port: ports,
            remote_port: ports,
            ..Selection::ALL
        },
    };
    Pushed {
        selection: Some(selection),
        exact: last.is_none(),
    }
}

fn push_idle(ranges: &Ranges) -> Pushed {
    let Some((low, high)) = ranges.as_slice().first().copied() else {
        return Pushed::NOTHING;
    };
    Pushed {
        selection: Some(Selection {
            idle_at_least_ms: low,
            ..Selection::ALL
        }),
        // `idle >= 0` asks for a time that is known; a selection cannot.
        exact: low > 0 && high == u64::MAX,
    }
}

/// What both accept, and whether it is all that both accept; `None` when no
/// socket can be accepted by both.
fn intersection(a: Selection, b: Selection) -> Option<(Selection, bool)> {
    let (either_port, exact) = both_either(a.either_port, b.either_port);
    let keepalive = match (a.keepalive, b.keepalive) {
        (Some(x), Some(y)) if x != y => return None,
        (x, y) => x.or(y),
    };
    let states = a.states.intersection(b.states);
    if states.is_empty() {
        return None;
    }
    let selection = Selection {
        states,
        local_port: overlap(a.local_port, b.local_port)?,
        remote_port: overlap(a.remote_port, b.remote_port)?,
        either_port,
        local: narrower(a.local, b.local)?,
        remote: narrower(a.remote, b.remote)?,
        keepalive,
        idle_at_least_ms: a.idle_at_least_ms.max(b.idle_at_least_ms),
    };
    Some((selection, exact))
}

/// A range of which one of the ports must be, where one must be in `a` and
/// one in `b`. It need not be the same port: with 80 and 443 the ranges do
/// not overlap, and a connection from 80 to 443 is accepted by both. So one
/// of the two is kept, the smaller, which is exact when it lies in the other.
fn both_either(a: PortRange, b: PortRange) -> (PortRange, bool) {
    let width = |range: PortRange| range.high - range.low;
    let (small, large) = if width(a) <= width(b) { (a, b) } else { (b, a) };
    (small, large.low <= small.low && small.high <= large.high)
}

fn overlap(a: PortRange, b: PortRange) -> Option<PortRange> {
    let range = PortRange {
        low: a.low.max(b.low),
        high: a.high.min(b.high),
    };
    (range.low <= range.high).then_some(range)
}

fn narrower(a: Prefix, b: Prefix) -> Option<Prefix> {
    if covers(a, b) {
        Some(b)
    } else if covers(b, a) {
        Some(a)
    } else {
        None
    }
}

/// The narrowest selection around both.
fn hull(a: Selection, b: Selection) -> Selection {
    Selection {
        states: a.states.union(b.states),
        local_port: around(a.local_port, b.local_port),
        remote_port: around(a.remote_port, b.remote_port),
        either_port: around(a.either_port, b.either_port),
        local: common(a.local, b.local),
        remote: common(a.remote, b.remote),
        keepalive: a.keepalive.filter(|_| a.keepalive == b.keepalive),
        idle_at_least_ms: a.idle_at_least_ms.min(b.idle_at_least_ms),
    }
}

fn around(a: PortRange, b: PortRange) -> PortRange {
    PortRange {
        low: a.low.min(b.low),
        high: a.high.max(b.high),
    }
}

/// The longest prefix that covers both.
fn common(a: Prefix, b: Prefix) -> Prefix {
    let differing = u128::from(a.address()) ^ u128::from(b.address());
    let shared = u8::try_from(differing.leading_zeros()).unwrap_or(128);
    let length = shared.min(a.length()).min(b.length());
    Prefix::new(IpAddr::V6(a.address()), length).unwrap_or(Prefix::ALL)
}

fn covers(outer: Prefix, inner: Prefix) -> bool {
    outer.length() <= inner.length() && outer.contains(IpAddr::V6(inner.address()))
}

/// All of IPv4: `::ffff:0:0/96`.
fn ipv4() -> Prefix {
    Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).unwrap_or(Prefix::ALL)
}
