//! Tunnels over IP. One is entered: what is in a tunnel inside a tunnel is
//! not looked for.

use super::context::Kind;
use super::{IpPacket, Layer, Walk};
use tcpalive_segment::IpPayload;

const IPV4_IN_IP: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;

/// "Transparent Ethernet bridging": a whole frame. Only inside a tunnel, so
/// that frames in frames come to an end.
const TRANSPARENT_ETHERNET: u16 = 0x6558;

const VXLAN_PORT: u16 = 4789;
/// Linux's own default, from before there was an assigned one.
const VXLAN_PORT_LINUX: u16 = 8472;
const GENEVE_PORT: u16 = 6081;

impl Walk {
    /// What an IP packet carries that is not TCP. `sent` is how many bytes
    /// were sent behind its headers.
    pub(super) fn tunnel<'a>(&mut self, payload: IpPayload<'a>, sent: u32) -> Option<IpPacket<'a>> {
        if self.in_tunnel {
            return None;
        }
        self.in_tunnel = true;
        let layer = Layer {
            bytes: payload.bytes,
            // The header may claim more than the frame had. Lossless: a
            // packet's length has at most 32 bits.
            sent: sent.min(payload.length as u32),
        };
        match payload.protocol {
            IPV4_IN_IP => self.ip_of_version(4, layer),
            IPV6_IN_IP => self.ip_of_version(6, layer),
            GRE => self.gre(layer),
            UDP => self.udp(layer),
            _ => None,
        }
    }

    /// RFC 2784, with key and sequence number of RFC 2890.
    fn gre<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        const CHECKSUM: u16 = 0x8000;
        const ROUTING: u16 = 0x4000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        const VERSION: u16 = 0x0007;
        let flags = layer.number(0)?;
        // Version 1 is PPTP's; source routes were given up with RFC 1701.
        if flags & (VERSION | ROUTING) != 0 {
            return None;
        }
        let mut length = 4;
        if flags & CHECKSUM != 0 {
            length += 4;
        }
        if flags & KEY != 0 {
            self.context.set_id(Kind::Gre, layer.long_number(length)?);
            length += 4;
        }
        if flags & SEQUENCE != 0 {
            length += 4;
        }
        self.carried(layer.number(2)?, layer.behind(length)?)
    }

    fn udp<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        let port = layer.number(2)?;
        let layer = layer.behind(8)?;
        match port {
            VXLAN_PORT | VXLAN_PORT_LINUX => self.vxlan(layer),
            GENEVE_PORT => self.geneve(layer),
            _ => None,
        }
    }

    /// RFC 7348 §5.
    fn vxlan<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        const HAS_NETWORK: u16 = 0x0800;
        if layer.number(0)? & HAS_NETWORK == 0 {
            return None;
        }
        self.context.set_id(Kind::Vxlan, layer.long_number(4)? >> 8);
        self.ethernet(layer.behind(8)?)
    }

    /// RFC 8926 §3.4.
    fn geneve<'a>(&mut self, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        let [first, ..] = *layer.bytes else {
            return None;
        };
        let (version, words) = (first >> 6, usize::from(first & 0x3f));
        if version != 0 {
            return None;
        }
        self.context
            .set_id(Kind::Geneve, layer.long_number(4)? >> 8);
        self.carried(layer.number(2)?, layer.behind(8 + words * 4)?)
    }

    fn carried<'a>(&mut self, kind: u16, layer: Layer<'a>) -> Option<IpPacket<'a>> {
        match kind {
            TRANSPARENT_ETHERNET => self.ethernet(layer),
            _ => self.ethertype(kind, layer),
        }
    }
}
