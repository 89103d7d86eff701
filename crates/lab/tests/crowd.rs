//! A small crowd. Needs root.

use std::process::Command;
use std::time::Duration;
use tcpalive_lab::crowd::{Crowd, KeepAlive};
use tcpalive_lab::{Host, Lab};

const WORKER: [&str; 2] = [env!("CARGO_BIN_EXE_tcpalive-lab-standin"), "crowd"];

/// Lines of `ss -tno` that a keep-alive timer stands in.
fn keep_alive_timers(host: &Host) -> usize {
    let output = host.run(|| Command::new("ss").arg("-Htno").output());
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let timers = output.lines().filter(|line| line.contains("keepalive"));
    timers.count()
}

fn sockets(host: &Host) -> usize {
    let output = host.run(|| Command::new("ss").arg("-Htan").output());
    let output = output.unwrap().stdout;
    output.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn crowd_has_two_sockets_for_each_connection_and_leaves_none() {
    let lab = Lab::new("crowd").expect("tests of the lab need root");
    let host = lab.host("a").unwrap();
    // More than one process can hold.
    let crowd = Crowd::build(&host, &WORKER.map(Into::into), 10_000).unwrap();
    assert_eq!(crowd.connections(), 10_000);
    assert_eq!(sockets(&host), 20_000);
    drop(crowd);
    assert_eq!(sockets(&host), 0);
}

#[test]
fn keep_alive_is_switched_at_one_end_of_each_connection() {
    let lab = Lab::new("crowd").expect("tests of the lab need root");
    let host = lab.host("a").unwrap();
    let mut crowd = Crowd::build(&host, &WORKER.map(Into::into), 500).unwrap();
    assert_eq!(keep_alive_timers(&host), 0);
    let on = KeepAlive::On {
        idle_s: 600,
        interval_s: 60,
        count: 3,
    };
    // At once, and one after another.
    for over in [Duration::ZERO, Duration::from_millis(200)] {
        let switched = crowd.set_keep_alive(on, over).unwrap();
        assert_eq!(switched.sockets, 500);
        assert_eq!(keep_alive_timers(&host), 500);
        crowd.set_keep_alive(KeepAlive::Off, over).unwrap();
        assert_eq!(keep_alive_timers(&host), 0);
    }
}

#[test]
fn values_that_the_kernel_refuses_are_an_error() {
    let lab = Lab::new("crowd").expect("tests of the lab need root");
    let host = lab.host("a").unwrap();
    let mut crowd = Crowd::build(&host, &WORKER.map(Into::into), 10).unwrap();
    let beyond = KeepAlive::On {
        idle_s: 32_768,
        interval_s: 60,
        count: 3,
    };
    assert!(crowd.set_keep_alive(beyond, Duration::ZERO).is_err());
}
