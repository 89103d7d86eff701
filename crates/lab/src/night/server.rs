//! The server of the night: echoes numbered messages, never asks for
//! keep-alive, and remembers how each connection ended.

use crate::connections::{listen, raise_descriptor_limit};
use crate::error::{Doing, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::sockopt;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// What a server process tells when it is asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ServerReport {
    pub(super) messages: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) ended: Vec<Ended>,
}

/// A connection that is no more, as the program saw its end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) peer: SocketAddr,
    /// `ECONNABORTED` and so on, or `end of stream`.
    pub(super) error: String,
}

/// Follows the numbers 1, 2, 3, … of a stream of messages of 8 bytes.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: u64,
    partial: Vec<u8>,
}

/// What [`Numbers`] saw in a portion of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) messages: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

impl Numbers {
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        self.partial.extend_from_slice(bytes);
        while let Some((number, rest)) = self.partial.split_first_chunk::<8>() {
            let number = u64::from_be_bytes(*number);
            self.partial = rest.to_vec();
            seen.messages += 1;
            if number <= self.last {
                seen.repeated += 1;
            } else {
                seen.lost += number - self.last - 1;
                self.last = number;
            }
        }
        seen
    }
}

struct Peer {
    stream: TcpStream,
    address: SocketAddr,
    numbers: Numbers,
}

const LISTENER: u64 = u64::MAX;
const COMMANDS: u64 = u64::MAX - 1;

/// Serves until stdin ends. Says `{}` once it listens; answers each line of
/// stdin with a [`ServerReport`].
pub(super) fn serve(address: SocketAddr) -> Result<()> {
    raise_descriptor_limit();
    let listener = listen(address, &|socket| {
        // One queue per process; the kernel spreads connections over them.
        sockopt::set_socket_reuseport(socket, true)?;
        // As the article's netcat has it: `setsockopt(3, SOL_SOCKET,
        // SO_LINGER, {onoff=1, linger=0}, 8)`. When the night is over nothing
        // stays in the kernel to be retransmitted.
        sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
        Ok(())
    })?;
    let mut server = Server::new(listener).doing(|| format!("serve at {address}"))?;
    say("{}")?;
    server.run().doing(|| format!("serve at {address}"))
}

pub(crate) fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .doing(|| "answer the night".to_owned())
}

/// The kernel's name for an error that ends a connection.
pub(super) fn error_name(error: &io::Error) -> String {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNABORTED) => "ECONNABORTED".to_owned(),
        Some(Errno::CONNRESET) => "ECONNRESET".to_owned(),
        Some(Errno::TIMEDOUT) => "ETIMEDOUT".to_owned(),
        Some(Errno::HOSTUNREACH) => "EHOSTUNREACH".to_owned(),
        Some(Errno::PIPE) => "EPIPE".to_owned(),
        _ => error.to_string(),
    }
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor.
    peers: HashMap<u64, Peer>,
    report: ServerReport,
}

impl Server {
    fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = EventFlags::IN;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), readable)?;
        epoll::add(&epoll, io::stdin(), EventData::new_u64(COMMANDS), readable)?;
        Ok(Self {
            epoll,
            listener,
            peers: HashMap::new(),
            report: ServerReport::default(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match { event.data }.u64() {
                    LISTENER => self.accept()?,
                    COMMANDS => {
                        let mut line = String::new();
                        if io::stdin().lock().read_line(&mut line)? == 0 {
                            return Ok(());
                        }
                        let mut stdout = io::stdout().lock();
                        serde_json::to_writer(&mut stdout, &self.report)?;
                        stdout.write_all(b"\n")?;
                        stdout.flush()?;
                    }
                    descriptor => self.read(descriptor),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (stream, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let descriptor = u64::try_from(stream.as_raw_fd()).unwrap_or_default();
            let data = EventData::new_u64(descriptor);
            epoll::add(&self.epoll, &stream, data, EventFlags::IN)?;
            self.peers.insert(
                descriptor,
                Peer {
                    stream,
                    address,
                    numbers: Numbers::default(),
                },
            );
        }
    }

    /// Reads what there is, echoes it, and lets go of the connection when
    /// that fails, as any server does.
    fn read(&mut self, descriptor: u64) {
        let Some(peer) = self.peers.get_mut(&descriptor) else {
            return;
        };
        let mut bytes = [0; 512];
        let error = match peer.stream.read(&mut bytes) {
            Ok(0) => "end of stream".to_owned(),
            Ok(length) => {
                let seen = peer.numbers.take(&bytes[..length]);
                self.report.messages += seen.messages;
                self.report.lost += seen.lost;
                self.report.repeated += seen.repeated;
                match peer.stream.write_all(&bytes[..length]) {
                    Ok(()) => return,
                    Err(error) => error_name(&error),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => error_name(&error),
        };
        let peer = peer.address;
        self.report.ended.push(Ended { peer, error });
        self.peers.remove(&descriptor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(numbers: &mut Numbers, values: &[u64]) -> Seen {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect();
        numbers.take(&bytes)
    }

    #[test]
    fn numbers_in_order_are_neither_lost_nor_repeated() {
        let mut numbers = Numbers::default();
        let seen = take(&mut numbers, &[1, 2, 3]);
        assert_eq!((seen.messages, seen.lost, seen.repeated), (3, 0, 0));
    }

    #[test]
    fn gap_is_loss_and_going_back_is_repetition() {
        let mut numbers = Numbers::default();
        assert_eq!(take(&mut numbers, &[1, 4]).lost, 2);
        assert_eq!(take(&mut numbers, &[4, 2]).repeated, 2);
    }

    #[test]
    fn message_in_two_portions_is_one_message() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.take(&[0, 0, 0]), Seen::default());
        assert_eq!(numbers.take(&[0, 0, 0, 0, 1]).messages, 1);
        assert_eq!(numbers.last(), 1);
    }
}
