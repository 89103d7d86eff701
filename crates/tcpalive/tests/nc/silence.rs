//! Peers that fall silent, and peers that merely do not read.

use crate::{Ended, Input, Whose, two_hosts, wait_for};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;
use tcpalive_lab::{Host, faults};

/// The keep-alive of the only established connection on a host, as `ls` sees it.
fn keepalive(host: &Host) -> Option<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_tcpalive"))
        .args(["ls", "--json", "--netns", host.netns_name()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut objects: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    objects.pop();
    assert!(objects.len() < 2, "{text}");
    Some(objects.pop()?["keepalive"].take())
}

fn wait_for_keepalive(host: &Host) -> Value {
    let mut found = None;
    wait_for(|| {
        found = keepalive(host);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn keepalive_is_on_as_asked_at_both_ends() {
    let (_lab, a, b) = two_hosts("ncon");
    let listening = Whose::Ours.listen(&b, 3333, "-l --keepalive=10,20,5 3333", Input::Open);
    let mut connected = Whose::Ours.start(&a, "-N 10.9.1.2 3333", Input::Open);
    let (at_a, at_b) = (wait_for_keepalive(&a), wait_for_keepalive(&b));
    for (found, idle, interval) in [(&at_a, 60, 10), (&at_b, 10, 20)] {
        assert_eq!(found["enabled"], true, "{found}");
        assert_eq!(found["idle_s"], idle, "{found}");
        assert_eq!(found["interval_s"], interval, "{found}");
        assert_eq!(found["count"], 5, "{found}");
    }
    drop(connected.stdin.take());
    assert_eq!((listening.end().code, connected.end().code), (0, 0));
}

#[test]
fn keepalive_is_left_off_when_told() {
    let (_lab, a, b) = two_hosts("ncoff");
    let listening = Whose::Ours.listen(&b, 3333, "-l --no-keepalive 3333", Input::Open);
    let mut connected = Whose::Ours.start(&a, "-N --no-keepalive 10.9.1.2 3333", Input::Open);
    for host in [&a, &b] {
        assert_eq!(wait_for_keepalive(host)["enabled"], false);
    }
    drop(connected.stdin.take());
    assert_eq!((listening.end().code, connected.end().code), (0, 0));
}

fn assert_died(ended: &Ended, said: &str) {
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.stderr, format!("tcpalive: {said}\n"));
}

#[test]
fn a_cut_cable_is_found_by_probes_at_either_end() {
    let (_lab, a, b) = two_hosts("nccut");
    let listening = Whose::Ours.listen(&b, 3333, "-l --keepalive=1,1,2 3333", Input::Open);
    let connected = Whose::Ours.start(
        &a,
        "--keepalive=1,1,3 --user-timeout 10.9.1.2 3333",
        Input::Open,
    );
    wait_for_keepalive(&a);
    wait_for_keepalive(&b);
    faults::cut(&a, "10.9.1.2").unwrap();
    assert_died(&listening.end(), "timed out: 2 probes unanswered");
    assert_died(&connected.end(), "timed out: 3 probes unanswered");
}

#[test]
fn what_arrived_before_the_cut_is_not_lost_and_the_input_at_its_end_changes_nothing() {
    let (_lab, a, b) = two_hosts("nccutend");
    let listening = Whose::Ours.listen(&b, 3333, "-l --keepalive=1,1,2 3333", Input::Bytes(b"b"));
    let mut connected = Whose::Ours.start(&a, "--no-keepalive 10.9.1.2 3333", Input::Open);
    connected
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"kept")
        .unwrap();
    wait_for_keepalive(&b);
    wait_for(|| unread(&a) == 0 && unread(&b) == 0);
    faults::cut(&a, "10.9.1.2").unwrap();
    let ended = listening.end();
    assert_eq!(ended.stdout, b"kept");
    assert_died(&ended, "timed out: 2 probes unanswered");
    connected.kill();
}

/// Bytes that a host's connections have not passed on yet, either way.
fn unread(host: &Host) -> u64 {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
    let queues = text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(3);
        (words.next()? == "01").then(|| words.next())?
    });
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let sums = queues.map(|queue| {
        let (transmit, receive) = queue.split_once(':').unwrap();
        number(transmit) + number(receive)
    });
    sums.sum()
}

