//! `ls`: what is listed, and how it is selected.

use crate::{PROGRAM, connect, list, local, peers, remote, tcpalive, two_hosts};
use rustix::net::sockopt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[test]
fn a_known_connection_has_all_that_the_contract_says() {
    let (_lab, a, b) = two_hosts("known");
    let mut pairs = connect(&a, &b, 1);
    let pair = &mut pairs[0];
    pair.client.write_all(b"hello").unwrap();
    pair.server.read_exact(&mut [0; 5]).unwrap();
    let found = list(&b, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let one = &found[0];
    let inode = rustix::fs::fstat(&pair.server).unwrap().st_ino;
    let cookie = sockopt::socket_cookie(&pair.server).unwrap();
    let client = pair.client.local_addr().unwrap();
    for (key, value) in [
        ("type", json!("connection")),
        ("netns", json!(b.netns_inode())),
        ("family", json!("ipv4")),
        ("local", json!("10.9.1.2:3333")),
        ("remote", json!(client.to_string())),
        ("state", json!("established")),
        ("cookie", json!(cookie)),
        ("uid", json!(0)),
        ("inode", json!(inode)),
        ("probes_out", json!(0)),
        ("unacked_bytes", json!(0)),
        ("unsent_bytes", json!(0)),
        ("retransmits", json!(0)),
    ] {
        assert_eq!(one[key], value, "{key} of {one}");
    }
    let owned =
        one["owners"].as_array().unwrap().iter().any(|owner| {
            owner["pid"] == std::process::id() && owner["fd"] == pair.server.as_raw_fd()
        });
    assert!(owned, "{one}");
    assert!(one["owners"][0]["comm"].is_string());
    assert!(one["cgroup"].as_str().unwrap().starts_with('/'), "{one}");
    for age in [
        "last_heard_ms",
        "last_ack_ms",
        "last_data_in_ms",
        "last_data_out_ms",
    ] {
        assert!(one[age].as_u64().unwrap() < 60_000, "{age} of {one}");
    }
    let heard = one["last_heard_ms"].as_u64();
    assert_eq!(
        heard,
        one["last_ack_ms"]
            .as_u64()
            .min(one["last_data_in_ms"].as_u64())
    );
    // A TCP socket is not smaller on any kernel.
    assert!(one["memory_bytes"].as_u64().unwrap() > 1024, "{one}");
}

#[test]
fn filters_and_flags_select() {
    let (_lab, a, b) = two_hosts("filters");
    let quiet = connect(&a, &b, 2);
    let mut other = tcpalive_lab::connections::open(
        &a,
        &b,
        "10.9.1.2:4444",
        1,
        &tcpalive_lab::connections::Options::default(),
    )
    .unwrap();
    sockopt::set_socket_keepalive(&quiet[0].server, true).unwrap();

    let with = quiet[0].client.local_addr().unwrap();
    let without = quiet[1].client.local_addr().unwrap();
    let talking = other[0].client.local_addr().unwrap();
    let mut silent = vec![with, without];
    silent.sort();
    let mut all = vec![with, without, talking];
    all.sort();
    let own = std::process::id().to_string();
    for (arguments, expected) in [
        (&[][..], &all),
        (&["local.port = 3333"], &silent),
        (&["--port", "3333"], &silent),
        (&["--port", "1,4444-4450"], &vec![talking]),
        (&["keepalive"], &vec![with]),
        (&["local.port = 3333 and not keepalive"], &vec![without]),
        (&["idle > 1h"], &vec![]),
        (&["--pid", &own], &all),
        (&["--pid", "1"], &vec![]),
        (&["--no-owner", &format!("pid = {own}")], &all),
        (
            &["remote.addr in 10.9.1.0/30 and port in (4444)"],
            &vec![talking],
        ),
        (&["state = listen"], &vec![]),
        (&["--state", "close-wait,established"], &all),
        (&["family = ipv6"], &vec![]),
    ] {
        assert_eq!(peers(&list(&b, arguments)), *expected, "{arguments:?}");
    }
    std::thread::sleep(Duration::from_millis(1500));
    for (filter, expected) in [
        ("idle >= 1500ms", &silent),
        ("idle < 1500ms", &vec![talking]),
    ] {
        other[0].client.write_all(b"x").unwrap();
        other[0].server.read_exact(&mut [0]).unwrap();
        assert_eq!(peers(&list(&b, &[filter])), *expected, "{filter}");
    }
}

#[test]
fn ipv4_over_a_dual_stack_socket_is_ipv4() {
    let (_lab, a, b) = two_hosts("mapped");
    let listener = b.run(|| TcpListener::bind("[::]:3333").unwrap());
    let _client = a.run(|| TcpStream::connect("10.9.1.2:3333").unwrap());
    let _six = a.run(|| TcpStream::connect("[fd09:1::2]:3333").unwrap());
    let _accepted = [listener.accept().unwrap(), listener.accept().unwrap()];
    let found = list(&b, &["--sort", "family"]);
    let shown: Vec<(&Value, String)> = found
        .iter()
        .map(|object| (&object["family"], local(object).to_string()))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("ipv4"), "10.9.1.2:3333".to_owned()),
            (&json!("ipv6"), "[fd09:1::2]:3333".to_owned()),
        ]
    );
    assert_eq!(list(&b, &["local.addr = 10.9.1.2"]).len(), 1);
    assert_eq!(list(&b, &["family = ipv4"]).len(), 1);
}

