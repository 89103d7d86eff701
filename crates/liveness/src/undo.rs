//! What was there before options were set, on disk before they are, and its
//! way back.
//!
//! An undo file has one JSON object per line: a head with the boot that
//! cookies hold for, then for each socket what it had of its own and what it
//! was about to be given (`null`: the namespace's sysctl). A `left` line takes
//! a socket back that was left alone. A socket is restored only if it has
//! exactly what it was given: whoever set other values since keeps them.
//!
//! A socket cannot be made to follow the sysctls again: Linux takes no 0 for
//! `TCP_KEEPIDLE` and its siblings. It gets, as its own, the values that the
//! sysctls have at the time of the undo, and that is said.

use crate::enable::{Left, Planned};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tcpalive_keepalive::{Count, Options, Seconds, UserTimeout};
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// An undo file that is being written.
#[derive(Debug)]
pub struct UndoFile {
    file: File,
    path: PathBuf,
    pending: Vec<u8>,
}

impl UndoFile {
    /// Makes the file, which must not be there, readable by its owner alone.
    ///
    /// # Errors
    /// When it is there or cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let boot = boot_id()?;
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        let mut new = Self {
            file,
            path: path.into(),
            pending: Vec::new(),
        };
        new.line(&Line::Undo {
            version: VERSION,
            boot,
            at: now(),
        });
        Ok(new)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a socket that is about to be changed.
    pub fn note(&mut self, planned: &Planned) {
        let connection = &planned.connection;
        self.line(&Line::Socket(Entry {
            netns: connection.netns,
            cookie: connection.cookie,
            local: connection.local,
            remote: connection.remote,
            before: Values::of(&planned.before),
            after: Values::of(&planned.after),
        }));
    }

    /// Notes that it was left alone after all.
    pub(crate) fn note_left(&mut self, planned: &Planned, result: &Result<(), Left>) {
        // What the kernel refused midway may be half done.
        if !matches!(result, Err(Left::Failed(..))) {
            self.line(&Line::Left {
                netns: planned.connection.netns,
                cookie: planned.connection.cookie,
            });
        }
    }

    fn line(&mut self, line: &Line) {
        // Writing JSON into memory does not fail.
        let _ = serde_json::to_writer(&mut self.pending, line);
        self.pending.push(b'\n');
    }

    /// Writes what was noted, and returns when the disk has it.
    ///
    /// # Errors
    /// When it cannot be written or synced.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        self.file.sync_data()?;
        // The name in its folder, too.
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Undo { version: u32, boot: String, at: f64 },
    Socket(Entry),
    Left { netns: u64, cookie: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    enabled: bool,
    idle_s: Option<u32>,
    interval_s: Option<u32>,
    count: Option<u32>,
    user_timeout_ms: u32,
}

impl Values {
    fn of(options: &Options) -> Self {
        let seconds = |own: Option<Seconds>| own.map(|own| u32::from(own.get()));
        Self {
            enabled: options.enabled,
            idle_s: seconds(options.idle),
            interval_s: seconds(options.interval),
            count: options.count.map(|own| u32::from(own.get())),
            user_timeout_ms: options.user_timeout.as_millis(),
        }
    }

    fn options(&self) -> Result<Options, String> {
        fn valid<N, T>(
            name: &str,
            number: Option<u32>,
            new: impl Fn(u32) -> Option<T>,
            range: N,
        ) -> Result<Option<T>, String>
        where
            N: std::fmt::Display,
        {
            number
                .map(|n| new(n).ok_or_else(|| format!("{name} is {n}, expected {range}")))
                .transpose()
        }
        let seconds = "1 to 32767, or null for the sysctl";
        Ok(Options {
            enabled: self.enabled,
            idle: valid("idle_s", self.idle_s, Seconds::new, seconds)?,
            interval: valid("interval_s", self.interval_s, Seconds::new, seconds)?,
            count: valid(
                "count",
                self.count,
                Count::new,
                "1 to 127, or null for the sysctl",
            )?,
            user_timeout: valid(
                "user_timeout_ms",
                Some(self.user_timeout_ms),
                |ms| UserTimeout::from_millis(u64::from(ms)),
                "0 to 2147483647",
            )?
            .unwrap_or_default(),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    netns: u64,
    cookie: u64,
    local: SocketAddr,
    remote: SocketAddr,
    before: Values,
    after: Values,
}

/// A socket that was changed, as an undo file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Inode of its network namespace.
    pub netns: u64,
    /// Which socket.
    pub cookie: u64,
    /// Its addresses, for people.
    pub local: SocketAddr,
    /// See [`Noted::local`].
    pub remote: SocketAddr,
    /// What it had of its own.
    pub before: Options,
    /// What it was given.
    pub after: Options,
}

/// Why an undo file cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// It cannot be read.
    #[error("reading the undo file {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// It is not one.
    #[error("{path}, line {line}: {what}; nothing was changed")]
    Line {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it, and what was expected.
        what: String,
    },
    /// Its sockets went with another boot.
    #[error(
        "{path} is of another boot of this host, or of another host: its connections are gone; nothing was changed"
    )]
    OtherBoot {
        /// The file.
        path: String,
    },
}

