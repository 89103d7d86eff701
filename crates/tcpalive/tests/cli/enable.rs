//! `enable` and `disable` on open connections: what they set, when the first
//! probe comes, and what they leave alone.

use crate::{Ended, connect, list, tcpalive, two_hosts};
use serde_json::{Value, json};
use socket2::SockRef;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use tcpalive_lab::connections::{self, Options};
use tcpalive_lab::{Host, faults};

const PATIENCE: Duration = Duration::from_secs(30);

/// A command in the host's namespace, with `--json`.
pub(crate) fn on(host: &Host, command: &str, arguments: &[&str]) -> Ended {
    let first = [command, "--json", "--netns", host.netns_name()];
    tcpalive(&[&first[..], arguments].concat())
}

/// The objects of a command that came to its end.
pub(crate) fn done(host: &Host, command: &str, arguments: &[&str]) -> Vec<Value> {
    let ended = on(host, command, arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.objects()
}

/// What the program sees: on, idle and interval in seconds, count, user timeout in ms.
pub(crate) fn options(stream: &TcpStream) -> (bool, u64, u64, u32, u128) {
    let socket = SockRef::from(stream);
    (
        socket.keepalive().unwrap(),
        socket.tcp_keepalive_time().unwrap().as_secs(),
        socket.tcp_keepalive_interval().unwrap().as_secs(),
        socket.tcp_keepalive_retries().unwrap(),
        socket
            .tcp_user_timeout()
            .unwrap()
            .unwrap_or_default()
            .as_millis(),
    )
}

pub(crate) const UNTOUCHED: (bool, u64, u64, u32, u128) = (false, 7200, 75, 9, 0);

/// Keep-alive probes that the host's kernel has sent.
fn probes_sent(host: &Host) -> u64 {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap());
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "TCPKeepAlive");
    let value = values.split(' ').nth(at.expect("the kernel counts them"));
    value.unwrap().parse().unwrap()
}

