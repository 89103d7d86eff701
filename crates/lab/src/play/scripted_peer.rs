//! The other end of a connection, without a kernel: it speaks TCP as a Linux
//! host does where it wants to, and as the script says elsewhere.
//!
//! It reads no clock and sends nothing: segments and times go in, packets
//! come out.

use std::net::SocketAddr;
use std::time::Duration;
use tcpalive_keepalive::simulation::ANSWER_RATE_LIMIT;
use tcpalive_keepalive::{Errno, Time};
use tcpalive_segment::{
    BuildError, Draft, Flags, IcmpError, Segment, Timestamps, is_empty_probe, sequence,
};

/// What Linux offers on Ethernet.
const MAXIMUM_SEGMENT_SIZE: u16 = 1460;
const WINDOW_SCALE: u8 = 7;
/// In a SYN as it is, else shifted by the scale. It never changes: a change
/// would take the subject off its fast path.
const WINDOW: u16 = 502;
const DATA: &[u8] = b"from the peer";
/// How far beyond the gap out-of-order data lie.
const GAP: u32 = 5000;

/// The peer's end of one connection.
#[derive(Debug, Clone)]
pub(crate) struct ScriptedPeer {
    here: SocketAddr,
    subject: SocketAddr,
    /// Offered in a SYN, agreed to in its answer.
    timestamps: bool,
    snd_nxt: u32,
    rcv_nxt: u32,
    /// What was last acknowledged: the subject's `snd_una`.
    acked: u32,
    /// How far it is willing to acknowledge.
    ack_limit: u32,
    /// The subject's latest TSval.
    ts_recent: u32,
    last_answer: Option<Time>,
}

/// What the peer makes of a segment from the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Syn,
    SynAck,
    Probe,
    /// Data or FIN that were not seen before.
    New,
    /// Data or FIN again, or before what comes first.
    NothingNew,
    /// An ACK without more.
    Ack,
    Reset,
    /// Wrong whatever the time.
    Odd(String),
}

/// What the peer can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    Syn,
    SynAck,
    /// An acceptable ACK: of the handshake, of data, in answer to a probe, or
    /// out of the blue.
    Ack,
    Data,
    Probe,
    GarbageProbe,
    OutOfOrder,
    OldAck,
    FutureAck,
    Fin,
    Reset,
    Icmp {
        kind: u8,
        code: u8,
        quotes_probe: bool,
    },
}

impl ScriptedPeer {
    pub(crate) fn new(here: SocketAddr, subject: SocketAddr, timestamps: bool) -> Self {
        // Near the wrap, so that some connections cross it.
        let initial = 0xffff_ffe0_u32.wrapping_add(u32::from(here.port() % 64));
        Self {
            here,
            subject,
            timestamps,
            snd_nxt: initial,
            rcv_nxt: 0,
            acked: 0,
            ack_limit: 0,
            ts_recent: 0,
            last_answer: None,
        }
    }

    /// Agrees to acknowledge so many more sequence numbers.
    pub(crate) fn will_acknowledge(&mut self, more: u32) {
        self.ack_limit = self.ack_limit.wrapping_add(more);
    }

    /// Sequence numbers that were never acknowledged, if the subject has
    /// used so many after its SYN's.
    pub(crate) fn all_acknowledged(&self, written: u32, initial: u32) -> bool {
        self.acked == initial.wrapping_add(written)
    }

    /// The subject's first sequence number after its SYN's, once it is known.
    pub(crate) fn acknowledged(&self) -> u32 {
        self.acked
    }

    /// Whether something came that it is willing to acknowledge.
    pub(crate) fn has_more_to_acknowledge(&self) -> bool {
        sequence::after(self.ack_limit, self.acked) && sequence::after(self.rcv_nxt, self.acked)
    }

    /// Whether an answer to a probe that came at this time is due: Linux
    /// sends one in 500 ms at most (`__tcp_oow_rate_limited`).
    pub(crate) fn may_answer(&mut self, arrival: Time) -> bool {
        let limited = self
            .last_answer
            .is_some_and(|last| arrival.since(last) < ANSWER_RATE_LIMIT);
        if !limited {
            self.last_answer = Some(arrival);
        }
        !limited
    }

