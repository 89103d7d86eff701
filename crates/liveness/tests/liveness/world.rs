//! The hosts of a test, and checks of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tcpalive_connections::{Connection, Outcome, Selection, State, Verdict};
use tcpalive_kernel::destroy::Method;
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;
use tcpalive_lab::connections::{self, Options, Pair};
use tcpalive_lab::{Host, Lab};
use tcpalive_liveness::check::Progress;
use tcpalive_liveness::journal::Journal;
use tcpalive_liveness::reap::ReapError;
use tcpalive_liveness::{Check, CheckOptions, Checked, Fate, Observer, Reap};

/// Addresses in both worlds. A and C are the peers, B is checked.
pub(crate) const A: &str = "10.9.1.1";
pub(crate) const A6: &str = "fd09:1::1";
pub(crate) const B: &str = "10.9.1.2";
pub(crate) const B6: &str = "fd09:1::2";
pub(crate) const C: &str = "10.9.1.3";

/// Every socket of the tests' closes with a reset, and leaves nothing behind.
pub(crate) const CLEAN: Options<'static> = Options {
    source: None,
    reset_on_close: true,
    prepare_client: None,
    prepare_listener: None,
};

/// A and B, joined by a cable.
pub(crate) struct Cable {
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) lab: Lab,
}

/// A, B and C at a router.
pub(crate) struct Routed {
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) c: Host,
    pub(crate) router: Host,
    pub(crate) _lab: Lab,
}

pub(crate) fn cable(label: &str) -> Cable {
    let lab = Lab::new(label).expect("these tests need root");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(
        &a,
        "10.9.1.1/24 fd09:1::1/64 fe80::a/64",
        &b,
        "10.9.1.2/24 fd09:1::2/64 fe80::b/64",
    )
    .unwrap();
    Cable { a, b, lab }
}

pub(crate) fn routed(label: &str) -> Routed {
    let lab = Lab::new(label).expect("these tests need root");
    let (a, b, c) = (
        lab.host("a").unwrap(),
        lab.host("b").unwrap(),
        lab.host("c").unwrap(),
    );
    let router = lab.router("r").unwrap();
    lab.uplink(&a, "10.9.1.1 fd09:1::1", &router).unwrap();
    lab.uplink(&b, "10.9.1.2 fd09:1::2", &router).unwrap();
    lab.uplink(&c, "10.9.1.3 fd09:1::3", &router).unwrap();
    Routed {
        a,
        b,
        c,
        router,
        _lab: lab,
    }
}

/// Connections from `client` to B's `port`.
pub(crate) fn open(client: &Host, server: &Host, port: u16, count: usize) -> Vec<Pair> {
    connections::open(client, server, &format!("{B}:{port}"), count, &CLEAN).unwrap()
}

/// One connection from `client` to B.
pub(crate) fn open_one(client: &Host, server: &Host) -> Pair {
    open(client, server, 3333, 1).remove(0)
}

/// One connection over IPv6.
pub(crate) fn open_one_v6(client: &Host, server: &Host) -> Pair {
    connections::open(client, server, &format!("[{B6}]:3333"), 1, &CLEAN)
        .unwrap()
        .remove(0)
}

/// As fast as a verdict can be: three probes, 1.5 s, whenever the peer was
/// heard last.
pub(crate) const QUICK: CheckOptions = CheckOptions {
    probes: 3,
    interval: Duration::from_millis(500),
    window: Some(Duration::ZERO),
    rate: 100_000,
    timeout: Duration::from_secs(20),
    error: 1e-6,
    trust_silence: false,
};

/// Collects verdicts by the connection's addresses, and says when
/// probes are out.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) by_addresses: HashMap<(SocketAddr, SocketAddr), Verdict>,
    pub(crate) probes: u64,
    /// Who is told when so many probes are out.
    probing: Option<(u64, Sender<()>)>,
}

impl Observer for Verdicts {
    fn verdict(&mut self, connection: &Connection, verdict: &Verdict) {
        let known = self
            .by_addresses
            .insert((connection.local, connection.remote), verdict.clone());
        assert!(known.is_none(), "two verdicts on {connection:?}");
    }

    fn progress(&mut self, progress: Progress) {
        self.probes = progress.probes;
        if let Some((_, probing)) = self.probing.take_if(|(count, _)| progress.probes >= *count) {
            probing.send(()).unwrap();
        }
    }
}

