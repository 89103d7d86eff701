//! Simulated hosts: whatever they do, what is read is what they did.

use crate::conversation::Conversation;
use proptest::prelude::*;
use tcpalive_capture::flow::{End, FlowEnd, Verdict};

/// One burst of a host that has no keep-alive.
#[derive(Debug, Clone)]
struct Burst {
    pause: f64,
    from_a: bool,
    sizes: Vec<usize>,
    /// What happens to each transmission in turn, for ever.
    fates: Vec<Fate>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Arrives,
    /// Lost, and captured where it was sent only.
    Lost,
    /// It arrives; its ACK is lost.
    AckLost,
}

fn bursts() -> impl Strategy<Value = Vec<Burst>> {
    let size = prop_oneof![3 => Just(1_usize), 1 => Just(2), 2 => 1..1460_usize];
    let fate =
        prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::AckLost)];
    let pause = prop_oneof![2 => 0.06..0.5_f64, 2 => 0.5..3.0, 1 => 3.0..200.0];
    let burst = (
        pause,
        any::<bool>(),
        prop::collection::vec(size, 1..5),
        prop::collection::vec(fate, 1..6),
    )
        .prop_map(|(pause, from_a, sizes, fates)| Burst {
            pause,
            from_a,
            sizes,
            fates,
        });
    prop::collection::vec(burst, 1..30)
}

/// Plays bursts with retransmission until all is acknowledged. `at_a`: the
/// capture is made on A's host, else on B's.
fn play(c: &mut Conversation, bursts: &[Burst], at_a: bool) {
    // What A and B sent, and what each has of the other.
    let mut sent = [1_u32, 1];
    let mut got = [1_u32, 1];
    let mut now = 1.0;
    for burst in bursts {
        now += burst.pause;
        let (from, to) = if burst.from_a { (0, 1) } else { (1, 0) };
        let names = ['A', 'B'];
        let captured_at_sender = burst.from_a == at_a;
        let mut fates = burst.fates.iter().cycle();
        let mut unacknowledged = sent[from];
        let mut segments = Vec::new();
        for &size in &burst.sizes {
            segments.push((sent[from], size));
            sent[from] += size as u32;
        }
        let mut timeout = 0.2;
        for _ in 0..12 {
            for &(seq, size) in &segments {
                if seq < unacknowledged {
                    continue;
                }
                now += 0.001;
                let fate = *fates.next().unwrap();
                if fate != Fate::Lost || captured_at_sender {
                    c.data(now, names[from], seq, got[from], size);
                }
                if fate == Fate::Lost {
                    continue;
                }
                if seq == got[to] {
                    got[to] += size as u32;
                }
                now += 0.001;
                if fate == Fate::Arrives || !captured_at_sender {
                    c.ack(now, names[to], sent[to], got[to]);
                }
                if fate == Fate::Arrives {
                    unacknowledged = got[to];
                }
            }
            if unacknowledged == sent[from] {
                break;
            }
            now += timeout;
            timeout = f64::min(timeout * 2.0, 120.0);
        }
        // As if the last retransmission had arrived.
        got[to] = sent[from];
        now += 0.001;
        c.ack(now, names[to], sent[to], got[to]);
    }
}

/// A prober as Linux is one, and its peer.
#[derive(Debug, Clone)]
struct Life {
    idle: u32,
    interval: u32,
    count: u16,
    timestamps: bool,
    /// Of a timer's bucket, how much of it each firing is late.
    late: Vec<f64>,
    /// Pauses after which the peer sends data, and how much.
    data: Vec<(f64, usize)>,
    silent_from: f64,
    until: f64,
    /// Answers that are lost, by number of the probe.
    lost: Vec<bool>,
}

fn life() -> impl Strategy<Value = Life> {
    let late = prop::collection::vec(0.0..1.0_f64, 1..8);
    let data = prop::collection::vec((0.5..300.0_f64, 1..100_usize), 0..6);
    // Three in a row are what death looks like.
    let lost = prop::collection::vec(prop::bool::weighted(0.2), 7)
        .prop_filter("three answers lost in a row", |lost| {
            (0..7).all(|at| !(lost[at] && lost[(at + 1) % 7] && lost[(at + 2) % 7]))
        });
    let timers = (1..90_u32, 1..90_u32, 2..7_u16, any::<bool>());
    (timers, late, data, 1.0..1500.0_f64, 500.0..2000.0_f64, lost).prop_map(
        |((idle, interval, count, timestamps), late, data, silent_from, until, lost)| Life {
            idle,
            interval,
            count,
            timestamps,
            late,
            data,
            silent_from,
            until,
            lost,
        },
    )
}