/// Asks until it is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn only(host: &Host) -> Value {
    let mut found = list(host, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn skipped(object: &Value) -> &str {
    assert_eq!(object["type"], "skipped", "{object}");
    assert!(!object["reason"].as_str().unwrap().is_empty());
    object["result"].as_str().unwrap()
}

#[test]
fn selected_connections_get_the_values_and_all_others_keep_theirs() {
    let (_lab, a, b) = two_hosts("enable");
    let pairs = connect(&a, &b, 3);
    let port = pairs[1].client.local_addr().unwrap().port();
    let values = ["--idle", "60s", "--interval", "10s", "--count", "5"];
    let filter = format!("remote.port = {port}");
    let objects = done(&b, "enable", &[&[filter.as_str()][..], &values].concat());
    assert_eq!(objects.len(), 1);
    let changed = &objects[0];
    assert_eq!(changed["type"], "changed");
    assert_eq!(changed["netns"], b.netns_inode());
    assert_eq!(
        changed["before"],
        json!({"enabled": false, "idle_s": 7200, "interval_s": 75, "count": 9, "from": "sysctl", "user_timeout_ms": 0})
    );
    assert_eq!(
        changed["after"],
        json!({"enabled": true, "idle_s": 60, "interval_s": 10, "count": 5, "from": "socket", "user_timeout_ms": 0})
    );
    assert_eq!(options(&pairs[1].server), (true, 60, 10, 5, 0));
    for other in [
        &pairs[0].server,
        &pairs[0].client,
        &pairs[1].client,
        &pairs[2].server,
        &pairs[2].client,
    ] {
        assert_eq!(options(other), UNTOUCHED);
    }

    let again = on(&b, "enable", &[&[filter.as_str()][..], &values].concat());
    assert_eq!(again.summary()["unchanged"], 1, "{again:?}");
    assert!(again.objects().is_empty());

    let off = done(&b, "disable", &[&filter]);
    assert_eq!(off[0]["after"]["enabled"], false);
    assert_eq!(options(&pairs[1].server), (false, 60, 10, 5, 0));
}

#[test]
fn without_values_connections_go_on_following_the_sysctls() {
    let (_lab, a, b) = two_hosts("follow");
    let pairs = connect(&a, &b, 1);
    let objects = done(&b, "enable", &[]);
    assert_eq!(objects[0]["after"]["from"], "sysctl");
    assert_eq!(objects[0]["after"]["enabled"], true);
    b.sysctl("net.ipv4.tcp_keepalive_time", "1234").unwrap();
    assert_eq!(options(&pairs[0].server), (true, 1234, 75, 9, 0));
}

#[test]
fn the_first_probe_of_an_idle_connection_comes_after_a_whole_idle_time() {
    for keepalive_was_on in [false, true] {
        let (_lab, a, b) = two_hosts("order");
        let pairs = connect(&a, &b, 1);
        let server = SockRef::from(&pairs[0].server);
        server.set_keepalive(keepalive_was_on).unwrap();
        wait_until("idle for 2.5 s", || {
            only(&b)["last_heard_ms"].as_u64().unwrap() >= 2500
        });
        let begin = Instant::now();
        let objects = done(
            &b,
            "enable",
            &["--idle", "2s", "--interval", "1s", "--count", "9"],
        );
        assert_eq!(objects.len(), 1);
        wait_until("a probe", || probes_sent(&b) > 0);
        // Timers are never early; TCP_KEEPIDLE on a socket that is on sends one at once.
        assert!(
            begin.elapsed() >= Duration::from_secs(2),
            "was on: {keepalive_was_on}"
        );
        wait_until("an answer", || only(&b)["probes_out"] == 0);
        assert_eq!(options(&pairs[0].server), (true, 2, 1, 9, 0));
    }
}

#[test]
fn a_count_that_unanswered_probes_have_reached_is_refused_and_the_connection_lives() {
    let (_lab, a, b) = two_hosts("unanswered");
    let mut pairs = connect(&a, &b, 1);
    let params = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1))
        .with_retries(100);
    SockRef::from(&pairs[0].server)
        .set_tcp_keepalive(&params)
        .unwrap();
    let cable = faults::cut(&a, "10.9.1.2").unwrap();
    wait_until("three unanswered probes", || {
        only(&b)["probes_out"].as_u64().unwrap() >= 3
    });
    for refused in [
        &["--count", "3"][..],
        &["--count", "2", "--idle", "1m"],
        &["--user-timeout", "1h"],
    ] {
        let objects = done(&b, "enable", refused);
        assert_eq!(skipped(&objects[0]), "unanswered-probes", "{refused:?}");
        assert_eq!(options(&pairs[0].server), (true, 1, 1, 100, 0));
    }
    // Off keeps the number of unanswered probes, and on would end it then.
    done(&b, "disable", &[]);
    let objects = done(&b, "enable", &["--count", "3"]);
    assert_eq!(skipped(&objects[0]), "unanswered-probes");
    assert_eq!(options(&pairs[0].server), (false, 1, 1, 100, 0));
    let more = done(&b, "enable", &["--count", "120"]);
    assert_eq!(more[0]["type"], "changed");

    cable.undo().unwrap();
    wait_until("an answer", || only(&b)["probes_out"] == 0);
    done(&b, "enable", &["--count", "3"]);
    pairs[0].server.write_all(b"it lives").unwrap();
    assert_eq!(options(&pairs[0].server), (true, 1, 1, 3, 0));
}

#[test]
fn a_user_timeout_is_refused_where_it_may_be_over_already() {
    let (_lab, a, b) = two_hosts("usertimeout");
    let values = ["--idle", "1s", "--interval", "1s", "--user-timeout", "5s"];

    let mut pairs = connect(&a, &b, 1);
    let cable = faults::cut(&a, "10.9.1.2").unwrap();
    pairs[0].server.write_all(b"lost").unwrap();
    wait_until("a retransmission", || {
        only(&b)["retransmits"].as_u64().unwrap() > 0
    });
    let objects = done(&b, "enable", &values);
    assert_eq!(skipped(&objects[0]), "retransmitting");
    assert_eq!(options(&pairs[0].server), UNTOUCHED);
    cable.undo().unwrap();
    wait_until("progress", || only(&b)["unacked_bytes"] == 0);

    // One lost answer must not be the end (RFC 9293, MUST-29).
    let short = ["--idle", "3s", "--interval", "2s", "--user-timeout", "5s"];
    let objects = done(&b, "enable", &short);
    assert_eq!(skipped(&objects[0]), "dangerous-values");
    let objects = done(&b, "enable", &values);
    assert_eq!(objects[0]["after"]["user_timeout_ms"], 5000);
    assert_eq!(options(&pairs[0].server), (true, 1, 1, 9, 5000));
    drop(pairs);

    let mut pairs = connect(&a, &b, 1);
    pairs[0].server.set_nonblocking(true).unwrap();
    let block = [0; 1 << 16];
    wait_until("a closed window", || {
        while pairs[0].server.write(&block).is_ok() {}
        let found = only(&b);
        found["unacked_bytes"] == 0 && found["unsent_bytes"].as_u64().unwrap() > 0
    });
    let objects = done(&b, "enable", &values);
    assert_eq!(skipped(&objects[0]), "window-closed");
    assert_eq!(options(&pairs[0].server), UNTOUCHED);
}

