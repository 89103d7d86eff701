//! The made-up captures are what they claim to be.

use std::collections::HashMap;
use std::net::SocketAddr;
use tcpalive_capture::synthetic::{End, Kind, Probers, Shape, Synthetic, Truth, write};
use tcpalive_capture::{Link, Reader, Resolution, Writer};
use tcpalive_segment::{Flags, Segment};

fn made(shape: Shape) -> (Vec<u8>, Vec<Truth>) {
    let mut writer = Writer::new(Vec::new(), Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    let truths = write(shape, &mut writer).unwrap();
    (writer.into_inner(), truths)
}

#[test]
fn the_same_shape_makes_the_same_bytes_and_another_seed_others() {
    let (first, truths) = made(Shape::new(50, 30, 1));
    let (second, same) = made(Shape::new(50, 30, 1));
    assert!(first == second);
    assert_eq!(truths, same);
    let (other, _) = made(Shape::new(50, 30, 2));
    assert!(first != other);
}

#[test]
fn frames_come_in_order_of_time_with_right_checksums() {
    let shape = Shape {
        snap_length: 2000,
        ..Shape::new(300, 40, 7)
    };
    let (file, truths) = made(shape);
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut last = shape.start;
    while let Some(packet) = reader.next().unwrap() {
        assert!(packet.time >= last);
        last = packet.time;
        let segment = packet.ip_packet().unwrap().segment().unwrap();
        assert_eq!(segment.checksum_ok(), Some(true), "frame {}", packet.frame);
    }
    let packets: u32 = truths.iter().map(|truth| truth.packets).sum();
    assert_eq!(reader.frames(), u64::from(packets));
}

/// What the wire shows of a connection, without knowing how it was made.
#[derive(Debug, Default)]
struct Seen {
    first_frame: u64,
    packets: u32,
    syn: bool,
    fins: u32,
    resets: u32,
    /// Segments of no more than a byte just left of what was sent before.
    left_of_next: u32,
    /// Highest sequence number after what each end sent.
    next: HashMap<SocketAddr, u32>,
}

impl Seen {
    fn add(&mut self, frame: u64, segment: &Segment<'_>) {
        if self.packets == 0 {
            self.first_frame = frame;
        }
        self.packets += 1;
        let flags = segment.flags();
        self.syn |= flags.contains(Flags::SYN);
        self.fins += u32::from(flags.contains(Flags::FIN));
        self.resets += u32::from(flags.contains(Flags::RST));
        let sequence = segment.sequence();
        let advance =
            segment.payload_len() as u32 + u32::from(flags.intersects(Flags::SYN | Flags::FIN));
        let next = self.next.get(&segment.source()).copied();
        if advance <= 1 && next == Some(sequence.wrapping_add(1)) {
            self.left_of_next += 1;
        } else {
            self.next
                .insert(segment.source(), sequence.wrapping_add(advance));
        }
    }
}

#[test]
fn the_truth_is_what_the_wire_shows() {
    let mut synthetic = Synthetic::new(Shape::new(2000, 60, 3));
    let mut seen: HashMap<(SocketAddr, SocketAddr), Seen> = HashMap::new();
    let mut number = 0;
    while let Some(frame) = synthetic.next() {
        number += 1;
        let ip = tcpalive_capture::ip_packet(Link::ETHERNET, frame.data, frame.original_len);
        let segment = ip.unwrap().segment().unwrap();
        let (source, destination) = (segment.source(), segment.destination());
        let from_a = source.port() >= 20_000;
        let key = if from_a {
            (source, destination)
        } else {
            (destination, source)
        };
        seen.entry(key).or_default().add(number, &segment);
    }
    assert_eq!(seen.len(), 2000);
    for truth in synthetic.truths() {
        let seen = &seen[&(truth.a, truth.b)];
        assert_eq!(seen.first_frame, truth.first_frame, "{truth:?}");
        assert_eq!(seen.packets, truth.packets, "{truth:?}");
        assert_eq!(seen.syn, truth.handshake, "{truth:?}");
        let (fins, resets) = match truth.end {
            End::Open => (0, 0),
            End::Fin => (2, 0),
            End::Reset | End::KeepAliveTimeout => (0, 1),
        };
        assert_eq!((seen.fins, seen.resets), (fins, resets), "{truth:?}");
        if truth.kind == Kind::KeepAlive {
            assert!(truth.answers <= truth.probes);
            assert!(truth.longest_unanswered <= truth.count);
            // A capture that begins with a probe does not show what it is
            // left of; a garbage byte that is sent again and again does.
            assert!(seen.left_of_next <= truth.probes, "{truth:?} {seen:?}");
            assert!(seen.left_of_next + 2 >= truth.probes, "{truth:?} {seen:?}");
        } else {
            assert_eq!((truth.probers, truth.probes), (Probers::Neither, 0));
        }
    }
}

#[test]
fn every_kind_and_end_is_made() {
    let (_, truths) = made(Shape::new(2000, 60, 3));
    let count = |is: &dyn Fn(&Truth) -> bool| truths.iter().filter(|truth| is(truth)).count();
    for kind in [
        Kind::KeepAlive,
        Kind::Requests,
        Kind::Typing,
        Kind::Bulk,
        Kind::Quiet,
    ] {
        assert!(count(&|truth| truth.kind == kind) > 50, "{kind:?}");
    }
    for end in [End::Open, End::Fin, End::Reset, End::KeepAliveTimeout] {
        assert!(count(&|truth| truth.end == end) > 50, "{end:?}");
    }
    for probers in [Probers::A, Probers::B, Probers::Both] {
        assert!(count(&|truth| truth.probers == probers) > 50, "{probers:?}");
    }
    assert!(count(&|truth| truth.a.is_ipv6()) > 50);
    assert!(count(&|truth| !truth.handshake) > 50);
    assert!(count(&|truth| truth.garbage) > 50);
    let dead = |truth: &Truth| truth.end == End::KeepAliveTimeout;
    assert!(
        truths
            .iter()
            .filter(|truth| dead(truth))
            .all(|truth| { truth.longest_unanswered == truth.count })
    );
}

#[test]
fn connections_stay_open_where_that_is_asked_for() {
    let shape = Shape {
        stay_open: true,
        ..Shape::new(500, 30, 1)
    };
    let (_, truths) = made(shape);
    assert!(truths.iter().all(|truth| truth.end == End::Open));
}