#[derive(Debug, Default)]
struct Truth {
    probes: u64,
    answers: u64,
    run: u16,
    gave_up: bool,
    peer_died: bool,
}

fn wheel_bucket(seconds: f64) -> f64 {
    match seconds {
        s if s < 0.25 => 0.004,
        s if s < 2.0 => 0.032,
        s if s < 16.128 => 0.256,
        _ => 2.048,
    }
}

impl Life {
    /// `from`: what was before is not counted, as the capture has it not.
    fn play(&self, c: &mut Conversation, from: f64) -> Truth {
        c.timestamps = self.timestamps;
        c.from = from;
        let mut truth = Truth::default();
        c.handshake();
        let (idle, interval) = (f64::from(self.idle), f64::from(self.interval));
        let mut lateness = self.late.iter().cycle();
        let mut lost = self.lost.iter().cycle();
        let mut late = |timer: f64| timer + lateness.next().unwrap() * wheel_bucket(timer);
        let mut data = self.data.iter();
        let mut heard = 0.001;
        let mut got = 0;
        let mut next_data = data.next().map(|(pause, size)| (heard + pause, *size));
        let mut timer = heard + late(idle);
        let mut probes_out = 0;
        loop {
            while let Some((at, size)) = next_data
                && at < timer.min(self.silent_from).min(self.until)
            {
                c.data(at, 'B', got + 1, 1, size);
                got += size as u32;
                c.ack(at + 0.0001, 'A', 1, got + 1);
                c.taken('A', at + 0.0001);
                heard = at;
                probes_out = 0;
                if at >= from {
                    truth.run = 0;
                }
                next_data = data.next().map(|(pause, size)| (at + pause, *size));
            }
            if timer > self.until {
                break;
            }
            let elapsed = timer - heard;
            if elapsed < idle - 1e-6 {
                timer += late(idle - elapsed);
                continue;
            }
            if probes_out >= self.count {
                c.give_up(timer, 0, got);
                truth.gave_up = true;
                break;
            }
            c.probe(timer, 0, got);
            probes_out += 1;
            let is_captured = timer >= from;
            truth.probes += u64::from(is_captured);
            truth.run += u16::from(is_captured);
            if timer < self.silent_from && !lost.next().unwrap() {
                c.answer(timer + 0.02, 0, got);
                heard = timer + 0.02;
                probes_out = 0;
                truth.answers += u64::from(is_captured);
                truth.run = 0;
            }
            timer += late(interval);
        }
        truth.peer_died = self.silent_from < self.until;
        c.from = f64::MIN;
        c.capture_goes_on_until(self.until.max(timer) + 1.5);
        truth
    }
}