    /// What it will make of a segment that has just left, if that arrives.
    pub(crate) fn expect(&self, segment: &Segment<'_>) -> Heard {
        self.clone().hear(segment)
    }

    pub(crate) fn hear(&mut self, segment: &Segment<'_>) -> Heard {
        let flags = segment.flags();
        if flags.contains(Flags::SYN) {
            self.subject = segment.source();
            self.rcv_nxt = segment.sequence().wrapping_add(1);
            self.acked = self.rcv_nxt;
            self.ack_limit = self.rcv_nxt;
            let offered = segment.timestamps();
            self.timestamps &= offered.is_some();
            self.ts_recent = offered.map_or(0, |timestamps| timestamps.value);
            return if flags.contains(Flags::ACK) {
                Heard::SynAck
            } else {
                Heard::Syn
            };
        }
        if let Some(odd) = self.wrong_with(segment) {
            return Heard::Odd(odd);
        }
        if let Some(timestamps) = segment.timestamps() {
            self.ts_recent = timestamps.value;
        }
        if flags.contains(Flags::RST) {
            return Heard::Reset;
        }
        if is_empty_probe(segment, self.acked) {
            return Heard::Probe;
        }
        let fin = u32::from(flags.contains(Flags::FIN));
        let length = segment.payload_len() as u32 + fin;
        if length == 0 {
            return Heard::Ack;
        }
        let end = segment.sequence().wrapping_add(length);
        if segment.sequence() == self.rcv_nxt {
            self.rcv_nxt = end;
            Heard::New
        } else {
            Heard::NothingNew
        }
    }

    /// What holds for every segment after the handshake; a probe and a reset
    /// have their own rules on top (`tcp_xmit_probe_skb`, `tcp_send_active_reset`).
    fn wrong_with(&self, segment: &Segment<'_>) -> Option<String> {
        let flags = segment.flags();
        let told = || self.relative(segment);
        if segment.timestamps().is_some() != self.timestamps {
            let (is, was) = match self.timestamps {
                true => ("without", "with"),
                false => ("with", "without"),
            };
            return Some(format!(
                "a segment {is} timestamps on a connection {was}: {}",
                told()
            ));
        }
        if flags.contains(Flags::RST)
            && (flags != Flags::RST | Flags::ACK
                || segment.sequence() != self.rcv_nxt
                || segment.acknowledgment() != self.snd_nxt
                || segment.payload_len() != 0)
        {
            return Some(format!(
                "a reset that is not RST|ACK at snd_nxt and rcv_nxt: {}",
                told()
            ));
        }
        let before_una = sequence::before(segment.sequence(), self.acked);
        let is_probe = is_empty_probe(segment, self.acked) && flags == Flags::ACK;
        if before_una && !(is_probe && segment.acknowledgment() == self.snd_nxt) {
            return Some(format!(
                "left of snd_una and yet no probe (ACK alone, snd_una - 1, rcv_nxt, no payload): {}",
                told()
            ));
        }
        None
    }

    fn relative(&self, segment: &Segment<'_>) -> String {
        let difference = |a: u32, b: u32| a.wrapping_sub(b).cast_signed();
        format!(
            "flags {}, seq snd_una{:+}, ack rcv_nxt{:+}, {} bytes, timestamps {}",
            segment.flags(),
            difference(segment.sequence(), self.acked),
            difference(segment.acknowledgment(), self.snd_nxt),
            segment.payload_len(),
            segment.timestamps().is_some(),
        )
    }

