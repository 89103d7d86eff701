//! Laws that hold for all filters and all connections.

mod sample;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sample::{Sample, keepalive, owner};
use std::net::SocketAddr;
use tcpalive_connections::{Filter, State};

/// Values of fields, few enough for filters and connections to meet.
const ADDRESSES: [&str; 8] = [
    "10.1.2.3",
    "10.200.0.1",
    "192.0.2.1",
    "0.0.0.0",
    "2001:db8::1",
    "2001:db8:ffff::2",
    "::1",
    "::",
];
const NETWORKS: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3/31",
    "128.0.0.0/1",
    "::/0",
    "::/1",
    "::/64",
    "::/96",
    "2001:db8::/32",
    "[2001:db8::]/33",
    "::ffff:0:0/96",
    "::ffff:10.0.0.0/104",
    "::fffe:0:0/95",
];
const PORTS: [u16; 6] = [0, 1, 80, 81, 443, 65_535];
const COMMS: [&str; 4] = ["nginx", "and", "a b", ""];
const CGROUPS: [&str; 3] = ["/", "/system.slice/nginx.service", "/lxc/web"];

/// A value, or a list of them after `in`.
fn equality(
    field: &'static str,
    value: impl Strategy<Value = String> + Clone + 'static,
) -> BoxedStrategy<String> {
    prop_oneof![
        (select(vec!["=", "!=", "==", "in"]), value.clone())
            .prop_map(move |(operator, value)| format!("{field} {operator} {value}")),
        vec(value, 1..4).prop_map(move |values| format!("{field} in ({})", values.join(","))),
    ]
    .boxed()
}

fn order(
    field: &'static str,
    value: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<String> {
    (select(vec!["<", "<=", ">", ">="]), value)
        .prop_map(move |(operator, value)| format!("{field}{operator}{value}"))
        .boxed()
}

fn port_value() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        select(PORTS.to_vec()).prop_map(|port| port.to_string()),
        (select(PORTS.to_vec()), select(PORTS.to_vec())).prop_map(|(a, b)| format!(
            "{}-{}",
            a.min(b),
            a.max(b)
        )),
    ]
}

fn test() -> impl Strategy<Value = String> {
    let states: Vec<String> = State::ALL.iter().map(ToString::to_string).collect();
    let addresses: Vec<String> = ADDRESSES
        .iter()
        .chain(&NETWORKS)
        .map(|text| (*text).to_owned())
        .collect();
    let quoted =
        |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| format!("'{text}'")).collect() };
    let small = || (0_u64..4).prop_map(|number| number.to_string());
    let port_number = || select(PORTS.to_vec()).prop_map(|port| port.to_string());
    let milliseconds = select(vec!["0", "1ms", "1s", "999ms", "1000ms", "1h", "1ms-1s"]);
    let durations = select(vec!["0", "1ms", "1s", "1h", "18446744073709551615ms"]);
    let ports = ["local.port", "remote.port", "port"];
    let mut tests: Vec<BoxedStrategy<String>> = vec![
        equality("state", select(states)),
        equality("local.addr", select(addresses.clone())),
        equality("remote.addr", select(addresses)),
        equality("family", select(vec!["ipv4", "6"]).prop_map(str::to_owned)),
        equality("comm", select(quoted(&COMMS))),
        equality("cgroup", select(quoted(&CGROUPS))),
        equality("container", select(vec!["''".to_owned(), "web".to_owned()])),
        equality("pid", small()),
        equality("uid", small()),
        equality("netns", small()),
        equality("memory", small()),
        equality("unacked", small()),
        equality("idle", milliseconds.prop_map(str::to_owned)),
        order("idle", durations.prop_map(str::to_owned)),
        order("pid", small()),
        order("memory", small()),
        order("unacked", small()),
        select(vec!["comm", "cgroup", "container"])
            .prop_flat_map(|field| {
                select(vec![
                    "''",
                    "n",
                    "^a|x$",
                    "'a b'",
                    "(web|nginx)",
                    r"\.service$",
                ])
                .prop_map(move |pattern| format!("{field} ~ {pattern}"))
            })
            .boxed(),
        select(vec![
            "keepalive",
            "keepalive = on",
            "keepalive != true",
            "keepalive = off",
        ])
        .prop_map(str::to_owned)
        .boxed(),
    ];
    for field in ports {
        tests.push(equality(field, port_value()));
        tests.push(order(field, port_number()));
    }
    proptest::strategy::Union::new(tests)
}

