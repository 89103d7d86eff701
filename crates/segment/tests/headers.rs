//! IP and TCP headers as they seldom come: options, extension headers,
//! fragments, and lengths that lie.

use std::net::{Ipv6Addr, SocketAddr};
use tcpalive_segment::checksum::{self, Checksum};
use tcpalive_segment::{IpPayload, ParseError, Segment};

const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);

/// An ACK from port 1 to port 2 that carries `hi`, without its checksum.
const TCP: [u8; 22] = [
    0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0x50, 0x10, 0, 63, 0, 0, 0, 0, b'h', b'i',
];

fn tcp(source: &[u8], destination: &[u8]) -> [u8; 22] {
    let mut tcp = TCP;
    let mut checksum = Checksum::with_pseudo_header(source, destination, 22);
    checksum.add(&tcp);
    tcp[16..18].copy_from_slice(&checksum.finish().to_be_bytes());
    tcp
}

/// An IPv4 packet; `options` are a multiple of four bytes.
fn ipv4(options: &[u8], flags_and_offset: u16) -> Vec<u8> {
    let (source, destination) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let header_length = 20 + options.len();
    let mut packet = vec![0; 20];
    packet[0] = 0x40 | u8::try_from(header_length / 4).unwrap();
    packet[3] = u8::try_from(header_length + TCP.len()).unwrap();
    packet[6..8].copy_from_slice(&flags_and_offset.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet.extend(options);
    let checksum = checksum::of(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(tcp(&source, &destination));
    packet
}

/// An IPv6 packet with extension headers, each given as its number and its
/// bytes, of which the first is filled in here.
fn ipv6(towards: Ipv6Addr, extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[7] = 64;
    packet[8..24].copy_from_slice(&SOURCE.octets());
    packet[24..40].copy_from_slice(&towards.octets());
    let mut next_at = 6;
    for (number, bytes) in extensions {
        packet[next_at] = *number;
        next_at = packet.len();
        packet.extend(*bytes);
    }
    packet[next_at] = 6;
    packet.extend(tcp(&SOURCE.octets(), &DESTINATION.octets()));
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

fn error(packet: &[u8]) -> ParseError {
    Segment::parse(packet).unwrap_err()
}

/// It is [`TCP`], and its payload was not mistaken.
#[track_caller]
fn assert_is_the_segment(packet: &[u8], checksum_ok: Option<bool>) {
    let segment = Segment::parse(packet).unwrap();
    assert_eq!((segment.sequence(), segment.acknowledgment()), (3, 4));
    assert_eq!(
        (segment.source().port(), segment.destination().port()),
        (1, 2)
    );
    assert_eq!(segment.payload_len(), 2);
    assert_eq!(segment.checksum_ok(), checksum_ok);
}

const HOP_BY_HOP: (u8, &[u8]) = (0, &[0, 0, 5, 2, 0, 0, 1, 0]);
const DESTINATION_OPTIONS: (u8, &[u8]) = (60, &[0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

fn routing(kind: u8, segments_left: u8, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let units = u8::try_from(addresses.len() * 2).unwrap();
    let mut header = vec![0, units, kind, segments_left, 0, 0, 0, 0];
    header.extend(addresses.iter().flat_map(Ipv6Addr::octets));
    header
}

#[test]
fn ipv4_options_stand_before_tcp() {
    assert_is_the_segment(&ipv4(&[148, 4, 0, 0, 1, 1, 1, 0], 0x4000), Some(true));
}

#[test]
fn a_broken_ipv4_header_is_broken_even_in_a_short_capture() {
    let mut packet = ipv4(&[], 0x4000);
    packet[8] -= 1;
    assert_is_the_segment(&packet, Some(false));
    assert_is_the_segment(&packet[..40], Some(false));
}

#[test]
fn a_first_ipv4_fragment_has_a_header_but_no_checksum() {
    assert_is_the_segment(&ipv4(&[], 0x2000), None);
}

#[test]
fn a_later_ipv4_fragment_has_no_header() {
    assert_eq!(
        error(&ipv4(&[], 0x2003)),
        ParseError::LaterFragment { offset: 24 }
    );
}

#[test]
fn ipv6_extension_headers_stand_before_tcp() {
    let visited = routing(4, 0, &[DESTINATION]);
    let packet = ipv6(
        DESTINATION,
        &[HOP_BY_HOP, DESTINATION_OPTIONS, (43, &visited)],
    );
    assert_is_the_segment(&packet, Some(true));
}

#[test]
fn every_cut_through_extension_headers_is_an_error_that_says_how_much_is_missing() {
    let packet = ipv6(DESTINATION, &[HOP_BY_HOP, DESTINATION_OPTIONS]);
    for length in 1..packet.len() - 2 {
        let ParseError::Truncated { needed, found, .. } = error(&packet[..length]) else {
            panic!("truncated expected");
        };
        assert_eq!(found, length);
        assert!(needed > length && needed <= packet.len() - 2);
    }
    assert_is_the_segment(&packet[..packet.len() - 2], None);
}

#[test]
fn a_packet_under_way_belongs_to_its_final_destination() {
    let final_destination = SocketAddr::from((DESTINATION, 2));
    for header in [
        routing(0, 1, &[ROUTER, DESTINATION]),
        routing(2, 1, &[DESTINATION]),
        routing(4, 1, &[DESTINATION, ROUTER]),
    ] {
        let packet = ipv6(ROUTER, &[(43, &header)]);
        assert_is_the_segment(&packet, Some(true));
        assert_eq!(
            Segment::parse(&packet).unwrap().destination(),
            final_destination
        );
    }
}

#[test]
fn a_route_that_cannot_be_read_is_an_error() {
    let unknown = routing(3, 1, &[DESTINATION]);
    assert_eq!(
        error(&ipv6(ROUTER, &[(43, &unknown)])),
        ParseError::Route {
            kind: 3,
            segments_left: 1
        }
    );
    let empty = routing(0, 1, &[]);
    assert_eq!(
        error(&ipv6(ROUTER, &[(43, &empty)])),
        ParseError::Route {
            kind: 0,
            segments_left: 1
        }
    );
}

#[test]
fn an_ipv6_fragment_header_tells_first_later_and_only() {
    let only = [0; 8];
    assert_is_the_segment(&ipv6(DESTINATION, &[(44, &only)]), Some(true));
    let first = [0, 0, 0, 1, 0, 0, 0, 7];
    assert_is_the_segment(&ipv6(DESTINATION, &[(44, &first)]), None);
    let later = [0, 0, 0, 0x18, 0, 0, 0, 7];
    assert_eq!(
        error(&ipv6(DESTINATION, &[(44, &later)])),
        ParseError::LaterFragment { offset: 24 }
    );
}

#[test]
fn extension_headers_do_not_reach_beyond_the_packet() {
    let mut packet = ipv6(DESTINATION, &[HOP_BY_HOP]);
    packet[5] = 4;
    assert_eq!(
        error(&packet),
        ParseError::Truncated {
            what: "an IPv6 extension header",
            needed: 48,
            found: 44
        }
    );
}

#[test]
fn what_is_not_tcp_is_named() {
    let mut packet = ipv4(&[], 0x4000);
    packet[9] = 17;
    assert_eq!(
        error(&packet).to_string(),
        "expected TCP (protocol 6), found protocol 17"
    );
    let packet = ipv6(DESTINATION, &[(50, &[0; 8])]);
    assert_eq!(error(&packet), ParseError::NotTcp { protocol: 50 });
}

#[test]
fn what_is_not_ip_is_named() {
    assert_eq!(error(&[]), ParseError::Empty);
    assert_eq!(error(&[0; 60]), ParseError::Version { version: 0 });
}

#[test]
fn a_length_of_zero_is_refused() {
    let mut packet = ipv4(&[], 0x4000);
    packet[2..4].fill(0);
    assert_eq!(error(&packet), ParseError::NoLength);
    let mut packet = ipv6(DESTINATION, &[HOP_BY_HOP]);
    packet[4..6].fill(0);
    assert_eq!(error(&packet), ParseError::NoLength);
}

#[test]
fn an_ipv4_header_length_must_be_possible() {
    let mut packet = ipv4(&[], 0x4000);
    packet[0] = 0x44;
    assert_eq!(
        error(&packet),
        ParseError::HeaderLength {
            length: 16,
            packet: 42
        }
    );
    packet[0] = 0x4b;
    assert_eq!(
        error(&packet),
        ParseError::HeaderLength {
            length: 44,
            packet: 42
        }
    );
}

#[test]
fn a_data_offset_must_be_possible() {
    let mut packet = ipv4(&[], 0x4000);
    packet[20 + 12] = 0x40;
    assert_eq!(
        error(&packet),
        ParseError::DataOffset {
            length: 16,
            segment: 22
        }
    );
    packet[20 + 12] = 0x60;
    assert_eq!(
        error(&packet),
        ParseError::DataOffset {
            length: 24,
            segment: 22
        }
    );
}

#[test]
fn a_segment_shorter_than_its_header_is_truncated_by_its_own_length() {
    let mut packet = ipv4(&[], 0x4000);
    packet[3] = 39;
    assert_eq!(
        error(&packet),
        ParseError::Truncated {
            what: "the TCP header",
            needed: 40,
            found: 39
        }
    );
}

#[test]
fn a_length_of_zero_is_what_the_frame_had() {
    // 1500 bytes were sent, the capture holds the first 42.
    let mut packet = ipv4(&[], 0x4000);
    packet[2..4].fill(0);
    let segment = Segment::parse_sent(&packet, 1500).unwrap();
    assert_eq!(segment.payload_len(), 1500 - 20 - 20);

    let mut packet = ipv6(DESTINATION, &[HOP_BY_HOP]);
    packet[4..6].fill(0);
    let segment = Segment::parse_sent(&packet, 70_070).unwrap();
    assert_eq!(segment.payload_len(), 70_070 - 40 - 8 - 20);
    assert_eq!(segment.source().port(), 1);

    // Where the header has a length, that one counts.
    let segment = Segment::parse_sent(&ipv4(&[], 0x4000), 1500).map(|s| s.payload_len());
    assert_eq!(segment, Ok(2));
}

#[test]
fn a_length_of_zero_does_not_outgrow_the_frame() {
    let mut packet = ipv4(&[], 0x4000);
    packet[2..4].fill(0);
    assert_eq!(
        Segment::parse_sent(&packet, 19).unwrap_err(),
        ParseError::HeaderLength {
            length: 20,
            packet: 19
        }
    );
    let mut packet = ipv6(DESTINATION, &[]);
    packet[4..6].fill(0);
    assert_eq!(
        Segment::parse_sent(&packet, 0).unwrap_err(),
        ParseError::Truncated {
            what: "the TCP header",
            needed: 60,
            found: 40
        }
    );
}

#[test]
fn an_authentication_header_counts_in_words_of_four_bytes() {
    // Four more words than two: 24 bytes (RFC 4302 §2.2).
    let mut header = [0xaa; 24];
    header[1] = 4;
    assert_is_the_segment(&ipv6(DESTINATION, &[(51, &header)]), Some(true));
}

#[test]
fn the_payload_is_told_whatever_it_is() {
    let mut packet = ipv4(&[], 0x4000);
    packet[9] = 47;
    let payload = IpPayload::parse(&packet[..30], 42).unwrap();
    assert_eq!((payload.protocol, payload.header_length), (47, 20));
    assert_eq!((payload.bytes, payload.length), (&packet[20..30], 22));

    let packet = ipv6(DESTINATION, &[HOP_BY_HOP, (4, &[0; 4])]);
    let payload = IpPayload::parse(&packet, 0).unwrap();
    assert_eq!((payload.protocol, payload.header_length), (4, 48));
    assert_eq!(payload.bytes.len(), payload.length);
}
