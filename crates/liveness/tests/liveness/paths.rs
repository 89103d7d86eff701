//! Silence that may be the fault of this side proves nothing.

use crate::world::{
    A, A6, B, QUICK, cable, check, check_after, check_while, open, open_one, open_one_v6, routed,
};
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::Outcome;
use tcpalive_lab::faults;
use tcpalive_liveness::CheckOptions;

#[test]
fn without_a_route_nothing_is_proven() {
    let world = cable("noroute");
    let _pair = open_one(&world.a, &world.b);
    faults::no_route(&world.b, A).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "no route to");
}

#[test]
fn without_an_ipv6_route_nothing_is_proven() {
    let world = cable("noroute6");
    let _pair = open_one_v6(&world.a, &world.b);
    faults::no_route(&world.b, A6).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "no route to");
}

#[test]
fn a_route_that_leads_into_a_black_hole_proves_nothing() {
    let world = cable("blackhole");
    let _pair = open_one(&world.a, &world.b);
    world.b.ip(&format!("route add blackhole {A}/32")).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "black hole");
}

/// As DHCP and roaming do it. The answer still comes as far as this host.
fn lose_address(world: &crate::world::Cable) {
    world.b.ip(&format!("addr del {B}/24 dev eth0")).unwrap();
    world.b.ip("addr add 10.9.1.77/24 dev eth0").unwrap();
}

#[test]
fn an_answer_to_an_address_that_this_host_lost_shows_that_the_peer_is_alive() {
    let world = cable("lostaddress");
    let _pair = open_one(&world.a, &world.b);
    lose_address(&world);
    check(&world.b, QUICK).all(Outcome::Alive, "its answer was seen on the wire");
}

#[test]
fn silence_to_an_address_that_this_host_lost_proves_nothing() {
    let world = cable("lostsilence");
    let _pair = open_one(&world.a, &world.b);
    lose_address(&world);
    // Nobody finds the old address any more.
    world.a.ip("neigh flush all").unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "no route to");
}

#[test]
fn an_address_that_is_lost_during_the_check_proves_nothing() {
    let world = cable("losesaddress");
    let _pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let done = check_after(&world.b, A_WHILE, 3, || {
        lose_address(&world);
    });
    done.verdicts.all(Outcome::Unprovable, "no route to");
}

/// Six probes in three seconds; three of them are enough for the odds.
const A_WHILE: CheckOptions = CheckOptions {
    window: Some(Duration::from_secs(3)),
    timeout: Duration::from_secs(12),
    ..QUICK
};

/// Long enough for another probe after the third, and another verdict.
const A_LONG_WHILE: CheckOptions = CheckOptions {
    window: Some(Duration::from_secs(8)),
    timeout: Duration::from_secs(10),
    ..QUICK
};

#[test]
fn a_route_that_is_lost_after_some_probes_proves_nothing() {
    let world = cable("losesroute");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut(&world.a, B).unwrap();
    let done = check_after(&world.b, A_WHILE, 9, || {
        faults::no_route(&world.b, A).unwrap();
    });
    done.verdicts.all(Outcome::Unprovable, "no route to");
}

#[test]
fn a_route_that_changes_after_some_probes_proves_nothing() {
    let world = routed("changesroute");
    let elsewhere = world._lab.host("elsewhere").unwrap();
    world
        ._lab
        .link(&world.b, "10.9.2.1/24", &elsewhere, "10.9.2.2/24")
        .unwrap();
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut_forward(&world.router, A).unwrap();
    let done = check_after(&world.b, A_WHILE, 9, || {
        world
            .b
            .ip(&format!("route add {A}/32 via 10.9.2.2"))
            .unwrap();
    });
    done.verdicts
        .all(Outcome::Unprovable, "changed during the check");
}

#[test]
fn a_firewall_that_begins_to_drop_after_some_probes_proves_nothing() {
    let world = cable("begins");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut(&world.a, B).unwrap();
    let done = check_after(&world.b, A_LONG_WHILE, 9, || {
        faults::cut(&world.b, A).unwrap();
    });
    done.verdicts
        .all(Outcome::Unprovable, "a firewall rule of this host");
}

#[test]
fn a_firewall_that_begins_to_swallow_after_some_probes_proves_nothing() {
    let world = cable("swallows");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut(&world.a, B).unwrap();
    let done = check_after(&world.b, A_LONG_WHILE, 9, || {
        world.b.nft(SWALLOW).unwrap();
    });
    done.verdicts.all(
        Outcome::Unprovable,
        "the interface's queue is full and drops the probes",
    );
}

