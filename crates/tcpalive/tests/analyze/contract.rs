//! What scripts can rely on: objects, exit codes, and what is told of captures
//! that are cut, damaged or still being written.

use crate::program::{Ended, PROGRAM, analyze};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tcpalive_capture::synthetic::{self, Shape, Truth};
use tcpalive_capture::{Link, Reader, Resolution, Writer};
use tempfile::TempDir;

/// A capture of 200 connections, some of them with dead peers.
fn with_deaths() -> (Vec<u8>, Vec<Truth>) {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    let truths = synthetic::write(Shape::new(200, 40, 3), &mut writer).unwrap();
    (file, truths)
}

/// The same, and nobody dies.
fn without_deaths() -> Vec<u8> {
    let shape = Shape {
        stay_open: true,
        ..Shape::new(50, 40, 3)
    };
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    synthetic::write(shape, &mut writer).unwrap();
    file
}

fn put(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// How many frames there are before this byte.
fn frames_before(file: &[u8], length: usize) -> u64 {
    let mut reader = Reader::new(&file[..length]).unwrap();
    while let Ok(Some(_)) = reader.next() {}
    reader.frames()
}

#[track_caller]
fn assert_refused(ended: &Ended, expected: &str) {
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn objects_are_as_promised() {
    let directory = TempDir::new().unwrap();
    let (file, truths) = with_deaths();
    let path = put(&directory, "night.pcap", &file);
    let ended = analyze(&["--json", "--frames", text(&path)]);
    let flows = ended.objects("flow");
    assert_eq!(flows.len(), truths.len());
    for flow in &flows {
        for number in [
            "first_frame",
            "packets",
            "probes",
            "answers",
            "unanswered_run",
        ] {
            assert!(flow[number].is_u64(), "{number}: {flow}");
        }
        assert!(flow["handshake_seen"].is_boolean(), "{flow}");
        let is_one_of = |field: &str, words: &[&str]| {
            let found = flow[field].as_str();
            assert!(
                found.is_some_and(|it| words.contains(&it)),
                "{field}: {flow}"
            );
        };
        is_one_of("end", &["fin", "reset", "keepalive-timeout", "open"]);
        is_one_of("verdict", &["alive", "dead", "unknown"]);
        for end in ["a", "b"] {
            let address = flow[end].as_str().unwrap();
            assert!(address.parse::<std::net::SocketAddr>().is_ok(), "{flow}");
        }
        let times = ["idle_s", "interval_s", "count"];
        for number in times {
            assert!(flow[number].is_u64() || flow[number].is_null(), "{flow}");
        }
        if flow["probes"] == 0 {
            assert!(flow["prober"].is_null(), "{flow}");
            assert!(times.iter().all(|it| flow[it].is_null()), "{flow}");
        } else {
            is_one_of("prober", &["a", "b", "both"]);
        }
    }
    for frame in ended.objects("frame") {
        assert!(frame["frame"].is_u64(), "{frame}");
        assert!(
            ["keepalive", "keepalive-ack"].contains(&frame["kind"].as_str().unwrap()),
            "{frame}"
        );
    }
    let summary = ended.summary();
    let sum = |field: &str| -> u64 { flows.iter().map(|it| it[field].as_u64().unwrap()).sum() };
    assert_eq!(summary["frames"], frames_before(&file, file.len()));
    assert_eq!(summary["flows"], flows.len());
    assert_eq!(summary["probes"], sum("probes"));
    assert_eq!(summary["answers"], sum("answers"));
    assert_eq!(summary["complete"], true);
    let dead = flows
        .iter()
        .filter(|flow| flow["verdict"] == "dead")
        .count();
    assert_eq!(summary["dead"], dead);
    assert!(dead > 0);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
}

#[test]
fn each_line_is_one_object_and_frames_are_told_when_asked_for() {
    let directory = TempDir::new().unwrap();
    let path = put(&directory, "night.pcap", &with_deaths().0);
    let bare = analyze(&["--json", text(&path)]);
    let full = analyze(&["--json", "--frames", text(&path)]);
    assert!(bare.objects("frame").is_empty());
    let probes = bare.summary()["probes"].as_u64().unwrap();
    let answers = bare.summary()["answers"].as_u64().unwrap();
    assert_eq!(full.objects("frame").len() as u64, probes + answers);
    assert_eq!(full.objects("flow"), bare.objects("flow"));
    for line in full.stdout.lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        assert!(object["type"].is_string(), "{line}");
    }
    let for_people = analyze(&["--frames", text(&path)]);
    assert_eq!(for_people.code, 1);
    let told = for_people
        .stdout
        .lines()
        .filter(|line| line.starts_with("frame "));
    assert_eq!(told.count() as u64, probes + answers);
}

#[test]
fn no_dead_peers_is_exit_code_0() {
    let directory = TempDir::new().unwrap();
    let path = put(&directory, "day.pcap", &without_deaths());
    let ended = analyze(&["--json", text(&path)]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.summary()["dead"], 0);
}

#[test]
fn what_is_no_capture_is_refused_before_anything_is_told() {
    let directory = TempDir::new().unwrap();
    let good = put(&directory, "good.pcap", &with_deaths().0);
    let letter = put(&directory, "letter.txt", b"Dear Sir or Madam");
    for form in [&["--json"][..], &[]] {
        let run = |files: &[&str]| analyze(&[form, files].concat());
        assert_refused(&run(&[text(&letter)]), "expected a pcap or pcapng file");
        assert_refused(&run(&[text(&good), text(&letter)]), "letter.txt");
        let missing = directory.path().join("missing.pcap");
        assert_refused(&run(&[text(&missing)]), "missing.pcap: No such file");
        let is_directory = run(&[text(directory.path())]);
        assert_refused(&is_directory, "Is a directory");
    }
    let two = analyze(&["--follow", text(&good), text(&good)]);
    assert_refused(&two, "--follow waits at the end of a capture: expected one");
    let filter = analyze(&["--filter", "prot 80", text(&good)]);
    assert_eq!((filter.code, filter.stdout.as_str()), (2, ""), "{filter:?}");
    assert!(filter.stderr.contains("prot 80"), "{filter:?}");
    assert_eq!(analyze(&[]).code, 2);
}

#[test]
fn a_cut_capture_is_told_up_to_the_cut() {
    let directory = TempDir::new().unwrap();
    let (file, _) = with_deaths();
    for length in [0, 10, 24 + 7, file.len() / 2, file.len() - 1] {
        let path = put(&directory, "cut.pcap", &file[..length]);
        let ended = analyze(&["--json", text(&path)]);
        assert_eq!(ended.code, 4, "{length}: {ended:?}");
        assert!(ended.stderr.contains("the file is cut short"), "{ended:?}");
        assert!(ended.stderr.contains("at byte "), "{ended:?}");
        assert!(ended.stderr.contains("not read to the end"), "{ended:?}");
        let frames = if length < 24 {
            0
        } else {
            frames_before(&file, length)
        };
        let summary = ended.summary();
        assert_eq!(summary["frames"], frames, "{length}");
        assert_eq!(summary["complete"], false, "{length}");
        // As if the capture had ended there.
        let mut whole = Vec::new();
        let mut writer = Writer::new(&mut whole, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        for _ in 0..frames {
            let packet = reader.next().unwrap().unwrap();
            writer
                .packet(packet.time, packet.data, packet.original_len)
                .unwrap();
        }
        let whole = analyze(&["--json", text(&put(&directory, "whole.pcap", &whole))]);
        assert_eq!(ended.objects("flow"), whole.objects("flow"), "{length}");
        // People are told the same.
        let ended = analyze(&[text(&path)]);
        assert_eq!(ended.code, 4, "{length}: {ended:?}");
        let total = format!(
            " in {} frame",
            if frames == 0 {
                "0".into()
            } else {
                thousands(frames)
            }
        );
        assert!(ended.stdout.contains(&total), "{total}: {ended:?}");
    }
}

fn thousands(number: u64) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn a_damaged_capture_is_told_up_to_the_damage() {
    let directory = TempDir::new().unwrap();
    let (mut file, _) = with_deaths();
    // Where the record of frame 1001 begins, its captured length is nonsense.
    let mut reader = Reader::new(&file[..]).unwrap();
    for _ in 0..1000 {
        reader.next().unwrap().unwrap();
    }
    let place = usize::try_from(reader.offset()).unwrap();
    file[place + 8..place + 12].fill(0xff);
    let path = put(&directory, "damaged.pcap", &file);
    let ended = analyze(&["--json", text(&path)]);
    assert_eq!(ended.code, 4, "{ended:?}");
    let told = format!("the file is damaged at byte {place}, in frame 1001: expected ");
    assert!(ended.stderr.contains(&told), "{ended:?}");
    assert_eq!(ended.summary()["frames"], 1000);
    // Of version 3, nobody knows anything.
    file[4] = 3;
    let ended = analyze(&["--json", text(&put(&directory, "version", &file))]);
    assert_eq!(
        (ended.code, &ended.summary()["frames"]),
        (4, &0.into()),
        "{ended:?}"
    );
}

#[test]
fn of_several_captures_each_is_told_under_its_name() {
    let directory = TempDir::new().unwrap();
    let (file, truths) = with_deaths();
    let cut = put(&directory, "cut.pcap", &file[..file.len() / 2]);
    let whole = put(&directory, "whole.pcap", &file);
    let ended = analyze(&["--json", "--frames", text(&cut), text(&whole)]);
    // The damage of the first does not keep the second from being read.
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("reading ") && ended.stderr.contains("cut.pcap"));
    let of = |kind: &str, path: &Path| {
        let objects = ended.objects(kind).into_iter();
        objects.filter(|it| it["file"] == text(path)).count()
    };
    assert_eq!(of("flow", &whole), truths.len());
    assert!(of("flow", &cut) > 0 && of("frame", &cut) > 0);
    let alone = analyze(&["--json", "--frames", text(&whole)]);
    assert_eq!(of("frame", &whole), alone.objects("frame").len());
    assert!(
        alone
            .objects("flow")
            .iter()
            .all(|flow| flow["file"].is_null())
    );
}

#[test]
fn a_filter_takes_packets_before_flows_are_made_of_them() {
    let directory = TempDir::new().unwrap();
    let (file, truths) = with_deaths();
    let path = put(&directory, "night.pcap", &file);
    let ended = analyze(&["--json", "--filter", "tcp port 5432", text(&path)]);
    let expected = truths.iter().filter(|truth| truth.b.port() == 5432);
    let flows = ended.objects("flow");
    assert_eq!(flows.len(), expected.count());
    for flow in &flows {
        // Without a handshake, A is who was seen first.
        let is_of_port = |end: &str| flow[end].as_str().unwrap().ends_with(":5432");
        assert!(is_of_port("a") || is_of_port("b"), "{flow}");
    }
    let none = analyze(&["--json", "--filter", "udp", text(&path)]);
    let summary = none.summary();
    assert_eq!(
        (none.code, &summary["flows"], &summary["packets"]),
        (0, &0.into(), &0.into())
    );
    assert_eq!(summary["frames"], frames_before(&file, file.len()));
}

fn started(arguments: &[&str], stdin: Stdio) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(PROGRAM);
    command.arg("analyze").args(arguments).stdin(stdin);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

/// Reads lines up to the first one that is so.
fn read_to(lines: &mut BufReader<ChildStdout>, is: impl Fn(&Value) -> bool) -> Value {
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the output ended");
        let object = serde_json::from_str(&line).unwrap();
        if is(&object) {
            return object;
        }
    }
}

