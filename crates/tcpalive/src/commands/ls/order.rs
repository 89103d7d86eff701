//! `--sort`: by which field connections are sorted, and how.

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;
use std::str::FromStr;
use tcpalive_connections::{Connection, View};

/// A field, and the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    field: Field,
    descending: bool,
}

/// The fields of the filter language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    State,
    LocalAddr,
    LocalPort,
    RemoteAddr,
    RemotePort,
    Port,
    Pid,
    Comm,
    Cgroup,
    Container,
    Uid,
    Netns,
    Family,
    KeepAlive,
    Idle,
    Unacked,
    Memory,
}

const FIELDS: [(&str, Field); 17] = [
    ("state", Field::State),
    ("local.addr", Field::LocalAddr),
    ("local.port", Field::LocalPort),
    ("remote.addr", Field::RemoteAddr),
    ("remote.port", Field::RemotePort),
    ("port", Field::Port),
    ("pid", Field::Pid),
    ("comm", Field::Comm),
    ("cgroup", Field::Cgroup),
    ("container", Field::Container),
    ("uid", Field::Uid),
    ("netns", Field::Netns),
    ("family", Field::Family),
    ("keepalive", Field::KeepAlive),
    ("idle", Field::Idle),
    ("unacked", Field::Unacked),
    ("memory", Field::Memory),
];

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let known = FIELDS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((_, field)) => Ok(Self {
                field: *field,
                descending,
            }),
            None => {
                let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "expected one of {}, with - before it for the largest first",
                    names.join(", ")
                ))
            }
        }
    }
}

/// What is compared. Values of one field are all of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(u64),
    Address(IpAddr),
    Text(Box<[u8]>),
}

impl Order {
    /// What a connection is sorted by, if it is known.
    pub(super) fn key(self, view: &View<'_>) -> Option<Key> {
        self.field.of(view)
    }

    /// Whether the key is unknown where the owners are.
    pub(super) fn needs_owners(self) -> bool {
        matches!(
            self.field,
            Field::Pid | Field::Comm | Field::Cgroup | Field::Container
        )
    }

    /// Sorts; connections that are equal stay as they were swept.
    pub(super) fn sort(self, keyed: &mut [(Option<Key>, Connection)]) {
        keyed.sort_by(|(a, _), (b, _)| self.compare(a.as_ref(), b.as_ref()));
    }

    /// What is unknown comes last either way.
    fn compare(self, a: Option<&Key>, b: Option<&Key>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.descending => Reverse(a).cmp(&Reverse(b)),
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        }
    }
}

impl Field {
    fn of(self, view: &View<'_>) -> Option<Key> {
        let connection = view.connection;
        let (local, remote) = (connection.local, connection.remote);
        let number = |value: u64| Some(Key::Number(value));
        let text = |bytes: &[u8]| Key::Text(bytes.into());
        match self {
            Self::State => number(u64::from(connection.state as u8)),
            Self::LocalAddr => Some(Key::Address(local.ip())),
            Self::RemoteAddr => Some(Key::Address(remote.ip())),
            Self::LocalPort => number(local.port().into()),
            Self::RemotePort => number(remote.port().into()),
            // The one that the service is known by.
            Self::Port => number(local.port().min(remote.port()).into()),
            Self::Pid => view
                .owners
                .first()
                .map(|owner| Key::Number(owner.pid.into())),
            Self::Comm => view.owners.first().map(|owner| text(owner.comm.as_bytes())),
            Self::Cgroup => view.cgroup.map(|path| text(path.as_bytes())),
            Self::Container => view.container().map(|id| text(id.as_bytes())),
            Self::Uid => number(connection.uid.into()),
            Self::Netns => number(connection.netns),
            Self::Family => number(connection.family() as u64),
            Self::KeepAlive => connection
                .keepalive
                .map(|keepalive| Key::Number(keepalive.enabled.into())),
            Self::Idle => connection.last_heard_ms.map(Key::Number),
            Self::Unacked => connection.unacked_bytes.map(Key::Number),
            Self::Memory => number(connection.memory_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minus_means_the_largest_first_and_unknown_is_last_either_way() {
        let (one, two) = (Key::Number(1), Key::Number(2));
        let order = |text: &str| text.parse::<Order>().unwrap();
        let sorted = |order: Order| {
            let mut keys = [None, Some(&two), Some(&one)];
            keys.sort_by(|a, b| order.compare(*a, *b));
            keys
        };
        assert_eq!(sorted(order("idle")), [Some(&one), Some(&two), None]);
        assert_eq!(sorted(order("-idle")), [Some(&two), Some(&one), None]);
        assert!("-age".parse::<Order>().unwrap_err().contains("remote.addr"));
    }

    #[test]
    fn every_field_of_the_filter_language_sorts() {
        for (name, _) in FIELDS {
            assert!(name.parse::<Order>().is_ok(), "{name}");
        }
    }
}
