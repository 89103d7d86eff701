//! `tcpalive dump`, beside tcpdump and tshark.

mod recording;

use super::{Ended, PROGRAM, tcpalive, two_hosts};
use recording::{Background, Recorded, keepalive, recorded};
use serde_json::{Value, json};
use socket2::SockRef;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What stands behind this is ours.
const MEANING: &str = "  ← ";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The program's lines, which must come without any trouble.
fn lines(arguments: &[&str]) -> Vec<String> {
    let ended = tcpalive(&[&["dump"], arguments].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stdout.lines().map(str::to_owned).collect()
}

/// tcpdump's lines, those of TCP alone.
fn tcpdumps(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("tcpdump").arg("-nn").args(arguments).output();
    let output: Ended = output.expect("these tests need tcpdump").into();
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.lines().map(str::to_owned).collect()
}

/// Packets that tshark finds, and what is wrong with the file.
fn tsharks(file: &Path) -> usize {
    let output = Command::new("tshark")
        .args(["-n", "-r", text(file), "-T", "fields", "-e", "frame.number"])
        .output();
    let output: Ended = output.expect("these tests need tshark").into();
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.lines().count()
}

fn without_meaning(line: &str) -> &str {
    line.split(MEANING).next().unwrap_or_default()
}

fn assert_same_lines(file: &Path, options: &[&str]) {
    let arguments = [options, &["-r", text(file)]].concat();
    let (ours, theirs) = (lines(&arguments), tcpdumps(&arguments));
    assert!(theirs.len() > 20, "{theirs:?}");
    assert_eq!(ours.len(), theirs.len(), "{options:?} {file:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(without_meaning(ours), theirs, "{options:?} {file:?}");
    }
}

#[test]
fn lines_are_tcpdumps_with_the_meaning_behind() {
    let Recorded { ethernet, any, .. } = recorded();
    for options in [
        &[][..],
        &["-S"],
        &["-q"],
        &["-t"],
        &["-tt"],
        &["-ttt"],
        &["-tttt"],
        &["-ttttt"],
    ] {
        assert_same_lines(ethernet, options);
        assert_same_lines(any, options);
    }
    let shown = lines(&["-r", text(ethernet)]).join("\n");
    // The recording has what the comparison is meant to cover.
    for part in [
        "Flags [S.]",
        "Flags [P.]",
        "Flags [R.]",
        "IP6 ",
        "sack 1 {",
        "wscale ",
        "mss ",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn a_capture_that_begins_late_has_tcpdumps_relative_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.pcap");
    for from in [2, 4, 7, 10] {
        let cut = Command::new("editcap")
            .args(["-F", "pcap", "-r", text(&recorded().ethernet), text(&late)])
            .arg(format!("{from}-100000"))
            .status();
        assert!(cut.expect("these tests need editcap").success());
        assert_same_lines(&late, &[]);
    }
}

#[test]
fn odd_packets_are_shown_as_tcpdump_shows_them() {
    // Options by number, with lengths right and wrong; all that tcpdump's
    // words are the same for.
    let options: [&[u8]; 24] = [
        &[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6],
        &[2, 4, 5, 0xb4, 1, 3, 3, 7],
        &[5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 1, 1],
        &[34, 2, 1, 1],
        &[34, 6, 1, 2, 3, 4, 1, 0],
        &[34, 5, 1, 2, 3, 0, 0, 0],
        &[254, 6, 0xf9, 0x89, 1, 2, 0, 0],
        &[254, 8, 0x12, 0x34, 1, 2, 3, 4],
        &[253, 4, 1, 2],
        &[29, 8, 1, 2, 3, 4, 5, 6],
        &[99, 4, 1, 2],
        &[99, 2, 1, 1],
        &[99, 0, 1, 1],
        &[99, 9, 1, 1],
        &[2, 3, 5, 1],
        &[8, 6, 1, 2, 3, 4, 1, 1],
        &[4, 3, 5, 1],
        &[5, 6, 1, 2, 3, 4, 1, 1],
        &[6, 6, 1, 2, 3, 4, 1, 0],
        &[13, 6, 1, 2, 3, 4, 1, 0],
        &[0, 0, 0, 0],
        &[3, 4, 7, 8],
        &[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        &[14, 3, 1, 0],
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("odd.pcap");
    let mut bytes = Vec::new();
    let mut writer = tcpalive_capture::Writer::new(
        &mut bytes,
        tcpalive_capture::Link::RAW,
        tcpalive_capture::Resolution::Microseconds,
    )
    .unwrap();
    let mut time = 1_500_000_000_000_000_000;
    let mut write = |packet: &[u8], length: usize| {
        time += 1_000_000;
        writer
            .packet(time, &packet[..length], packet.len() as u32)
            .unwrap();
    };
    for option in options {
        // ACK and SYN with ACK: SACK is read with ACK alone.
        for flags in [0x10, 0x12] {
            let packet = packet(flags, option, b"payload");
            write(&packet, packet.len());
        }
    }
    for flags in 0..=0xff {
        let packet = packet(flags, &[], b"");
        write(&packet, packet.len());
    }
    let whole = packet(0x18, options[2], b"payload");
    for length in 20..whole.len() {
        write(&whole, length);
    }
    fs::write(&file, bytes).unwrap();
    assert_same_lines(&file, &[]);
}

/// An IPv4 packet with a TCP segment.
fn packet(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let mut tcp = vec![0x9c, 0x40, 0x0d, 0x05, 0, 0, 1, 0, 0, 0, 2, 0];
    let words = 5 + options.len() / 4;
    tcp.extend([(words << 4) as u8, flags, 1, 0xf6, 0, 0, 0, 9]);
    tcp.extend(options);
    tcp.extend(payload);
    let length = (20 + tcp.len()) as u8;
    let mut packet = vec![0x45, 0, 0, length, 0, 1, 0x40, 0, 64, 6, 0, 0];
    packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(tcp);
    packet
}

#[test]
fn a_life_with_keep_alive_is_told_from_probe_to_reset() {
    let shown = lines(&["-r", text(&recorded().ethernet), "-q", "-t", "port", "3333"]);
    let meanings: Vec<&str> = shown
        .iter()
        .filter_map(|line| Some(line.split_once(MEANING)?.1))
        .collect();
    let [first, answered @ .., second, third, reset] = &meanings[..] else {
        panic!("too few: {meanings:?}");
    };
    assert_eq!(*first, "keep-alive probe 1");
    assert!(answered[0].starts_with("answer, "), "{meanings:?}");
    assert!(
        answered.contains(&"keep-alive probe 1 (probes every 1 s; idle 1 s)"),
        "{meanings:?}"
    );
    assert_eq!(
        [*second, third, reset],
        [
            "keep-alive probe 2, unanswered so far: 1 (probes every 1 s; idle 1 s)",
            "keep-alive probe 3, unanswered so far: 2",
            "reset after 3 unanswered probes",
        ]
    );
}

#[test]
fn a_count_that_was_seen_is_told_from_then_on() {
    let Recorded { ethernet, .. } = recorded();
    let folder = tempfile::tempdir().unwrap();
    let twice = folder.path().join("twice.pcapng");
    let merged = Command::new("mergecap")
        .args(["-a", "-w", text(&twice), text(ethernet), text(ethernet)])
        .status();
    assert!(merged.expect("these tests need mergecap").success());
    let shown = lines(&["-r", text(&twice), "port", "3333"]).join("\n");
    let (first, second) = shown.split_once("reset after 3").unwrap();
    assert!(!first.contains("probe 1/3"), "{shown}");
    assert!(second.contains("keep-alive probe 1/3"), "{shown}");
    assert!(second.contains("keep-alive probe 3/3, unanswered so far: 2"));
}

#[test]
fn colour_is_for_the_meaning_alone() {
    let file = text(&recorded().ethernet);
    let shown = lines(&["-r", file, "--color", "always"]);
    let probe = shown.iter().find(|line| line.contains("probe 1")).unwrap();
    assert!(
        probe.contains("  ← \x1b[33mkeep-alive probe 1\x1b[0m"),
        "{probe}"
    );
    assert!(!lines(&["-r", file]).join("").contains('\x1b'));
}

#[test]
fn objects_are_those_of_the_contract() {
    let file = text(&recorded().any);
    let ended = tcpalive(&["dump", "--json", "-r", file]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let objects = ended.objects();
    let syn = &objects[0];
    assert_eq!(
        (&syn["type"], &syn["frame"], &syn["flags"], &syn["ack"]),
        (&json!("packet"), &json!(1), &json!("S"), &Value::Null)
    );
    assert_eq!(syn["destination"], "10.9.1.2:3333");
    for field in ["time", "seq", "win", "len"] {
        assert!(syn[field].is_number(), "{syn}");
    }
    let kind = |kind: &str| {
        objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .count()
    };
    let (probes, answers) = (kind("keepalive"), kind("keepalive-ack"));
    assert!(probes >= 4 && answers >= 1, "{objects:?}");
    let last = objects.iter().rfind(|object| !object["note"].is_null());
    assert_eq!(last.unwrap()["note"], "reset after 3 unanswered probes");
    let summary = ended.summary();
    assert_eq!(
        summary,
        json!({"type": "summary", "packets": objects.len(), "captured": objects.len(),
            "dropped_kernel": null, "dropped_interface": null,
            "probes": probes, "answers": answers})
    );
}

#[test]
fn files_of_several_link_types_are_filtered_and_counted() {
    let Recorded { ethernet, any, .. } = recorded();
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both.pcapng");
    let merged = Command::new("mergecap")
        .args(["-w", text(&both), text(ethernet), text(any)])
        .status();
    assert!(merged.expect("these tests need mergecap").success());
    let filter = ["tcp[tcpflags]", "&", "tcp-syn", "!=", "0", "and", "ip"];
    let of = |file: &Path| lines(&[&["-r", text(file)], &filter[..]].concat()).len();
    assert!(of(ethernet) > 0);
    assert_eq!(of(&both), of(ethernet) + of(any));
    assert_eq!(lines(&["-r", text(&both), "-c", "3"]).len(), 3);

    let copy = folder.path().join("copy.pcap");
    let ended = tcpalive(&["dump", "-r", text(&both), "-w", text(&copy)]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("one link type"), "{ended:?}");
}

#[test]
fn what_is_written_is_what_was_captured() {
    let Recorded { ethernet, .. } = recorded();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.pcap");
    let ended = tcpalive(&["dump", "-r", text(ethernet), "-w", text(&copy)]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    let theirs = tcpdumps(&["-tttt", "-r", text(ethernet)]);
    assert_eq!(tcpdumps(&["-tttt", "-r", text(&copy)]), theirs);
    assert_eq!(tsharks(&copy), theirs.len());
    // Nothing to write makes a capture without packets.
    let ended = tcpalive(&["dump", "-r", text(ethernet), "-w", text(&copy), "port", "1"]);
    assert_eq!((ended.code, tsharks(&copy)), (0, 0), "{ended:?}");
    // Through a pipe, and shown meanwhile.
    let mut writer = Command::new(PROGRAM)
        .args(["dump", "-r", text(ethernet), "-w", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = Command::new(PROGRAM)
        .args(["dump", "-r", "-", "-w", text(&copy), "--print"])
        .stdin(writer.stdout.take().unwrap())
        .output();
    let reader: Ended = reader.unwrap().into();
    assert!(writer.wait().unwrap().success());
    assert_eq!(reader.code, 0, "{reader:?}");
    assert_eq!(reader.stdout.lines().count(), theirs.len());
    assert_eq!(tcpdumps(&["-tttt", "-r", text(&copy)]), theirs);
}

#[test]
fn a_live_capture_has_no_rights_and_ends_with_its_counts() {
    let (_lab, a, b) = two_hosts("dumplive");
    let netns = ["dump", "--netns", a.netns_name()];
    let mut dump = Background::start(Command::new(PROGRAM).args(netns));
    let status = fs::read_to_string(format!("/proc/{}/status", dump.id())).unwrap();
    for right in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let none = format!("{right}:\t0000000000000000");
        assert!(status.contains(&none), "{right}\n{status}");
    }
    let pairs = super::connect(&a, &b, 1);
    SockRef::from(&pairs[0].client)
        .set_tcp_keepalive(&keepalive(3))
        .unwrap();
    let probe = dump.line_with("keep-alive probe 1");
    assert!(probe.contains(" eth0  Out IP 10.9.1.1."), "{probe}");
    let answer = dump.line_with("answer, ");
    assert!(
        answer.contains(" eth0  In  IP 10.9.1.2.3333 > "),
        "{answer}"
    );
    let ended = dump.interrupt();
    assert_eq!(ended.code, 0, "{ended:?}");
    for count in [
        " captured\n",
        " received by filter\n",
        "\n0 packets dropped by kernel\n",
    ] {
        assert!(ended.stderr.contains(count), "{ended:?}");
    }
}

#[test]
fn a_live_capture_ends_after_its_packets_and_writes_them() {
    let (_lab, a, b) = two_hosts("dumpcount");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.pcap");
    let mut command = Command::new(PROGRAM);
    command.args(["dump", "-i", "eth0", "--netns", a.netns_name(), "-c", "3"]);
    command.args(["-w", text(&file), "--json", "--print", "host", "10.9.1.2"]);
    let dump = Background::start(&mut command);
    let _pairs = super::connect(&a, &b, 2);
    let ended = dump.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    let objects = ended.objects();
    let flags: Vec<_> = objects.iter().map(|object| &object["flags"]).collect();
    assert_eq!(flags, ["S", "S.", "."]);
    assert!(objects.iter().all(|object| object["interface"] == "eth0"));
    let summary = ended.summary();
    assert_eq!(
        (&summary["packets"], &summary["dropped_kernel"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(tsharks(&file), 3);
    assert_eq!(tcpdumps(&["-r", text(&file)]).len(), 3);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    for arguments in [&["-r"][..], &["--json", "-r"], &["-w", "-", "-r"]] {
        let mut dump = Command::new(PROGRAM)
            .arg("dump")
            .args(arguments)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = dump.stdin.take().unwrap();
        stdin
            .write_all(&fs::read(&recorded().ethernet).unwrap())
            .unwrap();
        let mut stdout = BufReader::new(dump.stdout.take().unwrap());
        stdout.fill_buf().unwrap();
        drop(stdout);
        // Standard input stays open: only the closed pipe can end it.
        let ended: Ended = dump.wait_with_output().unwrap().into();
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (0, ""),
            "{arguments:?}"
        );
        drop(stdin);
    }
}

#[test]
fn a_damaged_file_is_shown_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.pcap");
    let mut bytes = fs::read(&recorded().ethernet).unwrap();
    let packets = lines(&["-r", text(&recorded().ethernet)]).len();
    bytes.truncate(bytes.len() - 1);
    fs::write(&file, &bytes).unwrap();
    let ended = tcpalive(&["dump", "-r", text(&file)]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), packets - 1);
    assert!(ended.stderr.contains("cut short"), "{ended:?}");
    assert!(ended.stderr.contains(" at byte "), "{ended:?}");
    assert!(ended.stderr.contains(text(&file)), "{ended:?}");
    // Objects end with their summary all the same.
    let ended = tcpalive(&["dump", "--json", "-r", text(&file)]);
    assert_eq!((ended.code, ended.objects().len()), (4, packets - 1));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let file = text(&recorded().ethernet);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.pcap");
    for (arguments, says) in [
        (&["-i", "nosuch0"][..], "there is no interface 'nosuch0'"),
        (&["port", "port"], "the filter 'port port': "),
        (&["-r", file, "port", "port"], "the filter 'port port': "),
        (&["--netns", "all"], "one network namespace at a time"),
        (
            &["--netns", "nosuchnamespace"],
            "no network namespace named",
        ),
        (&["-r", PROGRAM], "expected a pcap or pcapng file"),
        (&["-r", "/nonexistent"], "/nonexistent: No such file"),
        (&["-r", file, "-w", file], "the file that is read"),
        (
            &["-r", file, "-w", "-", "--print"],
            "both write to standard output",
        ),
        (&["-r", file, "-tttttt"], "five times"),
        (&["-r", file, "-i", "lo"], "cannot be used with"),
        (&["-c", "0"], "invalid value"),
    ] {
        let ended = tcpalive(&[&["dump"], arguments].concat());
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?} {ended:?}"
        );
        assert!(ended.stderr.contains(says), "{arguments:?} {ended:?}");
    }
    // A filter that is none leaves an older file alone.
    fs::write(&out, "precious").unwrap();
    let ended = tcpalive(&["dump", "-r", file, "-w", text(&out), "port", "port"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "precious");
}

#[test]
fn interfaces_of_a_namespace_are_listed() {
    let (_lab, a, _b) = two_hosts("dumplist");
    let ended = tcpalive(&["dump", "-D", "--netns", a.netns_name()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut names: Vec<&str> = ended
        .stdout
        .lines()
        .filter_map(|line| line.split(['.', ' ']).nth(1))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["any", "eth0", "lo"]);
    let ended = tcpalive(&["dump", "-D", "--json", "--netns", a.netns_name()]);
    let eth0 = json!({"type": "interface", "name": "eth0", "description": null, "up": true});
    assert!(ended.objects().contains(&eth0), "{ended:?}");
}

#[test]
fn what_becomes_clear_later_is_told_then() {
    // From the first probe on: nobody can tell that it is one.
    let file = text(&recorded().ethernet);
    let shown = lines(&["-r", file, "port", "3333"]);
    let is_probe = |line: &String| line.contains("keep-alive probe 1");
    let first = shown.iter().position(is_probe).unwrap() + 1;
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.pcap");
    let cut = Command::new("editcap")
        .args(["-F", "pcap", "-r", file, text(&late)])
        .arg(format!("{first}-100000"))
        .status();
    assert!(cut.expect("these tests need editcap").success());
    let cut = lines(&["-r", text(&late), "port", "3333"]);
    assert!(!cut[0].contains(MEANING), "{cut:?}");
    let told = "(to a packet that can only now be told to be a probe)";
    assert!(cut[1].contains(told), "{cut:?}");
    // What the idle time is, this capture does not show.
    assert!(
        cut[2].ends_with("keep-alive probe 1 (probes every 1 s)"),
        "{cut:?}"
    );
    let ended = tcpalive(&["dump", "--json", "-r", text(&late), "port", "3333"]);
    let frame = json!({"type": "frame", "frame": 1, "kind": "keepalive"});
    assert!(ended.objects().contains(&frame), "{ended:?}");
}

#[test]
fn a_file_is_written_whether_or_not_anybody_reads_standard_output() {
    let (_lab, a, b) = two_hosts("dumpclosed");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.pcap");
    let mut command = Command::new(PROGRAM);
    command.args(["dump", "-i", "eth0", "--netns", a.netns_name(), "-c", "3"]);
    let mut dump = Background::start(command.args(["-w", text(&file)]));
    dump.close_stdout();
    let _pairs = super::connect(&a, &b, 1);
    let ended = dump.wait();
    assert_eq!((ended.code, tsharks(&file)), (0, 3), "{ended:?}");
}
