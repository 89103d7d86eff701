//! A conversation that a test writes down packet by packet.

use tcpalive_capture::flow::{Flow, FrameKind, Tracker, TrackerOptions};
use tcpalive_segment::{Draft, Flags, Segment, Timestamps};

pub(crate) const ISS_A: u32 = u32::MAX - 50;
pub(crate) const ISS_B: u32 = 7_000;

/// What two hosts send each other, and how a tracker reads it.
///
/// Numbers of both directions count from 0 at the SYN and wrap soon.
pub(crate) struct Conversation {
    pub(crate) tracker: Tracker,
    pub(crate) kinds: Vec<(u64, FrameKind)>,
    frame: u64,
    pub(crate) timestamps: bool,
    /// TSval of the last segment that each end took from the other.
    recent: [u32; 2],
    /// Shows only what this end sends.
    pub(crate) only: Option<char>,
    /// Frames before this time, in s, are not captured.
    pub(crate) from: f64,
    pub(crate) window: u16,
}

/// How one segment differs from an empty ACK.
#[derive(Clone, Copy, Default)]
pub(crate) struct Has {
    pub(crate) length: usize,
    pub(crate) flags: Option<Flags>,
}

impl Conversation {
    pub(crate) fn new() -> Self {
        let mut options = TrackerOptions::default();
        options.late_frames = true;
        Self {
            tracker: Tracker::new(options),
            kinds: Vec::new(),
            frame: 0,
            timestamps: true,
            recent: [0; 2],
            only: None,
            from: f64::MIN,
            window: 100,
        }
    }

    /// One segment. `from` is 'A' or 'B'; numbers are relative.
    pub(crate) fn send(&mut self, at: f64, from: char, seq: u32, ack: u32, has: Has) {
        let a = "192.0.2.9:40000".parse().unwrap();
        let b = "192.0.2.2:7".parse().unwrap();
        let side = usize::from(from == 'B');
        let (ends, bases) = if from == 'A' {
            ((a, b), (ISS_A, ISS_B))
        } else {
            ((b, a), (ISS_B, ISS_A))
        };
        let payload = vec![0; has.length];
        let tsval = (at * 1000.0) as u32 + 1_000_000;
        let flags = has.flags.unwrap_or(Flags::ACK);
        let acknowledgment = if flags.contains(Flags::ACK) {
            bases.1.wrapping_add(ack)
        } else {
            0
        };
        let packet = Draft {
            sequence: bases.0.wrapping_add(seq),
            acknowledgment,
            flags,
            window: self.window,
            timestamps: self.timestamps.then_some(Timestamps {
                value: tsval,
                echo_reply: self.recent[side],
            }),
            payload: &payload,
            ..Draft::new(ends.0, ends.1)
        }
        .to_bytes()
        .unwrap();
        if self.only.is_some_and(|only| only != from) || at < self.from {
            return;
        }
        self.observe(at, &packet);
    }

    pub(crate) fn observe(&mut self, at: f64, packet: &[u8]) {
        self.frame += 1;
        let time_ns = ((at + 1_000_000.0) * 1e9).round() as u64;
        let segment = Segment::parse(packet).unwrap();
        if let Some(kind) = self.tracker.observe(self.frame, time_ns, 0, &segment) {
            self.kinds.push((self.frame, kind));
        }
        self.kinds.extend(self.tracker.take_late());
    }

    /// The other end takes a segment sent at this time for in-window: it will
    /// echo its TSval.
    pub(crate) fn taken(&mut self, from: char, at: f64) {
        self.recent[usize::from(from == 'A')] = (at * 1000.0) as u32 + 1_000_000;
    }

    pub(crate) fn ack(&mut self, at: f64, from: char, seq: u32, ack: u32) {
        self.send(at, from, seq, ack, Has::default());
    }

    pub(crate) fn data(&mut self, at: f64, from: char, seq: u32, ack: u32, length: usize) {
        let has = Has {
            length,
            flags: Some(Flags::ACK | Flags::PSH),
        };
        self.send(at, from, seq, ack, has);
        self.taken(from, at);
    }

    pub(crate) fn flagged(&mut self, at: f64, from: char, seq: u32, ack: u32, flags: Flags) {
        let has = Has {
            length: 0,
            flags: Some(flags),
        };
        self.send(at, from, seq, ack, has);
        self.taken(from, at);
    }

    /// SYN, SYN|ACK, ACK at time 0.
    pub(crate) fn handshake(&mut self) {
        self.flagged(0.0, 'A', 0, 0, Flags::SYN);
        self.flagged(0.001, 'B', 0, 1, Flags::SYN | Flags::ACK);
        self.ack(0.002, 'A', 1, 1);
        self.taken('A', 0.002);
    }

    /// A probe of A, with `sent` and `got` bytes in both directions so far.
    pub(crate) fn probe(&mut self, at: f64, sent: u32, got: u32) {
        self.ack(at, 'A', sent, got + 1);
    }

    /// B's answer.
    pub(crate) fn answer(&mut self, at: f64, sent: u32, got: u32) {
        self.ack(at, 'B', got + 1, sent + 1);
        self.taken('B', at);
    }

    pub(crate) fn probe_and_answer(&mut self, at: f64, sent: u32, got: u32) {
        self.probe(at, sent, got);
        self.answer(at + 0.001, sent, got);
    }

    /// A's reset as it gives up.
    pub(crate) fn give_up(&mut self, at: f64, sent: u32, got: u32) {
        self.flagged(at, 'A', sent + 1, got + 1, Flags::RST | Flags::ACK);
    }

    /// Another connection shows that the capture goes on until then.
    pub(crate) fn capture_goes_on_until(&mut self, at: f64) {
        let packet = Draft {
            flags: Flags::SYN,
            ..Draft::new(
                "198.51.100.1:1".parse().unwrap(),
                "198.51.100.2:2".parse().unwrap(),
            )
        }
        .to_bytes()
        .unwrap();
        self.observe(at, &packet);
    }

    pub(crate) fn flows(self) -> Vec<Flow> {
        let mut flows = Vec::new();
        self.tracker.finish(|flow| {
            if flow.a.port() != 1 {
                flows.push(flow);
            }
        });
        flows
    }

    pub(crate) fn flow(self) -> Flow {
        let mut flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        flows.remove(0)
    }

    /// Frames that are probes, and frames that are answers.
    pub(crate) fn frames(&self) -> (Vec<u64>, Vec<u64>) {
        let mut probes = Vec::new();
        let mut answers = Vec::new();
        for &(frame, kind) in &self.kinds {
            match kind {
                FrameKind::KeepAlive { .. } => probes.push(frame),
                FrameKind::KeepAliveAck { .. } => answers.push(frame),
                _ => {}
            }
        }
        probes.sort_unstable();
        answers.sort_unstable();
        (probes, answers)
    }
}
