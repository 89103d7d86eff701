//! How much is measured, and how commands are run and timed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tcpalive_lab::{Host, LabError};

/// Between two looks at the memory of a process that runs.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// How much is measured.
pub(crate) struct Bench {
    pub(crate) runs: usize,
    scale: f64,
    stop: Stop,
    begin: Instant,
}

impl Bench {
    pub(crate) fn new(runs: usize, scale: f64, stop: Stop) -> Self {
        Self {
            runs,
            scale,
            stop,
            begin: Instant::now(),
        }
    }

    /// Whether nothing was scaled down.
    pub(crate) fn is_whole(&self) -> bool {
        self.scale >= 1.0 && self.runs >= 3
    }

    pub(crate) fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.scale) as usize).max(10)
    }

    /// An error once someone asked for an end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.stop.check()
    }

    /// The command that makes this program a worker of the lab.
    pub(crate) fn worker(&self, kind: &str) -> Result<Vec<OsString>, Failure> {
        let own = std::env::current_exe()?;
        Ok(vec![own.into(), "worker".into(), kind.into()])
    }

    /// Tells people what is going on.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("{:6.1} s  {text}", self.begin.elapsed().as_secs_f64());
    }

    /// Runs the contenders in turns, A B A B, so that whatever else the
    /// machine does falls on all of them.
    pub(crate) fn compare(&self, contenders: &[Contender<'_>]) -> Result<Vec<Series>, Failure> {
        let mut series: Vec<Series> = contenders
            .iter()
            .map(|contender| Series::new(contender.label, &contender.shown))
            .collect();
        let rounds = contenders.iter().map(|contender| contender.runs).max();
        for round in 0..rounds.unwrap_or(0) {
            for (contender, series) in contenders.iter().zip(&mut series) {
                if round < contender.runs {
                    let run = self.run(&mut (contender.command)(), Output::Discarded)?;
                    self.say(&format!("{}: {:.3} s", contender.label, run.elapsed_s));
                    series.runs.push(run);
                }
            }
        }
        Ok(series)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &mut Command, output: Output) -> Result<Run, Failure> {
        self.stop.check()?;
        let cpu_before = cpu_of_children();
        let begin = Instant::now();
        command.stdin(Stdio::null()).stdout(match output {
            Output::Discarded => Stdio::null(),
            Output::Read => Stdio::piped(),
        });
        let mut child = command
            .spawn()
            .map_err(|error| Failure::Other(format!("start {command:?}: {error}")))?;
        let reader = child
            .stdout
            .take()
            .map(|stdout| std::thread::spawn(move || Heard::read(stdout, begin)));
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let mut peak_kib = 0;
        loop {
            match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(error) => return Err(error.into()),
            }
            peak_kib = peak_memory_kib(child.id()).unwrap_or(peak_kib);
            if let Err(interrupted) = self.stop.check() {
                let _ = child.kill();
                let _ = child.wait();
                return Err(interrupted);
            }
        }
        let elapsed = begin.elapsed();
        let status = child.wait()?;
        let heard = match reader {
            Some(reader) => reader
                .join()
                .map_err(|_| Failure::Other("the reader of the output panicked".to_owned()))??,
            None => Heard::default(),
        };
        // A finding is no failure.
        if !matches!(status.code(), Some(0 | 1)) {
            return Err(failed(command, status));
        }
        Ok(Run {
            elapsed_s: elapsed.as_secs_f64(),
            cpu_s: (cpu_of_children() - cpu_before) as f64 / TICKS_PER_SECOND,
            peak_mib: peak_kib as f64 / 1024.0,
            heard,
        })
    }
}

fn failed(command: &Command, status: ExitStatus) -> Failure {
    Failure::Other(format!("{command:?} failed ({status})"))
}

/// What becomes of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// It goes to /dev/null.
    Discarded,
    /// It goes into a pipe that is read.
    Read,
}

/// A command that is measured beside others.
pub(crate) struct Contender<'a> {
    pub(crate) label: &'static str,
    /// As a person would type it.
    pub(crate) shown: String,
    pub(crate) runs: usize,
    pub(crate) command: Box<dyn Fn() -> Command + 'a>,
}

/// The program, built as it is released, with arguments separated by blanks.
pub(crate) fn tcpalive(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpalive"));
    command.args(arguments.split_whitespace());
    command
}

