//! What is known of a flow in the end.

use super::FlowEnd;
use super::state::{Common, Fact, Record, Side};
use super::timing::{self, Estimate};
use std::net::SocketAddr;
use std::time::Duration;

/// A TCP connection, or as much of one as a capture shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Who opened the connection; if the capture does not show that, who sent
    /// its first packet.
    pub a: SocketAddr,
    /// The other end.
    pub b: SocketAddr,
    /// VLAN, tunnel and the like, as the caller gave it.
    pub context: u64,
    /// Number of the first frame.
    pub first_frame: u64,
    /// Time of the first frame, in ns as the caller gave it.
    pub first_ns: u64,
    /// Latest time of a frame.
    pub last_ns: u64,
    /// Packets, both directions.
    pub packets: u32,
    /// Bytes of payload that were sent, both directions, retransmissions
    /// included.
    pub bytes: u64,
    /// Both SYNs were seen.
    pub handshake_seen: bool,
    /// How it ended.
    pub end: End,
    /// Who reset it or gave up, if anybody did.
    pub reset_by: Option<FlowEnd>,
    /// Whether the peers live.
    pub verdict: Verdict,
    /// `a` as a prober.
    pub a_probing: Probing,
    /// `b` as a prober.
    pub b_probing: Probing,
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It did not, as far as the capture goes.
    Open,
    /// An end said that it sends no more.
    Fin,
    /// An end reset it.
    Reset,
    /// A prober reset it an interval after its last unanswered probe.
    KeepAliveTimeout,
}

/// Whether the ends of a flow live.
///
/// `Dead` takes one of these, and that nothing came from the peer since the
/// first of the probes:
/// * the prober gave up ([`End::KeepAliveTimeout`]) after two probes or more;
/// * three probes or more, more than twice as many as this flow survived
///   before, and so many that chance is ruled out at the loss that it saw, had
///   no answer until the capture's end; the capture went on long enough after
///   them for an answer; it shows the peer's direction; and the prober
///   heard nothing that the capture lacks. For that, the probes' TSecr stood
///   still, or they came closer to each other than answered probes of this flow
///   had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A probed peer was heard at the last probe or after it, or both ends
    /// closed.
    Alive,
    /// A probed peer is silent for good.
    Dead,
    /// The capture does not tell.
    Unknown,
}

/// One end of a flow as a prober.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probing {
    /// Keep-alive probes, both forms.
    pub probes: u32,
    /// Those with one byte; 65,535 stands for more.
    pub garbage: u16,
    /// Answers. A late one counts for the last probe before it.
    pub answers: u32,
    /// Most probes in a row without an answer.
    pub unanswered_run: u16,
    /// Probes without an answer at the end.
    pub unanswered_at_end: u16,
    /// Probes of a closed window, of either form.
    pub zero_window_probes: u16,
    /// Segments that may be probes: the capture ended before that was clear.
    pub unconfirmed: u32,
    /// What the idle timer was set to.
    pub idle: Option<Estimate>,
    /// What the interval timer was set to. With answered probes alone it
    /// hides behind the idle timer unless it is the longer one: Linux's timer
    /// is lazy, and the period is the greater of interval and idle plus
    /// round trip.
    pub interval: Option<Estimate>,
    /// Probes after which the prober gave up, if it did: its count, unless a
    /// user timeout ended the run, which looks the same. Unknown where answers
    /// may have come that the capture lacks.
    pub count: Option<u16>,
    /// How long answers took.
    pub round_trip: Option<RoundTrip>,
    /// Least time from an answered probe to the next, if nothing else was
    /// heard between them.
    pub period: Option<Duration>,
}

/// How long answers took: those to a first probe, since nobody knows which of
/// several a later one answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoundTrip {
    /// The shortest.
    pub least: Duration,
    /// Near the median.
    pub typical: Duration,
    /// The longest.
    pub most: Duration,
}

impl Flow {
    /// Probes of both ends.
    #[must_use]
    pub fn probes(&self) -> u64 {
        u64::from(self.a_probing.probes) + u64::from(self.b_probing.probes)
    }

    /// Answers from both ends.
    #[must_use]
    pub fn answers(&self) -> u64 {
        u64::from(self.a_probing.answers) + u64::from(self.b_probing.answers)
    }

