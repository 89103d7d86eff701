//! What was destroyed, on disk before it happens.
//!
//! One JSON object per line. A `destroying` line is synced to disk before the
//! connection is touched; a line with the result follows. A connection with
//! the first and without the second was in the hands of a reap that was
//! killed: it may or may not have been destroyed. One without either was not.

use crate::check::Dead;
use crate::reap::Fate;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tcpalive_connections::Owner;

/// Where the journal is kept unless somebody says otherwise.
pub const DEFAULT_PATH: &str = "/var/log/tcpalive/reap.jsonl";

/// An open journal. Lines are appended; nothing is ever rewritten.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    pending: Vec<u8>,
}

impl Journal {
    /// Opens the file for appending, and makes it and its folder if they are
    /// not there.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        // A reap that was killed may have left half a line: the next one
        // must not become its other half.
        let mut pending = Vec::new();
        let mut last = [0];
        if file.metadata()?.is_file()
            && file.seek(SeekFrom::End(-1)).is_ok()
            && file.read(&mut last)? == 1
            && last != *b"\n"
        {
            pending.push(b'\n');
        }
        Ok(Self {
            file,
            path: path.into(),
            pending,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a connection is about to be destroyed.
    pub fn destroying(&mut self, dead: &Dead, owners: &[Owner]) {
        let connection = &dead.connection;
        let owners: Vec<_> = owners
            .iter()
            .map(|owner| json!({"pid": owner.pid, "fd": owner.fd, "comm": owner.comm.as_text()}))
            .collect();
        self.line(&json!({
            "type": "destroying",
            "at": now(),
            "netns": connection.netns,
            "cookie": connection.cookie,
            "local": connection.local.to_string(),
            "remote": connection.remote.to_string(),
            "state": connection.state.name(),
            "uid": connection.uid,
            "inode": connection.inode,
            "owners": owners,
            "probes": dead.verdict.probes,
            "waited_ms": dead.verdict.waited_ms,
            "last_heard_ms": dead.verdict.last_heard_ms,
            "reason": dead.verdict.reason,
        }));
    }

    /// Notes what became of it.
    pub fn result(&mut self, dead: &Dead, fate: &Fate) {
        self.line(&json!({
            "type": "result",
            "at": now(),
            "netns": dead.connection.netns,
            "cookie": dead.connection.cookie,
            "result": fate.name(),
            "detail": fate.detail(),
        }));
    }

    fn line(&mut self, value: &serde_json::Value) {
        // Writing JSON into memory does not fail.
        let _ = serde_json::to_writer(&mut self.pending, value);
        self.pending.push(b'\n');
    }

    /// Writes what was noted, and returns when the disk has it.
    ///
    /// # Errors
    /// When it cannot be written or synced.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        self.file.sync_data()
    }
}

/// Seconds since 1970, UTC.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}
