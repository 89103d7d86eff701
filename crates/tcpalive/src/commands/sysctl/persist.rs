//! The file in /etc/sysctl.d that sets the sysctls again when the host boots.

use super::overrides::assignment;
use crate::render::units::Exact;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tcpalive_keepalive::Sysctl;
use tcpalive_kernel::sysctl::KeepaliveSysctls;
use thiserror::Error;

/// The file's name: after what distributions ship (50 and below), before what
/// administrators write last (99).
pub(super) const NAME: &str = "60-tcpalive-keepalive.conf";

/// Values to write; `None`: none is written. In the order of
/// [`KeepaliveSysctls::NAMES`].
pub(super) type Values = [Option<i64>; 3];

/// Why the file cannot be written.
#[derive(Debug, Error)]
pub(super) enum PersistError {
    /// The file there has lines that would be lost.
    #[error(
        "{path}, line {line}: expected a keep-alive sysctl and its number, such as {} = 600; the file is \
         written anew by --persist, so move this line to another file",
        key(KeepaliveSysctls::NAMES[0])
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The system refused.
    #[error("{doing} {path}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
}

/// The file, written under another name and synced: what can fail has not.
/// Dropped without [`Prepared::commit`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Prepared {
    temporary: PathBuf,
    path: PathBuf,
    /// What will be in it.
    values: Values,
    committed: bool,
}

impl Prepared {
    /// Writes `changes`, and what the file had of values that they leave
    /// alone, below a comment that says by which command and when.
    ///
    /// # Errors
    /// When the folder cannot be written to, or the file there has other
    /// lines than those that [`Prepared`] writes.
    pub(super) fn write(
        folder: &Path,
        changes: Values,
        command: &str,
        now: SystemTime,
    ) -> Result<Self, PersistError> {
        let path = folder.join(NAME);
        let mut values = present(&path)?;
        for (value, change) in values.iter_mut().zip(changes) {
            *value = change.or(*value);
        }
        // Without `.conf` at its end, nobody takes it for configuration.
        let temporary = folder.join(format!(".{NAME}.{}", std::process::id()));
        let prepared = Self {
            temporary,
            path,
            values,
            committed: false,
        };
        let text = text(values, command, now);
        prepared
            .write_temporary(text.as_bytes())
            .map_err(|source| PersistError::System {
                doing: "writing",
                path: prepared.temporary.clone(),
                source,
            })?;
        Ok(prepared)
    }

    fn write_temporary(&self, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&self.temporary)?;
        // Whatever the umask is: everybody may read sysctls.
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
        file.write_all(text)?;
        file.sync_all()
    }

    /// The file that will be there.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keys and values that will be in it.
    #[must_use]
    pub(super) fn settings(&self) -> Vec<(String, i64)> {
        settings(self.values)
    }

    /// Puts the file in its place, atomically.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(super) fn commit(mut self) -> Result<(), PersistError> {
        fs::rename(&self.temporary, &self.path).map_err(|source| PersistError::System {
            doing: "replacing",
            path: self.path.clone(),
            source,
        })?;
        self.committed = true;
        // The rename, too, should outlast a power cut. Where that is refused,
        // the file is in its place all the same.
        if let Some(folder) = self.path.parent() {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// What the file sets now; nothing when it is not there.
fn present(path: &Path) -> Result<Values, PersistError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok([None; 3]),
        Err(source) => {
            return Err(PersistError::System {
                doing: "reading",
                path: path.into(),
                source,
            });
        }
    };
    let mut values = [None; 3];
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let known = assignment(line).and_then(|(name, value)| {
            let at = KeepaliveSysctls::NAMES
                .iter()
                .position(|it| key(it) == name)?;
            Some((at, value.parse().ok()?))
        });
        let Some((index, value)) = known else {
            return Err(PersistError::Foreign {
                path: path.into(),
                line: at + 1,
            });
        };
        values[index] = Some(value);
    }
    Ok(values)
}

fn key(name: &str) -> String {
    format!("net.ipv4.{name}")
}

