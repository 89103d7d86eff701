//! What goes wrong in networks, each with its undo.
//!
//! Rules are nftables' in a table `tcpalive_lab` of the host that is named;
//! every fault has chains of its own there, so faults can overlap and end in
//! any order. A fault given to a router falls on what it forwards.
//!
//! Where a rule stands matters to the sender: a packet that the *sending*
//! host's own rules drop comes back to the program as EPERM, and no network
//! does that. [`cut`] and [`drop_port`] have this property, as the article's
//! iptables rules have; give them to the peer or to a router to have silence.
//! [`loss`] and [`blackout`] drop at the receiving ends of cables and are
//! never seen by a sender. What a bridge switches passes none of its rules
//! but those of [`loss`] and [`blackout`].

use crate::error::{LabError, Result};
use crate::host::{Host, Kind};
use crate::links::parse_address;
use std::fmt::Write;
use std::net::IpAddr;
use std::thread::JoinHandle;
use std::time::Duration;

/// The name of the table that holds the lab's rules, in every family.
pub const TABLE: &str = "tcpalive_lab";

/// Something that is wrong now. It stays so until [`Fault::undo`], or until
/// the lab goes; dropping this handle ends nothing.
#[derive(Debug)]
pub struct Fault {
    chains: Vec<Chain>,
    cures: Vec<Cure>,
}

#[derive(Debug)]
struct Chain {
    host: Host,
    /// `inet`, `netdev` or `arp`.
    family: &'static str,
    name: String,
    /// The namespace that the chain was made in: a reboot forgets it.
    netns_inode: u64,
}

#[derive(Debug)]
enum Cure {
    Ip { host: Host, arguments: String },
    LinkUp { host: Host, interface: String },
}

impl Fault {
    /// Makes it right again.
    ///
    /// # Errors
    /// Failures of `nft` and `ip`. A fault in a host that was rebooted or
    /// removed meanwhile is right already.
    pub fn undo(self) -> Result<()> {
        for chain in self.chains.iter().filter(|chain| chain.exists()) {
            let Chain { family, name, .. } = chain;
            chain.host.nft(&format!(
                "flush chain {family} {TABLE} {name}\ndelete chain {family} {TABLE} {name}\n"
            ))?;
        }
        for cure in self.cures {
            match cure {
                Cure::Ip { host, arguments } if host.is_on() => {
                    host.ip(&arguments)?;
                }
                Cure::LinkUp { host, interface } if host.is_on() => {
                    host.ip(&format!("link set {interface} up"))?;
                    host.restore_routes()?;
                }
                Cure::Ip { .. } | Cure::LinkUp { .. } => {}
            }
        }
        Ok(())
    }

    /// How many packets the fault's rules have caught so far.
    ///
    /// # Errors
    /// Failures of `nft`.
    pub fn packets(&self) -> Result<u64> {
        let mut packets = 0;
        for chain in self.chains.iter().filter(|chain| chain.exists()) {
            packets += chain.packets()?;
        }
        Ok(packets)
    }
}

impl Chain {
    fn exists(&self) -> bool {
        self.host.is_on() && self.host.netns_inode() == self.netns_inode
    }

    fn packets(&self) -> Result<u64> {
        let Self { family, name, .. } = self;
        let listing = self
            .host
            .nft_json(&format!("list chain {family} {TABLE} {name}"))?;
        let rules = listing["nftables"].as_array().into_iter().flatten();
        Ok(rules
            .filter_map(|object| object["rule"]["expr"].as_array())
            .flatten()
            .filter_map(|expression| expression["counter"]["packets"].as_u64())
            .sum())
    }
}

/// Which packets of a host a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What comes for the host itself.
    Input,
    /// What the host itself sends.
    Output,
    /// What a router forwards, in both directions.
    Forward,
    /// What arrives, for the host itself or to be forwarded, before the
    /// routes are asked.
    Arriving,
}

impl Hook {
    fn declaration(self) -> &'static str {
        match self {
            Self::Input => "type filter hook input priority 0;",
            Self::Output => "type filter hook output priority 0;",
            Self::Forward => "type filter hook forward priority 0;",
            Self::Arriving => "type filter hook prerouting priority -300;",
        }
    }
}