/// Reads an undo file: the sockets that were changed, each once.
///
/// # Errors
/// When it cannot be read, is none, or is of another boot.
pub fn read(path: &Path) -> Result<Vec<Noted>, UndoError> {
    let shown = || path.display().to_string();
    let reading = |source| UndoError::Read {
        path: shown(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(reading)?;
    let boot = boot_id().map_err(reading)?;
    parse(&text, &boot).map_err(|bad| match bad {
        Bad::Line(line, what) => UndoError::Line {
            path: shown(),
            line,
            what,
        },
        Bad::Boot => UndoError::OtherBoot { path: shown() },
    })
}

#[derive(Debug, PartialEq)]
enum Bad {
    Line(usize, String),
    Boot,
}

fn parse(text: &str, this_boot: &str) -> Result<Vec<Noted>, Bad> {
    const HEAD: &str = "expected {\"type\":\"undo\",…}, the head that `enable --undo-file` writes";
    let mut order = Vec::new();
    let mut noted: HashMap<(u64, u64), Noted> = HashMap::new();
    let mut has_head = false;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let bad = |what: String| Bad::Line(number, what);
        let parsed: Line = match serde_json::from_str(line.trim_end()) {
            Ok(parsed) => parsed,
            // All sockets are on disk before the first is changed: what was
            // being written when the writer was killed is not needed.
            Err(_) if has_head && !line.ends_with('\n') => break,
            Err(_) if !has_head => return Err(bad(HEAD.into())),
            Err(error) => {
                // serde_json counts lines within what it was given.
                let text = error.to_string();
                let what = text.split(" at line ").next().unwrap_or_default();
                return Err(bad(match error.column() {
                    0 => what.to_owned(),
                    column => format!("column {column}: {what}"),
                }));
            }
        };
        match parsed {
            Line::Undo { version, boot, .. } => {
                if version != VERSION {
                    return Err(bad(format!(
                        "version {version}, expected {VERSION}: use the tcpalive that wrote it"
                    )));
                }
                if boot != this_boot {
                    return Err(Bad::Boot);
                }
                has_head = true;
            }
            _ if !has_head => return Err(bad(HEAD.into())),
            Line::Socket(entry) => {
                let key = (entry.netns, entry.cookie);
                order.push(key);
                noted.insert(
                    key,
                    Noted {
                        netns: entry.netns,
                        cookie: entry.cookie,
                        local: entry.local,
                        remote: entry.remote,
                        before: entry.before.options().map_err(bad)?,
                        after: entry.after.options().map_err(bad)?,
                    },
                );
            }
            Line::Left { netns, cookie } => {
                noted.remove(&(netns, cookie));
            }
        }
    }
    if !has_head {
        return Err(Bad::Line(1, HEAD.into()));
    }
    Ok(order
        .into_iter()
        .filter_map(|key| noted.remove(&key))
        .collect())
}

/// What an undo has to do with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayBack {
    /// Give it these, which are what it had; with values in place of the
    /// sysctls that it can no longer follow.
    Restore(Options),
    /// It has what it had.
    Already,
    /// Somebody gave it other values since.
    Changed,
}

impl Noted {
    /// What there is to do with the socket that has these options now, in a
    /// namespace with these sysctls.
    #[must_use]
    pub fn way_back(&self, now: &Options, sysctls: &KeepaliveSysctls) -> WayBack {
        let target = self.target(sysctls);
        if *now == self.before || *now == target {
            WayBack::Already
        } else if *now == self.after {
            WayBack::Restore(target)
        } else {
            WayBack::Changed
        }
    }

