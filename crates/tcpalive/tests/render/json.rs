//! JSON: every line is what the contract says, whatever is in it.

use crate::sample::{CONTAINER, connection, keepalive, own_keepalive, owner, verdict};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use tcpalive::render::json;
use tcpalive::render::summary::{ProcessLimits, Summary};
use tcpalive::render::verdicts::{CheckTotals, Fate, ReapTotals};
use tcpalive_connections::{
    Comm, Connection, KeepAlive, Origin, Outcome, Owner, State, Verdict, View,
};

fn view<'a>(connection: &'a Connection, owners: &'a [Owner], cgroup: Option<&'a str>) -> View<'a> {
    View {
        connection,
        owners,
        cgroup,
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn parsed(line: &str) -> Value {
    assert_eq!(line.matches('\n').count(), 1, "one line: {line:?}");
    assert!(line.ends_with('\n'));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_connection_has_the_keys_of_the_contract_in_their_order() {
    let connection = Connection {
        keepalive: Some(own_keepalive()),
        ..connection("10.0.0.5:5432", "10.0.3.77:38220", 41_000)
    };
    let owners = [owner("postgres", 20_411, 8), owner("postgres", 20_412, 8)];
    let line = text(|out| json::connection(out, &view(&connection, &owners, Some("/a/b.service"))));
    assert_eq!(
        line,
        concat!(
            r#"{"type":"connection","netns":4026531840,"family":"ipv4","local":"10.0.0.5:5432","#,
            r#""remote":"10.0.3.77:38220","state":"established","cookie":4242,"uid":1000,"#,
            r#""inode":81023,"owners":[{"pid":20411,"comm":"postgres","fd":8},"#,
            r#"{"pid":20412,"comm":"postgres","fd":8}],"cgroup":"/a/b.service","#,
            r#""keepalive":{"enabled":true,"idle_s":30,"interval_s":5,"count":3,"#,
            r#""from":"socket","user_timeout_ms":45000},"probes_out":0,"last_heard_ms":41000,"#,
            r#""last_ack_ms":41000,"last_data_in_ms":41040,"last_data_out_ms":41090,"#,
            r#""unacked_bytes":0,"unsent_bytes":0,"retransmits":0,"memory_bytes":2304,"#,
            r#""container":null,"unit":"b.service"}"#,
            "\n"
        )
    );
}

#[test]
fn what_is_not_known_is_null() {
    let connection = Connection {
        keepalive: None,
        probes_out: None,
        last_heard_ms: None,
        last_ack_ms: None,
        last_data_in_ms: None,
        last_data_out_ms: None,
        unacked_bytes: None,
        unsent_bytes: None,
        retransmits: None,
        ..connection("[::1]:22", "[2001:db8::1]:40000", 0)
    };
    let line = text(|out| json::connection(out, &view(&connection, &[], None)));
    assert_eq!(
        line,
        concat!(
            r#"{"type":"connection","netns":4026531840,"family":"ipv6","local":"[::1]:22","#,
            r#""remote":"[2001:db8::1]:40000","state":"established","cookie":4242,"uid":1000,"#,
            r#""inode":81023,"owners":[],"cgroup":null,"keepalive":null,"probes_out":null,"#,
            r#""last_heard_ms":null,"last_ack_ms":null,"last_data_in_ms":null,"#,
            r#""last_data_out_ms":null,"unacked_bytes":null,"unsent_bytes":null,"#,
            r#""retransmits":null,"memory_bytes":2304,"container":null,"unit":null}"#,
            "\n"
        )
    );
}

#[test]
fn a_container_is_named() {
    let connection = connection("10.0.0.5:80", "10.0.3.77:1", 1);
    let object = parsed(&text(|out| {
        json::connection(out, &view(&connection, &[], Some(CONTAINER)));
    }));
    assert_eq!(
        object["container"],
        "3f4a9c2b1d0e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
    );
}

#[test]
fn a_verdict_is_the_identity_and_the_evidence() {
    let connection = connection("10.9.0.2:3333", "10.9.1.1:40001", 1);
    let dead = verdict(Outcome::Dead, 754_000, "silent to 4 probes over 3.0 s");
    let owners = [owner("server", 12, 9)];
    let line = text(|out| json::verdict(out, &view(&connection, &owners, Some("/")), &dead));
    assert_eq!(
        line,
        concat!(
            r#"{"type":"verdict","netns":4026531840,"family":"ipv4","local":"10.9.0.2:3333","#,
            r#""remote":"10.9.1.1:40001","state":"established","cookie":4242,"uid":1000,"#,
            r#""inode":81023,"owners":[{"pid":12,"comm":"server","fd":9}],"cgroup":"/","#,
            r#""verdict":"dead","probes":4,"answered":false,"rtt_us":null,"waited_ms":3004,"#,
            r#""last_heard_ms":754000,"reason":"silent to 4 probes over 3.0 s"}"#,
            "\n"
        )
    );
}

#[test]
fn a_reaped_connection_is_the_identity_and_the_result() {
    let connection = connection("10.9.0.2:3333", "10.9.1.1:40001", 1);
    let view = view(&connection, &[], None);
    let line = text(|out| json::reaped(out, &view, Fate::Destroyed.name(), None));
    assert_eq!(
        line,
        concat!(
            r#"{"type":"reaped","netns":4026531840,"family":"ipv4","local":"10.9.0.2:3333","#,
            r#""remote":"10.9.1.1:40001","state":"established","cookie":4242,"uid":1000,"#,
            r#""inode":81023,"owners":[],"cgroup":null,"result":"destroyed","reason":null}"#,
            "\n"
        )
    );
}

#[test]
fn the_summary_of_check_has_exactly_the_keys_of_the_contract() {
    let connection = connection("10.9.0.2:3333", "10.9.1.1:40001", 1);
    let owners = [owner("server", 12, 9), owner("server", 13, 9)];
    let mut totals = CheckTotals::default();
    for outcome in [Outcome::Dead, Outcome::Dead, Outcome::Alive, Outcome::Gone] {
        totals.add(&view(&connection, &owners, None), outcome);
    }
    assert_eq!(
        text(|out| json::check_summary(out, &totals, 3_912)),
        concat!(
            r#"{"type":"summary","checked":4,"alive":1,"dead":2,"gone":1,"stalled":0,"#,
            r#""unprovable":0,"closed":0,"elapsed_ms":3912,"memory_bytes_held_by_dead":4608,"#,
            r#""fds_held_by_dead":4}"#,
            "\n"
        )
    );
}

#[test]
fn the_summary_of_reap_counts_every_fate() {
    let connection = connection("10.9.0.2:3333", "10.9.1.1:40001", 1);
    let view = view(&connection, &[], None);
    let mut check = CheckTotals::default();
    for _ in 0..5 {
        check.add(&view, Outcome::Dead);
    }
    check.add(&view, Outcome::Alive);
    let mut totals = ReapTotals::after(&check);
    for fate in Fate::ALL {
        totals.add(&view, fate);
    }
    assert_eq!(
        text(|out| json::reap_summary(out, &totals, 61_000)),
        concat!(
            r#"{"type":"summary","selected":6,"dead":5,"destroyed":1,"already_closed":1,"#,
            r#""changed":1,"failed":1,"would_destroy":1,"elapsed_ms":61000,"#,
            r#""memory_bytes_freed":2304,"fds_held_by_destroyed":0}"#,
            "\n"
        )
    );
}

#[test]
fn the_summary_of_ls_counts_by_everything() {
    let on = Connection {
        keepalive: Some(keepalive(true)),
        ..connection("10.9.0.2:3333", "10.9.2.1:40001", 1_000)
    };
    let off = connection("10.9.0.2:3333", "[2001:db8::5]:40001", 90_000_000);
    let shared = [
        owner("a\"b", 12, 9),
        owner("a\"b", 12, 10),
        owner("worker", 13, 9),
    ];
    let mut summary = Summary::default();
    summary.add(&view(&on, &shared, None));
    summary.add(&view(&off, &[], None));

    let totals = parsed(&text(|out| json::totals(out, &summary.totals)));
    assert_eq!(
        totals,
        json!({
            "type": "summary", "connections": 2, "keepalive_on": 1, "keepalive_off": 1,
            "keepalive_unknown": 0,
            "idle": {"under_1m": 1, "under_10m": 0, "under_1h": 0, "under_1d": 0, "over_1d": 1,
                     "unknown": 0},
            "memory_bytes": 4608, "by_state": {"established": 2}
        })
    );

    let limits = |pid| {
        (pid == 13).then_some(ProcessLimits {
            open: 80,
            soft_limit: 100,
        })
    };
    let full = parsed(&text(|out| json::summary(out, &summary, limits)));
    for (key, value) in totals.as_object().expect("an object") {
        assert_eq!(&full[key], value, "{key}");
    }
    assert_eq!(full["states"][0]["state"], "established");
    assert_eq!(full["unowned"]["connections"], 1);
    let process = |index: usize, key: &str| full["processes"][index][key].clone();
    assert_eq!(process(0, "comm"), "a\"b");
    assert_eq!(process(0, "connections"), 1);
    assert_eq!(process(0, "fds"), 2);
    assert_eq!(process(0, "fds_limit"), Value::Null);
    assert_eq!(process(0, "near_limit"), false);
    assert_eq!(process(1, "fds_open"), 80);
    assert_eq!(process(1, "near_limit"), true);
    assert_eq!(full["networks"][0]["network"], "10.9.2.0/24");
    assert_eq!(full["networks"][1]["network"], "2001:db8::/64");
}

fn address() -> impl Strategy<Value = SocketAddr> {
    // Groups that are often zero, so that runs of zeros meet.
    let groups =
        prop::array::uniform8(prop_oneof![3 => Just(0_u16), 1 => any::<u16>(), 1 => 0..16_u16]);
    let v6 = (groups, any::<u16>(), prop_oneof![Just(0_u32), any::<u32>()]).prop_map(
        |(groups, port, scope)| SocketAddrV6::new(Ipv6Addr::from(groups), port, 0, scope).into(),
    );
    let plain = any::<(IpAddr, u16)>().prop_map(SocketAddr::from);
    let mapped = any::<(Ipv4Addr, u16)>()
        .prop_map(|(v4, port)| SocketAddr::from((v4.to_ipv6_mapped(), port)));
    prop_oneof![3 => v6, 3 => plain, 1 => mapped]
}

fn some_keepalive() -> impl Strategy<Value = KeepAlive> {
    any::<(bool, i64, i64, u32, bool, u32)>().prop_map(
        |(enabled, idle_s, interval_s, count, own, user_timeout_ms)| KeepAlive {
            enabled,
            idle_s,
            interval_s,
            count,
            from: if own { Origin::Socket } else { Origin::Sysctl },
            user_timeout_ms,
        },
    )
}

fn some_connection() -> impl Strategy<Value = Connection> {
    (
        (
            address(),
            address(),
            1..=12_u8,
            prop::option::of(some_keepalive()),
        ),
        any::<(u64, u64, u32, u64, u64)>(),
        any::<(
            Option<u32>,
            Option<u64>,
            Option<u64>,
            Option<u64>,
            Option<u64>,
        )>(),
        any::<(Option<u64>, Option<u64>, Option<u32>)>(),
    )
        .prop_map(|(ends, numbers, ages, queues)| Connection {
            netns: numbers.0,
            cookie: numbers.1,
            local: ends.0,
            remote: ends.1,
            state: State::from_kernel(ends.2).expect("1 to 12 are states"),
            uid: numbers.2,
            inode: numbers.3,
            cgroup_id: None,
            keepalive: ends.3,
            probes_out: ages.0,
            last_heard_ms: ages.1,
            last_ack_ms: ages.2,
            last_data_in_ms: ages.3,
            last_data_out_ms: ages.4,
            unacked_bytes: queues.0,
            unsent_bytes: queues.1,
            retransmits: queues.2,
            memory_bytes: numbers.4,
        })
}

fn some_owner() -> impl Strategy<Value = Owner> {
    any::<(u32, u32, [u8; 16])>().prop_map(|(pid, fd, comm)| Owner {
        pid,
        fd,
        comm: Comm::from_kernel(comm),
    })
}

fn expected(connection: &Connection, owners: &[Owner], cgroup: Option<&str>) -> Value {
    json!({
        "netns": connection.netns,
        "family": if connection.local.is_ipv4() { "ipv4" } else { "ipv6" },
        "local": connection.local.to_string(),
        "remote": connection.remote.to_string(),
        "state": connection.state.name(),
        "cookie": connection.cookie,
        "uid": connection.uid,
        "inode": connection.inode,
        "owners": owners.iter().map(|owner| json!({
            "pid": owner.pid, "comm": owner.comm.as_text(), "fd": owner.fd,
        })).collect::<Vec<_>>(),
        "cgroup": cgroup,
    })
}

fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut object, more) else {
        panic!("objects");
    };
    fields.extend(more);
    object
}