#[test]
fn listeners_and_time_wait_are_listed_when_they_are_asked_for() {
    let (_lab, a, b) = two_hosts("states");
    let listener = b.run(|| TcpListener::bind("10.9.1.2:3333").unwrap());
    let client = a.run(|| TcpStream::connect("10.9.1.2:3333").unwrap());
    let (server, peer) = listener.accept().unwrap();
    // Who closes first waits.
    drop(client);
    drop(server);
    let waiting = loop {
        let found = list(&a, &["--state", "all"]);
        if let [one] = &found[..]
            && one["state"] == "time-wait"
        {
            break one.clone();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(local(&waiting), peer);
    assert_eq!(waiting["owners"], json!([]));
    assert_eq!(waiting["keepalive"], Value::Null);
    assert_eq!(waiting["last_heard_ms"], Value::Null);
    assert_eq!(waiting["inode"], 0);
    assert_eq!(list(&a, &[]).len(), 0);

    let listening = list(&b, &["--state", "listen"]);
    assert_eq!(listening.len(), 1);
    assert_eq!(listening[0]["remote"], "0.0.0.0:0");
    assert_eq!(listening[0]["last_heard_ms"], Value::Null);
    assert_eq!(listening[0]["keepalive"]["enabled"], false);
}

/// A process that does nothing but hold a socket, as its standard input.
struct Holder(Child);

impl Holder {
    fn of(socket: &impl AsFd) -> Self {
        let socket: OwnedFd = socket.as_fd().try_clone_to_owned().unwrap();
        let child = Command::new("sleep")
            .arg("1000")
            .stdin(socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let holder = Self(child.unwrap());
        while !holder.is_asleep() {
            std::thread::yield_now();
        }
        holder
    }

    /// Whether it has loaded all that it needs: until then it opens files.
    fn is_asleep(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        stat.unwrap().contains(" (sleep) S ")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn every_process_that_shares_a_socket_is_an_owner() {
    let (_lab, a, b) = two_hosts("shared");
    let pairs = connect(&a, &b, 1);
    let holder = Holder::of(&pairs[0].server);
    for backend in ["bpf", "netlink"] {
        let found = list(&b, &["--backend", backend]);
        let owners = found[0]["owners"].as_array().unwrap();
        let holds = |pid: u32, fd: i32| {
            owners
                .iter()
                .any(|owner| owner["pid"] == pid && owner["fd"] == fd)
        };
        assert!(
            holds(std::process::id(), pairs[0].server.as_raw_fd()),
            "{owners:?}"
        );
        assert!(holds(holder.0.id(), 0), "{owners:?}");
        let sleeping = owners.iter().find(|owner| owner["pid"] == holder.0.id());
        assert_eq!(sleeping.unwrap()["comm"], "sleep");
    }
    assert_eq!(list(&b, &["comm = sleep"]).len(), 1);
    assert_eq!(list(&b, &["--no-owner"])[0]["owners"], json!([]));
}

#[test]
fn keepalive_values_are_the_sockets_own_or_its_namespaces() {
    let (_lab, a, b) = two_hosts("values");
    for (key, value) in [("time", "1234"), ("intvl", "56"), ("probes", "7")] {
        b.sysctl(&format!("net.ipv4.tcp_keepalive_{key}"), value)
            .unwrap();
    }
    let pairs = connect(&a, &b, 3);
    let seconds = Duration::from_secs;
    let (own, mixed) = (&pairs[0].server, &pairs[1].server);
    sockopt::set_socket_keepalive(own, true).unwrap();
    sockopt::set_tcp_keepidle(own, seconds(30)).unwrap();
    sockopt::set_tcp_keepintvl(own, seconds(5)).unwrap();
    sockopt::set_tcp_keepcnt(own, 3).unwrap();
    sockopt::set_tcp_user_timeout(own, 45_000).unwrap();
    sockopt::set_tcp_keepidle(mixed, seconds(60)).unwrap();
    let found = list(&b, &[]);
    let keepalive = |index: usize| {
        let peer = pairs[index].client.local_addr().unwrap();
        let object = found.iter().find(|object| remote(object) == peer);
        object.unwrap()["keepalive"].clone()
    };
    let expected = |enabled: bool, values: [u32; 3], from: &str, user_timeout: u32| {
        json!({"enabled": enabled, "idle_s": values[0], "interval_s": values[1],
               "count": values[2], "from": from, "user_timeout_ms": user_timeout})
    };
    assert_eq!(keepalive(0), expected(true, [30, 5, 3], "socket", 45_000));
    assert_eq!(keepalive(1), expected(false, [60, 56, 7], "socket", 0));
    assert_eq!(keepalive(2), expected(false, [1234, 56, 7], "sysctl", 0));
    // Another namespace, other values.
    assert_eq!(list(&a, &[])[0]["keepalive"]["idle_s"], 7200);
}

#[test]
fn sorting_goes_either_way() {
    let (_lab, a, b) = two_hosts("sorted");
    let pairs = connect(&a, &b, 20);
    let ports = |order: &str| -> Vec<u16> {
        let found = list(&b, &["--sort", order]);
        found.iter().map(|object| remote(object).port()).collect()
    };
    let mut expected: Vec<u16> = pairs
        .iter()
        .map(|pair| pair.client.local_addr().unwrap().port())
        .collect();
    expected.sort_unstable();
    assert_eq!(ports("remote.port"), expected);
    expected.reverse();
    assert_eq!(ports("-remote.port"), expected);
}

#[test]
fn the_summary_points_out_a_process_near_its_limit_of_descriptors() {
    let (_lab, a, b) = two_hosts("limit");
    let pairs = connect(&a, &b, 1);
    let holder = Holder::of(&pairs[0].server);
    let pid = holder.0.id().to_string();
    // Whatever it inherited from the test's surroundings.
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={open}:64")])
        .status();
    assert!(limited.unwrap().success());

    let ended = tcpalive(&["ls", "--summary", "--json", "--netns", b.netns_name()]);
    assert_eq!(ended.objects(), Vec::<Value>::new());
    let summary = ended.summary();
    let process = |pid: u32| {
        let processes = summary["processes"].as_array().unwrap();
        processes
            .iter()
            .find(|it| it["pid"] == pid)
            .unwrap()
            .clone()
    };
    let near = process(holder.0.id());
    assert_eq!(
        [
            &near["fds"],
            &near["fds_open"],
            &near["fds_limit"],
            &near["near_limit"]
        ],
        [&json!(1), &json!(open), &json!(open), &json!(true)]
    );
    assert_eq!(process(std::process::id())["near_limit"], false);
    assert_eq!(summary["connections"], 1);
    assert_eq!(summary["networks"][0]["network"], "10.9.1.0/24");

    let ended = tcpalive(&["ls", "--summary", "--netns", b.netns_name()]);
    let warning = format!("sleep[{pid}]: {open} of {open} descriptors");
    assert!(ended.stdout.contains(&warning), "{}", ended.stdout);
}

#[test]
fn the_table_is_for_people_and_fits_in_100_columns() {
    let (_lab, a, b) = two_hosts("table");
    let _pairs = connect(&a, &b, 3);
    let output = Command::new(PROGRAM)
        .args(["ls", "--netns", b.netns_name()])
        .env("COLUMNS", "100")
        .output();
    let ended: crate::Ended = output.unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.starts_with("STATE"), "{}", ended.stdout);
    assert!(ended.stdout.contains("10.9.1.2:3333"));
    assert!(
        ended.stdout.contains("3 connections: keep-alive off 3"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.lines().all(|line| line.chars().count() <= 100));
    assert!(!ended.stdout.contains('\x1b'));
    let colour = tcpalive(&["ls", "--color", "always", "--netns", b.netns_name()]);
    assert!(colour.stdout.contains('\x1b'));
}

#[test]
fn watching_goes_on_until_interrupted() {
    let (_lab, a, b) = two_hosts("watch");
    let _pairs = connect(&a, &b, 1);
    let mut child = Command::new(PROGRAM)
        .args([
            "ls",
            "--json",
            "--watch",
            "100ms",
            "--netns",
            b.netns_name(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kinds = (&mut lines).take(6).map(|line| {
        let object: Value = serde_json::from_str(&line.unwrap()).unwrap();
        object["type"].as_str().unwrap().to_owned()
    });
    for _ in 0..3 {
        assert_eq!(kinds.next().unwrap(), "connection");
        assert_eq!(kinds.next().unwrap(), "summary");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The last round was printed to its end.
    assert_eq!(lines.count() % 2, 0);
}
