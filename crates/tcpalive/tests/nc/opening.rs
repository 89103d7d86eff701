//! Connecting, listening and scanning.

use crate::{BOTH, Ended, Input, Whose, random, two_hosts};
use std::net::{SocketAddr, TcpListener};
use tcpalive_lab::Host;

/// What both say, without the program's name in front of errors.
fn both(host: &Host, arguments: &str) -> Ended {
    let [debians, ours] = BOTH.map(|whose| {
        let ended = whose.run(host, arguments, b"");
        Ended {
            stderr: ended
                .stderr
                .lines()
                .map(|line| {
                    let line = line.strip_prefix("nc.openbsd: ").unwrap_or(line);
                    line.strip_prefix("tcpalive: ").unwrap_or(line).to_owned() + "\n"
                })
                .collect(),
            ..ended
        }
    });
    assert_eq!(ours, debians, "{arguments}");
    ours
}

#[test]
fn a_scan_tells_open_ports_from_closed_ones() {
    let (_lab, a, b) = two_hosts("ncscan");
    let _open = [21, 23].map(|port| {
        let address = SocketAddr::from(([10, 9, 1, 2], port));
        b.run(|| TcpListener::bind(address)).unwrap()
    });
    let ended = both(&a, "-z -v 10.9.1.2 20-24 23");
    assert_eq!(ended.code, 0);
    assert!(
        ended
            .stderr
            .contains("Connection to 10.9.1.2 23 port [tcp/telnet] succeeded!\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.matches("Connection refused").count(), 3);
    assert_eq!(both(&a, "-nzv 10.9.1.2 22-21").code, 0);
    assert_eq!(both(&a, "-z 10.9.1.2 telnet").code, 0);
    assert_eq!(both(&a, "-z 10.9.1.2 24-30").code, 1);
}

#[test]
fn what_does_not_connect_is_said_with_v_and_exits_with_1() {
    let (_lab, a, _b) = two_hosts("ncrefused");
    for arguments in [
        "-v 10.9.1.2 3333",
        "10.9.1.2 3333",
        "-v fd09:1::2 3333",
        "-v 10.8.0.1 3333",
        "-6 -v ::1 1",
    ] {
        let ended = both(&a, arguments);
        assert_eq!(ended.code, 1, "{arguments}");
        assert_eq!(ended.stderr.is_empty(), !arguments.contains("-v"));
    }
}

#[test]
fn who_does_not_answer_is_given_up_after_the_wait() {
    let (_lab, a, b) = two_hosts("ncsilent");
    tcpalive_lab::faults::drop_port(&b, 3333).unwrap();
    let ended = both(&a, "-v -w 1 10.9.1.2 3333");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("timed out"), "{}", ended.stderr);
}

#[test]
fn every_form_of_listening_is_netcats_and_says_who_came() {
    let (_lab, a, b) = two_hosts("ncforms");
    for (listen, target, local, peer) in [
        ("3333", "10.9.1.2 3333", "0.0.0.0", "10.9.1.1"),
        ("-p 3333", "10.9.1.2 3333", "0.0.0.0", "10.9.1.1"),
        ("10.9.1.2 3333", "10.9.1.2 3333", "10.9.1.2", "10.9.1.1"),
        (
            "-s 10.9.1.2 -p 3333",
            "10.9.1.2 3333",
            "10.9.1.2",
            "10.9.1.1",
        ),
        ("-6 3333", "-6 fd09:1::2 3333", "::", "fd09:1::1"),
        ("fd09:1::2 3333", "fd09:1::2 3333", "fd09:1::2", "fd09:1::1"),
    ] {
        for whose in BOTH {
            let arguments = format!("-l -n -v {listen}");
            let listening = whose.listen(&b, 3333, &arguments, Input::Bytes(b"from b"));
            let connected = Whose::Ours.run(&a, &format!("-p 4444 -N {target}"), b"from a");
            let listened = listening.end();
            assert_eq!(
                (connected.code, listened.code),
                (0, 0),
                "{whose:?} {listen}"
            );
            assert_eq!(connected.stdout, b"from b", "{whose:?} {listen}");
            assert_eq!(listened.stdout, b"from a", "{whose:?} {listen}");
            let expected =
                format!("Listening on {local} 3333\nConnection received on {peer} 4444\n");
            assert_eq!(listened.stderr, expected, "{whose:?} {listen}");
        }
    }
}

#[test]
fn a_source_address_is_used() {
    let (_lab, a, b) = two_hosts("ncsource");
    a.ip("addr add 10.9.1.77/24 dev eth0").unwrap();
    for (whose, port) in BOTH.into_iter().zip([5555, 5556]) {
        let listening = Whose::Ours.listen(&b, 3333, "-l -v 3333", Input::Bytes(b""));
        let connected = whose.run(&a, &format!("-N -s 10.9.1.77 -p {port} 10.9.1.2 3333"), b"");
        assert_eq!(connected.code, 0, "{whose:?}");
        let said = listening.end().stderr;
        assert!(
            said.contains(&format!("received on 10.9.1.77 {port}\n")),
            "{said}"
        );
    }
    let ended = Whose::Ours.run(&a, "-s 10.9.1.99 10.9.1.2 3333", b"");
    assert_eq!(
        ended.code,
        Whose::Debians
            .run(&a, "-s 10.9.1.99 10.9.1.2 3333", b"")
            .code
    );
    assert!(
        ended.stderr.contains("binding to 10.9.1.99"),
        "{}",
        ended.stderr
    );
}

#[test]
fn one_client_after_the_other_is_served_with_k() {
    let (_lab, a, b) = two_hosts("nckeep");
    for server in BOTH {
        let mut listening = server.listen(&b, 3333, "-l -k 3333", Input::Open);
        let mut sent = Vec::new();
        for seed in 0..4 {
            let bytes = random(300_000, seed);
            // Debian's takes the next one only when this one is through.
            let connected = Whose::Ours.run(&a, "-N 10.9.1.2 3333", &bytes);
            assert_eq!(connected.code, 0, "{server:?}");
            sent.extend(bytes);
        }
        assert!(listening.is_running());
        assert!(listening.kill() == sent, "{server:?}");
    }
}

#[test]
fn several_ports_are_connected_to_in_turn() {
    let (_lab, a, b) = two_hosts("ncturn");
    for whose in BOTH {
        let first = Whose::Ours.listen(&b, 3331, "-l -N 3331", Input::Bytes(b"one "));
        let second = Whose::Ours.listen(&b, 3333, "-l -N 3333", Input::Bytes(b"two"));
        let ended = whose.run(&a, "-N 10.9.1.2 3331-3333", b"input");
        assert_eq!(
            (ended.code, &ended.stdout[..]),
            (0, &b"one two"[..]),
            "{whose:?}"
        );
        assert_eq!(first.end().stdout, b"input", "{whose:?}");
        assert_eq!(second.end().stdout, b"", "{whose:?}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_expected() {
    let (_lab, a, _b) = two_hosts("ncusage");
    for (arguments, expected) in [
        ("", "missing host and port"),
        ("10.9.1.2", "missing port number"),
        ("10.9.1.2 70000", "too large"),
        ("10.9.1.2 nosuch", "port number invalid"),
        ("-k 10.9.1.2 3333", "needs -l"),
        ("-l", "needs a port"),
        ("-l -p 1 2", "not both"),
        ("-l -z 3333", "use one of them"),
        ("-u 10.9.1.2 53", "TCP alone"),
        ("-lU /tmp/socket", "TCP alone"),
        ("-X 5 -x 10.9.1.1 10.9.1.2 53", "does not have"),
        ("-w soon 10.9.1.2 1", "seconds"),
        ("--json 10.9.1.2 1", "leave --json away"),
        ("--keepalive=0,1,1 10.9.1.2 1", "idle time must be"),
        (
            "--keepalive=600,1,2 --user-timeout 10.9.1.2 1",
            "no user timeout agrees",
        ),
        (
            "--no-keepalive --keepalive 10.9.1.2 1",
            "cannot be used with",
        ),
    ] {
        let ended = Whose::Ours.run(&a, arguments, b"");
        assert_eq!(ended.code, 2, "{arguments}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(expected),
            "{arguments}: {}",
            ended.stderr
        );
        assert_eq!(ended.stdout, b"", "{arguments}");
    }
}

#[test]
fn a_port_that_is_taken_and_a_name_that_is_none_exit_with_1() {
    let (_lab, _a, b) = two_hosts("nctaken");
    let taken = b.run(|| TcpListener::bind("10.9.1.2:3333")).unwrap();
    let ended = Whose::Ours.run(&b, "-l 3333", b"");
    drop(taken);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("Address already in use"),
        "{}",
        ended.stderr
    );
    let ended = Whose::Ours.run(&b, "-n nosuch 3333", b"");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("-n forbids"), "{}", ended.stderr);
}
