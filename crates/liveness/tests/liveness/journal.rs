//! What a reap leaves on disk, also one that is killed.

use crate::conversation::Conversation;
use crate::world::{A, QUICK, Routed, cable, open, prove, routed};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tcpalive_connections::{Connection, Outcome, Selection, State, Verdict};
use tcpalive_kernel::destroy::Method;
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;
use tcpalive_lab::connections::Pair;
use tcpalive_lab::{Fault, faults};
use tcpalive_liveness::journal::Journal;
use tcpalive_liveness::{Check, Fate, Observer, Reap};

/// The journal's lines, each of them whole.
fn lines(journal: &Path) -> Vec<Value> {
    let text = fs::read_to_string(journal).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn every_destroyed_connection_is_announced_before_its_result() {
    let world = cable("announced");
    let pairs = open(&world.a, &world.b, 3333, 30);
    faults::cut(&world.a, "10.9.1.2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("reap.jsonl");
    let mut done = prove(&world.b, QUICK);
    done.verdicts.all(Outcome::Dead, "silent to ");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let fates = done.reap(Method::Bpf, &journal);
    assert_eq!(fates.len(), pairs.len());
    let lines = lines(&journal);
    assert_eq!(lines.len(), 2 * pairs.len());
    for dead in &done.checked.dead {
        let of_it: Vec<_> = lines
            .iter()
            .filter(|line| line["cookie"] == dead.connection.cookie)
            .collect();
        let [announced, result] = of_it[..] else {
            panic!("{of_it:?}")
        };
        assert_eq!(
            (&announced["type"], &result["type"]),
            (&"destroying".into(), &"result".into())
        );
        assert_eq!(result["result"], "destroyed");
        for line in of_it {
            assert_eq!(line["netns"], world.b.netns_inode());
            assert!((line["at"].as_f64().unwrap() - now).abs() < 10.0);
        }
        assert_eq!(announced["local"], dead.connection.local.to_string());
        assert_eq!(announced["remote"], dead.connection.remote.to_string());
        assert_eq!(announced["state"], "established");
        assert!(announced["probes"].as_u64().unwrap() >= 3);
        assert!(
            announced["reason"]
                .as_str()
                .unwrap()
                .starts_with("silent to ")
        );
    }
}

#[test]
fn a_second_reap_goes_on_where_the_journal_ends() {
    let world = cable("second");
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("reap.jsonl");
    for round in 1..=2 {
        let _pairs = open(&world.a, &world.b, 3333, 5);
        let cut = faults::cut(&world.a, "10.9.1.2").unwrap();
        let mut done = prove(&world.b, QUICK);
        done.verdicts.all(Outcome::Dead, "silent to ");
        assert_eq!(done.reap(Method::Bpf, &journal).len(), 5);
        cut.undo().unwrap();
        assert_eq!(lines(&journal).len(), round * 10);
    }
}

/// A reap that was killed in the middle of a line must not spoil the first
/// line of the next one.
#[test]
fn a_torn_last_line_stays_the_only_one() {
    let world = cable("torn");
    let _pairs = open(&world.a, &world.b, 3333, 2);
    faults::cut(&world.a, "10.9.1.2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("reap.jsonl");
    fs::write(
        &journal,
        "{\"type\":\"destroying\",\"cookie\":1}\n{\"type\":\"destr",
    )
    .unwrap();
    let mut done = prove(&world.b, QUICK);
    done.verdicts.all(Outcome::Dead, "silent to ");
    assert_eq!(done.reap(Method::Bpf, &journal).len(), 2);
    let text = fs::read_to_string(&journal).unwrap();
    let whole = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .count();
    assert_eq!(whole, 1 + 2 * 2, "{text}");
}

#[test]
fn nothing_is_destroyed_when_the_journal_cannot_be_written() {
    let world = cable("nojournal");
    let mut pairs = open(&world.a, &world.b, 3333, 2);
    faults::cut(&world.a, "10.9.1.2").unwrap();
    let mut done = prove(&world.b, QUICK);
    done.verdicts.all(Outcome::Dead, "silent to ");
    // Every write to it fails with ENOSPC.
    let mut journal = Journal::open(Path::new("/dev/full")).unwrap();
    let error = done.try_reap(Method::Bpf, &mut journal).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("writing the journal /dev/full"),
        "{error}"
    );
    for pair in &mut pairs {
        pair.server.set_nonblocking(true).unwrap();
        assert!(pair.server.take_error().unwrap().is_none());
        pair.server.write_all(b"x").unwrap();
    }
}

const NETNS: &str = "TCPALIVE_TEST_NETNS";
const JOURNAL: &str = "TCPALIVE_TEST_JOURNAL";
const METHOD: &str = "TCPALIVE_TEST_METHOD";
const SELF: &str = "journal::a_reap_by_bpf_that_is_killed_leaves_the_truth";

struct Silent;

impl Observer for Silent {
    fn verdict(&mut self, _: &Connection, _: &Verdict) {}
}

/// What is started, and killed: the test binary again, told by its
/// environment to reap.
fn reap_in_this_process() {
    let (netns, path) = (
        std::env::var_os(NETNS).unwrap(),
        std::env::var_os(JOURNAL).unwrap(),
    );
    let method = if std::env::var(METHOD).unwrap() == "bpf" {
        Method::Bpf
    } else {
        Method::SockDiag
    };
    let mut sweeper = BpfSweeper::open().unwrap();
    let namespaces = [Namespace::at(Path::new(&netns)).unwrap()];
    let stop = AtomicBool::new(false);
    let check = Check {
        sweeper: &mut sweeper,
        namespaces: &namespaces,
        options: QUICK,
        stop: &stop,
        keep_dead: true,
    };
    let is_established = |connection: &Connection| connection.state == State::Established;
    let checked = check
        .run(&Selection::ALL, is_established, &mut Silent)
        .unwrap();
    let mut journal = Journal::open(Path::new(&path)).unwrap();
    let dead: Vec<_> = checked.dead.iter().collect();
    println!("\nproven {}", dead.len());
    let reap = Reap {
        sweeper: &mut sweeper,
        namespaces: &namespaces,
        checked: &checked,
        method,
        journal: &mut journal,
        stop: &std::sync::atomic::AtomicBool::new(false),
    };
    reap.run(&dead, &|_| Vec::new(), &mut |_, fate| {
        assert!(matches!(fate, Fate::Destroyed));
    })
    .unwrap();
    println!("\nfinished");
}

/// When a reap is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// So long after it proved its dead, most likely before it did anything.
    Proven(Duration),
    /// As soon as the journal has grown.
    Journaled,
    /// As soon as one connection is destroyed.
    Destroying,
    /// Never: it finishes.
    Finished,
}

/// Runs a reap in a process of its own, and kills it.
fn reap_and_kill(world: &Routed, journal: &Path, method: &str, moment: Moment, ends: &[End]) {
    let before = fs::metadata(journal).map_or(0, |file| file.len());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", SELF, "--nocapture"])
        .env(NETNS, world.b.netns_path())
        .env(JOURNAL, journal)
        .env(METHOD, method)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(
        lines.by_ref().any(|line| line.starts_with("proven ")),
        "the child proves its dead"
    );
    match moment {
        Moment::Proven(after) => sleep(after),
        Moment::Journaled => {
            while fs::metadata(journal).map_or(0, |file| file.len()) == before {
                std::thread::yield_now();
            }
        }
        Moment::Destroying => {
            let mut ends: Vec<_> = ends
                .iter()
                .map(|(_, server)| PollFd::new(server, PollFlags::ERR))
                .collect();
            poll(&mut ends, None).unwrap();
        }
        Moment::Finished => assert!(lines.any(|line| line == "finished"), "the child finishes"),
    }
    // Nothing is left to be killed when it was faster.
    let _ = child.kill();
    child.wait().unwrap();
}

/// A server's end, and its addresses as the journal has them.
type End = (String, TcpStream);

/// Takes out those that were destroyed: their program has the error.
fn take_destroyed(ends: &mut Vec<End>) -> HashSet<String> {
    let mut destroyed = HashSet::new();
    ends.retain(|(name, server)| {
        let Some(error) = server.take_error().unwrap() else {
            return true;
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        destroyed.insert(name.clone());
        false
    });
    destroyed
}

fn a_killed_reap_leaves_the_truth(method: &str) {
    const EACH: usize = 750;
    let world = routed(&format!("kill{method}"));
    let talking = Conversation::start(open(&world.c, &world.b, 2000, 10));
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("reap.jsonl");
    let mut ends = Vec::new();
    let mut port = 3000;
    let mut total = 0;
    let mut cut = None;
    for moment in [
        Moment::Proven(Duration::ZERO),
        Moment::Proven(Duration::from_millis(10)),
        Moment::Journaled,
        Moment::Destroying,
        Moment::Destroying,
        Moment::Finished,
    ] {
        // Those that the last kill spared, and new ones.
        if let Some(cut) = cut.take() {
            Fault::undo(cut).unwrap();
        }
        let mut fresh = Vec::new();
        while ends.len() + fresh.len() < 2 * EACH {
            fresh.extend(open(&world.a, &world.b, port, EACH));
            port += 1;
            total += EACH;
        }
        cut = Some(faults::cut_forward(&world.router, A).unwrap());
        // The clients' ends are closed, and nobody hears of it.
        ends.extend(fresh.into_iter().map(|Pair { client, server }| {
            let name = format!(
                "{} {}",
                server.local_addr().unwrap(),
                client.local_addr().unwrap()
            );
            (name, server)
        }));
        reap_and_kill(&world, &journal, method, moment, &ends);
        let destroyed = take_destroyed(&mut ends);
        let announced = announced(&journal);
        println!(
            "{method}, {moment:?}: {} destroyed, {} left, {} announced so far",
            destroyed.len(),
            ends.len(),
            announced.len()
        );
        assert!(
            destroyed.is_subset(&announced),
            "{} without a word",
            destroyed.difference(&announced).count()
        );
        if !matches!(moment, Moment::Proven(_)) {
            assert!(!announced.is_empty());
        }
    }
    assert!(ends.is_empty());
    assert_eq!(announced(&journal).len(), total);
    assert!(talking.stop().1 > 20);
}

/// Connections that a journal says were about to be destroyed. Only
/// the last line of a killed reap may be torn.
fn announced(journal: &Path) -> HashSet<String> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["type"] == "destroying")
        .map(|line| {
            let address = |end: &str| line[end].as_str().unwrap().to_owned();
            format!("{} {}", address("local"), address("remote"))
        })
        .collect()
}

#[test]
fn a_reap_by_bpf_that_is_killed_leaves_the_truth() {
    if std::env::var_os(NETNS).is_some() {
        return reap_in_this_process();
    }
    a_killed_reap_leaves_the_truth("bpf");
}

#[test]
fn a_reap_by_sock_diag_that_is_killed_leaves_the_truth() {
    a_killed_reap_leaves_the_truth("sockdiag");
}
