//! The keep-alive engine: its own benchmarks (`crates/keepalive/benches`), run
//! and read.

use crate::bench::{Bench, Failure};
use crate::report::{Figure, thousands};
use serde_json::Value;
use std::process::{Command, Stdio};

pub(crate) const ENGINE: &str = "engine";
pub(crate) const WHEEL: &str = "wheel";
pub(crate) const WEEK: &str = "sim-week";

/// Ten million connections, and a simulated week.
pub(crate) fn engine(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let connections = bench.scaled(10_000_000).to_string();
    let lines = run(bench, "engine", &["--connections", &connections])?;
    let named = |established: &str| {
        found(&lines, |line| line["established"] == established).map(|line| {
            (
                number(line, "ns_per_timer_event"),
                format!(
                    "{:.0} ns ({:.0}–{:.0})",
                    number(line, "ns_per_timer_event"),
                    number(line, "ns_fastest"),
                    number(line, "ns_slowest")
                ),
                number(line, "bytes_per_connection"),
                number(line, "timer_events"),
            )
        })
    };
    let (in_order, in_order_shown, bytes, events) = named("in order")?;
    let (scattered, scattered_shown, ..) = named("scattered")?;
    let week = number(found(&lines, |line| line["bench"] == "sim-week")?, "us");
    let millions = |nanos: f64| 1e3 / nanos;
    Ok(vec![
        Figure {
            name: ENGINE,
            what: format!(
                "machine and wheel, {} connections, idle and answering, 3 rounds of 7200/75/9",
                thousands(connections.parse().unwrap_or_default())
            ),
            target: "10 M timer events a second, 64 bytes a connection".to_owned(),
            ours: format!("{in_order_shown} an event, {bytes:.1} bytes a connection"),
            peer: "–".to_owned(),
            result: format!("{:.1} M a second", millions(in_order)),
            is_met: millions(in_order) >= 10.0 && bytes <= 64.0,
            floor: "–".to_owned(),
            series: Vec::new(),
            notes: vec![
                format!(
                    "{} timer events: each probe is one, and so is the lazy timer's fire after the interval, which \
                     finds the answer and waits for the rest of the idle time.",
                    thousands(events as usize)
                ),
                format!(
                    "Connections established one after another, neighbours in memory: {in_order_shown}. In an order \
                     without any locality: {scattered_shown}, {:.1} M a second; each event then waits for memory at \
                     two places at least, the timer's word and the connection.",
                    millions(scattered)
                ),
                "`cargo bench -p tcpalive-keepalive --bench engine`".to_owned(),
            ],
        },
        Figure {
            name: WEEK,
            what: "a `sim` of the defaults over a simulated week".to_owned(),
            target: "1 ms".to_owned(),
            ours: format!("{week:.1} µs"),
            peer: "–".to_owned(),
            result: format!("{:.0}× less", 1e3 / week),
            is_met: week < 1e3,
            floor: "–".to_owned(),
            series: Vec::new(),
            notes: vec![
                "The machine in virtual time, 84 answered probes; no process is started."
                    .to_owned(),
            ],
        },
    ])
}

/// A million timers beside tokio's.
pub(crate) fn wheel(bench: &Bench) -> Result<Figure, Failure> {
    let lines = run(bench, "wheel", &["--runs", &bench.runs.to_string()])?;
    let nanos = |operation: &str, contestant: &str| {
        let name = format!("{operation}: {contestant}");
        found(&lines, |line| line["name"] == name.as_str()).map(|line| number(line, "ns_per_op"))
    };
    let operations = [
        "arm",
        "re-arm later",
        "re-arm earlier",
        "re-arm mixed",
        "cancel",
        "expire all",
    ];
    let mut notes = Vec::new();
    let mut ratios = Vec::new();
    for operation in operations {
        let (ours, theirs) = (nanos(operation, "Wheel")?, nanos(operation, "DelayQueue")?);
        ratios.push((operation, theirs / ours));
        notes.push(format!(
            "{operation}: {ours:.1} ns; DelayQueue {theirs:.0} ns ({:.1}×), BTreeSet {:.0} ns, BinaryHeap with lazy \
             deletion {:.0} ns.",
            theirs / ours,
            nanos(operation, "BTreeSet")?,
            nanos(operation, "BinaryHeap")?
        ));
    }
    let plain = |name: &str| {
        found(&lines, |line| line["name"] == name).map(|line| number(line, "ns_per_op"))
    };
    notes.push(format!(
        "Ten million timers, each re-armed by 75 s when it expires: {:.1} ns in the order of their numbers, {:.1} ns in \
         random order. Reading and writing as many random words alone takes {:.1} ns.",
        plain("pop_batch, arm: slot order")?,
        plain("pop_batch, arm: random order")?,
        plain("two reads and writes: floor")?
    ));
    notes.push(
        "`cargo bench -p tcpalive-keepalive --bench wheel`; thread time, timers in random order."
            .to_owned(),
    );
    let held = ["arm", "re-arm mixed", "cancel"];
    let least = ratios
        .iter()
        .filter(|(operation, _)| held.contains(operation))
        .map(|(_, ratio)| *ratio)
        .fold(f64::INFINITY, f64::min);
    Ok(Figure {
        name: WHEEL,
        what: "arm, re-arm, cancel at 1,000,000 timers".to_owned(),
        target: "tokio-util's DelayQueue by 5×".to_owned(),
        ours: format!(
            "{:.0}, {:.0}, {:.0} ns",
            nanos("arm", "Wheel")?,
            nanos("re-arm mixed", "Wheel")?,
            nanos("cancel", "Wheel")?
        ),
        peer: format!(
            "{:.0}, {:.0}, {:.0} ns",
            nanos("arm", "DelayQueue")?,
            nanos("re-arm mixed", "DelayQueue")?,
            nanos("cancel", "DelayQueue")?
        ),
        result: ratios
            .iter()
            .filter(|(operation, _)| held.contains(operation))
            .map(|(_, ratio)| format!("{ratio:.1}×"))
            .collect::<Vec<String>>()
            .join(", "),
        is_met: least >= 5.0,
        floor: format!("{:.1} ns", plain("one read and write: floor")?),
        series: Vec::new(),
        notes,
    })
}

/// Runs a benchmark of the keepalive crate and reads its objects.
fn run(bench: &Bench, name: &str, arguments: &[&str]) -> Result<Vec<Value>, Failure> {
    bench.say(&format!(
        "running the benchmark {name} of the keep-alive crate"
    ));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "bench",
            "--quiet",
            "--locked",
            "-p",
            "tcpalive-keepalive",
            "--bench",
            name,
        ])
        .args(["--", "--json"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(Failure::Other(format!(
            "the benchmark {name} of the keep-alive crate ended with {}",
            output.status
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| {
                Failure::Other(format!("reading the benchmark {name}: {error}: {line}"))
            })
        })
        .collect()
}

fn found(lines: &[Value], is: impl Fn(&Value) -> bool) -> Result<&Value, Failure> {
    lines.iter().find(|line| is(line)).ok_or_else(|| {
        Failure::Other("the benchmark did not tell a figure that it should".to_owned())
    })
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or(f64::NAN)
}