    /// The longest run of unanswered probes of either end.
    #[must_use]
    pub fn unanswered_run(&self) -> u16 {
        self.a_probing
            .unanswered_run
            .max(self.b_probing.unanswered_run)
    }

    /// The end whose timers [`Flow::idle`] and its like tell: the one that
    /// probes; of two, the one that gave up, else `a`.
    #[must_use]
    pub fn prober(&self) -> Option<FlowEnd> {
        let gave_up = (self.end == End::KeepAliveTimeout)
            .then_some(self.reset_by)
            .flatten();
        gave_up.or(match (self.a_probing.probes, self.b_probing.probes) {
            (0, 0) => None,
            (0, _) => Some(FlowEnd::B),
            _ => Some(FlowEnd::A),
        })
    }

    /// Whether both ends probe.
    #[must_use]
    pub fn both_probe(&self) -> bool {
        self.a_probing.probes > 0 && self.b_probing.probes > 0
    }

    /// What one end did as a prober.
    #[must_use]
    pub fn probing(&self, end: FlowEnd) -> &Probing {
        match end {
            FlowEnd::A => &self.a_probing,
            FlowEnd::B => &self.b_probing,
        }
    }

    /// The prober's idle time.
    #[must_use]
    pub fn idle(&self) -> Option<Estimate> {
        self.probing(self.prober()?).idle
    }

    /// The prober's interval.
    #[must_use]
    pub fn interval(&self) -> Option<Estimate> {
        self.probing(self.prober()?).interval
    }

    /// The prober's count.
    #[must_use]
    pub fn count(&self) -> Option<u16> {
        self.probing(self.prober()?).count
    }

    /// `ends`: the addresses of both sides. `now_ns`: when the capture ended,
    /// or how far it came.
    pub(crate) fn conclude(
        common: &Common,
        records: [Option<Record>; 2],
        ends: [SocketAddr; 2],
        context: u64,
        now_ns: u64,
    ) -> Self {
        let a = a_side(common);
        let named = |side| if side == a { FlowEnd::A } else { FlowEnd::B };
        let by = |fact| (0..2).find(|&side| common.bits.has(fact, side));
        let (end, reset_by) = match (by(Fact::Exhausted), by(Fact::Reset)) {
            (Some(side), _) => (End::KeepAliveTimeout, Some(named(side))),
            // What follows two FINs ends nothing any more.
            (None, _) if common.bits.both(Fact::Fin) => (End::Fin, None),
            (None, Some(side)) => (End::Reset, Some(named(side))),
            (None, None) if common.bits.either(Fact::Fin) => (End::Fin, None),
            (None, None) => (End::Open, None),
        };
        let probing = |side: Side| {
            let gave_up = common.bits.has(Fact::Exhausted, side);
            let is_peer_seen = common.bits.has(Fact::Heard, side ^ 1);
            records[side].map_or_else(Probing::default, |record| {
                let is_whole = is_peer_seen || record.is(Record::ECHO_STILL);
                probing(&record, gave_up && is_whole)
            })
        };
        Self {
            a: ends[a],
            b: ends[a ^ 1],
            context,
            first_frame: common.first_frame,
            first_ns: common.first_ns,
            last_ns: common.last_ns,
            packets: common.packets,
            bytes: common.bytes,
            handshake_seen: common.bits.both(Fact::Syn),
            end,
            reset_by,
            verdict: verdict(common, &records, end, now_ns),
            a_probing: probing(a),
            b_probing: probing(a ^ 1),
        }
    }
}

fn a_side(common: &Common) -> Side {
    let bits = common.bits;
    let opened = |side| bits.has(Fact::Opened, side);
    let accepted = |side| bits.has(Fact::Syn, side) && !opened(side);
    match (opened(0) || accepted(1), opened(1) || accepted(0)) {
        (true, false) => 0,
        (false, true) => 1,
        _ => usize::from(bits.has(Fact::First, 1)),
    }
}

