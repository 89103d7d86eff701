//! What a check says of which peer, one verdict a test.

use crate::program::Program;
use crate::world::{
    A, B, B6, CLEAN, QUICK, cable, check, check_all_states, check_hosts, open, open_one,
    open_one_v6, prove, routed,
};
use rustix::net::sockopt;
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::{Outcome, Verdict};
use tcpalive_lab::connections::{self, Options, Pair};
use tcpalive_lab::{Host, faults};
use tcpalive_liveness::CheckOptions;

/// Probes as they pass a host's output: whatever carries no more than a byte.
const NO_DATA: &str = "ip protocol tcp ip length < 54";

#[track_caller]
fn assert_answered(verdict: &Verdict) {
    assert_eq!(verdict.outcome, Outcome::Alive, "{verdict:#?}");
    assert_eq!(
        (verdict.probes, verdict.answered),
        (1, true),
        "{verdict:#?}"
    );
    assert_eq!(verdict.reason, "it answered a probe");
    let rtt_us = verdict.rtt_us.expect("an answer has a round-trip time");
    assert!((1..500_000).contains(&rtt_us), "{verdict:#?}");
    // Heard since the probe went out, give or take a tick.
    assert!(
        verdict.last_heard_ms.unwrap() <= verdict.waited_ms + 10,
        "{verdict:#?}"
    );
}

/// The best of some tries is what this program needs; the rest is the
/// machine's.
fn assert_prompt(host: &Host, count: usize, within: Duration) {
    let mut waited_ms = Vec::new();
    for _ in 0..5 {
        let verdicts = check(host, CheckOptions::default());
        assert_eq!(verdicts.count(Outcome::Alive), count);
        assert_eq!(verdicts.probes, count as u64, "one probe each");
        let slowest = verdicts
            .by_addresses
            .values()
            .map(|verdict| verdict.waited_ms);
        waited_ms.push(slowest.max().unwrap());
        if u128::from(*waited_ms.last().unwrap()) < within.as_millis() {
            return;
        }
        sleep(Duration::from_millis(600));
    }
    panic!("within {within:?}? It took {waited_ms:?} ms");
}

#[test]
fn a_peer_that_answers_is_alive_at_once() {
    let world = cable("alive");
    let _pair = open_one(&world.a, &world.b);
    assert_answered(check(&world.b, CheckOptions::default()).only());
    sleep(Duration::from_millis(600));
    assert_prompt(&world.b, 1, Duration::from_millis(500));
}

#[test]
fn a_thousand_peers_that_answer_are_alive_at_once() {
    let world = cable("thousand");
    let _pairs = open(&world.a, &world.b, 3333, 1000);
    assert_prompt(&world.b, 1000, Duration::from_millis(900));
}

#[test]
fn a_cut_cable_is_death() {
    let world = cable("cut");
    let _pairs = open(&world.a, &world.b, 3333, 5);
    faults::cut(&world.a, B).unwrap();
    let verdicts = check(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(3)),
            ..CheckOptions::default()
        },
    );
    verdicts.all(Outcome::Dead, "silent to ");
    for verdict in verdicts.by_addresses.values() {
        assert!(verdict.probes >= 3);
        assert_eq!((verdict.answered, verdict.rtt_us), (false, None));
        assert!(verdict.waited_ms >= 3000, "{verdict:#?}");
        assert!(verdict.last_heard_ms.unwrap() >= 3000, "{verdict:#?}");
    }
}

#[test]
fn a_peer_heard_within_the_minute_is_given_15_seconds() {
    let world = cable("recent");
    let _pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let verdicts = check(&world.b, CheckOptions::default());
    verdicts.all(Outcome::Dead, "silent to ");
    assert!(verdicts.only().waited_ms >= 15_000, "{verdicts:#?}");
}

