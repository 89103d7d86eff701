//! Being told to stop.

use crate::cli::Failure;
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether Ctrl-C was pressed or SIGTERM came. A second one ends the program
/// at once.
#[derive(Debug)]
pub(in crate::commands) struct Stop {
    requested: Arc<AtomicBool>,
    /// Readable from then on.
    wake: UnixStream,
    /// Whether anything is written to standard output.
    uses_stdout: bool,
}

impl Stop {
    /// From now on signals do not end the program any more.
    pub(in crate::commands) fn on_signals(uses_stdout: bool) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::Midway(format!("catching the signals to stop: {error}"));
        let requested = Arc::new(AtomicBool::new(false));
        let (wake, writer) = UnixStream::pair().map_err(failed)?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&requested),
            )
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&requested)))
            .and_then(|_| signal_hook::low_level::pipe::register(signal, writer.try_clone()?))
            .map_err(failed)?;
        }
        Ok(Self {
            requested,
            wake,
            uses_stdout,
        })
    }

    pub(in crate::commands) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Waits until `source` is readable, until it is told to stop, or until
    /// nobody reads standard output any more.
    pub(super) fn wait(&self, source: BorrowedFd<'_>) -> io::Result<()> {
        let stdout = io::stdout();
        let mut waiting = [
            PollFd::new(&source, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
            // Errors are told without being asked for.
            PollFd::new(&stdout, PollFlags::empty()),
        ];
        let watched = if self.uses_stdout { 3 } else { 2 };
        match poll(&mut waiting[..watched], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if waiting[2].revents().contains(PollFlags::ERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
