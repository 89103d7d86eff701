//! Cables between hosts, their addresses and routes.

use crate::command::ip_batch;
use crate::error::{LabError, Result};
use crate::host::{Host, Interface, Kind};
use crate::lab::Lab;
use std::net::IpAddr;

/// The router's address on every cable that [`Lab::uplink`] lays, IPv4.
pub const GATEWAY_V4: &str = "169.254.0.1";
/// The router's address on every cable that [`Lab::uplink`] lays, IPv6.
pub const GATEWAY_V6: &str = "fe80::1";

/// The interface names at the two ends of a cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// At the first host.
    pub a: String,
    /// At the second host.
    pub b: String,
}

impl Lab {
    /// Joins two hosts with a cable (a veth pair, up). The addresses of each
    /// end are IPv4 and IPv6 with prefix lengths, separated by white space
    /// (`"10.9.1.1/24 fd09:1::1/64"`), and usable at once. Interfaces are
    /// named `eth0`, `eth1`, … in the order in which a host gets them.
    ///
    /// # Errors
    /// A bad address, or failures of `ip`.
    pub fn link(&self, a: &Host, addresses_a: &str, b: &Host, addresses_b: &str) -> Result<Link> {
        let addresses_a = prefixes(addresses_a)?;
        let addresses_b = prefixes(addresses_b)?;
        let link = self.lay(a, b)?;
        a.assign(&link.a, addresses_a)?;
        b.assign(&link.b, addresses_b)?;
        Ok(link)
    }

    /// Plugs a host into a switch made by [`Lab::bridge`] and returns the
    /// host's interface. All hosts of a switch are one L2 segment.
    ///
    /// # Errors
    /// A bad address, a switch that is none, or failures of `ip`.
    pub fn plug(&self, host: &Host, addresses: &str, switch: &Host) -> Result<String> {
        if switch.kind() != Kind::Bridge {
            return Err(LabError::Other(format!(
                "{} is no switch: make it with Lab::bridge",
                switch.name()
            )));
        }
        let addresses = prefixes(addresses)?;
        let link = self.lay(host, switch)?;
        switch.ip(&format!("link set {} master br0", link.b))?;
        switch.edit_interface(&link.b, |interface| interface.master = Some("br0"));
        host.assign(&link.a, addresses)?;
        Ok(link.a)
    }

    /// Joins a host to a router as clouds do: the host has its addresses
    /// (without prefix lengths: `"172.31.24.218 fd31::218"`) for itself, and
    /// everything else is behind the router. The next hop is
    /// [`GATEWAY_V4`] and [`GATEWAY_V6`], whoever the peer is.
    ///
    /// # Errors
    /// A bad address, or failures of `ip`.
    pub fn uplink(&self, host: &Host, addresses: &str, router: &Host) -> Result<Link> {
        let addresses = addresses
            .split_whitespace()
            .map(parse_address)
            .collect::<Result<Vec<IpAddr>>>()?;
        let link = self.lay(host, router)?;
        router.assign(
            &link.b,
            vec![format!("{GATEWAY_V4}/32"), format!("{GATEWAY_V6}/64")],
        )?;
        let whole = |address: &IpAddr| match address {
            IpAddr::V4(v4) => format!("{v4}/32"),
            IpAddr::V6(v6) => format!("{v6}/128"),
        };
        host.assign(&link.a, addresses.iter().map(whole).collect())?;
        for address in &addresses {
            router.route(&format!("{} dev {}", whole(address), link.b))?;
        }
        if addresses.iter().any(IpAddr::is_ipv4) {
            host.route(&format!("default via {GATEWAY_V4} dev {} onlink", link.a))?;
        }
        if addresses.iter().any(IpAddr::is_ipv6) {
            host.route(&format!("default via {GATEWAY_V6} dev {}", link.a))?;
        }
        Ok(link)
    }

    fn lay(&self, a: &Host, b: &Host) -> Result<Link> {
        let link = Link {
            a: a.next_interface_name(),
            b: b.next_interface_name(),
        };
        a.ip(&format!(
            "link add {} type veth peer name {} netns {}",
            link.a,
            link.b,
            b.netns_name()
        ))?;
        for (host, name, peer, peer_interface) in
            [(a, &link.a, b, &link.b), (b, &link.b, a, &link.a)]
        {
            host.state().interfaces.push(Interface {
                name: name.clone(),
                addresses: Vec::new(),
                master: None,
                peer: peer.clone(),
                peer_interface: peer_interface.clone(),
                parked: None,
            });
            host.ip(&format!("link set {name} up"))?;
        }
        Ok(link)
    }
}

impl Host {
    /// Adds a route, in `ip route`'s words: `"10.9.2.0/24 via 10.9.1.254"`.
    /// Routes are back after a reboot.
    ///
    /// # Errors
    /// When `ip` refuses it.
    pub fn route(&self, route: &str) -> Result<()> {
        let family = if route.contains(':') { "-6 " } else { "" };
        let route = format!("{family}route replace {route}");
        self.ip(&route)?;
        self.state().routes.push(route);
        Ok(())
    }

    /// Sends everything that has no other route to a router.
    ///
    /// # Errors
    /// When `ip` refuses it.
    pub fn default_route(&self, gateway: &str) -> Result<()> {
        parse_address(gateway)?;
        self.route(&format!("default via {gateway}"))
    }

    /// The host's addresses, in the order in which it got them.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let state = self.state();
        state
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .filter_map(|prefix| prefix.split('/').next()?.parse().ok())
            .collect()
    }

    pub(crate) fn assign(&self, interface: &str, addresses: Vec<String>) -> Result<()> {
        let lines: Vec<String> = addresses
            .iter()
            .map(|prefix| {
                let nodad = if prefix.contains(':') { " nodad" } else { "" };
                format!("addr add {prefix} dev {interface}{nodad}")
            })
            .collect();
        ip_batch(self.netns_name(), &lines)?;
        self.edit_interface(interface, |known| known.addresses.extend(addresses));
        Ok(())
    }

    pub(crate) fn edit_interface(&self, name: &str, edit: impl FnOnce(&mut Interface)) {
        let mut state = self.state();
        if let Some(interface) = state.interfaces.iter_mut().find(|known| known.name == name) {
            edit(interface);
        }
    }
}

fn prefixes(text: &str) -> Result<Vec<String>> {
    text.split_whitespace()
        .map(|prefix| {
            let (address, length) = prefix.split_once('/').ok_or_else(|| {
                LabError::Other(format!(
                    "'{prefix}' has no prefix length: write 10.9.1.1/24"
                ))
            })?;
            let longest = if parse_address(address)?.is_ipv4() {
                32
            } else {
                128
            };
            match length.parse::<u8>() {
                Ok(length) if length <= longest => Ok(prefix.to_owned()),
                _ => Err(LabError::Other(format!(
                    "'{prefix}' has a prefix length that is not 0 to {longest}"
                ))),
            }
        })
        .collect()
}

pub(crate) fn parse_address(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| {
        LabError::Other(format!(
            "'{text}' is no IP address: write 10.9.1.1 or fd09::1"
        ))
    })
}