#[test]
fn a_peer_that_vanished_behind_a_router_is_dead_and_others_are_not() {
    let world = routed("vanished");
    let dead = open(&world.a, &world.b, 3333, 20);
    let living = open(&world.c, &world.b, 3334, 20);
    faults::cut_forward(&world.router, A).unwrap();
    world.a.remove().unwrap();
    let verdicts = check(&world.b, QUICK);
    assert!(
        dead.iter()
            .all(|pair| verdicts.of(pair).outcome == Outcome::Dead),
        "{verdicts:#?}"
    );
    assert!(
        living
            .iter()
            .all(|pair| verdicts.of(pair).outcome == Outcome::Alive),
        "{verdicts:#?}"
    );
}

/// Lets a host forget all its connections, and waits for its carrier.
fn reboot(host: &Host) {
    host.reboot().unwrap();
    sleep(Duration::from_millis(300));
}

#[test]
fn a_peer_that_was_rebooted_is_gone() {
    let world = cable("reboot");
    let mut pair = open_one(&world.a, &world.b);
    reboot(&world.a);
    let verdicts = check(&world.b, QUICK);
    verdicts.all(Outcome::Gone, "answered with a reset");
    assert!(
        verdicts.only().answered && verdicts.only().rtt_us.is_some(),
        "{verdicts:#?}"
    );
    assert_eq!(
        pair.server.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn a_reset_is_to_the_program_what_it_is_after_the_kernels_own_probe() {
    let world = cable("resets");
    let mut probed = open_one(&world.a, &world.b);
    let mut own = open(&world.a, &world.b, 3334, 1).remove(0);
    reboot(&world.a);
    check(&world.b, QUICK);
    sockopt::set_tcp_keepidle(&own.server, Duration::from_secs(1)).unwrap();
    sockopt::set_socket_keepalive(&own.server, true).unwrap();
    let mut outcomes = [&mut probed, &mut own].map(|pair| {
        let error = pair.server.read(&mut [0]).unwrap_err();
        // Once more: the error is told once, then it is the end.
        (error.raw_os_error(), pair.server.read(&mut [0]).ok())
    });
    outcomes.sort_unstable();
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_peer_whose_program_is_stopped_is_alive() {
    let world = cable("sigstop");
    let listener = world.b.run(|| TcpListener::bind((B, 3333)).unwrap());
    let client = Program::start(
        &world.a,
        &format!("s = socket.create_connection(('{B}', 3333))\nsay('ready')\nhear()"),
    );
    let _server = listener.accept().unwrap();
    client.signal(Signal::STOP);
    assert_answered(check(&world.b, QUICK).only());
}

/// Writes until nothing more fits anywhere: the peer does not read.
fn fill(pair: &mut Pair) {
    pair.server.set_nonblocking(true).unwrap();
    let block = [0; 1 << 16];
    let mut idle = 0;
    while idle < 5 {
        match pair.server.write(&block) {
            Ok(written) => {
                assert_ne!(written, 0);
                idle = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                idle += 1;
                sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn a_peer_that_does_not_read_is_stalled_and_never_probed() {
    let world = cable("hangs");
    let mut pair = open_one(&world.a, &world.b);
    fill(&mut pair);
    let probes = faults::count(
        &world.a,
        faults::Hook::Input,
        "tcp sport 3333 tcp flags == ack",
    )
    .unwrap();
    // At once, while the first window probe is still to come or just went.
    let verdicts = check(&world.b, QUICK);
    verdicts.all(Outcome::Stalled, "wait for the peer's window");
    assert_eq!(
        (verdicts.only().probes, verdicts.only().answered),
        (0, false)
    );
    assert_eq!(verdicts.probes, 0);
    // The persist timer's own probes, one or two in this time.
    assert!(probes.packets().unwrap() <= 6);
}

#[test]
fn a_peer_that_answers_window_probes_and_does_not_read_is_stalled_and_said_to_answer() {
    let world = cable("persist");
    let mut pair = open_one(&world.a, &world.b);
    fill(&mut pair);
    sleep(Duration::from_secs(1));
    let verdicts = check(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(4)),
            ..QUICK
        },
    );
    verdicts.all(
        Outcome::Stalled,
        "its kernel answers window probes, so its program does not read",
    );
    assert_eq!(verdicts.only().probes, 0);
}

#[test]
fn a_peer_that_reads_again_during_the_check_is_alive() {
    let world = cable("reads");
    let mut pair = open_one(&world.a, &world.b);
    fill(&mut pair);
    let verdicts = std::thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(900));
            let mut block = vec![0; 1 << 20];
            let patience = Some(Duration::from_secs(1));
            pair.client.set_read_timeout(patience).unwrap();
            while pair.client.read(&mut block).is_ok() {}
        });
        check(
            &world.b,
            CheckOptions {
                window: Some(Duration::from_secs(12)),
                ..QUICK
            },
        )
    });
    verdicts.all(Outcome::Alive, "");
}

