//! What filters mean.

mod sample;

use sample::{Sample, keepalive};
use std::net::{Ipv6Addr, SocketAddr};
use tcpalive_connections::{Comm, Filter, Owner, Selection, State, StateSet};

fn parsed(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}\n{}", error.with_caret()))
}

fn accepts(sample: &Sample, text: &str) -> bool {
    let filter = parsed(text);
    let matches = filter.matches(&sample.view());
    let selected = filter.selection().accepts(&sample.connection);
    assert!(selected || !matches, "{text}: its selection is too narrow");
    assert!(
        selected == matches || !filter.is_exactly_selected(),
        "{text}: it is not exact"
    );
    matches
}

#[track_caller]
fn all_true(sample: &Sample, filters: &[&str]) {
    for text in filters {
        assert!(accepts(sample, text), "{text} should be true");
        assert!(
            !accepts(sample, &format!("not ({text})")),
            "not ({text}) should be false"
        );
    }
}

#[track_caller]
fn all_false(sample: &Sample, filters: &[&str]) {
    for text in filters {
        assert!(!accepts(sample, text), "{text} should be false");
        assert!(
            accepts(sample, &format!("not ({text})")),
            "not ({text}) should be true"
        );
    }
}

#[track_caller]
fn all_unknown(sample: &Sample, filters: &[&str]) {
    for text in filters {
        assert!(!accepts(sample, text), "{text} should be unknown");
        assert!(
            !accepts(sample, &format!("not ({text})")),
            "not ({text}) should be unknown"
        );
    }
}

#[test]
fn blank_text_accepts_everything() {
    for text in ["", "  \t\n"] {
        assert!(accepts(&Sample::nginx(), text));
        assert!(parsed(text).is_exactly_selected());
        assert_eq!(parsed(text).selection(), Selection::ALL);
    }
}

#[test]
fn the_contracts_examples() {
    let mut sample = Sample::nginx();
    all_true(&sample, &["remote.addr in 10.0.0.0/8", "comm ~ nginx"]);
    sample.connection.local.set_port(3333);
    all_true(
        &sample,
        &["local.port = 3333 and not keepalive and idle > 10m"],
    );
    sample.connection.keepalive = Some(keepalive(true));
    all_false(
        &sample,
        &["local.port = 3333 and not keepalive and idle > 10m"],
    );
}

#[test]
fn states() {
    let mut sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "state = established",
            "state == ESTAB",
            "state in (established, close-wait)",
            "state in established",
            "state != listen",
        ],
    );
    all_false(
        &sample,
        &[
            "state = listen",
            "state in (listen, close_wait)",
            "state != established",
        ],
    );
    sample.connection.state = State::NewSynRecv;
    all_true(&sample, &["state = syn-recv"]);
}

#[test]
fn ports() {
    let sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "local.port = 443",
            "local.port in 400-500",
            "local.port = 400-500",
            "local.port in (80, 440-450, 8000)",
            "remote.port >= 50000",
            "remote.port > 49999",
            "remote.port < 50001",
            "remote.port <= 50000",
            "local.port != 80",
            "local.port=443&&remote.port=50000",
        ],
    );
    all_false(
        &sample,
        &[
            "local.port in (80, 8000)",
            "remote.port > 50000",
            "local.port != 443",
        ],
    );
}

#[test]
fn port_is_either_port_and_its_negation_neither() {
    let sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "port = 443",
            "port = 50000",
            "port != 80",
            "port > 1000",
            "port < 1000",
        ],
    );
    all_false(
        &sample,
        &[
            "port = 80",
            "port != 443",
            "port != 50000",
            "port in 444-49999",
        ],
    );
    all_true(
        &sample,
        &[
            "port = 443 and port = 50000",
            "not (port = 443 and port = 80)",
        ],
    );
}

#[test]
fn addresses() {
    let sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "local.addr = 192.0.2.1",
            "remote.addr in (192.168.0.0/16, 10.0.0.0/8)",
            "remote.addr = 10.0.0.0/8",
            "remote.addr in 10.9.9.9/8",
            "remote.addr in 0.0.0.0/0",
            "remote.addr != 10.1.2.4",
            "local.addr = ::ffff:192.0.2.1",
            "local.addr in ::ffff:192.0.2.0/120",
        ],
    );
    all_false(
        &sample,
        &[
            "remote.addr = 10.1.2.4",
            "remote.addr in (::/0)",
            "local.addr in ::/0",
        ],
    );
}

#[test]
fn ipv6_addresses() {
    let mut sample = Sample::nginx();
    let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
    sample.connection.local = SocketAddr::new(address.into(), 443);
    sample.connection.remote = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 50_000);
    all_true(
        &sample,
        &[
            "local.addr = [2001:db8::1]",
            "local.addr = 2001:DB8::1",
            "local.addr in (10.0.0.0/8, 2001:db8::/32)",
            "local.addr in [2001:db8::]/32",
            "local.addr in ::/0",
            "remote.addr = ::1",
            "family = ipv6",
            "family = inet6",
            "family = 6",
            "family != 4",
            "family in (4, 6)",
        ],
    );
    all_false(
        &sample,
        &[
            "local.addr in 0.0.0.0/0",
            "local.addr in ::ffff:0:0/96",
            "family = inet",
        ],
    );
}

