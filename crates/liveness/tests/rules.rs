//! Properties of the rules that decide when a connection is probed and when
//! silence is enough.

use proptest::prelude::*;
use std::time::Duration;
use tcpalive_liveness::loss::{Answers, UNREACHABLE, required_probes};
use tcpalive_liveness::schedule::{MINIMAL_INTERVAL, Schedule};

/// When probes go out until the last one, and whether each has a byte.
fn probes(schedule: &Schedule, required: u32) -> Vec<(Duration, bool)> {
    let mut at = Duration::ZERO;
    let mut probes = Vec::new();
    loop {
        let sent = u32::try_from(probes.len()).unwrap();
        probes.push((at, schedule.is_garbage(sent, at, required)));
        if schedule.is_last(sent, at, required) {
            return probes;
        }
        at = schedule.next(sent + 1, at);
    }
}

prop_compose! {
    fn schedules()(
        probes in 1_u32..30,
        interval_ms in 0_u64..10_000,
        window_ms in 0_u64..200_000,
    ) -> Schedule {
        Schedule::new(probes, Duration::from_millis(interval_ms), Duration::from_millis(window_ms))
    }
}

fn answers(at_probes: &[u32]) -> Answers {
    let mut answers = Answers::default();
    for probe in at_probes {
        answers.record(*probe);
    }
    answers
}

proptest! {
    #[test]
    fn probes_keep_their_distance_and_cover_the_window(
        schedule in schedules(),
        required in 0_u32..60,
    ) {
        let probes = probes(&schedule, required);
        prop_assert!(probes.len() >= required.max(schedule.probes) as usize);
        for two in probes.windows(2) {
            prop_assert!(two[1].0 - two[0].0 >= schedule.interval.max(MINIMAL_INTERVAL));
        }
        // The verdict falls one interval after the last, not before the
        // window is over, and no more than an interval after it unless more
        // probes are required than it has room for.
        let end = probes.last().unwrap().0 + schedule.interval;
        prop_assert!(end >= schedule.window);
        if required <= schedule.probes {
            prop_assert!(end <= schedule.window + schedule.interval);
        }
    }

    #[test]
    fn the_last_probe_has_a_byte_and_none_of_the_first_half_has(
        schedule in schedules(),
        required in 0_u32..60,
    ) {
        let probes = probes(&schedule, required);
        let (last, before) = probes.split_last().unwrap();
        prop_assert!(last.1);
        for (at, garbage) in before {
            prop_assert!(!garbage || *at * 2 >= schedule.window);
        }
    }

    #[test]
    fn a_smaller_error_asks_for_no_fewer_probes(
        seen in prop::collection::vec(1_u32..8, 0..40),
        elsewhere in prop::collection::vec(1_u32..8, 0..40),
        rounds in 1_u32..20,
    ) {
        let (host, overall) = (answers(&seen), answers(&elsewhere));
        let asked: Vec<_> = [1e-3, 1e-6, 1e-9]
            .map(|error| required_probes(&host, &overall, rounds, error))
            .into();
        prop_assert!(asked.is_sorted(), "{asked:?}");
        prop_assert!((2..=UNREACHABLE).contains(&asked[0]));
    }

    #[test]
    fn answers_that_took_longer_ask_for_no_fewer_probes(
        seen in prop::collection::vec(1_u32..6, 1..60),
        rounds in 6_u32..20,
    ) {
        let slower: Vec<_> = seen.iter().map(|probe| probe + 1).collect();
        let asked = required_probes(&answers(&seen), &Answers::default(), rounds, 1e-6);
        let asked_slower = required_probes(&answers(&slower), &Answers::default(), rounds, 1e-6);
        prop_assert!(asked_slower >= asked, "{asked} and {asked_slower}");
    }

    #[test]
    fn what_other_hosts_lost_is_held_against_silence_too(
        seen in prop::collection::vec(1_u32..6, 1..60),
        rounds in 6_u32..20,
    ) {
        let alone = required_probes(&Answers::default(), &Answers::default(), rounds, 1e-6);
        let beside = required_probes(&Answers::default(), &answers(&seen), rounds, 1e-6);
        prop_assert!(beside >= alone, "{alone} and {beside}");
    }
}

/// A whole run: `connections` to one living host, exchanges lost with chance
/// `q`, at least `least` probes before any verdict. How many are called dead?
fn wrong_deaths(random: &mut u64, q: f64, connections: u32, least: u32) -> u32 {
    let mut lost = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        ((*random >> 11) as f64) < q * (1_u64 << 53) as f64
    };
    let mut host = Answers::default();
    let mut silent = connections;
    for round in 1..=60 {
        let answered = (0..silent).filter(|_| !lost()).count();
        for _ in 0..answered {
            host.record(round);
        }
        silent -= u32::try_from(answered).unwrap();
        if silent == 0 {
            return 0;
        }
        if round >= least && required_probes(&host, &host, round, 1e-6) <= round {
            return silent;
        }
    }
    0
}

/// With few connections there is little to learn from. The nine probes of the
/// longer window make up for it.
#[test]
fn few_connections_under_loss_are_safe_within_the_longer_window() {
    let mut random = 0x2545_f491_4f6c_dd1d;
    for (q, connections) in [
        (0.19, 1),
        (0.19, 2),
        (0.19, 5),
        (0.19, 20),
        (0.36, 5),
        (0.36, 20),
    ] {
        let wrong: u32 = (0..300)
            .map(|_| wrong_deaths(&mut random, q, connections, 9))
            .sum();
        assert_eq!(wrong, 0, "{connections} connections, {q} lost");
    }
}
