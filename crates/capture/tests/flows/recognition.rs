//! What is a probe, what an answer, and what looks like one.

use crate::conversation::{Conversation, Has};
use tcpalive_capture::flow::{FlowEnd, FrameKind, Verdict};
use tcpalive_segment::Flags;

/// Handshake, 10 bytes from A, 20 from B, all acknowledged by 1 s.
pub(crate) fn talked() -> Conversation {
    let mut c = Conversation::new();
    c.handshake();
    c.data(0.5, 'A', 1, 1, 10);
    c.data(0.6, 'B', 1, 11, 20);
    c.ack(1.0, 'A', 11, 21);
    c.taken('A', 1.0);
    c
}

fn no_probes(c: Conversation) {
    assert_eq!(c.frames(), (vec![], vec![]));
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (0, 0), "{flow:?}");
}

#[test]
fn a_probe_and_its_answer_are_recognised() {
    let mut c = talked();
    c.probe_and_answer(10.6, 10, 20);
    assert_eq!(c.frames(), (vec![7], vec![8]));
    assert!(matches!(
        c.kinds[1].1,
        FrameKind::KeepAliveAck { delay_ns } if delay_ns.abs_diff(1_000_000) < 1_000
    ));
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (1, 1));
    assert_eq!(flow.prober(), Some(FlowEnd::A));
    assert_eq!(flow.unanswered_run(), 0);
    assert_eq!(flow.verdict, Verdict::Alive);
    assert!(flow.handshake_seen);
    assert_eq!(flow.a.port(), 40000);
}

#[test]
fn probes_are_counted_until_an_answer_comes() {
    let mut c = talked();
    c.probe(10.0, 10, 20);
    c.probe(20.0, 10, 20);
    c.probe_and_answer(30.0, 10, 20);
    c.probe(40.0, 10, 20);
    let runs: Vec<_> = c
        .kinds
        .iter()
        .filter_map(|(_, kind)| match kind {
            FrameKind::KeepAlive { unanswered, .. } => Some(*unanswered),
            _ => None,
        })
        .collect();
    assert_eq!(runs, [1, 2, 3, 1]);
    let flow = c.flow();
    assert_eq!(flow.unanswered_run(), 2);
    assert_eq!(flow.a_probing.unanswered_at_end, 1);
}

#[test]
fn a_window_update_stands_at_the_next_number_and_is_no_probe() {
    let mut c = talked();
    c.window = 200;
    c.ack(5.0, 'A', 11, 21);
    c.ack(9.0, 'A', 11, 21);
    no_probes(c);
}

#[test]
fn duplicate_acks_are_no_probes() {
    let mut c = talked();
    for n in 0..5 {
        c.ack(2.0 + f64::from(n) * 0.001, 'A', 11, 21);
    }
    no_probes(c);
}

#[test]
fn one_byte_typed_at_a_time_is_no_probe() {
    let mut c = talked();
    for n in 0..20 {
        let at = 2.0 + f64::from(n);
        c.data(at, 'A', 11 + n, 21 + n, 1);
        c.data(at + 0.01, 'B', 21 + n, 12 + n, 1);
        c.ack(at + 0.05, 'A', 12 + n, 22 + n);
    }
    no_probes(c);
}

#[test]
fn one_byte_that_is_sent_again_because_its_ack_was_lost_is_no_probe() {
    let mut c = talked();
    c.data(2.0, 'A', 11, 21, 1);
    let mut at = 2.0;
    for n in 0..8 {
        c.ack(at + 0.01, 'B', 21, 12);
        at += 0.4 * f64::from(1 << n);
        c.data(at, 'A', 11, 21, 1);
    }
    no_probes(c);
}

#[test]
fn a_lost_last_byte_that_is_sent_again_is_no_probe() {
    let mut c = talked();
    c.data(2.0, 'A', 11, 21, 5);
    c.data(2.001, 'A', 16, 21, 1);
    c.ack(2.002, 'B', 21, 16);
    c.data(2.3, 'A', 16, 21, 1);
    c.data(2.9, 'A', 16, 21, 1);
    no_probes(c);
}

#[test]
fn one_byte_that_the_peer_has_is_a_garbage_probe() {
    let mut c = talked();
    for at in [10.0, 20.0] {
        c.data(at, 'A', 10, 21, 1);
        c.ack(at + 0.001, 'B', 21, 11);
    }
    assert_eq!(c.frames(), (vec![7, 9], vec![8, 10]));
    let flow = c.flow();
    assert_eq!(flow.a_probing.garbage, 2);
    assert_eq!(flow.answers(), 2);
}

#[test]
fn behind_a_typed_byte_garbage_probes_show_by_their_even_spacing() {
    let mut c = talked();
    c.data(2.0, 'A', 11, 21, 1);
    c.ack(2.001, 'B', 21, 12);
    for n in 1..=4 {
        let at = 2.0 + f64::from(n) * 10.0;
        c.data(at, 'A', 11, 21, 1);
        c.ack(at + 0.001, 'B', 21, 12);
    }
    assert_eq!(c.frames(), (vec![9, 11, 13, 15], vec![10, 12, 14, 16]));
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (4, 4));
}

