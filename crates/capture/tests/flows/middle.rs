//! Captures that begin in the middle, or show one direction only.

use crate::conversation::Conversation;
use tcpalive_capture::flow::{End, FlowEnd, FrameKind, Verdict};
use tcpalive_segment::Flags;

#[test]
fn a_capture_that_begins_with_a_probe_has_it() {
    let mut c = Conversation::new();
    c.probe_and_answer(10.0, 10, 20);
    c.probe_and_answer(20.0, 10, 20);
    assert_eq!(c.frames(), (vec![1, 3], vec![2, 4]));
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (2, 2));
    assert_eq!(flow.prober(), Some(FlowEnd::A));
    assert_eq!(flow.b_probing.unconfirmed, 0);
    assert_eq!(flow.verdict, Verdict::Alive);
    assert!(!flow.handshake_seen);
}

#[test]
fn a_capture_that_begins_with_an_answer_has_the_next_probe() {
    let mut c = Conversation::new();
    c.answer(0.0, 10, 20);
    c.probe_and_answer(10.0, 10, 20);
    assert_eq!(c.frames(), (vec![2], vec![3]));
    // B sent the first packet.
    assert_eq!(c.flow().prober(), Some(FlowEnd::B));
}

#[test]
fn probes_at_the_beginning_are_found_when_the_answer_comes_late() {
    let mut c = Conversation::new();
    c.probe(10.0, 10, 20);
    c.probe(11.0, 10, 20);
    assert_eq!(c.frames(), (vec![], vec![]));
    c.probe_and_answer(12.0, 10, 20);
    assert_eq!(c.frames(), (vec![1, 2, 3], vec![4]));
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (3, 1));
    assert_eq!(flow.unanswered_run(), 2);
    assert_eq!(flow.interval().unwrap().seconds, 1);
}

#[test]
fn both_ends_first_packets_may_be_probes() {
    let mut c = Conversation::new();
    c.probe(10.0, 10, 20);
    c.ack(10.0002, 'B', 20, 11);
    c.answer(10.001, 10, 20);
    c.ack(10.0012, 'A', 11, 21);
    assert_eq!(c.frames(), (vec![1, 2], vec![3, 4]));
}

#[test]
fn an_ordinary_ack_at_the_beginning_is_no_probe() {
    let mut c = Conversation::new();
    c.ack(10.0, 'A', 11, 21);
    c.data(11.0, 'B', 21, 11, 5);
    c.ack(11.1, 'A', 11, 26);
    c.data(12.0, 'A', 11, 26, 1);
    c.ack(12.1, 'B', 26, 12);
    assert_eq!(c.frames(), (vec![], vec![]));
    let flow = c.flow();
    assert_eq!(flow.probes(), 0);
    assert_eq!(flow.a_probing.unconfirmed, 0);
}

#[test]
fn what_a_prober_sends_next_shows_that_it_probed() {
    let mut c = Conversation::new();
    c.probe(10.0, 10, 20);
    c.probe(11.0, 10, 20);
    c.data(11.5, 'A', 11, 21, 3);
    assert_eq!(c.frames().0, [1, 2]);
}

#[test]
fn what_comes_next_may_show_that_nobody_probed() {
    let mut c = Conversation::new();
    c.ack(10.0, 'A', 11, 21);
    c.ack(11.0, 'A', 11, 21);
    c.data(11.5, 'A', 11, 21, 1);
    assert_eq!(c.frames().0, [] as [u64; 0]);
    assert_eq!(c.flow().a_probing.unconfirmed, 0);
}

#[test]
fn a_reset_behind_an_even_run_shows_that_the_prober_gave_up() {
    let mut c = Conversation::new();
    for n in 0..5 {
        c.probe(10.0 + 2.0 * f64::from(n), 10, 20);
    }
    c.give_up(20.0, 10, 20);
    assert_eq!(c.frames().0, [1, 2, 3, 4, 5]);
    let flow = c.flow();
    assert_eq!(flow.end, End::KeepAliveTimeout);
    assert_eq!(flow.verdict, Verdict::Dead);
    assert_eq!(flow.count(), Some(5));
    assert_eq!(flow.interval().unwrap().seconds, 2);
    assert_eq!(flow.idle(), None);
}

