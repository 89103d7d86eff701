//! A crowd: up to a million sockets in one host, alive and idle.
//!
//! Each of its processes listens at an address of its own in 127.0.0.0/8,
//! connects to itself as often as its descriptors allow, and waits. The
//! connections never carry a byte; their peers answer to probes.
//! [`Crowd::set_keep_alive`] turns keep-alive on and off at the end of each
//! connection that connected.
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
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Connections per process: two descriptors each, and some for itself, stay
/// below a limit of 20,000.
const PER_PROCESS: usize = 9_900;

/// Processes that connect at the same time: a core cannot do more than one's work.
const AT_A_TIME: usize = 3;

/// Sockets that a process switches at a time when it takes its time.
const AT_ONCE: usize = 33;

/// The port that the connections lead to.
pub const PORT: u16 = 3333;

/// What the sockets that connected have set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeepAlive {
    /// SO_KEEPALIVE is off.
    Off,
    /// SO_KEEPALIVE is on with these values.
    On {
        /// TCP_KEEPIDLE, 1 to 32,767 s.
        idle_s: u32,
        /// TCP_KEEPINTVL, 1 to 32,767 s.
        interval_s: u32,
        /// TCP_KEEPCNT, 1 to 127.
        count: u32,
    },
}

/// What setting SO_KEEPALIVE took, without the other options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Switched {
    /// Sockets, with a call of setsockopt each.
    pub sockets: u64,
    /// Processor time of all calls together, in nanoseconds.
    pub took_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct Order {
    keep_alive: KeepAlive,
    /// Until the first socket, and for all of them.
    after: Duration,
    over: Duration,
}

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

    /// Sets keep-alive of every socket that connected: evenly over this
    /// time, so that their timers are spread as those of connections that came
    /// one after another; or, over no time, process after process as fast as
    /// they can. Timers run anew from then on.
    ///
    /// # Errors
    /// Values that the kernel refuses, and [`LabError::Interrupted`].
    pub fn set_keep_alive(&mut self, keep_alive: KeepAlive, over: Duration) -> Result<Switched> {
        let interrupt = Interrupt::on_signals()?;
        // Processes act in turns, each a little after the one before.
        let steps = PER_PROCESS.div_ceil(AT_ONCE) * self.processes.len().max(1);
        let lag = over / u32::try_from(steps).unwrap_or(u32::MAX);
        let mut all = Switched::default();
        let mut add = |process: &mut Process| -> Result<()> {
            let part: Switched = process.answer_after(over, &interrupt)?;
            all.sockets += part.sockets;
            all.took_ns += part.took_ns;
            Ok(())
        };
        for (number, process) in (0..).zip(&mut self.processes) {
            let order = Order {
                keep_alive,
                after: lag * number,
                over,
            };
            process.tell(&to_line(&order)?)?;
            if over.is_zero() {
                add(process)?;
            }
        }
        if !over.is_zero() {
            self.processes.iter_mut().try_for_each(add)?;
        }
        Ok(all)
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

fn to_line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| LabError::Other(format!("write a message as JSON: {error}")))
}

/// A process of a crowd: opens its connections, says `{}`, and holds them
/// until stdin ends. Does meanwhile what [`Crowd::set_keep_alive`] writes there.
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
    for line in io::stdin().lock().lines() {
        let line = line.doing(|| "wait for the end".to_owned())?;
        let order: Order = serde_json::from_str(&line)
            .map_err(|error| LabError::Other(format!("no crowd is told '{line}': {error}")))?;
        say(&to_line(&obey(&order, &connections)?)?)?;
    }
    drop(connections);
    Ok(())
}

fn obey(order: &Order, connections: &[(TcpStream, TcpStream)]) -> Result<Switched> {
    let begin = Instant::now() + order.after;
    let mut switched = Switched::default();
    let at_once = if order.over.is_zero() {
        connections.len().max(1)
    } else {
        AT_ONCE
    };
    for (step, some) in (0_usize..).zip(connections.chunks(at_once)) {
        let share = (step * at_once) as f64 / connections.len() as f64;
        let due = begin + order.over.mul_f64(share);
        sleep(due.saturating_duration_since(Instant::now()));
        let part = switch(order.keep_alive, some).doing(|| "set keep-alive options".to_owned())?;
        switched.sockets += some.len() as u64;
        switched.took_ns += u64::try_from(part.as_nanos()).unwrap_or(u64::MAX);
    }
    Ok(switched)
}

/// Returns what SO_KEEPALIVE took.
fn switch(keep_alive: KeepAlive, some: &[(TcpStream, TcpStream)]) -> rustix::io::Result<Duration> {
    if let KeepAlive::On {
        idle_s,
        interval_s,
        count,
    } = keep_alive
    {
        // Before it is on: TCP_KEEPIDLE arms the timer of a socket that has it on.
        for (client, _) in some {
            sockopt::set_tcp_keepidle(client, Duration::from_secs(idle_s.into()))?;
            sockopt::set_tcp_keepintvl(client, Duration::from_secs(interval_s.into()))?;
            sockopt::set_tcp_keepcnt(client, count)?;
        }
    }
    let on = keep_alive != KeepAlive::Off;
    let begin = processor_time();
    for (client, _) in some {
        sockopt::set_socket_keepalive(client, on)?;
    }
    Ok(processor_time().saturating_sub(begin))
}

/// Of this thread: what others do meanwhile is not in it.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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