fn prober_count(flow: &tcpalive_capture::flow::Flow) -> Option<u16> {
    flow.a_probing.count.or(flow.b_probing.count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn hosts_without_keepalive_send_no_probes(bursts in bursts(), at_a in any::<bool>()) {
        let mut c = Conversation::new();
        c.handshake();
        play(&mut c, &bursts, at_a);
        prop_assert_eq!(c.frames(), (vec![], vec![]));
        let flow = c.flow();
        prop_assert_eq!(flow.probes(), 0);
        prop_assert_ne!(flow.verdict, Verdict::Dead);
    }

    #[test]
    fn where_the_capture_begins_late_a_few_are_mistaken_at_most_and_nobody_is_dead(
        bursts in bursts(),
        at_a in any::<bool>(),
        from in 0.0..30.0_f64,
    ) {
        let mut c = Conversation::new();
        c.from = from;
        c.handshake();
        play(&mut c, &bursts, at_a);
        // Bytes that the capture lacks leave exactly what probes and their answers leave, as long as nothing else
        // was seen of the flow: a few at its beginning cannot be told apart. Nobody is called dead for them.
        let (probes, answers) = c.frames();
        prop_assert!(probes.len() <= 3 && answers.len() <= 3, "{probes:?} {answers:?}");
        for flow in c.flows() {
            prop_assert!(flow.probes() <= 3);
            prop_assert_ne!(flow.verdict, Verdict::Dead);
        }
    }

    #[test]
    fn a_prober_seen_from_the_beginning_is_read_as_it_was(life in life()) {
        let mut c = Conversation::new();
        let truth = life.play(&mut c, f64::MIN);
        let (probes, answers) = c.frames();
        prop_assert_eq!((probes.len() as u64, answers.len() as u64), (truth.probes, truth.answers));
        let flow = c.flow();
        prop_assert_eq!((flow.probes(), flow.answers()), (truth.probes, truth.answers));
        prop_assert_eq!(flow.b_probing.probes, 0);
        prop_assert_eq!(flow.a_probing.unanswered_at_end, truth.run);
        if let Some(idle) = flow.idle() {
            prop_assert!((idle.from..=idle.to).contains(&life.idle), "{:?}", idle);
        } else {
            prop_assert_eq!(truth.probes, 0);
        }
        if let Some(interval) = flow.interval() {
            prop_assert!((interval.from..=interval.to).contains(&life.interval), "{:?}", interval);
        }
        prop_assert_eq!(flow.end == End::KeepAliveTimeout, truth.gave_up);
        prop_assert_eq!(flow.count(), truth.gave_up.then_some(life.count));
        match flow.verdict {
            Verdict::Dead => prop_assert!(truth.gave_up || truth.peer_died && truth.run >= 3),
            Verdict::Alive => prop_assert_eq!(truth.run, 0),
            Verdict::Unknown => prop_assert!(!truth.gave_up),
        }
    }

    #[test]
    fn a_prober_seen_from_anywhere_is_never_misread(
        life in life(),
        from in 0.0..800.0_f64,
        only in prop_oneof![2 => Just(None), 1 => Just(Some('A')), 1 => Just(Some('B'))],
    ) {
        let mut c = Conversation::new();
        c.only = only;
        let truth = life.play(&mut c, from);
        let told = c.frames();
        for flow in c.flows() {
            // So many frames are kept until it is clear what they are.
            if flow.packets <= 1024 {
                let told = (told.0.len() as u64, told.1.len() as u64);
                prop_assert_eq!(told, (flow.probes(), flow.answers()));
            }
            if let Some(count) = prober_count(&flow) {
                prop_assert!(count <= life.count);
            }
            // The prober has the higher address.
            let (a, b) = if flow.a.port() == 40_000 {
                (FlowEnd::A, FlowEnd::B)
            } else {
                (FlowEnd::B, FlowEnd::A)
            };
            let (prober, peer) = (flow.probing(a), flow.probing(b));
            prop_assert_eq!(peer.probes, 0);
            prop_assert!(u64::from(prober.probes) <= truth.probes);
            if only.is_none() && truth.answers > 0 {
                prop_assert_eq!(u64::from(prober.probes), truth.probes);
                prop_assert_eq!(u64::from(prober.answers), truth.answers);
            }
            if let Some(idle) = prober.idle {
                prop_assert!((idle.from..=idle.to).contains(&life.idle), "{:?}", idle);
            }
            if let Some(interval) = prober.interval
                && only.is_none()
            {
                prop_assert!((interval.from..=interval.to).contains(&life.interval), "{:?}", interval);
            }
            if flow.end == End::KeepAliveTimeout {
                prop_assert!(truth.gave_up);
            }
            match flow.verdict {
                Verdict::Dead => prop_assert!(truth.gave_up || truth.peer_died && truth.run >= 3),
                Verdict::Alive => prop_assert!(only.is_some() || truth.run == 0),
                Verdict::Unknown => {}
            }
        }
    }

    #[test]
    fn no_packets_whatever_break_it(
        packets in prop::collection::vec(
            (any::<bool>(), 0..6_u32, 0..6_u32, 0..3_usize, any::<u16>(), 0.0..3.0_f64, any::<bool>()),
            0..200,
        ),
    ) {
        let mut c = Conversation::new();
        let mut now = 0.0;
        let count = packets.len();
        for (from_a, seq, ack, length, flags, pause, closed) in packets {
            now += pause;
            c.window = u16::from(!closed);
            let has = crate::conversation::Has {
                length,
                flags: Some(tcpalive_segment::Flags::from_bits(flags | 0x10)),
            };
            c.send(now, if from_a { 'A' } else { 'B' }, seq, ack, has);
        }
        let (probes, answers) = c.frames();
        prop_assert!(probes.len() + answers.len() <= count);
        let mut seen = 0;
        c.tracker.take_ended(|flow| seen += flow.packets as usize);
        seen += c.flows().iter().map(|flow| flow.packets as usize).sum::<usize>();
        prop_assert_eq!(seen, count);
    }
}