fn filter() -> impl Strategy<Value = String> {
    test().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not {inner}")),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            vec(inner.clone(), 2..4).prop_map(|terms| format!("({})", terms.join(" and "))),
            vec(inner, 2..4).prop_map(|terms| format!("({})", terms.join(" || "))),
        ]
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let end = || (select(ADDRESSES.to_vec()), select(PORTS.to_vec()));
    let family = prop_oneof![
        (end(), end()),
        // Both ends the same family, as real ones are.
        (0..4_usize, 0..4_usize, any::<bool>(), end(), end()).prop_map(|(a, b, v6, x, y)| {
            let from = if v6 { 4 } else { 0 };
            ((ADDRESSES[from + a], x.1), (ADDRESSES[from + b], y.1))
        }),
    ];
    let idle = prop_oneof![
        Just(0),
        Just(1),
        998_u64..1002,
        Just(3_600_000),
        Just(u64::MAX)
    ];
    let owners = vec(
        (0_u32..4, select(COMMS.to_vec())).prop_map(|(pid, comm)| owner(pid, comm)),
        0..3,
    );
    (
        family,
        select(State::ALL.to_vec()),
        option::of(any::<bool>()),
        option::of(idle),
        option::of(0_u64..4),
        (0_u32..4, 0_u64..4, 0_u64..4),
        owners,
        option::of(select(CGROUPS.to_vec())),
    )
        .prop_map(
            |(ends, state, switch, idle, unacked, (uid, netns, memory), owners, cgroup)| {
                let mut sample = Sample::nginx();
                let ((local, local_port), (remote, remote_port)) = ends;
                let connection = &mut sample.connection;
                connection.local = SocketAddr::new(local.parse().unwrap(), local_port);
                connection.remote = SocketAddr::new(remote.parse().unwrap(), remote_port);
                connection.state = state;
                connection.keepalive = switch.map(keepalive);
                connection.last_heard_ms = idle;
                connection.unacked_bytes = unacked;
                connection.uid = uid;
                connection.netns = netns;
                connection.memory_bytes = memory;
                sample.owners = owners;
                sample.cgroup = cgroup.map(str::to_owned);
                sample
            },
        )
}

/// `None` is "unknown": neither the filter nor its negation is true.
fn truth(text: &str, sample: &Sample) -> Option<bool> {
    let matches = |text: &str| Filter::parse(text).unwrap().matches(&sample.view());
    match (matches(text), matches(&format!("not ({text})"))) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
        (true, true) => panic!("both {text} and its negation are true"),
    }
}

/// Whatever was read is written so that it is read as the same.
fn round_trips(filter: &Filter) -> Filter {
    let shown = filter.to_string();
    let again = Filter::parse(&shown).unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(again.to_string(), shown);
    again
}

