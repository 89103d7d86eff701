//! What packets mean for keep-alive.

use super::source::TcpPacket;
use crate::recent::Recent;
use crate::render::dump::{Kind, Meaning, Timers};
use std::net::{IpAddr, SocketAddr};
use tcpalive_capture::flow::{FrameKind, Tracker, TrackerOptions};

/// Flows that are followed at a time; of those beyond, the quiet are given up.
const MOST_FLOWS: u32 = 1 << 20;
/// Directions of connections of which the last times are kept.
const MOST_DIRECTIONS: usize = 1 << 18;
/// Counts of probers that are kept.
const MOST_COUNTS: usize = 1 << 14;
/// Packets between two looks for flows that ended.
const SWEEP: u64 = 1 << 14;
/// A copy of a packet, as a capture on all interfaces has it, comes sooner.
const COPY_NS: u64 = 20_000_000;

/// Follows the connections, and says of each packet what it means.
#[derive(Debug)]
pub(super) struct Meanings {
    tracker: Tracker,
    directions: Recent<Direction, Times>,
    /// After how many probes who gave up, by who probed whom on which port.
    counts: Recent<(IpAddr, IpAddr, u16), u16>,
    /// Earlier packets that the last one has made clear.
    late: Vec<(u64, Kind)>,
    packets: u64,
    probes: u64,
    answers: u64,
}

/// From, to, and what keeps it apart from others with the same addresses.
type Direction = (SocketAddr, SocketAddr, u64);

/// What one end of a connection did when.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    last_ns: u64,
    last_probe_ns: Option<u64>,
    idle_ns: Option<u64>,
    /// Since the last probe, its answer was all that passed.
    only_answered: bool,
    told_period: bool,
    told_interval: bool,
}

impl Default for Meanings {
    fn default() -> Self {
        let mut options = TrackerOptions::default();
        options.late_frames = true;
        options.most_flows = MOST_FLOWS;
        Self {
            tracker: Tracker::new(options),
            directions: Recent::new(MOST_DIRECTIONS),
            counts: Recent::new(MOST_COUNTS),
            late: Vec::new(),
            packets: 0,
            probes: 0,
            answers: 0,
        }
    }
}

impl Meanings {
    /// What the packet means, if it means anything.
    pub(super) fn of(&mut self, packet: &TcpPacket<'_>) -> Option<Meaning> {
        let segment = packet.segment.as_ref()?;
        let time = packet.time;
        let context = packet.ip.context.number();
        let kind = self.tracker.observe(packet.frame, time, context, segment);
        self.late.clear();
        let frames = self.tracker.take_late();
        self.late
            .extend(frames.filter_map(|(frame, kind)| match kind {
                FrameKind::KeepAlive { .. } => Some((frame, Kind::Probe)),
                FrameKind::KeepAliveAck { .. } => Some((frame, Kind::Answer)),
                _ => None,
            }));
        let count = |late: &[(u64, Kind)], kind| late.iter().filter(|late| late.1 == kind).count();
        let earlier = count(&self.late, Kind::Probe);
        self.probes += earlier as u64;
        self.answers += count(&self.late, Kind::Answer) as u64;
        let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
        self.packets += 1;
        if self.packets.is_multiple_of(SWEEP) {
            self.tracker.take_ended(drop);
        }

        let own = (segment.source(), segment.destination(), context);
        let peer = (own.1, own.0, context);
        let meaning = match kind {
            Some(FrameKind::KeepAlive {
                garbage,
                unanswered,
            }) => {
                self.probes += 1;
                Some(Meaning::Probe {
                    number: unanswered,
                    of: self.count_of(&own, unanswered),
                    garbage,
                    timers: self.timers(own, peer, time, unanswered),
                })
            }
            Some(FrameKind::KeepAliveAck { delay_ns }) => {
                self.answers += 1;
                if let Some(prober) = self.directions.get(&peer) {
                    prober.only_answered = prober.last_probe_ns.is_some();
                    // How long it had been quiet before those, is not known.
                    if earlier > 0 && prober.last_probe_ns.is_none() {
                        prober.last_probe_ns = Some(time.saturating_sub(delay_ns));
                        prober.only_answered = true;
                    }
                }
                Some(Meaning::Answer { delay_ns, earlier })
            }
            Some(FrameKind::ZeroWindowProbe) => Some(Meaning::WindowProbe),
            Some(FrameKind::Exhausted { unanswered }) => {
                self.counts.insert(service(&own), unanswered);
                Some(Meaning::Exhausted { unanswered })
            }
            _ => None,
        };
        if !matches!(
            meaning,
            Some(Meaning::Answer { .. } | Meaning::Probe { .. })
        ) && let Some(prober) = self.directions.get(&peer)
        {
            prober.only_answered = false;
        }
        self.note(own, time, meaning.is_some());
        meaning
    }

    /// Earlier packets, by their numbers, of which the last one has shown what
    /// they are.
    pub(super) fn late(&self) -> &[(u64, Kind)] {
        &self.late
    }

    pub(super) const fn probes(&self) -> u64 {
        self.probes
    }

    pub(super) const fn answers(&self) -> u64 {
        self.answers
    }

    /// After how many probes this prober gives up, as long as that holds.
    fn count_of(&mut self, own: &Direction, number: u16) -> Option<u16> {
        let count = *self.counts.get(&service(own))?;
        (number <= count).then_some(count)
    }

    /// What this probe shows of the timers, unless it was said before.
    fn timers(
        &mut self,
        own: Direction,
        peer: Direction,
        time: u64,
        number: u16,
    ) -> Option<Timers> {
        let heard = self.directions.get(&peer).map(|peer| peer.last_ns);
        let times = self.times(own);
        let Some(last) = times.last_probe_ns.replace(time) else {
            // What was heard last may have been the answer to a probe that is
            // not in the capture, unless the prober was seen before.
            if times.last_ns > 0 {
                times.idle_ns = heard.map(|heard| time.saturating_sub(heard));
            }
            return None;
        };
        let between_ns = time.saturating_sub(last);
        if between_ns < COPY_NS {
            return None;
        }
        let told = match number {
            1 if times.only_answered => &mut times.told_period,
            1 => return None,
            _ => &mut times.told_interval,
        };
        if std::mem::replace(told, true) {
            return None;
        }
        Some(Timers {
            between_ns,
            idle_ns: times.idle_ns,
        })
    }

    /// Keeps when this end was heard.
    fn note(&mut self, own: Direction, time: u64, has_meaning: bool) {
        let times = self.times(own);
        times.last_ns = time;
        if !has_meaning {
            times.only_answered = false;
        }
    }

    fn times(&mut self, own: Direction) -> &mut Times {
        if self.directions.get(&own).is_none() {
            self.directions.insert(own, Times::default());
        }
        self.directions
            .get(&own)
            .expect("it was there or has been inserted")
    }
}

/// Who probes whom, on the port that is the same for all connections between
/// them: usually the lower one.
fn service(direction: &Direction) -> (IpAddr, IpAddr, u16) {
    let (from, to, _) = direction;
    (from.ip(), to.ip(), from.port().min(to.port()))
}
