//! The wheel against a model that keeps every deadline in a map.

use super::*;
use alloc::collections::{BTreeMap, BTreeSet};
use proptest::prelude::*;

const TICK: u64 = 4_000_000;
const TIMERS: u32 = 40;

#[derive(Debug, Clone)]
enum Step {
    /// Arms the timer so many nanoseconds from now, or before now.
    Arm(u32, i128),
    /// Arms the timer for the deadline of another one.
    ArmLike(u32, u32),
    /// Never, in effect.
    ArmAtTheEnd(u32),
    Cancel(u32),
    /// Pops all, so many nanoseconds later.
    Advance(u64),
    /// The same, in batches of so many.
    AdvanceInBatches(u64, usize),
    /// Pops so many, so many nanoseconds later, and leaves the rest.
    PopSome(u64, usize),
    /// Pops all that `next_expiry` leads to, so many times.
    Follow(usize),
    /// A clock that goes backwards.
    Back(u64),
}

/// Distances of all magnitudes, with those at which levels end.
fn distance() -> impl Strategy<Value = u64> {
    let near = |bits: u32| {
        (0_u64..600, 0_u64..3).prop_map(move |(offset, odd)| {
            ((1_u64 << bits) + offset).saturating_sub(300) * TICK + odd
        })
    };
    prop_oneof![
        4 => 0..20 * TICK,
        4 => 0..300 * TICK,
        2 => near(8),
        2 => near(16),
        1 => near(24),
        1 => near(32),
        2 => (0_u32..62).prop_flat_map(|bits| (1_u64 << bits)..(2_u64 << bits)),
        2 => prop_oneof![Just(10_u64), Just(75), Just(7200)].prop_map(|s| s * 1_000_000_000),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let timer = || 0..TIMERS;
    // Coarse jumps are rare, so that timers meet each other.
    let pace = || prop_oneof![6 => 0..5 * TICK, 3 => 0..400 * TICK, 1 => distance()];
    prop_oneof![
        8 => (timer(), distance()).prop_map(|(t, d)| Step::Arm(t, d.into())),
        2 => (timer(), distance()).prop_map(|(t, d)| Step::Arm(t, -i128::from(d))),
        2 => (timer(), timer()).prop_map(|(t, like)| Step::ArmLike(t, like)),
        1 => timer().prop_map(Step::ArmAtTheEnd),
        3 => timer().prop_map(Step::Cancel),
        4 => pace().prop_map(Step::Advance),
        2 => (pace(), 1_usize..20).prop_map(|(d, n)| Step::AdvanceInBatches(d, n)),
        3 => (pace(), 1_usize..6).prop_map(|(d, n)| Step::PopSome(d, n)),
        2 => (1_usize..6).prop_map(Step::Follow),
        1 => distance().prop_map(Step::Back),
    ]
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        // Where the ticks need one bit more.
        (
            prop_oneof![Just(8), Just(16), Just(24), Just(32), Just(40)],
            0_u64..600,
            0..TICK
        )
            .prop_map(
                |(bits, offset, odd)| ((1_u64 << bits) + offset).saturating_sub(300) * TICK + odd
            ),
        // Near the end of time.
        (0..1_u64 << 50).prop_map(|before| u64::MAX - before),
        any::<u64>(),
    ]
}

struct Model {
    wheel: Wheel,
    armed: BTreeMap<u32, u64>,
    /// The latest time that the wheel was told.
    now: u64,
    /// Popping was left before it came to an end, so that a timer that was
    /// armed for the past may have to wait for that end.
    interrupted: bool,
}

fn is_due(deadline: u64, now: u64) -> bool {
    now == u64::MAX || u128::from(deadline).div_ceil(TICK.into()) * u128::from(TICK) <= now.into()
}

fn rounded_up(deadline: u64) -> u64 {
    deadline.div_ceil(TICK).saturating_mul(TICK)
}

