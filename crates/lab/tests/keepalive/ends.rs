//! How connections end, what the program is told, and which states are probed.

use super::scene::{alive, icmp, silent};
use std::time::Duration;
use tcpalive_keepalive::{Errno, Happening, Time};

#[test]
fn probe_met_with_a_reset_is_econnreset() {
    let scene = alive("1/1/3", 4.0).peer(|peer| {
        peer.rtt = Duration::from_millis(100);
        peer.resets_from = Some(Time::from_millis(1500));
    });
    assert_eq!(
        scene.seen(),
        [
            "1 probe 1",
            "1.1 answer",
            "2.1 probe 1",
            "2.2 reset ECONNRESET"
        ]
    );
}

#[test]
fn close_wait_is_probed_and_a_reset_there_is_epipe() {
    let scene = alive("1/1/3", 4.0)
        .peer(|peer| peer.resets_from = Some(Time::from_secs(1)))
        .at(0.5, Happening::PeerCloses);
    assert_eq!(scene.seen(), ["1.5 probe 1", "1.5 reset EPIPE"]);
}

#[test]
fn close_wait_with_a_silent_peer_is_etimedout() {
    let scene = silent("1/1/1", 4.0).at(0.5, Happening::PeerCloses);
    assert_eq!(scene.seen(), ["1.5 probe 1", "2.5 ETIMEDOUT"]);
}

#[test]
fn fin_wait2_is_probed_while_the_program_holds_it() {
    let scene = alive("1/1/1", 5.0)
        .peer(|peer| peer.silent_from = Some(Time::from_secs(1)))
        .at(0.5, Happening::Shutdown);
    // The FIN was in flight for no time at all: its ACK counts from 0.5 s.
    assert_eq!(scene.seen(), ["1.5 probe 1", "2.5 ETIMEDOUT"]);
}

#[test]
fn fin_wait2_is_not_probed_once_the_program_closed_it() {
    let scene = alive("1/1/1", 4.0)
        .peer(|peer| peer.silent_from = Some(Time::from_secs(1)))
        .at(0.5, Happening::Close);
    assert_eq!(scene.seen(), [""; 0]);
}

#[test]
fn connection_that_both_sides_closed_is_not_probed() {
    for first in [Happening::Shutdown, Happening::PeerCloses] {
        let second = match first {
            Happening::Shutdown => Happening::PeerCloses,
            _ => Happening::Shutdown,
        };
        let scene = alive("1/1/1", 4.0).at(0.3, first).at(0.6, second);
        assert_eq!(scene.seen(), [""; 0]);
    }
}

#[test]
fn remembered_icmp_error_is_given_in_place_of_etimedout() {
    let scene = silent("2/1/1", 4.0).at(0.5, icmp(Errno::EHOSTUNREACH, false));
    assert_eq!(scene.seen(), ["2 probe 1", "3 EHOSTUNREACH"]);
    let scene = silent("1/1/1", 3.0)
        .part(|part| part.ipv6 = true)
        .at(0.5, icmp(Errno::EACCES, false));
    assert_eq!(scene.seen(), ["1 probe 1", "2 EACCES"]);
}

#[test]
fn later_icmp_error_replaces_the_remembered_one() {
    let scene = silent("1/1/1", 3.0)
        .at(0.3, icmp(Errno::EHOSTUNREACH, false))
        .at(1.5, icmp(Errno::ENETUNREACH, false));
    assert_eq!(scene.seen(), ["1 probe 1", "2 ENETUNREACH"]);
}

#[test]
fn remembered_icmp_error_is_forgotten_with_an_ack() {
    let scene = silent("2/1/1", 5.0)
        .at(0.5, icmp(Errno::EHOSTUNREACH, false))
        .at(1.0, Happening::ReceiveAck);
    assert_eq!(scene.seen(), ["3 probe 1", "4 ETIMEDOUT"]);
}

#[test]
fn icmp_error_that_a_probe_drew_is_ignored() {
    for error in [Errno::EHOSTUNREACH, Errno::ECONNREFUSED] {
        let scene = silent("1/1/2", 4.0).at(1.5, icmp(error, true));
        assert_eq!(scene.seen(), ["1 probe 1", "2 probe 2", "3 ETIMEDOUT"]);
    }
}
