//! The hosts and processes of the night.

use super::Interrupt;
use super::clients::ClientsReport;
use super::process::Process;
use super::server::ServerReport;
use crate::error::{LabError, Result};
use crate::{Fault, Host, Lab, article, command, faults};
use rustix::process::{Resource, getrlimit};
use std::collections::HashSet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

/// C, which lives on: the address after the article's A.
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 24, 220);

/// Clients' ports, from one address: outside of what anybody else uses.
const FIRST_PORT: u16 = 10_000;
const PORTS_PER_ADDRESS: usize = 50_000;

/// Descriptors per process on the machine that the night was written on; a
/// process also needs a few for itself, and the kernel does not spread
/// connections over the servers quite evenly.
const DESCRIPTORS: usize = 20_000;
const DESCRIPTORS_TO_SPARE: usize = 2_000;

/// At least so many server processes, at least so many processes of clients on A.
const SERVERS: usize = 4;
const CLIENTS: usize = 2;

/// What a [`World`] is made of.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The command that ends up in [`super::worker_main`], with its first arguments.
    pub worker: Vec<OsString>,
    /// Connections from A.
    pub dead: usize,
    /// Connections from C.
    pub alive: usize,
}

/// B with its server, A and C with their clients, and the router R between
/// them. B's next hop is R, so it answers whatever becomes of A.
#[derive(Debug)]
pub struct World {
    // Processes end before the lab is taken down.
    servers: Vec<Process>,
    clients_of_a: Vec<Process>,
    clients_of_c: Vec<Process>,
    a: Host,
    b: Host,
    router: Host,
    addresses_of_a: Vec<Ipv4Addr>,
    truth: Truth,
    _lab: Lab,
}

/// What the night knows: the clients' addresses.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Those of A.
    pub dead: HashSet<SocketAddr>,
    /// Those of C.
    pub alive: HashSet<SocketAddr>,
}

impl Truth {
    pub(super) fn knows(&self, peer: &SocketAddr) -> bool {
        self.dead.contains(peer) || self.alive.contains(peer)
    }

    /// How many connections are not in `met`.
    pub(super) fn unmet(&self, met: &HashSet<SocketAddr>) -> usize {
        let everyone = self.dead.iter().chain(&self.alive);
        everyone.filter(|peer| !met.contains(peer)).count()
    }
}

impl World {
    /// Builds it: every connection is established, has carried one message
    /// each way and is known by address; C's clients talk from now on.
    ///
    /// # Errors
    /// [`LabError::NotRoot`], and whatever prevents a connection.
    pub fn build(options: &WorldOptions) -> Result<Self> {
        Self::build_until(options, &Interrupt::default())
    }

    pub(super) fn build_until(options: &WorldOptions, interrupt: &Interrupt) -> Result<Self> {
        let lab = Lab::new("night")?;
        let [a, b, c] = [lab.host("a")?, lab.host("b")?, lab.host("c")?];
        let router = lab.router("r")?;
        let addresses_of_a = addresses(article::A, options.dead);
        let addresses_of_c = addresses(C, options.alive);
        lab.uplink(&a, &joined(&addresses_of_a), &router)?;
        lab.uplink(&b, &article::B.to_string(), &router)?;
        lab.uplink(&c, &joined(&addresses_of_c), &router)?;
        // So that no SYN waits or is answered with a cookie.
        b.sysctl("net.core.somaxconn", "65535")?;
        b.sysctl("net.ipv4.tcp_max_syn_backlog", "65535")?;

        let mut world = Self {
            servers: Vec::new(),
            clients_of_a: Vec::new(),
            clients_of_c: Vec::new(),
            a,
            b,
            router,
            addresses_of_a,
            truth: Truth::default(),
            _lab: lab,
        };
        let room = descriptors_per_process();
        let servers = (options.dead + options.alive).div_ceil(room).max(SERVERS);
        let listen = SocketAddr::from((article::B, article::PORT)).to_string();
        for _ in 0..servers {
            let arguments = ["server".to_owned(), listen.clone()];
            world
                .servers
                .push(Process::start(&world.b, &options.worker, &arguments)?);
        }
        for server in &mut world.servers {
            let _: serde_json::Value = server.answer(interrupt)?;
        }
        // Each client is idle for 24 s on average, and there is always one
        // that talks.
        let rate = (options.alive / 24).clamp(1, 20);
        let portion = options.dead.div_ceil(CLIENTS).min(room);
        for group in groups(&world.addresses_of_a, options.dead, portion) {
            world.truth.dead.extend(group.addresses());
            let process = group.start(&world.a, &options.worker, &listen, 0)?;
            world.clients_of_a.push(process);
        }
        for group in groups(&addresses_of_c, options.alive, room) {
            world.truth.alive.extend(group.addresses());
            let process = group.start(&c, &options.worker, &listen, rate)?;
            world.clients_of_c.push(process);
        }
        for process in world.clients_of_a.iter_mut().chain(&mut world.clients_of_c) {
            let _: serde_json::Value = process.answer(interrupt)?;
        }
        Ok(world)
    }

    /// The server's host.
    #[must_use]
    pub fn b(&self) -> &Host {
        &self.b
    }

    /// The pids of the server's processes.
    #[must_use]
    pub fn server_pids(&self) -> Vec<u32> {
        self.servers.iter().map(Process::pid).collect()
    }

