//! The command line as scripts meet it: the real program on the real kernel,
//! in network namespaces of its own. Needs root, and fails without.

mod backends;
mod doctor;
mod dump;
mod enable;
mod exit_codes;
mod lab_command;
mod ls;
mod ordinary_user;
mod plan;
mod report;
mod sim;
mod snippets;
mod sysctl;
mod undo;

use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Command, Output};
use tcpalive_lab::connections::{self, Options, Pair};
use tcpalive_lab::{Host, Lab};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpalive");

/// How the program ended, and what it said.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
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
    /// The objects, without the summary that must be the last.
    fn objects(&self) -> Vec<Value> {
        let mut objects: Vec<Value> = self
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        let last = objects
            .pop()
            .unwrap_or_else(|| panic!("no summary: {self:?}"));
        assert_eq!(last["type"], "summary", "{self:?}");
        assert!(objects.iter().all(|object| object["type"] != "summary"));
        objects
    }

    fn summary(&self) -> Value {
        let last = self.stdout.lines().last().expect("a summary");
        serde_json::from_str(last).expect("the summary is JSON")
    }
}

fn tcpalive(arguments: &[&str]) -> Ended {
    let output = Command::new(PROGRAM).args(arguments).output();
    output.expect("the program can be started").into()
}

/// `ls --json` in the host's namespace, which must work and find nothing odd.
fn list(host: &Host, arguments: &[&str]) -> Vec<Value> {
    let netns = ["ls", "--json", "--netns", host.netns_name()];
    let ended = tcpalive(&[&netns[..], arguments].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended.objects()
}

/// Two hosts with a cable: a is 10.9.1.1 and fd09:1::1, b ends in 2.
fn two_hosts(label: &str) -> (Lab, Host, Host) {
    let lab = Lab::new(label).expect("tests of the command line need root");
    let a = lab.host("a").unwrap();
    let b = lab.host("b").unwrap();
    lab.link(
        &a,
        "10.9.1.1/24 fd09:1::1/64",
        &b,
        "10.9.1.2/24 fd09:1::2/64",
    )
    .unwrap();
    (lab, a, b)
}

/// Connections from a to port 3333 of b.
fn connect(a: &Host, b: &Host, count: usize) -> Vec<Pair> {
    connections::open(a, b, "10.9.1.2:3333", count, &Options::default()).unwrap()
}

fn local(object: &Value) -> SocketAddr {
    object["local"].as_str().unwrap().parse().unwrap()
}

fn remote(object: &Value) -> SocketAddr {
    object["remote"].as_str().unwrap().parse().unwrap()
}

/// The peers of the listed connections, sorted.
fn peers(objects: &[Value]) -> Vec<SocketAddr> {
    let mut peers: Vec<SocketAddr> = objects.iter().map(remote).collect();
    peers.sort();
    peers
}
