//! A keep-alive probe and its bytes.

use crate::checksum::{self, Checksum};
use crate::{Flags, Timestamps};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

const TCP: u8 = 6;
const TCP_HEADER: u16 = 20;
/// NOP, NOP, and the ten bytes of the timestamps option.
const TIMESTAMPS: u16 = 12;

/// The longest probe: IPv6, timestamps and a byte of garbage.
pub const MAX_PROBE_LEN: usize = 40 + TCP_HEADER as usize + TIMESTAMPS as usize + 1;

/// What of the IP header a probe takes from its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpFields {
    /// Time to live, on IPv6 the hop limit. Linux's default is 64.
    pub ttl: u8,
    /// Traffic class, on IPv4 the type of service.
    pub traffic_class: u8,
    /// IPv4's DF flag. IPv6 has none: routers never fragment.
    pub dont_fragment: bool,
    /// IPv6's flow label, 20 bits; IPv4 has none.
    pub flow_label: u32,
}

/// A keep-alive probe: an ACK without payload, or with one garbage byte, whose
/// sequence number is one to the left of what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// The socket's own address. IPv4 carried by an IPv6 socket is to be
    /// given as IPv4; scope id and flow info are not looked at.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// As it stands in the header: SND.UNA − 1.
    pub sequence: u32,
    /// RCV.NXT.
    pub acknowledgment: u32,
    /// As it stands in the header: already scaled.
    pub window: u16,
    /// To be given when the connection negotiated timestamps (RFC 7323 §3.2),
    /// and never with a value above the sender's clock: a peer that takes it
    /// over drops the connection's real segments as old.
    pub timestamps: Option<Timestamps>,
    /// Whether to send one byte, 0, as RFC 9293 §3.8.4 (MAY-6) permits for
    /// peers that answer no empty probe.
    pub garbage: bool,
    /// The IP header's part.
    pub ip: IpFields,
}

/// Why a probe has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// One address is IPv4 and the other IPv6.
    #[error(
        "cannot build a probe from {local} to {remote}: both addresses must be IPv4, or both IPv6"
    )]
    MixedFamilies {
        /// The probe's own address.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
    },
    /// An IPv6 flow label of more than 20 bits.
    #[error("cannot build a probe with the flow label {flow_label:#x}: it has at most 20 bits")]
    FlowLabel {
        /// The flow label.
        flow_label: u32,
    },
    /// More than an IP packet holds.
    #[error("cannot build a packet for {length} bytes: IP holds 65,535, IPv4's header included")]
    TooLong {
        /// What the IP header would have to be followed by, in bytes.
        length: usize,
    },
}

impl Probe {
    /// Writes the IP packet, checksums included, to the start of `buffer` and
    /// returns its length.
    ///
    /// It is what Linux sends (`tcp_xmit_probe_skb`), save that IPv4's
    /// identification is 0: the kernel fills that in for a raw socket, and
    /// the header's checksum anew (raw(7), `IP_HDRINCL`).
    ///
    /// # Errors
    ///
    /// When the addresses are of different families, or the flow label of an
    /// IPv6 probe does not fit in its 20 bits.
    pub fn write(&self, buffer: &mut [u8; MAX_PROBE_LEN]) -> Result<usize, BuildError> {
        let (ip_length, pseudo_header) = match (self.local.ip(), self.remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => self.write_ipv4(local, remote, buffer),
            (IpAddr::V6(local), IpAddr::V6(remote)) => self.write_ipv6(local, remote, buffer)?,
            (local, remote) => return Err(BuildError::MixedFamilies { local, remote }),
        };
        let length = ip_length + usize::from(self.tcp_length());
        self.write_tcp(&mut buffer[ip_length..length], pseudo_header);
        Ok(length)
    }

