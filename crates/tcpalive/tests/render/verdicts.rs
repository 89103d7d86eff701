//! What `check` and `reap` tell people.

use crate::sample::{DAY, HOUR, connection, owner, verdict};
use crate::{printed, widest};
use tcpalive::render::Style;
use tcpalive::render::verdicts::{CheckReport, CheckTotals, Fate, ReapReport};
use tcpalive_connections::{Outcome, View};

const SILENT: &str = "silent to 4 probes over 3.0 s";

fn add(report: &mut CheckReport, remote: &str, heard_ms: u64, outcome: Outcome, reason: &str) {
    let connection = connection("10.9.0.2:3333", remote, heard_ms);
    let view = View {
        connection: &connection,
        owners: &[owner("server", 12, 9)],
        cgroup: None,
    };
    report.add(&view, &verdict(outcome, heard_ms, reason));
}

fn some() -> CheckReport {
    let mut report = CheckReport::default();
    add(
        &mut report,
        "10.9.1.1:40001",
        754_000,
        Outcome::Dead,
        SILENT,
    );
    add(
        &mut report,
        "10.9.1.1:40002",
        3 * DAY + 4 * HOUR,
        Outcome::Dead,
        SILENT,
    );
    add(
        &mut report,
        "10.9.2.1:40003",
        3_000,
        Outcome::Alive,
        "answered after 412 µs",
    );
    add(
        &mut report,
        "203.0.113.9:60123",
        94_000,
        Outcome::Stalled,
        "14,480 bytes in flight, 7 retransmissions in 94 s; the kernel gives up in 11 min",
    );
    add(
        &mut report,
        "10.9.3.1:40004",
        600_000,
        Outcome::Unprovable,
        "no route to 10.9.3.1",
    );
    report
}

fn check(report: &CheckReport, width: usize, all: bool) -> String {
    printed(|out| {
        report.write(
            out,
            Style::plain(width),
            all,
            3_912,
            "tcpalive reap --port 3333",
        )
    })
}

#[test]
fn a_few_verdicts_are_listed_with_their_evidence() {
    assert_eq!(
        check(&some(), 100, false),
        "\
VERDICT     LOCAL          REMOTE             OWNER       LAST HEARD
dead        10.9.0.2:3333  10.9.1.1:40002     server[12]       3d 4h
            silent to 4 probes over 3.0 s
dead        10.9.0.2:3333  10.9.1.1:40001     server[12]         12m
            silent to 4 probes over 3.0 s
unprovable  10.9.0.2:3333  10.9.3.1:40004     server[12]         10m
            no route to 10.9.3.1
stalled     10.9.0.2:3333  203.0.113.9:60123  server[12]      1m 34s
            14,480 bytes in flight, 7 retransmissions in 94 s; the kernel gives up in 11 min

Checked 5 connections in 3.9s: 2 dead, 1 unprovable, 1 stalled, 1 alive.
The dead hold 4.5 KiB of kernel memory and 2 descriptors.
Unprovable: nothing is concluded from silence, for the reasons given.
Stalled: data is in flight or the peer's window is closed; keep-alive does not run then, the
retransmission timer decides.
To let go of the dead:
  tcpalive reap --port 3333
"
    );
}

