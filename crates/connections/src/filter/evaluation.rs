//! Whether a connection is what a filter describes.
//!
//! Three values, by Kleene: `Some(true)`, `Some(false)`, and `None` for what
//! cannot be known. Nothing here allocates.

use super::ast::{End, Expr, Number, Numbers, Test, Text, Texts};
use crate::{View, cgroup};

impl Expr {
    pub(super) fn evaluate(&self, view: &View<'_>) -> Option<bool> {
        match self {
            Self::All(terms) => fold(terms, view, false),
            Self::Any(terms) => fold(terms, view, true),
            Self::Not(inner) => inner.evaluate(view).map(|truth| !truth),
            Self::Test(test) => test.evaluate(view),
        }
    }
}

/// One term with the `decisive` value decides; else one that is unknown makes
/// the whole unknown; else the whole is the other value.
fn fold(terms: &[Expr], view: &View<'_>, decisive: bool) -> Option<bool> {
    let mut known = true;
    for term in terms {
        match term.evaluate(view) {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(!decisive)
}

impl Test {
    fn evaluate(&self, view: &View<'_>) -> Option<bool> {
        let connection = view.connection;
        match self {
            Self::State(states) => Some(states.contains(connection.state)),
            Self::Address(end, networks) => {
                let address = match end {
                    End::Local => connection.local.ip(),
                    End::Remote => connection.remote.ip(),
                };
                Some(networks.iter().any(|network| network.contains(address)))
            }
            Self::Number(number, numbers) => number.is_among(numbers, view),
            Self::Text(text, texts) => text.is_among(texts, view),
            Self::Family(families) => Some(families.contains(&connection.family())),
            Self::KeepAlive => connection.keepalive.map(|keepalive| keepalive.enabled),
        }
    }
}

impl Number {
    fn is_among(self, numbers: &Numbers, view: &View<'_>) -> Option<bool> {
        let connection = view.connection;
        let contains = |number| numbers.contains(number);
        let local = u64::from(connection.local.port());
        let remote = u64::from(connection.remote.port());
        match self {
            Self::LocalPort => Some(contains(local)),
            Self::RemotePort => Some(contains(remote)),
            Self::Port => Some(contains(local) || contains(remote)),
            Self::Pid => Some(
                view.owners
                    .iter()
                    .any(|owner| contains(u64::from(owner.pid))),
            ),
            Self::Uid => Some(contains(u64::from(connection.uid))),
            Self::Netns => Some(contains(connection.netns)),
            Self::Idle => connection.last_heard_ms.map(contains),
            Self::Unacked => connection.unacked_bytes.map(contains),
            Self::Memory => Some(contains(connection.memory_bytes)),
        }
    }
}

impl Text {
    fn is_among(self, texts: &Texts, view: &View<'_>) -> Option<bool> {
        match self {
            Self::Comm => Some(
                view.owners
                    .iter()
                    .any(|owner| texts.contains(owner.comm.as_bytes())),
            ),
            Self::Cgroup => view.cgroup.map(|path| texts.contains(path.as_bytes())),
            Self::Container => view.cgroup.map(|path| {
                texts.contains(cgroup::container_id(path).unwrap_or_default().as_bytes())
            }),
        }
    }
}
