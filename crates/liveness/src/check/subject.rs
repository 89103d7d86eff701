//! One connection on its way to a verdict.

use super::Dead;
use crate::evidence;
use crate::schedule::{RECENT, Schedule};
use crate::way::Flow;
use std::time::Duration;
use tcpalive_connections::{Connection, Outcome, State, Verdict};
use tcpalive_kernel::clock::KernelClock;
use tcpalive_kernel::destroy::Condemned;
use tcpalive_kernel::probe::Outgoing;
use tcpalive_kernel::sweep::{Pulse, Transmission};
use tcpalive_kernel::tap::Sighting;
use tcpalive_segment::{Probe, Timestamps};

/// One connection on its way to a verdict.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) connection: Connection,
    /// As swept at first; `snd_nxt`, `write_seq` and what tells of
    /// retransmission are kept up to date.
    pub(super) transmission: Transmission,
    /// Probes that the kernel took.
    pub(super) sent: u32,
    /// Those of them that a device was seen to send.
    pub(super) left: u32,
    /// Why the kernel refused the last one it refused, as an error number.
    pub(super) refused: Option<i32>,
    /// Times on the kernel's monotonic clock; 0 for never.
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) due_ns: u64,
    /// The last probe before a verdict is out.
    pub(super) awaits_verdict: bool,
    /// A probe with a garbage byte is among those that were sent.
    pub(super) has_sent_garbage: bool,
    /// The round in which it was last seen among the sockets.
    pub(super) seen_in: u32,
    /// Data is in flight or waiting.
    pub(super) is_queued: bool,
    /// Since when, on the kernel's monotonic clock; 0 for before the check.
    pub(super) queued_since_ns: u64,
    /// The wire showed segments from the peer's address when it was looked at
    /// last, and the time before.
    pub(super) wire_heard: (bool, bool),
    /// The peer was heard although nothing moved.
    peer_answers: bool,
    /// Whether the last probe was counted in `left`.
    is_counted: bool,
    /// Whether the last one was refused.
    is_refused: bool,
    pub(super) is_decided: bool,
    last_heard_ms: Option<u64>,
    pulse_state: u8,
}

/// What a look at a subject showed.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Open,
    /// The verdict.
    Decided(Outcome, String),
}

impl Subject {
    pub(super) fn new(connection: Connection, transmission: Transmission) -> Self {
        Self {
            is_queued: transmission.write_seq != transmission.snd_una,
            queued_since_ns: 0,
            last_heard_ms: connection.last_heard_ms,
            pulse_state: connection.state as u8,
            connection,
            transmission,
            sent: 0,
            left: 0,
            refused: None,
            first_ns: 0,
            last_ns: 0,
            due_ns: 0,
            awaits_verdict: false,
            has_sent_garbage: false,
            seen_in: 0,
            wire_heard: (false, false),
            peer_answers: false,
            is_counted: true,
            is_refused: false,
            is_decided: false,
        }
    }

    /// Whether the peer was heard within the minute before the check.
    pub(super) fn heard_recently(&self) -> bool {
        self.connection
            .last_heard_ms
            .is_some_and(|age| u128::from(age) <= RECENT.as_millis())
    }

    pub(super) fn flow(&self) -> Flow {
        Flow {
            local: self.connection.local.ip(),
            remote: self.connection.remote.ip(),
            mark: self.transmission.mark,
            device: self.transmission.bound_device,
            uid: self.connection.uid,
            traffic_class: self.transmission.ip.traffic_class,
        }
    }

    /// Takes in what the sweep of this round saw. Whether the peer was heard
    /// or the stream moved is for [`Subject::look`] to say.
    pub(super) fn take(&mut self, pulse: &Pulse, round: u32, clock: &KernelClock) -> Movement {
        self.seen_in = round;
        self.pulse_state = pulse.state;
        let base = &mut self.transmission;
        let movement = if pulse.snd_una != base.snd_una || pulse.rcv_nxt != base.rcv_nxt {
            Movement::Progress
        } else if (pulse.rcv_tstamp, pulse.lrcvtime) != base.heard {
            Movement::Heard
        } else {
            Movement::Nothing
        };
        base.snd_nxt = pulse.snd_nxt;
        base.write_seq = pulse.write_seq;
        base.packets_out = pulse.packets_out;
        if u32::from(pulse.retransmits) > base.retransmits && base.retransmitting_ms.is_none() {
            base.retransmitting_ms = Some(0);
        }
        base.retransmits = u32::from(pulse.retransmits);
        base.probes_out = u32::from(pulse.probes_out);
        let is_queued = pulse.write_seq != pulse.snd_una;
        if is_queued && !self.is_queued {
            self.queued_since_ns = clock.now_ns();
        }
        self.is_queued = is_queued;
        let since = |then: u32| clock.milliseconds(pulse.now.wrapping_sub(then));
        self.last_heard_ms = Some(since(pulse.rcv_tstamp).min(since(pulse.lrcvtime)));
        movement
    }

