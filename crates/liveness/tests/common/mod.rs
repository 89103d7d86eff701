//! What the tests share: a check of one host's connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use tcpalive_connections::{Connection, Outcome, Selection, State, Verdict};
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;
use tcpalive_lab::Host;
use tcpalive_liveness::{Check, CheckOptions, Checked, Observer};

/// Collects verdicts by the connection's addresses.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) by_addresses: HashMap<(SocketAddr, SocketAddr), Verdict>,
}

impl Observer for Verdicts {
    fn verdict(&mut self, connection: &Connection, verdict: &Verdict) {
        let known = self.by_addresses.insert((connection.local, connection.remote), verdict.clone());
        assert!(known.is_none(), "two verdicts on {connection:?}");
    }
}

impl Verdicts {
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.by_addresses.values().filter(|verdict| verdict.outcome == outcome).count()
    }

    /// The verdict, when there is just one.
    pub(crate) fn only(&self) -> &Verdict {
        assert_eq!(self.by_addresses.len(), 1, "{self:#?}");
        self.by_addresses.values().next().unwrap()
    }
}

/// Checks the established connections of a host.
pub(crate) fn check(host: &Host, options: CheckOptions) -> Verdicts {
    check_with(host, options, |connection| connection.state == State::Established).0
}

/// Checks connections of a host, and keeps what a reap needs.
pub(crate) fn check_with(
    host: &Host,
    options: CheckOptions,
    accept: impl FnMut(&Connection) -> bool,
) -> (Verdicts, Checked, BpfSweeper, Vec<Namespace>) {
    let mut sweeper = BpfSweeper::open().expect("tests need root and BPF");
    let namespaces = vec![Namespace::at(&host.netns_path()).unwrap()];
    let mut verdicts = Verdicts::default();
    let stop = AtomicBool::new(false);
    let check = Check { sweeper: &mut sweeper, namespaces: &namespaces, options, stop: &stop, keep_dead: true };
    let checked = check.run(&Selection::ALL, accept, &mut verdicts).unwrap();
    assert_eq!(checked.undecided, 0);
    (verdicts, checked, sweeper, namespaces)
}
