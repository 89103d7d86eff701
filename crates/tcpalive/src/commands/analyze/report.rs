//! `--report`: where it goes, and the second reading of captures for it.

use super::Filter;
use crate::cli::{Failure, say};
use crate::render::analyze::Findings;
use crate::render::report::{Form, Replay, Report};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tcpalive_capture::{FileError, Reader};

/// A report that is to be written.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    pub(super) report: Report,
}

impl Output {
    /// A report into this file. Its name says what it is.
    pub(super) fn new(path: &Path, filter: &str) -> Result<Self, Failure> {
        let extension = path
            .extension()
            .map(|it| it.to_string_lossy().to_lowercase());
        let form = match extension.as_deref() {
            Some("html" | "htm") => Form::Html,
            Some("svg") => Form::Svg,
            _ => {
                return Err(Failure::Usage(format!(
                    "the report {}: its name must end in .html for a page or in .svg for a drawing",
                    path.display()
                )));
            }
        };
        Ok(Self {
            path: path.to_owned(),
            report: Report::new(form, filter),
        })
    }

    /// Reads again what the report needs of this capture, and what is not
    /// there any more is left out.
    pub(super) fn read_again(
        &mut self,
        index: usize,
        path: &Path,
        filter: &mut Filter,
    ) -> Result<(), Failure> {
        let Some(mut replay) = self.report.replay(index) else {
            return Ok(());
        };
        match read(path, filter, &mut replay)? {
            // Damage was told when it was met first.
            Ok(()) | Err(FileError::Damaged { .. } | FileError::Truncated { .. }) => {}
            Err(error) => say(&format!(
                "reading {} again for the report: {error}; lives of its connections may be missing there",
                path.display()
            )),
        }
        self.report.take(replay);
        Ok(())
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, findings: &Findings) -> Result<(), Failure> {
        let content = self.report.render(findings);
        replace(&self.path, content.as_bytes()).map_err(|error| {
            Failure::Midway(format!(
                "writing the report {}: {error}; it was not written",
                self.path.display()
            ))
        })
    }
}

/// Reads from the beginning, as far as anything is wanted.
fn read(
    path: &Path,
    filter: &mut Filter,
    replay: &mut Replay,
) -> Result<Result<(), FileError>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) => {
            say(&format!(
                "opening {} again for the report: {source}",
                path.display()
            ));
            return Ok(Ok(()));
        }
    };
    let mut reader = match Reader::new(file) {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(error)),
    };
    while !replay.is_complete() {
        let packet = match reader.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
        let Some(ip) = packet.ip_packet() else {
            continue;
        };
        if !filter.matches(packet.link, packet.data, packet.original_len)? {
            continue;
        }
        if let Ok(segment) = ip.segment() {
            replay.packet(packet.frame, packet.time, ip.context.number(), &segment);
        }
    }
    Ok(Ok(()))
}

/// Writes a file beside its place, and puts it there.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A device or a pipe is written to, not replaced.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, content);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is there of it is of no use.
        let _ = fs::remove_file(&temporary);
    }
    written
}
