//! What following flows costs: time for a packet and memory for a flow.
//!
//! `cargo bench -p tcpalive-capture --bench flows`. Packets are made before
//! the clock starts; "parse" is what reading their headers costs alone, which
//! "follow" contains.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the crate reads no clock; its benchmark does"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;
use tcpalive_capture::flow::{Tracker, TrackerOptions};
use tcpalive_segment::{Draft, Flags, Segment, Timestamps};

fn main() {
    println!("packets of established flows (request, response, ACK):");
    for flows in [1_000, 100_000, 1_000_000] {
        conversation(flows);
    }
    println!("flows that probe, half of them without answers:");
    for (flows, v6) in [
        (1_000, false),
        (100_000, false),
        (1_000_000, false),
        (1_000_000, true),
    ] {
        probing(flows, v6);
    }
}

fn ends(flow: u32, v6: bool) -> (SocketAddr, SocketAddr) {
    let [_, x, y, z] = (flow / 50_000).to_be_bytes();
    let port = 10_000 + (flow % 50_000) as u16;
    if v6 {
        let low = u16::from_be_bytes([y, z]);
        let a = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, u16::from(x), low, 1);
        let b = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
        return ((a, port).into(), (b, 443).into());
    }
    let a = Ipv4Addr::new(10, x, y, z);
    ((a, port).into(), (Ipv4Addr::new(192, 0, 2, 1), 443).into())
}

struct Side {
    packet: Vec<u8>,
    /// Where the TCP header starts.
    tcp: usize,
}

impl Side {
    fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let packet = Draft {
            flags: Flags::ACK,
            window: 100,
            timestamps: Some(Timestamps {
                value: 1,
                echo_reply: 1,
            }),
            ..Draft::new(source, destination)
        }
        .to_bytes()
        .unwrap_or_default();
        Self {
            packet,
            tcp: if source.is_ipv4() { 20 } else { 40 },
        }
    }

    /// The packet with these numbers; `length` bytes of payload are in the IP
    /// header only, as in a capture that was cut.
    fn with(&mut self, sequence: u32, acknowledgment: u32, length: u16) -> &[u8] {
        let tcp = self.tcp;
        self.packet[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
        self.packet[tcp + 8..tcp + 12].copy_from_slice(&acknowledgment.to_be_bytes());
        let (at, own) = if tcp == 20 { (2, 52) } else { (4, 32) };
        self.packet[at..at + 2].copy_from_slice(&(own + length).to_be_bytes());
        &self.packet
    }
}

fn conversation(flows: u32) {
    let mut sides: Vec<_> = (0..flows)
        .map(|flow| {
            let (a, b) = ends(flow, false);
            [Side::new(a, b), Side::new(b, a)]
        })
        .collect();
    let rounds = (8_000_000 / flows).clamp(2, 2_000);
    let mut run = |each: &mut dyn FnMut(u64, &[u8])| {
        let mut frame = 0;
        let start = Instant::now();
        for round in 0..rounds {
            let (a, b) = (1 + round * 100, 1 + round * 1000);
            for [from_a, from_b] in &mut sides {
                each(frame + 1, from_a.with(a, b, 100));
                each(frame + 2, from_b.with(b, a + 100, 1000));
                each(frame + 3, from_a.with(a + 100, b + 1000, 0));
                frame += 3;
            }
        }
        start.elapsed().as_secs_f64() * 1e9 / frame as f64
    };
    let parse = run(&mut |_, packet| {
        black_box(Segment::parse(packet).is_ok());
    });
    let mut tracker = Tracker::new(TrackerOptions::default());
    let follow = run(&mut |frame, packet| {
        if let Ok(segment) = Segment::parse(packet) {
            black_box(tracker.observe(frame, frame * 1000, 0, &segment));
        }
    });
    report(flows, parse, follow, &tracker);
    let mut probes = 0;
    tracker.finish(|flow| probes += flow.probes());
    assert_eq!(probes, 0);
}

fn probing(flows: u32, v6: bool) {
    let mut sides: Vec<_> = (0..flows)
        .map(|flow| {
            let (a, b) = ends(flow, v6);
            [Side::new(a, b), Side::new(b, a)]
        })
        .collect();
    let rounds = (4_000_000 / flows).clamp(4, 1_000);
    let mut run = |each: &mut dyn FnMut(u64, u64, &[u8])| {
        let mut frame = 0;
        let start = Instant::now();
        for round in 0..u64::from(rounds) {
            let time = round * 10_000_000_000;
            for (flow, [from_a, from_b]) in sides.iter_mut().enumerate() {
                frame += 1;
                each(frame, time, from_a.with(99, 500, 0));
                if round < 2 || flow % 2 == 0 {
                    frame += 1;
                    each(frame, time + 1_000_000, from_b.with(500, 100, 0));
                }
            }
        }
        start.elapsed().as_secs_f64() * 1e9 / frame as f64
    };
    let parse = run(&mut |_, _, packet| {
        black_box(Segment::parse(packet).is_ok());
    });
    let mut tracker = Tracker::new(TrackerOptions::default());
    let follow = run(&mut |frame, time, packet| {
        if let Ok(segment) = Segment::parse(packet) {
            black_box(tracker.observe(frame, time, 0, &segment));
        }
    });
    report(flows, parse, follow, &tracker);
    let mut probes = 0;
    tracker.finish(|flow| probes += flow.probes());
    assert_eq!(probes, u64::from(flows) * u64::from(rounds));
}

fn report(flows: u32, parse: f64, follow: f64, tracker: &Tracker) {
    println!(
        "  {flows:>9} flows: parse {parse:5.1} ns, follow {follow:6.1} ns a packet ({:5.1} M/s), {:4} bytes a flow",
        1e3 / follow,
        tracker.memory() / tracker.live_flows().max(1),
    );
}
