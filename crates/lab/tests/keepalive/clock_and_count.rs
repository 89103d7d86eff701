//! What resets the clock of silence, and what the count of probes.

use super::scene::{alive, idle, silent};
use std::time::Duration;
use tcpalive_keepalive::Happening;

#[test]
fn silent_peer_is_probed_and_reset() {
    assert_eq!(
        silent("2/1/3", 6.0).seen(),
        ["2 probe 1", "3 probe 2", "4 probe 3", "5 ETIMEDOUT"]
    );
}

#[test]
fn without_timestamps_and_on_ipv6_it_is_the_same() {
    let scene = silent("1/1/2", 4.0).part(|part| {
        part.timestamps = false;
        part.ipv6 = true;
    });
    assert_eq!(scene.seen(), ["1 probe 1", "2 probe 2", "3 ETIMEDOUT"]);
}

#[test]
fn answered_probes_are_an_interval_apart_since_the_timer_is_lazy() {
    let scene = alive("1/3/2", 8.0).peer(|peer| peer.rtt = Duration::from_millis(100));
    assert_eq!(
        scene.seen(),
        [
            "1 probe 1",
            "1.1 answer",
            "4 probe 1",
            "4.1 answer",
            "7 probe 1",
            "7.1 answer"
        ]
    );
}

#[test]
fn acceptable_ack_resets_clock_and_count() {
    let scene = silent("2/1/3", 8.0).at(3.5, Happening::ReceiveAck);
    assert_eq!(
        scene.seen(),
        [
            "2 probe 1",
            "3 probe 2",
            "5.5 probe 1",
            "6.5 probe 2",
            "7.5 probe 3"
        ]
    );
}

#[test]
fn garbage_probe_and_out_of_order_data_reset_clock_and_count() {
    for what in [Happening::ReceiveGarbageProbe, Happening::ReceiveOutOfOrder] {
        let scene = silent("2/1/3", 6.0).at(3.5, what);
        assert_eq!(scene.seen(), ["2 probe 1", "3 probe 2", "5.5 probe 1"]);
    }
}

#[test]
fn empty_probe_old_ack_and_future_ack_change_nothing() {
    let scene = silent("2/1/3", 6.0)
        .at(2.3, Happening::ReceiveProbe)
        .at(2.6, Happening::ReceiveOldAck)
        .at(3.5, Happening::ReceiveFutureAck);
    assert_eq!(
        scene.seen(),
        ["2 probe 1", "3 probe 2", "4 probe 3", "5 ETIMEDOUT"]
    );
}

/// The slow path: no memory is left over, so `tcp_ack` is called although the
/// data acknowledge nothing new. It is so for the first data after silence
/// and for later ones.
#[test]
fn data_reset_clock_and_count_when_the_program_has_read_all() {
    let scene = silent("2/1/3", 9.0)
        .at(0.5, Happening::ReceiveData)
        .at(4.2, Happening::ReceiveData);
    assert_eq!(
        scene.seen(),
        [
            "2.5 probe 1",
            "3.5 probe 2",
            "6.2 probe 1",
            "7.2 probe 2",
            "8.2 probe 3"
        ]
    );
}

/// The fast path: what is unread has left memory over, so that the
/// acknowledgment is not looked at, and two probes stay unanswered.
#[test]
fn data_reset_the_clock_alone_while_earlier_data_are_unread() {
    let unread = silent("2/1/3", 8.0)
        .at(0.5, Happening::ReceiveData)
        .at(4.2, Happening::ReceiveData)
        .part(|part| part.reads = false);
    let three_in_all = ["probe", "probe", "probe", "abort"];
    assert_eq!(unread.seen_by_machine(), three_in_all);
}

#[test]
fn nothing_is_probed_while_data_are_in_flight() {
    let scene = alive("1/1/2", 5.0).at(0.5, Happening::SendData { acked: false });
    assert_eq!(scene.seen(), [""; 0]);
}

#[test]
fn probing_goes_on_a_full_idle_time_after_a_fire_that_met_data_in_flight() {
    let scene = silent("2/1/1", 6.0)
        .peer(|peer| peer.rtt = Duration::from_millis(300))
        .at(1.85, Happening::SendData { acked: true });
    // Fires at 2 and sees the data, at 4 and sees 1.85 s of silence.
    assert_eq!(scene.seen(), ["4.15 probe 1", "5.15 ETIMEDOUT"]);
}

/// 8 bits: the 256th unanswered probe makes the count 0, and with a user
/// timeout a count of 0 means that nothing is unanswered. So the fire past the
/// user timeout sends one more probe in place of a reset.
#[test]
fn count_of_unanswered_probes_wraps_at_256() {
    let mut scene = silent("1/2/1/11s", 16.0);
    // Each call past the idle time sends one probe at once.
    for call in 0..255 {
        scene = scene.set(1.1 + 0.035 * f64::from(call), idle(1));
    }
    let seen = scene.seen();
    assert_eq!(seen.len(), 258);
    let last: Vec<&str> = seen[254..]
        .iter()
        .filter_map(|sight| sight.split_once(' '))
        .map(|(_, what)| what)
        .collect();
    assert_eq!(last, ["probe 255", "probe 0", "probe 1", "ETIMEDOUT"]);
}
