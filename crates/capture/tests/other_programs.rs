//! Files that other programs wrote, and what they say of ours: tcpdump, and
//! Wireshark's tshark, editcap and mergecap.

#![expect(
    clippy::disallowed_methods,
    reason = "the judges are programs, and read files"
)]

mod layers;
mod written;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use tcpalive_capture::synthetic::{Shape, Synthetic, write};
use tcpalive_capture::{FileError, Link, Reader, Resolution, Writer};
use tempfile::TempDir;
use written::Order;

/// Runs a program to its end and gives what it wrote and whether it was
/// content.
fn run(program: &str, arguments: &[&str], files: &[&Path]) -> (String, bool) {
    let output = Command::new(program)
        .args(arguments)
        .args(files)
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.success())
}

#[track_caller]
fn run_well(program: &str, arguments: &[&str], files: &[&Path]) -> String {
    let (text, content) = run(program, arguments, files);
    assert!(content, "{program} {arguments:?} {files:?} failed");
    text
}

/// Frame number, time in nanoseconds, captured and original length.
type Seen = (u64, u64, usize, u32);

/// Each packet as tshark tells it. The file may be damaged.
fn as_tshark_reads(file: &Path) -> Vec<Seen> {
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.number",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.cap_len",
        "-e",
        "frame.len",
        "-Y",
        "!systemd_journal",
        "-r",
    ];
    let (text, _) = run("tshark", &fields, &[file]);
    text.lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let mut field = || fields.next().unwrap();
            let frame = field().parse().unwrap();
            let (seconds, nanoseconds) = field().split_once('.').unwrap();
            assert_eq!(nanoseconds.len(), 9);
            let time = seconds.parse::<u64>().unwrap() * 1_000_000_000
                + nanoseconds.parse::<u64>().unwrap();
            (
                frame,
                time,
                field().parse().unwrap(),
                field().parse().unwrap(),
            )
        })
        .collect()
}

/// The same as this crate reads it, and the links.
fn as_we_read(file: &Path) -> (Vec<Seen>, Vec<Link>, Option<FileError>) {
    let (mut packets, mut links) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(File::open(file).unwrap()).unwrap();
    loop {
        match reader.next() {
            Ok(Some(packet)) => {
                let length = packet.data.len();
                packets.push((packet.frame, packet.time, length, packet.original_len));
                links.push(packet.link);
            }
            Ok(None) => return (packets, links, None),
            Err(error) => return (packets, links, Some(error)),
        }
    }
}

