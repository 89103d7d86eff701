//! One direction of a connection: from a source to a sink, a piece at a time,
//! by the way that costs least.

use rustix::fs::{FileType, fstat, sendfile};
use rustix::io::{Errno, read, write};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PIPE_BUF, SpliceFlags, splice};
use std::os::fd::BorrowedFd;

/// The most that is moved before the other direction gets its turn.
const PIECE: usize = 1 << 20;
/// What is read at once where the kernel cannot move the bytes by itself.
const BUFFER: usize = 256 << 10;

/// A direction. It never waits, except for a terminal or a disk: the caller
/// polls for what [`Pump::wants`] says and then calls [`Pump::advance`].
#[derive(Debug)]
pub(super) struct Pump<'a> {
    source: BorrowedFd<'a>,
    sink: BorrowedFd<'a>,
    sink_type: FileType,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Pages go from a pipe to the socket or back. Which end was not ready is
    /// not told, so both are asked, the source first.
    Splice { source_ready: bool },
    /// From the page cache to the socket.
    SendFile,
    /// Through memory of ours.
    Copy {
        buffer: Box<[u8]>,
        start: usize,
        end: usize,
    },
}

/// What must be ready before anything can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Source,
    Sink,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes went into the sink, maybe none.
    Moved(usize),
    /// The source is at its end, and all of it is in the sink.
    End,
    /// The source failed, and all that came before is in the sink.
    SourceFailed(Errno),
    /// The sink takes nothing more.
    SinkFailed(Errno),
}

impl<'a> Pump<'a> {
    /// From standard input, whatever it is, to a socket.
    pub(super) fn to_socket(input: BorrowedFd<'a>, socket: BorrowedFd<'a>) -> Self {
        let way = match file_type(input) {
            FileType::Fifo => Way::Splice {
                source_ready: false,
            },
            FileType::RegularFile => Way::SendFile,
            _ => Way::copy(),
        };
        Self {
            source: input,
            sink: socket,
            sink_type: FileType::Socket,
            way,
        }
    }

    /// From a socket to standard output, whatever it is.
    pub(super) fn from_socket(socket: BorrowedFd<'a>, output: BorrowedFd<'a>) -> Self {
        let sink_type = file_type(output);
        let way = match sink_type {
            FileType::Fifo => Way::Splice {
                source_ready: false,
            },
            _ => Way::copy(),
        };
        Self {
            source: socket,
            sink: output,
            sink_type,
            way,
        }
    }

    /// What has to be polled for.
    pub(super) const fn wants(&self) -> Wants {
        match &self.way {
            Way::Splice { source_ready: true } | Way::SendFile => Wants::Sink,
            Way::Copy { start, end, .. } if *start < *end => Wants::Sink,
            Way::Splice { .. } | Way::Copy { .. } => Wants::Source,
        }
    }

    /// Whether bytes were read that the sink does not have yet.
    pub(super) const fn holds_bytes(&self) -> bool {
        matches!(&self.way, Way::Copy { start, end, .. } if *start < *end)
    }

    /// Moves a piece; what is wanted is ready, or has failed.
    pub(super) fn advance(&mut self) -> Step {
        match &mut self.way {
            Way::Splice {
                source_ready: ready @ false,
            } => {
                *ready = true;
                // The sink is asked before anything moves.
                Step::Moved(0)
            }
            Way::Splice { .. } => self.splice(),
            Way::SendFile => self.send_file(),
            Way::Copy { .. } => self.copy(),
        }
    }

    fn splice(&mut self) -> Step {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(self.source, None, self.sink, None, PIECE, flags) {
            Ok(0) => Step::End,
            Ok(count) => Step::Moved(count),
            Err(Errno::AGAIN) => {
                self.way = Way::Splice {
                    source_ready: false,
                };
                Step::Moved(0)
            }
            Err(Errno::INTR) => Step::Moved(0),
            // A pipe that is opened for appending takes no pages.
            Err(Errno::INVAL) => {
                self.way = Way::copy();
                Step::Moved(0)
            }
            // Pipes fail in one manner only, when nobody reads them.
            Err(error) if self.sink_type == FileType::Socket || error == Errno::PIPE => {
                Step::SinkFailed(error)
            }
            Err(error) => Step::SourceFailed(error),
        }
    }

    fn send_file(&mut self) -> Step {
        match sendfile(self.sink, self.source, None, PIECE) {
            Ok(0) => Step::End,
            Ok(count) => Step::Moved(count),
            Err(Errno::AGAIN | Errno::INTR) => Step::Moved(0),
            // Some file systems have files that can be read and not sent.
            Err(Errno::INVAL | Errno::NOSYS | Errno::IO | Errno::OVERFLOW) => {
                self.way = Way::copy();
                Step::Moved(0)
            }
            Err(error) => Step::SinkFailed(error),
        }
    }

    fn copy(&mut self) -> Step {
        let Way::Copy { buffer, start, end } = &mut self.way else {
            return Step::Moved(0);
        };
        if *start == *end {
            match read(self.source, &mut buffer[..]) {
                Ok(0) => return Step::End,
                Ok(count) => (*start, *end) = (0, count),
                Err(Errno::AGAIN | Errno::INTR) => return Step::Moved(0),
                Err(error) => return Step::SourceFailed(error),
            }
            // What may wait when it is written to is asked first.
            if !matches!(self.sink_type, FileType::Socket | FileType::RegularFile) {
                return Step::Moved(0);
            }
        }
        let bytes = &buffer[*start..*end];
        let written = match self.sink_type {
            FileType::Socket => send(self.sink, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            // So much a pipe takes without waiting when it is said to be ready.
            FileType::Fifo => write(self.sink, &bytes[..bytes.len().min(PIPE_BUF)]),
            _ => write(self.sink, bytes),
        };
        match written {
            Ok(count) => {
                *start += count;
                Step::Moved(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Step::Moved(0),
            Err(error) => Step::SinkFailed(error),
        }
    }
}

impl Way {
    fn copy() -> Self {
        Self::Copy {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }
}

fn file_type(descriptor: BorrowedFd<'_>) -> FileType {
    fstat(descriptor).map_or(FileType::Unknown, |stat| {
        FileType::from_raw_mode(stat.st_mode)
    })
}