#[test]
fn a_byte_repeated_later_than_any_retransmission_is_a_garbage_probe() {
    let mut c = talked();
    c.data(2.0, 'A', 11, 21, 1);
    c.ack(2.001, 'B', 21, 12);
    c.data(7202.0, 'A', 11, 21, 1);
    assert_eq!(c.frames().0, [9]);
}

#[test]
fn an_ack_that_a_byte_overtook_is_no_probe() {
    let mut c = talked();
    c.data(2.0, 'A', 11, 21, 1);
    c.ack(2.0002, 'B', 21, 12);
    c.ack(2.0004, 'A', 11, 21);
    no_probes(c);
}

#[test]
fn an_ack_that_the_fin_overtook_is_no_probe() {
    let mut c = talked();
    c.flagged(2.0, 'A', 11, 21, Flags::FIN | Flags::ACK);
    c.ack(2.001, 'B', 21, 12);
    c.ack(2.002, 'A', 11, 21);
    no_probes(c);
}

#[test]
fn a_connection_that_one_end_closed_is_probed_behind_its_fin() {
    let mut c = talked();
    c.flagged(2.0, 'A', 11, 21, Flags::FIN | Flags::ACK);
    c.ack(2.001, 'B', 21, 12);
    c.probe_and_answer(12.0, 11, 20);
    assert_eq!(c.frames(), (vec![9], vec![10]));
}

#[test]
fn probes_of_a_closed_window_are_kept_apart() {
    let mut c = talked();
    c.window = 0;
    c.ack(2.0, 'B', 21, 11);
    c.window = 100;
    c.probe(3.0, 10, 20);
    c.window = 0;
    c.answer(3.001, 10, 20);
    c.window = 100;
    c.probe(5.0, 10, 20);
    assert_eq!(c.frames(), (vec![], vec![]));
    let flow = c.flow();
    assert_eq!(flow.probes(), 0);
    assert_eq!(flow.a_probing.zero_window_probes, 2);
}

#[test]
fn a_byte_into_a_closed_window_is_a_probe_of_the_window() {
    let mut c = talked();
    c.window = 0;
    c.ack(2.0, 'B', 21, 11);
    for at in [3.0, 5.0, 9.0] {
        c.window = 100;
        c.data(at, 'A', 11, 21, 1);
        c.window = 0;
        c.ack(at + 0.001, 'B', 21, 11);
    }
    let flow = c.flow();
    assert_eq!(flow.probes(), 0);
    assert_eq!(flow.a_probing.zero_window_probes, 3);
}

#[test]
fn both_ends_probe_independently() {
    let mut c = talked();
    for n in 1..=3 {
        let at = f64::from(n) * 10.0;
        c.probe(at, 10, 20);
        // B's own probe crosses A's.
        c.ack(at + 0.0002, 'B', 20, 11);
        c.answer(at + 0.001, 10, 20);
        c.ack(at + 0.0012, 'A', 11, 21);
        c.taken('A', at + 0.0012);
    }
    assert_eq!(c.frames().0, [7, 8, 11, 12, 15, 16]);
    assert_eq!(c.frames().1, [9, 10, 13, 14, 17, 18]);
    let flow = c.flow();
    assert!(flow.both_probe());
    assert_eq!((flow.a_probing.probes, flow.b_probing.probes), (3, 3));
    assert_eq!((flow.a_probing.answers, flow.b_probing.answers), (3, 3));
    assert_eq!(flow.verdict, Verdict::Alive);
}

#[test]
fn a_packet_captured_twice_counts_once() {
    let mut c = talked();
    for at in [10.0, 20.0, 30.0] {
        c.probe(at, 10, 20);
        c.probe(at + 0.000_01, 10, 20);
        c.answer(at + 0.001, 10, 20);
        c.answer(at + 0.001_01, 10, 20);
    }
    assert_eq!(c.frames().0.len(), 6);
    assert_eq!(c.frames().1.len(), 6);
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (3, 3));
    assert_eq!(flow.a_probing.period.unwrap().as_millis(), 10_000);
}

#[test]
fn data_instead_of_an_answer_ends_the_run() {
    let mut c = talked();
    c.probe(10.0, 10, 20);
    c.data(10.5, 'B', 21, 11, 5);
    c.ack(10.6, 'A', 11, 26);
    c.probe(20.5, 10, 25);
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (2, 0));
    assert_eq!(flow.a_probing.unanswered_at_end, 1);
    assert_eq!(flow.unanswered_run(), 1);
}

#[test]
fn time_that_runs_backwards_a_little_does_no_harm() {
    let mut c = talked();
    c.probe(10.0, 10, 20);
    c.answer(9.9999, 10, 20);
    c.probe(20.0, 10, 20);
    c.answer(19.9999, 10, 20);
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (2, 2));
    assert_eq!(flow.verdict, Verdict::Alive);
}

#[test]
fn a_probe_without_timestamps_is_a_probe() {
    let mut c = Conversation::new();
    c.timestamps = false;
    c.handshake();
    c.probe_and_answer(10.0, 0, 0);
    assert_eq!(c.frames(), (vec![4], vec![5]));
}

#[test]
fn a_segment_without_ack_is_nothing() {
    let mut c = talked();
    c.flagged(5.0, 'A', 10, 21, Flags::NONE);
    c.send(
        6.0,
        'A',
        10,
        21,
        Has {
            length: 1,
            flags: Some(Flags::URG),
        },
    );
    no_probes(c);
}
