//! Networks that lose packets at random, in each direction: no living peer is
//! ever called dead. The tests print their counts.

use crate::world::{C, QUICK, Routed, check, open, routed};
use std::ops::AddAssign;
use std::time::{Duration, Instant};
use tcpalive_connections::Outcome;
use tcpalive_lab::faults;
use tcpalive_liveness::CheckOptions;

#[derive(Debug, Default)]
struct Tally {
    alive: usize,
    unprovable: usize,
    dead: usize,
    other: usize,
}

impl AddAssign<&crate::world::Verdicts> for Tally {
    fn add_assign(&mut self, verdicts: &crate::world::Verdicts) {
        for verdict in verdicts.by_addresses.values() {
            match verdict.outcome {
                Outcome::Alive => self.alive += 1,
                Outcome::Unprovable => self.unprovable += 1,
                Outcome::Dead => self.dead += 1,
                _ => self.other += 1,
            }
        }
    }
}

/// Checks living connections over and over, for as long as it is worth while.
fn check_living(world: &Routed, percent: u8, count: usize, rounds: usize, options: CheckOptions) {
    let _pairs = open(&world.a, &world.b, 3333, count);
    faults::loss(&world.router, percent).unwrap();
    let begun = Instant::now();
    let mut tally = Tally::default();
    for _ in 0..rounds {
        let verdicts = check(&world.b, options);
        tally += &verdicts;
        assert_eq!(tally.dead, 0, "{percent} % of {count} lost: {verdicts:#?}");
    }
    println!(
        "{percent} % each way, {count} connections, {rounds} rounds in {:.1?}: {tally:?}",
        begun.elapsed()
    );
    assert_eq!(tally.other, 0);
    assert_eq!(tally.alive + tally.unprovable, count * rounds);
    assert!(tally.alive > 0);
}

const TIMEOUT: Duration = Duration::from_secs(14);
/// Peers have 15 s to answer, as any that was heard within the minute.
const PATIENT: CheckOptions = CheckOptions {
    probes: 3,
    interval: Duration::from_secs(1),
    window: None,
    timeout: TIMEOUT,
    ..QUICK
};
/// What was lost on others is all that protects a peer after 1.5 s.
const HASTY: CheckOptions = CheckOptions {
    timeout: TIMEOUT,
    ..QUICK
};

#[test]
fn ten_percent_kill_nobody_in_1_800_patient_verdicts() {
    check_living(&routed("p10"), 10, 600, 3, PATIENT);
}

#[test]
fn thirty_percent_kill_nobody_in_1_200_patient_verdicts() {
    check_living(&routed("p30"), 30, 600, 2, PATIENT);
}

#[test]
fn fifty_percent_kill_nobody_in_1_200_patient_verdicts() {
    check_living(&routed("p50"), 50, 600, 2, PATIENT);
}

#[test]
fn ten_percent_kill_nobody_in_4_800_hasty_verdicts() {
    check_living(&routed("h10"), 10, 600, 8, HASTY);
}

#[test]
fn thirty_percent_kill_nobody_in_3_000_hasty_verdicts() {
    check_living(&routed("h30"), 30, 600, 5, HASTY);
}

#[test]
fn fifty_percent_kill_nobody_in_1_800_hasty_verdicts() {
    check_living(&routed("h50"), 50, 600, 3, HASTY);
}

#[test]
fn two_connections_survive_ten_percent() {
    check_living(&routed("two10"), 10, 2, 12, PATIENT);
}

#[test]
fn two_connections_survive_thirty_percent() {
    check_living(&routed("two30"), 30, 2, 6, PATIENT);
}

#[test]
fn five_connections_survive_ten_percent() {
    check_living(&routed("five10"), 10, 5, 10, PATIENT);
}

#[test]
fn five_connections_survive_thirty_percent() {
    check_living(&routed("five30"), 30, 5, 4, PATIENT);
}

#[test]
fn twenty_connections_survive_ten_percent() {
    check_living(&routed("twenty10"), 10, 20, 8, PATIENT);
}

#[test]
fn twenty_connections_survive_thirty_percent() {
    check_living(&routed("twenty30"), 30, 20, 3, PATIENT);
}

#[test]
fn the_dead_are_found_among_the_living_under_loss() {
    let world = routed("mixed");
    let living = open(&world.a, &world.b, 3333, 200);
    let dead = open(&world.c, &world.b, 3334, 200);
    faults::loss(&world.router, 10).unwrap();
    faults::cut_forward(&world.router, C).unwrap();
    for round in 0..2 {
        let options = CheckOptions {
            timeout: Duration::from_secs(90),
            ..PATIENT
        };
        let verdicts = check(&world.b, options);
        let of = |pairs: &[tcpalive_lab::connections::Pair], outcome| {
            pairs
                .iter()
                .filter(|pair| verdicts.of(pair).outcome == outcome)
                .count()
        };
        println!(
            "round {round}: {} of 200 living alive, {} of 200 dead found",
            of(&living, Outcome::Alive),
            of(&dead, Outcome::Dead)
        );
        assert_eq!(
            (of(&living, Outcome::Alive), of(&dead, Outcome::Dead)),
            (200, 200)
        );
    }
}
