//! `tcpalive analyze --report`. Needs no privilege and no kernel.

use super::{Ended, PROGRAM, tcpalive};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tcpalive_capture::synthetic::{self, Shape};
use tcpalive_capture::{Link, Resolution, Writer};
use tcpalive_segment::{Draft, Flags};

/// A page is taken apart as browsers do; each drawing in it is XML.
const LOOK: &str = r##"
import html.parser, re, sys, xml.etree.ElementTree as x
text = open(sys.argv[1], encoding="utf-8").read()
if sys.argv[1].endswith(".svg"):
    root = x.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
    assert not any("href" in key or key.startswith("on") for e in root.iter() for key in e.attrib)
    sys.exit()
class Page(html.parser.HTMLParser):
    tags, ids, links = [], set(), set()
    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for key, value in attributes:
            assert key != "src" and not key.startswith("on"), (tag, key)
            if key == "id":
                assert value not in self.ids, value
                self.ids.add(value)
            if key == "href":
                assert value[0] == "#", value
                self.links.add(value[1:])
page = Page()
page.feed(text)
assert page.links <= page.ids, page.links - page.ids
assert page.tags.count("script") == 1 and page.tags.count("title") >= 1
assert not re.search(r"https?://|@import|url\(", text)
for drawing in re.findall(r"<svg.*?</svg>", text, re.S):
    x.fromstring(drawing)
"##;

fn look(file: &Path) -> String {
    let check = Command::new("python3")
        .args(["-c", LOOK])
        .arg(file)
        .output();
    let check = check.expect("python3 can be started");
    assert!(check.status.success(), "{check:?}");
    fs::read_to_string(file).unwrap()
}

