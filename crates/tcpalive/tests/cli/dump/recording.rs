//! Captures that are made once for all tests, and programs that run beside
//! a test.

use super::super::{Ended, PROGRAM, connect, two_hosts};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{SockRef, TcpKeepalive};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;
use tcpalive_lab::connections::{self, Options};
use tcpalive_lab::faults;

/// What two hosts said to each other, recorded in two ways.
pub(super) struct Recorded {
    /// By tcpdump, on one interface.
    pub(super) ethernet: PathBuf,
    /// By us, on all interfaces.
    pub(super) any: PathBuf,
    _folder: tempfile::TempDir,
}

/// The recording. Over IPv4, port 3333: handshake, data, answered probes,
/// three unanswered ones, reset. Port 4444: a lost segment, so SACK. Over
/// IPv6: data and a reset.
pub(super) fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(record)
}

fn record() -> Recorded {
    let (_lab, a, b) = two_hosts("dump");
    let folder = tempfile::tempdir().unwrap();
    let ethernet = folder.path().join("ethernet.pcap");
    let any = folder.path().join("any.pcap");
    let tcpdump = Background::start(
        a.command("tcpdump")
            .args(["-i", "eth0", "-Z", "root", "--immediate-mode", "-U", "-w"])
            .arg(&ethernet)
            .arg("tcp"),
    );
    let dump = Background::start(
        Command::new(PROGRAM)
            .args(["dump", "--netns", a.netns_name(), "-U", "-w"])
            .arg(&any),
    );
    // Tells what has happened.
    let mut watch =
        Background::start(Command::new(PROGRAM).args(["dump", "--netns", a.netns_name()]));

    let mut pair = connect(&a, &b, 1).pop().unwrap();
    pair.client.write_all(b"hello").unwrap();
    pair.server.read_exact(&mut [0; 5]).unwrap();
    SockRef::from(&pair.client)
        .set_tcp_keepalive(&keepalive(3))
        .unwrap();
    watch.line_with("answer, ");
    watch.line_with("answer, ");
    let cut = faults::cut(&b, "10.9.1.1").unwrap();
    let error = pair.client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    watch.line_with("reset after 3");
    cut.undo().unwrap();

    let mut pairs = connections::open(&a, &b, "10.9.1.2:4444", 1, &Options::default()).unwrap();
    let mut pair = pairs.pop().unwrap();
    SockRef::from(&pair.client).set_tcp_nodelay(true).unwrap();
    // The segment of 100 bytes is lost, and nothing else.
    let lose = "table inet lose { chain input { type filter hook input priority 0; \
        tcp dport 4444 meta length 152 drop; }; }";
    b.nft(lose).unwrap();
    pair.client.write_all(&[1; 100]).unwrap();
    for _ in 0..4 {
        pair.client.write_all(&[2; 200]).unwrap();
    }
    watch.line_with("sack 1 {");
    b.nft("delete table inet lose").unwrap();
    pair.server.read_exact(&mut [0; 900]).unwrap();

    let reset = Options {
        reset_on_close: true,
        ..Options::default()
    };
    let mut pairs = connections::open(&a, &b, "[fd09:1::2]:3333", 1, &reset).unwrap();
    let mut pair = pairs.pop().unwrap();
    pair.client.write_all(b"over IPv6").unwrap();
    pair.server.read_exact(&mut [0; 9]).unwrap();
    drop(pair.client);
    watch.line_with("Flags [R.]");

    for recording in [tcpdump, dump, watch] {
        let ended = recording.interrupt();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    Recorded {
        ethernet,
        any,
        _folder: folder,
    }
}

/// Idle 1 s, interval 1 s.
pub(super) fn keepalive(count: u32) -> TcpKeepalive {
    let second = Duration::from_secs(1);
    TcpKeepalive::new()
        .with_time(second)
        .with_interval(second)
        .with_retries(count)
}

/// A program that captures beside the test.
pub(super) struct Background {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
    shown: String,
    said: JoinHandle<String>,
}

impl Background {
    /// Starts it, and waits until it listens.
    pub(super) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need tcpdump");
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
        let said = std::thread::spawn(move || {
            stderr.read_to_string(&mut said).unwrap();
            said
        });
        Self {
            lines: child.stdout.take().map(BufReader::new),
            child,
            shown: String::new(),
            said,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn close_stdout(&mut self) {
        self.lines = None;
    }

    /// The next line with this in it, however long it takes.
    pub(super) fn line_with(&mut self, part: &str) -> String {
        loop {
            let start = self.shown.len();
            let lines = self.lines.as_mut().unwrap();
            let length = lines.read_line(&mut self.shown).unwrap();
            assert_ne!(length, 0, "it ended before '{part}':\n{}", self.shown);
            if self.shown[start..].contains(part) {
                return self.shown[start..].to_owned();
            }
        }
    }

    /// As Ctrl-C does.
    pub(super) fn interrupt(self) -> Ended {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(super) fn wait(mut self) -> Ended {
        if let Some(mut lines) = self.lines.take() {
            lines.read_to_string(&mut self.shown).unwrap();
        }
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code().expect("it is not killed"),
            stdout: self.shown,
            stderr: self.said.join().unwrap(),
        }
    }
}
