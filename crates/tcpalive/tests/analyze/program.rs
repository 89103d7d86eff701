//! The program and its judge, run on a capture.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpalive");

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it is not killed"),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }
}

impl Ended {
    /// All objects of one type.
    #[track_caller]
    pub(crate) fn objects(&self, kind: &str) -> Vec<Value> {
        let objects = self.stdout.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        objects.filter(|object| object["type"] == kind).collect()
    }

    /// The summary, which must be the last object.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let last = self.stdout.lines().last().expect("a summary");
        let last: Value = serde_json::from_str(last).expect("the summary is JSON");
        assert_eq!(last["type"], "summary", "{self:?}");
        last
    }
}

/// `tcpalive analyze` with arguments.
pub(crate) fn analyze(arguments: &[&str]) -> Ended {
    let mut command = Command::new(PROGRAM);
    let output = command.arg("analyze").args(arguments).output();
    output.expect("the program can be started").into()
}

/// The frames that are probes, and those that are answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) probes: BTreeSet<u64>,
    pub(crate) answers: BTreeSet<u64>,
}

impl Marked {
    fn mark(&mut self, kind: &str, frame: u64) {
        let frames = match kind {
            "keepalive" => &mut self.probes,
            "keepalive-ack" => &mut self.answers,
            other => panic!("frame {frame} is {other}"),
        };
        assert!(frames.insert(frame), "frame {frame} is told of twice");
    }
}

/// What the program says of a capture.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) marked: Marked,
    pub(crate) flows: Vec<Value>,
    pub(crate) summary: Value,
}

pub(crate) fn our_findings(file: &Path) -> Findings {
    let ended = analyze(&["--json", "--frames", file.to_str().unwrap()]);
    assert!(matches!(ended.code, 0 | 1), "{ended:?}");
    assert_eq!(ended.stderr, "", "{ended:?}");
    let mut marked = Marked::default();
    for object in ended.objects("frame") {
        let frame = object["frame"].as_u64().unwrap();
        marked.mark(object["kind"].as_str().unwrap(), frame);
    }
    let summary = ended.summary();
    assert_eq!(summary["probes"], marked.probes.len(), "{summary}");
    assert_eq!(summary["answers"], marked.answers.len(), "{summary}");
    assert_eq!(i32::from(summary["dead"] != 0), ended.code, "{summary}");
    Findings {
        marked,
        flows: ended.objects("flow"),
        summary,
    }
}

/// What tshark says of it.
pub(crate) fn tsharks_findings(file: &Path) -> Marked {
    let output = Command::new("tshark")
        .args(["-n", "-T", "fields", "-e", "frame.number"])
        .args(["-e", "tcp.analysis.keep_alive"])
        .args(["-e", "tcp.analysis.keep_alive_ack"])
        .args([
            "-Y",
            "tcp.analysis.keep_alive || tcp.analysis.keep_alive_ack",
        ])
        .arg("-r")
        .arg(file)
        .output()
        .expect("these tests need tshark");
    assert!(output.status.success(), "{output:?}");
    let mut marked = Marked::default();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut fields = line.split('\t');
        let frame = fields.next().unwrap().parse().unwrap();
        // Some are both.
        for kind in ["keepalive", "keepalive-ack"] {
            if fields.next().is_some_and(|field| !field.is_empty()) {
                marked.mark(kind, frame);
            }
        }
    }
    marked
}
