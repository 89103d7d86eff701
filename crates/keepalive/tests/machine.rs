//! What scenarios cannot say: sizes, wrapping, and events that come when they
//! have no business to. The rules themselves are in `scenarios/`.

use std::time::Duration;
use tcpalive_keepalive::machine::CONGESTION_RETRY;
use tcpalive_keepalive::{
    Action, Count, Errno, Event, Machine, Options, Params, SetOption, Sysctl, Time, UserTimeout,
};

const SYSCTL: Sysctl = Sysctl::LINUX;

fn machine(params: &str) -> Machine {
    let params: Params = params.parse().unwrap();
    Machine::established(params.into(), &SYSCTL, Time::ZERO).0
}

/// Fires the timer until something else than a probe comes of it.
fn fire(machine: &mut Machine, mut now: Time) -> (u32, Time, Action) {
    let mut probes = 0;
    loop {
        match machine.on_timer(now, &SYSCTL) {
            Action::Probe { next, .. } => {
                probes += 1;
                now = next;
            }
            other => return (probes, now, other),
        }
    }
}

#[test]
fn a_connection_takes_24_bytes_with_its_options() {
    assert_eq!(size_of::<Machine>(), 24);
    assert_eq!(size_of::<Options>(), 12);
}

#[test]
fn the_count_is_8_bits_and_wraps() {
    // 300 s of user timeout at an interval of 1 s. The 256th probe makes the
    // count 0, and with 0 probes out nothing is given up: it takes one more.
    let mut never = machine("1/1/1/255s");
    let (probes, now, _) = fire(&mut never, Time::from_secs(1));
    assert_eq!((probes, now), (254, Time::from_secs(255)));

    let mut wrapping = machine("1/1/1/257s");
    let (probes, now, _) = fire(&mut wrapping, Time::from_secs(1));
    assert_eq!((probes, now), (257, Time::from_secs(258)));
}

#[test]
fn the_largest_sysctl_count_is_reached_before_it_wraps() {
    let sysctl = Sysctl::new(1, 1, 255).unwrap();
    let mut machine = Machine::established(Options::ON, &sysctl, Time::ZERO).0;
    let mut now = Time::from_secs(1);
    let mut probes = 0;
    while let Action::Probe { next, .. } = machine.on_timer(now, &sysctl) {
        probes += 1;
        now = next;
    }
    assert_eq!((probes, now), (255, Time::from_secs(256)));
}

#[test]
fn a_congested_probe_is_taken_back_even_at_the_wrap() {
    let mut machine = machine("1/1/9");
    let now = Time::from_secs(1);
    assert!(matches!(
        machine.on_timer(now, &SYSCTL),
        Action::Probe { probes_out: 1, .. }
    ));
    let action = machine.handle(Event::LocalCongestion, now, &SYSCTL);
    assert_eq!(action, Action::Arm(now + CONGESTION_RETRY));
    assert_eq!(machine.probes_out(), 0);
}

#[test]
fn a_timer_that_finds_the_socket_locked_tries_again_in_50_ms() {
    let machine = machine("1/1/9");
    let now = Time::from_secs(1);
    let action = machine.on_timer_while_locked(now);
    assert_eq!(action, Action::Arm(now + Duration::from_millis(50)));
}

#[test]
fn a_timer_that_fires_early_is_set_again() {
    let mut machine = machine("10/5/3");
    let early = machine.on_timer(Time::from_secs(4), &SYSCTL);
    assert_eq!(early, Action::Arm(Time::from_secs(10)));
}

#[test]
fn options_set_before_the_connection_hold_for_it() {
    let mut machine = Machine::connecting(Options::default());
    let mut set = |option| machine.handle(Event::Set(option), Time::ZERO, &SYSCTL);
    assert_eq!(set(SetOption::KeepAlive(true)), Action::Keep);
    assert_eq!(
        set(SetOption::Idle(tcpalive_keepalive::Seconds::MIN)),
        Action::Keep
    );
    assert_eq!(set(SetOption::Count(Count::MIN)), Action::Keep);
    let now = Time::from_secs(50);
    assert_eq!(machine.on_timer(now, &SYSCTL), Action::Disarm);
    let action = machine.handle(Event::Established, now, &SYSCTL);
    assert_eq!(action, Action::Arm(Time::from_secs(51)));
}

#[test]
fn a_connection_that_is_over_stays_over() {
    let mut machine = machine("10/5/3");
    let now = Time::from_secs(3);
    let action = machine.handle(Event::Reset, now, &SYSCTL);
    assert_eq!(
        action,
        Action::Closed {
            error: Some(Errno::ECONNRESET)
        }
    );
    let events = [
        Event::Established,
        Event::Ack { outstanding: false },
        Event::Set(SetOption::KeepAlive(true)),
        Event::Set(SetOption::UserTimeout(UserTimeout::MAX)),
        Event::LocalCongestion,
        Event::Reset,
    ];
    for event in events {
        assert_eq!(
            machine.handle(event, now, &SYSCTL),
            Action::Keep,
            "{event:?}"
        );
    }
    assert_eq!(machine.on_timer(now, &SYSCTL), Action::Disarm);
}

#[test]
fn a_refused_connect_is_a_refusal() {
    let mut machine = Machine::connecting(Options::ON);
    let action = machine.handle(Event::Reset, Time::ZERO, &SYSCTL);
    assert_eq!(
        action,
        Action::Closed {
            error: Some(Errno::ECONNREFUSED)
        }
    );
}

#[test]
fn sysctls_of_zero_neither_spin_nor_stand_still() {
    let sysctl = Sysctl::new(0, 0, 9).unwrap();
    let (mut machine, action) = Machine::established(Options::ON, &sysctl, Time::ZERO);
    let Action::Arm(first) = action else {
        panic!("{action:?}");
    };
    assert!(first > Time::ZERO);
    let mut now = first;
    let mut fires = 0;
    loop {
        match machine.on_timer(now, &sysctl) {
            Action::Probe { next, .. } => {
                assert!(next > now);
                now = next;
                fires += 1;
            }
            // Dangerous, as the documentation says: over in nine ticks.
            Action::Abort(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fires, 9);
    // With data in flight it looks at each tick, and never at the same time twice.
    let (mut busy, _) = Machine::established(Options::ON, &sysctl, Time::ZERO);
    let _ = busy.handle(Event::Send, now, &sysctl);
    assert!(matches!(busy.on_timer(now, &sysctl), Action::Arm(later) if later > now));
}

#[test]
fn the_end_of_time_is_no_overflow() {
    let mut machine = machine("32767/32767/127");
    let action = machine.on_timer(Time::MAX, &SYSCTL);
    assert_eq!(
        action,
        Action::Probe {
            probes_out: 1,
            next: Time::MAX
        }
    );
}
