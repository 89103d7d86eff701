//! Prints what people see, with made-up connections, at 100 and 200 columns.

#[path = "../tests/render/sample.rs"]
mod sample;

use clap::ColorChoice;
use sample::{DAY, HOUR, MINUTE, connection, mixed, own_keepalive, owner, verdict};
use std::io::{self, Write};
use tcpalive::render::Style;
use tcpalive::render::summary::{ProcessLimits, Summary};
use tcpalive::render::table::Table;
use tcpalive::render::verdicts::{CheckReport, Fate, ReapReport};
use tcpalive_connections::{Outcome, View};

fn main() -> io::Result<()> {
    let color = Style::stdout(ColorChoice::Auto).color;
    let mut out = io::stdout().lock();
    for width in [100, 200] {
        let style = Style { color, width };
        writeln!(out, "{}", "=".repeat(width))?;
        listing(&mut out, style)?;
        night(&mut out, style)?;
        few(&mut out, style)?;
    }
    Ok(())
}

fn listing(out: &mut impl Write, style: Style) -> io::Result<()> {
    let held = mixed();
    let mut table = Table::new(&mut *out, style);
    let mut summary = Summary::default();
    for (connection, owners, cgroup) in &held {
        let view = View {
            connection,
            owners,
            cgroup: *cgroup,
        };
        table.row(&view)?;
        summary.add(&view);
    }
    table.finish()?;
    writeln!(out, "----")?;
    summary.write(out, style, |pid| {
        Some(ProcessLimits {
            open: u64::from(pid) * 4,
            soft_limit: if pid == 3_077 { 12_400 } else { 524_288 },
        })
    })?;
    writeln!(out, "----")
}

/// 20,000 dead and 480 living connections in three workers.
fn night(out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut summary = Summary::default();
    let mut check = CheckReport::default();
    let mut reaped = Vec::new();
    for number in 0..20_480_u32 {
        let dead = number < 20_000;
        let host = if dead { "10.9.1.1" } else { "10.9.2.1" };
        let heard = if dead {
            12 * MINUTE + u64::from(number % 7) * MINUTE
        } else {
            3_000
        };
        let remote = format!("{host}:{}", 20_000 + number % 40_000);
        let mut socket = connection("10.9.0.2:3333", &remote, heard);
        if number % 100 == 99 {
            socket.keepalive = Some(own_keepalive());
        }
        let owners = [owner("server", 12 + number % 3, 4 + number / 3)];
        let view = View {
            connection: &socket,
            owners: &owners,
            cgroup: None,
        };
        summary.add(&view);
        let (outcome, reason) = match number {
            0..19_998 => (Outcome::Dead, "silent to 4 probes over 3.0 s"),
            19_998..20_000 => (Outcome::Dead, "silent to 7 probes over 6.1 s"),
            20_000 => (
                Outcome::Stalled,
                "14,480 bytes in flight, 7 retransmissions in 94 s; the kernel gives up in 11 min",
            ),
            20_001 => (
                Outcome::Unprovable,
                "no route to 10.9.2.1 from this namespace",
            ),
            20_002 => (
                Outcome::Gone,
                "10.9.2.1 answered the first probe with a reset",
            ),
            _ => (Outcome::Alive, "answered the first probe after 412 µs"),
        };
        check.add(&view, &verdict(outcome, heard, reason));
        if outcome == Outcome::Dead {
            reaped.push((socket, owners, reason));
        }
    }
    summary.write(out, style, |_| {
        Some(ProcessLimits {
            open: 19_204,
            soft_limit: 20_000,
        })
    })?;
    writeln!(out, "----")?;
    check.write(
        out,
        style,
        false,
        3_912,
        "tcpalive reap 'local.port = 3333'",
    )?;
    writeln!(out, "----")?;
    for fate in [Fate::WouldDestroy, Fate::Destroyed] {
        let mut reap = ReapReport::after(&check.totals);
        for (index, (connection, owners, reason)) in reaped.iter().enumerate() {
            let view = View {
                connection,
                owners,
                cgroup: None,
            };
            match index {
                7 if fate == Fate::Destroyed => {
                    reap.add(&view, Fate::Changed, "heard 210 ms before the destroy");
                }
                _ => reap.add(&view, fate, reason),
            }
        }
        reap.write(out, style, 61_480)?;
        writeln!(out, "----")?;
    }
    Ok(())
}

/// A handful of verdicts, with long addresses among them.
fn few(out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut check = CheckReport::default();
    let mut table = Table::new(&mut *out, style);
    let long = "[2001:db8:1234:5678:9abc:def0:1234:5678]:50123";
    for (remote, heard, outcome, reason) in [
        (
            "10.9.1.1:40001",
            3 * DAY,
            Outcome::Dead,
            "silent to 4 probes over 3.0 s",
        ),
        (
            long,
            2 * HOUR,
            Outcome::Dead,
            "silent to 4 probes over 3.0 s",
        ),
        (
            "10.9.1.7:40777",
            5_000,
            Outcome::Alive,
            "answered after 412 µs",
        ),
    ] {
        let local = if remote == long {
            "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:3333"
        } else {
            "10.9.0.2:3333"
        };
        let socket = connection(local, remote, heard);
        let owners = [owner("server", 12, 9)];
        let view = View {
            connection: &socket,
            owners: &owners,
            cgroup: None,
        };
        table.row(&view)?;
        check.add(&view, &verdict(outcome, heard, reason));
    }
    table.finish()?;
    writeln!(out, "----")?;
    check.write(out, style, true, 3_912, "tcpalive reap")
}