fn probing(record: &Record, is_count: bool) -> Probing {
    if !record.is_confirmed() {
        return Probing {
            unconfirmed: record.probes,
            zero_window_probes: record.zero_window,
            ..Probing::default()
        };
    }
    let us = |us| Duration::from_micros(u64::from(us));
    Probing {
        probes: record.probes,
        garbage: record.garbage,
        answers: record.answers,
        unanswered_run: record.longest.max(record.run),
        unanswered_at_end: record.run,
        zero_window_probes: record.zero_window,
        unconfirmed: 0,
        idle: Estimate::from_measured(record.certain_idle_ms()),
        interval: Estimate::from_measured(interval_ms(record)),
        count: is_count.then_some(record.run),
        round_trip: (record.rtt_least_us != u32::MAX).then(|| RoundTrip {
            least: us(record.rtt_least_us),
            typical: us(record.rtt_typical_us),
            most: us(record.rtt_most_us),
        }),
        period: (record.period_ms != u32::MAX)
            .then(|| Duration::from_millis(u64::from(record.period_ms))),
    }
}

/// The interval: from unanswered probes directly; from answered ones only
/// where their period shows that the idle timer did not make it.
fn interval_ms(record: &Record) -> u32 {
    if record.interval_ms != u32::MAX {
        return record.interval_ms;
    }
    let period = record.period_ms;
    if period == u32::MAX || record.idle_ms == u32::MAX {
        return u32::MAX;
    }
    let most_by_idle = timing::latest_ms(record.idle_ms).saturating_add(record.rtt_most_us / 1000);
    // A period below the idle time: the answer was seen here, and was lost
    // before it reached the prober.
    let idle = record.certain_idle_ms();
    let is_below = idle != u32::MAX && timing::latest_ms(period) < timing::earliest_ms(idle);
    if period > most_by_idle || is_below {
        period
    } else {
        u32::MAX
    }
}

fn verdict(common: &Common, records: &[Option<Record>; 2], end: End, now_ns: u64) -> Verdict {
    let probers = || {
        (0..2).filter_map(|side| {
            let record =
                records[side].filter(|record| record.is_confirmed() && record.probes > 0)?;
            Some((side, record))
        })
    };
    let has_signs = |record: &Record| record.is(Record::PEER_SIGNS);
    if probers().any(|(side, record)| {
        !has_signs(&record)
            && (common.bits.has(Fact::Exhausted, side) && record.run >= 2
                || end == End::Open && silent_for_good(common, &record, side, now_ns))
    }) {
        return Verdict::Dead;
    }
    if probers().any(|(_, record)| record.run > 0 && !has_signs(&record)) {
        return Verdict::Unknown;
    }
    let heard_by_a_prober = probers().any(|(_, record)| record.run == 0 || has_signs(&record));
    let both_closed = common.bits.both(Fact::Fin);
    if heard_by_a_prober || both_closed {
        Verdict::Alive
    } else {
        Verdict::Unknown
    }
}

/// Whether a run of probes without answers, at the capture's end, leaves no
/// other reason than a silent peer.
fn silent_for_good(common: &Common, record: &Record, prober: Side, now_ns: u64) -> bool {
    const LEAST_WAIT_MS: u64 = 1_000;
    let slow_ms = u64::from(record.rtt_most_us / 1000) * 4;
    let waited_ms = now_ns.saturating_sub(record.last_probe_ns) / 1_000_000;
    let too_recent = u16::from(waited_ms < slow_ms.max(LEAST_WAIT_MS));
    let run = record.run - record.run.min(too_recent);
    let closer_than_answered = record.period_ms != u32::MAX
        && timing::latest_ms(record.interval_ms) < timing::earliest_ms(record.period_ms);
    let heard_nothing = record.is(Record::ECHO_STILL) || closer_than_answered;
    run > record.survived.saturating_mul(2)
        && !may_be_chance(record, run)
        && common.bits.has(Fact::Heard, prober ^ 1)
        && heard_nothing
        && u64::from(record.interval_ms) >= slow_ms / 2
}

/// Whether so many answers may be missing by chance: with likelihood of one in
/// a million or more, if an exchange is lost as often as twice the share that
/// this flow missed before, or one time in a hundred. Three are enough where
/// nothing was missed.
fn may_be_chance(record: &Record, run: u16) -> bool {
    const ERROR: f64 = 1.000_001e-6;
    let before = f64::from(record.probes) - f64::from(record.run);
    let missing = (before - f64::from(record.answers)).max(0.0);
    let share = if before > 0.0 { missing / before } else { 0.0 };
    (2.0 * share).clamp(0.01, 1.0).powi(i32::from(run)) > ERROR
}
