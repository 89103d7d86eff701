//! The program under test, run in B, and what it prints held against the truth.

use super::world::Truth;
use super::{Interrupt, NightOptions};
use crate::error::{Doing, LabError, Result};
use crate::{Host, article};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{IsTerminal, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The whole night takes less; a program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Program<'a> {
    path: PathBuf,
    netns: String,
    window: String,
    interrupt: &'a Interrupt,
}

/// What the program printed.
struct Output {
    text: String,
    exit_code: i32,
    elapsed: Duration,
}

pub(super) struct Summary {
    pub(super) text: String,
    pub(super) exit_code: i32,
}

pub(super) struct List {
    pub(super) listed: usize,
    pub(super) owned: usize,
    pub(super) keepalive_on: usize,
    pub(super) wrong: usize,
    pub(super) exit_code: i32,
    pub(super) elapsed: Duration,
}

pub(super) struct Check {
    pub(super) verdicts: BTreeMap<String, usize>,
    pub(super) wrong: usize,
    pub(super) memory_held_by_dead: Option<u64>,
    pub(super) exit_code: i32,
    pub(super) elapsed: Duration,
}

impl Check {
    pub(super) fn count(&self, verdict: &str) -> usize {
        self.verdicts.get(verdict).copied().unwrap_or(0)
    }
}

pub(super) struct Reap {
    pub(super) destroyed: usize,
    pub(super) wrong: usize,
    pub(super) journaled: usize,
    pub(super) exit_code: i32,
    pub(super) elapsed: Duration,
}

impl<'a> Program<'a> {
    pub(super) fn new(options: &NightOptions, b: &Host, interrupt: &'a Interrupt) -> Self {
        let window = options.window;
        Self {
            path: options.program.clone(),
            netns: b.netns_name().to_owned(),
            window: if window.subsec_millis() == 0 {
                format!("{}s", window.as_secs())
            } else {
                format!("{}ms", window.as_millis())
            },
            interrupt,
        }
    }

    /// A command as a person would type it, B's namespace shortened.
    pub(super) fn shown(&self, command: &str) -> String {
        if command.starts_with("ls") {
            format!("tcpalive {command} --netns …-b")
        } else {
            let window = &self.window;
            format!(
                "tcpalive {command} --netns …-b '{}' --window {window}",
                filter()
            )
        }
    }

    pub(super) fn summary(&self) -> Result<Summary> {
        let output = self.run(&["ls", "--summary", "--netns", &self.netns])?;
        Ok(Summary {
            text: output.text,
            exit_code: output.exit_code,
        })
    }

    pub(super) fn list(&self, truth: &Truth, servers: &[u32]) -> Result<List> {
        let output = self.run(&["ls", "--netns", &self.netns, &filter(), "--json"])?;
        let connections = objects(&output.text, "connection")?;
        let is_server = |owner: &Value| {
            let pid = owner["pid"]
                .as_u64()
                .and_then(|pid| u32::try_from(pid).ok());
            pid.is_some_and(|pid| servers.contains(&pid))
        };
        let mut comparison = Comparison::default();
        for connection in &connections {
            comparison.meet(connection, |peer| truth.knows(peer));
        }
        Ok(List {
            listed: connections.len(),
            owned: connections
                .iter()
                .filter(|connection| {
                    let owners = connection["owners"].as_array();
                    owners.is_some_and(|owners| owners.iter().any(is_server))
                })
                .count(),
            keepalive_on: connections
                .iter()
                .filter(|connection| connection["keepalive"]["enabled"] != Value::Bool(false))
                .count(),
            wrong: comparison.wrong + truth.unmet(&comparison.met),
            exit_code: output.exit_code,
            elapsed: output.elapsed,
        })
    }

    pub(super) fn check(&self, truth: &Truth) -> Result<Check> {
        let output = self.run(&[
            "check",
            "--netns",
            &self.netns,
            &filter(),
            "--window",
            &self.window,
            "--json",
        ])?;
        let mut verdicts = BTreeMap::new();
        let mut comparison = Comparison::default();
        for object in objects(&output.text, "verdict")? {
            let verdict = object["verdict"].as_str().unwrap_or("none");
            *verdicts.entry(verdict.to_owned()).or_insert(0) += 1;
            comparison.meet(&object, |peer| match verdict {
                "dead" => truth.dead.contains(peer),
                "alive" => truth.alive.contains(peer),
                _ => false,
            });
        }
        let summary = objects(&output.text, "summary")?;
        Ok(Check {
            verdicts,
            wrong: comparison.wrong + truth.unmet(&comparison.met),
            memory_held_by_dead: summary
                .last()
                .and_then(|summary| summary["memory_bytes_held_by_dead"].as_u64()),
            exit_code: output.exit_code,
            elapsed: output.elapsed,
        })
    }