    /// RFC 791 §3.1. Returns the header's length and TCP's checksum so far.
    fn write_ipv4(
        &self,
        local: Ipv4Addr,
        remote: Ipv4Addr,
        buffer: &mut [u8; MAX_PROBE_LEN],
    ) -> (usize, Checksum) {
        const DONT_FRAGMENT: u8 = 0x40;
        const LENGTH: u16 = 20;
        let mut header = [0; LENGTH as usize];
        header[0] = 0x45;
        header[1] = self.ip.traffic_class;
        header[2..4].copy_from_slice(&(LENGTH + self.tcp_length()).to_be_bytes());
        header[6] = if self.ip.dont_fragment {
            DONT_FRAGMENT
        } else {
            0
        };
        header[8] = self.ip.ttl;
        header[9] = TCP;
        header[12..16].copy_from_slice(&local.octets());
        header[16..20].copy_from_slice(&remote.octets());
        let checksum = checksum::of(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        buffer[..header.len()].copy_from_slice(&header);
        (
            header.len(),
            self.pseudo_header(&header[12..16], &header[16..20]),
        )
    }

    /// RFC 8200 §3. Returns the header's length and TCP's checksum so far.
    fn write_ipv6(
        &self,
        local: Ipv6Addr,
        remote: Ipv6Addr,
        buffer: &mut [u8; MAX_PROBE_LEN],
    ) -> Result<(usize, Checksum), BuildError> {
        let flow_label = self.ip.flow_label;
        if flow_label >> 20 != 0 {
            return Err(BuildError::FlowLabel { flow_label });
        }
        let first = 6 << 28 | u32::from(self.ip.traffic_class) << 20 | flow_label;
        let mut header = [0; 40];
        header[0..4].copy_from_slice(&first.to_be_bytes());
        header[4..6].copy_from_slice(&self.tcp_length().to_be_bytes());
        header[6] = TCP;
        header[7] = self.ip.ttl;
        header[8..24].copy_from_slice(&local.octets());
        header[24..40].copy_from_slice(&remote.octets());
        buffer[..header.len()].copy_from_slice(&header);
        Ok((
            header.len(),
            self.pseudo_header(&header[8..24], &header[24..40]),
        ))
    }

    /// RFC 9293 §3.1. `segment` has the length of the TCP segment.
    fn write_tcp(&self, segment: &mut [u8], pseudo_header: Checksum) {
        segment.fill(0);
        segment[0..2].copy_from_slice(&self.local.port().to_be_bytes());
        segment[2..4].copy_from_slice(&self.remote.port().to_be_bytes());
        segment[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        segment[8..12].copy_from_slice(&self.acknowledgment.to_be_bytes());
        let data_offset = self.header_length() / 4;
        let offset_and_flags = data_offset << 12 | Flags::ACK.bits();
        segment[12..14].copy_from_slice(&offset_and_flags.to_be_bytes());
        segment[14..16].copy_from_slice(&self.window.to_be_bytes());
        if let Some(timestamps) = self.timestamps {
            const NOP: u8 = 1;
            const KIND: u8 = 8;
            const LENGTH: u8 = 10;
            segment[20..24].copy_from_slice(&[NOP, NOP, KIND, LENGTH]);
            segment[24..28].copy_from_slice(&timestamps.value.to_be_bytes());
            segment[28..32].copy_from_slice(&timestamps.echo_reply.to_be_bytes());
        }
        let mut checksum = pseudo_header;
        checksum.add(segment);
        segment[16..18].copy_from_slice(&checksum.finish().to_be_bytes());
    }

    fn pseudo_header(&self, local: &[u8], remote: &[u8]) -> Checksum {
        Checksum::with_pseudo_header(local, remote, u32::from(self.tcp_length()))
    }

    /// Header and payload.
    const fn tcp_length(&self) -> u16 {
        self.header_length() + self.garbage as u16
    }

    const fn header_length(&self) -> u16 {
        match self.timestamps {
            Some(_) => TCP_HEADER + TIMESTAMPS,
            None => TCP_HEADER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(local: &str, remote: &str) -> Probe {
        Probe {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            sequence: 0x0102_0304,
            acknowledgment: 0x0506_0708,
            window: 0x090a,
            timestamps: None,
            garbage: false,
            ip: IpFields {
                ttl: 64,
                traffic_class: 0,
                dont_fragment: true,
                flow_label: 0,
            },
        }
    }

    fn bytes(probe: &Probe) -> Vec<u8> {
        let mut buffer = [0xee; MAX_PROBE_LEN];
        let length = probe.write(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    // The checksums were added up apart from this code, word by word.
    #[test]
    fn an_empty_ipv4_probe_is_these_40_bytes() {
        assert_eq!(
            bytes(&probe("192.0.2.1:40000", "192.0.2.2:7")),
            [
                0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0xb6,
                0xcc, // IPv4
                192, 0, 2, 1, 192, 0, 2, 2, // addresses
                0x9c, 0x40, 0x00, 0x07, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10, 0x09, 0x0a, // TCP
                0x76, 0x6b, 0x00, 0x00, // checksum, urgent pointer
            ]
        );
    }

    #[test]
    fn the_longest_probe_fills_the_buffer() {
        let probe = Probe {
            timestamps: Some(Timestamps {
                value: 1,
                echo_reply: 2,
            }),
            garbage: true,
            ..probe("[2001:db8::1]:1", "[2001:db8::2]:2")
        };
        let bytes = bytes(&probe);
        assert_eq!(bytes.len(), MAX_PROBE_LEN);
        assert_eq!(bytes[60..], [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn ipv4_takes_no_notice_of_the_flow_label() {
        let plain = probe("192.0.2.1:1", "192.0.2.2:2");
        let mut labelled = plain;
        labelled.ip.flow_label = u32::MAX;
        assert_eq!(bytes(&labelled), bytes(&plain));
    }

    #[test]
    fn mixed_families_are_refused() {
        let probe = probe("192.0.2.1:1", "[2001:db8::2]:2");
        let error = probe.write(&mut [0; MAX_PROBE_LEN]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot build a probe from 192.0.2.1 to 2001:db8::2: \
             both addresses must be IPv4, or both IPv6"
        );
    }

    #[test]
    fn a_flow_label_over_20_bits_is_refused() {
        let mut probe = probe("[2001:db8::1]:1", "[2001:db8::2]:2");
        probe.ip.flow_label = 1 << 20;
        let error = probe.write(&mut [0; MAX_PROBE_LEN]).unwrap_err();
        assert_eq!(
            error,
            BuildError::FlowLabel {
                flow_label: 1 << 20
            }
        );
    }
}
