//! How fast a capture of small packets is walked, beside the floor: `cat`
//! of the same file, and reading it without looking at it.
//!
//! `cargo bench -p tcpalive-capture`. The file (1 GB, 100,000 connections) is
//! made first and stays in the target directory; every figure is the best of
//! nine, with the file in the page cache.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark, not a part of the crate"
)]

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tcpalive_capture::synthetic::{Shape, write};
use tcpalive_capture::{Link, Reader, Resolution, Writer};

const ROUNDS: u32 = 9;
const SHAPE: Shape = Shape::new(100_000, 116, 1);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("small-packets.pcap");
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        let file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
        let mut writer = Writer::new(file, Link::ETHERNET, Resolution::Nanoseconds)?;
        let begun = Instant::now();
        write(SHAPE, &mut writer)?;
        std::fs::rename(&unfinished, &path)?;
        let bytes = std::fs::metadata(&path)?.len();
        report("made", bytes, 0, begun.elapsed());
    }
    let bytes = std::fs::metadata(&path)?.len();
    let packets = walk(&path)?;

    measure("cat FILE", bytes, packets, || cat(&path))?;
    measure("read in 256 KiB", bytes, packets, || read(&path))?;
    measure("Reader::next", bytes, packets, || walk(&path))?;
    measure("… and ip_packet", bytes, packets, || find_ip(&path))?;
    measure("… and Segment::parse", bytes, packets, || parse(&path))?;
    Ok(())
}

fn cat(path: &Path) -> Outcome<u64> {
    let mut cat = Command::new("cat")
        .arg(path)
        .stdout(Stdio::null())
        .spawn()?;
    if !cat.wait()?.success() {
        return Err("cat failed".into());
    }
    Ok(0)
}

fn read(path: &Path) -> Outcome<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            count => total += black_box(&buffer[..count]).len() as u64,
        }
    }
}

fn walk(path: &Path) -> Outcome<u64> {
    let mut reader = Reader::new(File::open(path)?)?;
    let mut captured = 0;
    while let Some(packet) = reader.next()? {
        captured += packet.data.len() as u64;
    }
    black_box(captured);
    Ok(reader.frames())
}

fn find_ip(path: &Path) -> Outcome<u64> {
    let mut reader = Reader::new(File::open(path)?)?;
    let mut found = 0;
    while let Some(packet) = reader.next()? {
        found += u64::from(packet.ip_packet().is_some());
    }
    Ok(found)
}

fn parse(path: &Path) -> Outcome<u64> {
    let mut reader = Reader::new(File::open(path)?)?;
    let mut sum = 0_u64;
    while let Some(packet) = reader.next()? {
        if let Some(Ok(segment)) = packet.ip_packet().map(|packet| packet.segment()) {
            let (source, destination) = (segment.source(), segment.destination());
            sum += u64::from(source.port()) + u64::from(destination.port());
            sum += u64::from(segment.sequence()) + segment.payload_len() as u64;
        }
    }
    Ok(sum)
}

fn measure(what: &str, bytes: u64, packets: u64, work: impl Fn() -> Outcome<u64>) -> Outcome<()> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        black_box(work()?);
        best = best.min(begun.elapsed());
    }
    report(what, bytes, packets, best);
    Ok(())
}

fn report(what: &str, bytes: u64, packets: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    print!(
        "{what:22} {seconds:7.3} s {:7.2} GB/s",
        bytes as f64 / 1e9 / seconds
    );
    if packets > 0 {
        print!(" {:7.1} ns/packet", seconds * 1e9 / packets as f64);
    }
    println!();
}