#[test]
fn standard_input_is_read_as_it_comes() {
    let (file, truths) = with_deaths();
    let (mut child, mut lines) = started(&["--json", "--frames", "-"], Stdio::piped());
    let mut stdin = child.stdin.take().unwrap();
    let part = file.len() / 10;
    stdin.write_all(&file[..part]).unwrap();
    // Told before the rest is there.
    read_to(&mut lines, |object| object["kind"] == "keepalive");
    // The program reads on as its own output is read.
    let writer = std::thread::spawn(move || stdin.write_all(&file[part..]).unwrap());
    let summary = read_to(&mut lines, |object| object["type"] == "summary");
    writer.join().unwrap();
    assert_eq!(summary["flows"], truths.len());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_signal_ends_the_waiting_for_a_pipe_and_all_is_told() {
    let file = without_deaths();
    let (mut child, mut lines) = started(&["--json", "--frames", "-"], Stdio::piped());
    let mut stdin = child.stdin.take().unwrap();
    // It ends within a packet.
    let length = file.len() - 5;
    stdin.write_all(&file[..length]).unwrap();
    read_to(&mut lines, |object| object["kind"] == "keepalive");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let summary = read_to(&mut lines, |object| object["type"] == "summary");
    assert_eq!(summary["flows"], 50);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdin);
}