/// Both agree, and there is nothing wrong with the file.
#[track_caller]
fn assert_read_as_by_tshark(file: &Path, packets: usize) -> Vec<Link> {
    let (ours, links, error) = as_we_read(file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(ours.len(), packets);
    assert_eq!(ours, as_tshark_reads(file));
    links
}

fn synthetic(directory: &TempDir, name: &str, seed: u64) -> (PathBuf, usize) {
    let path = directory.path().join(name);
    let file = File::create(&path).unwrap();
    let mut writer = Writer::new(file, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    let truths = write(Shape::new(20, 20, seed), &mut writer).unwrap();
    let packets: u32 = truths.iter().map(|truth| truth.packets).sum();
    (path, packets as usize)
}

#[test]
fn what_editcap_converts_is_the_same_capture() {
    let directory = TempDir::new().unwrap();
    let (ours, packets) = synthetic(&directory, "ours.pcap", 1);
    assert_read_as_by_tshark(&ours, packets);
    let (before, ..) = as_we_read(&ours);
    for form in ["pcap", "nsecpcap", "pcapng", "modpcap"] {
        let converted = directory.path().join(form);
        run_well("editcap", &["-F", form], &[&ours, &converted]);
        assert_read_as_by_tshark(&converted, packets);
        let (after, ..) = as_we_read(&converted);
        for (before, after) in before.iter().zip(&after) {
            let unit = if form.ends_with("modpcap") || form == "pcap" {
                1000
            } else {
                1
            };
            assert_eq!(
                (before.0, before.1 / unit * unit),
                (after.0, after.1),
                "{form}"
            );
        }
    }
}

#[test]
fn what_mergecap_merges_has_interfaces_of_several_links() {
    let directory = TempDir::new().unwrap();
    let (ethernet, packets) = synthetic(&directory, "ethernet.pcap", 2);
    let raw = directory.path().join("raw.pcap");
    let mut writer = Writer::new(
        File::create(&raw).unwrap(),
        Link::RAW,
        Resolution::Microseconds,
    )
    .unwrap();
    let mut synthetic = Synthetic::new(Shape::new(20, 20, 3));
    let mut raw_packets = 0;
    while let Some(frame) = synthetic.next() {
        let ip = &frame.data[14..];
        writer
            .packet(frame.time, ip, frame.original_len - 14)
            .unwrap();
        raw_packets += 1;
    }
    let merged = directory.path().join("merged.pcapng");
    let name = merged.to_str().unwrap();
    run_well(
        "mergecap",
        &["-F", "pcapng", "-w", name],
        &[&ethernet, &raw],
    );
    let links = assert_read_as_by_tshark(&merged, packets + raw_packets);
    let raw_links = links.iter().filter(|link| **link == Link::RAW).count();
    assert_eq!(raw_links, raw_packets);

    // One file after the other is a file of two sections.
    let second = directory.path().join("second.pcapng");
    run_well("editcap", &["-F", "pcapng"], &[&ethernet, &second]);
    let mut both = std::fs::read(&merged).unwrap();
    both.extend(std::fs::read(&second).unwrap());
    let sections = directory.path().join("sections.pcapng");
    std::fs::write(&sections, both).unwrap();
    assert_read_as_by_tshark(&sections, 2 * packets + raw_packets);
}

#[test]
fn frames_are_numbered_and_timed_as_tshark_does_it() {
    let directory = TempDir::new().unwrap();
    for order in [Order::Little, Order::Big] {
        let frame = layers::ethernet(layers::IPV4, &layers::ipv4(6, &layers::TCP));
        let mut options = order.option(9, &[0x80 | 20]);
        let offset: i64 = 1_000_000_000;
        options.extend(order.option(
            14,
            &match order {
                Order::Little => offset.to_le_bytes(),
                Order::Big => offset.to_be_bytes(),
            },
        ));
        let mut file = order.section(b"");
        file.extend(order.interface(1, 0, &options));
        file.extend(order.interface(1, 0, &order.option(9, &[3])));
        file.extend(order.enhanced(0, (5 << 20) + (1 << 19), &frame, 100));
        file.extend(order.block(9, b"__REALTIME_TIMESTAMP=1\nMESSAGE=x\n"));
        file.extend(order.enhanced(1, 1_600_000_000_123, &frame, 100));
        let path = directory.path().join(format!("{order:?}.pcapng"));
        std::fs::write(&path, file).unwrap();
        assert_read_as_by_tshark(&path, 2);
        let (packets, ..) = as_we_read(&path);
        assert_eq!((packets[1].0, packets[0].1), (3, 1_000_000_005_500_000_000));

        let mut file = order.pcap(0xa1b2_3c4d, 1);
        file.extend(order.record(4_000_000_000, 999_999_999, &frame, 100));
        let path = directory.path().join(format!("{order:?}.pcap"));
        std::fs::write(&path, file).unwrap();
        assert_read_as_by_tshark(&path, 1);
    }
}

#[test]
fn a_file_that_was_cut_has_the_frames_that_tshark_finds() {
    let directory = TempDir::new().unwrap();
    let (ours, _) = synthetic(&directory, "ours.pcap", 4);
    let converted = directory.path().join("ours.pcapng");
    run_well("editcap", &["-F", "pcapng"], &[&ours, &converted]);
    for whole in [&ours, &converted] {
        let bytes = std::fs::read(whole).unwrap();
        for part in 1..5 {
            let cut = directory.path().join("cut");
            std::fs::write(&cut, &bytes[..bytes.len() * part / 5]).unwrap();
            let (packets, _, error) = as_we_read(&cut);
            assert!(matches!(error, None | Some(FileError::Truncated { .. })));
            assert_eq!(packets, as_tshark_reads(&cut));
        }
    }
}

#[test]
fn tcpdump_reads_what_is_written_and_writes_what_is_read() {
    let directory = TempDir::new().unwrap();
    let (ours, packets) = synthetic(&directory, "ours.pcap", 5);
    let lines = run_well("tcpdump", &["-n", "-q", "-r"], &[&ours]);
    assert_eq!(lines.lines().count(), packets);
    let copy = directory.path().join("copy.pcap");
    let name = copy.to_str().unwrap();
    let nanoseconds = ["--time-stamp-precision=nano", "-w", name, "-r"];
    run_well("tcpdump", &nanoseconds, &[&ours]);
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&ours).unwrap());
}

#[test]
fn tshark_finds_the_same_segment_in_every_encapsulation() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("encapsulations.pcap");
    let file = File::create(&path).unwrap();
    let mut writer = Writer::new(file, Link::ETHERNET, Resolution::Microseconds).unwrap();
    let encapsulations = layers::encapsulations();
    for (_, frame, _) in &encapsulations {
        writer.packet(0, frame, frame.len() as u32).unwrap();
    }
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.protocols",
        "-e",
        "tcp.srcport",
        "-e",
        "tcp.seq_raw",
        "-e",
        "tcp.len",
        "-r",
    ];
    let text = run_well("tshark", &fields, &[&path]);
    assert_eq!(text.lines().count(), encapsulations.len());
    for (line, (name, ..)) in text.lines().zip(&encapsulations) {
        // What tshark makes of the two bytes of data is not of interest.
        let (protocols, rest) = line.split_once('\t').unwrap();
        let known = protocols.strip_suffix(":data").unwrap_or(protocols);
        let known = known.strip_suffix(":echo").unwrap_or(known);
        assert_eq!((known, rest), (*name, "40000\t1000\t2"));
    }
}
