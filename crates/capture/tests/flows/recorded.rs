//! Flows of a capture that a Linux host made: see the file's own heading.

use tcpalive_capture::flow::{End, Flow, FlowEnd, Tracker, TrackerOptions, Verdict};
use tcpalive_segment::Segment;

/// Reads the capture from this packet on.
fn flows(from: usize) -> Vec<Flow> {
    let text = include_str!("../../../segment/tests/captures/linux-6.18-veth.hex");
    let mut tracker = Tracker::new(TrackerOptions::default());
    for (index, packet) in text.split("\n\n").skip(1).enumerate().skip(from) {
        let (description, hex) = packet.split_once('\n').unwrap();
        let time = description.split_whitespace().nth(1).unwrap();
        let (hours_and_minutes, seconds) = time.rsplit_once(':').unwrap();
        let (hours, minutes) = hours_and_minutes.split_once(':').unwrap();
        let whole: f64 =
            hours.parse::<f64>().unwrap() * 3600.0 + minutes.parse::<f64>().unwrap() * 60.0;
        let seconds = whole + seconds.parse::<f64>().unwrap();
        let digits: String = hex.split_whitespace().collect();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let segment = Segment::parse(&bytes).unwrap();
        tracker.observe(index as u64 + 1, (seconds * 1e9) as u64, 0, &segment);
    }
    let mut flows = Vec::new();
    tracker.finish(|flow| flows.push(flow));
    flows.sort_by_key(|flow| flow.a.port());
    flows
}

#[test]
fn a_recorded_connection_that_closed_is_alive_and_those_that_timed_out_are_dead() {
    let flows = flows(0);
    assert_eq!(flows.len(), 3);
    for flow in &flows {
        assert!(flow.handshake_seen);
        assert_eq!(flow.prober(), Some(FlowEnd::A));
        assert_eq!(flow.idle().map(|idle| idle.seconds), Some(1));
    }
    let [closed, timed_out @ ..] = &flows[..] else {
        panic!("three flows expected");
    };
    assert_eq!((closed.end, closed.verdict), (End::Fin, Verdict::Alive));
    assert_eq!(closed.answers(), closed.probes());
    for flow in timed_out {
        assert_eq!(flow.end, End::KeepAliveTimeout);
        assert_eq!(flow.verdict, Verdict::Dead);
        assert_eq!(flow.count(), Some(2));
        assert_eq!(flow.interval().map(|interval| interval.seconds), Some(1));
    }
}

#[test]
fn a_recorded_capture_begun_anywhere_is_never_misread() {
    let whole = flows(0);
    for from in 1..33 {
        for flow in flows(from) {
            let original = whole.iter().find(|whole| {
                [whole.a, whole.b].contains(&flow.a) && [whole.a, whole.b].contains(&flow.b)
            });
            let original = original.unwrap();
            assert!(flow.probes() <= original.probes());
            if flow.verdict == Verdict::Dead {
                assert_eq!(original.verdict, Verdict::Dead);
            }
        }
    }
}