impl Verdicts {
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.by_addresses
            .values()
            .filter(|verdict| verdict.outcome == outcome)
            .count()
    }

    /// The verdict, when there is just one.
    pub(crate) fn only(&self) -> &Verdict {
        assert_eq!(self.by_addresses.len(), 1, "{self:#?}");
        self.by_addresses.values().next().unwrap()
    }

    /// The verdict on the connection whose server end is in this process.
    pub(crate) fn of(&self, pair: &Pair) -> &Verdict {
        &self.by_addresses[&(
            pair.server.local_addr().unwrap(),
            pair.server.peer_addr().unwrap(),
        )]
    }

    /// Asserts that all of them are `outcome`, for a reason that says `why`.
    #[track_caller]
    pub(crate) fn all(&self, outcome: Outcome, why: &str) {
        assert!(!self.by_addresses.is_empty());
        for verdict in self.by_addresses.values() {
            assert!(
                verdict.outcome == outcome && verdict.reason.contains(why),
                "{verdict:#?}"
            );
        }
    }
}

/// A check that is over, with all that a reap needs.
pub(crate) struct Done {
    pub(crate) verdicts: Verdicts,
    pub(crate) checked: Checked,
    sweeper: BpfSweeper,
    namespaces: Vec<Namespace>,
}

impl Done {
    /// Destroys what was proven dead; the fates are by the peer's address.
    pub(crate) fn reap(&mut self, method: Method, journal: &Path) -> HashMap<SocketAddr, Fate> {
        self.try_reap(method, &mut Journal::open(journal).unwrap())
            .unwrap()
    }

    /// The same with a journal that may not work.
    pub(crate) fn try_reap(
        &mut self,
        method: Method,
        journal: &mut Journal,
    ) -> Result<HashMap<SocketAddr, Fate>, ReapError> {
        let mut fates = HashMap::new();
        let dead: Vec<_> = self.checked.dead.iter().collect();
        let reap = Reap {
            sweeper: &mut self.sweeper,
            namespaces: &self.namespaces,
            checked: &self.checked,
            method,
            journal,
            stop: &std::sync::atomic::AtomicBool::new(false),
        };
        reap.run(&dead, &|_| Vec::new(), &mut |dead, fate| {
            let known = fates.insert(dead.connection.remote, fate);
            assert!(known.is_none(), "two fates of {:?}", dead.connection);
        })?;
        Ok(fates)
    }
}

/// Checks the established connections of a host.
pub(crate) fn check(host: &Host, options: CheckOptions) -> Verdicts {
    check_those(&[host], options, is_established, None).verdicts
}

/// Checks the established connections of a host, and keeps what a reap needs.
pub(crate) fn prove(host: &Host, options: CheckOptions) -> Done {
    check_those(&[host], options, is_established, None)
}

/// Checks sockets of a host in whatever state they are, and keeps what a reap needs.
pub(crate) fn prove_all_states(host: &Host, options: CheckOptions) -> Done {
    check_those(&[host], options, |_| true, None)
}

/// Checks sockets of a host in whatever state they are.
pub(crate) fn check_all_states(host: &Host, options: CheckOptions) -> Verdicts {
    check_those(&[host], options, |_| true, None).verdicts
}

/// Checks the established connections of a host, and lets something happen
/// as soon as the first probe is out.
pub(crate) fn check_while(host: &Host, options: CheckOptions, event: impl FnOnce() + Send) -> Done {
    check_after(host, options, 1, event)
}

/// The same as soon as so many probes are out.
pub(crate) fn check_after(
    host: &Host,
    options: CheckOptions,
    probes: u64,
    event: impl FnOnce() + Send,
) -> Done {
    let (probing, is_probing) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            is_probing.recv().expect("probes are sent");
            event();
        });
        check_those(&[host], options, is_established, Some((probes, probing)))
    })
}

/// Checks the established connections of several hosts at once.
pub(crate) fn check_hosts(hosts: &[&Host], options: CheckOptions) -> Verdicts {
    check_those(hosts, options, is_established, None).verdicts
}

fn is_established(connection: &Connection) -> bool {
    connection.state == State::Established
}

fn check_those(
    hosts: &[&Host],
    options: CheckOptions,
    accept: impl FnMut(&Connection) -> bool,
    probing: Option<(u64, Sender<()>)>,
) -> Done {
    let mut sweeper = BpfSweeper::open().expect("these tests need root and BPF");
    let namespaces: Vec<_> = hosts
        .iter()
        .map(|host| Namespace::at(&host.netns_path()).unwrap())
        .collect();
    let mut verdicts = Verdicts {
        probing,
        ..Verdicts::default()
    };
    let stop = AtomicBool::new(false);
    let check = Check {
        sweeper: &mut sweeper,
        namespaces: &namespaces,
        options,
        stop: &stop,
        keep_dead: true,
    };
    let checked = check.run(&Selection::ALL, accept, &mut verdicts).unwrap();
    verdicts.probing = None;
    assert_eq!(checked.undecided, 0);
    assert_eq!(checked.selected, verdicts.by_addresses.len());
    assert_eq!(checked.dead.len(), verdicts.count(Outcome::Dead));
    Done {
        verdicts,
        checked,
        sweeper,
        namespaces,
    }
}
