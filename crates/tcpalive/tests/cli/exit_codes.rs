//! What scripts can rely on when something is wrong.

use crate::{Ended, PROGRAM, connect, tcpalive, two_hosts};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use tcpalive_lab::Lab;

/// One line, which begins with the program's name.
fn assert_one_sentence(ended: &Ended) {
    assert!(ended.stderr.starts_with("tcpalive: "), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
}

#[test]
fn a_bad_filter_is_shown_with_its_place() {
    let ended = tcpalive(&["ls", "--netns", "current", "pid = 7 and stat = listen"]);
    assert_eq!(ended.code, 2);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(
        lines[0].starts_with("tcpalive: filter, column 13: "),
        "{ended:?}"
    );
    assert_eq!(
        lines[1..],
        ["  pid = 7 and stat = listen", "              ^^^^"]
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_namespace_that_is_not_there_is_bad_input() {
    for netns in [
        "no-such-name",
        "/no/such/path",
        "/etc/hostname",
        "pid:4194305",
    ] {
        let ended = tcpalive(&["ls", "--netns", netns]);
        assert_eq!(ended.code, 2, "{netns}: {ended:?}");
        assert_one_sentence(&ended);
    }
}

#[test]
fn wrong_arguments_say_what_was_expected() {
    for (arguments, expected) in [
        (&["--port", "65536"][..], "65535"),
        (&["--state", "open"], "time-wait"),
        (&["--pid", "x"], "invalid digit"),
        (&["--sort", "age"], "remote.port"),
        (&["--watch", "2"], "write 2s"),
        (&["--watch", "0s"], "100ms"),
        (&["--netns", "pid:x"], "not a process id"),
        (&["--backend", "proc"], "netlink"),
        (&["one", "two"], "unexpected argument"),
    ] {
        let ended = tcpalive(&[&["ls", "--netns", "current"][..], arguments].concat());
        // Given twice, --netns is wrong usage in another way.
        let ended = match arguments[0] {
            "--netns" => tcpalive(&[&["ls"][..], arguments].concat()),
            _ => ended,
        };
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(tcpalive(&[]).code, 2);
    assert_eq!(tcpalive(&["list-all"]).code, 2);
    let ended = tcpalive(&["lab", "run", "nigt"]);
    assert_eq!(ended.code, 2);
    assert_one_sentence(&ended);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let (_lab, a, b) = two_hosts("pipe");
    // More than a pipe holds.
    let _pairs = connect(&a, &b, 400);
    for format in [&["--json"][..], &["--color", "always"]] {
        let mut child = Command::new(PROGRAM)
            .args(["ls", "--netns", b.netns_name()])
            .args(format)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(!line.is_empty());
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_full_disk_is_a_failure_midway() {
    let lab = Lab::new("full").unwrap();
    let host = lab.host("a").unwrap();
    for arguments in [&["ls"][..], &["ls", "--json"], &["ls", "--summary"]] {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .args(["--netns", host.netns_name()])
            .stdout(File::options().write(true).open("/dev/full").unwrap())
            .output();
        let ended: Ended = output.unwrap().into();
        assert_eq!(ended.code, 4, "{ended:?}");
        assert_one_sentence(&ended);
    }
}

#[test]
fn help_is_data_and_shows_an_example() {
    for command in [
        &[][..],
        &["ls"],
        &["check"],
        &["reap"],
        &["plan"],
        &["doctor"],
        &["lab"],
        &["lab", "list"],
        &["lab", "run"],
    ] {
        let ended = tcpalive(&[command, &["--help"]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command:?}");
        assert!(ended.stdout.contains("\n  tcpalive "), "{command:?}");
        assert!(ended.stdout.contains("Exit codes: 0 done"), "{command:?}");
    }
    let version = tcpalive(&["--version"]);
    assert_eq!(version.code, 0);
    assert!(version.stdout.starts_with("tcpalive "));
}

#[test]
fn completions_and_the_manual_page_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = tcpalive(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("no-owner"), "{shell}");
    }
    assert!(tcpalive(&["man"]).stdout.contains(".TH tcpalive 1"));
}
