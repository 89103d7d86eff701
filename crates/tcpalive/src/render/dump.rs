//! Packets as `dump` prints them: the line that `tcpdump -nn` has for a TCP
//! packet, and behind it what the packet means for keep-alive.
//!
//! * `stamp`: the time in front; `sequence`: relative sequence numbers;
//!   `options`: the options of TCP; `note`: the meaning; `json`: all of it
//!   for programs.
//!
//! Lines have the form of tcpdump 4.99, malformed and truncated packets
//! included. What differs: protocols above TCP are not taken apart; of a
//! tunnel only the packet inside is shown; Multipath TCP's option is shown as
//! bytes.

mod json;
mod note;
mod options;
mod sequence;
mod stamp;

pub use json::{frame_object, interface_object, packet_object, summary_object};
pub use note::{Kind, Meaning, Timers};
pub use sequence::Relative;
pub use stamp::{Stamp, StampStyle};

use crate::render::style::Paint;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tcpalive_capture::IpPacket;
use tcpalive_segment::{Flags, IpPayload};

/// A packet, and what is known about it beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its number, from 1.
    pub frame: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The interface it was captured on, where many are captured on at once.
    pub interface: Option<&'a str>,
    /// `In`, `Out`, `B`, `M` or `P`, where the capture tells.
    pub direction: Option<&'static str>,
    /// From the IP header on.
    pub ip: IpPacket<'a>,
}

/// How packets become lines.
#[derive(Debug)]
pub struct Lines {
    /// The time in front.
    pub stamp: Stamp,
    /// Relative numbers; `None` shows them as they stand in the packet.
    pub relative: Option<Relative>,
    /// Only addresses and length.
    pub quiet: bool,
    /// Whether the meaning is coloured.
    pub color: bool,
}

impl Lines {
    /// Appends the packet's line, with its end.
    pub fn push(&mut self, out: &mut String, seen: &Seen<'_>, meaning: Option<&Meaning>) {
        self.stamp.push(out, seen.time);
        if let Some(direction) = seen.direction {
            let interface = seen.interface.unwrap_or("?");
            let _ = write!(out, "{interface:<5} {direction:<3} ");
        }
        self.push_packet(out, &seen.ip);
        if let Some(meaning) = meaning {
            out.push_str("  ← ");
            meaning.paint().push(out, &meaning.to_string(), self.color);
        }
        out.push('\n');
    }

    /// From `IP` to the end. Writing to a string does not fail.
    fn push_packet(&mut self, out: &mut String, ip: &IpPacket<'_>) {
        let (Some(ends), Ok(tcp)) = (Ends::of(ip.bytes), IpPayload::parse(ip.bytes, ip.sent))
        else {
            out.push_str("IP [|ip]");
            return;
        };
        let name = if ends.is_v4() { "IP" } else { "IP6" };
        let (source, destination) = (Address(ends.source), Address(ends.destination));
        let Some(&[a, b, c, d]) = tcp.bytes.first_chunk::<4>() else {
            let _ = write!(out, "{name} {source} > {destination}: [|tcp]");
            return;
        };
        let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let _ = match ends.extension {
            None => write!(
                out,
                "{name} {source}.{} > {destination}.{}: ",
                ports.0, ports.1
            ),
            Some(extension) => write!(
                out,
                "{name} {source} > {destination}: {extension} {} > {}: ",
                ports.0, ports.1
            ),
        };
        match Header::of(&tcp) {
            Some(header) => self.push_tcp(out, &ends, ports, &header, &tcp),
            None => out.push_str(" [|tcp]"),
        }
    }