    /// Judges what the sweep and the wire showed. Silence is judged
    /// elsewhere: here only what was heard, reset or closed.
    pub(super) fn look(&mut self, movement: Movement, round: u32, seen: &Sighting) -> Look {
        if !self.is_counted && seen.probe_out_ns >= self.last_ns {
            self.is_counted = true;
            self.left += 1;
        }
        self.wire_heard = (seen.heard > 0 || seen.resets > 0, self.wire_heard.0);
        if self.seen_in != round {
            return if seen.resets > 0 {
                let reason = if self.sent > 0 {
                    "the peer's host answered with a reset: it does not know this connection"
                } else {
                    "the peer reset the connection during the check"
                };
                Look::Decided(Outcome::Gone, reason.into())
            } else {
                Look::Decided(
                    Outcome::Closed,
                    evidence::closed(self.connection.state, None),
                )
            };
        }
        if self.pulse_state != self.connection.state as u8 {
            let after = State::from_kernel(self.pulse_state);
            return Look::Decided(
                Outcome::Closed,
                evidence::closed(self.connection.state, after),
            );
        }
        let alive = |reason: &str| Look::Decided(Outcome::Alive, reason.into());
        match movement {
            Movement::Progress => alive("data or its acknowledgment came during the check"),
            // What waits for a closed window is judged by its queue.
            _ if self.is_queued => {
                self.peer_answers |= movement == Movement::Heard || seen.acceptable > 0;
                Look::Open
            }
            Movement::Heard if self.sent == 0 => alive("it was heard during the check"),
            Movement::Heard => alive("it answered a probe"),
            Movement::Nothing if seen.acceptable > 0 => alive(
                "its answer was seen on the wire, though something on this host kept it from the socket",
            ),
            Movement::Nothing => Look::Open,
        }
    }

    /// The sentence for data that does not get through.
    pub(super) fn stall(&self, elapsed_ms: u64) -> String {
        let mut state = self.transmission;
        state.retransmitting_ms = state.retransmitting_ms.map(|since| since + elapsed_ms);
        evidence::stalled(&state, self.peer_answers)
    }

    /// The next probe, with a timestamp of now.
    pub(super) fn probe(&self, now_ns: u64, garbage: bool) -> Outgoing {
        let state = &self.transmission;
        Outgoing {
            probe: Probe {
                local: self.connection.local,
                remote: self.connection.remote,
                sequence: state.snd_una.wrapping_sub(1),
                acknowledgment: state.rcv_nxt,
                window: state.window,
                timestamps: state.timestamps.map(|clock| Timestamps {
                    value: clock.value(now_ns),
                    echo_reply: clock.recent,
                }),
                garbage,
                ip: state.ip,
            },
            mark: state.mark,
            device: state.bound_device,
            uid: self.connection.uid,
            opener: state.opener,
        }
    }

    /// A probe was handed to the kernel, or refused.
    pub(super) fn note_sent(
        &mut self,
        result: &Result<u64, std::io::Error>,
        now_ns: u64,
        schedule: &Schedule,
    ) {
        match result {
            Ok(at) => {
                self.sent += 1;
                self.last_ns = *at;
                self.is_counted = false;
                self.is_refused = false;
            }
            Err(error) => {
                self.refused = Some(error.raw_os_error().unwrap_or(libc::EIO));
                self.is_refused = true;
                self.last_ns = now_ns;
            }
        }
        if self.first_ns == 0 {
            self.first_ns = self.last_ns;
        }
        let since_first = Duration::from_nanos(self.last_ns - self.first_ns);
        let next = schedule.next(self.tries(), since_first);
        self.due_ns = self.first_ns + next.as_nanos() as u64;
        if self.awaits_verdict {
            // The last one is given the time that answers take here.
            let patience = self.grace(schedule.interval).as_nanos() as u64;
            self.due_ns = self.due_ns.max(self.last_ns + patience);
        }
    }

    /// Nanoseconds from the first probe until `now_ns`; 0 before it.
    pub(super) fn since_first_ns(&self, now_ns: u64) -> u64 {
        if self.first_ns == 0 {
            0
        } else {
            now_ns.saturating_sub(self.first_ns)
        }
    }

    /// Probes sent or refused.
    pub(super) fn tries(&self) -> u32 {
        self.sent.max(u32::from(self.refused.is_some()))
    }

    /// Whether the last probe was seen to leave.
    pub(super) const fn last_left(&self) -> bool {
        self.is_counted && !self.is_refused
    }

    /// Local and remote.
    pub(super) const fn ports(&self) -> (u16, u16) {
        (self.connection.local.port(), self.connection.remote.port())
    }

    /// How long an answer to the last probe may take.
    pub(super) fn grace(&self, interval: Duration) -> Duration {
        let slow = Duration::from_micros(u64::from(self.transmission.srtt_us) * 4);
        interval.max(slow.min(Duration::from_secs(10)))
    }

