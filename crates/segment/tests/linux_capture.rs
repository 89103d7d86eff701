//! A capture from Linux, read by this crate and by tcpdump.

use std::collections::HashMap;
use std::net::SocketAddr;
use tcpalive_segment::{
    Flags, IpFields, MAX_PROBE_LEN, Probe, Segment, acknowledges, is_empty_probe, sequence,
};

struct Recorded {
    /// What tcpdump printed.
    description: &'static str,
    bytes: Vec<u8>,
}

fn capture() -> Vec<Recorded> {
    let text = include_str!("captures/linux-6.18-veth.hex");
    let packets: Vec<_> = text.split("\n\n").skip(1).map(recorded).collect();
    assert_eq!(packets.len(), 33);
    packets
}

fn recorded(text: &'static str) -> Recorded {
    let (description, hex) = text.split_once('\n').unwrap();
    let digits: String = hex.split_whitespace().collect();
    let bytes = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    Recorded { description, bytes }
}

/// `192.0.2.1.40000`, as tcpdump writes an address with its port.
fn dotted(address: SocketAddr) -> String {
    format!("{}.{}", address.ip(), address.port())
}

/// The probes of a capture, found as an observer finds them: by what the
/// receiver of each segment has acknowledged so far.
fn probes(capture: &[Recorded]) -> Vec<&[u8]> {
    let mut acknowledged: HashMap<SocketAddr, u32> = HashMap::new();
    let mut probes = Vec::new();
    for packet in capture {
        let segment = Segment::parse(&packet.bytes).unwrap();
        let expected_next = acknowledged.get(&segment.source());
        if expected_next.is_some_and(|next| is_empty_probe(&segment, *next)) {
            probes.push(&packet.bytes[..]);
        }
        if segment.flags().contains(Flags::ACK) {
            let highest = acknowledged
                .entry(segment.destination())
                .or_insert(segment.acknowledgment());
            if sequence::after(segment.acknowledgment(), *highest) {
                *highest = segment.acknowledgment();
            }
        }
    }
    probes
}

#[test]
fn every_field_is_what_tcpdump_prints() {
    for Recorded { description, bytes } in &capture() {
        let segment = Segment::parse(bytes).unwrap();
        let mut expected = vec![
            format!(
                " {} > {}: Flags [{}], cksum",
                dotted(segment.source()),
                dotted(segment.destination()),
                segment.flags()
            ),
            format!(", win {}", segment.window()),
        ];
        let payload = segment.payload_len();
        let occupies = payload + usize::from(segment.flags().intersects(Flags::SYN | Flags::FIN));
        expected.push(match (payload, occupies) {
            (0, _) => format!(", seq {}, ", segment.sequence()),
            _ => format!(
                ", seq {}:{}, ",
                segment.sequence(),
                segment.sequence() as usize + payload
            ),
        });
        expected.push(format!(", length {payload}"));
        if segment.flags().contains(Flags::ACK) {
            expected.push(format!(", ack {}, ", segment.acknowledgment()));
        }
        if let Some(timestamps) = segment.timestamps() {
            expected.push(format!(
                "TS val {} ecr {}",
                timestamps.value, timestamps.echo_reply
            ));
        }
        assert_eq!(
            segment.timestamps().is_some(),
            description.contains("TS val")
        );
        if segment.source().is_ipv4() {
            expected.push(format!(
                "tos {:#x}, ttl {},",
                segment.traffic_class(),
                segment.ttl()
            ));
            assert_eq!(segment.dont_fragment(), description.contains("flags [DF]"));
        } else {
            expected.push(format!(
                "flowlabel {:#07x}, hlim {}",
                segment.flow_label(),
                segment.ttl()
            ));
            assert_eq!(
                segment.traffic_class() == 0x20,
                description.contains("class 0x20")
            );
        }
        for part in expected {
            assert!(
                description.contains(&part),
                "{part:?} is not in {description:?}"
            );
        }
        assert!(description.contains("(correct)"));
        assert_eq!(segment.checksum_ok(), Some(true), "{description}");
    }
}