/// Drops TCP behind the routing, where no error comes back.
const SWALLOW: &str = "table netdev late {\nchain egress {\ntype filter hook egress device \"eth0\" priority 0;\n\
                       ip protocol tcp drop\n}\n}\n";

#[test]
fn an_interface_that_is_down_proves_nothing() {
    let world = cable("down");
    let _pair = open_one(&world.a, &world.b);
    faults::link_down(&world.b, "eth0").unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "");
}

#[test]
fn an_interface_that_goes_down_during_the_check_proves_nothing() {
    let world = cable("goesdown");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut(&world.a, B).unwrap();
    let done = check_while(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(3)),
            ..QUICK
        },
        || {
            sleep(Duration::from_millis(1200));
            faults::link_down(&world.b, "eth0").unwrap();
        },
    );
    assert_eq!(
        done.verdicts.count(Outcome::Unprovable),
        3,
        "{:#?}",
        done.verdicts
    );
}

#[test]
fn an_interface_that_was_down_for_a_moment_of_the_check_proves_nothing() {
    let world = routed("flaps");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut_forward(&world.router, A).unwrap();
    let done = check_while(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(3)),
            ..QUICK
        },
        || {
            sleep(Duration::from_millis(700));
            faults::link_down(&world.b, "eth0").unwrap().undo().unwrap();
        },
    );
    done.verdicts.all(Outcome::Unprovable, "during the check");
}

#[test]
fn a_carrier_that_was_lost_for_a_moment_of_the_check_proves_nothing() {
    let world = routed("carrier");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut_forward(&world.router, A).unwrap();
    let done = check_while(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(3)),
            ..QUICK
        },
        || {
            sleep(Duration::from_millis(700));
            // The router's second cable is B's.
            faults::link_down(&world.router, "eth1")
                .unwrap()
                .undo()
                .unwrap();
        },
    );
    done.verdicts
        .all(Outcome::Unprovable, "lost its carrier during the check");
}

#[test]
fn a_next_hop_that_does_not_answer_arp_proves_nothing() {
    let world = cable("arp");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::arp_failure(&world.a).unwrap();
    check(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(5)),
            ..QUICK
        },
    )
    .all(
        Outcome::Unprovable,
        "the next hop 10.9.1.1 on eth0 does not answer ARP",
    );
}

/// Faster than the kernel gives up on asking: it has not failed yet then,
/// but nothing has left either.
#[test]
fn a_next_hop_that_is_still_being_asked_proves_nothing() {
    let world = cable("arpquick");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    faults::arp_failure(&world.a).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "");
}

#[test]
fn a_next_hop_that_does_not_answer_neighbour_solicitations_proves_nothing() {
    let world = cable("ndp");
    let _pair = open_one_v6(&world.a, &world.b);
    faults::arp_failure(&world.a).unwrap();
    check(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(5)),
            ..QUICK
        },
    )
    .all(
        Outcome::Unprovable,
        "does not answer neighbour solicitations",
    );
}

/// The entry is there, used a moment ago, and the router dead since.
#[test]
fn a_next_hop_that_died_with_its_address_still_known_proves_nothing() {
    let world = routed("deadrouter");
    let _pairs = open(&world.a, &world.b, 3333, 3);
    world
        .router
        .nft("table arp dead {\nchain input {\ntype filter hook input priority 0;\ndrop\n}\n}\n")
        .unwrap();
    faults::cut_forward(&world.router, B).unwrap();
    check(
        &world.b,
        CheckOptions {
            window: Some(Duration::from_secs(6)),
            ..QUICK
        },
    )
    .all(Outcome::Unprovable, "does not answer ARP");
}

#[test]
fn a_local_firewall_that_drops_the_probes_proves_nothing() {
    let world = cable("firewall");
    let _pair = open_one(&world.a, &world.b);
    faults::cut(&world.b, A).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "a firewall rule of this host");
}

#[test]
fn a_local_firewall_that_drops_ipv6_probes_proves_nothing() {
    let world = cable("firewall6");
    let _pair = open_one_v6(&world.a, &world.b);
    faults::cut(&world.b, A6).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "a firewall rule of this host");
}

#[test]
fn a_local_firewall_that_swallows_the_probes_proves_nothing() {
    let world = cable("swallowed");
    let _pair = open_one(&world.a, &world.b);
    world.b.nft(SWALLOW).unwrap();
    check(&world.b, QUICK).all(
        Outcome::Unprovable,
        "the interface's queue is full and drops the probes",
    );
}

/// Replaces the queue of B's interface.
fn queue(world: &crate::world::Cable, discipline: &str) {
    let line = format!("qdisc replace dev eth0 root {discipline}");
    let status = world.b.run(|| {
        std::process::Command::new("tc")
            .args(line.split(' '))
            .status()
            .unwrap()
    });
    assert!(status.success());
}