    fn push_tcp(
        &mut self,
        out: &mut String,
        ends: &Ends,
        ports: (u16, u16),
        header: &Header,
        tcp: &IpPayload<'_>,
    ) {
        let length = tcp.length;
        if header.length < 20 {
            let _ = write!(
                out,
                " tcp {} [bad hdr length {} - too short, < 20]",
                length - header.length,
                header.length
            );
            return;
        }
        let too_long = header.length > length;
        let bad_length = |out: &mut String| {
            let _ = write!(
                out,
                " [bad hdr length {} - too long, > {length}]",
                header.length
            );
        };
        if self.quiet {
            // As tcpdump has it: an unsigned number wraps.
            let _ = write!(
                out,
                "tcp {}",
                (length as u32).wrapping_sub(header.length as u32)
            );
            if too_long {
                bad_length(out);
            }
            return;
        }
        let _ = write!(out, "Flags [{}]", header.flags);
        let numbers = match &mut self.relative {
            Some(relative) if header.flags.contains(Flags::ACK) => relative.numbers(
                (ends.source, ports.0),
                (ends.destination, ports.1),
                header.sequence,
                header.acknowledgment,
                header.flags.contains(Flags::SYN),
            ),
            _ => sequence::Numbers::absolute(header.sequence, header.acknowledgment),
        };
        if too_long {
            bad_length(out);
            return;
        }
        let payload = length - header.length;
        if payload > 0
            || header
                .flags
                .intersects(Flags::SYN | Flags::FIN | Flags::RST)
        {
            let _ = write!(out, ", seq {}", numbers.sequence);
            if payload > 0 {
                // Lossless: a packet's length has at most 32 bits.
                let end = numbers.sequence.wrapping_add(payload as u32);
                let _ = write!(out, ":{end}");
            }
        }
        if header.flags.contains(Flags::ACK) {
            let _ = write!(out, ", ack {}", numbers.acknowledgment);
        }
        let _ = write!(out, ", win {}", header.window);
        if header.flags.contains(Flags::URG) {
            let _ = write!(out, ", urg {}", header.urgent);
        }
        if header.length > 20 {
            out.push_str(", options [");
            let has_ack = header.flags.contains(Flags::ACK);
            let shown = options::push(out, tcp.bytes, header.length, has_ack, numbers.sacked_from);
            if !shown {
                return;
            }
            out.push(']');
        }
        let _ = write!(out, ", length {payload}");
    }
}

/// The addresses of an IP packet.
#[derive(Debug, Clone, Copy)]
struct Ends {
    source: IpAddr,
    destination: IpAddr,
    /// What tcpdump calls the first IPv6 extension header.
    extension: Option<&'static str>,
}

impl Ends {
    fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self {
                source: Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?).into(),
                destination: Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?).into(),
                extension: None,
            }),
            6 => Some(Self {
                source: Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?).into(),
                destination: Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?).into(),
                extension: match packet[6] {
                    0 => Some("HBH"),
                    43 => Some("srcrt"),
                    44 => Some("frag"),
                    51 => Some("AH"),
                    60 => Some("DSTOPT"),
                    _ => None,
                },
            }),
            _ => None,
        }
    }

    const fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }
}

/// An address as tcpdump writes it.
struct Address(IpAddr);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            // "IPv4-compatible": 96 zeros, and more than ::1.
            IpAddr::V6(address)
                if address.segments()[..6] == [0; 6] && address.segments()[6] != 0 =>
            {
                let [.., a, b, c, d] = address.octets();
                write!(f, "::{}", Ipv4Addr::new(a, b, c, d))
            }
            other => other.fmt(f),
        }
    }
}

/// The fixed part of a TCP header, whatever it says.
struct Header {
    sequence: u32,
    acknowledgment: u32,
    /// In bytes: 0 to 60.
    length: usize,
    flags: Flags,
    window: u16,
    urgent: u16,
}

impl Header {
    fn of(tcp: &IpPayload<'_>) -> Option<Self> {
        let bytes = tcp.bytes.first_chunk::<20>()?;
        let two = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let four = |at: usize| u32::from(two(at)) << 16 | u32::from(two(at + 2));
        Some(Self {
            sequence: four(4),
            acknowledgment: four(8),
            length: usize::from(bytes[12] >> 4) * 4,
            flags: Flags::from_bits(two(12)),
            window: two(14),
            urgent: two(18),
        })
    }
}

impl Meaning {
    const fn paint(&self) -> Paint {
        match self {
            Self::Probe { .. } | Self::WindowProbe => Paint::Yellow,
            Self::Answer { .. } => Paint::Green,
            Self::Exhausted { .. } => Paint::Bold,
        }
    }
}
