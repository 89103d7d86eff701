//! Both directions of a connection, until the end.
//!
//! The ends are netcat-openbsd's: a direction ends when its source or its sink
//! does. A listening netcat is done when nothing more can come from the peer;
//! a connecting one when nothing more can go either way.

use super::pump::{Pump, Step, Wants};
use super::silence::{Guard, KeepAlive};
use crate::cli::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use tcpalive_kernel::ending;

/// A pause in what is sent after which the peer may have acknowledged all.
const PAUSE: Duration = Duration::from_secs(1);

/// How a connection is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copying {
    /// Whether standard input is read.
    pub(super) stdin: bool,
    pub(super) listening: bool,
    /// Whether the end of the input is passed on (`-N`).
    pub(super) shutdown: bool,
    /// Quit so many seconds after the end of the input (`-q`).
    pub(super) quit: Option<u64>,
    /// Quit after so long without an event (`-w`).
    pub(super) idle: Option<Duration>,
    pub(super) keepalive: KeepAlive,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Done {
    /// What became of the connection if neither side closed it.
    pub(super) broken: Option<Errno>,
    /// How long the last data that were sent may be without an
    /// acknowledgment; `None` when none were sent.
    pub(super) unacknowledged_for: Option<Duration>,
    pub(super) stdin_is_open: bool,
}

impl Copying {
    /// Copies until the end. `stdin` is false when an earlier connection has
    /// read it all.
    ///
    /// # Errors
    /// When the output cannot be written, save for a closed pipe, or polling fails.
    pub(super) fn run(&self, socket: BorrowedFd<'_>, stdin: bool) -> Result<Done, Failure> {
        let (input, output) = (io::stdin(), io::stdout());
        let mut connection = Connection {
            copying: self,
            socket,
            input: input.as_fd(),
            output: output.as_fd(),
            outbound: Some(Pump::to_socket(input.as_fd(), socket)),
            inbound: Some(Pump::from_socket(socket, output.as_fd())),
            hung_up: false,
            output_polled: true,
            quit_at: None,
            broken: None,
            stdin_is_open: true,
            sent: None,
            output_error: None,
        };
        if !stdin {
            connection.stdin_is_open = false;
            // With -d the input has no end that could be passed on.
            connection.end_outbound(self.stdin);
        }
        connection.run()?;
        Ok(Done {
            broken: connection.broken,
            unacknowledged_for: connection.sent.map(|sent| sent.first.elapsed()),
            stdin_is_open: connection.stdin_is_open,
        })
    }
}

struct Connection<'a> {
    copying: &'a Copying,
    socket: BorrowedFd<'a>,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    /// From standard input to the peer.
    outbound: Option<Pump<'a>>,
    /// From the peer to standard output.
    inbound: Option<Pump<'a>>,
    /// The socket has said that it is over, and would say so for ever.
    hung_up: bool,
    /// Whether standard output can be polled for its reader's end.
    output_polled: bool,
    quit_at: Option<Instant>,
    broken: Option<Errno>,
    stdin_is_open: bool,
    sent: Option<Sent>,
    output_error: Option<Errno>,
}

/// When data were sent.
#[derive(Clone, Copy)]
struct Sent {
    /// The first since everything had been acknowledged.
    first: Instant,
    last: Instant,
}