proptest! {
    #[test]
    fn every_address_is_written_as_the_standard_library_does(address in address()) {
        prop_assert_eq!(text(|out| json::push_address(out, &address)), address.to_string());
    }

    #[test]
    fn every_connection_reads_back(
        connection in some_connection(),
        owners in prop::collection::vec(some_owner(), 0..4),
        cgroup in prop::option::of("\\PC{0,20}|[\\x00-\\x7f]{0,20}|/.*"),
    ) {
        let view = view(&connection, &owners, cgroup.as_deref());
        let line = text(|out| json::connection(out, &view));
        let keepalive = connection.keepalive.map(|k| json!({
            "enabled": k.enabled, "idle_s": k.idle_s, "interval_s": k.interval_s,
            "count": k.count, "from": k.from.name(), "user_timeout_ms": k.user_timeout_ms,
        }));
        let unit = cgroup.as_deref().and_then(tcpalive_connections::cgroup::systemd_unit);
        prop_assert_eq!(
            parsed(&line),
            with(expected(&connection, &owners, cgroup.as_deref()), json!({
                "type": "connection",
                "keepalive": keepalive,
                "probes_out": connection.probes_out,
                "last_heard_ms": connection.last_heard_ms,
                "last_ack_ms": connection.last_ack_ms,
                "last_data_in_ms": connection.last_data_in_ms,
                "last_data_out_ms": connection.last_data_out_ms,
                "unacked_bytes": connection.unacked_bytes,
                "unsent_bytes": connection.unsent_bytes,
                "retransmits": connection.retransmits,
                "memory_bytes": connection.memory_bytes,
                "container": view.container(),
                "unit": unit,
            }))
        );
        prop_assert!(!line.trim_end().bytes().any(|byte| byte < 0x20 || byte == 0x7f));
    }

    #[test]
    fn every_verdict_and_every_reaped_connection_reads_back(
        connection in some_connection(),
        owners in prop::collection::vec(some_owner(), 0..4),
        which in 0..6_usize,
        numbers in any::<(u32, bool, Option<u64>, u64, Option<u64>)>(),
        reason in "\\PC{0,40}|[\\x00-\\x7f]{0,40}",
    ) {
        let verdict = Verdict {
            outcome: Outcome::ALL[which],
            probes: numbers.0,
            answered: numbers.1,
            rtt_us: numbers.2,
            waited_ms: numbers.3,
            last_heard_ms: numbers.4,
            reason,
        };
        let view = view(&connection, &owners, None);
        prop_assert_eq!(
            parsed(&text(|out| json::verdict(out, &view, &verdict))),
            with(expected(&connection, &owners, None), json!({
                "type": "verdict",
                "verdict": verdict.outcome.name(),
                "probes": verdict.probes,
                "answered": verdict.answered,
                "rtt_us": verdict.rtt_us,
                "waited_ms": verdict.waited_ms,
                "last_heard_ms": verdict.last_heard_ms,
                "reason": verdict.reason,
            }))
        );
        prop_assert_eq!(
            parsed(&text(|out| json::reaped(out, &view, "changed", Some(&verdict.reason)))),
            with(expected(&connection, &owners, None), json!({
                "type": "reaped", "result": "changed", "reason": verdict.reason,
            }))
        );
    }
}
