//! A TCP segment in its IP packet.

use crate::ip::Packet;
use crate::{Flags, Options, TcpOption, Timestamps};
use std::net::SocketAddr;
use thiserror::Error;

/// Why bytes are not the beginning of an IP packet with a TCP header in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// There are no bytes.
    #[error("expected an IP packet, found no bytes")]
    Empty,
    /// The first four bits are neither 4 nor 6.
    #[error(
        "expected an IPv4 or IPv6 packet, found version {version}: are the bytes before the IP header (Ethernet's, for example) taken off?"
    )]
    Version {
        /// The first four bits.
        version: u8,
    },
    /// A header goes on behind the last byte: of the capture, or of the
    /// packet as its own length has it.
    #[error("{what} needs the first {needed} bytes of the packet, found {found}")]
    Truncated {
        /// The header.
        what: &'static str,
        /// Where it ends, counted from the start of the packet.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The length field of the IP header is 0: an IPv6 jumbogram (RFC 2675),
    /// or a packet over 64 KiB that was captured before it was cut for the
    /// wire.
    #[error("expected a packet of up to 65,535 bytes, found the length 0 that stands for more")]
    NoLength,
    /// The IPv4 header is said to be shorter than 20 bytes or longer than the
    /// packet.
    #[error(
        "expected an IPv4 header of 20 bytes up to the packet's {packet}, found a header length of {length}"
    )]
    HeaderLength {
        /// Header length in bytes.
        length: usize,
        /// Total length in bytes.
        packet: usize,
    },
    /// A fragment other than the first: the TCP header is in another packet.
    #[error("expected a packet's first fragment, found the one that starts at byte {offset}")]
    LaterFragment {
        /// Where the fragment belongs, in bytes.
        offset: usize,
    },
    /// What follows the IP headers is not TCP.
    #[error("expected TCP (protocol 6), found protocol {protocol}")]
    NotTcp {
        /// IANA's protocol number.
        protocol: u8,
    },
    /// A routing header that does not say where the packet goes in the end.
    #[error(
        "expected a final destination in the IPv6 routing header, found type {kind} with {segments_left} segments left"
    )]
    Route {
        /// Routing type.
        kind: u8,
        /// Segments left.
        segments_left: u8,
    },
    /// The TCP header is shorter than 20 bytes or longer than the packet.
    #[error(
        "expected a TCP header of 20 bytes up to the segment's {segment}, found a header length of {length}"
    )]
    DataOffset {
        /// Header length in bytes, from the data offset.
        length: usize,
        /// Length of header and payload, from the IP header.
        segment: usize,
    },
}

/// A TCP segment: a view over the bytes of the IP packet that carries it.
///
/// What it tells is what the bytes say; whether they are as they were sent,
/// [`Segment::checksum_ok`] tells.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    ip: Packet<'a>,
    /// The TCP header without its options.
    header: &'a [u8; 20],
    /// Length of the TCP header with its options, 20 to 60.
    header_length: usize,
}

impl<'a> Segment<'a> {
    /// Reads an IP packet from its first byte on.
    ///
    /// Bytes behind the packet's own length, such as Ethernet's padding, are
    /// ignored. Of IPv6 extension headers, hop-by-hop and destination
    /// options, routing, fragment and authentication headers are passed over.
    ///
    /// # Errors
    ///
    /// When the first 20 bytes of a TCP header are not there, or when lengths
    /// contradict each other.
    pub fn parse(ip_packet: &'a [u8]) -> Result<Self, ParseError> {
        Self::view(Packet::parse_tcp(ip_packet, None)?)
    }

    /// As [`Segment::parse`], of a packet that had `sent` bytes when it was
    /// captured. That counts where the header's length is 0, as it is in
    /// captures from hosts that leave the cutting to the network card or
    /// handle packets over 64 KiB (TSO, GRO, BIG TCP). `ip_packet` may have
    /// fewer bytes: a capture often holds only the first ones.
    ///
    /// # Errors
    ///
    /// As [`Segment::parse`], but never [`ParseError::NoLength`].
    #[inline]
    pub fn parse_sent(ip_packet: &'a [u8], sent: u32) -> Result<Self, ParseError> {
        Self::view(Packet::parse_tcp(ip_packet, Some(sent))?)
    }

