//! The probes on the wire.

use crate::capture::{Capture, Packet};
use crate::world::{A, B, Cable, QUICK, cable, check, open, open_one, open_one_v6};
use rustix::net::sockopt;
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::Outcome;
use tcpalive_lab::connections::Pair;
use tcpalive_lab::faults;
use tcpalive_liveness::CheckOptions;
use tcpalive_segment::{Flags, Segment};

fn segment(packet: &Packet) -> Segment<'_> {
    Segment::parse(&packet.bytes).unwrap()
}

/// Probes from port 3333 without data, and the answers to them.
fn probes(packets: &[Packet]) -> Vec<&Packet> {
    packets
        .iter()
        .filter(|packet| segment(packet).source().port() == 3333)
        .collect()
}

/// Captures our probe and the kernel's own for the same connection.
fn ours_and_the_kernels(world: &Cable, pair: &Pair) -> (Packet, Packet, Packet) {
    let capture = Capture::start(&world.b, "tcp");
    assert_eq!(check(&world.b, QUICK).count(Outcome::Alive), 1);
    sockopt::set_tcp_keepidle(&pair.server, Duration::from_secs(1)).unwrap();
    sockopt::set_tcp_keepintvl(&pair.server, Duration::from_secs(60)).unwrap();
    sockopt::set_socket_keepalive(&pair.server, true).unwrap();
    sleep(Duration::from_millis(1800));
    let packets = capture.packets();
    assert_eq!(packets.len(), 4, "two probes and two answers: {packets:?}");
    (packets[0].clone(), packets[1].clone(), packets[2].clone())
}

/// Everything but what has moved on between the two (the timestamps), IPv4's
/// identification, and checksums: the kernel leaves TCP's to the device, which
/// a virtual one never fills in. The window is the one offered last; the
/// kernel may open it a little further when it sends itself.
fn assert_same(ours: &Packet, kernels: &Packet) {
    let (mut a, mut b) = (ours.bytes.clone(), kernels.bytes.clone());
    assert_eq!(a.len(), b.len());
    let ip = if a[0] >> 4 == 4 { 20 } else { 40 };
    for bytes in [&mut a, &mut b] {
        if ip == 20 {
            bytes[4..6].fill(0);
            bytes[10..12].fill(0);
        }
        bytes[ip + 14..ip + 18].fill(0);
        if bytes.len() == ip + 32 {
            bytes[ip + 24..ip + 32].fill(0);
        }
    }
    assert_eq!(a, b, "ours first, the kernel's second");
    let (ours, kernels) = (segment(ours), segment(kernels));
    assert_eq!(ours.checksum_ok(), Some(true));
    assert!(
        (ours.window()..=ours.window() + 2).contains(&kernels.window()),
        "{} and the kernel's {}",
        ours.window(),
        kernels.window()
    );
}

/// Between the two the clock went on, and ours was never ahead of it. What
/// the kernel's own echoes is the answer to ours.
fn assert_timestamps(ours: &Packet, answer: &Packet, kernels: &Packet) {
    let [first, answer, second] =
        [ours, answer, kernels].map(|packet| segment(packet).timestamps().unwrap());
    // The peer took nothing over from the probe.
    assert_ne!(answer.echo_reply, first.value);
    assert_eq!(second.echo_reply, answer.value);
    let before_that = answer.value.wrapping_sub(first.echo_reply);
    assert!(before_that < 10_000, "{before_that} ms since the handshake");
    let ticks = u64::from(second.value.wrapping_sub(first.value));
    let between = (kernels.at - ours.at).as_millis() as u64;
    // A probe is built shortly before it is sent, and each end is rounded.
    assert!(
        (between.saturating_sub(2)..between + 60).contains(&ticks),
        "{ticks} ticks in {between} ms"
    );
}

#[test]
fn a_probe_is_what_the_kernel_itself_would_send() {
    let world = cable("same");
    let pair = open_one(&world.a, &world.b);
    let (ours, answer, kernels) = ours_and_the_kernels(&world, &pair);
    assert_same(&ours, &kernels);
    assert_timestamps(&ours, &answer, &kernels);

    let (probe, answer) = (segment(&ours), segment(&answer));
    assert_eq!(probe.flags(), Flags::ACK);
    assert_eq!(
        (probe.ttl(), probe.dont_fragment(), probe.payload_len()),
        (64, true, 0)
    );
    // The answer says where the stream stands: one to the right of the probe.
    assert_eq!(probe.sequence().wrapping_add(1), answer.acknowledgment());
    assert_eq!(probe.acknowledgment(), answer.sequence());
}

#[test]
fn a_probe_over_ipv6_is_what_the_kernel_itself_would_send() {
    let world = cable("same6");
    let pair = open_one_v6(&world.a, &world.b);
    let (ours, answer, kernels) = ours_and_the_kernels(&world, &pair);
    assert_same(&ours, &kernels);
    assert_timestamps(&ours, &answer, &kernels);
}

#[test]
fn a_probe_without_timestamps_is_what_the_kernel_itself_would_send() {
    let world = cable("same0");
    world.b.sysctl("net.ipv4.tcp_timestamps", "0").unwrap();
    let pair = open_one(&world.a, &world.b);
    let (ours, _, kernels) = ours_and_the_kernels(&world, &pair);
    assert_same(&ours, &kernels);
    assert_eq!(segment(&ours).options().count(), 0);
}

