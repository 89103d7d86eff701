//! Programs in processes of their own, in Python: what they do to their
//! sockets shows in their text.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use tcpalive_lab::Host;

/// What every program begins with.
const PRELUDE: &str = "
import errno, os, socket, struct, sys, time
def say(*words): print(*words, flush=True)
def hear(): return sys.stdin.readline().strip()
def error_of(s):
    try:
        got = s.recv(1)
        return 'data' if got else 'end'
    except OSError as e:
        return errno.errorcode[e.errno]
";

/// A running program. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts a program in a host and waits until it says `ready`.
    pub(crate) fn start(host: &Host, text: &str) -> Self {
        let mut child = host
            .command("python3")
            .args(["-c", &format!("{PRELUDE}{text}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut program = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        assert_eq!(program.hear(), "ready");
        program
    }

    /// The next line that the program says.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Gives the program a line to read.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