    /// Which of its values followed the sysctls and do so no longer.
    #[must_use]
    pub fn no_longer_follows(&self) -> Vec<&'static str> {
        let (before, after) = (&self.before, &self.after);
        let lost = [
            ("idle", before.idle.is_none() && after.idle.is_some()),
            (
                "interval",
                before.interval.is_none() && after.interval.is_some(),
            ),
            ("count", before.count.is_none() && after.count.is_some()),
        ];
        lost.into_iter()
            .filter_map(|(name, lost)| lost.then_some(name))
            .collect()
    }

    /// What it had; where it followed a sysctl and was given a value, the
    /// sysctl's, or the highest that a socket takes. A sysctl below 1 is not
    /// followed down to 1, which would end connections for one lost answer:
    /// the socket keeps what it was given.
    fn target(&self, sysctls: &KeepaliveSysctls) -> Options {
        let (before, after) = (&self.before, &self.after);
        let present = |sysctl: i64, highest: u32| {
            (sysctl > 0).then(|| u32::try_from(sysctl).unwrap_or(highest).min(highest))
        };
        let seconds = |given: Seconds, sysctl| {
            present(sysctl, 32_767)
                .and_then(Seconds::new)
                .unwrap_or(given)
        };
        let count =
            |given: Count, sysctl| present(sysctl, 127).and_then(Count::new).unwrap_or(given);
        Options {
            enabled: before.enabled,
            idle: before
                .idle
                .or_else(|| after.idle.map(|it| seconds(it, sysctls.time_s))),
            interval: before
                .interval
                .or_else(|| after.interval.map(|it| seconds(it, sysctls.interval_s))),
            count: before
                .count
                .or_else(|| after.count.map(|it| count(it, sysctls.probes))),
            user_timeout: before.user_timeout,
        }
    }
}

/// Which boot this is: cookies are counted from each anew.
fn boot_id() -> io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

/// Seconds since 1970, UTC.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_keepalive::Params;

    fn values(text: &str, enabled: bool) -> Options {
        let params: Params = text.parse().unwrap();
        Options {
            enabled,
            ..params.into()
        }
    }

    fn noted(before: Options, after: Options) -> Noted {
        Noted {
            netns: 1,
            cookie: 1,
            local: "10.9.1.1:1".parse().unwrap(),
            remote: "10.9.1.2:2".parse().unwrap(),
            before,
            after,
        }
    }

    #[test]
    fn own_values_come_back_whatever_the_sysctls_are() {
        let (before, after) = (values("100/20/3/1s", false), values("60/10/5", true));
        let noted = noted(before, after);
        let sysctls = KeepaliveSysctls::LINUX;
        assert_eq!(noted.way_back(&after, &sysctls), WayBack::Restore(before));
        assert_eq!(noted.way_back(&before, &sysctls), WayBack::Already);
        let later = values("61/10/5", true);
        assert_eq!(noted.way_back(&later, &sysctls), WayBack::Changed);
        assert!(noted.no_longer_follows().is_empty());
    }

    #[test]
    fn what_followed_a_sysctl_gets_its_value_unless_that_is_none_for_a_socket() {
        let after = values("60/10/5", true);
        let noted = noted(Options::default(), after);
        for (sysctls, expected) in [
            ([7200, 75, 9], "7200/75/9"),
            ([i64::MAX, 0, 255], "32767/10/127"),
            ([40_000, 32_767, 0], "32767/32767/5"),
            ([-1, 0, 0], "60/10/5"),
        ] {
            let [time_s, interval_s, probes] = sysctls;
            let sysctls = KeepaliveSysctls {
                time_s,
                interval_s,
                probes,
            };
            let target = values(expected, false);
            assert_eq!(noted.way_back(&after, &sysctls), WayBack::Restore(target));
            assert_eq!(noted.way_back(&target, &sysctls), WayBack::Already);
        }
        assert_eq!(noted.no_longer_follows(), ["idle", "interval", "count"]);
    }

    #[test]
    fn what_was_not_set_goes_on_following() {
        let noted = noted(Options::default(), Options::ON);
        let sysctls = KeepaliveSysctls::LINUX;
        let way = noted.way_back(&Options::ON, &sysctls);
        assert_eq!(way, WayBack::Restore(Options::default()));
        assert!(noted.no_longer_follows().is_empty());
    }
}
