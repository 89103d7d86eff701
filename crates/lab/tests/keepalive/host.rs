//! What the host decides: sysctls and queues.

use super::scene::{alive, silent, with_options};
use tcpalive_keepalive::{Happening, Options, Peer, Sysctl, Time};

fn sysctl(time: i64, interval: i64, probes: i64) -> Happening {
    Happening::Sysctl(Sysctl::new(time, interval, probes).unwrap())
}

fn silent_peer(peer: &mut Peer) {
    peer.silent_from = Some(Time::ZERO);
}

#[test]
fn sysctl_values_stand_for_options_that_are_not_set() {
    let scene = with_options(Options::ON, 5.0)
        .sysctl(2, 1, 2)
        .peer(silent_peer);
    assert_eq!(scene.seen(), ["2 probe 1", "3 probe 2", "4 ETIMEDOUT"]);
}

#[test]
fn sysctl_change_does_not_move_an_armed_timer() {
    let scene = with_options(Options::ON, 6.0)
        .sysctl(4, 1, 1)
        .peer(silent_peer)
        .at(0.5, sysctl(1, 1, 1));
    assert_eq!(scene.seen(), ["4 probe 1", "5 ETIMEDOUT"]);
}

#[test]
fn sysctl_values_are_read_at_each_fire() {
    let longer = with_options(Options::ON, 6.0)
        .sysctl(2, 1, 1)
        .peer(silent_peer)
        .at(1.0, sysctl(4, 1, 1));
    assert_eq!(longer.seen(), ["4 probe 1", "5 ETIMEDOUT"]);
    let interval_and_count = with_options(Options::ON, 7.0)
        .sysctl(1, 1, 9)
        .peer(silent_peer)
        .at(1.5, sysctl(1, 3, 2));
    assert_eq!(
        interval_and_count.seen(),
        ["1 probe 1", "2 probe 2", "5 ETIMEDOUT"]
    );
}

#[test]
fn sysctl_of_no_probes_resets_at_the_idle_time_without_one() {
    let scene = with_options(Options::ON, 4.0)
        .sysctl(2, 1, 0)
        .peer(silent_peer);
    assert_eq!(scene.seen(), ["2 ETIMEDOUT"]);
    // However alive the peer is.
    let scene = with_options(Options::ON, 4.0).sysctl(2, 1, 0);
    assert_eq!(scene.seen(), ["2 ETIMEDOUT"]);
}

#[test]
fn full_queue_is_tried_twice_a_second_and_never_ends_a_connection() {
    let scene = silent("1/1/2", 8.0)
        .at(0.5, Happening::QueueFull)
        .at(5.3, Happening::QueueDrained);
    let seen = scene.seen_by_machine();
    let dropped = seen.iter().filter(|what| *what == "dropped").count();
    // 1.0, 1.5 … 5.0 by an exact clock; each a little late.
    assert!((8..=9).contains(&dropped), "{seen:?}");
    assert_eq!(seen[dropped..], ["probe", "probe", "abort"]);
}

#[test]
fn probes_dropped_by_a_full_queue_are_not_counted() {
    let scene = alive("1/1/2", 6.0)
        .peer(silent_peer)
        .at(1.5, Happening::QueueFull)
        .at(4.2, Happening::QueueDrained);
    let seen = scene.seen_by_machine();
    let sent = seen.iter().filter(|what| *what != "dropped");
    assert_eq!(sent.collect::<Vec<_>>(), ["probe", "probe", "abort"]);
}