    /// The packet that says it.
    pub(crate) fn say(&mut self, say: Say, now: Time) -> Result<Vec<u8>, BuildError> {
        if let Say::Icmp {
            kind,
            code,
            quotes_probe,
        } = say
        {
            return self.icmp(kind, code, quotes_probe);
        }
        // Cumulative, and no further than it came.
        if matches!(
            say,
            Say::Ack | Say::Data | Say::GarbageProbe | Say::OutOfOrder | Say::Fin | Say::SynAck
        ) {
            self.acked = if sequence::before(self.ack_limit, self.rcv_nxt) {
                self.ack_limit
            } else {
                self.rcv_nxt
            };
        }
        let mut draft = Draft {
            sequence: self.snd_nxt,
            acknowledgment: self.acked,
            flags: Flags::ACK,
            window: WINDOW,
            timestamps: self.timestamps.then(|| Timestamps {
                value: millis(now.since_origin()),
                echo_reply: self.ts_recent,
            }),
            ..Draft::new(self.here, self.subject)
        };
        let mut length = 0;
        match say {
            Say::Ack => {}
            Say::Syn | Say::SynAck => {
                draft.maximum_segment_size = Some(MAXIMUM_SEGMENT_SIZE);
                draft.window_scale = Some(WINDOW_SCALE);
                draft.sack_permitted = true;
                draft.window = u16::MAX;
                draft.flags = match say {
                    Say::Syn => Flags::SYN,
                    _ => Flags::SYN | Flags::ACK,
                };
                length = 1;
            }
            Say::Data => {
                draft.payload = DATA;
                draft.flags = Flags::ACK | Flags::PSH;
                length = DATA.len() as u32;
            }
            Say::Probe => draft.sequence = self.snd_nxt.wrapping_sub(1),
            Say::GarbageProbe => {
                draft.sequence = self.snd_nxt.wrapping_sub(1);
                draft.payload = &[0];
            }
            Say::OutOfOrder => {
                draft.sequence = self.snd_nxt.wrapping_add(GAP);
                draft.payload = &[0];
            }
            Say::OldAck => draft.acknowledgment = self.acked.wrapping_sub(1),
            Say::FutureAck => draft.acknowledgment = self.rcv_nxt.wrapping_add(GAP),
            Say::Fin => {
                draft.flags = Flags::ACK | Flags::FIN;
                length = 1;
            }
            Say::Reset => {
                // As a host that knows nothing of the connection: the number
                // is the one that the subject's segment acknowledged, and
                // there is nothing to acknowledge (RFC 9293 §3.10.7.1).
                draft.flags = Flags::RST;
                draft.acknowledgment = 0;
                draft.window = 0;
                draft.timestamps = None;
            }
            Say::Icmp { .. } => {}
        }
        let packet = draft.to_bytes()?;
        self.snd_nxt = self.snd_nxt.wrapping_add(length);
        Ok(packet)
    }

    /// Quotes what the subject would have sent: the next ACK or the next probe.
    fn icmp(&self, kind: u8, code: u8, quotes_probe: bool) -> Result<Vec<u8>, BuildError> {
        let quoted = Draft {
            sequence: self.acked.wrapping_sub(u32::from(quotes_probe)),
            acknowledgment: self.snd_nxt,
            flags: Flags::ACK,
            window: WINDOW,
            ..Draft::new(self.subject, self.here)
        }
        .to_bytes()?;
        IcmpError {
            source: self.here.ip(),
            destination: self.subject.ip(),
            kind,
            code,
            quoted: &quoted,
        }
        .to_bytes()
    }
}

/// The type and code of the ICMP error that Linux turns into this error
/// number (`icmp_err_convert`, `icmp_unreach`; `icmpv6_err_convert`).
pub(crate) fn icmp_of(error: Errno, ipv6: bool) -> Option<(u8, u8)> {
    match (error, ipv6) {
        (Errno::ENETUNREACH, false) => Some((3, 0)),
        (Errno::EHOSTUNREACH, false) => Some((3, 1)),
        (Errno::ENOPROTOOPT, false) => Some((3, 2)),
        (Errno::ECONNREFUSED, false) => Some((3, 3)),
        (Errno::EOPNOTSUPP, false) => Some((3, 5)),
        (Errno::EHOSTDOWN, false) => Some((3, 7)),
        (Errno::EPROTO, false) => Some((12, 0)),
        (Errno::ENETUNREACH, true) => Some((1, 0)),
        (Errno::EACCES, true) => Some((1, 1)),
        (Errno::EHOSTUNREACH, true) => Some((1, 3)),
        (Errno::ECONNREFUSED, true) => Some((1, 4)),
        (Errno::EPROTO, true) => Some((4, 0)),
        _ => None,
    }
}

