//! What a filter says, once it is understood.
//!
//! There is no "not equal" and no "keep-alive off" here: those are the
//! negations of their opposites, so that three-valued logic and pushdown
//! have fewer cases to be right about.

use crate::{Family, Prefix, StateSet};
use regex::bytes::Regex;
use std::net::IpAddr;

/// A filter's tree. Its depth is bounded by the parser's limit on
/// parentheses; width is not: chains of `and` and `or` are flat.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// Conjunction. Empty only as the whole of a filter that accepts all.
    All(Vec<Expr>),
    /// Disjunction, never empty.
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

impl Expr {
    /// The conjunction; conjunctions among the terms are taken apart.
    pub(super) fn all(terms: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for term in terms {
            match term {
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        Self::single(&mut flat).unwrap_or(Self::All(flat))
    }

    /// The disjunction; disjunctions among the terms are taken apart.
    pub(super) fn any(terms: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for term in terms {
            match term {
                Self::Any(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        Self::single(&mut flat).unwrap_or(Self::Any(flat))
    }

    /// The negation; two of them are none (also in three-valued logic).
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    fn single(terms: &mut Vec<Self>) -> Option<Self> {
        if terms.len() == 1 { terms.pop() } else { None }
    }

    /// Whether any test is on a field that `wanted` accepts.
    pub(super) fn mentions(&self, wanted: &impl Fn(Field) -> bool) -> bool {
        match self {
            Self::All(terms) | Self::Any(terms) => terms.iter().any(|term| term.mentions(wanted)),
            Self::Not(inner) => inner.mentions(wanted),
            Self::Test(test) => wanted(test.field()),
        }
    }
}

/// One comparison.
#[derive(Debug, Clone)]
pub(super) enum Test {
    State(StateSet),
    Address(End, Vec<Network>),
    Number(Number, Numbers),
    Text(Text, Texts),
    Family(Vec<Family>),
    /// The keep-alive switch is on.
    KeepAlive,
}

impl Test {
    pub(super) fn field(&self) -> Field {
        match self {
            Self::State(_) => Field::State,
            Self::Address(end, _) => Field::Address(*end),
            Self::Number(number, _) => Field::Number(*number),
            Self::Text(text, _) => Field::Text(*text),
            Self::Family(_) => Field::Family,
            Self::KeepAlive => Field::KeepAlive,
        }
    }
}

/// What a comparison is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    State,
    Address(End),
    Number(Number),
    Text(Text),
    Family,
    KeepAlive,
}

/// An end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Local,
    Remote,
}

/// A field that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    LocalPort,
    RemotePort,
    /// Either port.
    Port,
    Pid,
    Uid,
    Netns,
    Idle,
    Unacked,
    Memory,
}

/// A field that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Comm,
    Cgroup,
    Container,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A plain number up to `max`.
    Plain {
        max: u64,
    },
    /// Milliseconds.
    Duration,
    Bytes,
}

impl Number {
    pub(super) const fn unit(self) -> Unit {
        match self {
            Self::LocalPort | Self::RemotePort | Self::Port => Unit::Plain { max: 65_535 },
            Self::Pid | Self::Uid => Unit::Plain {
                max: u32::MAX as u64,
            },
            Self::Netns => Unit::Plain { max: u64::MAX },
            Self::Idle => Unit::Duration,
            Self::Unacked | Self::Memory => Unit::Bytes,
        }
    }
}

impl Field {
    /// All fields, in the order in which people are told of them.
    pub(super) const ALL: [Self; 17] = [
        Self::State,
        Self::Address(End::Local),
        Self::Number(Number::LocalPort),
        Self::Address(End::Remote),
        Self::Number(Number::RemotePort),
        Self::Number(Number::Port),
        Self::Number(Number::Pid),
        Self::Text(Text::Comm),
        Self::Text(Text::Cgroup),
        Self::Text(Text::Container),
        Self::Number(Number::Uid),
        Self::Number(Number::Netns),
        Self::Family,
        Self::KeepAlive,
        Self::Number(Number::Idle),
        Self::Number(Number::Unacked),
        Self::Number(Number::Memory),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Address(End::Local) => "local.addr",
            Self::Address(End::Remote) => "remote.addr",
            Self::Number(Number::LocalPort) => "local.port",
            Self::Number(Number::RemotePort) => "remote.port",
            Self::Number(Number::Port) => "port",
            Self::Number(Number::Pid) => "pid",
            Self::Number(Number::Uid) => "uid",
            Self::Number(Number::Netns) => "netns",
            Self::Number(Number::Idle) => "idle",
            Self::Number(Number::Unacked) => "unacked",
            Self::Number(Number::Memory) => "memory",
            Self::Text(Text::Comm) => "comm",
            Self::Text(Text::Cgroup) => "cgroup",
            Self::Text(Text::Container) => "container",
            Self::Family => "family",
            Self::KeepAlive => "keepalive",
        }
    }

    /// The field with this name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|field| field.name().eq_ignore_ascii_case(name))
    }

    /// The operators that the field has.
    pub(super) const fn operators(self) -> &'static [Operator] {
        use Operator::{Equal, Greater, GreaterEqual, In, Less, LessEqual, Matches, NotEqual};
        match self {
            Self::State | Self::Address(_) | Self::Family | Self::Number(Number::Netns) => {
                &[Equal, NotEqual, In]
            }
            Self::Number(_) => &[Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, In],
            Self::Text(_) => &[Equal, NotEqual, In, Matches],
            Self::KeepAlive => &[Equal, NotEqual],
        }
    }
}

