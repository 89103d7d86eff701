//! Options that change while a connection lives.

use super::scene::{alive, count, idle, interval, silent, user_timeout};
use tcpalive_keepalive::SetOption::KeepAlive;

#[test]
fn count_is_kept_while_keepalive_is_off() {
    let scene = silent("1/1/2", 6.0)
        .set(2.4, KeepAlive(false))
        .set(2.8, KeepAlive(true));
    // A full idle time from then; both probes are still unanswered.
    assert_eq!(scene.seen(), ["1 probe 1", "2 probe 2", "3.8 ETIMEDOUT"]);
}

#[test]
fn keepalive_switched_on_late_begins_with_a_full_idle_time() {
    let scene = silent("1/1/1", 5.0)
        .set(0.3, KeepAlive(false))
        .set(2.0, KeepAlive(true));
    assert_eq!(scene.seen(), ["3 probe 1", "4 ETIMEDOUT"]);
}

#[test]
fn keepalive_switched_on_twice_changes_nothing() {
    let scene = silent("2/1/1", 4.0).set(1.0, KeepAlive(true));
    assert_eq!(scene.seen(), ["2 probe 1", "3 ETIMEDOUT"]);
}

#[test]
fn each_idle_time_set_past_it_sends_a_counted_probe_at_once() {
    let scene = silent("2/3/4", 6.0)
        .set(2.5, idle(1))
        .set(3.0, idle(1))
        .set(3.5, idle(2))
        .set(4.0, idle(1));
    assert_eq!(
        scene.seen(),
        [
            "2 probe 1",
            "2.5 probe 2",
            "3 probe 3",
            "3.5 probe 4",
            "4 ETIMEDOUT"
        ]
    );
}

#[test]
fn idle_time_set_before_it_is_over_moves_the_timer() {
    assert_eq!(
        silent("4/1/1", 3.5).set(0.5, idle(2)).seen(),
        ["2 probe 1", "3 ETIMEDOUT"]
    );
    assert_eq!(
        silent("1/1/1", 5.0).set(0.5, idle(3)).seen(),
        ["3 probe 1", "4 ETIMEDOUT"]
    );
}

#[test]
fn interval_and_count_do_not_move_the_timer() {
    let scene = silent("1/3/3", 6.5)
        .set(0.5, interval(2))
        .set(1.5, interval(1))
        .set(2.0, count(2));
    assert_eq!(scene.seen(), ["1 probe 1", "3 probe 2", "4 ETIMEDOUT"]);
}

#[test]
fn count_lowered_below_unanswered_probes_aborts_at_the_next_fire() {
    let scene = silent("1/1/4", 5.0).set(3.5, count(2));
    assert_eq!(
        scene.seen(),
        ["1 probe 1", "2 probe 2", "3 probe 3", "4 ETIMEDOUT"]
    );
}

#[test]
fn user_timeout_ends_at_the_fire_past_it_that_follows_a_probe() {
    assert_eq!(silent("4/2/9/1s", 7.0).seen(), ["4 probe 1", "6 ETIMEDOUT"]);
}

#[test]
fn with_a_user_timeout_the_count_is_not_looked_at() {
    assert_eq!(
        silent("1/1/1/3500ms", 5.0).seen(),
        ["1 probe 1", "2 probe 2", "3 probe 3", "4 ETIMEDOUT"]
    );
}

#[test]
fn user_timeout_set_and_taken_back_counts_at_the_next_fire() {
    let scene = silent("1/1/9/9s", 5.0).set(2.5, user_timeout(2000));
    assert_eq!(scene.seen(), ["1 probe 1", "2 probe 2", "3 ETIMEDOUT"]);
    let scene = silent("1/1/2/1500ms", 5.0).set(1.5, user_timeout(0));
    assert_eq!(scene.seen(), ["1 probe 1", "2 probe 2", "3 ETIMEDOUT"]);
}

#[test]
fn keepalive_off_is_no_probe() {
    assert_eq!(
        silent("1/1/1", 4.0).set(0.5, KeepAlive(false)).seen(),
        [""; 0]
    );
}

#[test]
fn listener_s_options_are_the_accepted_connection_s() {
    assert_eq!(
        silent("1/2/1", 4.0).accepted().seen(),
        ["1 probe 1", "3 ETIMEDOUT"]
    );
    assert_eq!(
        silent("1/1/9/2500ms", 4.0).accepted().seen(),
        ["1 probe 1", "2 probe 2", "3 ETIMEDOUT"]
    );
    let inherited_and_changed = alive("2/1/1", 6.0)
        .accepted()
        .peer(|peer| peer.silent_from = Some(tcpalive_keepalive::Time::from_secs(3)))
        .set(0.5, idle(1));
    assert_eq!(
        inherited_and_changed.seen(),
        [
            "1 probe 1",
            "1 answer",
            "2 probe 1",
            "2 answer",
            "3 probe 1",
            "4 ETIMEDOUT"
        ]
    );
}