impl Model {
    fn new(start: u64) -> Self {
        Self {
            wheel: Wheel::new(Duration::from_nanos(TICK), Time::from_nanos(start)),
            armed: BTreeMap::new(),
            now: start,
            interrupted: false,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Arm(timer, distance) => {
                let deadline = (i128::from(self.now) + distance).clamp(0, u64::MAX.into());
                self.arm(timer, deadline as u64);
            }
            Step::ArmLike(timer, like) => {
                if let Some(&deadline) = self.armed.get(&like) {
                    self.arm(timer, deadline);
                }
            }
            Step::ArmAtTheEnd(timer) => self.arm(timer, u64::MAX),
            Step::Cancel(timer) => {
                self.wheel.cancel(timer);
                self.armed.remove(&timer);
            }
            Step::Advance(by) => self.advance(self.now.saturating_add(by), 0),
            Step::AdvanceInBatches(by, size) => self.advance(self.now.saturating_add(by), size),
            Step::PopSome(by, count) => {
                let until = self.now.saturating_add(by);
                self.now = until;
                self.interrupted = true;
                for _ in 0..count {
                    let Some(timer) = self.wheel.pop(Time::from_nanos(until)) else {
                        self.interrupted = false;
                        break;
                    };
                    self.expired(timer);
                }
            }
            Step::Follow(times) => {
                for _ in 0..times {
                    let Some(next) = self.wheel.next_expiry() else {
                        assert!(self.armed.is_empty());
                        break;
                    };
                    self.advance(next.as_nanos().max(self.now), 3);
                }
            }
            Step::Back(by) => {
                let before = Time::from_nanos(self.now.saturating_sub(by));
                while let Some(timer) = self.wheel.pop(before) {
                    self.expired(timer);
                }
                self.interrupted = false;
            }
        }
        self.check();
    }

    fn arm(&mut self, timer: u32, deadline: u64) {
        self.wheel.arm(timer, Time::from_nanos(deadline));
        self.armed.insert(timer, deadline);
    }

    fn expired(&mut self, timer: u32) -> u64 {
        let deadline = self.armed.remove(&timer).expect("popped but not armed");
        assert!(deadline <= self.now, "early");
        assert!(is_due(deadline, self.now), "before the tick is over");
        deadline
    }

    fn advance(&mut self, until: u64, batch: usize) {
        let before = core::mem::replace(&mut self.now, until);
        let mut expected: BTreeSet<u32> = self
            .armed
            .iter()
            .filter(|(_, deadline)| is_due(**deadline, until))
            .map(|(timer, _)| *timer)
            .collect();
        let mut last = 0;
        for _ in 0..1 + usize::from(self.interrupted) {
            let mut popped = vec![0; batch.max(1)];
            loop {
                let count = match batch {
                    0 => self.wheel.pop(Time::from_nanos(until)).map_or(0, |timer| {
                        popped[0] = timer;
                        1
                    }),
                    _ => self.wheel.pop_batch(Time::from_nanos(until), &mut popped),
                };
                for &timer in &popped[..count] {
                    let deadline = rounded_up(self.expired(timer));
                    assert!(expected.remove(&timer), "{timer} popped twice");
                    // What was due already has no place in the order.
                    if !is_due(deadline, before) && !self.interrupted {
                        assert!(deadline >= last, "out of order");
                        last = deadline;
                    }
                }
                if count == 0 {
                    break;
                }
            }
        }
        self.interrupted = false;
        assert!(expected.is_empty(), "lost: {expected:?}");
    }

    fn check(&self) {
        assert_eq!(self.wheel.armed(), self.armed.len());
        for timer in 0..TIMERS {
            let deadline = self.armed.get(&timer).copied();
            assert_eq!(
                self.wheel.deadline(timer).map(Time::as_nanos),
                deadline.map(rounded_up)
            );
        }
        match self.armed.values().min() {
            None => assert_eq!(self.wheel.next_expiry(), None),
            Some(&earliest) => {
                let next = self.wheel.next_expiry().expect("a timer is armed");
                assert!(next.as_nanos() <= rounded_up(earliest).max(self.now));
            }
        }
        self.wheel.check();
    }
}