#[test]
fn the_options_of_a_syn_are_read() {
    use tcpalive_segment::{TcpOption, Timestamps};
    let capture = capture();
    let syn = capture
        .iter()
        .find(|packet| {
            packet
                .description
                .contains("40006 > 2001:db8::2.7: Flags [S]")
        })
        .unwrap();
    assert!(
        syn.description
            .contains("options [mss 1440,sackOK,TS val 4160687031 ecr 0,nop,wscale 10]")
    );
    let options: Vec<_> = Segment::parse(&syn.bytes).unwrap().options().collect();
    assert_eq!(
        options,
        [
            TcpOption::MaximumSegmentSize(1440),
            TcpOption::SackPermitted,
            TcpOption::Timestamps(Timestamps {
                value: 4_160_687_031,
                echo_reply: 0
            }),
            TcpOption::WindowScale(10),
        ]
    );
}

#[test]
fn every_probe_is_found_and_nothing_else() {
    let capture = capture();
    let mut count: HashMap<u16, u32> = HashMap::new();
    for bytes in probes(&capture) {
        let port = Segment::parse(bytes).unwrap().source().port();
        *count.entry(port).or_default() += 1;
    }
    // 40001 was answered three times and 40006 once before the silence that
    // ended both after two probes.
    assert_eq!(count, HashMap::from([(40000, 1), (40001, 5), (40006, 3)]));
}

#[test]
fn an_answer_to_a_probe_acknowledges_what_was_sent() {
    let capture = capture();
    let mut answers = 0;
    for pair in capture.windows(2) {
        let [probe, answer] = [&pair[0], &pair[1]].map(|p| Segment::parse(&p.bytes).unwrap());
        let probes = probes(&capture);
        if probes.contains(&&pair[0].bytes[..]) && answer.source() == probe.destination() {
            let snd_una = probe.sequence().wrapping_add(1);
            assert!(acknowledges(&answer, snd_una, snd_una));
            assert!(!acknowledges(&probe, snd_una, snd_una));
            answers += 1;
        }
    }
    assert_eq!(answers, 5);
}

#[test]
fn what_we_build_is_what_linux_sent_byte_by_byte() {
    for linux in probes(&capture()) {
        let segment = Segment::parse(linux).unwrap();
        let probe = Probe {
            local: segment.source(),
            remote: segment.destination(),
            sequence: segment.sequence(),
            acknowledgment: segment.acknowledgment(),
            window: segment.window(),
            timestamps: segment.timestamps(),
            garbage: false,
            ip: IpFields {
                ttl: segment.ttl(),
                traffic_class: segment.traffic_class(),
                dont_fragment: segment.dont_fragment(),
                flow_label: segment.flow_label(),
            },
        };
        let mut buffer = [0; MAX_PROBE_LEN];
        let length = probe.write(&mut buffer).unwrap();
        let ours = &buffer[..length];
        if segment.source().is_ipv4() {
            // The kernel fills in identification and header checksum.
            assert_eq!(ours[4..6], [0, 0]);
            assert_eq!(ours[..4], linux[..4]);
            assert_eq!(ours[6..10], linux[6..10]);
            assert_eq!(ours[12..], linux[12..]);
        } else {
            assert_eq!(ours, linux);
        }
    }
}

#[test]
fn a_capture_cut_behind_the_fixed_tcp_header_keeps_its_fields() {
    for Recorded { description, bytes } in &capture() {
        let whole = Segment::parse(bytes).unwrap();
        let ip_length = if whole.source().is_ipv4() { 20 } else { 40 };
        for captured in ip_length + 20..bytes.len() {
            let cut = Segment::parse(&bytes[..captured]).unwrap();
            assert_eq!(cut.sequence(), whole.sequence());
            assert_eq!(cut.flags(), whole.flags());
            assert_eq!(cut.payload_len(), whole.payload_len(), "{description}");
            assert_eq!(cut.checksum_ok(), None);
        }
        let error = Segment::parse(&bytes[..ip_length + 19]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the TCP header needs the first {} bytes of the packet, found {}",
                ip_length + 20,
                ip_length + 19
            )
        );
    }
}

#[test]
fn ethernets_padding_is_not_payload() {
    for Recorded { bytes, .. } in &capture() {
        let mut padded = bytes.clone();
        padded.extend([0xa5; 6]);
        let (plain, padded) = (
            Segment::parse(bytes).unwrap(),
            Segment::parse(&padded).unwrap(),
        );
        assert_eq!(padded.payload_len(), plain.payload_len());
        assert_eq!(padded.checksum_ok(), Some(true));
    }
}
