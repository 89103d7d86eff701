//! `plan` as scripts and people meet it.

use crate::{Ended, PROGRAM, tcpalive, two_hosts};
use serde_json::{Value, json};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::time::Duration;
use tcpalive_lab::connections::{self, Options};
use tcpalive_lab::{Host, faults};

/// The plan for a wish, as JSON.
fn plan(wish: &[&str]) -> Value {
    let ended = tcpalive(&[&["plan", "--json"], wish].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let mut objects = ended.objects();
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

/// The sentence that a wish is refused with.
fn refused(wish: &[&str]) -> String {
    let ended = tcpalive(&[&["plan"], wish].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    ended.stderr
}

#[test]
fn a_plan_has_what_the_contract_says() {
    let ended = tcpalive(&[
        "plan",
        "--json",
        "--detect-within",
        "2m",
        "--connections",
        "60000",
        "--rtt",
        "0s",
        "--churn",
        "3600",
    ]);
    let plan = &ended.objects()[0];
    for (key, value) in [
        ("type", json!("plan")),
        ("idle_s", json!(60)),
        ("interval_s", json!(10)),
        ("count", json!(5)),
        ("user_timeout_ms", json!(109_000)),
        ("detects_within_s", json!(110)),
        ("connections", json!(60_000)),
        ("probes_per_second", json!(1000.0)),
        ("packets_per_second", json!(2000.0)),
        ("bytes_per_second", json!(180_000.0)),
        ("bytes_per_second_ipv6", json!(220_000.0)),
    ] {
        assert_eq!(plan[key], value, "{key} of {plan}");
    }
    assert_eq!(plan["dead"]["planned"]["connections"], 110.0);
    assert_eq!(plan["dead"]["linux_defaults"]["connections"], 7875.0);
    assert_eq!(plan["dead"]["off_per_day"]["connections"], 86_400.0);
    let late = plan["lateness_s"].as_f64().unwrap();
    assert!(late > 0.0 && 110.0 + late <= 120.0, "{plan}");
    let summary = ended.summary();
    assert_eq!(summary["idle_s"], 60);
    assert_eq!(summary["snippets"], 12);
}

/// Counters of a host's TCP, such as `TCPKeepAlive`.
fn tcp_counter(host: &Host, name: &'static str) -> u64 {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"));
    let text = text.unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(it, _)| *it == name).unwrap();
    value.parse().unwrap()
}

#[test]
fn the_kernel_gives_a_silent_peer_up_after_the_planned_probes() {
    let (_lab, a, b) = two_hosts("planned");
    let mut clients = Vec::new();
    let mut probes = 0;
    for within in ["10s", "12s"] {
        let plan = plan(&["--detect-within", within]);
        let number = |key: &str| plan[key].as_u64().unwrap();
        probes += number("count");
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(number("idle_s")))
            .with_interval(Duration::from_secs(number("interval_s")))
            .with_retries(number("count") as u32);
        let user_timeout = Duration::from_millis(number("user_timeout_ms"));
        let prepare = |fd: BorrowedFd<'_>| {
            let socket = SockRef::from(&fd);
            socket.set_tcp_keepalive(&keepalive)?;
            socket.set_tcp_user_timeout(Some(user_timeout))
        };
        let options = Options {
            prepare_client: Some(&prepare),
            ..Options::default()
        };
        let port = if clients.is_empty() { 3333 } else { 4444 };
        let address = format!("10.9.1.2:{port}");
        clients.extend(connections::open(&a, &b, &address, 1, &options).unwrap());
    }
    // Long before the first probe.
    let _cut = faults::cut(&b, "10.9.1.1").unwrap();
    for pair in &mut clients {
        pair.client.set_nonblocking(false).unwrap();
        let error = pair.client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    assert_eq!(tcp_counter(&a, "TCPKeepAlive"), probes);
    assert_eq!(tcp_counter(&a, "TCPAbortOnTimeout"), 2);
}

#[test]
fn a_full_window_ends_by_the_user_timeout_though_the_peer_lives() {
    // Why every plan warns of it.
    let (_lab, a, b) = two_hosts("full");
    let prepare =
        |fd: BorrowedFd<'_>| SockRef::from(&fd).set_tcp_user_timeout(Some(Duration::from_secs(2)));
    let options = Options {
        prepare_client: Some(&prepare),
        ..Options::default()
    };
    let mut pairs = connections::open(&a, &b, "10.9.1.2:3333", 1, &options).unwrap();
    // The peer reads nothing. Its window fills, then the send buffer.
    let chunk = [0; 1 << 16];
    let error = loop {
        if let Err(error) = pairs[0].client.write(&chunk) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn the_shortest_of_several_timeouts_decides_and_is_named() {
    let one = plan(&["--via", "aws-nlb"]);
    assert_eq!(one["idle_timeout_s"], 350.0);
    assert!(one["quiet_s"].as_f64().unwrap() <= 280.0, "{one}");
    let wish = ["--via", "ipvs", "--via", "aws-nlb", "--idle-timeout", "1h"];
    let several = plan(&wish);
    assert_eq!(several["idle_s"], one["idle_s"]);
    let why = several["why"][0].as_str().unwrap();
    assert!(
        why.contains("AWS Network Load Balancer") && why.contains("shortest"),
        "{why}"
    );
}

#[test]
fn a_detection_time_and_a_path_are_both_kept() {
    let both = plan(&["--detect-within", "10m", "--via", "azure-lb"]);
    let sum = both["detects_within_s"].as_f64().unwrap() + both["lateness_s"].as_f64().unwrap();
    assert!(sum <= 600.0, "{both}");
    assert!(both["quiet_s"].as_f64().unwrap() <= 192.0, "{both}");
}

#[test]
fn what_is_impossible_says_what_would_work() {
    let text = refused(&["--detect-within", "2s"]);
    assert!(text.contains("possible is 4.2s"), "{text}");
    assert_eq!(plan(&["--detect-within", "4.2s"])["count"], 3);
    let text = refused(&["--idle-timeout", "1s"]);
    assert!(text.contains("possible is an idle timeout of"), "{text}");
    let text = refused(&["--rtt", "10000s"]);
    assert!(text.contains("a round-trip time of"), "{text}");
    let text = refused(&["--detect-within", "30s", "--rtt", "5s"]);
    assert!(text.contains("a smaller --rtt"), "{text}");
}

#[test]
fn a_proxy_that_reads_the_stream_is_not_fooled_by_probes() {
    for name in ["aws-alb", "aws-classic-lb"] {
        let text = refused(&["--via", "aws-nlb", "--via", name, "--detect-within", "1m"]);
        for words in [name, "a probe carries none", "ping", "up to 4000s"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

#[test]
fn names_that_are_not_there_get_the_nearest() {
    let text = refused(&["--via", "aws-nbl"]);
    assert!(text.contains("nearest names are aws-nlb"), "{text}");
    let text = refused(&["--for", "ngnix"]);
    assert!(text.contains("did you mean nginx?"), "{text}");
}

#[test]
fn what_is_not_confirmed_and_what_is_too_eager_is_told() {
    let has = |plan: &Value, words: &str| {
        let warnings = plan["warnings"].as_array().unwrap();
        warnings
            .iter()
            .any(|it| it.as_str().unwrap().contains(words))
    };
    let calm = plan(&["--via", "aws-nlb"]);
    assert_eq!(calm["warnings"].as_array().unwrap().len(), 1);
    assert!(has(&calm, "a window that is full"));
    assert!(has(&plan(&["--via", "fortigate"]), "not confirmed"));
    let eager = plan(&["--detect-within", "8s", "--connections", "100000"]);
    for words in ["outage", "BGP", "radios", "per second", "NAT"] {
        assert!(has(&eager, words), "{words}: {eager}");
    }
    assert!(has(&plan(&["--detect-within", "2h"]), "No path was named"));
}

#[test]
fn lines_for_one_program_are_all_that_is_printed() {
    let ended = tcpalive(&["plan", "--for", "redis", "--via", "aws-nlb"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(ended.stdout.starts_with("# Redis"), "{ended:?}");
    assert!(ended.stdout.ends_with('\n'));
    // Warnings are not data.
    let ended = tcpalive(&["plan", "--for", "redis", "--detect-within", "20s"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("beware: "), "{ended:?}");
    assert!(!ended.stdout.contains("beware"), "{ended:?}");
}

#[test]
fn a_program_that_has_no_such_values_is_refused() {
    // Node's ten probes alone take ten seconds.
    let text = refused(&["--for", "node", "--detect-within", "10s"]);
    assert!(
        text.contains("the interval is 1 s and the count 10"),
        "{text}"
    );
    let ended = tcpalive(&["plan", "--detect-within", "10s"]);
    assert!(ended.stdout.contains("No lines: "), "{ended:?}");
}

#[test]
fn the_presets_are_listed_with_their_sources() {
    let ended = tcpalive(&["plan", "--list", "--json"]);
    let found = ended.objects();
    assert_eq!(ended.summary()["presets"], found.len());
    for preset in &found {
        assert_eq!(preset["type"], "preset");
        for key in ["name", "title", "source", "date", "at_expiry"] {
            assert!(!preset[key].as_str().unwrap().is_empty(), "{preset}");
        }
        // Every name is taken; those that probes do not refresh are refused.
        let name = preset["name"].as_str().unwrap();
        let code = tcpalive(&["plan", "--via", name]).code;
        let expected = if preset["refreshed_by_probes"] == true {
            0
        } else {
            2
        };
        assert_eq!(code, expected, "{preset}");
        if preset["verified"] == false {
            let text = tcpalive(&["plan", "--list"]).stdout;
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.contains("NOT CONFIRMED"), "{line}");
        }
    }
}

#[test]
fn the_report_fits_in_100_columns_but_for_the_lines_to_paste() {
    for arguments in [&["plan", "--detect-within", "8s"][..], &["plan", "--list"]] {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("COLUMNS", "100")
            .output();
        let ended: Ended = output.unwrap().into();
        assert_eq!(ended.code, 0);
        let prose = ended
            .stdout
            .lines()
            .filter(|line| !line.starts_with("    "));
        for line in prose.filter(|line| !line.contains("https://")) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
