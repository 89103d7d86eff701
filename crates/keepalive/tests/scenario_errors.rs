//! A scenario that is none says where and why.

#![cfg(feature = "toml")]

use proptest::prelude::*;
use tcpalive_keepalive::{Scenario, ScenarioError};

fn wrong(text: &str) -> ScenarioError {
    match Scenario::from_toml(text) {
        Ok(scenario) => panic!("{text:?} was read as {scenario:?}"),
        Err(error) => error,
    }
}

#[test]
fn errors_name_line_and_field() {
    let cases = [
        (
            "until = 10.0\n[keepalive]\nidle = 0\n",
            "line 3: keepalive.idle: must be 1 to 32767 whole seconds, as Linux takes them, not 0",
        ),
        (
            "until = 10.0\n[keepalive]\nenabled = true\ninterval = 2.5\n",
            "line 4: keepalive.interval: must be 1 to 32767 whole seconds, as Linux takes them, not 2.5",
        ),
        (
            "until = 10.0\n[keepalive]\ncount = 128\n",
            "line 3: keepalive.count: must be 1 to 127 probes, not 128",
        ),
        (
            "until = 10.0\n[keepalive]\nuser_timeout = 0.0005\n",
            "line 3: keepalive.user_timeout: must be 0 to 2147483.647 seconds in whole milliseconds, not 0.0005",
        ),
        (
            "until = -1.0\n",
            "line 1: until: must be 0 to 1000000000 seconds, not -1",
        ),
        (
            "until = nan\n",
            "line 1: until: must be 0 to 1000000000 seconds, not NaN",
        ),
        (
            "until = 10.0\n[peer]\nsilent_from = inf\n",
            "line 3: peer.silent_from: must be 0 to 1000000000 seconds, not inf",
        ),
        (
            "until = 9\n[sysctl]\ntime = 5\nprobes = 256\n",
            "line 4: sysctl.probes: tcp_keepalive_probes must be 0 to 255",
        ),
        (
            "until = 9\nopened = \"maybe\"\n",
            "line 2: opened: expected connect or accept, not \"maybe\"",
        ),
        (
            "until = 9\n[[event]]\nat = 5\nkind = \"receive-ack\"\n\n[[event]]\nat = 4\nkind = \"receive-ack\"\n",
            "line 7: event.at: events must be in time order",
        ),
        (
            "until = 9\n[[event]]\nat = 5\nkind = \"receive-ack\"\nidle = 3\n",
            "line 5: event.idle: receive-ack does not take idle",
        ),
        (
            "until = 9\n[[event]]\nat = 5\nkind = \"set\"\n",
            "line 4: event.kind: set needs one of enabled, idle, interval, count, user_timeout at least",
        ),
        (
            "until = 9\n[[event]]\nat = 5\nkind = \"set\"\nidle = 40000\n",
            "line 5: event.idle: must be 1 to 32767 whole seconds, as Linux takes them, not 40000",
        ),
        (
            "until = 9\n[[event]]\nat = 5\nkind = \"icmp-error\"\nerror = \"EHOST\"\n",
            "line 5: event.error: expected a name such as EHOSTUNREACH, not \"EHOST\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(wrong(text).to_string(), expected, "{text}");
    }
}

/// The TOML reader's own errors tell the place, and Rust's types, alone.
#[test]
fn values_of_another_type_name_line_and_field() {
    let cases = [
        (
            "until = \"soon\"\n",
            "line 1: until: invalid type: string \"soon\", expected a number",
        ),
        (
            "until = 10.0\r\n[ keepalive ] # on\r\n  enabled = 1\r\n",
            "line 3: keepalive.enabled: invalid type: integer `1`, expected a boolean",
        ),
        (
            "until = 10.0\n[keepalive]\ncount = 3.0",
            "line 3: keepalive.count: invalid type: floating point `3.0`, expected a whole number",
        ),
        (
            "until = 10.0\npeer.rtt = true\n",
            "line 2: peer.rtt: invalid type: boolean `true`, expected a number",
        ),
        (
            "until = 9\n[peer]\nrtt = 1\n[[event]]\nat = \"5\"\nkind = \"set\"\n",
            "line 5: event.at: invalid type: string \"5\", expected a number",
        ),
        (
            "until = 9\n[event]\nat = 5\n",
            "line 2: event: invalid type: map, expected a sequence",
        ),
        (
            "until = 9\n[peer]\nrtt = 1\nrtt = 2\n",
            "line 4: peer.rtt: duplicate key",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(wrong(text).to_string(), expected, "{text}");
    }
}

#[test]
fn errors_of_syntax_and_form_name_the_line() {
    let cases = [
        ("until = 10.0\nuntill = 3\n", 2, "unknown field `untill`"),
        (
            "until = 10.0\n[keepalive]\nidel = 3\n",
            3,
            "unknown field `idel`",
        ),
        ("until = 10.0\n[keepalive\n", 2, ""),
        ("until = \"soon\"\n", 1, "invalid type"),
        (
            "until = 10.0\n[keepalive]\nenabled = 1\n",
            3,
            "invalid type",
        ),
        (
            "until = 9\n[[event]]\nat = 5\nkind = \"explode\"\n",
            4,
            "expected one of receive-data",
        ),
        (
            "until = 9\n[[event]]\nkind = \"receive-ack\"\n",
            2,
            "missing field `at`",
        ),
    ];
    for (text, line, part) in cases {
        let error = wrong(text);
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(wrong("").to_string().contains("missing field `until`"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = Scenario::from_toml(&text);
    }

    #[test]
    fn no_number_panics(number in any::<f64>(), whole in any::<i64>(), field in 0_usize..9) {
        let fields = [
            format!("until = {number:?}"),
            format!("until = 9\nkeepalive.idle = {number:?}"),
            format!("until = 9\nkeepalive.interval = {whole}"),
            format!("until = 9\nkeepalive.count = {whole}"),
            format!("until = 9\nkeepalive.user_timeout = {number:?}"),
            format!("until = 9\nsysctl.time = {whole}"),
            format!("until = 9\nsysctl.probes = {whole}"),
            format!("until = 9\npeer.rtt = {number:?}"),
            format!("until = 9\n[[event]]\nkind = 'set'\nat = {number:?}\ncount = {whole}"),
        ];
        let _ = Scenario::from_toml(&fields[field]);
    }
}
