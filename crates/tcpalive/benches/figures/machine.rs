//! What the figures were measured on.

use std::fs;
use std::process::Command;

/// Two sockets with their inodes, files and entries, and a share of the
/// process that holds them.
const BYTES_PER_CONNECTION: u64 = 15_000;

/// Memory that is left alone.
const SPARE_BYTES: u64 = 3 << 30;

/// How many connections over loopback there is memory for.
pub(crate) fn connections_that_fit() -> usize {
    let room = memory("MemAvailable")
        .unwrap_or(0)
        .saturating_sub(SPARE_BYTES);
    usize::try_from(room / BYTES_PER_CONNECTION).unwrap_or(usize::MAX)
}

/// The machine, a fact a line.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy().into_owned();
    // What a distribution or a host appends says nothing about speed.
    let version = release.split('-').next().unwrap_or_default();
    let architecture = kernel.machine().to_string_lossy();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = memory("MemTotal").unwrap_or(0) as f64 / f64::from(1 << 30);
    vec![
        ("Date", line(Command::new("date").args(["-u", "+%Y-%m-%d"]))),
        ("Kernel", format!("Linux {version}, {architecture}")),
        ("Processor", format!("{}, {cores} cores", processor())),
        ("Memory", format!("{memory:.1} GiB")),
        (
            "Load before the run",
            format!("{}, niceness {}", load(), niceness()),
        ),
        ("Compiler", line(Command::new("rustc").arg("--version"))),
        ("Peer", line(Command::new("ss").arg("-V"))),
    ]
}

/// Bytes that a line of /proc/meminfo tells.
fn memory(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1))
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

/// Field 19 of `/proc/self/stat`; the commands inherit it.
fn niceness() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields
        .split_whitespace()
        .nth(16)
        .unwrap_or("unknown")
        .to_owned()
}

/// What a command prints.
fn line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout);
    let text = String::from_utf8_lossy(&output.unwrap_or_default())
        .trim()
        .to_owned();
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text
    }
}