impl Connection<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut guard = Guard::new(self.socket, self.copying.keepalive);
        let mut looked = Instant::now();
        let mut last_event = Instant::now();
        while !self.is_over() {
            let now = Instant::now();
            if self.quit_at.is_some_and(|at| at <= now) {
                break;
            }
            let idle_until = self.copying.idle.map(|idle| last_event + idle);
            let look_at = guard.as_ref().map(|guard| looked + guard.period());
            let until = [self.quit_at, idle_until, look_at]
                .into_iter()
                .flatten()
                .min();
            if self.wait(until)? {
                last_event = Instant::now();
            } else if idle_until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
            if let Some(guard) = &mut guard
                && looked.elapsed() >= guard.period()
            {
                guard.look();
                looked = Instant::now();
            }
        }
        match self.output_error {
            None | Some(Errno::PIPE) => Ok(()),
            Some(error) => Err(Failure::from(io::Error::from(error))),
        }
    }

    fn is_over(&self) -> bool {
        if self.broken.is_some() && self.inbound.is_none() {
            return true;
        }
        let nothing_goes = self.outbound.is_none();
        let nothing_comes = self.inbound.is_none();
        let holds_bytes = self.outbound.as_ref().is_some_and(Pump::holds_bytes);
        nothing_comes && (nothing_goes || (self.copying.listening && !holds_bytes))
    }

    /// Waits for an event and does what it allows; false when the time is up.
    fn wait(&mut self, until: Option<Instant>) -> Result<bool, Failure> {
        let outbound = self.outbound.as_ref().map(Pump::wants);
        let inbound = self.inbound.as_ref().map(Pump::wants);
        let mut of_socket = PollFlags::empty();
        of_socket.set(PollFlags::OUT, outbound == Some(Wants::Sink));
        of_socket.set(PollFlags::IN, inbound == Some(Wants::Source));
        // Nobody asks for more: hang-ups, resets and time-outs are told anyway,
        // and a pipe whose reader went away.
        let poll_socket = !self.hung_up || !of_socket.is_empty();
        let poll_input = outbound == Some(Wants::Source);
        let wants_output = inbound == Some(Wants::Sink);
        let poll_output = wants_output || (self.inbound.is_some() && self.output_polled);

        let mut polled = Vec::with_capacity(3);
        if poll_socket {
            polled.push(PollFd::from_borrowed_fd(self.socket, of_socket));
        }
        if poll_input {
            polled.push(PollFd::from_borrowed_fd(self.input, PollFlags::IN));
        }
        if poll_output {
            let events = if wants_output {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            polled.push(PollFd::from_borrowed_fd(self.output, events));
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(true),
            Err(error) => {
                let error = io::Error::from(error);
                return Err(Failure::Midway(format!("waiting for data: {error}")));
            }
        }
        let mut happened = polled.iter().map(PollFd::revents);
        let mut next = |asked: bool| {
            asked
                .then(|| happened.next())
                .flatten()
                .unwrap_or(PollFlags::empty())
        };
        let socket = next(poll_socket);
        let input = next(poll_input);
        let output = next(poll_output);
        drop(polled);
        self.handle(socket, input, output, outbound, inbound);
        Ok(true)
    }

    fn handle(
        &mut self,
        socket: PollFlags,
        input: PollFlags,
        output: PollFlags,
        outbound: Option<Wants>,
        inbound: Option<Wants>,
    ) {
        let failed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        // Whoever read our output has gone, or will never be heard of.
        if output.intersects(PollFlags::ERR | PollFlags::NVAL) && inbound == Some(Wants::Source) {
            self.lose_output(Errno::PIPE);
        } else if output.intersects(PollFlags::HUP) {
            self.output_polled = false;
        }
        if inbound.is_some() {
            let ready = match inbound {
                Some(Wants::Source) => socket.intersects(PollFlags::IN | failed),
                _ => output.intersects(PollFlags::OUT | failed),
            };
            if ready && self.inbound.is_some() {
                self.advance_inbound();
            }
        }
        if outbound.is_some() {
            let ready = match outbound {
                Some(Wants::Source) => input.intersects(PollFlags::IN | failed),
                _ => socket.intersects(PollFlags::OUT | failed),
            };
            if ready && self.outbound.is_some() {
                self.advance_outbound();
            }
        }
        if socket.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.hung_up = true;
            // Both sides are closed, or the connection broke: nothing goes any
            // more, whatever still is to be read.
            self.end_outbound(false);
            if self.inbound.is_none() {
                self.take_error();
            }
        }
    }

    fn advance_inbound(&mut self) {
        let Some(pump) = &mut self.inbound else {
            return;
        };
        match pump.advance() {
            Step::Moved(_) => {}
            Step::End => self.inbound = None,
            Step::SourceFailed(error) => {
                self.inbound = None;
                self.broken.get_or_insert(error);
            }
            Step::SinkFailed(error) => self.lose_output(error),
        }
    }

    /// Nobody takes what the peer sends.
    fn lose_output(&mut self, error: Errno) {
        self.inbound = None;
        self.output_error = Some(error);
        // The peer is told with the first byte that it sends.
        let _ = shutdown(self.socket, Shutdown::Read);
    }

    fn advance_outbound(&mut self) {
        self.note_sending();
        let Some(pump) = &mut self.outbound else {
            return;
        };
        match pump.advance() {
            Step::Moved(count) => {
                if count > 0
                    && let Some(sent) = &mut self.sent
                {
                    sent.last = Instant::now();
                }
            }
            // An input that cannot be read is taken for one at its end, as
            // netcat does.
            Step::End | Step::SourceFailed(_) => {
                self.stdin_is_open = false;
                self.end_outbound(true);
            }
            Step::SinkFailed(error) => {
                // What the peer sent before may still be read.
                self.broken.get_or_insert(error);
                self.end_outbound(false);
            }
        }
    }

    /// Notes since when data may be unacknowledged. The kernel is asked only
    /// after pauses.
    fn note_sending(&mut self) {
        let now = Instant::now();
        let new = match self.sent {
            None => true,
            Some(sent) => {
                now.duration_since(sent.last) >= PAUSE
                    && ending::silence(&self.socket)
                        .is_ok_and(|silence| silence.unacknowledged == 0)
            }
        };
        if new {
            self.sent = Some(Sent {
                first: now,
                last: now,
            });
        }
    }

    /// Nothing more goes to the peer.
    fn end_outbound(&mut self, input_ended: bool) {
        if self.outbound.take().is_none() {
            return;
        }
        if input_ended && self.copying.shutdown {
            // A connection that is over already is found so by the next poll.
            let _ = shutdown(self.socket, Shutdown::Write);
        }
        if input_ended && let Some(seconds) = self.copying.quit {
            // Debian's -q 0 does not end a connecting netcat: it is as -N there.
            if seconds > 0 || self.copying.listening {
                self.quit_at = Some(Instant::now() + Duration::from_secs(seconds));
            }
        }
    }

    /// Asks a socket that nobody reads or writes any more what it died of.
    fn take_error(&mut self) {
        if let Ok(Err(error)) = rustix::net::sockopt::socket_error(self.socket) {
            self.broken.get_or_insert(error);
        }
    }
}
