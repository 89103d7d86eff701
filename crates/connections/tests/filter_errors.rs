//! What people are told about a filter that is not understood.

use tcpalive_connections::Filter;

#[track_caller]
fn error(text: &str) -> (usize, String) {
    match Filter::parse(text) {
        Ok(filter) => panic!("{text} was understood as {filter}"),
        Err(error) => (error.column(), error.message().to_owned()),
    }
}

const FIELDS: &str = "state, local.addr, local.port, remote.addr, remote.port, port, pid, comm, \
                      cgroup, container, uid, netns, family, keepalive, idle, unacked, memory";

#[test]
fn the_sentence_has_the_column() {
    let error = Filter::parse("pid = 1 and é").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("filter, column 13: found `é`, expected a field ({FIELDS})")
    );
    assert_eq!(error.with_caret(), "pid = 1 and é\n            ^");
}

#[test]
fn columns_are_characters() {
    assert_eq!(error("comm = 'éé' und").0, 13);
}

#[test]
fn near_misses_and_other_tools_names_are_recognised() {
    for (text, meant) in [
        ("stat = listen", "state"),
        ("local.prot = 1", "local.port"),
        ("keep-alive", "keepalive"),
        ("dport = 443", "remote.port"),
        ("established", "state = established"),
        ("3333", "port = 3333"),
        ("10.0.0.1", "remote.addr = 10.0.0.1"),
    ] {
        let (column, message) = error(text);
        assert_eq!(column, 1);
        assert!(
            message.ends_with(&format!("; did you mean `{meant}`?")),
            "{text}: {message}"
        );
    }
    let (column, message) = error("state = establihed");
    assert_eq!(column, 9);
    assert!(
        message.ends_with("did you mean `established`?"),
        "{message}"
    );
}

#[test]
fn an_operator_that_the_field_has_not_is_answered_with_those_it_has() {
    for (text, column, found, field, operators) in [
        ("state < 3", 7, "`<`", "state", "= != in"),
        ("remote.addr > 1.2.3.4", 13, "`>`", "remote.addr", "= != in"),
        ("port ~ 80", 6, "`~`", "port", "= != < <= > >= in"),
        ("comm > x", 6, "`>`", "comm", "= != in ~"),
        ("keepalive > 1", 11, "`>`", "keepalive", "= !="),
        ("netns < 5", 7, "`<`", "netns", "= != in"),
        (
            "port",
            5,
            "the end of the filter",
            "port",
            "= != < <= > >= in",
        ),
        ("port 80", 6, "`80`", "port", "= != < <= > >= in"),
    ] {
        assert_eq!(
            error(text),
            (
                column,
                format!("found {found}, expected an operator that `{field}` has ({operators})")
            )
        );
    }
}

#[test]
fn values_are_checked_where_they_stand() {
    for (text, column, message) in [
        (
            "port = 65536",
            8,
            "found `65536`, expected a port from 0 to 65535",
        ),
        (
            "port = https",
            8,
            "found `https`, expected a port from 0 to 65535",
        ),
        (
            "port in (80, 99999)",
            14,
            "found `99999`, expected a port from 0 to 65535",
        ),
        (
            "port < 80-90",
            8,
            "found `80-90`, expected a port from 0 to 65535",
        ),
        (
            "port in 9000-8000",
            9,
            "found `9000-8000`, expected a range from low to high; did you mean `8000-9000`?",
        ),
        (
            "port in 8000-",
            9,
            "found `8000-`, expected a port from 0 to 65535",
        ),
        (
            "idle > 10",
            8,
            "found `10`, expected a duration such as 250ms, 90s, 15m, 2h or 1d; did you mean `10s`?",
        ),
        (
            "idle > 999999999999999999999h",
            8,
            "found `999999999999999999999h`, expected a duration such as 250ms, 90s, 15m, 2h or 1d; \
             this one is too large to count",
        ),
        (
            "remote.addr in 10.0.0.0/33",
            16,
            "found `10.0.0.0/33`, expected a prefix length from 0 to 32 after the `/`",
        ),
        (
            "remote.addr in ::/129",
            16,
            "found `::/129`, expected a prefix length from 0 to 128 after the `/`",
        ),
        (
            "remote.addr = 192.0.2.1:443",
            15,
            "found `192.0.2.1:443`, expected an IP address (192.0.2.1, 2001:db8::1) or a network \
             (10.0.0.0/8); a port is compared by `local.port` or `remote.port`",
        ),
        (
            "comm = systemd-networkd",
            8,
            "found `systemd-networkd`, expected a process's name as the kernel keeps it, at most 15 \
             bytes; did you mean `systemd-network`?",
        ),
        (
            "family = ipv5",
            10,
            "found `ipv5`, expected a family (ipv4, ipv6); did you mean `ipv4`?",
        ),
        (
            "keepalive = maybe",
            13,
            "found `maybe`, expected a switch (on, off, true, false)",
        ),
        (
            "pid = nginx",
            7,
            "found `nginx`, expected a process id; a process's name is compared by `comm`",
        ),
        (
            "comm ~ (a b)",
            8,
            "found `(a`, expected a regular expression (unclosed group); a pattern with blanks, \
             commas or quotes is written in quotes",
        ),
        (
            "comm ~ '['",
            8,
            "found `'['`, expected a regular expression (unclosed character class)",
        ),
    ] {
        assert_eq!(error(text), (column, message.to_owned()), "{text}");
    }
}

#[test]
fn structure_is_checked_where_it_breaks() {
    for (text, column, message) in [
        (
            "pid = 1 pid = 2",
            9,
            "found `pid`, expected `and`, `or` or the end of the filter",
        ),
        (
            "pid = 1)",
            8,
            "found `)`, expected `and`, `or` or the end of the filter",
        ),
        (
            "(pid = 1",
            9,
            "found the end of the filter, expected `and`, `or` or `)`",
        ),
        ("pid in ()", 9, "found `)`, expected a value"),
        ("pid in (1,)", 11, "found `)`, expected a value"),
        ("pid in (1 2)", 11, "found `2`, expected `,` or `)`"),
        ("pid =", 6, "found the end of the filter, expected a value"),
        ("comm = and pid = 1", 8, "found `and`, expected a value"),
        (
            "comm ~ and",
            8,
            "found `and`, expected a regular expression",
        ),
        ("pid = 1 & pid = 2", 9, "found `&`, expected `&&`"),
        (
            "comm = 'x",
            8,
            "found a ' that is never closed, expected another '",
        ),
        ("pid = (1)", 7, "found `(`, expected a value"),
    ] {
        assert_eq!(error(text), (column, message.to_owned()), "{text}");
    }
    for (text, column) in [
        ("()", 2),
        ("pid = 1 and", 12),
        ("not", 4),
        ("= 3", 1),
        ("'pid' = 1", 1),
    ] {
        let (at, message) = error(text);
        assert_eq!(at, column, "{text}");
        assert!(
            message.ends_with(&format!("a field ({FIELDS}), `not` or `(`")),
            "{message}"
        );
    }
}

#[test]
fn a_long_word_is_cut_in_the_message() {
    let (_, message) = error(&"x".repeat(100_000));
    assert!(message.chars().count() < 300, "{message}");
}
