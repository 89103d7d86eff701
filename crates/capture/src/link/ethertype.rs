//! Layers that say with a number what they carry: Ethernet and its tags,
//! MPLS, PPP, loopback.

use super::context::Kind;
use super::{IpPacket, Layer, Walk};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;
/// What providers used for outer tags before 802.1ad.
const OLD_PROVIDER_VLANS: [u16; 2] = [0x9100, 0x9200];
const MPLS: u16 = 0x8847;
/// Multicast at first, by now "upstream-assigned labels" (RFC 5332).
const MPLS_UPSTREAM: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
const PPP: u16 = 0x880b;

impl Walk {
    #[inline]
    pub(super) fn ethernet<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        self.ethertype(layer.number(12)?, layer.behind(14)?)
    }

    /// What a layer of this type carries.
    #[inline]
    pub(super) fn ethertype<'a>(&mut self, kind: u16, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        match kind {
            IPV4 => self.ip_of_version(4, layer),
            IPV6 => self.ip_of_version(6, layer),
            _ => self.less_common(kind, layer),
        }
    }

    fn less_common<'a>(&mut self, mut kind: u16, mut layer: Layer<'a>) -> Option<IpPacket<'a>> {
        loop {
            match kind {
                IPV4 => return self.ip_of_version(4, layer),
                IPV6 => return self.ip_of_version(6, layer),
                VLAN | PROVIDER_VLAN => {}
                _ if OLD_PROVIDER_VLANS.contains(&kind) => {}
                MPLS | MPLS_UPSTREAM => return self.mpls(layer),
                PPPOE_SESSION => return self.pppoe(layer),
                PPP => return self.ppp(layer),
                // A length, and behind it LLC and SNAP with an Ethernet type
                // (IEEE 802; RFC 1042).
                0..=1500 if layer.bytes.starts_with(&[0xaa, 0xaa, 3, 0, 0, 0]) => {
                    kind = layer.number(6)?;
                    layer = layer.behind(8)?;
                    continue;
                }
                _ => return None,
            }
            self.context.add_vlan(layer.number(0)?);
            kind = layer.number(2)?;
            layer = layer.behind(4)?;
        }
    }

    /// Labels down to the bottom of the stack (RFC 3032). What is under them
    /// is not said; the version that an IP packet begins with tells.
    fn mpls<'a>(&mut self, mut layer: Layer<'a>) -> Option<IpPacket<'a>> {
        const BOTTOM: u32 = 0x100;
        loop {
            let label = layer.long_number(0)?;
            layer = layer.behind(4)?;
            if label & BOTTOM != 0 {
                return self.ip(layer);
            }
        }
    }

    /// A session's packet (RFC 2516 §4).
    pub(super) fn pppoe<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        const VERSION_1_SESSION: u16 = 0x1100;
        if layer.number(0)? != VERSION_1_SESSION {
            return None;
        }
        self.context.set_id(Kind::Pppoe, layer.number(2)?.into());
        self.ppp(layer.behind(6)?)
    }

    /// Address and control (RFC 1662 §3.1) may be there, and the protocol may
    /// be compressed to one byte, which is odd (RFC 1661 §2).
    pub(super) fn ppp<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        let layer = match layer.bytes {
            [0xff, 3, ..] => layer.behind(2)?,
            _ => layer,
        };
        match layer.bytes {
            [0, 0x21, ..] => self.ip_of_version(4, layer.behind(2)?),
            [0, 0x57, ..] => self.ip_of_version(6, layer.behind(2)?),
            [0x21, ..] => self.ip_of_version(4, layer.behind(1)?),
            [0x57, ..] => self.ip_of_version(6, layer.behind(1)?),
            [0x02, 0x81, ..] => self.mpls(layer.behind(2)?),
            _ => None,
        }
    }

    /// A protocol family in the byte order of the host that captured, or in
    /// network order. Each system has its own number for IPv6.
    pub(super) fn loopback<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        const INET: u32 = 2;
        /// BSD, FreeBSD, macOS, Linux, Windows.
        const INET6: [u32; 5] = [24, 28, 30, 10, 23];
        let family = layer.long_number(0)?;
        let family = family.min(family.swap_bytes());
        let version = match family {
            INET => 4,
            _ if INET6.contains(&family) => 6,
            _ => return None,
        };
        self.ip_of_version(version, layer.behind(4)?)
    }
}