#[test]
fn a_full_queue_of_the_interface_proves_nothing() {
    let world = cable("queue");
    let _pair = open_one(&world.a, &world.b);
    // Whatever is longer than the burst is dropped.
    queue(&world, "tbf rate 8bit burst 10b limit 1b");
    check(&world.b, QUICK).all(Outcome::Unprovable, "drops the probes");
}

#[test]
fn probes_that_wait_in_the_interfaces_queue_prove_nothing() {
    let world = cable("slowqueue");
    let _pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    // One in a minute.
    queue(&world, "tbf rate 10bit burst 100b limit 100000b");
    let options = CheckOptions {
        timeout: Duration::from_secs(3),
        ..QUICK
    };
    check(&world.b, options).all(Outcome::Unprovable, "");
}

#[test]
fn a_local_firewall_that_drops_the_answers_makes_nobody_dead() {
    let world = cable("input");
    let _pair = open_one(&world.a, &world.b);
    world
        .b
        .nft(&format!("table ip deaf {{\nchain input {{\ntype filter hook input priority 0;\nip saddr {A} drop\n}}\n}}\n"))
        .unwrap();
    check(&world.b, QUICK).all(Outcome::Alive, "its answer was seen on the wire");
}

#[test]
fn a_reset_that_the_kernel_does_not_take_is_no_proof() {
    let world = cable("strange");
    let _pair = open_one(&world.a, &world.b);
    // A's host forgets the connection, and B's firewall keeps the news from it.
    world.a.reboot().unwrap();
    sleep(Duration::from_millis(300));
    world
        .b
        .nft(&format!("table ip deaf {{\nchain input {{\ntype filter hook input priority 0;\nip saddr {A} drop\n}}\n}}\n"))
        .unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "none that the kernel accepted");
    world.b.nft("delete table ip deaf\n").unwrap();
}

/// No answer of a next hop is to be had here, in neither direction.
fn without_arp(world: &crate::world::Cable) {
    for host in [&world.a, &world.b] {
        let other = if host.name() == "a" { B } else { A };
        let line = host.ip(&format!("-4 neigh show {other}")).unwrap();
        let hardware = line
            .split_whitespace()
            .skip_while(|word| *word != "lladdr")
            .nth(1)
            .unwrap()
            .to_owned();
        host.ip(&format!(
            "neigh replace {other} lladdr {hardware} dev eth0 nud permanent"
        ))
        .unwrap();
    }
}

#[test]
fn silence_of_everybody_looks_like_an_outage_when_peers_were_heard_just_now() {
    let world = cable("looksout");
    let _pairs = open(&world.a, &world.b, 3333, 5);
    without_arp(&world);
    faults::cut(&world.a, B).unwrap();
    check(&world.b, QUICK).all(Outcome::Unprovable, "it looks like an outage here");
}

#[test]
fn silence_can_be_trusted_by_those_who_know_better() {
    let world = cable("trust");
    let _pairs = open(&world.a, &world.b, 3333, 5);
    without_arp(&world);
    faults::cut(&world.a, B).unwrap();
    check(
        &world.b,
        CheckOptions {
            trust_silence: true,
            ..QUICK
        },
    )
    .all(Outcome::Dead, "silent to ");
}

#[test]
fn trusted_silence_is_no_excuse_for_probes_that_were_refused() {
    let world = cable("trustrefused");
    let _pair = open_one(&world.a, &world.b);
    faults::cut(&world.b, A).unwrap();
    check(
        &world.b,
        CheckOptions {
            trust_silence: true,
            ..QUICK
        },
    )
    .all(Outcome::Unprovable, "a firewall rule of this host");
}

#[test]
fn a_next_hop_that_answers_makes_silence_count() {
    let world = routed("hopanswers");
    let _pairs = open(&world.a, &world.b, 3333, 5);
    faults::cut_forward(&world.router, A).unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}

#[test]
fn an_ipv6_next_hop_that_answers_makes_silence_count() {
    let world = routed("hopanswers6");
    let _pair = open_one_v6(&world.a, &world.b);
    faults::cut_forward(&world.router, A6).unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}

/// An "administratively prohibited" on the way is not heard by the prober,
/// and would be ignored by the kernel (RFC 5927).
#[test]
fn errors_from_routers_are_silence() {
    let world = routed("icmp");
    let _pair = open_one(&world.a, &world.b);
    world
        .router
        .nft(&format!(
            "table ip rude {{\nchain forward {{\ntype filter hook forward priority 0;\nip daddr {A} reject with icmp host-unreachable\n}}\n}}\n"
        ))
        .unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}
