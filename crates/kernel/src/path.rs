//! The way to a peer: route, next hop and interface, as the kernel sees them.

use crate::error::{Doing, Result};
use crate::netlink::{Netlink, attributes, push_attribute, u16_at, u32_at};
use crate::netns::Namespace;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// include/uapi/linux/rtnetlink.h, if_link.h, neighbour.h, if.h.
const RTM_GETLINK: u16 = 18;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;
const NLM_F_REPLACE: u16 = 0x100;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const RTA_UID: u16 = 25;
const RTA_IP_PROTO: u16 = 27;
const RTA_SPORT: u16 = 28;
const RTA_DPORT: u16 = 29;
/// include/uapi/linux/fib_rules.h
const FRA_IP_PROTO: u16 = 22;
const RTN_LOCAL: u8 = 2;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;
const IFLA_IFNAME: u16 = 3;
const IFLA_CARRIER_CHANGES: u16 = 35;
const NDA_DST: u16 = 1;
const NDA_CACHEINFO: u16 = 3;
const NDA_FLAGS_EXT: u16 = 15;
const NTF_EXT_LEARNED: u8 = 0x10;
const NUD_PROBE: u16 = 0x10;
const NUD_FAILED: u16 = 0x20;
const NUD_INCOMPLETE: u16 = 0x01;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_NOARP: u32 = 0x80;
const IFF_LOWER_UP: u32 = 0x1_0000;
/// Ticks of `clock_t` in a second (`USER_HZ`).
const USER_HZ: u64 = 100;

/// An interface at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Administratively up, with a carrier.
    pub is_up: bool,
    /// The loopback interface.
    pub is_loopback: bool,
    /// Has no neighbours to resolve (tunnels, point-to-point).
    pub is_noarp: bool,
    /// How often the carrier came or went since the interface was made.
    pub carrier_changes: u32,
}

/// Where packets to a peer go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Index of the interface they leave by.
    pub device: u32,
    /// The router, or the peer itself when it is on the link.
    pub next_hop: IpAddr,
    /// The peer is this very host.
    pub is_local: bool,
}

/// What decides about a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub local: IpAddr,
    /// Destination address.
    pub remote: IpAddr,
    /// `SO_MARK`.
    pub mark: u32,
    /// Bound device, or 0.
    pub device: u32,
    /// The user that owns the socket.
    pub uid: u32,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
}

/// What the kernel knows of a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Its link-layer address needs no proof (no ARP there, or set by hand or
    /// by a program that manages it).
    Fixed,
    /// It last proved to be there so many milliseconds ago.
    Confirmed(u64),
    /// It is being asked just now, and has not answered yet.
    Asked,
    /// It does not answer ARP or neighbour solicitations.
    Failed,
    /// Nothing is known.
    Unknown,
}

/// Asks one namespace for ways.
#[derive(Debug)]
pub struct Paths {
    netlink: Netlink,
}