#[test]
fn data_in_flight_when_the_cable_was_cut_is_stalled_and_never_probed() {
    let world = cable("inflight");
    let mut pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    pair.server.write_all(&[7; 1000]).unwrap();
    let probes = faults::count(&world.b, faults::Hook::Output, NO_DATA).unwrap();
    sleep(Duration::from_millis(700));
    let verdicts = check(&world.b, QUICK);
    verdicts.all(Outcome::Stalled, "1000 bytes in flight, retransmitted");
    verdicts.all(Outcome::Stalled, "the kernel gives up in about 15 min");
    assert_eq!(verdicts.only().probes, 0);
    assert_eq!(probes.packets().unwrap(), 0);
}

#[test]
fn a_user_timeout_is_when_the_kernel_gives_up() {
    let world = cable("usertimeout");
    let mut pair = open_one(&world.a, &world.b);
    sockopt::set_tcp_user_timeout(&pair.server, 60_000).unwrap();
    faults::cut(&world.a, B).unwrap();
    pair.server.write_all(&[7; 1000]).unwrap();
    sleep(Duration::from_millis(700));
    check(&world.b, QUICK).all(Outcome::Stalled, "the kernel gives up in about 5");
}

#[test]
fn a_farewell_in_flight_is_stalled_in_every_closing_state() {
    let world = cable("closing");
    let pairs = open(&world.a, &world.b, 3333, 2);
    // One closes first, the other after its peer.
    pairs[1].client.shutdown(Shutdown::Write).unwrap();
    sleep(Duration::from_millis(50));
    faults::cut(&world.a, B).unwrap();
    for pair in &pairs {
        pair.server.shutdown(Shutdown::Write).unwrap();
    }
    let verdicts = check_all_states(&world.b, QUICK);
    assert_eq!(verdicts.by_addresses.len(), 2);
    verdicts.all(Outcome::Stalled, "1 bytes in flight");
    assert_eq!(verdicts.probes, 0);
}

#[test]
fn sockets_without_a_peer_are_unprovable() {
    let world = cable("nopeer");
    let _listener = world.b.run(|| TcpListener::bind((B, 4444)).unwrap());
    // Only here the end that closes first is on B.
    let ends = connections::open(&world.a, &world.b, "10.9.1.2:3333", 1, &Options::default())
        .unwrap()
        .remove(0);
    drop(ends.server);
    sleep(Duration::from_millis(50));
    drop(ends.client);
    faults::cut(&world.a, B).unwrap();
    let _knocking = Program::start(
        &world.b,
        &format!(
            "s = socket.socket()\ns.setblocking(False)\ns.connect_ex(('{A}', 5))\nsay('ready')\nhear()"
        ),
    );
    let verdicts = check_all_states(&world.b, QUICK);
    verdicts.all(Outcome::Unprovable, "");
    let mut reasons: Vec<_> = verdicts
        .by_addresses
        .values()
        .map(|verdict| &*verdict.reason)
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "a listening socket has no peer",
            "the connection has ended; the kernel keeps the address for a minute",
            "the connection is not established: the peer has not answered the SYN",
        ]
    );
    assert_eq!(verdicts.probes, 0);
}

