//! What holds for every plan, and for the connections that follow one.

use super::*;
use crate::{Action, Event, Machine, Sysctl, Time};
use alloc::vec::Vec;
use proptest::prelude::*;

/// Wishes of all sizes, many of them just possible.
fn wishes() -> impl Strategy<Value = (Option<u64>, Vec<u64>, u64, u32)> {
    let within = prop_oneof![
        Just(None),
        (0_u64..400_000).prop_map(Some),
        (0_u64..30_000).prop_map(Some),
        (0_u64..40_000_000).prop_map(Some),
    ];
    let timeouts = proptest::collection::vec(
        prop_oneof![0_u64..20_000, 0_u64..500_000, 0_u64..500_000_000],
        0..4,
    );
    let rtt = prop_oneof![0_u64..2_000, 0_u64..30_000];
    let hz = prop_oneof![Just(100), Just(250), Just(300), Just(1000)];
    (within, timeouts, rtt, hz)
}

/// Runs `check` with the wish that the milliseconds make.
fn with_wish(
    (within, timeouts, rtt, hz): &(Option<u64>, Vec<u64>, u64, u32),
    check: impl FnOnce(Wish<'_>),
) {
    let timeouts: Vec<IdleTimeout> = timeouts
        .iter()
        .map(|ms| IdleTimeout {
            after: Duration::from_millis(*ms),
            refreshed_by_probes: true,
        })
        .collect();
    check(Wish {
        detect_within: within.map(Duration::from_millis),
        idle_timeouts: &timeouts,
        rtt: Duration::from_millis(*rtt),
        hz: Hz::new(*hz).unwrap(),
    });
}

/// How the machine of a connection ends that follows the plan: the time of
/// the reset since the peer was last heard, and the probes until then. Each
/// fire is late by the given share of what the kernel may be late.
fn end_of_a_silent_peer(plan: &Plan, lateness: &[f64]) -> (Duration, u32) {
    let sysctl = Sysctl::LINUX;
    let mut shares = lateness.iter().cycle();
    let mut late = |now: Time, due: Time| {
        let most = plan.rules.hz.lateness(due.since(now));
        due + most.mul_f64(*shares.next().unwrap())
    };
    let start = Time::from_secs(1000);
    let (mut machine, action) = Machine::established(plan.params.into(), &sysctl, start);
    let Action::Arm(due) = action else {
        panic!("{action:?}")
    };
    let mut now = late(start, due);
    let mut probes = 0;
    loop {
        match machine.on_timer(now, &sysctl) {
            Action::Arm(due) => now = late(now, due),
            Action::Probe { next, .. } => {
                probes += 1;
                now = late(now, next);
            }
            Action::Abort(_) => return (now.since(start), probes),
            action => panic!("{action:?}"),
        }
    }
}

/// The longest silence that a box next to this host sees of a quiet peer that
/// answers, unless the probe with the index is lost; `None` if it is aborted.
fn longest_silence(plan: &Plan, lost: u32, probes: u32) -> Option<Duration> {
    let sysctl = Sysctl::LINUX;
    let rtt = plan.rules.rtt;
    let start = Time::from_secs(1000);
    let (mut machine, action) = Machine::established(plan.params.into(), &sysctl, start);
    let Action::Arm(due) = action else {
        panic!("{action:?}")
    };
    let mut timer = due;
    let mut answer = None;
    let (mut seen, mut longest, mut sent) = (start, Duration::ZERO, 0);
    while sent < probes {
        if let Some(at) = answer.filter(|at| *at <= timer) {
            answer = None;
            seen = at;
            assert_eq!(
                machine.handle(Event::Ack { outstanding: false }, at, &sysctl),
                Action::Keep
            );
            continue;
        }
        match machine.on_timer(timer, &sysctl) {
            Action::Arm(due) => timer = due,
            Action::Probe { next, .. } => {
                if sent != lost {
                    longest = longest.max(timer.since(seen));
                    seen = timer;
                    answer = Some(timer + rtt);
                }
                sent += 1;
                timer = next;
            }
            Action::Abort(_) => return None,
            action => panic!("{action:?}"),
        }
    }
    Some(longest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_plan_does_what_was_wished_or_says_what_is_possible(given in wishes()) {
        with_wish(&given, |wish| match wish.plan() {
            Ok(plan) => {
                let params = plan.params;
                if let Some(within) = wish.detect_within {
                    assert!(plan.detects_within() + plan.lateness() <= within, "{params}");
                }
                for timeout in wish.idle_timeouts {
                    assert!(plan.quiet() <= timeout.after * 4 / 5, "{params}");
                }
                assert!(params.interval <= params.idle, "{params}");
                assert!(params.count.get() >= 3, "{params}");
                assert!(params.interval.duration() >= wish.rtt * 4, "{params}");
                assert!(params.idle.get() <= 7200 || wish.rtt * 4 > Duration::from_secs(7200));
            }
            // What is said to be possible is.
            Err(Impossible::TooFast { at_least, wished, .. }) => {
                assert!(at_least > wished);
                let wish = Wish { detect_within: Some(at_least), idle_timeouts: &[], ..wish };
                assert!(wish.plan().is_ok(), "{at_least:?}");
            }
            Err(Impossible::ForgetsTooSoon { after, at_least, .. }) => {
                assert!(at_least > after);
                let timeout = IdleTimeout { after: at_least, refreshed_by_probes: true };
                let wish = Wish { detect_within: None, idle_timeouts: &[timeout], ..wish };
                assert!(wish.plan().is_ok(), "{at_least:?}");
            }
            Err(Impossible::RoundTripTooLong { .. }) => {
                assert!(wish.rtt * 4 > Duration::from_secs(32_767));
            }
            Err(Impossible::NotRefreshed { .. }) => panic!("all are refreshed"),
        });
    }

    #[test]
    fn what_is_called_impossible_has_no_values(
        within in 0_u64..14_000, timeout in 0_u64..14_000, rtt in 0_u64..900,
    ) {
        with_wish(&(Some(within), alloc::vec![timeout], rtt, 250), |wish| {
            let rules = Rules {
                detect_within: wish.detect_within,
                idle_timeout: Some(wish.idle_timeouts[0].after),
                rtt: wish.rtt,
                hz: wish.hz,
            };
            let any = (1..=14).any(|idle| {
                (1..=idle).any(|interval| (3..=9).any(|count| rules.allows(idle, interval, count)))
            });
            assert_eq!(any, wish.plan().is_ok());
        });
    }

    #[test]
    fn a_silent_peer_is_given_up_after_exactly_its_count_of_probes(given in wishes()) {
        with_wish(&given, |wish| {
            let Ok(plan) = wish.plan() else { return };
            let params = plan.params;
            let (end, probes) = end_of_a_silent_peer(&plan, &[0.0]);
            let count = u32::from(params.count.get());
            assert_eq!(end, params.idle.duration() + params.interval.duration() * count);
            assert_eq!(end, plan.detects_within());
            assert_eq!(probes, count, "{params}");
        });
    }

    #[test]
    fn late_timers_change_neither_the_probes_nor_the_promise(
        given in wishes(), lateness in proptest::collection::vec(0.0..=1.0, 1..8),
    ) {
        with_wish(&given, |wish| {
            let Ok(plan) = wish.plan() else { return };
            for lateness in [&lateness[..], &[1.0]] {
                let (end, probes) = end_of_a_silent_peer(&plan, lateness);
                assert_eq!(probes, u32::from(plan.params.count.get()), "{}", plan.params);
                assert!(end <= plan.detects_within() + plan.lateness(), "{}", plan.params);
            }
        });
    }

    #[test]
    fn a_peer_that_loses_one_answer_lives_and_its_way_stays_open(
        given in wishes(), lost in 0_u32..12,
    ) {
        with_wish(&given, |wish| {
            let Ok(plan) = wish.plan() else { return };
            let silence = longest_silence(&plan, lost, 12);
            assert!(silence.is_some(), "{} is aborted", plan.params);
            for timeout in wish.idle_timeouts {
                assert!(silence.unwrap() <= timeout.after, "{}", plan.params);
            }
            // With nothing lost it is the idle time, by an exact clock.
            let silence = longest_silence(&plan, u32::MAX, 12).unwrap();
            assert_eq!(silence, plan.params.idle.duration());
            assert_eq!(silence + wish.rtt, plan.probe_period());
        });
    }

    #[test]
    fn data_in_flight_are_given_up_no_later_than_silence(given in wishes()) {
        with_wish(&given, |wish| {
            let Ok(plan) = wish.plan() else { return };
            let user_timeout = plan.params.user_timeout.duration().unwrap();
            let last = plan.detects_within() - plan.params.interval.duration();
            assert!(last < user_timeout && user_timeout <= plan.detects_within());
        });
    }
}

#[test]
fn an_entry_that_probes_do_not_refresh_is_impossible_whatever_else() {
    let timeouts = [(350, true), (60, false)].map(|(seconds, refreshed_by_probes)| IdleTimeout {
        after: Duration::from_secs(seconds),
        refreshed_by_probes,
    });
    let wish = Wish {
        idle_timeouts: &timeouts,
        ..Wish::default()
    };
    let after = Duration::from_secs(60);
    assert_eq!(
        wish.plan().unwrap_err(),
        Impossible::NotRefreshed { index: 1, after }
    );
}
