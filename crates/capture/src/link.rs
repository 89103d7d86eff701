//! From the bytes of a frame to the IP packet whose TCP is looked for.
//!
//! [`ip_packet`] takes off what stands before it:
//!
//! | Layer | What is read |
//! |---|---|
//! | link | Ethernet, Linux cooked v1 and v2, loopback in either byte order, raw IP, PPP, PPPoE, Cisco HDLC |
//! | tags | any number of VLAN tags (802.1Q, 802.1ad and its forerunners), MPLS labels, PPPoE sessions |
//! | tunnel | one: IP in IP of any two versions, GRE, VXLAN, Geneve; IP or Ethernet inside |
//!
//! A packet that is not TCP, a fragment other than the first, and what is not
//! understood are `None`. Headers that the capture cut short are enough as
//! long as the fixed 20 bytes of the TCP header are there, and lengths come
//! from the headers, never from what was captured.

mod context;
mod ethertype;
mod tunnel;

pub use context::Context;
use std::fmt;
use tcpalive_segment::{IpPayload, ParseError, Segment};

const TCP: u8 = 6;

/// What the bytes of a captured frame begin with: a number from the registry
/// of link types (<https://www.tcpdump.org/linktypes.html>), or one of the
/// numbers that some systems write in its stead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link(pub u16);

impl Link {
    /// BSD loopback: a protocol family in the byte order of the host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without address and control.
    pub const PPP: Self = Self(9);
    /// An IP packet of either version.
    pub const RAW: Self = Self(101);
    /// PPP over a serial line, in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: Self = Self(50);
    /// A PPPoE session without the Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// Cisco's HDLC.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback: a protocol family in network order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked", as tcpdump 4.98 and older write it for `-i any`.
    pub const LINUX_SLL: Self = Self(113);
    /// An IPv4 packet.
    pub const IPV4: Self = Self(228);
    /// An IPv6 packet.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" with the interface's index, as tcpdump writes it now.
    pub const LINUX_SLL2: Self = Self(276);
    /// [`Link::RAW`] as it is numbered inside most systems.
    const DLT_RAW: Self = Self(12);
    /// [`Link::RAW`] as it is numbered inside OpenBSD.
    const DLT_RAW_OPENBSD: Self = Self(14);

    /// Whether [`ip_packet`] looks into frames of this type. In those of
    /// another, such as 802.11 radio, it finds nothing: a person should be
    /// told so.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(
            self,
            Self::NULL
                | Self::ETHERNET
                | Self::PPP
                | Self::DLT_RAW
                | Self::DLT_RAW_OPENBSD
                | Self::PPP_HDLC
                | Self::PPP_ETHER
                | Self::RAW
                | Self::C_HDLC
                | Self::LOOP
                | Self::LINUX_SLL
                | Self::IPV4
                | Self::IPV6
                | Self::LINUX_SLL2
        )
    }
}

/// The number, as `link type 1`.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link type {}", self.0)
    }
}

/// An IP packet with TCP in it, found in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPacket<'a> {
    /// The packet from its IP header on, as far as it was captured. There
    /// may be bytes behind it that do not belong to it, such as padding.
    pub bytes: &'a [u8],
    /// How many bytes there were from the IP header on when it was captured.
    /// The length in the IP header counts; where that is 0, this one.
    pub sent: u32,
    /// What keeps it apart from packets with the same addresses and ports.
    pub context: Context,
}

impl<'a> IpPacket<'a> {
    /// The TCP segment in it.
    ///
    /// # Errors
    ///
    /// When the first 20 bytes of the TCP header are not there, or its
    /// lengths contradict each other: [`Segment::parse_sent`].
    #[inline]
    pub fn segment(&self) -> Result<Segment<'a>, ParseError> {
        Segment::parse_sent(self.bytes, self.sent)
    }
}

/// Finds the IP packet with TCP in a captured frame. `original_len` is the
/// frame's length on the wire in bytes.
///
/// ```
/// use tcpalive_capture::{Link, ip_packet};
///
/// // Ethernet, a tag of VLAN 7, and the first bytes of IPv4 with TCP.
/// let mut frame = vec![0; 12];
/// frame.extend([0x81, 0, 0, 7, 8, 0]);
/// frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
/// let packet = ip_packet(Link::ETHERNET, &frame, 60).ok_or("an IP packet")?;
/// assert_eq!((packet.bytes.len(), packet.sent), (20, 42));
/// assert_eq!(packet.context.to_string(), "vlan 7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[inline]
pub fn ip_packet(link: Link, data: &[u8], original_len: u32) -> Option<IpPacket<'_>> {
    let layer = Layer {
        bytes: data,
        // Lossless where it counts: no packet has 4 GiB.
        sent: original_len.max(data.len() as u32),
    };
    let mut walk = Walk::default();
    match link {
        Link::ETHERNET => walk.ethernet(layer),
        Link::LINUX_SLL => walk.ethertype(layer.number(14)?, layer.behind(16)?),
        Link::LINUX_SLL2 => walk.ethertype(layer.number(0)?, layer.behind(20)?),
        Link::RAW | Link::DLT_RAW | Link::DLT_RAW_OPENBSD => walk.ip(layer),
        Link::IPV4 => walk.ip_of_version(4, layer),
        Link::IPV6 => walk.ip_of_version(6, layer),
        Link::NULL | Link::LOOP => walk.loopback(layer),
        Link::PPP | Link::PPP_HDLC => walk.ppp(layer),
        Link::PPP_ETHER => walk.pppoe(layer),
        Link::C_HDLC => walk.ethertype(layer.number(2)?, layer.behind(4)?),
        _ => None,
    }
}

/// What is left of a frame behind the headers that were taken off.
#[derive(Debug, Clone, Copy)]
struct Layer<'a> {
    bytes: &'a [u8],
    /// How many bytes there were on the wire.
    sent: u32,
}

impl<'a> Layer<'a> {
    #[inline]
    fn behind(self, length: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.get(length..)?,
            // Lossless: within a packet.
            sent: self.sent.saturating_sub(length as u32),
        })
    }

    /// Two bytes in network order.
    #[inline]
    fn number(self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    }

    /// Four bytes in network order.
    #[inline]
    fn long_number(self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }
}

/// A walk from the front of a frame to the IP packet.
#[derive(Debug, Default)]
struct Walk {
    context: Context,
    /// One tunnel was entered; no other one is.
    in_tunnel: bool,
}

impl Walk {
    fn ip_of_version<'a>(&mut self, version: u8, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        (layer.bytes.first()? >> 4 == version)
            .then(|| self.ip(layer))
            .flatten()
    }

    #[inline]
    fn ip<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        let payload = IpPayload::parse(layer.bytes, layer.sent).ok()?;
        if payload.protocol == TCP {
            return Some(IpPacket {
                bytes: layer.bytes,
                sent: layer.sent,
                context: self.context,
            });
        }
        let sent = layer.behind(payload.header_length)?.sent;
        self.tunnel(payload, sent)
    }
}