fn settings(values: Values) -> Vec<(String, i64)> {
    let named = KeepaliveSysctls::NAMES.into_iter().zip(values);
    named
        .filter_map(|(name, value)| Some((key(name), value?)))
        .collect()
}

fn text(values: Values, command: &str, now: SystemTime) -> String {
    let mut text = format!(
        "\
# TCP keep-alive of connections whose programs switch it on without values of their own.
# Written on {} by: {command}
# {}
# These sysctls belong to network namespaces: this file reaches the host's initial one, when
# the host boots. A new namespace, such as a container's, starts at 7200/75/9 whatever the
# host has.
# `tcpalive sysctl set --persist` writes this file anew. It keeps the values that it is not
# told to change; comments it does not keep.
",
        date(now),
        detection(values),
    );
    for (key, value) in settings(values) {
        text.push_str(&format!("{key} = {value}\n"));
    }
    text
}

fn detection(values: Values) -> String {
    let default = KeepaliveSysctls::LINUX.values();
    let [time, interval, probes] = [0, 1, 2].map(|at| values[at].unwrap_or(default[at]));
    let assumed = if values.contains(&None) {
        ", with Linux's defaults for what is not set here"
    } else {
        ""
    };
    match Sysctl::new(time, interval, probes) {
        Ok(sysctl) => {
            let within = sysctl.timing().detection_time().from_last_heard.worst;
            let within = Exact(within.as_secs());
            format!("A peer that falls silent is noticed within {within}{assumed}.")
        }
        Err(error) => format!("Beware: {error}."),
    }
}

/// `2026-11-23 03:10:50 UTC`. Days to dates in the proleptic Gregorian
/// calendar, with years that begin in March so that the leap day is the last.
fn date(now: SystemTime) -> String {
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // From 1 March 0000; 400 years have 146097 days.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (year, month + 3),
        _ => (year + 1, month - 9),
    };
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let year = era * 400 + year;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn write(folder: &Path, values: Values) -> Result<(), PersistError> {
        Prepared::write(folder, values, "the command", at(0))?.commit()
    }

    fn lines(folder: &Path) -> Vec<String> {
        let text = fs::read_to_string(folder.join(NAME)).unwrap();
        let settings = text.lines().filter(|line| !line.starts_with('#'));
        settings.map(str::to_owned).collect()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(at(seconds)), text);
        }
    }

    #[test]
    fn the_comment_says_what_by_whom_and_when() {
        let text = text(
            [Some(600), Some(15), Some(4)],
            "tcpalive sysctl set --time 600",
            at(0),
        );
        assert!(text.contains("1970-01-01 00:00:00 UTC by: tcpalive sysctl set --time 600\n"));
        assert!(text.contains("noticed within 11 min.\n"), "{text}");
        assert!(
            text.contains("a container's, starts at 7200/75/9"),
            "{text}"
        );
        assert!(
            text.ends_with("\nnet.ipv4.tcp_keepalive_probes = 4\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }

    #[test]
    fn values_that_are_not_changed_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), [Some(600), None, Some(4)]).unwrap();
        write(folder.path(), [Some(60), Some(5), None]).unwrap();
        assert_eq!(
            lines(folder.path()),
            [
                "net.ipv4.tcp_keepalive_time = 60",
                "net.ipv4.tcp_keepalive_intvl = 5",
                "net.ipv4.tcp_keepalive_probes = 4"
            ]
        );
        let path = folder.path().join(NAME);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_committed_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        drop(Prepared::write(folder.path(), [Some(1), None, None], "x", at(0)).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn lines_of_others_are_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for line in [
            "net.ipv4.tcp_syncookies = 1",
            "net.ipv4.tcp_keepalive_time = soon",
            "nonsense",
        ] {
            let text = format!("# a comment\n\n{line}\n");
            fs::write(&path, &text).unwrap();
            let error = write(folder.path(), [Some(60), None, None]).unwrap_err();
            assert!(error.to_string().contains("conf, line 3: "), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