    #[inline]
    fn view(ip: Packet<'a>) -> Result<Self, ParseError> {
        let header = ip
            .payload
            .first_chunk::<20>()
            .ok_or_else(|| ParseError::Truncated {
                what: "the TCP header",
                needed: ip.header_length + 20,
                found: ip.header_length + ip.payload.len(),
            })?;
        let header_length = usize::from(header[12] >> 4) * 4;
        if header_length < header.len() || header_length > ip.payload_length {
            return Err(ParseError::DataOffset {
                length: header_length,
                segment: ip.payload_length,
            });
        }
        Ok(Self {
            ip,
            header,
            header_length,
        })
    }

    /// Who sent it. An IPv6 address has no scope id: no packet carries one.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.ip.header.source(), self.number_16(0))
    }

    /// Who is to receive it in the end, also where an IPv6 routing header
    /// still sends it elsewhere first.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.ip.header.destination(), self.number_16(2))
    }

    /// The sequence number of the first byte of the payload, or where it
    /// would be.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.number_32(4)
    }

    /// The sequence number that the sender expects next. It counts only with
    /// [`Flags::ACK`].
    #[must_use]
    pub fn acknowledgment(&self) -> u32 {
        self.number_32(8)
    }

    /// The flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags::from_bits(self.number_16(12))
    }

    /// The window as it stands in the header: to be shifted by the scale that
    /// the sender announced in its SYN, except in a SYN.
    #[must_use]
    pub fn window(&self) -> u16 {
        self.number_16(14)
    }

    /// Bytes of payload that were sent, by the IP header's length; a capture
    /// may hold fewer. In a first fragment, those of this fragment.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.ip.payload_length - self.header_length
    }

    /// The options, as far as they were captured.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        let end = self.header_length.min(self.ip.payload.len());
        Options::new(&self.ip.payload[self.header.len()..end])
    }

    /// The timestamps option; of several, the last, as the kernel has it.
    #[must_use]
    pub fn timestamps(&self) -> Option<Timestamps> {
        self.options()
            .filter_map(|option| match option {
                TcpOption::Timestamps(timestamps) => Some(timestamps),
                _ => None,
            })
            .last()
    }

    /// Time to live, on IPv6 the hop limit.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.ip.header.ttl()
    }

    /// Whether routers must not fragment the packet. On IPv6 they never do.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.ip.header.dont_fragment()
    }

    /// Traffic class, on IPv4 the type of service: DSCP and ECN.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.ip.header.traffic_class()
    }

    /// The IPv6 flow label, 20 bits; 0 on IPv4.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        self.ip.header.flow_label()
    }

    /// Whether a receiver finds the checksums right: TCP's, and on IPv4 the
    /// header's too. `None` when nobody can tell, because the segment was not
    /// captured whole or goes on in another fragment.
    ///
    /// In a capture from the host that sent the segment it is often
    /// `Some(false)` without anything being wrong: the network card fills the
    /// TCP checksum in after the capture.
    #[must_use]
    pub fn checksum_ok(&self) -> Option<bool> {
        if !self.ip.header.checksum_ok() {
            return Some(false);
        }
        if self.ip.is_fragment || self.ip.payload.len() < self.ip.payload_length {
            return None;
        }
        // Lossless: a packet's length has at most 32 bits.
        let mut checksum = self.ip.header.tcp_checksum(self.ip.payload_length as u32);
        checksum.add(self.ip.payload);
        Some(checksum.finish() == 0)
    }

    fn number_16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }

    fn number_32(&self, at: usize) -> u32 {
        u32::from(self.number_16(at)) << 16 | u32::from(self.number_16(at + 2))
    }
}
