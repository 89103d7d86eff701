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
const NLM_F_REPLACE: u16 = 0x100;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const RTA_UID: u16 = 25;
const RTN_LOCAL: u8 = 2;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;
const IFLA_IFNAME: u16 = 3;
const IFLA_CARRIER_CHANGES: u16 = 35;
const NDA_DST: u16 = 1;
const NDA_CACHEINFO: u16 = 3;
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

/// What the kernel knows of a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Its link-layer address needs no proof (no ARP there, or set by hand).
    Fixed,
    /// It last proved to be there so many milliseconds ago.
    Confirmed(u64),
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

    /// The route that a segment from `local` to `remote` takes.
    ///
    /// # Errors
    /// What the kernel answers when there is none: ENETUNREACH, EHOSTUNREACH,
    /// EACCES (prohibited), EINVAL (the local address is gone, or a black hole).
    pub fn route(
        &mut self,
        local: IpAddr,
        remote: IpAddr,
        mark: u32,
        device: u32,
        uid: u32,
    ) -> io::Result<Route> {
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
        push_attribute(&mut request, RTA_DST, &octets(remote));
        push_attribute(&mut request, RTA_SRC, &octets(local));
        push_attribute(&mut request, RTA_UID, &uid.to_ne_bytes());
        if mark != 0 {
            push_attribute(&mut request, RTA_MARK, &mark.to_ne_bytes());
        }
        if device != 0 {
            push_attribute(&mut request, RTA_OIF, &device.to_ne_bytes());
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

    /// What the kernel knows of a next hop.
    ///
    /// # Errors
    /// When the kernel stops answering.
    pub fn neighbour(&mut self, route: &Route) -> io::Result<Neighbour> {
        let answer = match self.netlink.get(RTM_GETNEIGH, &neighbour_message(route, 0)) {
            Ok(answer) if answer.len() >= 12 => answer,
            Ok(_) => return Ok(Neighbour::Unknown),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                return Ok(Neighbour::Unknown);
            }
            Err(error) => return Err(error),
        };
        let state = u16_at(&answer, 8);
        if state & (NUD_NOARP | NUD_PERMANENT) != 0 {
            return Ok(Neighbour::Fixed);
        }
        if state & (NUD_FAILED | NUD_INCOMPLETE) != 0 {
            return Ok(Neighbour::Failed);
        }
        // struct nda_cacheinfo: confirmed, used, updated, references
        Ok(attributes(&answer[12..])
            .find(|(kind, value)| *kind == NDA_CACHEINFO && value.len() >= 4)
            .map_or(Neighbour::Unknown, |(_, value)| {
                Neighbour::Confirmed(u64::from(u32_at(value, 0)) * 1000 / USER_HZ)
            }))
    }

    /// Makes the kernel ask a known next hop whether it is still there, as it
    /// does by itself some seconds after using an entry that is stale.
    ///
    /// # Errors
    /// When the kernel refuses (CAP_NET_ADMIN), or there is no entry.
    pub fn solicit(&mut self, route: &Route) -> io::Result<()> {
        self.netlink.change(
            RTM_NEWNEIGH,
            NLM_F_REPLACE,
            &neighbour_message(route, NUD_PROBE),
        )
    }
}

/// `struct ndmsg` with the next hop's address.
fn neighbour_message(route: &Route, state: u16) -> Vec<u8> {
    let mut message = vec![0; 12];
    message[0] = family(route.next_hop);
    message[4..8].copy_from_slice(&route.device.to_ne_bytes());
    message[8..10].copy_from_slice(&state.to_ne_bytes());
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
