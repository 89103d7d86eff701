//! The engine against machines that have a timer each in an ordered map.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use tcpalive_keepalive::{
    Action, Engine, Event, Key, Machine, Options, Output, Params, Seconds, SetOption, Sysctl, Time,
};

#[derive(Debug, Clone)]
enum Do {
    Insert(Options),
    Remove(usize),
    Handle(usize, Event),
    /// Time passes, in milliseconds.
    Pass(u64),
}

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), 1_u32..6, 1_u32..4, 1_u32..4).prop_map(|(enabled, idle, interval, count)| {
        Options {
            enabled,
            ..Params::new(idle, interval, count).unwrap().into()
        }
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<bool>().prop_map(|outstanding| Event::Ack { outstanding }),
        Just(Event::Data),
        Just(Event::Send),
        any::<bool>().prop_map(|on| Event::Set(SetOption::KeepAlive(on))),
        (1_u32..6).prop_map(|s| Event::Set(SetOption::Idle(Seconds::new(s).unwrap()))),
        Just(Event::LocalCongestion),
        Just(Event::Orphaned),
        Just(Event::Reset),
    ]
}

fn step() -> impl Strategy<Value = Do> {
    prop_oneof![
        2 => options().prop_map(Do::Insert),
        1 => any::<usize>().prop_map(Do::Remove),
        4 => (any::<usize>(), event()).prop_map(|(which, event)| Do::Handle(which, event)),
        6 => prop_oneof![0_u64..50, 900_u64..1100, 2000_u64..9000].prop_map(Do::Pass),
    ]
}

/// What the engine must be equal to.
#[derive(Default)]
struct Model {
    connections: BTreeMap<usize, (Key, Machine, Option<Time>)>,
}

impl Model {
    fn act(timer: &mut Option<Time>, action: Action) {
        match action {
            Action::Keep => {}
            Action::Arm(at) => *timer = Some(at),
            Action::Probe { next, .. } => *timer = Some(next),
            Action::Disarm | Action::Abort(_) | Action::Closed { .. } => *timer = None,
        }
    }

    /// All that is due up to `now`, each at its own time.
    fn due(&mut self, now: Time) -> Vec<(Time, usize, Output)> {
        let mut due = Vec::new();
        for (id, (_, machine, timer)) in &mut self.connections {
            while let Some(at) = timer.filter(|at| *at <= now) {
                *timer = None;
                let action = machine.on_timer(at, &Sysctl::LINUX);
                match action {
                    Action::Probe { probes_out, .. } => {
                        due.push((at, *id, Output::Probe { probes_out }));
                    }
                    Action::Abort(abort) => due.push((at, *id, Output::Abort(abort))),
                    _ => {}
                }
                Self::act(timer, action);
            }
        }
        due.sort_by_key(|(at, id, _)| (*at, *id));
        due
    }
}

/// All that the engine has due up to `now`, polled at its own times.
fn poll(engine: &mut Engine<usize>, now: Time, batch: bool) -> Vec<(Time, usize, Output)> {
    let mut due = Vec::new();
    while let Some(at) = engine.next_timeout().filter(|at| *at <= now) {
        let mut found = Vec::new();
        if batch {
            while engine.poll_batch(at, &mut found) > 0 {}
        } else {
            found.extend(std::iter::from_fn(|| engine.poll(at)));
        }
        for (key, output) in found {
            due.push((at, *engine.id(key).unwrap(), output));
        }
    }
    due.sort_by_key(|(at, id, _)| (*at, *id));
    due
}

proptest! {
    #[test]
    fn the_engine_does_what_its_machines_would_do(
        steps in prop::collection::vec(step(), 1..120),
        batch in any::<bool>(),
    ) {
        // All times are whole ticks, so nothing is rounded.
        let tick = Duration::from_millis(1);
        let mut engine = Engine::with_tick(tick, Time::ZERO, 0);
        let mut model = Model::default();
        let mut now = Time::ZERO;
        for (number, step) in steps.into_iter().enumerate() {
            let pick = |model: &Model, which: usize| {
                let ids: Vec<usize> = model.connections.keys().copied().collect();
                (!ids.is_empty()).then(|| ids[which % ids.len()])
            };
            match step {
                Do::Insert(options) => {
                    let key = engine.insert(number, options, now);
                    let (machine, action) = Machine::established(options, &Sysctl::LINUX, now);
                    let mut timer = None;
                    Model::act(&mut timer, action);
                    model.connections.insert(number, (key, machine, timer));
                }
                Do::Remove(which) => if let Some(id) = pick(&model, which) {
                    let (key, ..) = model.connections.remove(&id).unwrap();
                    prop_assert_eq!(engine.remove(key), Some(id));
                    prop_assert_eq!(engine.remove(key), None);
                },
                Do::Handle(which, event) => if let Some(id) = pick(&model, which) {
                    let (key, machine, timer) = model.connections.get_mut(&id).unwrap();
                    let action = machine.handle(event, now, &Sysctl::LINUX);
                    Model::act(timer, action);
                    engine.handle(*key, event, now);
                    prop_assert_eq!(engine.machine(*key), Some(&*machine));
                },
                Do::Pass(millis) => {
                    now = now + Duration::from_millis(millis);
                    let expected = model.due(now);
                    prop_assert_eq!(poll(&mut engine, now, batch), expected);
                }
            }
            prop_assert_eq!(engine.len(), model.connections.len());
        }
        for (key, machine, timer) in model.connections.values() {
            prop_assert_eq!(engine.machine(*key), Some(machine));
            prop_assert_eq!(engine.timer(*key), *timer);
        }
    }
}
