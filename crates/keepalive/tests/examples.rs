//! The examples run, end well, and print what they promise.
//!
//! `cargo test -p tcpalive-keepalive` builds them; `--test examples` alone
//! does not.

#![expect(
    clippy::disallowed_methods,
    reason = "the crate runs nothing; this test runs its examples"
)]

use std::path::PathBuf;
use std::process::Command;

#[test]
fn of_udp_sessions_the_silent_one_is_given_up_and_no_other() {
    let output = run("udp_sessions");
    let lines: Vec<Line<'_>> = output.lines().filter_map(Line::parse).collect();
    let of = |what: &str| -> Vec<&str> {
        let lines = lines.iter().filter(|line| line.what == what);
        lines.map(|line| line.who).collect()
    };

    assert_eq!(of("session begins").len(), 3, "{output}");
    let given_up = of("given up: 2 probes unanswered");
    let [dead] = given_up[..] else {
        panic!("one session is given up, not these: {given_up:?}\n{output}");
    };
    let life: Vec<&str> = lines
        .iter()
        .filter(|line| line.who == dead)
        .map(|line| line.what)
        .collect();
    let expected = [
        "session begins",
        "silent: probe 1",
        "silent: probe 2",
        "given up: 2 probes unanswered",
    ];
    assert_eq!(life, expected, "{output}");

    for client in of("session begins") {
        let answers = of("answers").iter().filter(|who| **who == client).count();
        assert_eq!(answers > 0, client != dead, "{client}\n{output}");
    }
}

#[test]
fn of_smoltcp_sockets_each_has_the_timeline_that_linux_would_give_it() {
    let output = run("smoltcp_sockets");
    let of = |peer: &str| -> Vec<String> {
        let lines = output.lines().filter_map(Line::parse);
        let lines = lines.filter(|line| line.who == peer);
        lines
            .map(|line| format!("{} {}", line.seconds, line.what))
            .collect()
    };
    assert_eq!(
        of("peer 1"),
        [
            "0.020 connection established",
            "10.020 probe sent",
            "20.040 probe sent",
            "30.060 probe sent",
        ]
    );
    assert_eq!(
        of("peer 2"),
        [
            "0.020 connection established",
            "10.020 probe sent",
            "12.000 its cable is cut",
            "20.040 probe sent",
            "25.040 probe sent",
            "30.040 probe sent",
            "35.040 connection ended: ETIMEDOUT",
            "35.040 reset sent",
        ]
    );
    assert_eq!(
        of("peer 3"),
        [
            "0.020 connection established",
            "10.020 probe sent",
            "12.000 it reboots",
            "20.040 probe sent",
            "20.060 reset received",
            "20.060 connection ended: ECONNRESET",
        ]
    );
}

/// `10.020 s  peer 1  probe sent`
struct Line<'a> {
    seconds: &'a str,
    who: &'a str,
    what: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (seconds, rest) = line.split_once(" s  ")?;
        let (who, what) = rest.split_once("  ")?;
        let seconds = seconds.trim();
        Some(Self { seconds, who, what })
    }
}

/// What the example prints.
fn run(name: &str) -> String {
    let example = built(name);
    let output = Command::new(&example)
        .output()
        .unwrap_or_else(|error| panic!("running {}: {error}", example.display()));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} ended with {}\n{printed}{complained}",
        output.status
    );
    printed
}

/// Examples stand beside the directory of the test binaries:
/// `target/debug/deps/examples-…`, `target/debug/examples/NAME`.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test binary is two levels deep");
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let example = profile.join("examples").join(file);
    assert!(
        example.is_file(),
        "there is no {}: run `cargo build -p tcpalive-keepalive --examples` first, \
         or `cargo test -p tcpalive-keepalive`, which does",
        example.display()
    );
    example
}
