//! The night in small, with a stand-in for the program under test. Needs root.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tcpalive_lab::leftovers::leftovers;
use tcpalive_lab::night::{self, NightOptions, World, WorldOptions};

const STANDIN: &str = env!("CARGO_BIN_EXE_tcpalive-lab-standin");

fn options() -> NightOptions {
    NightOptions {
        dead: 400,
        alive: 40,
        ..NightOptions::new(PathBuf::from(STANDIN))
    }
}

/// A night in a process of its own.
fn night_process(lie: &str) -> Child {
    Command::new(STANDIN)
        .args(["night", STANDIN, "100", "10"])
        .env("STANDIN_LIE", lie)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for_line(child: &mut Child, wanted: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains(wanted)),
        "it never said '{wanted}'"
    );
    // Nobody reads on; it must not be stopped by a full or a broken pipe.
    std::thread::spawn(move || lines.count());
}

fn namespaces_of(pid: u32) -> Vec<String> {
    let prefix = format!("tcpalive-{pid}-");
    std::fs::read_dir("/run/netns")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

#[test]
fn server_believes_in_every_connection_when_a_is_no_more() {
    let NightOptions {
        worker,
        dead,
        alive,
        ..
    } = options();
    let mut world = World::build(&WorldOptions {
        worker,
        dead,
        alive,
    })
    .expect("tests of the lab need root");
    assert_eq!(world.established().unwrap().len(), 440);
    let heard = world.kill_a().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let established = world.established().unwrap();
    assert_eq!(established.len(), 440);
    assert!(world.truth().dead.is_subset(&established));
    assert!(world.truth().alive.is_subset(&established));
    assert_eq!(heard.packets().unwrap(), 0);
    // The next hop lives.
    let ping = world
        .b()
        .run(|| std::net::TcpStream::connect((tcpalive_lab::links::GATEWAY_V4, 9)));
    assert_eq!(
        ping.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn night_holds_when_the_program_tells_the_truth() {
    let mut progress = Vec::new();
    let report = night::run(&options(), &mut progress).unwrap();
    assert!(report.held(), "{report}");
    assert_eq!(report.observed.found_dead, 400);
    assert_eq!(report.observed.established_after, 40);
    assert_eq!(report.measured.server_errors["ECONNABORTED"], 400);
    assert!(report.measured.messages_exchanged > 0);
    let progress = String::from_utf8(progress).unwrap();
    assert!(progress.contains("400 dead; 0 wrong"), "{progress}");
}

#[test]
fn night_does_not_hold_when_a_living_connection_is_called_dead() {
    let output = night_process("calls-a-living-one-dead")
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["held"], false);
    let observed = &report["observed"];
    assert_eq!(observed["found_wrongly"], 1);
    assert_eq!(observed["destroyed_wrongly"], 1);
    assert_eq!(observed["established_after"], 9);
    assert_eq!(observed["server_errors_on_living"], 1);
    assert_eq!(observed["client_errors"], 1);
}

#[test]
fn night_does_not_hold_when_a_dead_connection_is_missed() {
    let output = night_process("misses-one").wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let observed = &report["observed"];
    assert_eq!(observed["found_dead"], 99);
    assert_eq!(observed["found_wrongly"], 1);
    assert_eq!(observed["destroyed_wrongly"], 0);
    assert_eq!(observed["descriptors_given_back"], 99);
    assert_eq!(observed["established_after"], 11);
}

#[test]
fn program_that_fails_is_an_error_that_names_it() {
    let mut options = options();
    options.program = PathBuf::from("/bin/false");
    options.dead = 10;
    options.alive = 1;
    // `false` ends with 1, which is a finding; what it prints is none.
    let report = night::run(&options, &mut Vec::new());
    let error = report.unwrap_err().to_string();
    assert!(error.contains("journal"), "{error}");

    options.program = PathBuf::from("/nonexistent/tcpalive");
    let report = night::run(&options, &mut Vec::new());
    let error = report.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/tcpalive ls"), "{error}");
}

#[test]
fn interrupted_night_takes_everything_down() {
    let mut child = night_process("");
    wait_for_line(&mut child, "A's cable is cut");
    let pid = child.id();
    assert!(!namespaces_of(pid).is_empty());
    let begin = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn killed_night_leaves_namespaces_that_are_found_and_no_processes() {
    let mut child = night_process("");
    wait_for_line(&mut child, "A's cable is cut");
    let pid = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    let left = || -> Vec<_> {
        let all = leftovers().unwrap().into_iter();
        all.filter(|leftover| leftover.maker == pid).collect()
    };
    // B, C and the router. Workers end when their stdin does.
    let deadline = Instant::now() + Duration::from_secs(5);
    while left().iter().any(|leftover| !leftover.processes.is_empty()) {
        assert!(Instant::now() < deadline, "{:?}", left());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(left().len(), 3);
    for leftover in left() {
        leftover.remove().unwrap();
    }
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn worker_refuses_what_no_night_asks_for() {
    let output = Command::new(STANDIN)
        .args(["lab", "worker", "coffee"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let mut message = String::new();
    output
        .stderr
        .as_slice()
        .read_to_string(&mut message)
        .unwrap();
    assert!(message.contains("coffee"), "{message}");
}
