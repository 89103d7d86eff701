//! One verdict a test, on the real kernel.

mod common;

use common::check;
use std::time::Duration;
use tcpalive_connections::Outcome;
use tcpalive_lab::{Lab, connections, faults};
use tcpalive_liveness::CheckOptions;

fn quick() -> CheckOptions {
    CheckOptions { window: Some(Duration::from_secs(3)), ..CheckOptions::default() }
}

#[test]
fn a_peer_that_answers_is_alive() {
    let lab = Lab::new("alive").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24 fd09:1::1/64", &b, "10.9.1.2/24 fd09:1::2/64").unwrap();
    let _pairs = connections::open(&a, &b, "10.9.1.2:3333", 1, &connections::Options::default()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let verdicts = check(&b, quick());
    let verdict = verdicts.only();
    println!("{verdict:?}");
    assert_eq!(verdict.outcome, Outcome::Alive);
}

#[test]
fn a_cut_cable_is_death() {
    let lab = Lab::new("cut").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24 fd09:1::1/64", &b, "10.9.1.2/24 fd09:1::2/64").unwrap();
    let _pairs = connections::open(&a, &b, "10.9.1.2:3333", 5, &connections::Options::default()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    faults::cut(&a, "10.9.1.2").unwrap();
    let verdicts = check(&b, quick());
    println!("{verdicts:?}");
    assert_eq!(verdicts.count(Outcome::Dead), 5);
}
