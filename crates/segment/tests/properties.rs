//! What holds for every probe, and for any bytes at all.

use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tcpalive_segment::{
    Flags, IpFields, MAX_PROBE_LEN, Probe, Segment, TcpOption, Timestamps, acknowledges,
    is_empty_probe, is_garbage_probe,
};

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = || any::<(Ipv4Addr, u16)>().prop_map(SocketAddr::from);
    let v6 = || any::<(Ipv6Addr, u16)>().prop_map(SocketAddr::from);
    prop_oneof![(v4(), v4()), (v6(), v6())]
}

prop_compose! {
    fn ip_fields()(
        ttl: u8,
        traffic_class: u8,
        dont_fragment: bool,
        flow_label in 0..1_u32 << 20,
    ) -> IpFields {
        IpFields { ttl, traffic_class, dont_fragment, flow_label }
    }
}

fn timestamps() -> impl Strategy<Value = Option<Timestamps>> {
    proptest::option::of(
        any::<(u32, u32)>().prop_map(|(value, echo_reply)| Timestamps { value, echo_reply }),
    )
}

prop_compose! {
    fn probes()(
        (local, remote) in addresses(),
        sequence: u32,
        acknowledgment: u32,
        window: u16,
        timestamps in timestamps(),
        garbage: bool,
        ip in ip_fields(),
    ) -> Probe {
        Probe { local, remote, sequence, acknowledgment, window, timestamps, garbage, ip }
    }
}

fn bytes(probe: &Probe) -> Vec<u8> {
    // What was in the buffer before must not show.
    let mut buffer = [0xa5; MAX_PROBE_LEN];
    let length = probe.write(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Calls everything that reads from a segment.
fn read_all(bytes: &[u8]) {
    let Ok(segment) = Segment::parse(bytes) else {
        return;
    };
    let _ = format!("{segment:?} {}", segment.flags());
    let _ = (segment.source(), segment.destination());
    let _ = (segment.ttl(), segment.traffic_class());
    let _ = (
        segment.dont_fragment(),
        segment.flow_label(),
        segment.window(),
    );
    let _ = (segment.timestamps(), segment.checksum_ok());
    assert!(segment.payload_len() <= 65_515);
    for option in segment.options() {
        if let TcpOption::SackBlocks(blocks) = option {
            assert_eq!(blocks.iter().count(), blocks.iter().len());
        }
    }
    let next = segment.sequence().wrapping_add(1);
    let _ = is_empty_probe(&segment, next) || is_garbage_probe(&segment, next);
    let _ = acknowledges(&segment, next, next);
}

/// Whether a receiver can notice that the bit of an IPv6 packet is wrong. No
/// checksum covers traffic class, flow label and hop limit: routers may
/// change all three.
fn is_covered_in_ipv6(bit: usize) -> bool {
    !(4..32).contains(&bit) && !(56..64).contains(&bit)
}

proptest! {
    #[test]
    fn a_probe_is_read_as_it_was_written(probe in probes()) {
        let bytes = bytes(&probe);
        let segment = Segment::parse(&bytes).unwrap();
        let is_ipv4 = probe.local.is_ipv4();
        prop_assert_eq!(segment.source(), probe.local);
        prop_assert_eq!(segment.destination(), probe.remote);
        prop_assert_eq!(segment.sequence(), probe.sequence);
        prop_assert_eq!(segment.acknowledgment(), probe.acknowledgment);
        prop_assert_eq!(segment.flags(), Flags::ACK);
        prop_assert_eq!(segment.window(), probe.window);
        prop_assert_eq!(segment.timestamps(), probe.timestamps);
        prop_assert_eq!(segment.options().count(), usize::from(probe.timestamps.is_some()));
        prop_assert_eq!(segment.payload_len(), usize::from(probe.garbage));
        prop_assert_eq!(segment.ttl(), probe.ip.ttl);
        prop_assert_eq!(segment.traffic_class(), probe.ip.traffic_class);
        prop_assert_eq!(segment.dont_fragment(), !is_ipv4 || probe.ip.dont_fragment);
        prop_assert_eq!(segment.flow_label(), if is_ipv4 { 0 } else { probe.ip.flow_label });
        prop_assert_eq!(segment.checksum_ok(), Some(true));
    }

    #[test]
    fn a_probe_is_recognised_as_what_it_is(probe in probes()) {
        let bytes = bytes(&probe);
        let segment = Segment::parse(&bytes).unwrap();
        let snd_una = probe.sequence.wrapping_add(1);
        prop_assert_eq!(is_empty_probe(&segment, snd_una), !probe.garbage);
        prop_assert_eq!(is_garbage_probe(&segment, snd_una), probe.garbage);
    }

    #[test]
    fn any_wrong_bit_of_a_probe_is_noticed(probe in probes()) {
        let mut bytes = bytes(&probe);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            // A length that is too large makes the packet look cut short, and
            // on IPv6, whose header has no checksum, that is all there is to
            // see: `None`.
            let passes = Segment::parse(&bytes).is_ok_and(|s| s.checksum_ok() == Some(true));
            let covered = probe.local.is_ipv4() || is_covered_in_ipv6(bit);
            prop_assert_eq!(passes, !covered, "bit {}", bit);
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        read_all(&bytes);
    }

    /// Random bytes seldom get as far as the options; broken probes do.
    #[test]
    fn no_broken_packet_makes_it_panic(
        probe in probes(),
        tail: Vec<u8>,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        length: prop::sample::Index,
    ) {
        let mut bytes = bytes(&probe);
        bytes.extend(tail);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
        read_all(&bytes[..length.index(bytes.len())]);
    }

    /// As many extension headers as fit, with any content.
    #[test]
    fn no_extension_header_makes_it_panic(
        kinds in proptest::collection::vec(prop::sample::select(vec![0_u8, 43, 44, 60, 6]), 1..12),
        content in proptest::collection::vec(any::<u8>(), 200),
    ) {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x60;
        bytes[5] = 200;
        bytes[6] = kinds[0];
        bytes.extend(content);
        for (index, kind) in kinds.iter().skip(1).enumerate() {
            bytes[40 + index * 8] = *kind;
            bytes[40 + index * 8 + 1] = 0;
        }
        read_all(&bytes);
    }
}
