//! What of a filter the kernel is asked to apply.

use tcpalive_connections::{Filter, PortRange, Prefix, Selection, State, StateSet};

fn parsed(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_kernel_decides_what_it_can() {
    let exact = |text: &str| {
        let filter = parsed(text);
        assert!(filter.is_exactly_selected(), "{text}");
        filter.selection()
    };
    assert_eq!(
        exact("state = established and local.port = 3333 and not keepalive and idle > 10m"),
        Selection {
            states: StateSet::of(State::Established),
            local_port: PortRange {
                low: 3333,
                high: 3333
            },
            keepalive: Some(false),
            idle_at_least_ms: 600_001,
            ..Selection::ALL
        }
    );
    assert_eq!(
        exact("not (state = listen or keepalive)").keepalive,
        Some(false)
    );
    assert_eq!(
        exact("port > 1023").either_port,
        PortRange {
            low: 1024,
            high: u16::MAX
        }
    );
    assert_eq!(
        exact("not port < 1024").local_port,
        PortRange {
            low: 1024,
            high: u16::MAX
        }
    );
    assert_eq!(
        exact("remote.addr in 10.0.0.0/8").remote,
        Prefix::new([10, 0, 0, 0].into(), 8).unwrap()
    );
    assert_eq!(
        exact("family = ipv4 and local.addr in 10.0.0.0/8")
            .local
            .length(),
        104
    );
    exact("state = listen or state = established");
    exact("local.port = 80 or local.port in 1-100");
    exact("not idle <= 10m");
}

#[test]
fn what_can_hold_of_no_connection_selects_no_state() {
    for text in [
        "keepalive and not keepalive",
        "state = listen and state = established",
        "local.port = 1 and local.port = 2",
        "remote.addr in 10.0.0.0/8 and remote.addr in 192.168.0.0/16",
        "port < 0",
        "port > 65535",
    ] {
        let filter = parsed(text);
        assert!(filter.selection().states.is_empty(), "{text}");
        assert!(filter.is_exactly_selected(), "{text}");
    }
}

#[test]
fn a_selection_is_no_narrower_than_its_filter() {
    let inexact = |text: &str| {
        let filter = parsed(text);
        assert!(!filter.is_exactly_selected(), "{text}");
        filter.selection()
    };
    // One port each: neither range may be dropped into the other.
    let either = inexact("port = 80 and port = 443").either_port;
    assert!(either.contains(80) || either.contains(443));
    assert_eq!(inexact("remote.addr in ::/0").remote, Prefix::ALL);
    assert_eq!(
        inexact("remote.port in (80, 443)").remote_port,
        PortRange { low: 80, high: 443 }
    );
    assert_eq!(inexact("keepalive or not keepalive").keepalive, None);
    assert_eq!(inexact("idle >= 0").idle_at_least_ms, 0);
    assert_eq!(inexact("pid = 1 or state = listen").states, StateSet::ALL);
    assert_eq!(inexact("idle in 1m-2m").idle_at_least_ms, 60_000);
    assert_eq!(
        inexact("local.addr in (10.0.0.0/8, 11.0.0.0/8)")
            .local
            .length(),
        103
    );
    // True of a socket that no process holds.
    assert_eq!(inexact("not pid >= 0"), Selection::ALL);
    assert_eq!(inexact("not remote.addr in 10.0.0.0/8"), Selection::ALL);
}
