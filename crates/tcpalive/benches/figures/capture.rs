//! `analyze` beside tshark, on a capture that was never captured.

use crate::bench::{Bench, Contender, Failure, Output, Series, must, tcpalive};
use crate::report::{Figure, thousands};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use tcpalive_capture::synthetic::{Shape, Truth, write};
use tcpalive_capture::{Link, Resolution, Writer};
use tempfile::TempDir;

/// The name of [`speed`].
pub(crate) const SPEED: &str = "analyze";
/// The name of [`memory`].
pub(crate) const MEMORY: &str = "analyze-memory";

const FLOWS: usize = 100_000;
/// With 100,000 connections: 1 GB of the first 96 bytes of packets.
const PACKETS_PER_FLOW: u32 = 125;
/// tshark gets a twentieth of the connections, with as many packets each.
const SHARE_OF_TSHARK: usize = 20;
const RUNS_OF_TSHARK: usize = 3;

/// Gigabytes a second that must be met.
const TARGET: f64 = 0.7;
/// How much faster than tshark.
const RATIO: f64 = 60.0;
/// Bytes that a live connection may take.
const BYTES: f64 = 200.0;

/// A capture in a file, and the truth about it.
struct Capture {
    path: PathBuf,
    bytes: f64,
    truths: Vec<Truth>,
}

impl Capture {
    fn new(folder: &TempDir, name: &str, shape: Shape) -> Result<Self, Failure> {
        let path = folder.path().join(name);
        let file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut writer = Writer::new(file, Link::ETHERNET, Resolution::Nanoseconds)?;
        let truths = write(shape, &mut writer)?;
        let bytes = std::fs::metadata(&path)?.len() as f64;
        Ok(Self {
            path,
            bytes,
            truths,
        })
    }

    fn packets(&self) -> u64 {
        let packets = self.truths.iter().map(|truth| u64::from(truth.packets));
        packets.sum()
    }
}

fn contender<'a>(
    label: &'static str,
    runs: usize,
    shown: &str,
    program: &'static str,
    arguments: &'static str,
    path: &'a Path,
) -> Contender<'a> {
    Contender {
        label,
        shown: shown.to_owned(),
        runs,
        command: Box::new(move || {
            let mut command = if program == "tcpalive" {
                tcpalive(arguments)
            } else {
                let mut command = Command::new(program);
                command.args(arguments.split_whitespace());
                command
            };
            command.arg(path);
            command
        }),
    }
}

