//! A namespace with real sockets, a cable, and at its end a namespace whose
//! kernel says nothing, for the scripted peers.

use super::Part;
use super::playing::Playing;
use super::record::Record;
use crate::error::{LabError, Result};
use crate::host::{Host, write_sysctl};
use crate::lab::Lab;
use crate::night::Interrupt;
use tcpalive_keepalive::Sysctl;
use tcpalive_kernel::wire::Wire;

/// The subject's addresses: IPv4 and IPv6.
pub(super) const SUBJECT: [&str; 2] = ["10.77.0.1", "fd77::1"];
/// The peers' addresses: IPv4 and IPv6.
pub(super) const PEER: [&str; 2] = ["10.77.0.2", "fd77::2"];

/// Two hosts and the cable between them. The peer's has no address: its
/// kernel answers nothing.
#[derive(Debug)]
pub(super) struct Stage {
    subject: Host,
    peer: Host,
    subject_mac: [u8; 6],
    peer_mac: [u8; 6],
}

impl Stage {
    pub(super) fn build(lab: &Lab, number: usize, sysctl: &Sysctl) -> Result<Self> {
        let subject = lab.host(&format!("subject{number}"))?;
        let peer = lab.host(&format!("peer{number}"))?;
        peer.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        let [v4, v6] = SUBJECT;
        lab.link(&subject, &format!("{v4}/24 {v6}/64"), &peer, "")?;
        let (subject_mac, peer_mac) = (hardware_address(&subject)?, hardware_address(&peer)?);
        let lladdr = peer_mac.map(|byte| format!("{byte:02x}")).join(":");
        for address in PEER {
            subject.ip(&format!(
                "neigh replace {address} lladdr {lladdr} dev eth0 nud permanent"
            ))?;
        }
        subject.run(|| write_sysctls(sysctl))?;
        Ok(Self {
            subject,
            peer,
            subject_mac,
            peer_mac,
        })
    }

    /// Plays the connections side by side to their ends.
    pub(super) fn play(&self, parts: &[&Part], interrupt: &Interrupt) -> Result<Vec<Record>> {
        let peers_wire = self.peer.run(|| Wire::open("eth0")).map_err(from_kernel)?;
        self.subject.run(|| {
            let wire = Wire::open("eth0").map_err(from_kernel)?;
            let mut playing = Playing::new(self, wire, peers_wire, parts)?;
            playing.run(interrupt)?;
            playing.records()
        })
    }

    /// An Ethernet frame from the peer to the subject.
    pub(super) fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(14 + packet.len());
        frame.extend(self.subject_mac);
        frame.extend(self.peer_mac);
        frame.extend(match packet.first() {
            Some(byte) if byte >> 4 == 6 => ETHERTYPE_IPV6,
            _ => ETHERTYPE_IPV4,
        });
        frame.extend(packet);
        frame
    }

    /// The IP packet in a frame from the subject.
    pub(super) fn packet<'f>(&self, frame: &'f [u8]) -> Option<&'f [u8]> {
        let (header, packet) = frame.split_first_chunk::<14>()?;
        let kind = [header[12], header[13]];
        let ours =
            header[6..12] == self.subject_mac && (kind == ETHERTYPE_IPV4 || kind == ETHERTYPE_IPV6);
        ours.then_some(packet)
    }

    /// Fills the subject's queue, so that what it sends is dropped, or takes
    /// the stopper out.
    pub(super) fn stop_queue(&self, full: bool) -> Result<()> {
        let arguments = if full {
            "qdisc replace dev eth0 root pfifo limit 0"
        } else {
            "qdisc del dev eth0 root"
        };
        let mut tc = std::process::Command::new("tc");
        tc.args(["-n", self.subject.netns_name()])
            .args(arguments.split_whitespace());
        crate::command::capture(&mut tc, "").map(drop)
    }
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

pub(super) fn from_kernel(error: tcpalive_kernel::Error) -> LabError {
    LabError::Other(error.to_string())
}

fn hardware_address(host: &Host) -> Result<[u8; 6]> {
    let links = host.ip("-o link show eth0")?;
    let mut words = links.split_whitespace();
    words.find(|word| *word == "link/ether");
    let mut bytes = words
        .next()
        .into_iter()
        .flat_map(|mac| mac.split(':'))
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok());
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = bytes
            .next()
            .ok_or_else(|| LabError::Other(format!("no hardware address in '{links}'")))?;
    }
    Ok(mac)
}

/// Sets the sysctls of the calling thread's namespace.
pub(super) fn write_sysctls(sysctl: &Sysctl) -> Result<()> {
    let values = [
        ("time", sysctl.time().as_secs()),
        ("intvl", sysctl.interval().as_secs()),
        ("probes", u64::from(sysctl.probes())),
    ];
    values.into_iter().try_for_each(|(key, value)| {
        write_sysctl(&format!("net.ipv4.tcp_keepalive_{key}"), &value.to_string())
    })
}
