//! A crowd: up to a million sockets in one host, alive and idle.
//!
//! Each of its processes listens at an address of its own in 127.0.0.0/8,
//! connects to itself as often as its descriptors allow, and waits. The
//! connections never carry a byte; their peers answer to probes.
//!
//! As in [`crate::night`] the processes are the calling program again:
//! [`worker_main`] is what it must call in them. They end when the [`Crowd`]
//! is dropped or its process ends, and leave nothing in the kernel.

use crate::connections::{Options, connect, listen, raise_descriptor_limit};
use crate::error::{Doing, LabError, Result};
use crate::host::Host;
use crate::night::Interrupt;
use crate::night::process::Process;
use crate::night::server::say;
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Connections per process: two descriptors each, and some for itself, stay
/// below a limit of 20,000.
const PER_PROCESS: usize = 9_900;

/// Processes that connect at the same time: a core cannot do more than one's work.
const AT_A_TIME: usize = 3;

const PORT: u16 = 3333;

/// Idle connections over a host's loopback device. Dropping it ends them all
/// with resets.
#[derive(Debug)]
pub struct Crowd {
    processes: Vec<Process>,
    connections: usize,
}

impl Crowd {
    /// Opens `connections`, that is twice as many established sockets, in
    /// `host`. `worker` is the command that ends up in [`worker_main`], with
    /// its first arguments.
    ///
    /// # Errors
    /// When a connection does not come about, and [`LabError::Interrupted`]
    /// on SIGINT and SIGTERM.
    pub fn build(host: &Host, worker: &[OsString], connections: usize) -> Result<Self> {
        let interrupt = Interrupt::on_signals()?;
        // From one address: as many ports as there are.
        host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
        let mut ready = Vec::new();
        let mut busy: VecDeque<Process> = VecDeque::new();
        let mut left = connections;
        for number in 0.. {
            let enough = left == 0;
            if enough || busy.len() == AT_A_TIME {
                let Some(mut process) = busy.pop_front() else {
                    break;
                };
                let answer: Result<serde_json::Value> = process.answer(&interrupt);
                // A worker that died of the same Ctrl-C is not the news.
                if answer.is_err() {
                    interrupt.check()?;
                }
                answer?;
                ready.push(process);
            }
            if !enough {
                let count = left.min(PER_PROCESS);
                left -= count;
                let arguments = [address(number)?.to_string(), count.to_string()];
                busy.push_back(Process::start(host, worker, &arguments)?);
            }
        }
        Ok(Self {
            processes: ready,
            connections,
        })
    }

    /// Connections, each with two sockets.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // All at once; each is then waited for as it is dropped.
        self.processes.iter_mut().for_each(Process::kill);
    }
}

fn address(number: u32) -> Result<SocketAddr> {
    // 127.1.0.0 and up.
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 0));
    let last = u32::from(Ipv4Addr::new(127, 255, 255, 254));
    let address = Some(first + number).filter(|address| *address <= last);
    let address = address.ok_or_else(|| LabError::Other("a crowd is too large".to_owned()))?;
    Ok(SocketAddr::from((Ipv4Addr::from(address), PORT)))
}

/// A process of a crowd: opens its connections, says `{}`, and holds them
/// until stdin ends.
///
/// # Errors
/// Arguments that [`Crowd`] does not give, and failures of the network.
pub fn worker_main(arguments: &[String]) -> Result<()> {
    let parsed = match arguments {
        [address, count] => address.parse().ok().zip(count.parse().ok()),
        _ => None,
    };
    let (address, count): (SocketAddr, usize) = parsed.ok_or_else(|| {
        LabError::Other(format!("no crowd has a worker '{}'", arguments.join(" ")))
    })?;
    let connections = open(address, count)?;
    say("{}")?;
    io::copy(&mut io::stdin().lock(), &mut io::sink()).doing(|| "wait for the end".to_owned())?;
    drop(connections);
    Ok(())
}

fn open(address: SocketAddr, count: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    raise_descriptor_limit();
    let listener = listen(address, &|socket| {
        // Accepted sockets inherit it: nothing stays when they are closed.
        sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
        Ok(())
    })?;
    let options = Options {
        reset_on_close: true,
        ..Options::default()
    };
    (0..count)
        .map(|_| {
            // Over loopback the handshake is over when connect returns.
            let client = connect(address, None, &options)?;
            let (server, _) = listener
                .accept()
                .doing(|| format!("accept a connection at {address}"))?;
            Ok((client, server))
        })
        .collect()
}
