//! How flows end, and what that says about the peer.

use crate::conversation::Conversation;
use crate::recognition::talked;
use tcpalive_capture::flow::{End, FlowEnd, FrameKind, Verdict};
use tcpalive_segment::Flags;

/// Ten bytes were sent and twenty received; idle 10 s, interval 3 s.
fn silent(probes: u32) -> Conversation {
    let mut c = talked();
    for n in 0..probes {
        c.probe(10.6 + 3.0 * f64::from(n), 10, 20);
    }
    c
}

#[test]
fn one_or_two_missing_answers_are_no_death() {
    for probes in 1..=2 {
        let mut c = silent(probes);
        c.capture_goes_on_until(1000.0);
        let flow = c.flow();
        assert_eq!(flow.verdict, Verdict::Unknown);
        assert_eq!(flow.end, End::Open);
    }
}

#[test]
fn three_missing_answers_are_death_if_the_capture_goes_on() {
    let mut c = silent(3);
    c.capture_goes_on_until(30.0);
    assert_eq!(c.flow().verdict, Verdict::Dead);
}

#[test]
fn the_last_probe_does_not_count_where_the_capture_ends_with_it() {
    assert_eq!(silent(3).flow().verdict, Verdict::Unknown);
    assert_eq!(silent(4).flow().verdict, Verdict::Dead);
}

#[test]
fn a_flow_that_survived_silence_needs_more() {
    let mut c = silent(4);
    c.answer(20.0, 10, 20);
    // Four went, the last was answered: three were lost. Seven are enough.
    for n in 0..6 {
        c.probe(30.6 + 3.0 * f64::from(n), 10, 20);
    }
    c.capture_goes_on_until(49.0);
    assert_eq!(c.frames().1.len(), 1);
    assert_eq!(c.flow().verdict, Verdict::Unknown);
}

#[test]
fn a_peer_that_sends_probes_of_its_own_is_not_dead() {
    let mut c = silent(5);
    c.ack(24.0, 'B', 20, 11);
    c.capture_goes_on_until(40.0);
    assert_ne!(c.flow().verdict, Verdict::Dead);
}

#[test]
fn a_peer_that_repeats_old_data_is_not_dead() {
    let mut c = silent(5);
    c.data(24.0, 'B', 1, 11, 20);
    c.capture_goes_on_until(40.0);
    assert_ne!(c.flow().verdict, Verdict::Dead);
}

#[test]
fn a_prober_gives_up_an_interval_after_the_last_probe() {
    let mut c = silent(3);
    c.give_up(19.7, 10, 20);
    assert!(matches!(
        c.kinds.last(),
        Some((10, FrameKind::Exhausted { unanswered: 3 }))
    ));
    let flow = c.flow();
    assert_eq!(flow.end, End::KeepAliveTimeout);
    assert_eq!(flow.reset_by, Some(FlowEnd::A));
    assert_eq!(flow.count(), Some(3));
    assert_eq!(flow.verdict, Verdict::Dead);
}

#[test]
fn a_reset_at_another_time_is_the_programs() {
    let mut c = silent(3);
    c.give_up(17.7, 10, 20);
    let flow = c.flow();
    assert_eq!(flow.end, End::Reset);
    assert_eq!(flow.count(), None);
    assert_eq!(flow.verdict, Verdict::Unknown);
}

#[test]
fn a_prober_that_gives_up_after_one_probe_proves_no_death() {
    let mut c = silent(1);
    c.give_up(13.7, 10, 20);
    let flow = c.flow();
    assert_eq!(flow.end, End::KeepAliveTimeout);
    assert_eq!(flow.count(), Some(1));
    assert_eq!(flow.verdict, Verdict::Unknown);
}

#[test]
fn a_peer_that_is_heard_after_the_prober_gave_up_lives() {
    let mut c = silent(3);
    c.give_up(19.7, 10, 20);
    c.data(20.0, 'B', 21, 11, 5);
    let flow = c.flow();
    assert_eq!(flow.end, End::KeepAliveTimeout);
    assert_eq!(flow.count(), Some(3));
    assert_ne!(flow.verdict, Verdict::Dead);
}

#[test]
fn a_peer_that_answers_with_a_reset_is_not_called_dead() {
    let mut c = silent(5);
    c.flagged(22.601, 'B', 21, 0, Flags::RST);
    let flow = c.flow();
    assert_eq!(flow.end, End::Reset);
    assert_eq!(flow.reset_by, Some(FlowEnd::B));
    assert_eq!(flow.verdict, Verdict::Unknown);
}

#[test]
fn ports_that_are_used_again_make_a_new_flow() {
    let mut c = talked();
    c.probe_and_answer(10.6, 10, 20);
    c.flagged(20.0, 'A', 900_000, 0, Flags::SYN);
    c.flagged(20.001, 'B', 800_000, 900_001, Flags::SYN | Flags::ACK);
    c.ack(20.002, 'A', 900_001, 800_001);
    c.taken('A', 20.002);
    c.ack(25.0, 'A', 900_000, 800_001);
    let flows = c.flows();
    assert_eq!(flows.len(), 2);
    assert_eq!((flows[0].packets, flows[1].packets), (8, 4));
    assert_eq!((flows[0].probes(), flows[1].probes()), (1, 1));
    assert_eq!(flows[1].first_frame, 9);
    assert!(flows[1].handshake_seen);
}

#[test]
fn a_syn_that_is_sent_again_makes_no_new_flow() {
    let mut c = Conversation::new();
    c.flagged(0.0, 'A', 0, 0, Flags::SYN);
    c.flagged(1.0, 'A', 0, 0, Flags::SYN);
    c.flagged(1.001, 'B', 0, 1, Flags::SYN | Flags::ACK);
    c.ack(1.002, 'A', 1, 1);
    c.data(2.0, 'A', 1, 1, 100);
    c.flagged(2.001, 'A', 0, 0, Flags::SYN);
    c.flagged(2.002, 'B', 0, 1, Flags::SYN | Flags::ACK);
    assert_eq!(c.flow().packets, 7);
}

#[test]
fn a_handshake_in_the_wrong_order_is_one_flow() {
    let mut c = Conversation::new();
    c.flagged(0.001, 'B', 0, 1, Flags::SYN | Flags::ACK);
    c.flagged(0.0, 'A', 0, 0, Flags::SYN);
    c.ack(0.002, 'A', 1, 1);
    let flow = c.flow();
    assert_eq!(flow.packets, 3);
    assert_eq!(flow.a.port(), 40000);
    assert!(flow.handshake_seen);
}

#[test]
fn flows_that_ended_leave_after_their_grace() {
    let mut c = talked();
    c.flagged(5.0, 'A', 11, 21, Flags::RST | Flags::ACK);
    let mut flows = Vec::new();
    c.tracker.take_ended(|flow| flows.push(flow));
    assert!(flows.is_empty());
    c.capture_goes_on_until(14.0);
    c.tracker.take_ended(|flow| flows.push(flow));
    assert!(flows.is_empty());
    c.capture_goes_on_until(16.0);
    c.tracker.take_ended(|flow| flows.push(flow));
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].end, End::Reset);
    assert_eq!(c.tracker.live_flows(), 1);
}
