//! `tcpalive nc` beside Debian's netcat-openbsd, on the real kernel: the same
//! input, the same output, the same exit code. Needs root, and fails without.

mod copying;
mod ends;
mod opening;
mod silence;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tcpalive_lab::{Host, Lab};

/// Nothing here takes so long, unless it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(120);

/// Whose netcat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Debians,
}

const BOTH: [Whose; 2] = [Whose::Debians, Whose::Ours];

/// What it gets on standard input.
enum Input<'a> {
    /// These bytes, and then the end.
    Bytes(&'a [u8]),
    /// A pipe that the test holds.
    Open,
}

/// A netcat at work.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    writer: Option<JoinHandle<()>>,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Whose {
    fn command(self, host: &Host) -> Command {
        match self {
            Self::Ours => {
                let mut command = host.command(env!("CARGO_BIN_EXE_tcpalive"));
                command.arg("nc");
                command
            }
            Self::Debians => host.command("nc.openbsd"),
        }
    }

    /// Starts it with arguments separated by white space.
    fn start(self, host: &Host, arguments: &str, input: Input<'_>) -> Running {
        let mut command = self.command(host);
        command.args(arguments.split_whitespace());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("netcat-openbsd is installed");
        let mut stdin = child.stdin.take();
        let writer = match input {
            Input::Open => None,
            Input::Bytes(bytes) => {
                let (mut stdin, bytes) = (stdin.take().unwrap(), bytes.to_vec());
                // Who has seen enough closes it.
                Some(thread::spawn(move || drop(stdin.write_all(&bytes))))
            }
        };
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Running {
            child,
            stdin,
            writer,
            stdout: thread::spawn(move || all(stdout)),
            stderr: thread::spawn(move || all(stderr)),
        }
    }

    /// Starts one that listens, and waits until it does.
    fn listen(self, host: &Host, port: u16, arguments: &str, input: Input<'_>) -> Running {
        let mut running = self.start(host, arguments, input);
        wait_for(|| {
            assert!(
                running.child.try_wait().unwrap().is_none(),
                "{self:?} ended before it listened on {port}: {arguments}"
            );
            is_listening(host, port)
        });
        running
    }

    /// Runs it to its end.
    fn run(self, host: &Host, arguments: &str, input: &[u8]) -> Ended {
        self.start(host, arguments, Input::Bytes(input)).end()
    }
}

impl Running {
    /// Waits for its end.
    fn end(mut self) -> Ended {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > FAR_TOO_LONG {
                self.child.kill().unwrap();
                panic!("it does not end; stderr: {}", text(self.stderr));
            }
            thread::sleep(Duration::from_millis(2));
        };
        drop(self.stdin);
        if let Some(writer) = self.writer {
            writer.join().unwrap();
        }
        Ended {
            code: status.code().expect("it is not killed"),
            stdout: self.stdout.join().unwrap(),
            stderr: text(self.stderr),
        }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends one that would run for ever.
    fn kill(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stdout.join().unwrap()
    }
}

fn all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8(reader.join().unwrap()).expect("messages are UTF-8")
}

/// Waits for what must come.
fn wait_for(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < FAR_TOO_LONG, "it does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_listening(host: &Host, port: u16) -> bool {
    host.run(|| {
        ["tcp", "tcp6"].into_iter().any(|table| {
            let table = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
            table.lines().skip(1).any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let local = words.next().unwrap();
                let state = words.nth(1).unwrap();
                state == "0A" && local.ends_with(&format!(":{port:04X}"))
            })
        })
    })
}

/// Two hosts and a cable: a has 10.9.1.1 and fd09:1::1, b .2 and ::2.
fn two_hosts(label: &str) -> (Lab, Host, Host) {
    let lab = Lab::new(label).unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(
        &a,
        "10.9.1.1/24 fd09:1::1/64",
        &b,
        "10.9.1.2/24 fd09:1::2/64",
    )
    .unwrap();
    (lab, a, b)
}

/// Bytes that no compression and no repetition makes look right (splitmix64).
fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