    pub(super) fn reap(&self, truth: &Truth) -> Result<Reap> {
        let directory =
            tempfile::tempdir().doing(|| "make a directory for the journal".to_owned())?;
        let journal = directory.path().join("journal.jsonl");
        let output = self.run(&[
            "reap",
            "--netns",
            &self.netns,
            &filter(),
            "--window",
            &self.window,
            "--yes",
            "--json",
            "--journal",
            &journal.to_string_lossy(),
        ])?;
        let mut comparison = Comparison::default();
        let mut destroyed = 0;
        for object in objects(&output.text, "reaped")? {
            if object["result"] == "destroyed" {
                destroyed += 1;
                comparison.meet(&object, |peer| truth.dead.contains(peer));
            }
        }
        let records = fs::read_to_string(&journal)
            .doing(|| format!("read the journal {}", journal.display()))?;
        let mut journaled = HashSet::new();
        for (number, line) in (1..).zip(records.lines()) {
            let record: Value = serde_json::from_str(line).map_err(|error| {
                LabError::Other(format!("line {number} of the journal is no JSON: {error}"))
            })?;
            journaled.extend(peer_of(&record));
        }
        Ok(Reap {
            destroyed,
            wrong: comparison.wrong,
            journaled: journaled.len(),
            exit_code: output.exit_code,
            elapsed: output.elapsed,
        })
    }

    /// Runs it to its end. On a terminal its progress bars are shown.
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let line = format!("{} {}", self.path.display(), arguments.join(" "));
        let show = std::io::stderr().is_terminal();
        let begin = Instant::now();
        let mut child = Command::new(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if show {
                Stdio::inherit()
            } else {
                Stdio::piped()
            })
            .spawn()
            .doing(|| format!("start `{line}`"))?;
        let stdout = child.stdout.take().map(reader);
        let stderr = child.stderr.take().map(reader);
        let status = loop {
            if let Some(status) = child.try_wait().doing(|| format!("wait for `{line}`"))? {
                break status;
            }
            let late = begin.elapsed() > PATIENCE;
            if late || self.interrupt.check().is_err() {
                let _ = child.kill();
                let _ = child.wait();
                self.interrupt.check()?;
                return Err(LabError::Other(format!(
                    "`{line}` did not end within {} s",
                    PATIENCE.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let elapsed = begin.elapsed();
        let text = stdout.map(finish).transpose()?.unwrap_or_default();
        let stderr = stderr.map(finish).transpose()?.unwrap_or_default();
        match status.code() {
            Some(exit_code @ (0 | 1)) => Ok(Output {
                text,
                exit_code,
                elapsed,
            }),
            _ => Err(LabError::Command {
                command: line,
                status: status.to_string(),
                stderr: stderr.trim().to_owned(),
            }),
        }
    }
}

fn filter() -> String {
    format!("local.port = {}", article::PORT)
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<std::io::Result<String>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}

fn finish(thread: JoinHandle<std::io::Result<String>>) -> Result<String> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .doing(|| "read what the program printed".to_owned())
}

/// The objects of a type among newline-delimited JSON.
fn objects(text: &str, kind: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let object: Value = serde_json::from_str(line).map_err(|error| {
            LabError::Other(format!(
                "line {number} of the output is no JSON: {error}: {line}"
            ))
        })?;
        if object["type"] == kind {
            found.push(object);
        }
    }
    Ok(found)
}

/// The remote address of an object about a connection of the server.
fn peer_of(object: &Value) -> Option<SocketAddr> {
    let local: SocketAddr = object["local"].as_str()?.parse().ok()?;
    let server = SocketAddr::from((article::B, article::PORT));
    let peer = object["remote"].as_str()?.parse().ok()?;
    (local == server).then_some(peer)
}

/// Counts what is said twice, of unknown connections, or contrary to the truth.
#[derive(Default)]
struct Comparison {
    met: HashSet<SocketAddr>,
    wrong: usize,
}

impl Comparison {
    fn meet(&mut self, object: &Value, is_true: impl Fn(&SocketAddr) -> bool) {
        match peer_of(object) {
            Some(peer) if is_true(&peer) && self.met.insert(peer) => {}
            Some(peer) => {
                self.met.insert(peer);
                self.wrong += 1;
            }
            None => self.wrong += 1,
        }
    }
}