/// The article's two rules: drops what `host` sends to `peer` and what comes
/// from it (`iptables -A OUTPUT --dst … -j DROP`, `-A INPUT --src … -j DROP`).
///
/// # Errors
/// A bad address, or failures of `nft`.
pub fn cut(host: &Host, peer: &str) -> Result<Fault> {
    let (family, peer) = family_and_address(peer)?;
    inet(
        host,
        &[
            (
                Hook::Output,
                &[&format!("{family} daddr {peer} counter drop")],
            ),
            (
                Hook::Input,
                &[&format!("{family} saddr {peer} counter drop")],
            ),
        ],
    )
}

/// Cuts the cable of `address` at a router: drops what arrives from there and
/// for there, in silence: before routing, so that no ICMP error is sent even
/// when the route is lost too.
///
/// # Errors
/// A bad address, or failures of `nft`.
pub fn cut_forward(router: &Host, address: &str) -> Result<Fault> {
    let (family, address) = family_and_address(address)?;
    inet(
        router,
        &[(
            Hook::Arriving,
            &[
                &format!("{family} saddr {address} counter drop"),
                &format!("{family} daddr {address} counter drop"),
            ],
        )],
    )
}

/// Loses `percent` of the packets in each direction, at random: of what a
/// router forwards, or of what passes the cables of a host.
///
/// # Errors
/// More than 100 %, or failures of `nft`.
pub fn loss(host: &Host, percent: u8) -> Result<Fault> {
    if percent > 100 {
        return Err(LabError::Other(format!(
            "{percent} % cannot be lost: 0 to 100 can"
        )));
    }
    let rule = format!("numgen random mod 100 < {percent} counter drop");
    match host.kind() {
        Kind::Router => inet(host, &[(Hook::Forward, &[&rule])]),
        Kind::Host | Kind::Bridge => cables(host, &format!("meta protocol {{ ip, ip6 }} {rule}")),
    }
}

/// Nothing passes any more, in either direction: what a router forwards, or
/// everything on a host's cables, ARP included.
///
/// # Errors
/// Failures of `nft`.
pub fn blackout(host: &Host) -> Result<Fault> {
    match host.kind() {
        Kind::Router => inet(host, &[(Hook::Forward, &["counter drop"])]),
        Kind::Host | Kind::Bridge => cables(host, "counter drop"),
    }
}

/// A [`blackout`] that ends by itself.
///
/// # Errors
/// Failures of `nft`.
pub fn outage(host: &Host, duration: Duration) -> Result<Outage> {
    let fault = blackout(host)?;
    Ok(Outage {
        thread: std::thread::spawn(move || {
            std::thread::sleep(duration);
            fault.undo()
        }),
    })
}

/// A blackout that ends by itself.
#[derive(Debug)]
pub struct Outage {
    thread: JoinHandle<Result<()>>,
}

