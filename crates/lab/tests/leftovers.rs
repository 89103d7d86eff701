//! What is left of a lab whose process was killed. Needs root.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tcpalive_lab::leftovers::{clean, leftovers};

#[test]
fn lab_of_a_killed_process_is_found_and_removed() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcpalive-lab-standin"))
        .arg("make-a-lab-and-hang")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut netns = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut netns)
        .unwrap();
    let netns = netns.trim();
    assert!(!netns.is_empty(), "tests of the lab need root");
    let found = || {
        leftovers()
            .unwrap()
            .into_iter()
            .find(|it| it.netns == netns)
    };
    assert_eq!(found(), None, "its process lives");

    let mut sleeper = Command::new("ip")
        .args(["netns", "exec", netns, "sleep", "1000"])
        .spawn()
        .unwrap();
    child.kill().unwrap();
    // Even before anyone has waited for it: a zombie does not live.
    let deadline = Instant::now() + Duration::from_secs(5);
    while found().is_none_or(|leftover| leftover.processes.is_empty()) {
        assert!(Instant::now() < deadline, "found too late");
        std::thread::yield_now();
    }
    let leftover = found().unwrap();
    assert_eq!(leftover.maker, child.id());
    assert_eq!(leftover.processes, [sleeper.id()]);

    let removed = clean().unwrap();
    assert!(removed.iter().any(|it| it.netns == netns));
    assert_eq!(found(), None);
    assert!(!Path::new("/run/netns").join(netns).exists());
    assert!(!sleeper.wait().unwrap().success());
    child.wait().unwrap();
}
