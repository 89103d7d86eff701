//! IP headers, as far as the TCP header behind them.

use crate::checksum::Checksum;
use crate::segment::ParseError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TCP: u8 = 6;

/// What an IP packet carries, whatever it is: the view of someone who looks
/// for TCP inside a tunnel.
///
/// ```
/// use tcpalive_segment::IpPayload;
///
/// // An IPv4 header with four bytes of GRE (protocol 47) behind it.
/// let packet = [
///     0x45, 0, 0, 24, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 8, 0,
/// ];
/// let payload = IpPayload::parse(&packet, 24)?;
/// assert_eq!((payload.protocol, payload.bytes), (47, &[0, 0, 8, 0][..]));
/// # Ok::<(), tcpalive_segment::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPayload<'a> {
    /// IANA's number of the protocol behind all IP headers.
    pub protocol: u8,
    /// Length of all IP headers in bytes: where the payload starts.
    pub header_length: usize,
    /// The payload, as much of it as was captured and no more than belongs
    /// to the packet.
    pub bytes: &'a [u8],
    /// How many bytes of payload were sent.
    pub length: usize,
}

impl<'a> IpPayload<'a> {
    /// Reads an IP packet from its first byte on, passing over the same
    /// headers as [`Segment::parse`](crate::Segment::parse). `sent` is the
    /// length of the packet in bytes where its header has the length 0 (see
    /// [`Segment::parse_sent`](crate::Segment::parse_sent)).
    ///
    /// # Errors
    ///
    /// When an IP header is cut short or contradicts itself, and for a
    /// fragment other than the first.
    pub fn parse(ip_packet: &'a [u8], sent: u32) -> Result<Self, ParseError> {
        let packet = Packet::parse(ip_packet, Some(sent))?;
        Ok(Self {
            protocol: packet.protocol,
            header_length: packet.header_length,
            bytes: packet.payload,
            length: packet.payload_length,
        })
    }
}

/// An IP packet, split where its headers end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) header: Header<'a>,
    /// Length of all IP headers: where the payload starts.
    pub(crate) header_length: usize,
    /// What is behind the IP headers.
    pub(crate) protocol: u8,
    /// The payload, as much of it as was captured and no more than belongs
    /// to the packet.
    pub(crate) payload: &'a [u8],
    /// How long the payload is according to the header.
    pub(crate) payload_length: usize,
    /// The first fragment of several: the segment goes on in another packet.
    pub(crate) is_fragment: bool,
}

/// The fields of the IP header that TCP has to do with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Header<'a> {
    V4 {
        fixed: &'a [u8; 20],
        options: &'a [u8],
    },
    V6 {
        fixed: &'a [u8; 40],
        /// The final destination. It stands in the routing header while the
        /// packet is still under way to another.
        destination: &'a [u8; 16],
    },
}

impl<'a> Packet<'a> {
    /// `sent` is the length of a packet whose header has 0 for it.
    #[inline]
    pub(crate) fn parse(bytes: &'a [u8], sent: Option<u32>) -> Result<Self, ParseError> {
        match bytes.first().ok_or(ParseError::Empty)? >> 4 {
            4 => Self::parse_v4(bytes, sent),
            6 => Self::parse_v6(bytes, sent),
            version => Err(ParseError::Version { version }),
        }
    }

    /// As [`Packet::parse`], for a packet that is to carry TCP.
    #[inline]
    pub(crate) fn parse_tcp(bytes: &'a [u8], sent: Option<u32>) -> Result<Self, ParseError> {
        let packet = Self::parse(bytes, sent)?;
        match packet.protocol {
            TCP => Ok(packet),
            protocol => Err(ParseError::NotTcp { protocol }),
        }
    }

    /// RFC 791 §3.1.
    #[inline]
    fn parse_v4(bytes: &'a [u8], sent: Option<u32>) -> Result<Self, ParseError> {
        const WHAT: &str = "the IPv4 header";
        let fixed = chunk::<20>(bytes, 0, WHAT)?;
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        let length = match u16::from_be_bytes([fixed[2], fixed[3]]) {
            0 => sent.ok_or(ParseError::NoLength)? as usize,
            length => usize::from(length),
        };
        if header_length < fixed.len() || header_length > length {
            return Err(ParseError::HeaderLength {
                length: header_length,
                packet: length,
            });
        }
        let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
        let offset = fragment & 0x1fff;
        if offset != 0 {
            return Err(ParseError::LaterFragment {
                offset: usize::from(offset) * 8,
            });
        }
        let bytes = &bytes[..length.min(bytes.len())];
        let options = slice(bytes, fixed.len(), header_length - fixed.len(), WHAT)?;
        Ok(Self {
            header: Header::V4 { fixed, options },
            header_length,
            protocol: fixed[9],
            payload: &bytes[header_length..],
            payload_length: length - header_length,
            is_fragment: fragment & 0x2000 != 0,
        })
    }