    /// Which of B's peers are dead, and which live.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Cuts A's cable with the article's two rules and at the router, then
    /// takes A away: cable, processes, namespace. Returns a counter of
    /// packets that reach B from A afterwards; it must stay at 0.
    ///
    /// # Errors
    /// Failures of `nft` and `ip`.
    pub fn kill_a(&mut self) -> Result<Fault> {
        faults::cut(&self.a, &article::B.to_string())?;
        for address in &self.addresses_of_a {
            faults::cut_forward(&self.router, &address.to_string())?;
        }
        let from_a = format!(
            "ip saddr {{ {} }}",
            joined(&self.addresses_of_a).replace(' ', ", ")
        );
        let heard = faults::count(&self.b, faults::Hook::Arriving, &from_a)?;
        self.a.unplug()?;
        self.clients_of_a.clear();
        self.a.remove()?;
        Ok(heard)
    }

    /// The peers of B's established connections, as `ss` has them.
    ///
    /// # Errors
    /// When `ss` fails or prints something else.
    pub fn established(&self) -> Result<HashSet<SocketAddr>> {
        let port = format!("sport = :{}", article::PORT);
        let listing = self.b.run(|| {
            command::capture(
                Command::new("ss").args(["-Htn", "state", "established", &port]),
                "",
            )
        })?;
        listing
            .lines()
            .map(|line| {
                let peer = line.split_whitespace().nth(3);
                peer.and_then(|peer| peer.parse().ok())
                    .ok_or_else(|| LabError::Other(format!("ss printed '{line}'")))
            })
            .collect()
    }

    /// Descriptors that the server's processes have open.
    pub(super) fn descriptors(&self) -> Result<usize> {
        self.servers.iter().map(Process::descriptors).sum()
    }

    /// Waits until the server has `wanted` descriptors open or fewer, at
    /// most 5 s. Returns how many it has open.
    pub(super) fn descriptors_at_most(&self, wanted: usize) -> Result<usize> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let descriptors = self.descriptors()?;
            if descriptors <= wanted || Instant::now() > deadline {
                return Ok(descriptors);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn server_report(&mut self) -> Result<ServerReport> {
        let mut sum = ServerReport::default();
        for server in &mut self.servers {
            let report: ServerReport = server.ask(&Interrupt::default())?;
            sum.messages += report.messages;
            sum.lost += report.lost;
            sum.repeated += report.repeated;
            sum.ended.extend(report.ended);
        }
        Ok(sum)
    }

    /// C's clients wait for the answers that they still expect and report.
    pub(super) fn stop_talking(&mut self) -> Result<ClientsReport> {
        let mut sum = ClientsReport::default();
        for clients in &mut self.clients_of_c {
            let report: ClientsReport = clients.ask(&Interrupt::default())?;
            sum.answered += report.answered;
            sum.lost += report.lost;
            sum.repeated += report.repeated;
            sum.errors.extend(report.errors);
        }
        Ok(sum)
    }
}

/// The clients that one process holds: consecutive ports of one address.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    address: Ipv4Addr,
    first_port: u16,
    count: u16,
}

impl Group {
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let address = IpAddr::from(self.address);
        (self.first_port..self.first_port + self.count)
            .map(move |port| SocketAddr::new(address, port))
    }

    fn start(
        &self,
        host: &Host,
        worker: &[OsString],
        server: &str,
        rate: usize,
    ) -> Result<Process> {
        let arguments = [
            "clients".to_owned(),
            server.to_owned(),
            format!("{}:{}", self.address, self.first_port),
            self.count.to_string(),
            rate.to_string(),
        ];
        Process::start(host, worker, &arguments)
    }
}

/// Spreads `count` clients over addresses and processes of at most `portion`.
fn groups(addresses: &[Ipv4Addr], count: usize, portion: usize) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut left = count;
    for address in addresses {
        let mut here = left.min(PORTS_PER_ADDRESS);
        left -= here;
        let mut used = 0;
        while here > 0 {
            let take = here.min(portion);
            groups.push(Group {
                address: *address,
                first_port: FIRST_PORT + u16::try_from(used).unwrap_or(u16::MAX),
                count: u16::try_from(take).unwrap_or(u16::MAX),
            });
            used += take;
            here -= take;
        }
    }
    groups
}

/// As many addresses as `connections` need: the host's own and, beyond
/// 50,000, the same in the next networks.
fn addresses(own: Ipv4Addr, connections: usize) -> Vec<Ipv4Addr> {
    let [a, b, c, d] = own.octets();
    let count = connections.div_ceil(PORTS_PER_ADDRESS).max(1);
    (c..=u8::MAX)
        .take(count)
        .map(|c| Ipv4Addr::new(a, b, c, d))
        .collect()
}

fn joined(addresses: &[Ipv4Addr]) -> String {
    let texts: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    texts.join(" ")
}

fn descriptors_per_process() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum;
    let limit = limit.map_or(DESCRIPTORS, |limit| {
        usize::try_from(limit).unwrap_or(DESCRIPTORS)
    });
    let limit = limit.min(DESCRIPTORS);
    limit
        .saturating_sub(DESCRIPTORS_TO_SPARE)
        .max(limit / 2)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_an_address_of_its_own() {
        for (count, portion) in [(1, 1), (20_000, 10_000), (120_000, 18_000)] {
            let addresses = addresses(article::A, count);
            let groups = groups(&addresses, count, portion);
            assert!(
                groups
                    .iter()
                    .all(|group| usize::from(group.count) <= portion)
            );
            let clients: HashSet<SocketAddr> = groups.iter().flat_map(Group::addresses).collect();
            assert_eq!(clients.len(), count);
        }
    }
}