#[test]
fn half_closed_connections_are_probed_and_answer_on_both_sides() {
    let world = cable("halfclosed");
    let pairs = open(&world.a, &world.b, 3333, 2);
    // B is in FIN_WAIT2 on the one, in CLOSE_WAIT on the other.
    pairs[0].server.shutdown(Shutdown::Write).unwrap();
    pairs[1].client.shutdown(Shutdown::Write).unwrap();
    sleep(Duration::from_millis(100));
    let verdicts = check_all_states(&world.b, QUICK);
    assert_eq!(verdicts.by_addresses.len(), 2);
    verdicts.by_addresses.values().for_each(assert_answered);
    faults::cut(&world.a, B).unwrap();
    let verdicts = check_all_states(&world.b, QUICK);
    assert_eq!(verdicts.count(Outcome::Dead), 2, "{verdicts:#?}");
}

#[test]
fn what_nobody_holds_any_more_is_unprovable() {
    let world = cable("orphan");
    let Pair {
        client: _client,
        server,
    } = connections::open(&world.a, &world.b, "10.9.1.2:3333", 1, &Options::default())
        .unwrap()
        .remove(0);
    drop(server);
    sleep(Duration::from_millis(100));
    check_all_states(&world.b, QUICK).all(Outcome::Unprovable, "");
}

#[test]
fn without_timestamps_peers_are_proven_alive_and_dead_all_the_same() {
    let world = cable("notimestamps");
    world.a.sysctl("net.ipv4.tcp_timestamps", "0").unwrap();
    let _pair = open_one(&world.a, &world.b);
    assert_answered(check(&world.b, QUICK).only());
    faults::cut(&world.a, B).unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}

#[test]
fn an_ipv6_peer_is_proven_alive_and_dead() {
    let world = cable("ipv6");
    let _pair = open_one_v6(&world.a, &world.b);
    assert_answered(check(&world.b, QUICK).only());
    faults::cut(&world.a, B6).unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}

#[test]
fn an_ipv6_peer_that_was_rebooted_is_gone() {
    let world = cable("reboot6");
    let mut pair = open_one_v6(&world.a, &world.b);
    reboot(&world.a);
    check(&world.b, QUICK).all(Outcome::Gone, "answered with a reset");
    assert_eq!(
        pair.server.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn a_reset_from_a_firewall_on_the_way_is_gone_too() {
    let world = routed("reject");
    let mut pair = open_one(&world.a, &world.b);
    faults::reject_with_reset(&world.router, A).unwrap();
    check(&world.b, QUICK).all(Outcome::Gone, "reset");
    assert_eq!(
        pair.server.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn the_clients_side_can_be_checked_as_well_as_the_servers() {
    let world = cable("client");
    let _pair = open_one(&world.a, &world.b);
    assert_answered(check(&world.a, QUICK).only());
    faults::cut(&world.b, A).unwrap();
    check(&world.a, QUICK).all(Outcome::Dead, "silent to ");
}

#[test]
fn both_ends_can_be_checked_at_once_in_their_two_namespaces() {
    let world = cable("bothends");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    let verdicts = check_hosts(&[&world.a, &world.b], QUICK);
    assert_eq!(verdicts.by_addresses.len(), 6);
    assert_eq!(verdicts.count(Outcome::Alive), 6, "{verdicts:#?}");
}

#[test]
fn what_was_proven_dead_knows_its_namespace() {
    let world = routed("whichns");
    let _one = open_one(&world.a, &world.b);
    let _other = connections::open(&world.a, &world.c, "10.9.1.3:3333", 1, &CLEAN).unwrap();
    faults::cut_forward(&world.router, A).unwrap();
    let verdicts = check_hosts(&[&world.b, &world.c], QUICK);
    assert_eq!(verdicts.count(Outcome::Dead), 2, "{verdicts:#?}");
    let done = prove(&world.c, QUICK);
    assert_eq!(done.checked.dead.len(), 1);
    assert_eq!(done.checked.dead[0].connection.netns, world.c.netns_inode());
}