    /// RFC 8200 §3 and §4.
    fn parse_v6(bytes: &'a [u8], sent: Option<u32>) -> Result<Self, ParseError> {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        const DESTINATION_OPTIONS: u8 = 60;

        let fixed = chunk::<40>(bytes, 0, "the IPv6 header")?;
        let length = match u16::from_be_bytes([fixed[4], fixed[5]]) {
            0 => (sent.ok_or(ParseError::NoLength)? as usize).max(fixed.len()),
            payload_length => fixed.len() + usize::from(payload_length),
        };
        let bytes = &bytes[..length.min(bytes.len())];

        let mut destination = chunk::<16>(bytes, 24, "the IPv6 header")?;
        let mut is_fragment = false;
        let mut at = fixed.len();
        let mut next = fixed[6];
        loop {
            match next {
                HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | AUTHENTICATION => {
                    const WHAT: &str = "an IPv6 extension header";
                    let [following, units] = *chunk::<2>(bytes, at, WHAT)?;
                    // Only the authentication header counts in words of four
                    // bytes, and leaves out two of them (RFC 4302 §2.2).
                    let length = match next {
                        AUTHENTICATION => (usize::from(units) + 2) * 4,
                        _ => (usize::from(units) + 1) * 8,
                    };
                    let header = slice(bytes, at, length, WHAT)?;
                    if next == ROUTING {
                        destination = final_destination(header)?.unwrap_or(destination);
                    }
                    next = following;
                    at += header.len();
                }
                FRAGMENT => {
                    let header = chunk::<8>(bytes, at, "the IPv6 fragment header")?;
                    let fragment = u16::from_be_bytes([header[2], header[3]]);
                    let offset = usize::from(fragment & !0b111);
                    if offset != 0 {
                        return Err(ParseError::LaterFragment { offset });
                    }
                    is_fragment |= fragment & 1 != 0;
                    next = header[0];
                    at += header.len();
                }
                _ => break,
            }
        }
        Ok(Self {
            header: Header::V6 { fixed, destination },
            header_length: at,
            protocol: next,
            payload: &bytes[at..],
            payload_length: length - at,
            is_fragment,
        })
    }
}

impl Header<'_> {
    pub(crate) fn source(&self) -> IpAddr {
        match self {
            Self::V4 { fixed, .. } => Ipv4Addr::from(v4_addresses(fixed).0).into(),
            Self::V6 { fixed, .. } => Ipv6Addr::from(v6_source(fixed)).into(),
        }
    }

    pub(crate) fn destination(&self) -> IpAddr {
        match self {
            Self::V4 { fixed, .. } => Ipv4Addr::from(v4_addresses(fixed).1).into(),
            Self::V6 { destination, .. } => Ipv6Addr::from(**destination).into(),
        }
    }

    /// Whether the header is as it was sent, as far as it can tell: IPv6 has
    /// no checksum of its own.
    pub(crate) fn checksum_ok(&self) -> bool {
        match self {
            Self::V4 { fixed, options } => {
                let mut checksum = Checksum::new();
                checksum.add(*fixed);
                checksum.add(options);
                checksum.finish() == 0
            }
            Self::V6 { .. } => true,
        }
    }

    /// The checksum of a TCP segment of this length, before its first byte.
    pub(crate) fn tcp_checksum(&self, tcp_length: u32) -> Checksum {
        match self {
            Self::V4 { fixed, .. } => {
                let (source, destination) = v4_addresses(fixed);
                Checksum::with_pseudo_header(&source, &destination, tcp_length)
            }
            Self::V6 { fixed, destination } => {
                Checksum::with_pseudo_header(&v6_source(fixed), *destination, tcp_length)
            }
        }
    }

    pub(crate) const fn ttl(&self) -> u8 {
        match self {
            Self::V4 { fixed, .. } => fixed[8],
            Self::V6 { fixed, .. } => fixed[7],
        }
    }

    pub(crate) const fn traffic_class(&self) -> u8 {
        match self {
            Self::V4 { fixed, .. } => fixed[1],
            Self::V6 { fixed, .. } => fixed[0] << 4 | fixed[1] >> 4,
        }
    }

    pub(crate) const fn dont_fragment(&self) -> bool {
        match self {
            Self::V4 { fixed, .. } => fixed[6] & 0x40 != 0,
            Self::V6 { .. } => true,
        }
    }

    pub(crate) const fn flow_label(&self) -> u32 {
        match self {
            Self::V4 { .. } => 0,
            Self::V6 { fixed, .. } => u32::from_be_bytes([0, fixed[1] & 0x0f, fixed[2], fixed[3]]),
        }
    }
}

fn v4_addresses(fixed: &[u8; 20]) -> ([u8; 4], [u8; 4]) {
    let [.., a, b, c, d, e, f, g, h] = *fixed;
    ([a, b, c, d], [e, f, g, h])
}

fn v6_source(fixed: &[u8; 40]) -> [u8; 16] {
    std::array::from_fn(|i| fixed[8 + i])
}

/// Where a routing header sends the packet in the end, or `None` when it has
/// been everywhere and the IPv6 header's destination is the final one.
///
/// Types 0 (RFC 5095 forbids it) and 2 (RFC 6275 §6.4) have it last, type 4,
/// segment routing, first (RFC 8754 §2).
fn final_destination(routing: &[u8]) -> Result<Option<&[u8; 16]>, ParseError> {
    let (kind, segments_left) = (routing[2], routing[3]);
    if segments_left == 0 {
        return Ok(None);
    }
    let (addresses, _) = routing[8..].as_chunks::<16>();
    match kind {
        0 | 2 => addresses.last(),
        4 => addresses.first(),
        _ => None,
    }
    .map(Some)
    .ok_or(ParseError::Route {
        kind,
        segments_left,
    })
}

/// `length` bytes of the packet from `at`, or an error that says what they
/// should have been.
fn slice<'a>(
    packet: &'a [u8],
    at: usize,
    length: usize,
    what: &'static str,
) -> Result<&'a [u8], ParseError> {
    packet.get(at..at + length).ok_or(ParseError::Truncated {
        what,
        needed: at + length,
        found: packet.len(),
    })
}

fn chunk<'a, const N: usize>(
    packet: &'a [u8],
    at: usize,
    what: &'static str,
) -> Result<&'a [u8; N], ParseError> {
    packet
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ParseError::Truncated {
            what,
            needed: at + N,
            found: packet.len(),
        })
}
