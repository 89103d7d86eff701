//! The child processes of the night and of a crowd as their parent sees them.

use super::Interrupt;
use crate::error::{Doing, LabError, Result};
use crate::host::Host;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// Longer than any answer takes: 20,000 connections take 3 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server or a number of clients. It ends when it is dropped; and since it
/// ends when its stdin does, it does not outlive a parent that is killed.
#[derive(Debug)]
pub(crate) struct Process {
    what: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(host: &Host, worker: &[OsString], arguments: &[String]) -> Result<Self> {
        let what = format!("{} at {}", arguments.join(" "), host.name());
        let (program, first) = worker
            .split_first()
            .ok_or_else(|| LabError::Other("no program for the lab's workers".to_owned()))?;
        let mut child = host
            .command(program)
            .args(first)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| format!("start {what}"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) =
            pipes.ok_or_else(|| LabError::Other(format!("{what} has no pipes")))?;
        Ok(Self {
            what,
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks for a report and reads it.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, interrupt: &Interrupt) -> Result<T> {
        self.tell("report")?;
        self.answer(interrupt)
    }

    /// Writes one line to its stdin.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}")
            .and_then(|()| self.stdin.flush())
            .doing(|| format!("ask {}", self.what))
    }

    /// Reads one line of JSON.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self, interrupt: &Interrupt) -> Result<T> {
        self.answer_after(Duration::ZERO, interrupt)
    }

    /// Reads one line of JSON that is not to be expected for some time.
    pub(crate) fn answer_after<T: DeserializeOwned>(
        &mut self,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<T> {
        let patience = time + PATIENCE;
        let deadline = Instant::now() + patience;
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        loop {
            interrupt.check()?;
            let mut ready = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
            match poll(&mut ready, Some(&moment)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(error) => return Err(error).doing(|| format!("wait for {}", self.what)),
            }
            if Instant::now() > deadline {
                return Err(LabError::Other(format!(
                    "{} did not answer within {} s",
                    self.what,
                    patience.as_secs()
                )));
            }
        }
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line);
        if length.doing(|| format!("read from {}", self.what))? == 0 {
            let status = self
                .child
                .wait()
                .doing(|| format!("wait for {}", self.what))?;
            return Err(LabError::Other(format!(
                "{} ended early ({status}); what it said is on stderr",
                self.what
            )));
        }
        serde_json::from_str(&line).map_err(|error| {
            LabError::Other(format!("{} answered something else: {error}", self.what))
        })
    }

    /// Ends it without waiting until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// How many descriptors it has open.
    pub(super) fn descriptors(&self) -> Result<usize> {
        let directory = format!("/proc/{}/fd", self.pid());
        let entries = fs::read_dir(&directory).doing(|| format!("list {directory}"))?;
        Ok(entries.count())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of the kernel's slabs for TCP sockets and their inodes and files,
/// of the whole machine, as /proc/slabinfo counts them; `None` where it may
/// not be read. Objects that were just freed may be counted for a moment.
pub(super) fn tcp_memory() -> Option<u64> {
    let slabs = fs::read_to_string("/proc/slabinfo").ok()?;
    let bytes = slabs.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        if !["TCP", "sock_inode_cache", "filp"].contains(&name) {
            return None;
        }
        let active: u64 = words.next()?.parse().ok()?;
        let size: u64 = words.nth(1)?.parse().ok()?;
        Some(active * size)
    });
    Some(bytes.sum())
}