impl Outage {
    /// Waits for the end.
    ///
    /// # Errors
    /// When the rules could not be removed.
    pub fn wait(self) -> Result<()> {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Answers TCP segments with a reset, as firewalls with `reject` do: a host
/// those that come from `address`; a router those that go there.
///
/// # Errors
/// A bad address, or failures of `nft`.
pub fn reject_with_reset(host: &Host, address: &str) -> Result<Fault> {
    let (family, address) = family_and_address(address)?;
    let verdict = "meta l4proto tcp counter reject with tcp reset";
    match host.kind() {
        Kind::Router => inet(
            host,
            &[(
                Hook::Forward,
                &[&format!("{family} daddr {address} {verdict}")],
            )],
        ),
        Kind::Host | Kind::Bridge => inet(
            host,
            &[(
                Hook::Input,
                &[&format!("{family} saddr {address} {verdict}")],
            )],
        ),
    }
}

/// Drops every TCP segment from or to a port.
///
/// # Errors
/// Failures of `nft`.
pub fn drop_port(host: &Host, port: u16) -> Result<Fault> {
    let rules = [
        &*format!("tcp sport {port} counter drop"),
        &*format!("tcp dport {port} counter drop"),
    ];
    match host.kind() {
        Kind::Router => inet(host, &[(Hook::Forward, &rules)]),
        Kind::Host | Kind::Bridge => inet(host, &[(Hook::Input, &rules), (Hook::Output, &rules)]),
    }
}

/// Takes an interface down. Undone, it is up again with its addresses and routes.
///
/// # Errors
/// Failures of `ip`.
pub fn link_down(host: &Host, interface: &str) -> Result<Fault> {
    host.ip(&format!("link set {interface} down"))?;
    Ok(Fault {
        chains: Vec::new(),
        cures: vec![Cure::LinkUp {
            host: host.clone(),
            interface: interface.to_owned(),
        }],
    })
}

/// Nobody can resolve the host's hardware address any more: it hears and says
/// no ARP and no neighbour discovery, and the others' caches forget it.
///
/// # Errors
/// Failures of `nft` and `ip`.
pub fn arp_failure(host: &Host) -> Result<Fault> {
    let mut fault = chains(
        host,
        "arp",
        &["input", "output"].map(|hook| {
            (
                format!("type filter hook {hook} priority 0;"),
                vec!["counter drop".to_owned()],
            )
        }),
    )?;
    let discovery = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } counter drop";
    let inet = inet(
        host,
        &[(Hook::Input, &[discovery]), (Hook::Output, &[discovery])],
    )?;
    fault.chains.extend(inet.chains);
    let addresses = host.addresses();
    let hosts = host.lab()?.hosts().clone();
    for other in hosts
        .iter()
        .filter(|other| !other.is(host) && other.is_on())
    {
        for address in &addresses {
            other.ip(&format!("neigh flush to {address}"))?;
        }
    }
    host.ip("neigh flush all")?;
    Ok(fault)
}

/// The host has no route to `address` any more (`ip route add unreachable`).
///
/// # Errors
/// A bad address, or failures of `ip`.
pub fn no_route(host: &Host, address: &str) -> Result<Fault> {
    let (family, address) = family_and_address(address)?;
    let option = if family == "ip6" { "-6 " } else { "" };
    host.ip(&format!("{option}route add unreachable {address} metric 1"))?;
    Ok(Fault {
        chains: Vec::new(),
        cures: vec![Cure::Ip {
            host: host.clone(),
            arguments: format!("{option}route del unreachable {address} metric 1"),
        }],
    })
}

/// Counts packets and lets them pass. `matching` is an nftables expression:
/// `"ip saddr 10.9.1.1 tcp flags & (fin | rst) != 0"`. See [`Fault::packets`].
///
/// # Errors
/// When `nft` refuses the expression.
pub fn count(host: &Host, hook: Hook, matching: &str) -> Result<Fault> {
    inet(host, &[(hook, &[&format!("{matching} counter")])])
}

fn family_and_address(text: &str) -> Result<(&'static str, IpAddr)> {
    let address = parse_address(text)?;
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    Ok((family, address))
}

fn inet(host: &Host, wanted: &[(Hook, &[&str])]) -> Result<Fault> {
    let wanted: Vec<(String, Vec<String>)> = wanted
        .iter()
        .map(|(hook, rules)| {
            (
                hook.declaration().to_owned(),
                rules.iter().map(|rule| (*rule).to_owned()).collect(),
            )
        })
        .collect();
    chains(host, "inet", &wanted)
}

/// A rule at the receiving ends of all cables of a host, its own and its neighbours'.
fn cables(host: &Host, rule: &str) -> Result<Fault> {
    let interfaces = host.state().interfaces.clone();
    let mut fault = Fault {
        chains: Vec::new(),
        cures: Vec::new(),
    };
    for interface in interfaces {
        for (end, name) in [
            (host, &interface.name),
            (&interface.peer, &interface.peer_interface),
        ] {
            if !end.is_on() {
                continue;
            }
            let declaration = format!("type filter hook ingress device \"{name}\" priority 0;");
            let chains = chains(end, "netdev", &[(declaration, vec![rule.to_owned()])])?;
            fault.chains.extend(chains.chains);
        }
    }
    Ok(fault)
}

/// All chains of a fault in one transaction.
fn chains(host: &Host, family: &'static str, wanted: &[(String, Vec<String>)]) -> Result<Fault> {
    let netns_inode = host.netns_inode();
    let mut ruleset = format!("table {family} {TABLE} {{\n");
    let mut chains = Vec::new();
    for (declaration, rules) in wanted {
        let name = format!("fault{}", host.next_fault_number());
        let _ = writeln!(
            ruleset,
            "chain {name} {{\n{declaration}\n{}\n}}",
            rules.join("\n")
        );
        chains.push(Chain {
            host: host.clone(),
            family,
            name,
            netns_inode,
        });
    }
    ruleset.push_str("}\n");
    host.nft(&ruleset)?;
    Ok(Fault {
        chains,
        cures: Vec::new(),
    })
}