/// A gigabyte of small packets: connections that probe, die, type, transfer.
pub(crate) fn speed(bench: &Bench) -> Result<Figure, Failure> {
    // Where it stays in memory: what is measured is warm.
    let folder = TempDir::new()?;
    let flows = bench.scaled(FLOWS);
    bench.say(&format!("making a capture of {flows} connections"));
    // Losslessly a count of connections.
    let shape = |flows: usize| Shape::new(flows as u32, PACKETS_PER_FLOW, 7);
    let whole = Capture::new(&folder, "whole.pcap", shape(flows))?;
    let share = Capture::new(&folder, "share.pcap", shape(flows / SHARE_OF_TSHARK))?;
    let gigabytes = whole.bytes / 1e9;

    let run = bench.run(tcpalive("analyze --json").arg(&whole.path), Output::Read)?;
    must(
        "connections",
        run.heard.summary("flows").unwrap_or(0),
        flows,
    )?;
    must(
        "packets",
        run.heard.summary("packets").unwrap_or(0),
        whole.packets() as usize,
    )?;
    let probes: u64 = whole
        .truths
        .iter()
        .map(|truth| u64::from(truth.probes))
        .sum();
    let found = run.heard.summary("probes").unwrap_or(0);

    let (runs, peer_runs) = (bench.runs, bench.runs.min(RUNS_OF_TSHARK));
    let analyze = "tcpalive analyze FILE > /dev/null";
    let series = bench.compare(&[
        contender(
            "tcpalive",
            runs,
            analyze,
            "tcpalive",
            "analyze",
            &whole.path,
        ),
        contender(
            "tcpalive, JSON",
            runs,
            "tcpalive analyze --json FILE > /dev/null",
            "tcpalive",
            "analyze --json",
            &whole.path,
        ),
        contender("cat", runs, "cat FILE > /dev/null", "cat", "", &whole.path),
        contender(
            "nothing taken",
            runs,
            "tcpalive analyze --filter udp FILE > /dev/null",
            "tcpalive",
            "analyze --filter udp",
            &whole.path,
        ),
        contender(
            "tcpalive, share",
            runs,
            "tcpalive analyze SHARE > /dev/null",
            "tcpalive",
            "analyze",
            &share.path,
        ),
        contender(
            "tshark, share",
            peer_runs,
            "tshark -n -Y tcp.analysis.keep_alive -r SHARE > /dev/null",
            "tshark",
            "-n -Y tcp.analysis.keep_alive -r",
            &share.path,
        ),
    ])?;
    let cpu = |series: &Series| series.spread(|run| run.cpu_s).median;
    let rate = gigabytes / cpu(&series[0]).max(0.01);
    let peer_rate = share.bytes / 1e9 / series[5].elapsed().median;
    let own_rate = gigabytes / series[0].elapsed().median;
    let ratio = own_rate / peer_rate;
    let on_share = series[5].elapsed().median / series[4].elapsed().median;
    let per_packet = cpu(&series[0]) * 1e9 / whole.packets() as f64;
    Ok(Figure {
        name: SPEED,
        what: format!(
            "`analyze` of {} connections, {} packets, {gigabytes:.2} GB",
            thousands(flows),
            thousands(whole.packets() as usize)
        ),
        target: format!("tshark by {RATIO:.0}×, {TARGET} GB a second of a core"),
        ours: series[0].elapsed().seconds(),
        peer: format!(
            "{} (`tshark`, a {SHARE_OF_TSHARK}th of it)",
            series[5].elapsed()
        ),
        result: format!("{on_share:.0}× on the same share, {rate:.2} GB a second"),
        is_met: on_share >= RATIO && rate >= TARGET,
        floor: format!("{} (`cat`)", series[2].elapsed()),
        notes: vec![
            format!(
                "{per_packet:.0} ns of processor time for a packet. Found are {} of the {} probes that the generator \
                 sent; the others stand where a capture cannot tell.",
                thousands(found as usize),
                thousands(probes as usize)
            ),
            format!(
                "On the same share of the capture, start and all, tshark takes {on_share:.0}× as long. By gigabytes a \
                 second, tshark's on the share and ours on the whole, where the connections do not fit into the \
                 processor's own cache any more, it is {ratio:.0}×."
            ),
            format!(
                "Walking the records and the link header alone, with a filter that takes nothing: {}.",
                series[3].elapsed()
            ),
        ],
        series,
    })
}

/// What a connection takes as long as it lives.
pub(crate) fn memory(bench: &Bench) -> Result<Figure, Failure> {
    let folder = TempDir::new()?;
    let flows = bench.scaled(1_000_000);
    bench.say(&format!(
        "making a capture of {flows} connections that stay open"
    ));
    let shape = Shape {
        stay_open: true,
        ..Shape::new(flows as u32, 20, 7)
    };
    let many = Capture::new(&folder, "many.pcap", shape)?;
    // Long enough to be looked at while it is read.
    let few = Capture::new(&folder, "few.pcap", Shape::new(10, 200_000, 7))?;
    let run = bench.run(tcpalive("analyze --json").arg(&many.path), Output::Read)?;
    must(
        "connections",
        run.heard.summary("flows").unwrap_or(0),
        flows,
    )?;
    let series = bench.compare(&[
        contender(
            "tcpalive",
            bench.runs.min(3),
            "tcpalive analyze FILE > /dev/null",
            "tcpalive",
            "analyze",
            &many.path,
        ),
        contender(
            "10 connections",
            bench.runs.min(3),
            "tcpalive analyze FEW > /dev/null",
            "tcpalive",
            "analyze",
            &few.path,
        ),
    ])?;
    let peak = |series: &Series| series.spread(|run| run.peak_mib).max * f64::from(1 << 20);
    let each = (peak(&series[0]) - peak(&series[1])) / flows as f64;
    let probers = many.truths.iter().filter(|truth| truth.probes > 0).count();
    Ok(Figure {
        name: MEMORY,
        what: format!("`analyze`, {} connections that all live", thousands(flows)),
        target: format!("{BYTES:.0} bytes a connection"),
        ours: format!("{each:.0} bytes a connection"),
        peer: "–".to_owned(),
        result: format!("{each:.0} bytes"),
        is_met: each <= BYTES,
        floor: "–".to_owned(),
        series,
        notes: vec![format!(
            "The peak of what was resident, less that of a capture of 10 connections. {} connections have probes; one \
             in eight is IPv6.",
            thousands(probers)
        )],
    })
}
