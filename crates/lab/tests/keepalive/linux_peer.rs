//! Two real kernels: a Linux peer answers as the scripted one does.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;
use tcpalive_kernel::wire::Wire;
use tcpalive_lab::Lab;
use tcpalive_lab::connections::{self, Options};
use tcpalive_segment::{Draft, Flags, Segment};

/// What passes one end of the cable, without Ethernet headers.
fn packets(wire: &Wire) -> Vec<(u64, Vec<u8>)> {
    let mut frame = [0; 2048];
    let mut packets = Vec::new();
    while let Some(received) = wire.receive(&mut frame).unwrap() {
        if Segment::parse(&frame[14..received.length]).is_ok() {
            packets.push((received.at_ns, frame[..received.length].to_vec()));
        }
    }
    packets
}

/// The scripted peer has the limit from here: `tcp_invalid_ratelimit`.
#[test]
fn linux_peer_answers_one_probe_in_500_ms_with_what_it_expects() {
    let lab = Lab::new("linuxpeer").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24", &b, "10.9.1.2/24").unwrap();
    let wire = a.run(|| Wire::open("eth0")).unwrap();
    let mut pairs = connections::open(&a, &b, "10.9.1.2:3333", 1, &Options::default()).unwrap();
    // Its acknowledgment tells the numbers of both directions.
    pairs[0].client.write_all(b"numbers").unwrap();
    sleep(Duration::from_millis(300));
    let before = packets(&wire);
    let sent = before
        .iter()
        .rev()
        .find(|(_, frame)| {
            let segment = Segment::parse(&frame[14..]).unwrap();
            segment.destination().port() == 3333 && segment.payload_len() > 0
        })
        .unwrap();
    let ethernet = sent.1[..14].to_vec();
    let last = Segment::parse(&sent.1[14..]).unwrap();
    let snd_nxt = last.sequence().wrapping_add(last.payload_len() as u32);
    let probe = Draft {
        sequence: snd_nxt.wrapping_sub(1),
        acknowledgment: last.acknowledgment(),
        flags: Flags::ACK,
        window: last.window(),
        timestamps: last.timestamps(),
        ..Draft::new(last.source(), last.destination())
    };
    let frame = [ethernet, probe.to_bytes().unwrap()].concat();

    // For two seconds, twenty a second.
    for _ in 0..40 {
        assert!(wire.send(&frame).unwrap());
        sleep(Duration::from_millis(50));
    }

    let after = packets(&wire);
    let answers: Vec<(u64, Segment<'_>)> = after
        .iter()
        .map(|(at, frame)| (*at, Segment::parse(&frame[14..]).unwrap()))
        .filter(|(_, segment)| segment.source().port() == 3333)
        .collect();
    for (_, answer) in &answers {
        assert_eq!(answer.flags(), Flags::ACK);
        assert_eq!(answer.payload_len(), 0);
        assert_eq!(answer.sequence(), last.acknowledgment());
        assert_eq!(answer.acknowledgment(), snd_nxt);
        assert!(answer.timestamps().is_some());
    }
    // The limit is kept in ticks.
    let tick_ns = 10_000_000;
    for pair in answers.windows(2) {
        let apart_ns = pair[1].0 - pair[0].0;
        assert!(apart_ns + tick_ns >= 500_000_000, "{apart_ns} ns apart");
    }
    assert!(
        (3..=5).contains(&answers.len()),
        "{} answers",
        answers.len()
    );
}