#[test]
fn a_probe_has_its_sockets_own_ttl_and_type_of_service() {
    let world = cable("ownttl");
    let pair = open_one(&world.a, &world.b);
    sockopt::set_ip_ttl(&pair.server, 17).unwrap();
    sockopt::set_ip_tos(&pair.server, 0x28).unwrap();
    let (ours, _, kernels) = ours_and_the_kernels(&world, &pair);
    assert_same(&ours, &kernels);
    assert_eq!(
        (segment(&ours).ttl(), segment(&ours).traffic_class()),
        (17, 0x28)
    );
}

#[test]
fn a_probe_has_the_window_that_unread_data_leaves() {
    use std::io::Write;
    let world = cable("ownwindow");
    let mut pair = open_one(&world.a, &world.b);
    pair.client.write_all(&[7; 50_000]).unwrap();
    sleep(Duration::from_millis(200));
    let (ours, _, kernels) = ours_and_the_kernels(&world, &pair);
    assert_same(&ours, &kernels);
}

#[test]
fn living_peers_get_exactly_one_probe() {
    let world = cable("oneprobe");
    let pairs = open(&world.a, &world.b, 3333, 50);
    let capture = Capture::start(&world.b, "tcp");
    let verdicts = check(&world.b, CheckOptions::default());
    assert_eq!(verdicts.count(Outcome::Alive), pairs.len());
    let packets = capture.packets();
    let mut ports: Vec<_> = probes(&packets)
        .iter()
        .map(|packet| segment(packet).destination().port())
        .collect();
    ports.sort_unstable();
    let mut expected: Vec<_> = pairs
        .iter()
        .map(|pair| pair.client.local_addr().unwrap().port())
        .collect();
    expected.sort_unstable();
    assert_eq!(ports, expected);
    // One answer each, and nothing else from anybody.
    assert_eq!(packets.len(), 2 * pairs.len());
}

#[test]
fn probes_to_a_silent_peer_keep_their_distance_and_the_last_has_a_byte() {
    let world = cable("distance");
    let pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut(&world.a, B).unwrap();
    let capture = Capture::start(&world.b, "tcp");
    let options = CheckOptions {
        window: Some(Duration::from_secs(3)),
        ..QUICK
    };
    assert_eq!(check(&world.b, options).count(Outcome::Dead), 3);
    let packets = capture.packets();
    for pair in pairs {
        let port = pair.client.local_addr().unwrap().port();
        let probes: Vec<_> = probes(&packets)
            .into_iter()
            .filter(|packet| segment(packet).destination().port() == port)
            .collect();
        assert!((3..=6).contains(&probes.len()), "{} probes", probes.len());
        for two in probes.windows(2) {
            assert!(two[1].at - two[0].at >= Duration::from_millis(500));
            assert_eq!(segment(two[0]).sequence(), segment(two[1]).sequence());
        }
        let lengths: Vec<_> = probes
            .iter()
            .map(|packet| segment(packet).payload_len())
            .collect();
        // Empty ones first, and those of the window's second half with a byte.
        assert!(lengths.is_sorted() && lengths[..2] == [0, 0], "{lengths:?}");
        assert_eq!(lengths.last(), Some(&1));
        assert_eq!(*probes.last().unwrap().bytes.last().unwrap(), 0);
        for packet in probes {
            let segment = segment(packet);
            assert_eq!(
                (segment.flags(), segment.checksum_ok()),
                (Flags::ACK, Some(true))
            );
        }
    }
}

/// Some small stacks answer no probe without data (uIP and its kin).
#[test]
fn a_peer_that_answers_only_the_byte_is_alive_and_its_stream_unharmed() {
    let world = cable("byteonly");
    let pair = open_one(&world.a, &world.b);
    // A does not get what is empty.
    let deaf = faults::count(
        &world.a,
        faults::Hook::Input,
        "ip length < 53 tcp sport 3333",
    )
    .unwrap();
    world
        .a
        .nft("table ip deaf {\nchain input {\ntype filter hook input priority 10;\nip length < 53 tcp sport 3333 drop\n}\n}\n")
        .unwrap();
    let verdicts = check(&world.b, QUICK);
    verdicts.all(Outcome::Alive, "it answered a probe");
    assert!(verdicts.only().probes >= 3);
    assert!(deaf.packets().unwrap() >= 2);
    world.a.nft("delete table ip deaf\n").unwrap();
    crate::conversation::exchange(&pair, 1);
    crate::conversation::exchange(&pair, 2);
}

#[test]
fn many_probes_go_no_faster_than_the_rate() {
    let world = cable("rate");
    let pairs = open(&world.a, &world.b, 3333, 600);
    faults::cut(&world.a, B).unwrap();
    let capture = Capture::start(&world.b, &format!("tcp and dst host {A}"));
    let options = CheckOptions { rate: 300, ..QUICK };
    let verdicts = check(&world.b, options);
    assert_eq!(verdicts.count(Outcome::Dead), pairs.len());
    let packets = capture.packets();
    assert_eq!(packets.len(), 3 * pairs.len());
    // Bursts are of 64: 600 begin 600 - 64 of them before the last.
    for round in packets.chunks(600) {
        assert!(
            round[599].at - round[0].at >= Duration::from_secs_f64((600.0 - 64.0) / 300.0 - 0.2)
        );
    }
    // And still nobody is asked twice within half a second.
    let mut last = std::collections::HashMap::new();
    for packet in &packets {
        if let Some(before) = last.insert(segment(packet).destination(), packet.at) {
            assert!(packet.at - before >= Duration::from_millis(500));
        }
    }
}