#[test]
fn data_that_nobody_acknowledges_end_it_by_the_user_timeout() {
    let (_lab, a, b) = two_hosts("ncdata");
    // Lost on the way, and dropped before they leave.
    for (host, peer) in [(&b, "10.9.1.1"), (&a, "10.9.1.2")] {
        let listening = Whose::Ours.listen(&b, 3333, "-l --keepalive=1,1,2 3333", Input::Open);
        let arguments = "--user-timeout=2s 10.9.1.2 3333";
        let mut connected = Whose::Ours.start(&a, arguments, Input::Open);
        wait_for_keepalive(&a);
        let cable = faults::cut(host, peer).unwrap();
        connected.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        let ended = connected.end();
        assert_eq!(ended.code, 1, "{ended:?}");
        let said = "tcpalive: timed out: data unacknowledged for ";
        let seconds = ended.stderr.strip_prefix(said).expect(&ended.stderr);
        // The timer fires at retransmissions, whose distances double.
        let seconds = seconds.trim_end().strip_suffix('s').unwrap();
        let seconds: u64 = seconds.parse().unwrap();
        assert!((2..=10).contains(&seconds), "{}", ended.stderr);
        assert_eq!(listening.end().code, 1);
        cable.undo().unwrap();
    }
}

/// A user timeout, and a pause of the peer that is four times as long.
const TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(8);

#[test]
fn a_living_peer_that_does_not_read_is_not_harmed_by_the_user_timeout() {
    let (_lab, a, b) = two_hosts("ncpause");
    let listener = b
        .run(|| TcpListener::bind(SocketAddr::from(([10, 9, 1, 2], 3333))))
        .unwrap();
    let bytes = crate::random(32 << 20, 9);
    let arguments = "-N --user-timeout=2s 10.9.1.2 3333";
    let mut netcat = Whose::Ours.start(&a, arguments, Input::Bytes(&bytes));
    let (mut peer, _) = listener.accept().unwrap();

    // The same without a guard: the kernel ends it, so the pause is one that harms.
    let mut unguarded = a.run(|| TcpStream::connect("10.9.1.2:3333")).unwrap();
    let (_unread, _) = listener.accept().unwrap();
    let socket = socket2::SockRef::from(&unguarded);
    socket.set_tcp_user_timeout(Some(TIMEOUT)).unwrap();

    thread::sleep(PAUSE);
    let error = loop {
        // Fills the window first: nothing was sent until now.
        if let Err(error) = unguarded.write_all(&bytes) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);

    assert!(netcat.is_running());
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert!(got == bytes);
    drop(peer);
    let ended = netcat.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn a_peer_that_dies_with_its_window_closed_is_found_too() {
    let (_lab, a, b) = two_hosts("ncclosed");
    b.sysctl("net.ipv4.tcp_rmem", "4096 8192 8192").unwrap();
    // The persist timer gives up after so many probes; fifteen take minutes.
    a.sysctl("net.ipv4.tcp_retries2", "3").unwrap();
    let listener = b
        .run(|| TcpListener::bind(SocketAddr::from(([10, 9, 1, 2], 3333))))
        .unwrap();
    let bytes = crate::random(4 << 20, 10);
    let netcat = Whose::Ours.start(&a, "10.9.1.2 3333", Input::Bytes(&bytes));
    let (_peer, _) = listener.accept().unwrap();
    wait_for(|| unread(&b) > 0);
    faults::cut(&a, "10.9.1.2").unwrap();
    let ended = netcat.end();
    assert_eq!(ended.code, 1, "{ended:?}");
    let said = "tcpalive: timed out: data unacknowledged for ";
    assert!(ended.stderr.starts_with(said), "{}", ended.stderr);
}
