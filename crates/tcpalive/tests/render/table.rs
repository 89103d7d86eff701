//! The table of `ls`.

use crate::sample::{DAY, connection, keepalive, mixed, own_keepalive, owner};
use crate::{printed, widest};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use tcpalive::render::Style;
use tcpalive::render::table::{SAMPLE, Table};
use tcpalive_connections::{Connection, Owner, State, View};

type Held = (Connection, Vec<Owner>, Option<&'static str>);

fn table(held: &[Held], style: Style) -> String {
    printed(|out| {
        let mut table = Table::new(out, style);
        for (connection, owners, cgroup) in held {
            table.row(&View {
                connection,
                owners,
                cgroup: *cgroup,
            })?;
        }
        table.finish().map(|_| ())
    })
}

#[test]
fn at_100_columns_the_most_important_is_shown() {
    assert_eq!(
        table(&mixed(), Style::plain(100)),
        "\
STATE        LOCAL               REMOTE                 KEEPALIVE      HEARD  PROBES  OWNER
established  10.9.0.2:3333       10.9.1.1:40001         off              12m       -  server[12]
established  10.9.0.2:3333       10.9.1.1:40002         off            3d 4h       -  server[13]
established  192.0.2.17:443      198.51.100.203:51812   7200s/75s/9     8.1s       -  nginx[812]
established  10.0.0.5:5432       10.0.3.77:38220        30s/5s/3*        41s       2  postgr…[20411]
established  10.0.0.5:8080       203.0.113.9:60123      off           1m 34s       -  java[3077]
close-wait   127.0.0.1:6379      127.0.0.1:50050        ?                  ?       ?  redis-se…[977]
established  [2001:db8::17]:443  [2001:db8:7::a]:40212  off               2h       -  nginx[812] +1
listen       0.0.0.0:443         -                      off                ?       -  nginx[812] +3
established  10.0.0.5:2049       10.0.0.9:871           off              25m       -  -

9 connections: keep-alive on 2, off 6, unknown 1; 3.1 MiB of kernel memory.
KEEPALIVE is idle/interval/count; * where the socket has values of its own.
"
    );
}

#[test]
fn at_200_columns_there_is_room_for_all() {
    let text = table(&mixed(), Style::plain(200));
    assert!(widest(&text) <= 200, "{text}");
    let expected = "\
STATE        LOCAL               REMOTE                 KEEPALIVE    USER TMO    HEARD  PROBES  DATA IN  DATA OUT   UNACKED    UNSENT  RETR    MEMORY   UID  OWNER              CONTAINER/UNIT
established  10.9.0.2:3333       10.9.1.1:40001         off                 -      12m       -      12m       12m         -         -     -   2.3 KiB  1000  server[12]         /demo
established  10.9.0.2:3333       10.9.1.1:40002         off                 -    3d 4h       -    3d 4h     3d 4h         -         -     -   2.3 KiB  1000  server[13]         /demo
established  192.0.2.17:443      198.51.100.203:51812   7200s/75s/9         -     8.1s       -     8.1s      8.2s         -         -     -   2.3 KiB  1000  nginx[812]         nginx.service
established  10.0.0.5:5432       10.0.3.77:38220        30s/5s/3*         45s      41s       2      41s       41s         -         -     -   2.3 KiB  1000  postgres[20411]    3f4a9c2b1d0e
established  10.0.0.5:8080       203.0.113.9:60123      off                 -   1m 34s       -   1m 34s    1m 34s  14.1 KiB   2.5 MiB     7   3.1 MiB  1000  java[3077]         app.service
close-wait   127.0.0.1:6379      127.0.0.1:50050        ?                   ?        ?       ?     40ms      90ms         -         -     -   2.3 KiB  1000  redis-server[977]  redis-server.service
established  [2001:db8::17]:443  [2001:db8:7::a]:40212  off                 -       2h       -       2h        2h         -         -     -   2.3 KiB  1000  nginx[812] +1      nginx.service
listen       0.0.0.0:443         -                      off                 -        ?       -        ?         ?         -         -     -   2.3 KiB  1000  nginx[812] +3      nginx.service
established  10.0.0.5:2049       10.0.0.9:871           off                 -      25m       -      25m       25m         -         -     -   2.3 KiB  1000  -                  -

9 connections: keep-alive on 2, off 6, unknown 1; 3.1 MiB of kernel memory.
KEEPALIVE is idle/interval/count; * where the socket has values of its own.
";
    assert_eq!(text, expected);
}

#[test]
fn without_a_limit_nothing_is_cut() {
    let text = table(&mixed(), Style::plain(Style::UNLIMITED));
    assert!(!text.contains('…'), "{text}");
    for title in ["NETNS", "USER TMO", "CONTAINER/UNIT"] {
        assert!(text.contains(title), "{title}: {text}");
    }
}

#[test]
fn no_rows_are_said_to_be_none() {
    assert_eq!(table(&[], Style::plain(100)), "No connection matches.\n");
}

#[test]
fn a_row_with_long_addresses_keeps_them_and_spares_the_others() {
    let long = "[2001:db8:1234:5678:9abc:def0:1234:5678]:50123";
    let held = [
        (
            connection("10.9.0.2:3333", "10.9.1.1:40001", 3 * DAY),
            vec![owner("server", 12, 9)],
            None,
        ),
        (
            connection("[2001:db8::2]:3333", long, 2_000),
            vec![owner("server", 12, 9)],
            None,
        ),
    ];
    assert_eq!(
        table(&held, Style::plain(100)),
        "\
STATE        LOCAL               REMOTE                               KEEPALIVE    HEARD  OWNER
established  10.9.0.2:3333       10.9.1.1:40001                       off             3d  server[12]
established  [2001:db8::2]:3333  [2001:db8:1234:5678:9abc:def0:1234:5678]:50123  off  2.0s  ser…[12]

2 connections: keep-alive off 2; 4.5 KiB of kernel memory.
"
    );
}

#[test]
fn owners_are_left_out_where_nobody_asked_for_them() {
    let held: Vec<Held> = mixed()
        .into_iter()
        .map(|held| (held.0, Vec::new(), held.2))
        .collect();
    assert!(!table(&held, Style::plain(200)).contains("OWNER"));
}

#[test]
fn colour_marks_keep_alive_alone() {
    let on = Connection {
        keepalive: Some(keepalive(true)),
        ..connection("10.9.0.2:3333", "10.9.1.1:40002", 1_000)
    };
    let held = [
        (
            connection("10.9.0.2:3333", "10.9.1.1:40001", 1_000),
            vec![],
            None,
        ),
        (on, vec![], None),
    ];
    let style = Style {
        color: true,
        width: 100,
    };
    let text = table(&held, style);
    assert!(text.contains("\x1b[33moff\x1b[0m"), "{text:?}");
    assert!(text.contains("\x1b[32m7200s/75s/9\x1b[0m"), "{text:?}");
    let plain = text.replace("\x1b[1m", "").replace("\x1b[33m", "");
    let plain = plain.replace("\x1b[32m", "").replace("\x1b[0m", "");
    assert_eq!(
        plain,
        table(&held, Style::plain(100)),
        "colour moves nothing"
    );
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let held = [(
        connection("10.9.0.2:3333", "10.9.1.1:40001", 1_000),
        vec![owner("a\x1b[2Jb\nc", 1, 1)],
        Some("/x\x1b]0;title\x07"),
    )];
    let text = table(&held, Style::plain(200));
    assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
    assert_eq!(text.lines().count(), 4, "{text:?}");
}

#[test]
fn a_row_after_the_sample_still_stands_in_its_columns() {
    let mut held = vec![
        (
            connection("10.9.0.2:3333", "10.9.1.1:40001", 1_000),
            vec![owner("s", 1, 1)],
            None
        );
        SAMPLE
    ];
    let later = Connection {
        keepalive: Some(own_keepalive()),
        ..connection("10.9.0.2:3333", "203.0.113.200:65535", 90 * DAY)
    };
    held.push((later, vec![owner("a-longer-server", 4_194_304, 1)], None));
    let text = table(&held, Style::plain(100));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), SAMPLE + 5);
    assert_eq!(
        lines[1],
        "established  10.9.0.2:3333  10.9.1.1:40001  off           1.0s  s[1]"
    );
    assert_eq!(
        lines[SAMPLE + 1],
        "established  10.9.0.2:3333  203.0.113.200:65535  30s/5s/3*  90d  a-longer-server[4194304]"
    );
}

