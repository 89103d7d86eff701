//! The way from a frame down to TCP, through everything that may be between.

mod layers;

use layers::{IPV4, IPV6, TCP, encapsulations, ethernet, ipv4, ipv6, join, tag, udp};
use tcpalive_capture::{Link, ip_packet};

/// Whether this is found to be the segment that [`TCP`] is, in this context.
#[track_caller]
fn assert_found(name: &str, link: Link, frame: &[u8], context: &str) {
    let packet = ip_packet(link, frame, frame.len() as u32)
        .unwrap_or_else(|| panic!("{name}: no packet was found"));
    let segment = packet.segment().unwrap();
    assert_eq!(segment.source().port(), 40_000, "{name}");
    assert_eq!(segment.destination().port(), 7, "{name}");
    assert_eq!(segment.sequence(), 1000, "{name}");
    assert_eq!(segment.payload_len(), 2, "{name}");
    assert_eq!(packet.context.to_string(), context, "{name}");
}

fn found(link: Link, frame: &[u8]) -> bool {
    ip_packet(link, frame, frame.len() as u32).is_some()
}

#[test]
fn every_encapsulation_is_taken_off() {
    for (name, frame, context) in encapsulations() {
        assert_found(name, Link::ETHERNET, &frame, context);
    }
}

#[test]
fn padding_behind_the_packet_does_not_count() {
    for (name, mut frame, context) in encapsulations() {
        frame.extend([0xaa; 18]);
        assert_found(name, Link::ETHERNET, &frame, context);
    }
}

#[test]
fn a_capture_down_to_the_fixed_tcp_header_is_enough_and_less_is_not() {
    for (name, frame, _) in encapsulations() {
        let original_len = frame.len() as u32;
        let cut = &frame[..frame.len() - 2];
        let packet = ip_packet(Link::ETHERNET, cut, original_len).unwrap();
        assert_eq!(packet.segment().unwrap().payload_len(), 2, "{name}");
        for length in 0..cut.len() {
            let segment = ip_packet(Link::ETHERNET, &cut[..length], original_len)
                .map(|packet| packet.segment());
            assert!(
                !matches!(segment, Some(Ok(_))),
                "{name}: found in {length} bytes"
            );
        }
    }
}

#[test]
fn every_link_type_is_taken_off() {
    let (v4, v6) = (ipv4(6, &TCP), ipv6(6, &TCP));
    let sll = |kind: u16, payload: &[u8]| {
        let mut header = [0; 14];
        header[3] = 1;
        header[5] = 6;
        join(&[&header, &kind.to_be_bytes(), payload])
    };
    let sll2 = |kind: u16, payload: &[u8]| {
        let mut rest = [0; 18];
        rest[5] = 3;
        rest[7] = 1;
        join(&[&kind.to_be_bytes(), &rest, payload])
    };
    let session = (v4.len() as u16 + 2).to_be_bytes();
    let frames = [
        ("raw v4", Link::RAW, v4.clone(), ""),
        ("raw v6", Link::RAW, v6.clone(), ""),
        ("DLT_RAW", Link(12), v4.clone(), ""),
        ("DLT_RAW of OpenBSD", Link(14), v6.clone(), ""),
        ("ipv4", Link::IPV4, v4.clone(), ""),
        ("ipv6", Link::IPV6, v6.clone(), ""),
        ("null, little", Link::NULL, join(&[&[2, 0, 0, 0], &v4]), ""),
        ("null, big", Link::NULL, join(&[&[0, 0, 0, 2], &v4]), ""),
        ("null, macOS", Link::NULL, join(&[&[30, 0, 0, 0], &v6]), ""),
        (
            "null, FreeBSD",
            Link::NULL,
            join(&[&[28, 0, 0, 0], &v6]),
            "",
        ),
        ("loop", Link::LOOP, join(&[&[0, 0, 0, 24], &v6]), ""),
        ("cooked", Link::LINUX_SLL, sll(IPV4, &v4), ""),
        (
            "cooked, tagged",
            Link::LINUX_SLL,
            sll(0x8100, &tag(7, IPV6, &v6)),
            "vlan 7",
        ),
        ("cooked 2", Link::LINUX_SLL2, sll2(IPV6, &v6), ""),
        (
            "cooked 2, tagged",
            Link::LINUX_SLL2,
            sll2(0x8100, &tag(7, IPV4, &v4)),
            "vlan 7",
        ),
        ("ppp", Link::PPP, join(&[&[0, 0x21], &v4]), ""),
        (
            "ppp, framed",
            Link::PPP,
            join(&[&[0xff, 3, 0, 0x57], &v6]),
            "",
        ),
        (
            "ppp, short",
            Link::PPP_HDLC,
            join(&[&[0xff, 3, 0x21], &v4]),
            "",
        ),
        (
            "ppp, mpls",
            Link::PPP,
            join(&[&[2, 0x81, 0, 1, 1, 64], &v4]),
            "",
        ),
        (
            "pppoe",
            Link::PPP_ETHER,
            join(&[&[0x11, 0, 1, 0], &session, &[0, 0x21], &v4]),
            "pppoe session 256",
        ),
        ("cisco", Link::C_HDLC, join(&[&[0x0f, 0, 8, 0], &v4]), ""),
    ];
    for number in 0..=u16::MAX {
        let tested = number == 1 || frames.iter().any(|frame| frame.1 == Link(number));
        assert_eq!(Link(number).is_known(), tested, "{}", Link(number));
    }
    for (name, link, frame, context) in frames {
        assert_found(name, link, &frame, context);
        for length in 0..frame.len() - TCP.len() {
            // Never a panic; and nothing is found before the IP header's end.
            assert!(!found(link, &frame[..length]), "{name} in {length} bytes");
        }
    }
    assert!(!found(Link(105), &v4));
}

