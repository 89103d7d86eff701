//! What stands around a frame, read from the headers alone: the reasons why
//! tshark and the program may disagree about it.

use std::collections::HashMap;
use std::net::SocketAddr;
use tcpalive_capture::Reader;
use tcpalive_segment::{Flags, sequence};

/// A frame and what came before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// The ends, the lower first.
    pub(crate) flow: (SocketAddr, SocketAddr),
    /// The other end's last segment offered no window.
    pub(crate) peers_window_is_closed: bool,
    /// It carries one byte, which was sent before.
    pub(crate) is_byte_again: bool,
    /// Its window field is another one than in its sender's segment before.
    pub(crate) window_moved: bool,
    /// The other end's last frame.
    pub(crate) peers_last: Option<u64>,
    /// Bytes of payload.
    pub(crate) length: u32,
    /// Its own sender's.
    pub(crate) own_last: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    last: u64,
    window: u16,
    /// Follows the highest number that was sent.
    next: u32,
}

/// By frame. Those without TCP are not in it.
pub(crate) fn surroundings(file: &[u8]) -> HashMap<u64, Surroundings> {
    let mut senders: HashMap<(SocketAddr, SocketAddr), Sender> = HashMap::new();
    let mut all = HashMap::new();
    let mut reader = Reader::new(file).unwrap();
    while let Some(packet) = reader.next().unwrap() {
        let Some(ip) = packet.ip_packet() else {
            continue;
        };
        let segment = ip.segment().unwrap();
        let (from, to) = (segment.source(), segment.destination());
        let peer = senders.get(&(to, from)).copied();
        let own = senders.get(&(from, to)).copied();
        let (number, length) = (segment.sequence(), segment.payload_len() as u32);
        let occupies = length + u32::from(segment.flags().intersects(Flags::SYN | Flags::FIN));
        let end = number.wrapping_add(occupies);
        all.insert(
            packet.frame,
            Surroundings {
                flow: (from.min(to), from.max(to)),
                peers_window_is_closed: peer.is_some_and(|peer| peer.window == 0),
                is_byte_again: length == 1
                    && own.is_some_and(|own| !sequence::after(end, own.next)),
                window_moved: own.is_some_and(|own| own.window != segment.window()),
                peers_last: peer.map(|peer| peer.last),
                length,
                own_last: own.map(|own| own.last),
            },
        );
        let next = own.map_or(end, |own| {
            if sequence::after(end, own.next) {
                end
            } else {
                own.next
            }
        });
        senders.insert(
            (from, to),
            Sender {
                last: packet.frame,
                window: segment.window(),
                next,
            },
        );
    }
    all
}
