//! What passes a host's interface, recorded by tcpdump.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Child, Stdio};
use std::time::Duration;
use tcpalive_lab::Host;

/// A recording under way.
pub(crate) struct Capture {
    child: Child,
    file: File,
}

/// A packet from its IP header on, and when it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) at: Duration,
    pub(crate) bytes: Vec<u8>,
}

impl Capture {
    /// Records what `filter` says on eth0.
    pub(crate) fn start(host: &Host, filter: &str) -> Self {
        let file = tempfile::tempfile().unwrap();
        let mut child = host
            .command("tcpdump")
            .args([
                "-i",
                "eth0",
                "-Z",
                "root",
                "--immediate-mode",
                "-U",
                // Short packets leave room for many: the queue is cut into
                // pieces of this length.
                "-s",
                "128",
                "-B",
                "8192",
                "-w",
                "-",
                filter,
            ])
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need tcpdump");
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "tcpdump ended");
        }
        // It says a few lines more when it ends.
        child.stderr = Some(said.into_inner());
        Self { child, file }
    }

    /// Ends the recording.
    pub(crate) fn packets(mut self) -> Vec<Packet> {
        let mut written = u64::MAX;
        while written != self.file.metadata().unwrap().len() {
            written = self.file.metadata().unwrap().len();
            std::thread::sleep(Duration::from_millis(300));
        }
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap();
        let mut bytes = Vec::new();
        self.file.rewind().unwrap();
        self.file.read_to_end(&mut bytes).unwrap();
        parse(&bytes)
    }
}

/// The classic pcap format in this machine's byte order, Ethernet frames.
fn parse(file: &[u8]) -> Vec<Packet> {
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    const ETHERNET_HEADER: usize = 14;
    let number = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((number(0), number(20)), (0xa1b2_c3d4, 1));
    let mut packets = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let (seconds, micros, length) = (number(at), number(at + 4), number(at + 8) as usize);
        let frame = &file[at + RECORD_HEADER..at + RECORD_HEADER + length];
        packets.push(Packet {
            at: Duration::from_secs(u64::from(seconds)) + Duration::from_micros(u64::from(micros)),
            bytes: frame[ETHERNET_HEADER..].to_vec(),
        });
        at += RECORD_HEADER + length;
    }
    packets
}