#[test]
fn at_200_columns_the_evidence_stands_in_its_line() {
    let text = check(&some(), 200, false);
    assert!(widest(&text) <= 200);
    let table: Vec<&str> = text.lines().take(5).collect();
    assert_eq!(table.join("\n"), "\
VERDICT     LOCAL          REMOTE             OWNER       LAST HEARD  EVIDENCE
dead        10.9.0.2:3333  10.9.1.1:40002     server[12]       3d 4h  silent to 4 probes over 3.0 s
dead        10.9.0.2:3333  10.9.1.1:40001     server[12]         12m  silent to 4 probes over 3.0 s
unprovable  10.9.0.2:3333  10.9.3.1:40004     server[12]         10m  no route to 10.9.3.1
stalled     10.9.0.2:3333  203.0.113.9:60123  server[12]      1m 34s  14,480 bytes in flight, 7 retransmissions in 94 s; the kernel gives up in 11 min");
}

#[test]
fn the_living_are_listed_on_demand() {
    assert!(!check(&some(), 200, false).contains("answered after"));
    assert!(check(&some(), 200, true).contains("answered after 412 µs"));
}

fn many() -> CheckReport {
    let mut report = CheckReport::default();
    for number in 0..20_480_u32 {
        let dead = number < 20_000;
        let host = if dead { "10.9.1.1" } else { "10.9.2.1" };
        let connection = connection(
            "10.9.0.2:3333",
            &format!("{host}:{}", 20_000 + number),
            754_000,
        );
        let view = View {
            connection: &connection,
            owners: &[owner("server", 12 + number % 3, 9)],
            cgroup: None,
        };
        let verdict = match number {
            0..19_990 => verdict(Outcome::Dead, 754_000, SILENT),
            19_990..20_000 => verdict(Outcome::Dead, 900_000, "silent to 7 probes over 6.1 s"),
            _ => verdict(Outcome::Alive, 3_000, "answered after 412 µs"),
        };
        report.add(&view, &verdict);
    }
    report
}

#[test]
fn many_dead_are_told_by_peer_and_process() {
    let expected = "\
dead: 20,000 connections
  peers       10.9.1.1 (20,000)
  held by     server[12] (6,667), server[13] (6,667), server[14] (6,666)
  last heard  12m to 15m ago
  evidence    silent to 4 probes over 3.0 s (19,990), silent to 7 probes over 6.1 s (10)
  holding     43.9 MiB of kernel memory, 20,000 descriptors

Checked 20,480 connections in 3.9s: 20,000 dead, 480 alive.
The dead hold 43.9 MiB of kernel memory and 20,000 descriptors.
To let go of the dead:
  tcpalive reap --port 3333
";
    assert_eq!(check(&many(), 100, false), expected);
    assert_eq!(check(&many(), 200, false), expected);
}

#[test]
fn long_lists_are_folded_and_wrapped() {
    let mut report = CheckReport::default();
    for number in 0..3_000_u32 {
        let remote = format!("10.{}.{}.1:443", number / 200, number % 200);
        let reason = format!("silent to {} probes", 4 + number % 100);
        add(&mut report, &remote, 60_000, Outcome::Unprovable, &reason);
    }
    let text = check(&report, 100, false);
    assert!(widest(&text) <= 100, "{text}");
    assert!(text.contains("and 2,992 more addresses (2,992)"), "{text}");
    assert!(text.contains("and 96 more kinds (2,880)"), "{text}");
}

#[test]
fn nothing_checked_is_said() {
    assert_eq!(
        check(&CheckReport::default(), 100, false),
        "No connection matches; nothing was checked.\n"
    );
}

fn reap(fates: &[(Fate, &str)]) -> String {
    let mut check = CheckTotals::default();
    let connection = connection("10.9.0.2:3333", "10.9.1.1:40001", 754_000);
    let view = View {
        connection: &connection,
        owners: &[owner("server", 12, 9)],
        cgroup: None,
    };
    check.add(&view, Outcome::Alive);
    for _ in fates {
        check.add(&view, Outcome::Dead);
    }
    let mut report = ReapReport::after(&check);
    for (fate, evidence) in fates {
        report.add(&view, *fate, evidence);
    }
    printed(|out| report.write(out, Style::plain(100), 61_480))
}

#[test]
fn without_yes_it_says_what_it_would_do() {
    assert_eq!(
        reap(&[(Fate::WouldDestroy, SILENT)]),
        "\
RESULT         LOCAL          REMOTE          OWNER       LAST HEARD  EVIDENCE
would-destroy  10.9.0.2:3333  10.9.1.1:40001  server[12]         12m  silent to 4 probes over 3.0 s

Checked 2 connections in 1m 1s: 1 proven dead.
Nothing was changed. With --yes, 1 connection would be destroyed, which would free 2.3 KiB of kernel
memory.
"
    );
}

#[test]
fn a_reap_tells_what_became_of_each() {
    let fates = [
        (Fate::Destroyed, SILENT),
        (Fate::AlreadyClosed, "it ended by itself"),
        (Fate::Changed, "heard 210 ms before it was to be destroyed"),
        (Fate::Failed, "the kernel refused: EOPNOTSUPP"),
    ];
    assert_eq!(
        reap(&fates),
        "\
RESULT          LOCAL          REMOTE          OWNER       LAST HEARD
destroyed       10.9.0.2:3333  10.9.1.1:40001  server[12]         12m
                silent to 4 probes over 3.0 s
already-closed  10.9.0.2:3333  10.9.1.1:40001  server[12]         12m
                it ended by itself
changed         10.9.0.2:3333  10.9.1.1:40001  server[12]         12m
                heard 210 ms before it was to be destroyed
failed          10.9.0.2:3333  10.9.1.1:40001  server[12]         12m
                the kernel refused: EOPNOTSUPP

Checked 5 connections in 1m 1s: 4 proven dead.
Of these: 1 destroyed, 1 already closed, 1 changed meanwhile and left alone, 1 failed.
Freed 2.3 KiB of kernel memory. Programs get an error on 1 descriptor and then close them.
"
    );
}

#[test]
fn a_reap_without_dead_does_nothing() {
    assert_eq!(
        reap(&[]),
        "Checked 1 connection in 1m 1s: none is proven dead; nothing was destroyed.\n"
    );
}