#[test]
fn sysctls_that_end_living_connections_are_not_put_in_force() {
    let (_lab, a, b) = two_hosts("dangerous");
    let pairs = connect(&a, &b, 1);
    b.sysctl("net.ipv4.tcp_keepalive_probes", "0").unwrap();
    let objects = done(&b, "enable", &["--idle", "1m"]);
    assert_eq!(skipped(&objects[0]), "dangerous-values");
    assert!(!options(&pairs[0].server).0);
    let objects = done(&b, "enable", &["--count", "3"]);
    assert_eq!(objects[0]["type"], "changed");
}

#[test]
fn a_listener_hands_its_values_to_those_it_accepts() {
    let (_lab, a, b) = two_hosts("listener");
    let listener = b.run(|| std::net::TcpListener::bind("10.9.1.2:3334").unwrap());
    let before = a.run(|| TcpStream::connect("10.9.1.2:3334").unwrap());
    let (first, _) = listener.accept().unwrap();
    let values = ["--idle", "2m", "--interval", "15s", "--count", "4"];
    let listening = ["--state", "listen", "--port", "3334"];
    let objects = done(&b, "enable", &[&listening[..], &values].concat());
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["state"], "listen");
    let after = a.run(|| TcpStream::connect("10.9.1.2:3334").unwrap());
    let (second, _) = listener.accept().unwrap();
    assert_eq!(options(&first), UNTOUCHED);
    assert_eq!(options(&second), (true, 120, 15, 4, 0));
    drop((before, after));
}

#[test]
fn a_socket_that_nobody_holds_keeps_the_timer_that_ends_it() {
    let (_lab, a, b) = two_hosts("orphan");
    // Up to 60 s the kernel keeps such a socket as TIME-WAIT.
    b.sysctl("net.ipv4.tcp_fin_timeout", "90").unwrap();
    let pairs = connect(&a, &b, 1);
    let connections::Pair { client, server } = pairs.into_iter().next().unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    drop(server);
    wait_until("FIN-WAIT-2", || {
        !list(&b, &["state = fin-wait-2"]).is_empty()
    });
    for command in ["enable", "disable"] {
        let objects = done(&b, command, &["state = fin-wait-2"]);
        if command == "enable" {
            assert_eq!(skipped(&objects[0]), "no-owner");
        } else {
            assert!(objects.is_empty(), "it is off: {objects:?}");
        }
    }
    drop(client);
}

#[test]
fn a_dry_run_changes_nothing() {
    let (_lab, a, b) = two_hosts("dryrun");
    let pairs = connect(&a, &b, 2);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("undo");
    let file = file.to_str().unwrap();
    let arguments = ["--idle", "1m", "--dry-run", "--undo-file", file];
    let ended = on(&b, "enable", &arguments);
    assert_eq!((ended.code, ended.objects().len()), (0, 2), "{ended:?}");
    assert!(ended.objects().iter().all(|it| it["dry_run"] == true));
    assert_eq!(ended.summary()["undo_file"], Value::Null);
    assert!(pairs.iter().all(|it| options(&it.server) == UNTOUCHED));
    assert!(!std::path::Path::new(file).exists());

    let people = tcpalive(&["enable", "--netns", b.netns_name(), "--dry-run"]);
    assert!(people.stdout.contains("nothing was changed"), "{people:?}");
    assert!(people.stdout.contains("off 7200/75/9 by sysctl → on"));
}

#[test]
fn two_namespaces_are_changed_at_once() {
    let (_lab, a, b) = two_hosts("both");
    let pairs = connect(&a, &b, 2);
    let filter = format!("netns in ({}, {})", a.netns_inode(), b.netns_inode());
    let ended = tcpalive(&["enable", "--json", &filter, "--idle", "1m"]);
    assert_eq!((ended.code, ended.objects().len()), (0, 4), "{ended:?}");
    for pair in &pairs {
        assert_eq!(options(&pair.client), (true, 60, 75, 9, 0));
        assert_eq!(options(&pair.server), (true, 60, 75, 9, 0));
    }
}