#[test]
fn owners_are_any_owner_and_none_is_an_answer() {
    let mut sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "pid = 812",
            "pid = 813",
            "pid in (1, 813)",
            "pid != 1",
            "comm = nginx",
            "comm ~ '-w'",
        ],
    );
    all_false(
        &sample,
        &[
            "pid = 1",
            "pid != 813",
            "comm != nginx",
            "comm = ngin",
            "comm ~ '^worker'",
        ],
    );
    sample.owners.clear();
    all_false(&sample, &["pid = 1", "pid > 0", "comm ~ ''", "comm = ''"]);
}

#[test]
fn a_processs_name_that_is_not_utf_8_is_compared_as_bytes() {
    let mut sample = Sample::nginx();
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(b"x\xffyz");
    sample.owners = vec![Owner {
        pid: 1,
        fd: 1,
        comm: Comm::from_kernel(bytes),
    }];
    all_true(&sample, &["comm ~ yz$", r"comm ~ '^x(?-u:\xff)y'"]);
}

#[test]
fn cgroups_and_containers() {
    let mut sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "cgroup ~ '^/system.slice'",
            "cgroup ~ ^/system.slice/",
            "cgroup = /system.slice/nginx.service",
            "container = ''",
        ],
    );
    let id = "0123456789abcdef".repeat(4);
    sample.cgroup = Some(format!("/docker/{id}"));
    all_true(
        &sample,
        &[
            &format!("container = {id}"),
            "container ~ ^0123",
            "container != ''",
        ],
    );
    sample.cgroup = None;
    all_unknown(
        &sample,
        &[
            "cgroup ~ x",
            "cgroup = /",
            "container = ''",
            "container ~ ''",
        ],
    );
}

#[test]
fn the_other_fields() {
    let sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "uid = 33",
            "uid < 1000",
            "netns = 4026531840",
            "netns = net:[4026531840]",
            "keepalive = off",
            "keepalive = FALSE",
            "keepalive != on",
            "not keepalive",
            "!keepalive",
            "idle >= 20m",
            "idle in 10m-1h",
            "idle = 1200s",
            "unacked = 0",
            "memory = 4KiB",
            "memory < 5kB",
            "memory in 4000-4096",
        ],
    );
    all_false(
        &sample,
        &[
            "idle > 20m",
            "keepalive",
            "keepalive = true",
            "memory > 1MiB",
            "uid = 0",
        ],
    );
}

#[test]
fn what_is_unknown_is_never_selected() {
    let mut sample = Sample::nginx();
    sample.connection.keepalive = None;
    sample.connection.last_heard_ms = None;
    sample.connection.unacked_bytes = None;
    all_unknown(
        &sample,
        &[
            "keepalive",
            "keepalive = on",
            "keepalive != on",
            "idle > 0",
            "idle >= 0",
            "unacked = 0",
            "keepalive or idle > 1s",
            "keepalive and state = established",
            "keepalive or not keepalive",
        ],
    );
    // The other side decides alone.
    all_true(&sample, &["keepalive or state = established"]);
    all_false(&sample, &["keepalive and state = listen"]);
}

#[test]
fn not_binds_before_and_and_and_before_or() {
    let sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "state = established or state = listen and pid = 1",
            "not state = listen and pid = 812",
            "not not state = established",
            "pid = 1 AND pid = 2 Or NOT pid = 1",
            "pid = 1 && pid = 2 || !pid = 1",
        ],
    );
    all_false(
        &sample,
        &[
            "(state = established or state = listen) and pid = 1",
            "not (pid = 1 or pid = 812)",
        ],
    );
}

#[test]
fn bare_patterns_hold_alternatives_and_end_with_their_parenthesis() {
    let sample = Sample::nginx();
    all_true(
        &sample,
        &[
            "comm ~ apache|nginx",
            "comm ~ ^(apache|nginx)$ and pid = 812",
            "(comm ~ nginx)",
            "(comm ~ (nginx|apache) or pid = 1)",
            "comm ~ nginx&&pid = 812",
            "comm ~ apache||pid = 812",
            r"cgroup ~ nginx\.service$",
        ],
    );
}

#[test]
fn a_quote_within_quotes_is_written_twice() {
    let mut sample = Sample::nginx();
    sample.cgroup = Some("/it's a \"unit\"".to_owned());
    all_true(
        &sample,
        &[
            "cgroup = '/it''s a \"unit\"'",
            "cgroup = \"/it's a \"\"unit\"\"\"",
            "cgroup ~ \"it's\"",
        ],
    );
    let shown = parsed("cgroup = '/it''s a \"unit\"'").to_string();
    all_true(&sample, &[&shown]);
}

