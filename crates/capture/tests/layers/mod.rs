//! Frames put together layer by layer, from the inside out.

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;

/// An ACK from port 40000 to port 7, sequence number 1000, with two bytes of
/// data. Its checksum is not filled in.
pub(crate) const TCP: [u8; 22] = [
    0x9c, 0x40, 0, 7, 0, 0, 3, 0xe8, 0, 0, 0x13, 0x88, 0x50, 0x10, 0, 63, 0, 0, 0, 0, b'h', b'i',
];

/// Bytes after bytes.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let header = [
        0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ];
    join(&[&header, payload])
}

pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut header = [0; 40];
    header[..8].copy_from_slice(&[0x60, 0, 0, 0, high, low, next, 64]);
    header[8..12].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    header[23] = 1;
    header[24..28].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    header[39] = 2;
    join(&[&header, payload])
}

pub(crate) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    join(&[&addresses, &kind.to_be_bytes(), payload])
}

/// What is behind the type of a VLAN tag: priority and id, the next type.
pub(crate) fn tag(control: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&control.to_be_bytes(), &kind.to_be_bytes(), payload])
}

/// A UDP datagram from port 5555.
pub(crate) fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    join(&[
        &[0x15, 0xb3],
        &port.to_be_bytes(),
        &length,
        &[0, 0],
        payload,
    ])
}

/// Every encapsulation of an Ethernet frame that is understood: its name, the
/// frame, and the context that it gives. Inside is [`TCP`] in IPv4 or IPv6.
pub(crate) fn encapsulations() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let v4 = ipv4(6, &TCP);
    let v6 = ipv6(6, &TCP);
    let in_v4 = |protocol, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, payload));
    let session_length = (v4.len() as u16 + 2).to_be_bytes();
    vec![
        ("eth:ethertype:ip:tcp", ethernet(IPV4, &v4), ""),
        ("eth:ethertype:ipv6:tcp", ethernet(IPV6, &v6), ""),
        (
            "eth:llc:ip:tcp",
            ethernet(50, &join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4])),
            "",
        ),
        // Priority 7, VLAN 7.
        (
            "eth:ethertype:vlan:ethertype:ip:tcp",
            ethernet(0x8100, &tag(0xe007, IPV4, &v4)),
            "vlan 7",
        ),
        // A tag that only carries a priority.
        (
            "eth:ethertype:vlan:ethertype:ip:tcp",
            ethernet(0x8100, &tag(0xe000, IPV4, &v4)),
            "",
        ),
        (
            "eth:ethertype:ieee8021ad:ethertype:vlan:ethertype:ipv6:tcp",
            ethernet(0x88a8, &tag(100, 0x8100, &tag(200, IPV6, &v6))),
            "vlan 100.200",
        ),
        (
            "eth:ethertype:vlan:ethertype:vlan:ethertype:vlan:ethertype:ip:tcp",
            ethernet(0x9100, &tag(1, 0x8100, &tag(2, 0x8100, &tag(3, IPV4, &v4)))),
            "vlan 1.2",
        ),
        (
            "eth:ethertype:mpls:ip:tcp",
            ethernet(0x8847, &join(&[&[0, 1, 0, 64, 0, 2, 1, 64], &v4])),
            "",
        ),
        (
            "eth:ethertype:mpls:ipv6:tcp",
            ethernet(0x8848, &join(&[&[0, 2, 1, 64], &v6])),
            "",
        ),
        (
            "eth:ethertype:pppoes:ppp:ip:tcp",
            ethernet(
                0x8864,
                &join(&[&[0x11, 0, 0, 5], &session_length, &[0, 0x21], &v4]),
            ),
            "pppoe session 5",
        ),
        ("eth:ethertype:ip:ip:tcp", in_v4(4, &v4), ""),
        ("eth:ethertype:ip:ipv6:tcp", in_v4(41, &v6), ""),
        (
            "eth:ethertype:ipv6:ip:tcp",
            ethernet(IPV6, &ipv6(4, &v4)),
            "",
        ),
        (
            "eth:ethertype:ipv6:ipv6:tcp",
            ethernet(IPV6, &ipv6(41, &v6)),
            "",
        ),
        (
            "eth:ethertype:ip:gre:ip:tcp",
            in_v4(47, &join(&[&[0, 0, 8, 0], &v4])),
            "",
        ),
        // Checksum, key and sequence number.
        (
            "eth:ethertype:ip:gre:ipv6:tcp",
            in_v4(
                47,
                &join(&[
                    &[0xb0, 0, 0x86, 0xdd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1],
                    &v6,
                ]),
            ),
            "gre key 9",
        ),
        (
            "eth:ethertype:ip:gre:eth:ethertype:vlan:ethertype:ip:tcp",
            in_v4(
                47,
                &join(&[&[0, 0, 0x65, 0x58], &ethernet(0x8100, &tag(8, IPV4, &v4))]),
            ),
            "vlan 8",
        ),
        (
            "eth:ethertype:vlan:ethertype:ip:udp:vxlan:eth:ethertype:ip:tcp",
            ethernet(
                0x8100,
                &tag(
                    3,
                    IPV4,
                    &ipv4(
                        17,
                        &udp(
                            4789,
                            &join(&[&[8, 0, 0, 0, 1, 2, 3, 0], &ethernet(IPV4, &v4)]),
                        ),
                    ),
                ),
            ),
            "vlan 3 vni 66051",
        ),
        (
            "eth:ethertype:ipv6:udp:geneve:eth:ethertype:ip:tcp",
            ethernet(
                IPV6,
                &ipv6(
                    17,
                    &udp(
                        6081,
                        &join(&[
                            &[1, 0, 0x65, 0x58, 0, 0, 42, 0, 0, 0, 0, 0],
                            &ethernet(IPV4, &v4),
                        ]),
                    ),
                ),
            ),
            "vni 42",
        ),
        // Hop-by-hop options, a routing header at its end, a whole fragment.
        (
            "eth:ethertype:ipv6:ipv6.hopopts:ipv6.routing:ipv6.fraghdr:tcp",
            ethernet(
                IPV6,
                &ipv6(
                    0,
                    &join(&[
                        &[43, 0, 1, 4, 0, 0, 0, 0],
                        &[44, 0, 0, 0, 0, 0, 0, 0],
                        &[6, 0, 0, 0, 0, 0, 0, 0],
                        &TCP,
                    ]),
                ),
            ),
            "",
        ),
    ]
}
