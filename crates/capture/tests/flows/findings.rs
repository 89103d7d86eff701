//! What flows say about hosts.

use crate::conversation::Conversation;
use tcpalive_capture::findings::{Concern, Findings};
use tcpalive_capture::flow::Flow;

fn flow(idle: f64, dies: bool) -> Flow {
    let mut c = Conversation::new();
    c.handshake();
    for n in 0..4 {
        let at = idle * 1.01 + 2.0 * f64::from(n);
        if dies {
            c.probe(at, 0, 0);
        } else {
            c.probe_and_answer(idle * 1.01 * f64::from(n + 1), 0, 0);
        }
    }
    if dies {
        c.give_up(idle * 1.01 + 8.0, 0, 0);
    }
    c.flow()
}

#[test]
fn a_pair_counts_its_flows_and_its_dead() {
    let mut findings = Findings::default();
    findings.add(&flow(600.0, true));
    findings.add(&flow(600.0, false));
    let pairs: Vec<_> = findings.pairs().collect();
    let [(prober, peer, pair)] = pairs[..] else {
        panic!("one pair expected: {pairs:?}");
    };
    assert_eq!(prober.to_string(), "192.0.2.9");
    assert_eq!(peer.to_string(), "192.0.2.2");
    assert_eq!((pair.flows, pair.probes, pair.answers), (2, 8, 4));
    assert_eq!((pair.dead, pair.alive, pair.given_up), (1, 1, 1));
    assert_eq!(
        pair.concerns().collect::<Vec<_>>(),
        [Concern::ForgottenOnTheWay { idle_s: 600 }]
    );
}

#[test]
fn where_all_are_dead_nothing_was_forgotten_on_the_way() {
    let mut findings = Findings::default();
    findings.add(&flow(600.0, true));
    let (_, _, pair) = findings.pairs().next().unwrap();
    assert_eq!(pair.concerns().count(), 0);
}

#[test]
fn probes_every_few_seconds_are_too_eager() {
    let mut findings = Findings::default();
    findings.add(&flow(5.0, false));
    let (_, _, pair) = findings.pairs().next().unwrap();
    assert_eq!(
        pair.concerns().collect::<Vec<_>>(),
        [Concern::TooEager { idle_s: 5 }]
    );
}
