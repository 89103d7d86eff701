//! A segment as the bytes of an Ethernet frame.

use std::net::{IpAddr, SocketAddr};
use tcpalive_segment::Flags;
use tcpalive_segment::checksum::{self, Checksum};

/// What is to be sent, by one of the two ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) from_a: bool,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: Flags,
    pub(super) window: u16,
    /// Value and echo reply.
    pub(super) timestamps: Option<[u32; 2]>,
    /// Zeros.
    pub(super) payload: u16,
}

/// Where frames are built: always in the same bytes.
#[derive(Debug)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    snap_length: usize,
}

impl FrameBuffer {
    pub(super) const fn new(snap_length: usize) -> Self {
        Self {
            bytes: Vec::new(),
            snap_length,
        }
    }

    pub(super) fn captured(&self) -> &[u8] {
        &self.bytes
    }

    /// Builds the frame as far as it is captured, and gives its length on the
    /// wire.
    pub(super) fn build(&mut self, [a, b]: [SocketAddr; 2], segment: &Outgoing) -> u32 {
        let (source, destination) = if segment.from_a { (a, b) } else { (b, a) };
        let mut tcp = [0; 60];
        let header = tcp_header(&mut tcp, source.port(), destination.port(), segment);
        let tcp_length = header.len() + usize::from(segment.payload);

        self.bytes.clear();
        let hosts = if segment.from_a { [1, 2] } else { [2, 1] };
        self.bytes
            .extend([2, 0, 0, 0, 0, hosts[1], 2, 0, 0, 0, 0, hosts[0]]);
        let mut sum = match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let length = (20 + tcp_length) as u16;
                let [high, low] = length.to_be_bytes();
                let mut ip = [
                    0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ];
                ip[12..16].copy_from_slice(&from.octets());
                ip[16..].copy_from_slice(&to.octets());
                let ip_checksum = checksum::of(&ip);
                ip[10..12].copy_from_slice(&ip_checksum.to_be_bytes());
                self.bytes.extend([8, 0]);
                self.bytes.extend(ip);
                Checksum::with_pseudo_header(&from.octets(), &to.octets(), tcp_length as u32)
            }
            (from, to) => {
                let (from, to) = (in_v6(from), in_v6(to));
                let [high, low] = (tcp_length as u16).to_be_bytes();
                self.bytes
                    .extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, 6, 64]);
                self.bytes.extend(from);
                self.bytes.extend(to);
                Checksum::with_pseudo_header(&from, &to, tcp_length as u32)
            }
        };
        // Zeros add nothing.
        sum.add(header);
        header[16..18].copy_from_slice(&sum.finish().to_be_bytes());
        self.bytes.extend_from_slice(header);

        let original = self.bytes.len() + usize::from(segment.payload);
        self.bytes.resize(original.min(self.snap_length), 0);
        // Lossless: headers and a 16-bit payload.
        original as u32
    }
}

fn in_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn tcp_header<'a>(
    bytes: &'a mut [u8; 60],
    source: u16,
    destination: u16,
    segment: &Outgoing,
) -> &'a mut [u8] {
    let mut length = 20;
    if segment.flags.contains(Flags::SYN) {
        // MSS 1460, SACK permitted, scale 7 before the timestamps.
        bytes[20..32].copy_from_slice(&[2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7]);
        length = 32;
    }
    if let Some([value, echo_reply]) = segment.timestamps {
        bytes[length..length + 4].copy_from_slice(&[1, 1, 8, 10]);
        bytes[length + 4..length + 8].copy_from_slice(&value.to_be_bytes());
        bytes[length + 8..length + 12].copy_from_slice(&echo_reply.to_be_bytes());
        length += 12;
    }
    bytes[..2].copy_from_slice(&source.to_be_bytes());
    bytes[2..4].copy_from_slice(&destination.to_be_bytes());
    bytes[4..8].copy_from_slice(&segment.sequence.to_be_bytes());
    bytes[8..12].copy_from_slice(&segment.acknowledgment.to_be_bytes());
    let offset_and_flags = ((length / 4) as u16) << 12 | segment.flags.bits();
    bytes[12..14].copy_from_slice(&offset_and_flags.to_be_bytes());
    bytes[14..16].copy_from_slice(&segment.window.to_be_bytes());
    &mut bytes[..length]
}