#[test]
fn filters_are_written_in_their_plainest_form() {
    for (text, shown) in [
        (
            "state in (close-wait, established)",
            "state in (established, close-wait)",
        ),
        ("not (pid = 1)", "pid != 1"),
        ("!(pid != 1)", "pid = 1"),
        ("((pid = 1 and (uid = 0)))", "pid = 1 and uid = 0"),
        (
            "(pid = 1 or uid = 0) and port = 80",
            "(pid = 1 or uid = 0) and port = 80",
        ),
        (
            "(pid = 1 and uid = 0) or port = 80",
            "pid = 1 and uid = 0 or port = 80",
        ),
        ("not (pid = 1 and uid = 0)", "not (pid = 1 and uid = 0)"),
        ("port in (443, 80, 81)", "port in (80-81, 443)"),
        (
            "idle > 600s and memory > 1024KiB",
            "idle > 10m and memory > 1MiB",
        ),
        (
            "memory > 1500000 and unacked > 1500",
            "memory > 1500kB and unacked > 1500",
        ),
        (
            "idle > 1500ms or not idle < 0",
            "idle > 1500ms or not idle < 0ms",
        ),
        ("keepalive != off", "keepalive"),
        (
            "comm ~ 'a b' or comm = 'and'",
            "comm ~ \"a b\" or comm = \"and\"",
        ),
        ("remote.addr = 10.1.2.3/8", "remote.addr = 10.0.0.0/8"),
        (
            "remote.addr in ([2001:DB8::]/32, 192.0.2.1/32)",
            "remote.addr in (2001:db8::/32, 192.0.2.1)",
        ),
        ("family = inet6", "family = ipv6"),
        ("", ""),
    ] {
        assert_eq!(parsed(text).to_string(), shown);
        assert_eq!(parsed(shown).to_string(), shown);
    }
}

#[test]
fn convenience_flags_are_filters() {
    let sample = Sample::nginx();
    let view = sample.view();
    assert!(Filter::for_port(443).matches(&view) && !Filter::for_port(80).matches(&view));
    assert!(Filter::for_pid(812).matches(&view) && !Filter::for_pid(1).matches(&view));
    let states = StateSet::of(State::Established).union(StateSet::of(State::Listen));
    assert!(Filter::for_state(states).matches(&view));
    assert!(Filter::for_state(StateSet::ALL).matches(&view));
    assert!(Filter::for_state(StateSet::ALL).mentions_state());
    assert!(!Filter::for_state(StateSet::NONE).matches(&view));
    assert!(!parsed(&Filter::for_state(StateSet::NONE).to_string()).matches(&view));
    let both = parsed("pid = 1 or uid = 33").and(Filter::for_port(443));
    assert_eq!(both.to_string(), "(pid = 1 or uid = 33) and port = 443");
    assert!(both.matches(&view));
    assert_eq!(
        Filter::everything().and(Filter::for_pid(1)).to_string(),
        "pid = 1"
    );
    assert_eq!(Filter::default().to_string(), "");
}

#[test]
fn filters_say_what_they_need() {
    assert!(parsed("pid = 1 or not (port = 1 and state = listen)").mentions_state());
    assert!(!parsed("pid = 1").mentions_state());
    assert!(parsed("pid = 1").needs_owners() && parsed("uid = 1 and comm ~ x").needs_owners());
    assert!(!parsed("cgroup ~ x").needs_owners() && !parsed("").needs_owners());
    assert!(parsed("cgroup ~ x").needs_cgroup() && parsed("not container = x").needs_cgroup());
    assert!(!parsed("comm ~ x").needs_cgroup());
}

#[test]
fn long_chains_are_no_trouble() {
    let sample = Sample::nginx();
    for conjunction in ["and", "or"] {
        let text = vec!["uid = 33"; 20_000].join(&format!(" {conjunction} "));
        let filter = parsed(&text);
        assert!(filter.clone().matches(&sample.view()));
        assert_eq!(filter.to_string().len(), text.len());
    }
    let text = format!("{}uid = 33", "not ".repeat(100_001));
    assert_eq!(parsed(&text).to_string(), "uid != 33");
    let mut filter = Filter::everything();
    for _ in 0..20_000 {
        filter = filter.and(Filter::for_pid(812));
    }
    assert!(filter.matches(&sample.view()));
}

#[test]
fn parentheses_nest_to_a_limit() {
    let nested = |depth: usize| format!("{}uid = 33{}", "not (".repeat(depth), ")".repeat(depth));
    assert_eq!(parsed(&nested(128)).to_string(), "uid = 33");
    let error = Filter::parse(&nested(129)).unwrap_err();
    assert_eq!(
        error.message(),
        "found more than 128 parentheses within each other"
    );
    assert_eq!(error.column(), 128 * 5 + 5);
    assert!(Filter::parse(&"(".repeat(1_000_000)).is_err());
    // A tree as deep as it gets.
    let deep = format!(
        "{}uid = 33{}",
        "not (pid = 1 and ".repeat(128),
        ")".repeat(128)
    );
    let filter = parsed(&deep);
    assert_eq!(parsed(&filter.to_string()).to_string(), filter.to_string());
    assert!(filter.matches(&Sample::nginx().view()));
}