#[test]
fn probes_of_which_nothing_shows_that_they_are_stay_unconfirmed() {
    let mut c = Conversation::new();
    for n in 0..5 {
        c.probe(10.0 + 2.0 * f64::from(n), 10, 20);
    }
    c.capture_goes_on_until(100.0);
    let flow = c.flow();
    assert_eq!(flow.probes(), 0);
    assert_eq!(flow.a_probing.unconfirmed, 5);
    assert_eq!(flow.verdict, Verdict::Unknown);
}

#[test]
fn probes_at_the_beginning_are_of_the_window_if_the_answer_says_it_is_closed() {
    let mut c = Conversation::new();
    c.probe(10.0, 10, 20);
    c.window = 0;
    c.answer(10.001, 10, 20);
    c.window = 100;
    c.probe(10.8, 10, 20);
    assert_eq!(c.frames(), (vec![], vec![]));
    assert_eq!(
        c.kinds,
        [
            (1, FrameKind::ZeroWindowProbe),
            (3, FrameKind::ZeroWindowProbe)
        ]
    );
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (0, 0));
    assert_eq!(flow.a_probing.zero_window_probes, 2);
    assert_eq!(flow.b_probing.zero_window_probes, 0);
}

#[test]
fn answers_alone_are_no_probes() {
    let mut c = Conversation::new();
    c.only = Some('B');
    for n in 1..8 {
        c.probe_and_answer(10.0 * f64::from(n), 10, 20);
    }
    c.capture_goes_on_until(1000.0);
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (0, 0));
    assert_eq!(flow.verdict, Verdict::Unknown);
}

#[test]
fn answers_alone_and_a_close_are_no_probes() {
    let mut c = Conversation::new();
    c.only = Some('B');
    for n in 1..8 {
        c.probe_and_answer(10.0 * f64::from(n), 10, 20);
    }
    c.flagged(75.0, 'B', 21, 11, Flags::FIN | Flags::ACK);
    let flow = c.flow();
    assert_eq!(flow.probes(), 0);
    assert_eq!(flow.end, End::Fin);
}

#[test]
fn probes_of_one_direction_are_seen_behind_data_and_prove_no_death() {
    let mut c = Conversation::new();
    c.only = Some('A');
    c.handshake();
    c.data(0.5, 'A', 1, 1, 10);
    c.ack(0.501, 'B', 1, 11);
    c.taken('B', 0.501);
    for n in 1..8 {
        c.probe_and_answer(10.0 * f64::from(n), 10, 0);
    }
    c.capture_goes_on_until(1000.0);
    let flow = c.flow();
    assert_eq!((flow.probes(), flow.answers()), (7, 0));
    assert_ne!(flow.verdict, Verdict::Dead);
}

#[test]
fn a_direction_that_vanishes_from_the_capture_is_no_death() {
    for timestamps in [true, false] {
        let mut c = Conversation::new();
        c.timestamps = timestamps;
        c.handshake();
        c.probe_and_answer(10.0, 0, 0);
        c.probe_and_answer(20.0, 0, 0);
        c.only = Some('A');
        for n in 3..20 {
            c.probe_and_answer(10.0 * f64::from(n), 0, 0);
        }
        c.only = None;
        c.capture_goes_on_until(300.0);
        assert_ne!(c.flow().verdict, Verdict::Dead, "timestamps: {timestamps}");
    }
}

#[test]
fn a_late_start_does_not_take_the_interval_for_the_idle_time() {
    // Idle 1 s, interval 75 s: what comes 10 s after a probe puts off
    // nothing, for the timer is set to 75 s already.
    let mut c = Conversation::new();
    c.from = 5.0;
    c.probe_and_answer(0.0, 10, 20);
    c.data(10.0, 'B', 21, 11, 5);
    c.ack(10.001, 'A', 11, 26);
    c.probe_and_answer(75.0, 10, 25);
    c.data(80.0, 'B', 26, 11, 5);
    c.ack(80.001, 'A', 11, 31);
    c.probe_and_answer(150.0, 10, 30);
    c.probe_and_answer(225.0, 10, 30);
    let flow = c.flow();
    assert_eq!(flow.interval().map(|interval| interval.seconds), Some(75));
    assert_eq!(flow.idle(), None, "{flow:?}");
}
