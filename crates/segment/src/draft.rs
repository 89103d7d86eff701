//! A TCP segment to be sent, and the ICMP error that quotes one.

use crate::checksum::{self, Checksum};
use crate::probe::BuildError;
use crate::{Flags, Timestamps};
use std::net::{IpAddr, SocketAddr};

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Linux's default.
const TTL: u8 = 64;

/// A TCP segment in its IP packet, before it has bytes. The IP header is one
/// that a Linux host sends by default: TTL 64, DF, no type of service.
///
/// ```
/// use tcpalive_segment::{Draft, Flags, Segment};
///
/// let syn = Draft {
///     flags: Flags::SYN,
///     maximum_segment_size: Some(1460),
///     ..Draft::new("192.0.2.1:40000".parse()?, "192.0.2.2:7".parse()?)
/// };
/// let packet = syn.to_bytes()?;
/// let segment = Segment::parse(&packet)?;
/// assert_eq!(segment.flags().to_string(), "S");
/// assert_eq!(segment.checksum_ok(), Some(true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draft<'a> {
    /// Who sends it. Scope id and flow info are not looked at.
    pub source: SocketAddr,
    /// Who receives it.
    pub destination: SocketAddr,
    /// The sequence number of the first byte of the payload.
    pub sequence: u32,
    /// What is expected next; it stands in the header whatever the flags are.
    pub acknowledgment: u32,
    /// The flags.
    pub flags: Flags,
    /// As it stands in the header: already scaled.
    pub window: u16,
    /// The MSS option, for a SYN.
    pub maximum_segment_size: Option<u16>,
    /// The window scale option, for a SYN.
    pub window_scale: Option<u8>,
    /// The SACK-permitted option, for a SYN.
    pub sack_permitted: bool,
    /// The timestamps option.
    pub timestamps: Option<Timestamps>,
    /// Data. What is longer than an IP packet holds makes no packet.
    pub payload: &'a [u8],
}

impl<'a> Draft<'a> {
    /// A segment without flags, options and payload.
    #[must_use]
    pub const fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source,
            destination,
            sequence: 0,
            acknowledgment: 0,
            flags: Flags::NONE,
            window: 0,
            maximum_segment_size: None,
            window_scale: None,
            sack_permitted: false,
            timestamps: None,
            payload: &[],
        }
    }

    /// The IP packet with its checksums.
    ///
    /// # Errors
    /// When the addresses are of different families, or the payload does not
    /// fit in an IP packet.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BuildError> {
        let options = self.options();
        let length = 20 + options.len() + self.payload.len();
        let (mut packet, mut checksum) =
            ip_packet(self.source.ip(), self.destination.ip(), TCP, length)?;
        let start = packet.len();
        packet.extend(self.source.port().to_be_bytes());
        packet.extend(self.destination.port().to_be_bytes());
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.acknowledgment.to_be_bytes());
        // At most 24 bytes of options: eleven 32-bit words in all.
        let words = (5 + options.len() / 4) as u16;
        packet.extend((words << 12 | self.flags.bits()).to_be_bytes());
        packet.extend(self.window.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(options);
        packet.extend(self.payload);
        checksum.add(&packet[start..]);
        packet[start + 16..start + 18].copy_from_slice(&checksum.finish().to_be_bytes());
        Ok(packet)
    }

    /// In whole 32-bit words, each option padded in front by NOPs.
    fn options(&self) -> Vec<u8> {
        const NOP: u8 = 1;
        let mut options = Vec::with_capacity(24);
        if let Some(size) = self.maximum_segment_size {
            let [high, low] = size.to_be_bytes();
            options.extend([2, 4, high, low]);
        }
        if let Some(shift) = self.window_scale {
            options.extend([NOP, 3, 3, shift]);
        }
        if self.sack_permitted {
            options.extend([NOP, NOP, 4, 2]);
        }
        if let Some(timestamps) = self.timestamps {
            options.extend([NOP, NOP, 8, 10]);
            options.extend(timestamps.value.to_be_bytes());
            options.extend(timestamps.echo_reply.to_be_bytes());
        }
        options
    }
}

/// An ICMP or ICMPv6 error message (RFC 792, RFC 4443 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IcmpError<'a> {
    /// Who reports it.
    pub source: IpAddr,
    /// Who sent the packet that is quoted.
    pub destination: IpAddr,
    /// Type, such as 3 for ICMP's "destination unreachable", 1 for ICMPv6's.
    pub kind: u8,
    /// Code, such as 1 for "host unreachable".
    pub code: u8,
    /// The packet that drew it, from its IP header on: 8 bytes of TCP at least.
    pub quoted: &'a [u8],
}

impl IcmpError<'_> {
    /// The IP packet with its checksums.
    ///
    /// # Errors
    /// When the addresses are of different families, or the quote does not
    /// fit in an IP packet.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BuildError> {
        let length = 8 + self.quoted.len();
        let protocol = if self.source.is_ipv4() { ICMP } else { ICMPV6 };
        let (mut packet, pseudo_header) =
            ip_packet(self.source, self.destination, protocol, length)?;
        let start = packet.len();
        packet.extend([self.kind, self.code, 0, 0, 0, 0, 0, 0]);
        packet.extend(self.quoted);
        // ICMP for IPv4 has no pseudo header (RFC 792).
        let mut checksum = if self.source.is_ipv4() {
            Checksum::new()
        } else {
            pseudo_header
        };
        checksum.add(&packet[start..]);
        packet[start + 2..start + 4].copy_from_slice(&checksum.finish().to_be_bytes());
        Ok(packet)
    }
}