/// The program's `arguments` for the sockets of a host.
pub(crate) fn contender<'a>(
    label: &'static str,
    runs: usize,
    host: &'a Host,
    arguments: &'static str,
    filter: Option<&'static str>,
) -> Contender<'a> {
    let quoted = filter.map_or(String::new(), |filter| format!(" '{filter}'"));
    Contender {
        label,
        shown: format!("tcpalive {arguments} --netns NAME{quoted} > /dev/null"),
        runs,
        command: Box::new(move || {
            let mut command = tcpalive(arguments);
            command.arg("--netns").arg(host.netns_name()).args(filter);
            command
        }),
    }
}

/// `ss` with its options, in a host.
pub(crate) fn ss<'a>(
    label: &'static str,
    runs: usize,
    host: &'a Host,
    options: &'static str,
) -> Contender<'a> {
    Contender {
        label,
        shown: format!("ip netns exec NAME ss {options} > /dev/null"),
        runs,
        command: Box::new(move || {
            let mut command = host.command("ss");
            command.args(options.split_whitespace());
            command
        }),
    }
}

/// One run of a command.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) elapsed_s: f64,
    /// Of its user and system time, to a hundredth of a second.
    pub(crate) cpu_s: f64,
    /// Resident at most, looked at every 5 ms.
    pub(crate) peak_mib: f64,
    pub(crate) heard: Heard,
}

/// What came out of a pipe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) lines: usize,
    pub(crate) last_line: String,
    /// From the start to the last bytes.
    pub(crate) last_at_s: f64,
}

impl Heard {
    fn read(mut stdout: ChildStdout, begin: Instant) -> io::Result<Self> {
        let mut buffer = vec![0; 256 << 10];
        let mut last = Vec::new();
        let mut lines = 0;
        let mut last_at = Duration::ZERO;
        loop {
            let length = match stdout.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            last_at = begin.elapsed();
            let bytes = &buffer[..length];
            lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            // The line that the last line break ends.
            let from = bytes[..length - 1].iter().rposition(|byte| *byte == b'\n');
            if let Some(from) = from {
                last.clear();
                last.extend_from_slice(&bytes[from + 1..]);
            } else if last.ends_with(b"\n") {
                last = bytes.to_vec();
            } else {
                last.extend_from_slice(bytes);
            }
        }
        Ok(Self {
            lines,
            last_line: String::from_utf8_lossy(&last).trim_end().to_owned(),
            last_at_s: last_at.as_secs_f64(),
        })
    }

    /// A number of the summary object.
    pub(crate) fn summary(&self, field: &str) -> Option<u64> {
        let summary: serde_json::Value = serde_json::from_str(&self.last_line).ok()?;
        summary.get(field)?.as_u64()
    }
}

/// The runs of one contender.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) shown: String,
    pub(crate) runs: Vec<Run>,
}

impl Series {
    pub(crate) fn new(label: &str, shown: &str) -> Self {
        Self {
            label: label.to_owned(),
            shown: shown.to_owned(),
            runs: Vec::new(),
        }
    }

    pub(crate) fn elapsed(&self) -> Spread {
        self.spread(|run| run.elapsed_s)
    }

    pub(crate) fn spread(&self, value: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(value).collect())
    }
}

/// What several runs gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// # Panics
    /// When there was no run.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
        }
    }

    /// Such as `0.412 s (0.400–0.431)`.
    pub(crate) fn seconds(&self) -> String {
        let digits = if self.median < 10.0 { 3 } else { 1 };
        let Self { median, min, max } = self;
        format!("{median:.digits$} s ({min:.digits$}–{max:.digits$})")
    }
}

/// `getconf CLK_TCK`: what /proc counts in, everywhere that Linux runs today.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of the children that were waited for, in ticks:
/// fields 16 and 17 of `/proc/self/stat`.
fn cpu_of_children() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(13).take(2);
    times.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// `VmHWM`: it only ever grows. `None` once the process has ended.
fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Whether someone asked for an end.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn on_signals() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) {
            Err(LabError::Interrupted.into())
        } else {
            Ok(())
        }
    }
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("{0}")]
    Other(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Kernel(#[from] tcpalive_kernel::Error),
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// What was found must be what there is: a fast wrong answer is no figure.
pub(crate) fn must(what: &str, found: u64, expected: usize) -> Result<(), Failure> {
    if usize::try_from(found) == Ok(expected) {
        Ok(())
    } else {
        Err(Failure::Other(format!(
            "{what}: {found} were found, but there are {expected}"
        )))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seconds())
    }
}
