//! One behaviour of keep-alive a test, on the real kernel, each step held
//! against the machine. These tests need root and fail without it.

mod explore;
use tcpalive_keepalive::{Happening, Opened, Params, Peer, Scenario, Sight, Step, Time};
use tcpalive_lab::play::compare;

#[test]
fn silent_peer_is_probed_and_reset() {
    let params: Params = "2/1/3".parse().unwrap();
    let scenario = Scenario {
        until: Time::from_secs(7),
        options: params.into(),
        peer: Peer {
            silent_from: Some(Time::ZERO),
            ..Peer::default()
        },
        ..Scenario::default()
    };
    let comparison = compare(&scenario, 1).unwrap();
    println!("{comparison:#?}");
    assert!(comparison.held());
}
