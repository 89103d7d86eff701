//! What labs left behind whose process was killed before it could clean up.
//!
//! All that a lab makes lives in its namespaces: cables, rules, routes. Their
//! names carry the pid and the start time of the process that made them, so
//! whether that process still lives can be told from the name alone, also
//! when its pid has been given to another.

use crate::command;
use crate::error::{Doing, Result};
use rustix::process::{Pid, Signal};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Where `ip netns` keeps its names.
pub(crate) const NETNS_DIRECTORY: &str = "/run/netns";

const PREFIX: &str = "tcpalive-";

/// A namespace of a lab whose process is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name, as `ip netns` knows it.
    pub netns: String,
    /// The process that made it and lives no longer.
    pub maker: u32,
    /// Processes that still run in it.
    pub processes: Vec<u32>,
}

impl Leftover {
    /// Kills its processes and removes it, with its cables and rules.
    ///
    /// # Errors
    /// When the namespace cannot be removed, for example for lack of root.
    pub fn remove(&self) -> Result<()> {
        remove_namespace(&self.netns)
    }
}

/// Lists the namespaces of labs whose process is no more. Needs no privilege,
/// but sees `processes` only as far as /proc lets the caller.
///
/// # Errors
/// When the directory of named namespaces cannot be read; that it does not
/// exist is no error.
pub fn leftovers() -> Result<Vec<Leftover>> {
    let entries = match fs::read_dir(NETNS_DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("list {NETNS_DIRECTORY}"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.doing(|| format!("list {NETNS_DIRECTORY}"))?;
        let netns = entry.file_name().to_string_lossy().into_owned();
        let Ok(name) = netns.parse::<Name>() else {
            continue;
        };
        if name.maker_lives() {
            continue;
        }
        let processes = match fs::metadata(entry.path()) {
            Ok(file) => processes_in(file.ino()),
            Err(_) => Vec::new(),
        };
        found.push(Leftover {
            netns,
            maker: name.pid,
            processes,
        });
    }
    found.sort_by(|a, b| a.netns.cmp(&b.netns));
    Ok(found)
}

/// Removes all that [`leftovers`] lists and returns it.
///
/// # Errors
/// As [`Leftover::remove`]; what comes after the failure stays.
pub fn clean() -> Result<Vec<Leftover>> {
    let found = leftovers()?;
    found.iter().try_for_each(Leftover::remove)?;
    Ok(found)
}

/// Kills what runs in a named namespace (never the caller), then removes it.
pub(crate) fn remove_namespace(netns: &str) -> Result<()> {
    if let Ok(file) = fs::metadata(Path::new(NETNS_DIRECTORY).join(netns)) {
        kill_processes_in(file.ino());
    }
    match command::ip(&format!("netns del {netns}")) {
        // Someone else's `clean` was quicker.
        Err(_) if !Path::new(NETNS_DIRECTORY).join(netns).exists() => Ok(()),
        result => result.map(drop),
    }
}

/// Kills the processes whose network namespace has this inode, save the
/// caller, and waits until they have let go of it (at most 2 s).
pub(crate) fn kill_processes_in(inode: u64) {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let processes = processes_in(inode);
        if processes.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in processes {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn processes_in(inode: u64) -> Vec<u32> {
    let own = std::process::id();
    let wanted = format!("net:[{inode}]");
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            fs::read_link(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|link| link.as_os_str().to_str() == Some(&wanted))
        })
        .collect()
}

/// The name of a lab's namespace, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The process that made it.
    pid: u32,
    /// When that process started, in ticks since boot (`/proc/PID/stat`, field 22).
    started: u64,
    number: u32,
    rest: String,
}

impl Name {
    pub(crate) fn own(number: u32, rest: &str) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: start_time(pid).unwrap_or(0),
            number,
            rest: rest.to_owned(),
        }
    }

    fn maker_lives(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            started,
            number,
            rest,
        } = self;
        write!(f, "{PREFIX}{pid}-{started}-{number}-{rest}")
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut parts = text.strip_prefix(PREFIX).ok_or(())?.splitn(4, '-');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (pid, started, count) = (
            number().ok_or(())?,
            number().ok_or(())?,
            number().ok_or(())?,
        );
        Ok(Self {
            pid: pid.try_into().map_err(drop)?,
            started,
            number: count.try_into().map_err(drop)?,
            rest: parts.next().ok_or(())?.to_owned(),
        })
    }
}

/// Field 22 of `/proc/PID/stat`; `None` when there is no such process, or
/// when only its zombie is left.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2, the name, is in parentheses and may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_survives_a_round_trip() {
        let name = Name::own(3, "night-b");
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn own_process_lives_and_one_with_another_start_time_does_not() {
        let mut name = Name::own(0, "x-y");
        assert!(name.maker_lives());
        name.started += 1;
        assert!(!name.maker_lives());
    }

    #[test]
    fn names_of_others_are_not_taken_for_a_lab() {
        for other in [
            "tcpalive",
            "tcpalive-",
            "tcpalive-prod",
            "tcpalive-1-2-web",
            "cni-1-2-3-4",
        ] {
            assert_eq!(other.parse::<Name>(), Err(()), "{other}");
        }
    }
}
