//! Keep-alive for sessions over UDP, which has none: the engine decides when
//! a session is probed and when it is given up, the program sends and waits.
//!
//! A server has three clients on the loopback. One of them says hello and
//! falls silent. `cargo run -p tcpalive-keepalive --example udp_sessions`
//! ends by itself after three seconds.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the crate opens nothing and reads no clock; a program that embeds it does"
)]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use tcpalive_keepalive::{Engine, Event, Key, Output, Params, Time};

const HELLO: &[u8] = b"hello";
const PING: &[u8] = b"ping";
const PONG: &[u8] = b"pong";
const BYE: &[u8] = b"bye";

fn main() -> Result<(), Box<dyn Error>> {
    // Probe after 1 s of silence, then every second; two unanswered are the end.
    let params: Params = "1/1/2".parse()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;

    let living = [start_client(address)?, start_client(address)?];
    // It keeps its socket, so that no ICMP error tells the server anything.
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    silent.send_to(HELLO, address)?;

    let mut server = Server::new(socket, params);
    let given_up = server.run_until_one_is_given_up()?;
    for client in server.sessions.keys() {
        server.socket.send_to(BYE, client)?;
    }
    if given_up != silent.local_addr()? {
        return Err(format!("{given_up} was alive and was given up").into());
    }
    for client in living {
        client.join().map_err(|_| "a client panicked")??;
    }
    println!("the silent client was given up, the others were not");
    Ok(())
}

struct Server {
    socket: UdpSocket,
    params: Params,
    started: Instant,
    /// The engine's `Id` is what the server knows a session by.
    engine: Engine<SocketAddr>,
    /// And the engine's key is kept beside the session.
    sessions: HashMap<SocketAddr, Key>,
}

impl Server {
    fn new(socket: UdpSocket, params: Params) -> Self {
        Self {
            socket,
            params,
            started: Instant::now(),
            engine: Engine::new(Time::ZERO),
            sessions: HashMap::new(),
        }
    }

    /// The loop of every program that owns an engine: wait for the network
    /// until the engine wants to be asked, tell it what came, do what it says.
    fn run_until_one_is_given_up(&mut self) -> io::Result<SocketAddr> {
        let mut buffer = [0; 1500];
        loop {
            self.wait(&mut buffer)?;
            while let Some((key, output)) = self.engine.poll(self.now()) {
                let Some(&client) = self.engine.id(key) else {
                    continue;
                };
                match output {
                    Output::Probe { probes_out } => {
                        self.says(client, &format!("silent: probe {probes_out}"));
                        self.socket.send_to(PING, client)?;
                    }
                    Output::Abort(abort) => {
                        let probes = abort.probes_out;
                        self.says(client, &format!("given up: {probes} probes unanswered"));
                        self.engine.remove(key);
                        self.sessions.remove(&client);
                        return Ok(client);
                    }
                }
            }
        }
    }

    /// Returns at the engine's next time-out, or when datagrams came. All that
    /// wait are taken before the engine is polled: one of them may be the
    /// answer of a session that would be given up otherwise.
    fn wait(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        // A time-out of zero would be refused.
        const SHORTEST: Duration = Duration::from_millis(1);
        let wait = self.engine.next_timeout();
        let wait = wait.map(|at| at.since(self.now()).max(SHORTEST));
        self.socket.set_read_timeout(wait)?;
        let mut datagram = receive(&self.socket, buffer)?;
        self.socket.set_nonblocking(true)?;
        while let Some((length, client)) = datagram {
            self.take(&buffer[..length], client);
            datagram = receive(&self.socket, buffer)?;
        }
        self.socket.set_nonblocking(false)
    }

    /// Any datagram of a session proves that its client lives. A protocol of
    /// the real world authenticates it first: anybody can forge an address.
    fn take(&mut self, datagram: &[u8], client: SocketAddr) {
        let now = self.now();
        if let Some(&key) = self.sessions.get(&client) {
            let answer = Event::Ack { outstanding: false };
            self.engine.handle(key, answer, now);
            if datagram == PONG {
                self.says(client, "answers");
            }
        } else if datagram == HELLO {
            let key = self.engine.insert(client, self.params.into(), now);
            self.sessions.insert(client, key);
            self.says(client, "session begins");
        }
    }

    /// The engine's clock: time since the server started. It must not jump,
    /// so it is not the time of day.
    fn now(&self) -> Time {
        Time::from_origin(self.started.elapsed())
    }

    fn says(&self, client: SocketAddr, what: &str) {
        let seconds = self.now().since_origin().as_secs_f64();
        println!("{seconds:6.3} s  {client}  {what}");
    }
}

/// The next datagram; `None` when the time is over or none is there.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
    match socket.recv_from(buffer) {
        Ok(datagram) => Ok(Some(datagram)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

/// A client that answers each ping until the server says bye.
fn start_client(server: SocketAddr) -> io::Result<thread::JoinHandle<io::Result<()>>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.send(HELLO)?;
    Ok(thread::spawn(move || {
        let mut buffer = [0; 16];
        loop {
            let length = socket.recv(&mut buffer)?;
            match &buffer[..length] {
                PING => socket.send(PONG)?,
                BYE => return Ok(()),
                _ => continue,
            };
        }
    }))
}
