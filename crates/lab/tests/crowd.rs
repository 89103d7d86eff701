//! A small crowd. Needs root.

use std::process::Command;
use tcpalive_lab::crowd::Crowd;
use tcpalive_lab::{Host, Lab};

const WORKER: [&str; 2] = [env!("CARGO_BIN_EXE_tcpalive-lab-standin"), "crowd"];

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