#[test]
fn what_is_not_tcp_is_none() {
    let datagram = udp(53, b"not a tunnel");
    assert!(!found(
        Link::ETHERNET,
        &ethernet(IPV4, &ipv4(17, &datagram))
    ));
    assert!(!found(Link::ETHERNET, &ethernet(IPV6, &ipv6(58, &TCP))));
    assert!(!found(Link::ETHERNET, &ethernet(0x0806, &ipv4(6, &TCP))));
    // The version must be the one that the layer before promised.
    assert!(!found(Link::ETHERNET, &ethernet(IPV6, &ipv4(6, &TCP))));
    assert!(!found(Link::IPV4, &ipv6(6, &TCP)));
    // Neither IPv4 nor IPv6 under MPLS: a pseudowire.
    let pseudowire = join(&[&[0, 2, 1, 64, 0, 0, 0, 0], &ipv4(6, &TCP)]);
    assert!(!found(Link::ETHERNET, &ethernet(0x8847, &pseudowire)));
}

#[test]
fn only_a_first_fragment_has_the_header() {
    let mut first = ipv4(6, &TCP);
    first[6] = 0x20;
    assert!(found(Link::RAW, &first));
    let mut later = ipv4(6, &TCP);
    later[7] = 3;
    assert!(!found(Link::RAW, &later));
    let later = ipv6(44, &join(&[&[6, 0, 0, 0x18, 0, 0, 0, 1], &TCP]));
    assert!(!found(Link::RAW, &later));
    // The same goes for the outer packet of a tunnel.
    let mut outer = ipv4(4, &ipv4(6, &TCP));
    assert!(found(Link::RAW, &outer));
    outer[7] = 3;
    assert!(!found(Link::RAW, &outer));
}

#[test]
fn one_tunnel_is_entered_and_no_second() {
    let once = ipv4(4, &ipv4(6, &TCP));
    assert!(found(Link::RAW, &once));
    assert!(!found(Link::RAW, &ipv4(4, &once)));
    let vxlan = join(&[&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(IPV4, &once)]);
    assert!(!found(Link::RAW, &ipv4(17, &udp(4789, &vxlan))));
}

#[test]
fn tunnels_that_are_not_understood_are_none() {
    let v4 = ipv4(6, &TCP);
    let gre = |first: u8, second: u8| {
        found(
            Link::RAW,
            &ipv4(47, &join(&[&[first, second, 8, 0], &[0; 8], &v4])),
        )
    };
    assert!(gre(0x30, 0), "key and sequence number");
    assert!(!gre(0x70, 0), "source route");
    assert!(!gre(0x30, 1), "PPTP");
    let vxlan = |flags: u8, port: u16| {
        let header = [flags, 0, 0, 0, 0, 0, 1, 0];
        found(
            Link::RAW,
            &ipv4(17, &udp(port, &join(&[&header, &ethernet(IPV4, &v4)]))),
        )
    };
    assert!(vxlan(8, 4789) && vxlan(0x88, 8472));
    assert!(!vxlan(0, 4789), "no network identifier");
    assert!(!vxlan(8, 4790), "another port");
    let pppoe = |version: u8, code: u8| {
        let header = [version, code, 0, 1, 0, 44, 0, 0x21];
        found(Link::PPP_ETHER, &join(&[&header, &v4]))
    };
    assert!(pppoe(0x11, 0));
    assert!(!pppoe(0x12, 0) && !pppoe(0x11, 9));
}

#[test]
fn a_length_of_zero_is_taken_from_the_frame() {
    // 3000 bytes, cut by the network card later; captured are 64.
    let mut packet = ipv4(6, &TCP);
    packet[2..4].fill(0);
    let frame = ethernet(IPV4, &packet);
    let found = ip_packet(Link::ETHERNET, &frame, 3014).unwrap();
    assert_eq!(found.sent, 3000);
    assert_eq!(found.segment().unwrap().payload_len(), 3000 - 40);
    // In a tunnel, from what the outer packet has left.
    let frame = ethernet(IPV4, &ipv4(4, &packet));
    let found = ip_packet(Link::ETHERNET, &frame, 3014).unwrap();
    assert_eq!(found.segment().unwrap().payload_len(), 2);
    // Where the outer packet claims more than the frame had (found by
    // fuzzing), from the frame.
    let mut outer = ipv4(4, &packet);
    outer[2..4].fill(0xff);
    let found = ip_packet(Link::RAW, &outer, outer.len() as u32).unwrap();
    assert_eq!(found.sent, 42);
    // Longer than IPv6's length field can tell.
    let mut packet = ipv6(6, &TCP);
    packet[4..6].fill(0);
    let found = ip_packet(Link::RAW, &packet, 100_060).unwrap();
    assert_eq!(found.segment().unwrap().payload_len(), 100_000);
}

#[test]
fn contexts_keep_networks_apart_and_directions_together() {
    let v4 = ipv4(6, &TCP);
    let context = |frame: &[u8]| {
        ip_packet(Link::ETHERNET, frame, frame.len() as u32)
            .unwrap()
            .context
    };
    let vlan = |id| context(&ethernet(0x8100, &tag(id, IPV4, &v4)));
    assert_ne!(vlan(1), vlan(2));
    // Priority and "drop eligible" differ from packet to packet.
    assert_eq!(vlan(1), vlan(0xf001));
    let labelled = |label: u8| context(&ethernet(0x8847, &join(&[&[0, label, 1, 64], &v4])));
    assert_eq!(labelled(1), labelled(2));
    assert_eq!(labelled(1).number(), 0);
}
