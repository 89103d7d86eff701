//! Networks that are away for a while, and come back.

use crate::conversation::exchange;
use crate::world::{A, QUICK, cable, check, open, routed};
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::Outcome;
use tcpalive_lab::connections::Pair;
use tcpalive_lab::{Host, faults};
use tcpalive_liveness::CheckOptions;

const OUTAGE: Duration = Duration::from_secs(5);
/// Longer than "within the last minute".
const LONG_AGO: Duration = Duration::from_secs(61);

/// Nobody is dead after an outage that began with the check, and everything
/// works afterwards.
fn survives(checked: &Host, pairs: Vec<Pair>, outage: faults::Outage) {
    let verdicts = check(checked, CheckOptions::default());
    outage.wait().unwrap();
    assert_eq!(verdicts.count(Outcome::Dead), 0, "{verdicts:#?}");
    let again = check(checked, CheckOptions::default());
    assert_eq!(again.count(Outcome::Alive), pairs.len(), "{again:#?}");
    // All of them answered once the network was back.
    assert_eq!(verdicts.count(Outcome::Alive), pairs.len(), "{verdicts:#?}");
    for pair in &pairs {
        exchange(pair, 1);
    }
}

#[test]
fn an_outage_of_five_seconds_behind_the_router_kills_nobody() {
    let world = routed("outage");
    let mut pairs = open(&world.a, &world.b, 3333, 50);
    pairs.extend(open(&world.c, &world.b, 3334, 50));
    let outage = faults::outage(&world.router, OUTAGE).unwrap();
    survives(&world.b, pairs, outage);
}

#[test]
fn an_outage_of_five_seconds_on_the_cable_kills_nobody() {
    let world = cable("outagecable");
    let pairs = open(&world.a, &world.b, 3333, 50);
    // ARP included.
    let outage = faults::outage(&world.b, OUTAGE).unwrap();
    survives(&world.b, pairs, outage);
}

#[test]
fn an_outage_of_five_seconds_between_host_and_router_kills_nobody() {
    let world = routed("outagehop");
    let pairs = open(&world.a, &world.b, 3333, 50);
    let outage = faults::outage(&world.b, OUTAGE).unwrap();
    survives(&world.b, pairs, outage);
}

#[test]
fn an_outage_with_everybodys_caches_empty_kills_nobody() {
    let world = routed("outagearp");
    let pairs = open(&world.a, &world.b, 3333, 50);
    let outage = faults::outage(&world.b, OUTAGE).unwrap();
    world.b.ip("neigh flush all").unwrap();
    world.router.ip("neigh flush all").unwrap();
    survives(&world.b, pairs, outage);
}

#[test]
fn an_outage_that_takes_one_of_two_networks_kills_nobody() {
    let world = routed("outagehalf");
    let mut pairs = open(&world.a, &world.b, 3333, 50);
    pairs.extend(open(&world.c, &world.b, 3334, 50));
    let outage = faults::outage(&world.a, OUTAGE).unwrap();
    survives(&world.b, pairs, outage);
}

#[test]
fn peers_silent_for_long_are_proven_dead_in_three_seconds() {
    let world = routed("longago");
    let dead = open(&world.a, &world.b, 3333, 20);
    let living = open(&world.c, &world.b, 3334, 20);
    sleep(LONG_AGO);
    faults::cut_forward(&world.router, A).unwrap();
    let verdicts = check(&world.b, CheckOptions::default());
    assert!(
        living
            .iter()
            .all(|pair| verdicts.of(pair).outcome == Outcome::Alive),
        "{verdicts:#?}"
    );
    for pair in &dead {
        let verdict = verdicts.of(pair);
        assert_eq!(verdict.outcome, Outcome::Dead);
        assert!(verdict.probes >= 3);
        assert!((3000..14_000).contains(&verdict.waited_ms), "{verdict:#?}");
    }
}

/// Three seconds are no proof against an outage of this host's own: the next
/// hop, when asked, does not answer, and that takes the kernel some seconds
/// to say.
#[test]
fn with_the_next_hop_away_even_peers_silent_for_long_are_not_called_dead() {
    let world = routed("longagohop");
    let pairs = open(&world.a, &world.b, 3333, 20);
    sleep(LONG_AGO);
    let outage = faults::outage(&world.b, OUTAGE).unwrap();
    let verdicts = check(&world.b, CheckOptions::default());
    assert_eq!(verdicts.count(Outcome::Dead), 0, "{verdicts:#?}");
    outage.wait().unwrap();
    assert_eq!(check(&world.b, QUICK).count(Outcome::Alive), pairs.len());
}