/// An IP header for a payload of this length, and the checksum of the pseudo
/// header.
fn ip_packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    length: usize,
) -> Result<(Vec<u8>, Checksum), BuildError> {
    let too_long = |_| BuildError::TooLong { length };
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            const DONT_FRAGMENT: u8 = 0x40;
            let total = u16::try_from(length + 20).map_err(too_long)?;
            let mut header = vec![0x45, 0];
            header.extend(total.to_be_bytes());
            header.extend([0, 0, DONT_FRAGMENT, 0, TTL, protocol, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum::of(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let pseudo = pseudo_header(&from.octets(), &to.octets(), protocol, length);
            Ok((header, pseudo))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let payload = u16::try_from(length).map_err(too_long)?;
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(payload.to_be_bytes());
            header.extend([protocol, TTL]);
            header.extend(from.octets());
            header.extend(to.octets());
            let pseudo = pseudo_header(&from.octets(), &to.octets(), protocol, length);
            Ok((header, pseudo))
        }
        (local, remote) => Err(BuildError::MixedFamilies { local, remote }),
    }
}

/// RFC 9293 §3.1, RFC 8200 §8.1.
fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> Checksum {
    let mut checksum = Checksum::new();
    checksum.add(source);
    checksum.add(destination);
    // Fits: the header's own length field was smaller.
    checksum.add(&(length as u32).to_be_bytes());
    checksum.add(&[0, protocol]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IpFields, MAX_PROBE_LEN, Probe, Segment, TcpOption};

    #[test]
    fn a_draft_of_a_probe_has_the_probes_bytes() {
        for (local, remote) in [
            ("192.0.2.1:40000", "192.0.2.2:7"),
            ("[2001:db8::1]:1", "[2001:db8::2]:2"),
        ] {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let timestamps = Some(Timestamps {
                value: 5,
                echo_reply: 6,
            });
            let probe = Probe {
                local,
                remote,
                sequence: 7,
                acknowledgment: 8,
                window: 9,
                timestamps,
                garbage: true,
                ip: IpFields {
                    ttl: 64,
                    traffic_class: 0,
                    dont_fragment: true,
                    flow_label: 0,
                },
            };
            let mut buffer = [0; MAX_PROBE_LEN];
            let length = probe.write(&mut buffer).unwrap();
            let draft = Draft {
                sequence: 7,
                acknowledgment: 8,
                flags: Flags::ACK,
                window: 9,
                timestamps,
                payload: &[0],
                ..Draft::new(local, remote)
            };
            assert_eq!(draft.to_bytes().unwrap(), buffer[..length]);
        }
    }

    #[test]
    fn options_are_read_back() {
        let timestamps = Timestamps {
            value: 1,
            echo_reply: 2,
        };
        let syn = Draft {
            flags: Flags::SYN,
            maximum_segment_size: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(timestamps),
            payload: b"early",
            ..Draft::new(
                "192.0.2.1:1".parse().unwrap(),
                "192.0.2.2:2".parse().unwrap(),
            )
        };
        let packet = syn.to_bytes().unwrap();
        let segment = Segment::parse(&packet).unwrap();
        assert_eq!(segment.checksum_ok(), Some(true));
        assert_eq!(segment.payload_len(), 5);
        assert_eq!(
            segment.options().collect::<Vec<_>>(),
            [
                TcpOption::MaximumSegmentSize(1460),
                TcpOption::WindowScale(7),
                TcpOption::SackPermitted,
                TcpOption::Timestamps(timestamps),
            ]
        );
    }

    #[test]
    fn what_no_ip_packet_holds_is_refused() {
        let payload = vec![0; 65_516];
        let draft = Draft {
            payload: &payload,
            ..Draft::new(
                "192.0.2.1:1".parse().unwrap(),
                "192.0.2.2:2".parse().unwrap(),
            )
        };
        assert_eq!(
            draft.to_bytes().unwrap_err(),
            BuildError::TooLong { length: 65_536 }
        );
    }

    // The checksums were added up apart from this code, word by word.
    #[test]
    fn an_icmp_error_is_these_bytes() {
        let error = IcmpError {
            source: "192.0.2.2".parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            kind: 3,
            code: 1,
            quoted: &[0x12, 0x34],
        };
        let packet = error.to_bytes().unwrap();
        assert_eq!(packet[9], 1);
        assert_eq!(packet[20..], [3, 1, 0xea, 0xca, 0, 0, 0, 0, 0x12, 0x34]);
    }

    #[test]
    fn icmp_for_ipv6_sums_the_addresses_too() {
        let error = IcmpError {
            source: "::2".parse().unwrap(),
            destination: "::1".parse().unwrap(),
            kind: 1,
            code: 3,
            quoted: &[],
        };
        let packet = error.to_bytes().unwrap();
        assert_eq!(packet[6], 58);
        // 2 + 1 + 8 + 58 + 0x0103, inverted.
        assert_eq!(packet[40..], [1, 3, 0xfe, 0xb7, 0, 0, 0, 0]);
    }
}