/// A comparison as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Matches,
}

impl Operator {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Matches => "~",
        }
    }

    /// The order that the operator asks for, if it asks for one.
    pub(super) const fn order(self) -> Option<Order> {
        match self {
            Self::Less => Some(Order::Less),
            Self::LessEqual => Some(Order::LessEqual),
            Self::Greater => Some(Order::Greater),
            Self::GreaterEqual => Some(Order::GreaterEqual),
            Self::Equal | Self::NotEqual | Self::In | Self::Matches => None,
        }
    }
}

/// An order between a field and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Order {
    pub(super) const fn operator(self) -> Operator {
        match self {
            Self::Less => Operator::Less,
            Self::LessEqual => Operator::LessEqual,
            Self::Greater => Operator::Greater,
            Self::GreaterEqual => Operator::GreaterEqual,
        }
    }
}

/// The numbers that a test accepts.
#[derive(Debug, Clone)]
pub(super) enum Numbers {
    Compare(Order, u64),
    In(Ranges),
}

impl Numbers {
    pub(super) fn contains(&self, number: u64) -> bool {
        match self {
            Self::Compare(Order::Less, limit) => number < *limit,
            Self::Compare(Order::LessEqual, limit) => number <= *limit,
            Self::Compare(Order::Greater, limit) => number > *limit,
            Self::Compare(Order::GreaterEqual, limit) => number >= *limit,
            Self::In(ranges) => ranges.contains(number),
        }
    }

    /// The same as ranges.
    pub(super) fn ranges(&self) -> Ranges {
        let (low, high) = match self {
            Self::Compare(Order::Less, 0) | Self::Compare(Order::Greater, u64::MAX) => {
                return Ranges::new([]);
            }
            Self::Compare(Order::Less, limit) => (0, limit - 1),
            Self::Compare(Order::LessEqual, limit) => (0, *limit),
            Self::Compare(Order::Greater, limit) => (limit + 1, u64::MAX),
            Self::Compare(Order::GreaterEqual, limit) => (*limit, u64::MAX),
            Self::In(ranges) => return ranges.clone(),
        };
        Ranges::new([(low, high)])
    }
}

/// Ranges of numbers, both ends included; sorted, with gaps between them.
#[derive(Debug, Clone)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn new(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    pub(super) fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(low, _)| *low <= number);
        after > 0 && number <= self.0[after - 1].1
    }

    /// What is not in the ranges.
    pub(super) fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(0);
        for (low, high) in &self.0 {
            if let Some(from) = next.filter(|from| from < low) {
                gaps.push((from, low - 1));
            }
            next = high.checked_add(1);
        }
        gaps.extend(next.map(|from| (from, u64::MAX)));
        Self(gaps)
    }
}

/// An IP network of one family. [`Prefix`] holds IPv4 as v4-mapped IPv6, so
/// that `::/0` has IPv4 within it; here it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) prefix: Prefix,
    pub(super) family: Family,
}

impl Network {
    /// The network, or `None` where the length is too long for the family.
    /// A v4-mapped network is the IPv4 network.
    pub(super) fn new(address: IpAddr, length: u8) -> Option<Self> {
        let (address, length) = match address {
            IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), length) {
                (Some(v4), 96..=128) => (IpAddr::V4(v4), length - 96),
                _ => (address, length),
            },
            IpAddr::V4(_) => (address, length),
        };
        Some(Self {
            prefix: Prefix::new(address, length)?,
            family: family_of(address),
        })
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        family_of(address.to_canonical()) == self.family && self.prefix.contains(address)
    }
}

fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    }
}

/// The texts that a test accepts.
#[derive(Debug, Clone)]
pub(super) enum Texts {
    /// Exactly one of these.
    OneOf(Vec<Box<str>>),
    /// Those that the regular expression finds itself in. It works on bytes:
    /// a process's name need not be UTF-8.
    Matching(Regex),
}

impl Texts {
    pub(super) fn contains(&self, text: &[u8]) -> bool {
        match self {
            Self::OneOf(texts) => texts.iter().any(|one| one.as_bytes() == text),
            Self::Matching(pattern) => pattern.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_merged() {
        let ranges = Ranges::new([(90, 95), (80, 80), (81, 85), (84, 88)]);
        assert_eq!(ranges.as_slice(), [(80, 88), (90, 95)]);
        assert!(ranges.contains(80) && ranges.contains(88) && ranges.contains(95));
        assert!(!ranges.contains(79) && !ranges.contains(89) && !ranges.contains(96));
    }

    #[test]
    fn complements_reach_both_ends() {
        let complement = |ranges: &[(u64, u64)]| Ranges::new(ranges.iter().copied()).complement().0;
        assert_eq!(complement(&[]), [(0, u64::MAX)]);
        assert_eq!(complement(&[(0, u64::MAX)]), []);
        assert_eq!(complement(&[(0, 5)]), [(6, u64::MAX)]);
        assert_eq!(complement(&[(5, u64::MAX)]), [(0, 4)]);
        assert_eq!(
            complement(&[(2, 3), (7, 7)]),
            [(0, 1), (4, 6), (8, u64::MAX)]
        );
    }

    #[test]
    fn every_field_is_found_by_its_name() {
        for field in Field::ALL {
            assert_eq!(Field::named(field.name()), Some(field));
            assert_eq!(Field::named(&field.name().to_uppercase()), Some(field));
        }
    }
}