fn any_connection() -> impl Strategy<Value = Held> {
    (
        any::<(Ipv4Addr, u16, Ipv4Addr, u16)>(),
        (1..=12_u8, any::<bool>(), any::<(i32, i32, u8, u32)>()),
        any::<(Option<u32>, Option<u64>, Option<u64>, Option<u64>)>(),
        any::<(u64, u32, u64)>(),
        prop::collection::vec(("\\PC{0,9}", any::<u32>()), 0..3),
    )
        .prop_map(|(ends, state, ages, numbers, owners)| {
            let mut keepalive = own_keepalive();
            keepalive.enabled = state.1;
            keepalive.idle_s = i64::from(state.2.0);
            keepalive.interval_s = i64::from(state.2.1);
            keepalive.count = u32::from(state.2.2);
            keepalive.user_timeout_ms = state.2.3;
            let connection = Connection {
                local: (ends.0, ends.1).into(),
                remote: (ends.2, ends.3).into(),
                state: State::from_kernel(state.0).expect("1 to 12 are states"),
                keepalive: Some(keepalive),
                probes_out: ages.0,
                last_heard_ms: ages.1,
                last_data_in_ms: ages.2,
                unacked_bytes: ages.3,
                memory_bytes: numbers.0,
                uid: numbers.1,
                netns: numbers.2,
                ..connection("10.0.0.1:1", "10.0.0.2:2", 0)
            };
            let owners = owners
                .iter()
                .map(|(comm, pid)| owner(comm, *pid, 3))
                .collect();
            (
                connection,
                owners,
                Some("/kubepods.slice/a-rather-long-path/of/a/cgroup-that-is-no-unit"),
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The first rows are ordinary, so that the others come as a surprise.
    #[test]
    fn no_line_is_wider_than_the_terminal(
        surprises in prop::collection::vec(any_connection(), 1..20),
        ordinary in prop_oneof![Just(0), Just(SAMPLE)],
        width in prop_oneof![Just(100_usize), Just(200), 100..240_usize],
    ) {
        let mut held: Vec<Held> = mixed().into_iter().cycle().take(ordinary).collect();
        held.extend(surprises);
        let text = table(&held, Style::plain(width));
        prop_assert!(widest(&text) <= width, "{} > {width}:\n{text}", widest(&text));
        prop_assert!(!text.lines().any(|line| line.ends_with(' ')));
    }
}