#[test]
fn a_growing_file_is_followed_until_a_signal() {
    let directory = TempDir::new().unwrap();
    let (file, truths) = with_deaths();
    // Not even the header is whole at first.
    let path = put(&directory, "growing.pcap", &file[..10]);
    let (mut child, mut lines) = started(
        &["--json", "--frames", "--follow", text(&path)],
        Stdio::null(),
    );
    let mut growing = OpenOptions::new().append(true).open(&path).unwrap();
    let mut end = 10;
    for part in [file.len() / 3, file.len() / 3 + 7, file.len()] {
        growing.write_all(&file[end..part]).unwrap();
        end = part;
        if part == file.len() / 3 {
            read_to(&mut lines, |object| object["kind"] == "keepalive");
        }
    }
    let last = analyze(&["--json", "--frames", text(&path)]);
    let last = last
        .objects("frame")
        .into_iter()
        .rev()
        .find(|frame| frame["kind"] == "keepalive-ack");
    let last = last.unwrap()["frame"].as_u64().unwrap();
    read_to(&mut lines, |object| object["frame"] == last);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let summary = read_to(&mut lines, |object| object["type"] == "summary");
    assert_eq!(summary["flows"], truths.len());
    assert_eq!(summary["frames"], frames_before(&file, file.len()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let directory = TempDir::new().unwrap();
    let path = put(&directory, "night.pcap", &with_deaths().0);
    let (mut child, lines) = started(&["--json", "--frames", text(&path)], Stdio::null());
    drop(lines);
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}