impl Wheel {
    /// What holds between calls.
    fn check(&self) {
        let (mut entries, mut filed) = (0, 0);
        for place in Place::all() {
            let mut valid = BTreeSet::new();
            let mut count = 0;
            for timer in self.buckets.entries(place) {
                count += 1;
                if self.records[timer as usize].place() == place {
                    valid.insert(timer);
                }
            }
            self.buckets.check(place, count, valid.len());
            for timer in &valid {
                let record = self.records[*timer as usize];
                assert!(place.tick(self.now) <= record.deadline().max(self.now));
            }
            entries += count;
            filed += valid.len();
        }
        assert!(entries <= 2 * filed + Place::COUNT * 65);
        let unfiled = |place| place == Place::NOWHERE || place == self.drained_place;
        for record in &self.records {
            assert!(record.place() != Place::SEEN);
            assert!(unfiled(record.place()) || !self.buckets.is_empty(record.place()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(128), ..ProptestConfig::default() })]

    #[test]
    fn it_expires_what_the_model_expires(
        start in start(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new(start);
        for step in &steps {
            model.run(step);
        }
        // To the end of time by the wheel's own account, then nothing is left.
        let mut wakes = 0;
        while let Some(next) = model.wheel.next_expiry() {
            if wakes > 100_000 {
                break;
            }
            wakes += 1;
            model.advance(next.as_nanos().max(model.now), 0);
        }
        model.advance(u64::MAX, 0);
        prop_assert!(model.armed.is_empty());
        prop_assert_eq!(model.wheel.next_expiry(), None);
    }

    #[test]
    fn popping_ends_though_each_timer_is_armed_anew(
        start in start(),
        deadlines in prop::collection::vec((0..TIMERS, distance()), 1..40),
        anew in prop::collection::vec((distance(), any::<bool>()), 1..10),
        by in distance(),
        batch in 1_usize..20,
    ) {
        let mut wheel = Wheel::new(Duration::from_nanos(TICK), Time::from_nanos(start));
        for (timer, distance) in &deadlines {
            wheel.arm(*timer, Time::from_nanos(start.saturating_add(*distance)));
        }
        let due: BTreeSet<u32> = {
            let now = start.saturating_add(by);
            (0..TIMERS)
                .filter(|timer| wheel.deadline(*timer).is_some_and(|d| is_due(d.as_nanos(), now)))
                .collect()
        };
        let now = Time::from_nanos(start.saturating_add(by));
        let mut popped = vec![0; batch];
        let mut seen = BTreeSet::new();
        let mut total = 0;
        loop {
            let count = wheel.pop_batch(now, &mut popped);
            if count == 0 {
                break;
            }
            for &timer in &popped[..count] {
                seen.insert(timer);
                // Past the wheel's last tick or far before it.
                let (before, close) = anew[total % anew.len()];
                let before = if close { before % (3 * TICK) } else { before };
                wheel.arm(timer, Time::from_nanos(now.as_nanos().saturating_sub(before)));
                total += 1;
            }
            // Each timer at most twice for each bucket that came up.
            prop_assert!(total <= 10_000, "no end");
        }
        prop_assert!(seen.is_superset(&due));
        wheel.check();
    }
}

/// `PROPTEST_CASES`, or fewer than usual.
fn cases(usual: u32) -> u32 {
    let set = ProptestConfig::default().cases;
    // 256 is proptest's own default: not set.
    if set == 256 { usual } else { set }
}

fn wheel() -> Wheel {
    Wheel::new(Duration::from_nanos(TICK), Time::ZERO)
}

/// Numbers without a pattern.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 1_u64;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn arming_and_cancelling_again_and_again_needs_no_memory() {
    let mut wheel = wheel();
    let mut number = numbers();
    let mut most = 0;
    for round in 0..2_000_000_u64 {
        let timer = number(8) as u32;
        match number(4) {
            0 => wheel.cancel(timer),
            _ => wheel.arm(timer, Time::from_secs(number(10_000))),
        }
        if round == 1000 {
            most = wheel.memory();
        }
    }
    // No time passes: an entry for each of 1024 buckets at most.
    assert!(wheel.memory() <= most + 1025 * 64, "{}", wheel.memory());
    wheel.check();
}

#[test]
fn far_and_near_in_turn_leave_a_bounded_number_of_entries() {
    // The worst for a lazy wheel: each tick, each timer is armed for a far
    // time, re-armed for the next tick, expires there, and so on. Each turn
    // leaves an entry behind in a bucket that is not come upon for long.
    let mut wheel = wheel();
    let mut number = numbers();
    for tick in 1..50_000_u64 {
        for timer in 0..4 {
            wheel.arm(timer, Time::from_secs(1 << number(23)));
            wheel.arm(timer, Time::from_nanos(tick * TICK));
        }
        let now = Time::from_nanos(tick * TICK);
        assert_eq!(core::iter::from_fn(|| wheel.pop(now)).count(), 4);
    }
    wheel.check();
    assert!(wheel.memory() < 300_000, "{}", wheel.memory());
}

#[test]
fn a_cancelled_timer_is_no_burden_once_its_bucket_was_come_upon() {
    let mut wheel = wheel();
    for timer in 0..1000 {
        wheel.arm(timer, Time::from_secs(75));
        wheel.cancel(timer);
    }
    assert_eq!((wheel.armed(), wheel.next_expiry()), (0, None));
    assert_eq!(wheel.pop(Time::from_secs(80)), None);
    for timer in 0..1000 {
        assert_eq!(wheel.records[timer], Record::IDLE);
    }
    assert!(Place::all().all(|place| wheel.buckets.is_empty(place)));
}

#[test]
fn re_arming_later_uses_the_entry_that_is_there() {
    let mut wheel = wheel();
    wheel.arm(0, Time::from_secs(1));
    let place = wheel.records[0].place();
    for seconds in 2..1000 {
        wheel.arm(0, Time::from_secs(seconds));
        assert_eq!(wheel.records[0].place(), place);
    }
    assert_eq!(
        Place::all()
            .map(|p| wheel.buckets.entries(p).count())
            .sum::<usize>(),
        1
    );
    assert_eq!(wheel.pop(Time::from_secs(998)), None);
    assert_eq!(wheel.pop(Time::from_secs(999)), Some(0));
}

#[test]
fn an_entry_left_behind_and_found_again_does_not_expire_twice() {
    let mut wheel = wheel();
    let tick = |n: u64| Time::from_nanos(n * TICK);
    // Filed at 512 on the second level, then nearer, then lazily at 512
    // again: the timer has two entries for that tick, on two levels.
    wheel.arm(0, tick(512));
    wheel.arm(0, tick(300));
    wheel.arm(0, tick(512));
    assert_eq!(wheel.pop(tick(511)), None);
    assert_eq!(wheel.pop(tick(512)), Some(0));
    assert_eq!(wheel.pop(tick(2000)), None);
    // Two entries in one bucket.
    wheel.arm(0, tick(10_000));
    wheel.arm(0, tick(2010));
    wheel.arm(0, tick(10_000));
    assert_eq!(wheel.pop(tick(2300)), None);
    assert_eq!(wheel.pop(tick(10_000)), Some(0));
    assert_eq!(wheel.pop(tick(20_000)), None);
    wheel.check();
}

/// A timer with two entries in the bucket of a tick.
fn with_a_copy_at(wheel: &mut Wheel, timer: u32, at: u64) {
    let tick = |n: u64| Time::from_nanos(n * TICK);
    wheel.arm(timer, tick(at));
    wheel.arm(timer, tick(5));
    wheel.arm(timer, tick(at));
    assert_eq!(wheel.pop(tick(5)), None);
    let place = wheel.records[timer as usize].place();
    let copies = wheel.buckets.entries(place).filter(|t| *t == timer);
    assert_eq!(copies.count(), 2);
}

#[test]
fn a_copy_in_the_bucket_being_emptied_is_not_taken_for_a_new_entry() {
    let tick = |n: u64| Time::from_nanos(n * TICK);
    for anew in [3, 10, 11, 300, 100_000] {
        let mut wheel = wheel();
        with_a_copy_at(&mut wheel, 0, 10);
        assert_eq!(wheel.pop(tick(10)), Some(0));
        // Between the entry and its copy.
        wheel.arm(0, tick(anew));
        let popped = core::iter::from_fn(|| wheel.pop(tick(10))).count();
        assert_eq!(popped, usize::from(anew <= 10));
        wheel.check();
        let popped = core::iter::from_fn(|| wheel.pop(tick(200_000))).count();
        assert_eq!(popped, usize::from(anew > 10));
    }
}

#[test]
fn a_sweep_leaves_one_entry_of_a_timer() {
    let mut wheel = wheel();
    with_a_copy_at(&mut wheel, 0, 10_000);
    let place = wheel.records[0].place();
    for timer in 1..100 {
        wheel.arm(timer, Time::from_nanos(10_000 * TICK));
    }
    for timer in 1..100 {
        wheel.arm(timer, Time::from_nanos(300 * TICK));
    }
    wheel.check();
    let copies = wheel.buckets.entries(place).filter(|timer| *timer == 0);
    assert_eq!(copies.count(), 1);
}

#[test]
fn a_wheel_with_capacity_does_not_grow() {
    let mut number = numbers();
    let mut wheel = Wheel::with_capacity(Duration::from_nanos(TICK), Time::ZERO, 20_000);
    let memory = wheel.memory();
    let mut now = 0;
    for _ in 0..200 {
        for timer in 0..20_000 {
            if wheel.deadline(timer).is_none() {
                wheel.arm(
                    timer,
                    Time::from_nanos(now + TICK + number(1 << 20) * number(1 << 20)),
                );
            }
        }
        now += 1 << 34;
        while wheel.pop(Time::from_nanos(now)).is_some() {}
    }
    assert_eq!(wheel.memory(), memory);
}

#[test]
fn the_end_of_time_is_reached() {
    for tick in [10_000, TICK, u64::MAX / 2, u64::MAX] {
        let start = Time::from_nanos(u64::MAX - 1_000_000_000);
        let mut wheel = Wheel::new(Duration::from_nanos(tick), start);
        wheel.arm(0, Time::MAX);
        wheel.arm(1, Time::from_nanos(u64::MAX - 1));
        assert!(wheel.deadline(0) >= wheel.deadline(1));
        let mut popped = 0;
        let mut wakes = 0;
        while let Some(next) = wheel.next_expiry() {
            popped += core::iter::from_fn(|| wheel.pop(next)).count();
            wakes += 1;
            assert!(wakes < 20, "no end");
        }
        assert_eq!(popped, 2, "tick {tick}");
    }
}

#[test]
fn years_of_empty_time_cost_a_few_wakes() {
    let mut wheel = wheel();
    let year = 366 * 86_400;
    wheel.arm(0, Time::from_secs(10 * year));
    let mut wakes = 0;
    while let Some(next) = wheel.next_expiry() {
        wakes += 1;
        if wheel.pop(next).is_some() {
            assert_eq!(next, Time::from_secs(10 * year));
        }
    }
    assert!(wakes <= 24, "{wakes}");
}

#[test]
#[should_panic(expected = "below 2^30")]
fn an_index_out_of_range_is_refused() {
    wheel().arm(Wheel::MAX_TIMERS, Time::ZERO);
}