/// TSval: milliseconds of a clock that wraps.
fn millis(time: Duration) -> u32 {
    time.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "10.77.0.1:40000";
    const PEER: &str = "10.77.0.2:10000";

    /// A peer that has agreed to timestamps, and what the subject sends next.
    fn established() -> (ScriptedPeer, Draft<'static>) {
        let (subject, here) = (SUBJECT.parse().unwrap(), PEER.parse().unwrap());
        let mut peer = ScriptedPeer::new(here, subject, true);
        let stamp = |value| {
            Some(Timestamps {
                value,
                echo_reply: 0,
            })
        };
        let syn = Draft {
            sequence: u32::MAX,
            flags: Flags::SYN,
            timestamps: stamp(1),
            ..Draft::new(subject, here)
        };
        assert_eq!(hear(&mut peer, &syn), Heard::Syn);
        peer.say(Say::SynAck, Time::ZERO).unwrap();
        let next = Draft {
            sequence: 0,
            acknowledgment: peer.snd_nxt,
            flags: Flags::ACK,
            timestamps: stamp(2),
            ..syn
        };
        (peer, next)
    }

    fn hear(peer: &mut ScriptedPeer, draft: &Draft<'_>) -> Heard {
        peer.hear(&Segment::parse(&draft.to_bytes().unwrap()).unwrap())
    }

    #[test]
    fn probe_is_one_to_the_left_and_nothing_else() {
        let (mut peer, next) = established();
        let probe = Draft {
            sequence: u32::MAX,
            ..next
        };
        assert_eq!(hear(&mut peer, &next), Heard::Ack);
        assert_eq!(hear(&mut peer, &probe), Heard::Probe);
        for wrong in [
            Draft {
                sequence: u32::MAX - 1,
                ..probe
            },
            Draft {
                acknowledgment: probe.acknowledgment.wrapping_add(1),
                ..probe
            },
            Draft {
                flags: Flags::ACK | Flags::PSH,
                ..probe
            },
            Draft {
                timestamps: None,
                ..probe
            },
            Draft {
                payload: &[0],
                ..probe
            },
        ] {
            assert!(
                matches!(hear(&mut peer, &wrong), Heard::Odd(_)),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn reset_is_rst_and_ack_at_both_next_numbers() {
        let (mut peer, next) = established();
        let reset = Draft {
            flags: Flags::RST | Flags::ACK,
            ..next
        };
        assert_eq!(hear(&mut peer, &reset), Heard::Reset);
        for wrong in [
            Draft {
                flags: Flags::RST,
                ..reset
            },
            Draft {
                sequence: 1,
                ..reset
            },
            Draft {
                acknowledgment: reset.acknowledgment.wrapping_add(1),
                ..reset
            },
        ] {
            assert!(
                matches!(hear(&mut peer, &wrong), Heard::Odd(_)),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn data_are_acknowledged_as_far_as_the_script_allows() {
        let (mut peer, next) = established();
        let data = Draft {
            payload: b"0123456789",
            ..next
        };
        peer.will_acknowledge(4);
        assert_eq!(hear(&mut peer, &data), Heard::New);
        assert_eq!(hear(&mut peer, &data), Heard::NothingNew);
        let packet = peer.say(Say::Ack, Time::ZERO).unwrap();
        let ack = Segment::parse(&packet).unwrap();
        assert_eq!(ack.acknowledgment(), 4);
        assert_eq!(ack.timestamps().unwrap().echo_reply, 2);
        assert!(!peer.has_more_to_acknowledge());
        assert!(!peer.all_acknowledged(10, 0));
    }

    #[test]
    fn one_answer_in_500_ms() {
        let (mut peer, _) = established();
        let answers = [0, 499, 500, 900, 1000].map(|ms| peer.may_answer(Time::from_millis(ms)));
        assert_eq!(answers, [true, false, true, false, true]);
    }
}