    pub(super) fn verdict(
        &self,
        outcome: Outcome,
        reason: String,
        now_ns: u64,
        seen: &Sighting,
    ) -> Verdict {
        let answered = self.sent > 0 && matches!(outcome, Outcome::Alive | Outcome::Gone);
        Verdict {
            outcome,
            probes: self.sent,
            answered,
            rtt_us: seen.rtt_ns.filter(|_| answered).map(|ns| ns.div_ceil(1000)),
            waited_ms: self.since_first_ns(now_ns) / 1_000_000,
            last_heard_ms: self.last_heard_ms,
            reason,
        }
    }

    pub(super) fn to_dead(&self, namespace: usize, verdict: Verdict) -> Dead {
        let state = &self.transmission;
        Dead {
            namespace,
            condemned: Condemned {
                cookie: self.connection.cookie,
                local: self.connection.local,
                remote: self.connection.remote,
                device: state.bound_device,
                state: self.connection.state as u8,
                heard: state.heard,
                sent: (state.snd_una, state.snd_nxt, state.write_seq),
                rcv_nxt: state.rcv_nxt,
            },
            connection: self.connection,
            verdict,
        }
    }
}

/// What moved about a connection since it was swept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Movement {
    /// Not a sign of the peer.
    Nothing,
    /// An acceptable segment came.
    Heard,
    /// The stream moved, one way or the other.
    Progress,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_connections::{KeepAlive, Origin};
    use tcpalive_segment::IpFields;

    fn subject(srtt_us: u32) -> Subject {
        let keepalive = KeepAlive {
            enabled: false,
            idle_s: 7200,
            interval_s: 75,
            count: 9,
            from: Origin::Sysctl,
            user_timeout_ms: 0,
        };
        let connection = Connection {
            netns: 1,
            cookie: 1,
            local: "192.0.2.1:3333".parse().unwrap(),
            remote: "192.0.2.2:40000".parse().unwrap(),
            state: State::Established,
            uid: 0,
            inode: 1,
            cgroup_id: None,
            keepalive: Some(keepalive),
            probes_out: Some(0),
            last_heard_ms: Some(3_600_000),
            last_ack_ms: Some(3_600_000),
            last_data_in_ms: Some(3_600_000),
            last_data_out_ms: Some(3_600_000),
            unacked_bytes: Some(0),
            unsent_bytes: Some(0),
            retransmits: Some(0),
            memory_bytes: 3584,
        };
        let transmission = Transmission {
            snd_una: 1000,
            snd_nxt: 1000,
            write_seq: 1000,
            rcv_nxt: 5000,
            window: 500,
            peer_window: 65_536,
            window_scale: 7,
            timestamps: None,
            heard: (1, 1),
            packets_out: 0,
            retransmits: 0,
            retransmitting_ms: None,
            persisting: false,
            probes_out: 0,
            rto_ms: 204,
            srtt_us,
            gives_up_ms: 924_600,
            total_retransmitted: 0,
            data_segments_out: 10,
            ip: IpFields {
                ttl: 64,
                traffic_class: 0,
                dont_fragment: true,
                flow_label: 0,
            },
            mark: 0,
            bound_device: 0,
            opener: (0, 0),
            received_by: None,
            is_mptcp: false,
            is_orphan: false,
            is_signed: false,
            is_ipsec: false,
        };
        Subject::new(connection, transmission)
    }

    /// Once it waited one interval only, was found to need four round-trip
    /// times, and was sent another probe, for ever.
    #[test]
    fn the_verdict_on_a_slow_peer_waits_for_its_answer_and_no_longer() {
        let schedule = Schedule::new(3, Duration::from_secs(1), Duration::ZERO);
        let mut slow = subject(408_000);
        slow.awaits_verdict = true;
        slow.note_sent(&Ok(10_000_000_000), 10_000_000_000, &schedule);
        assert_eq!(slow.grace(schedule.interval), Duration::from_millis(1_632));
        assert_eq!(slow.due_ns, 11_632_000_000);
        let mut quick = subject(300);
        quick.awaits_verdict = true;
        quick.note_sent(&Ok(10_000_000_000), 10_000_000_000, &schedule);
        assert_eq!(quick.due_ns, 11_000_000_000);
    }

    #[test]
    fn a_probe_that_was_refused_is_no_probe_that_left() {
        let schedule = Schedule::new(3, Duration::from_secs(1), Duration::ZERO);
        let mut subject = subject(300);
        subject.note_sent(
            &Err(std::io::Error::from_raw_os_error(libc::EPERM)),
            5,
            &schedule,
        );
        assert_eq!(
            (subject.sent, subject.left, subject.last_left()),
            (0, 0, false)
        );
        assert_eq!(subject.refused, Some(libc::EPERM));
    }
}