#[test]
fn many_connections_are_changed_in_one_go() {
    let (_lab, a, b) = two_hosts("many");
    let options_of = Options {
        reset_on_close: true,
        ..Options::default()
    };
    let pairs = connections::open(&a, &b, "10.9.1.2:3333", 6000, &options_of).unwrap();
    let objects = done(&b, "enable", &["--idle", "1m", "--count", "4"]);
    assert_eq!(objects.len(), 6000);
    assert!(
        pairs
            .iter()
            .all(|it| options(&it.server) == (true, 60, 75, 4, 0))
    );
    assert!(pairs.iter().all(|it| options(&it.client) == UNTOUCHED));
}

#[test]
fn what_a_socket_does_not_take_is_wrong_usage() {
    for bad in [
        ["--idle", "0s"],
        ["--idle", "32768s"],
        ["--interval", "1500ms"],
        ["--count", "128"],
        ["--user-timeout", "30"],
    ] {
        let ended = tcpalive(&["enable", "--netns", "current", "--dry-run", bad[0], bad[1]]);
        assert_eq!(ended.code, 2, "{bad:?}: {ended:?}");
        assert!(ended.stderr.contains(bad[0]), "{ended:?}");
    }
}

#[test]
fn without_bpf_descriptors_of_the_holders_are_used() {
    let (_lab, a, b) = two_hosts("descriptors");
    let pairs = connect(&a, &b, 2);
    let netlink = ["--backend", "netlink"];
    let port = pairs[0].client.local_addr().unwrap().port();
    let filter = format!("remote.port = {port}");
    SockRef::from(&pairs[0].server).set_keepalive(true).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("undo");
    let file = file.to_str().unwrap();
    let values = ["--idle", "60s", "--interval", "10s", "--count", "5"];
    let more = [&filter, "--user-timeout", "5m", "--undo-file", file];
    let arguments = [&netlink[..], &values, &more].concat();
    let objects = done(&b, "enable", &arguments);
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["before"]["from"], "sysctl");
    assert_eq!(options(&pairs[0].server), (true, 60, 10, 5, 300_000));
    assert_eq!(options(&pairs[1].server), UNTOUCHED);

    let undone = tcpalive(&[&["undo", "--json", file][..], &netlink].concat());
    assert_eq!(undone.summary()["changed"], 1, "{undone:?}");
    assert_eq!(options(&pairs[0].server), (true, 7200, 75, 9, 0));
}

#[test]
fn without_bpf_unanswered_probes_and_closed_windows_are_seen_too() {
    let (_lab, a, b) = two_hosts("guards");
    let netlink = ["--backend", "netlink"];
    let timeout = ["--user-timeout", "5s", "--idle", "1s", "--interval", "1s"];
    let mut pairs = connect(&a, &b, 1);
    pairs[0].server.set_nonblocking(true).unwrap();
    let block = [0; 1 << 16];
    wait_until("a closed window", || {
        while pairs[0].server.write(&block).is_ok() {}
        let found = only(&b);
        found["unacked_bytes"] == 0 && found["unsent_bytes"].as_u64().unwrap() > 0
    });
    let objects = done(&b, "enable", &[&netlink[..], &timeout].concat());
    // A probe of the window that is out just now is seen first.
    let why = skipped(&objects[0]);
    assert!(
        matches!(why, "window-closed" | "unanswered-probes"),
        "{why}"
    );
    assert_eq!(options(&pairs[0].server), UNTOUCHED);
    drop(pairs);

    let pairs = connect(&a, &b, 1);
    let params = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1))
        .with_retries(100);
    SockRef::from(&pairs[0].server)
        .set_tcp_keepalive(&params)
        .unwrap();
    let cable = faults::cut(&a, "10.9.1.2").unwrap();
    wait_until("two unanswered probes", || {
        only(&b)["probes_out"].as_u64().unwrap() >= 2
    });
    let objects = done(&b, "enable", &[&netlink[..], &["--count", "2"]].concat());
    assert_eq!(skipped(&objects[0]), "unanswered-probes");
    assert_eq!(options(&pairs[0].server), (true, 1, 1, 100, 0));
    cable.undo().unwrap();
}