fn holds_for_any_text(text: &str) {
    match Filter::parse(text) {
        Ok(filter) => {
            round_trips(&filter);
            let _ = filter.selection();
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column()));
            assert!(!error.to_string().is_empty());
            assert_eq!(error.with_caret().lines().count(), 2);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        holds_for_any_text(&text);
    }

    #[test]
    fn no_text_of_the_languages_pieces_makes_the_parser_panic(
        pieces in vec(
            select(vec![
                "state", "local.addr", "port", "pid", "comm", "idle", "memory", "keepalive", "cgroup",
                "family", "=", "!=", "<", "<=", ">", ">=", "in", "~", "and", "or", "not", "&&", "||",
                "!", "&", "(", ")", ",", "'", "\"", "''", "\\", "/", "-", "[", "]", "::", "10.0.0.0/8",
                "80", "80-90", "10m", "1MiB", "listen", "ipv4", "on", "é", "\u{0}", " ", "\n", "{", "*",
            ]),
            0..14,
        ),
        separator in select(vec!["", " "]),
    ) {
        holds_for_any_text(&pieces.join(separator));
    }

    #[test]
    fn no_value_makes_the_parser_panic(
        test in select(vec![
            "idle >", "memory <", "port in", "remote.addr =", "comm ~", "cgroup =", "netns =", "comm =",
        ]),
        value in "[-0-9a-fsmhdkKMGTiB.:/\\[\\]()|*+?{}\\\\'\"é]{0,24}",
    ) {
        holds_for_any_text(&format!("{test} {value}"));
    }

    #[test]
    fn any_text_can_be_a_value(value in any::<String>()) {
        let filter = Filter::parse(&format!("cgroup = '{}'", value.replace('\'', "''"))).unwrap();
        let mut sample = Sample::nginx();
        sample.cgroup = Some(value);
        prop_assert!(filter.matches(&sample.view()));
        prop_assert!(round_trips(&filter).matches(&sample.view()));
    }

    #[test]
    fn what_is_written_reads_as_the_same(
        text in filter(),
        samples in vec(sample(), 8),
    ) {
        let filter = Filter::parse(&text).unwrap();
        let again = round_trips(&filter);
        for sample in &samples {
            prop_assert_eq!(filter.matches(&sample.view()), again.matches(&sample.view()));
        }
        prop_assert_eq!(filter.selection(), again.selection());
        prop_assert_eq!(filter.is_exactly_selected(), again.is_exactly_selected());
        prop_assert_eq!(filter.mentions_state(), again.mentions_state());
    }

    #[test]
    fn a_selection_accepts_what_its_filter_accepts(
        text in filter(),
        samples in vec(sample(), 16),
    ) {
        let filter = Filter::parse(&text).unwrap();
        let selection = filter.selection();
        for sample in &samples {
            let matches = filter.matches(&sample.view());
            let selected = selection.accepts(&sample.connection);
            prop_assert!(selected || !matches, "too narrow: {:?} of {:?}", selection, sample);
            if filter.is_exactly_selected() {
                prop_assert_eq!(selected, matches, "not exact: {:?} of {:?}", selection, sample);
            }
        }
    }

    #[test]
    fn logic_is_kleenes(a in filter(), b in filter(), samples in vec(sample(), 4)) {
        for sample in &samples {
            let (x, y) = (truth(&a, sample), truth(&b, sample));
            let both = match (x, y) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            let either = match (x, y) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            prop_assert_eq!(truth(&format!("({a}) and ({b})"), sample), both);
            prop_assert_eq!(truth(&format!("({a}) or ({b})"), sample), either);
            prop_assert_eq!(truth(&format!("not not ({a})"), sample), x);
            // De Morgan.
            prop_assert_eq!(
                truth(&format!("not (({a}) and ({b}))"), sample),
                truth(&format!("not ({a}) or not ({b})"), sample)
            );
            prop_assert_eq!(
                truth(&format!("not (({a}) or ({b}))"), sample),
                truth(&format!("not ({a}) and not ({b})"), sample)
            );
        }
    }

    #[test]
    fn and_is_the_languages_and(a in filter(), b in filter(), sample in sample()) {
        let joined = Filter::parse(&a).unwrap().and(Filter::parse(&b).unwrap());
        let written = Filter::parse(&format!("({a}) and ({b})")).unwrap();
        prop_assert_eq!(joined.matches(&sample.view()), written.matches(&sample.view()));
        round_trips(&joined);
    }
}