impl Paths {
    /// Opens a netlink socket in the namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or netlink is refused.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let netlink = namespace
            .enter(Netlink::route)?
            .doing(|| "opening a route netlink socket".into())?;
        Ok(Self { netlink })
    }

    /// The interfaces by index.
    ///
    /// # Errors
    /// When the kernel stops answering.
    pub fn devices(&mut self) -> io::Result<HashMap<u32, Device>> {
        let mut devices = HashMap::new();
        // struct ifinfomsg
        self.netlink.dump(RTM_GETLINK, &[0; 16], |_, message| {
            if message.len() < 16 {
                return;
            }
            let (index, flags) = (u32_at(message, 4), u32_at(message, 8));
            let mut device = Device {
                name: format!("interface {index}"),
                is_up: flags & IFF_UP != 0 && flags & IFF_LOWER_UP != 0,
                is_loopback: flags & IFF_LOOPBACK != 0,
                is_noarp: flags & IFF_NOARP != 0,
                carrier_changes: 0,
            };
            for (kind, value) in attributes(&message[16..]) {
                match kind {
                    IFLA_IFNAME => {
                        let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
                        device.name = String::from_utf8_lossy(name).into_owned();
                    }
                    IFLA_CARRIER_CHANGES if value.len() == 4 => {
                        device.carrier_changes = u32_at(value, 0);
                    }
                    _ => {}
                }
            }
            devices.insert(index, device);
        })?;
        Ok(devices)
    }

    /// The route that the packets of a flow take: those of a TCP
    /// connection with these ports (local and remote), or those of a raw
    /// socket, which has none that a rule could look at.
    ///
    /// # Errors
    /// What the kernel answers when there is none: ENETUNREACH, EHOSTUNREACH,
    /// EACCES (prohibited), EINVAL (the local address is gone, or a black hole).
    pub fn route(&mut self, flow: &Flow, tcp_ports: Option<(u16, u16)>) -> io::Result<Route> {
        let &Flow {
            local,
            remote,
            mark,
            device,
            uid,
            traffic_class,
        } = flow;
        // struct rtmsg
        let mut request = vec![0; 12];
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let bits = if remote.is_ipv4() { 32 } else { 128 };
        request[0] = family(remote);
        request[1] = bits;
        request[2] = bits;
        if remote.is_ipv4() {
            request[3] = traffic_class;
        }
        push_attribute(&mut request, RTA_DST, &octets(remote));
        push_attribute(&mut request, RTA_SRC, &octets(local));
        push_attribute(&mut request, RTA_UID, &uid.to_ne_bytes());
        if mark != 0 {
            push_attribute(&mut request, RTA_MARK, &mark.to_ne_bytes());
        }
        if device != 0 {
            push_attribute(&mut request, RTA_OIF, &device.to_ne_bytes());
        }
        if let Some((local, remote)) = tcp_ports {
            push_attribute(&mut request, RTA_IP_PROTO, &[libc::IPPROTO_TCP as u8]);
            push_attribute(&mut request, RTA_SPORT, &local.to_be_bytes());
            push_attribute(&mut request, RTA_DPORT, &remote.to_be_bytes());
        }
        let answer = self.netlink.get(RTM_GETROUTE, &request)?;
        if answer.len() < 12 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the kernel's answer names no route",
            ));
        }
        match answer[7] {
            RTN_BLACKHOLE => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            RTN_UNREACHABLE => return Err(io::Error::from_raw_os_error(libc::EHOSTUNREACH)),
            RTN_PROHIBIT => return Err(io::Error::from_raw_os_error(libc::EACCES)),
            _ => {}
        }
        let mut route = Route {
            device: 0,
            next_hop: remote,
            is_local: answer[7] == RTN_LOCAL,
        };
        for (kind, value) in attributes(&answer[12..]) {
            match kind {
                RTA_OIF if value.len() == 4 => route.device = u32_at(value, 0),
                RTA_GATEWAY => route.next_hop = address(value).unwrap_or(remote),
                // struct rtvia: a family, then the address.
                RTA_VIA => route.next_hop = value.get(2..).and_then(address).unwrap_or(remote),
                _ => {}
            }
        }
        Ok(route)
    }

    /// Whether any routing rule looks at protocols or ports, so that
    /// [`Paths::route`] depends on them.
    ///
    /// # Errors
    /// When the kernel stops answering.
    pub fn rules_look_at_ports(&mut self) -> io::Result<bool> {
        let mut found = false;
        for family in [libc::AF_INET, libc::AF_INET6] {
            // struct fib_rule_hdr
            let mut request = [0; 12];
            request[0] = family as u8;
            let dumped = self.netlink.dump(RTM_GETRULE, &request, |_, message| {
                if message.len() >= request.len() {
                    found |=
                        attributes(&message[request.len()..]).any(|(kind, _)| kind >= FRA_IP_PROTO);
                }
            });
            match dumped {
                // A kernel without rules, or without IPv6.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other?,
            }
        }
        Ok(found)
    }

    /// What the kernel knows of a next hop.
    ///
    /// # Errors
    /// When the kernel stops answering.
    pub fn neighbour(&mut self, route: &Route) -> io::Result<Neighbour> {
        let Some(entry) = self.neighbour_entry(route)? else {
            return Ok(Neighbour::Unknown);
        };
        if entry.is_fixed() {
            return Ok(Neighbour::Fixed);
        }
        if entry.state & (NUD_FAILED | NUD_INCOMPLETE) != 0 {
            return Ok(Neighbour::Failed);
        }
        if entry.state & NUD_PROBE != 0 {
            return Ok(Neighbour::Asked);
        }
        Ok(entry
            .confirmed_ms
            .map_or(Neighbour::Unknown, Neighbour::Confirmed))
    }

    /// Makes the kernel ask a known next hop whether it is still there, as it
    /// does by itself some seconds after using an entry that is stale. Entries
    /// that were set by hand, or that a program manages, are left as they are.
    ///
    /// # Errors
    /// When the kernel refuses (CAP_NET_ADMIN) or stops answering.
    pub fn solicit(&mut self, route: &Route) -> io::Result<()> {
        match self.neighbour_entry(route)? {
            Some(entry) if !entry.is_fixed() => self.netlink.change(
                RTM_NEWNEIGH,
                NLM_F_REPLACE,
                &neighbour_message(route, NUD_PROBE, entry.flags),
            ),
            _ => Ok(()),
        }
    }

    fn neighbour_entry(&mut self, route: &Route) -> io::Result<Option<NeighbourEntry>> {
        let request = neighbour_message(route, 0, 0);
        let answer = match self.netlink.get(RTM_GETNEIGH, &request) {
            Ok(answer) if answer.len() >= 12 => answer,
            Ok(_) => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut entry = NeighbourEntry {
            state: u16_at(&answer, 8),
            flags: answer[10],
            is_managed: false,
            confirmed_ms: None,
        };
        for (kind, value) in attributes(&answer[12..]) {
            match kind {
                // struct nda_cacheinfo: confirmed, used, updated, references
                NDA_CACHEINFO if value.len() >= 4 => {
                    entry.confirmed_ms = Some(u64::from(u32_at(value, 0)) * 1000 / USER_HZ);
                }
                NDA_FLAGS_EXT if value.len() == 4 => entry.is_managed = u32_at(value, 0) != 0,
                _ => {}
            }
        }
        Ok(Some(entry))
    }
}

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy)]
struct NeighbourEntry {
    state: u16,
    flags: u8,
    is_managed: bool,
    confirmed_ms: Option<u64>,
}

impl NeighbourEntry {
    /// Whether it is somebody else's: the kernel neither ages nor proves it,
    /// or a program does that.
    const fn is_fixed(&self) -> bool {
        self.state & (NUD_NOARP | NUD_PERMANENT) != 0
            || self.flags & NTF_EXT_LEARNED != 0
            || self.is_managed
    }
}

/// `struct ndmsg` with the next hop's address.
fn neighbour_message(route: &Route, state: u16, flags: u8) -> Vec<u8> {
    let mut message = vec![0; 12];
    message[0] = family(route.next_hop);
    message[4..8].copy_from_slice(&route.device.to_ne_bytes());
    message[8..10].copy_from_slice(&state.to_ne_bytes());
    message[10] = flags;
    match route.next_hop {
        IpAddr::V4(v4) => push_attribute(&mut message, NDA_DST, &v4.octets()),
        IpAddr::V6(v6) => push_attribute(&mut message, NDA_DST, &v6.octets()),
    }
    message
}

const fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}
