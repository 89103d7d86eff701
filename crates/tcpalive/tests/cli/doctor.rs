//! `doctor` as root, and what it finds left behind.

use crate::{Ended, PROGRAM, tcpalive};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn everything_that_the_tests_need_is_allowed_to_root() {
    let ended = tcpalive(&["doctor", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let found = ended.objects();
    for name in [
        "kernel version",
        "BTF",
        "BPF load",
        "iter/tcp",
        "iter/task_file",
        "sock_diag",
        "raw sockets",
        "packet sockets",
        "setns",
    ] {
        let it = found.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(it["allowed"], true, "{it}");
        assert_eq!(it["remedy"], Value::Null, "{it}");
    }
    for name in [
        "bpf_sock_destroy",
        "sock_destroy",
        "network namespaces",
        "cgroup v2",
        "sock_ops",
        "descriptors",
        "capabilities",
    ] {
        assert!(
            found.iter().any(|it| it["name"] == name),
            "{name} in {found:?}"
        );
    }
    let summary = ended.summary();
    let count = |key: &str| summary[key].as_u64().unwrap();
    let capabilities = found.iter().filter(|it| it["type"] == "capability").count() as u64;
    assert_eq!(
        count("allowed") + count("not_allowed") + count("unknown"),
        capabilities
    );
}

#[test]
fn the_table_fits_in_100_columns() {
    let output = Command::new(PROGRAM)
        .arg("doctor")
        .env("COLUMNS", "100")
        .output();
    let ended: Ended = output.unwrap().into();
    assert_eq!(ended.code, 0);
    assert!(
        ended.stdout.starts_with("kernel version"),
        "{}",
        ended.stdout
    );
    let widest = ended.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{}", ended.stdout);
}

#[test]
fn what_a_killed_lab_left_behind_is_found_and_removed() {
    // A process that is no more: no start time is 0.
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let netns = format!("tcpalive-{}-0-0-cli-left", gone.id());
    let path = Path::new("/run/netns").join(&netns);
    let made = Command::new("ip").args(["netns", "add", &netns]).status();
    assert!(made.unwrap().success(), "it needs root");

    let about = |ended: &Ended| {
        let found = ended.objects();
        let wanted = |it: &&Value| it["type"] == "leftover" && it["netns"] == netns.as_str();
        found.iter().find(wanted).cloned()
    };
    let found = about(&tcpalive(&["doctor", "--json"])).unwrap();
    assert_eq!(found["maker"], gone.id());
    assert_eq!(found["removed"], false);
    assert!(path.exists(), "looking changes nothing");
    let text = tcpalive(&["doctor"]).stdout;
    assert!(text.contains("`tcpalive doctor --clean`"), "{text}");

    let cleaned = tcpalive(&["doctor", "--clean", "--json"]);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert_eq!(about(&cleaned).unwrap()["removed"], true);
    assert!(!path.exists());
    assert_eq!(about(&tcpalive(&["doctor", "--json"])), None);
}
