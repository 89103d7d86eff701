//! Timers read from probes.

use crate::conversation::Conversation;
use crate::recognition::talked;
use tcpalive_capture::flow::{End, Verdict};
use tcpalive_segment::Flags;

#[test]
fn the_articles_third_test_is_10_20_5() {
    let mut c = Conversation::new();
    c.handshake();
    for at in [10.1, 31.0, 51.9, 72.0, 92.6] {
        c.probe(at, 0, 0);
    }
    c.give_up(114.0, 0, 0);
    let flow = c.flow();
    assert_eq!(flow.idle().unwrap().seconds, 10);
    assert_eq!(flow.interval().unwrap().seconds, 20);
    assert_eq!(flow.count(), Some(5));
    assert_eq!(flow.unanswered_run(), 5);
    assert_eq!(flow.end, End::KeepAliveTimeout);
    assert_eq!(flow.verdict, Verdict::Dead);
}

#[test]
fn the_articles_second_test_is_10_and_75_though_all_is_answered() {
    let mut c = Conversation::new();
    c.handshake();
    for at in [10.1, 85.4, 161.0, 236.5] {
        c.probe_and_answer(at, 0, 0);
    }
    let flow = c.flow();
    assert_eq!(flow.idle().unwrap().seconds, 10);
    assert_eq!(flow.interval().unwrap().seconds, 75);
    assert_eq!(flow.count(), None);
    assert_eq!(flow.verdict, Verdict::Alive);
}

#[test]
fn an_interval_behind_the_idle_time_stays_unknown_until_an_answer_is_missing() {
    let mut c = talked();
    for at in [60.7, 120.9, 181.5] {
        c.probe_and_answer(at, 10, 20);
    }
    c.probe(242.0, 10, 20);
    assert_eq!(c.frames().0.len(), 4);
    let mut later = talked();
    for at in [60.7, 120.9, 181.5] {
        later.probe_and_answer(at, 10, 20);
    }
    let flow = c.flow();
    assert_eq!(flow.idle().unwrap().seconds, 60);
    assert_eq!(flow.interval(), None);
    later.probe(242.0, 10, 20);
    later.probe(257.1, 10, 20);
    assert_eq!(later.flow().interval().unwrap().seconds, 15);
}

#[test]
fn an_idle_time_restarts_with_data() {
    let mut c = talked();
    c.probe_and_answer(10.7, 10, 20);
    c.probe_and_answer(20.9, 10, 20);
    c.data(25.0, 'B', 21, 11, 5);
    c.ack(25.001, 'A', 11, 26);
    c.probe_and_answer(35.1, 10, 25);
    let flow = c.flow();
    assert_eq!(flow.idle().unwrap().seconds, 10);
    assert_eq!(flow.interval(), None);
}

#[test]
fn what_a_prober_throws_away_does_not_count_as_heard() {
    let mut c = talked();
    // B's data again: A has it, and its kernel counts it for nothing.
    c.data(6.0, 'B', 1, 11, 20);
    c.probe_and_answer(10.7, 10, 20);
    let flow = c.flow();
    assert_eq!(flow.idle(), None);
}

#[test]
fn round_trips_are_those_of_answers_to_first_probes() {
    let mut c = talked();
    for (n, rtt) in [(1, 0.2), (2, 0.1), (3, 0.3)] {
        let at = f64::from(n) * 10.0;
        c.probe(at, 10, 20);
        c.answer(at + rtt, 10, 20);
    }
    c.probe(40.0, 10, 20);
    c.probe(50.0, 10, 20);
    c.answer(55.0, 10, 20);
    let rtt = c.flow().a_probing.round_trip.unwrap();
    assert_eq!(rtt.least.as_millis(), 100);
    assert_eq!(rtt.most.as_millis(), 300);
    assert!(rtt.least <= rtt.typical && rtt.typical <= rtt.most);
}

#[test]
fn an_eager_timer_of_one_second_is_read() {
    let mut c = talked();
    for n in 1..=3 {
        c.probe(f64::from(n) * 1.02 + 0.6, 10, 20);
    }
    c.give_up(4.7, 10, 20);
    let flow = c.flow();
    assert_eq!(flow.idle().unwrap().seconds, 1);
    assert_eq!(flow.interval().unwrap().seconds, 1);
    assert_eq!(flow.count(), Some(3));
}

#[test]
fn two_hours_are_read_from_a_timer_that_is_two_minutes_late() {
    let mut c = talked();
    c.probe_and_answer(7200.6 + 120.0, 10, 20);
    c.probe_and_answer(14_500.0, 10, 20);
    let idle = c.flow().idle().unwrap();
    assert_eq!(idle.seconds, 7200);
    assert!(idle.from <= 7200 && idle.to >= 7320);
}

#[test]
fn without_probes_nothing_is_inferred() {
    let mut c = talked();
    c.flagged(5.0, 'A', 11, 21, Flags::FIN | Flags::ACK);
    c.flagged(5.1, 'B', 21, 12, Flags::FIN | Flags::ACK);
    c.ack(5.2, 'A', 12, 22);
    let flow = c.flow();
    assert_eq!(flow.prober(), None);
    assert_eq!(
        (flow.idle(), flow.interval(), flow.count()),
        (None, None, None)
    );
    assert_eq!(flow.end, End::Fin);
    assert_eq!(flow.verdict, Verdict::Alive);
}
