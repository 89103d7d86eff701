//! The clients of the night: A's, which connect, say a word and wait, and
//! C's, which go on talking now and then.

use super::server::{Numbers, error_name, say};
use crate::connections::{Options, connect, raise_descriptor_limit};
use crate::error::{Doing, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What one process of clients is told to do.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) server: SocketAddr,
    /// The first client's address; the others have the next ports.
    pub(super) first: SocketAddr,
    pub(super) count: u16,
    /// By all clients together, on average; 0: they say one word and wait.
    pub(super) messages_per_second: u32,
}

/// What the clients tell when they are told to stop.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ClientsReport {
    /// Not counting the first word of each client.
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) errors: Vec<String>,
}

/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

const COMMANDS: u64 = u64::MAX;

/// Connects, says `{}`, then holds the connections until stdin ends. A line
/// on stdin ends the talking and is answered with a [`ClientsReport`].
pub(super) fn hold(holding: &Holding) -> Result<()> {
    raise_descriptor_limit();
    // A process that is killed must leave nothing in a kernel that has lost
    // its cable and would try for minutes to say goodbye.
    let options = Options {
        reset_on_close: true,
        ..Options::default()
    };
    let mut clients = Vec::with_capacity(usize::from(holding.count));
    for number in 0..holding.count {
        let source = SocketAddr::new(holding.first.ip(), holding.first.port() + number);
        let mut stream = connect(holding.server, Some(source), &options)?;
        let mut sent = 0;
        speak(&mut stream, &mut sent).doing(|| format!("say the first word from {source}"))?;
        clients.push(Client {
            stream,
            sent,
            answers: Numbers::default(),
        });
    }
    let mut talk = Talk::new(clients).doing(|| "prepare to talk".to_owned())?;
    talk.listen_until(|talk| talk.clients.iter().all(Client::is_answered))
        .doing(|| "wait for the first answers".to_owned())?;
    talk.report.answered = 0;
    say("{}")?;
    talk.run(holding.messages_per_second, u64::from(holding.first.port()))
        .doing(|| "talk with the server".to_owned())
}

fn speak(stream: &mut TcpStream, sent: &mut u64) -> io::Result<()> {
    *sent += 1;
    stream.write_all(&sent.to_be_bytes())
}

struct Client {
    stream: TcpStream,
    sent: u64,
    answers: Numbers,
}

impl Client {
    fn is_answered(&self) -> bool {
        self.answers.last() >= self.sent
    }
}

struct Talk {
    epoll: OwnedFd,
    clients: Vec<Client>,
    report: ClientsReport,
    /// A line came on stdin, or its end (`Some("")`).
    command: Option<String>,
}

impl Talk {
    fn new(clients: Vec<Client>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, client) in (0..).zip(&clients) {
            client.stream.set_nonblocking(true)?;
            let data = EventData::new_u64(number);
            epoll::add(&epoll, &client.stream, data, EventFlags::IN)?;
        }
        let data = EventData::new_u64(COMMANDS);
        epoll::add(&epoll, io::stdin(), data, EventFlags::IN)?;
        Ok(Self {
            epoll,
            clients,
            report: ClientsReport::default(),
            command: None,
        })
    }

    fn run(&mut self, messages_per_second: u32, seed: u64) -> io::Result<()> {
        let mut random = Random(seed);
        loop {
            let pause = match messages_per_second {
                0 => None,
                // Uniform between nothing and twice the mean.
                rate => Some(Duration::from_micros(
                    random.below(2_000_000 / u64::from(rate)),
                )),
            };
            self.listen(pause)?;
            match self.command.take().as_deref() {
                Some("") => return Ok(()),
                Some(_) => return self.stop(),
                None => {}
            }
            if pause.is_some() {
                let count = self.clients.len() as u64;
                let chosen = usize::try_from(random.below(count)).unwrap_or_default();
                let client = &mut self.clients[chosen];
                // One question at a time: who still waits stays silent.
                if client.is_answered()
                    && let Err(error) = speak(&mut client.stream, &mut client.sent)
                {
                    self.report.errors.push(error_name(&error));
                }
            }
        }
    }

    /// Waits for the answers that are on their way, reports, and keeps the
    /// connections until stdin ends.
    fn stop(&mut self) -> io::Result<()> {
        self.listen_until(|talk| talk.clients.iter().all(Client::is_answered))?;
        for client in &self.clients {
            self.report.lost += client.sent.saturating_sub(client.answers.last());
        }
        let line = serde_json::to_string(&self.report)?;
        say(&line).map_err(io::Error::other)?;
        while self.command.take().as_deref() != Some("") {
            self.listen(None)?;
        }
        Ok(())
    }

    fn listen_until(&mut self, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) && Instant::now() < deadline && self.command.is_none() {
            self.listen(Some(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    /// Takes what arrives within `pause` (`None`: waits for something).
    fn listen(&mut self, pause: Option<Duration>) -> io::Result<()> {
        let deadline = pause.map(|pause| Instant::now() + pause);
        let mut events = Vec::with_capacity(256);
        loop {
            let timeout = deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
                .and_then(|left| Timespec::try_from(left).ok());
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match { event.data }.u64() {
                    COMMANDS => {
                        let mut line = String::new();
                        io::stdin().lock().read_line(&mut line)?;
                        self.command = Some(line);
                    }
                    number => self.hear(usize::try_from(number).unwrap_or(usize::MAX)),
                }
            }
            let over = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            if over || self.command.is_some() {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        let mut bytes = [0; 512];
        let error = match client.stream.read(&mut bytes) {
            Ok(0) => "end of stream".to_owned(),
            Ok(length) => {
                let seen = client.answers.take(&bytes[..length]);
                self.report.answered += seen.messages;
                self.report.lost += seen.lost;
                self.report.repeated += seen.repeated;
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => error_name(&error),
        };
        self.report.errors.push(error);
        let _ = epoll::delete(&self.epoll, &client.stream);
    }
}

/// SplitMix64: which client speaks next need not be unpredictable, only varied.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
