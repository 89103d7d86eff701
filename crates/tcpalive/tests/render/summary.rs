//! The tables of `ls --summary`.

use crate::sample::{DAY, HOUR, MINUTE, connection, keepalive, mixed, owner};
use crate::{printed, widest};
use tcpalive::render::Style;
use tcpalive::render::summary::{GROUPS, Network, ProcessLimits, Summary};
use tcpalive_connections::{Connection, Owner, View};

fn of(held: &[(Connection, Vec<Owner>, Option<&'static str>)]) -> Summary {
    let mut summary = Summary::default();
    for (connection, owners, cgroup) in held {
        summary.add(&View {
            connection,
            owners,
            cgroup: *cgroup,
        });
    }
    summary
}

fn add(summary: &mut Summary, connection: &Connection, owners: &[Owner]) {
    summary.add(&View {
        connection,
        owners,
        cgroup: None,
    });
}

fn text(summary: &Summary, width: usize, limits: impl Fn(u32) -> Option<ProcessLimits>) -> String {
    printed(|out| summary.write(out, Style::plain(width), limits))
}

/// The article's night: 20,000 connections of a dead host, 480 of a living.
fn night() -> Summary {
    let mut summary = Summary::default();
    for number in 0..20_480_u32 {
        let (host, heard) = if number < 20_000 {
            (1, 12 * MINUTE)
        } else {
            (2, 3_000)
        };
        let remote = format!("10.9.{host}.1:{}", 20_000 + number);
        add(
            &mut summary,
            &connection("10.9.0.2:3333", &remote, heard),
            &[owner("server", 12 + number % 3, 4 + number / 3)],
        );
    }
    summary
}

#[test]
fn twenty_thousand_silent_connections_are_seen_at_a_glance() {
    let limits = |pid| {
        Some(ProcessLimits {
            open: 6_840,
            soft_limit: if pid == 13 { 7_000 } else { 20_000 },
        })
    };
    let expected = "\
\x20                     keep-alive    last heard
STATE          CONNS    ON     OFF  <1m     <1h    MEMORY
established   20,480     0  20,480  480  20,000  45.0 MiB

PROCESS        CONNS    ON     OFF  <1m     <1h    MEMORY      DESCRIPTORS
server[12]     6,827     0   6,827  160   6,667  15.0 MiB  6,840 of 20,000
server[13]     6,827     0   6,827  160   6,667  15.0 MiB   6,840 of 7,000
server[14]     6,826     0   6,826  160   6,666  15.0 MiB  6,840 of 20,000

PEER NETWORK   CONNS    ON     OFF  <1m     <1h    MEMORY
10.9.1.0/24   20,000     0  20,000    0  20,000  43.9 MiB
10.9.2.0/24      480     0     480  480       0   1.1 MiB

The 20,480 selected connections hold 45.0 MiB of kernel memory.
server[13]: 6,840 of 7,000 descriptors; new connections will be refused at the limit
";
    assert_eq!(text(&night(), 100, limits), expected);
    assert_eq!(text(&night(), 200, limits), expected);
}

#[test]
fn every_kind_of_connection_has_its_place_at_100_columns() {
    assert_eq!(
        text(&of(&mixed()), 100, |_| None),
        "\
\x20                         keep-alive     last heard
STATE              CONNS    ON   OFF  ?  <1m  <10m  <1h  <1d  ≥1d  ?   MEMORY
established            7     2     5  0    2     1    2    1    1  0  3.1 MiB
close-wait             1     0     0  1    0     0    0    0    0  1  2.3 KiB
listen                 1     0     1  0    0     0    0    0    0  1  2.3 KiB

PROCESS            CONNS    ON   OFF  ?  <1m  <10m  <1h  <1d  ≥1d  ?   MEMORY
nginx[812]             3     1     2  0    1     0    0    1    0  1  6.8 KiB
nginx[813]             2     0     2  0    0     0    0    1    0  1  4.5 KiB
server[12]             1     0     1  0    0     0    1    0    0  0  2.3 KiB
server[13]             1     0     1  0    0     0    0    0    1  0  2.3 KiB
nginx[814]             1     0     1  0    0     0    0    0    0  1  2.3 KiB
nginx[815]             1     0     1  0    0     0    0    0    0  1  2.3 KiB
redis-server[977]      1     0     0  1    0     0    0    0    0  1  2.3 KiB
java[3077]             1     0     1  0    0     1    0    0    0  0  3.1 MiB
postgres[20411]        1     1     0  0    1     0    0    0    0  0  2.3 KiB
no process             1     0     1  0    0     0    1    0    0  0  2.3 KiB

PEER NETWORK       CONNS    ON   OFF  ?  <1m  <10m  <1h  <1d  ≥1d  ?   MEMORY
10.9.1.0/24            2     0     2  0    0     0    1    0    1  0  4.5 KiB
loopback               1     0     0  1    0     0    0    0    0  1  2.3 KiB
10.0.0.0/24            1     0     1  0    0     0    1    0    0  0  2.3 KiB
10.0.3.0/24            1     1     0  0    1     0    0    0    0  0  2.3 KiB
198.51.100.0/24        1     1     0  0    1     0    0    0    0  0  2.3 KiB
203.0.113.0/24         1     0     1  0    0     1    0    0    0  0  3.1 MiB
2001:db8:7::/64        1     0     1  0    0     0    0    1    0  0  2.3 KiB
no peer                1     0     1  0    0     0    0    0    0  1  2.3 KiB

The 9 selected connections hold 3.1 MiB of kernel memory.
"
    );
}

#[test]
fn huge_counts_are_shortened_before_a_line_gets_too_long() {
    let mut summary = Summary::default();
    let prefix = "[2001:db8:1234:5678::1]:443";
    for (times, heard) in [
        (70_000, 1),
        (60_000, 2 * MINUTE),
        (50_000, HOUR / 2),
        (40_000, 3 * HOUR),
        (30_000, 2 * DAY),
    ] {
        let mut socket = connection("10.9.0.2:3333", prefix, heard);
        for number in 0..times {
            socket.keepalive = (number % 3 > 0).then(|| keepalive(number % 3 == 1));
            socket.last_heard_ms = (number % 5 > 0).then_some(heard);
            add(
                &mut summary,
                &socket,
                &[owner("a-longer-server", 4_194_000, 3)],
            );
        }
    }
    let limits = |_| {
        Some(ProcessLimits {
            open: 1_000_000,
            soft_limit: 1_048_576,
        })
    };
    let narrow = text(&summary, 100, limits);
    assert_eq!(
        narrow,
        "\
\x20                   keep-alive           last heard
STATE        CONNS     ON    OFF      ?    <1m   <10m    <1h    <1d    ≥1d      ?   MEMORY
established   250k  83.3k  83.3k  83.3k  56.0k  48.0k  40.0k  32.0k  24.0k  50.0k  549 MiB

                              keep-alive    last heard
PROCESS                CONNS     ON    OFF    <1m   <10m    <1h    <1d    ≥1d   MEMORY   DESCRIPTORS
a-longer-se…[4194000]   250k  83.3k  83.3k  56.0k  48.0k  40.0k  32.0k  24.0k  549 MiB  1.0M of 1.0M

                                keep-alive    last heard
PEER NETWORK             CONNS     ON    OFF    <1m   <10m    <1h    <1d    ≥1d   MEMORY
2001:db8:1234:5678::/64   250k  83.3k  83.3k  56.0k  48.0k  40.0k  32.0k  24.0k  549 MiB

The 250,000 selected connections hold 549 MiB of kernel memory.
a-longer-server[4194000]: 1,000,000 of 1,048,576 descriptors; new connections will be refused at the
limit
"
    );
    assert!(widest(&text(&summary, 200, limits)) <= 200);
}

#[test]
fn a_shared_socket_counts_for_each_owner_but_once_in_all() {
    let mut summary = Summary::default();
    let owners = [owner("a", 1, 3), owner("a", 1, 4), owner("b", 2, 3)];
    add(
        &mut summary,
        &connection("10.0.0.1:1", "10.0.0.2:2", 1),
        &owners,
    );
    assert_eq!(summary.totals.all.connections, 1);
    let processes = summary.processes();
    assert_eq!(processes.len(), 2);
    assert!(
        processes
            .iter()
            .all(|process| process.group.connections == 1)
    );
    assert_eq!(processes[0].descriptors, 2);
}

#[test]
fn idle_times_fall_into_the_bucket_below_its_end() {
    let mut summary = Summary::default();
    for heard in [
        0,
        MINUTE - 1,
        MINUTE,
        10 * MINUTE,
        HOUR,
        DAY - 1,
        DAY,
        1_000 * DAY,
    ] {
        add(
            &mut summary,
            &connection("10.0.0.1:1", "10.0.0.2:2", heard),
            &[],
        );
    }
    assert_eq!(summary.totals.all.idle.buckets, [2, 1, 1, 2, 2]);
}

#[test]
fn only_twenty_rows_of_a_section_are_shown() {
    let mut summary = Summary::default();
    for host in 0..30_u8 {
        for _ in 0..=host {
            add(
                &mut summary,
                &connection("10.0.0.1:1", &format!("10.1.{host}.1:2"), 1),
                &[],
            );
        }
    }
    let text = text(&summary, 100, |_| None);
    assert!(text.contains("10.1.10.0/24 "), "{text}");
    assert!(!text.contains("10.1.9.0/24 "), "{text}");
    assert!(text.contains("… and 10 more     55 "), "{text}");
}

#[test]
fn the_number_of_groups_is_bounded() {
    let mut summary = Summary::default();
    let groups = u32::try_from(GROUPS).expect("fits");
    for number in 0..groups + 10 {
        let [_, a, b, c] = number.to_be_bytes();
        let mut socket = connection("10.0.0.1:1", "10.0.0.2:2", 1);
        socket.remote = ([a + 1, b, c, 1], 443).into();
        add(&mut summary, &socket, &[owner("x", number, 3)]);
    }
    assert_eq!(summary.networks().len(), GROUPS);
    assert_eq!(summary.processes().len(), GROUPS);
    assert!(text(&summary, 100, |_| None).contains("… and over 65,516 more  65,526"));
}

#[test]
fn descriptors_near_the_limit_are_pointed_out_from_80_percent() {
    for (open, soft_limit, near) in [
        (79, 100, false),
        (80, 100, true),
        (100, 100, true),
        (u64::MAX, u64::MAX, false),
        (0, 0, true),
    ] {
        assert_eq!(
            ProcessLimits { open, soft_limit }.near(),
            near,
            "{open} of {soft_limit}"
        );
    }
    let full = text(&night(), 100, |_| {
        Some(ProcessLimits {
            open: 20_000,
            soft_limit: 20_000,
        })
    });
    assert!(
        full.contains(
            "server[12]: 20,000 of 20,000 descriptors; new connections are refused now\n"
        ),
        "{full}"
    );
}

#[test]
fn peers_are_counted_by_their_network() {
    for (peer, name) in [
        ("10.9.1.77", "10.9.1.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.3.4.5", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "no peer"),
        ("::", "no peer"),
    ] {
        assert_eq!(
            Network::of(peer.parse().expect("an address")).to_string(),
            name
        );
    }
}

#[test]
fn nothing_selected_is_said() {
    assert_eq!(
        text(&Summary::default(), 100, |_| None),
        "No connection matches.\n"
    );
}