fn in_folder(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

fn analyze(capture: &Path, report: &Path) -> Ended {
    tcpalive(&[
        "analyze",
        "--report",
        report.to_str().unwrap(),
        capture.to_str().unwrap(),
    ])
}

/// Probes go to the right, at so many seconds.
fn write_capture(path: &Path, packets: &[(u64, bool, Draft<'_>)]) {
    let mut writer = Writer::new(
        File::create(path).unwrap(),
        Link::RAW,
        Resolution::Nanoseconds,
    )
    .unwrap();
    for (seconds, _, draft) in packets {
        let bytes = draft.to_bytes().unwrap();
        let time = (1_500_000_000 + seconds) * 1_000_000_000;
        writer.packet(time, &bytes, bytes.len() as u32).unwrap();
    }
    writer.flush().unwrap();
}

/// A handshake, `answered` probes with answers, then silence: 3 probes, RST.
fn life(answered: u64, with_handshake: bool) -> Vec<(u64, bool, Draft<'static>)> {
    let a: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let b: SocketAddr = "192.0.2.2:7".parse().unwrap();
    let to = |sequence, acknowledgment, flags| Draft {
        sequence,
        acknowledgment,
        flags,
        window: 500,
        ..Draft::new(a, b)
    };
    let back = |sequence, acknowledgment, flags| Draft {
        sequence,
        acknowledgment,
        flags,
        window: 500,
        ..Draft::new(b, a)
    };
    let mut packets = Vec::new();
    if with_handshake {
        packets.push((0, true, to(100, 0, Flags::SYN)));
        packets.push((0, false, back(900, 101, Flags::SYN | Flags::ACK)));
        packets.push((0, true, to(101, 901, Flags::ACK)));
    }
    let mut now = 0;
    for _ in 0..answered {
        now += 60;
        packets.push((now, true, to(100, 901, Flags::ACK)));
        packets.push((now, false, back(901, 101, Flags::ACK)));
    }
    now += 50;
    for _ in 0..3 {
        now += 10;
        packets.push((now, true, to(100, 901, Flags::ACK)));
    }
    packets.push((now + 10, true, to(101, 901, Flags::RST | Flags::ACK)));
    packets
}

#[test]
fn one_flow_is_told_from_its_handshake_to_its_death() {
    let folder = tempfile::tempdir().unwrap();
    let capture = in_folder(&folder, "one.pcap");
    write_capture(&capture, &life(100, true));
    for name in ["report.svg", "report.html"] {
        let report = in_folder(&folder, name);
        let ended = analyze(&capture, &report);
        assert_eq!((ended.code, ended.stderr.as_str()), (1, ""), "{ended:?}");
        let text = look(&report);
        for words in [
            "One connection is probed, and its peer is dead.",
            "192.0.2.1:40000 → 192.0.2.2:7",
            "dead: the prober gave up after 3 unanswered probes · idle 60 s, interval 10 s, count 3",
            ">SYN<",
            "… 95 more probes, each answered, frames 8 to 197",
            "probe 3, no answer seen",
            "RST: gives up after 3 unanswered probes",
            "frame 207 · 04:21:30.000",
            "2017-07-14 02:40:00",
            "+6090.000 s",
        ] {
            assert!(text.contains(words), "{name}: {words}\n{text}");
        }
    }
}

#[test]
fn probes_that_begin_a_capture_are_probes_in_the_drawing() {
    let folder = tempfile::tempdir().unwrap();
    let (capture, report) = (
        in_folder(&folder, "late.pcap"),
        in_folder(&folder, "late.svg"),
    );
    write_capture(&capture, &life(2, false));
    assert_eq!(analyze(&capture, &report).code, 1);
    let text = look(&report);
    // The first, whose nature its answer tells, and those without answer.
    assert_eq!(text.matches(">probe<").count(), 2, "{text}");
    assert_eq!(text.matches(", no answer seen<").count(), 4, "{text}");
    assert!(text.contains("began before the capture"), "{text}");
}

#[test]
fn a_capture_without_flows_has_a_report_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let capture = in_folder(&folder, "none.pcap");
    write_capture(&capture, &[]);
    for name in ["report.svg", "report.html"] {
        let report = in_folder(&folder, name);
        let ended = analyze(&capture, &report);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        assert!(look(&report).contains("There is no TCP connection in it."));
    }
}

#[test]
fn a_hundred_thousand_flows_are_a_small_page() {
    const FLOWS: u32 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let capture = in_folder(&folder, "many.pcap");
    let file = std::io::BufWriter::new(File::create(&capture).unwrap());
    let mut writer = Writer::new(file, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    synthetic::write(Shape::new(FLOWS, 20, 1), &mut writer).unwrap();
    drop(writer);
    for (name, most) in [("many.html", 10_000_000), ("many.svg", 1_000_000)] {
        let report = in_folder(&folder, name);
        let ended = analyze(&capture, &report);
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let text = look(&report);
        assert!(text.len() < most, "{name}: {} bytes", text.len());
        assert!(text.contains("probes of all connections"), "{name}");
        assert!(text.contains("all others"), "{name}");
        if name == "many.html" {
            assert!(text.contains("5,000 of 100,000 connections are here"));
            assert_eq!(text.matches("<figure").count(), 20);
            for verdict in ["✖ dead", "● alive", "– not probed"] {
                assert!(text.contains(&format!(">{verdict}")), "{verdict}");
            }
        }
    }
}

#[test]
fn names_cannot_break_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let capture = in_folder(&folder, "<script>alert('1')&\"\u{1}.pcap");
    write_capture(&capture, &life(1, true));
    let other = in_folder(&folder, "other.pcap");
    write_capture(&other, &life(1, true));
    for name in ["report.svg", "report.html"] {
        let report = in_folder(&folder, name);
        let ended = tcpalive(&[
            "analyze",
            "--filter",
            "tcp and len < 2000",
            "--report",
            report.to_str().unwrap(),
            capture.to_str().unwrap(),
            other.to_str().unwrap(),
        ]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let text = look(&report);
        assert!(!text.contains("<script>alert"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(&#39;1&#39;)&amp;&quot;\u{fffd}.pcap"));
        assert!(text.contains("len &lt; 2000"), "{text}");
        // Both captures have their life.
        assert_eq!(
            text.matches("RST: gives up after 3").count(),
            2,
            "{name}: {text}"
        );
    }
}

#[test]
fn what_comes_through_a_pipe_is_told_from_the_first_probe_on() {
    let folder = tempfile::tempdir().unwrap();
    let (capture, report) = (in_folder(&folder, "one.pcap"), in_folder(&folder, "a.html"));
    write_capture(&capture, &life(3, true));
    let output = Command::new(PROGRAM)
        .args(["analyze", "-", "--report", report.to_str().unwrap()])
        .stdin(Stdio::from(File::open(&capture).unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = look(&report);
    assert!(text.contains("lives in it begin with the first probe"));
    assert!(text.contains("RST: gives up after 3 unanswered probes"));
    assert!(!text.contains(">SYN<"));
}

#[test]
fn a_capture_that_was_cut_has_a_report_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (capture, report) = (in_folder(&folder, "cut.pcap"), in_folder(&folder, "a.svg"));
    write_capture(&capture, &life(3, true));
    let bytes = fs::read(&capture).unwrap();
    fs::write(&capture, &bytes[..bytes.len() - 5]).unwrap();
    assert_eq!(analyze(&capture, &report).code, 4);
    let text = look(&report);
    assert!(text.contains("what came before it is here"), "{text}");
    assert!(text.contains("probe 3, no answer seen"), "{text}");
}

#[test]
fn the_name_says_what_a_report_is_and_is_looked_at_first() {
    for name in ["report.pdf", "report", ".html.txt"] {
        let ended = tcpalive(&["analyze", "--report", name, "/nonexistent/capture.pcap"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
        let expected = "its name must end in .html for a page or in .svg for a drawing";
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let capture = in_folder(&folder, "one.pcap");
    write_capture(&capture, &life(1, true));
    let ended = analyze(&capture, Path::new("/nonexistent/report.html"));
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended.stderr.contains("/nonexistent/report.html"),
        "{ended:?}"
    );
    // What was found is told all the same.
    assert!(ended.stdout.contains("keepalive-timeout"), "{ended:?}");
    // A folder cannot be replaced.
    let report = in_folder(&folder, "folder.svg");
    fs::create_dir(&report).unwrap();
    assert_eq!(analyze(&capture, &report).code, 4);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_report_changes_nothing_of_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let (capture, report) = (in_folder(&folder, "one.pcap"), in_folder(&folder, "a.html"));
    write_capture(&capture, &life(2, false));
    fs::write(&report, "an older one").unwrap();
    for arguments in [&["--json"][..], &["--json", "--frames"], &["--frames"], &[]] {
        let base = ["analyze", capture.to_str().unwrap()];
        let without = tcpalive(&[&base[..], arguments].concat());
        let with = ["--report", report.to_str().unwrap()];
        let with = tcpalive(&[&base[..], arguments, &with].concat());
        assert_eq!(with.stdout, without.stdout);
        assert_eq!((with.code, without.code), (1, 1));
    }
    assert!(look(&report).starts_with("<!DOCTYPE html>"));
}
