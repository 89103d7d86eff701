//! Sequence numbers counted from the beginning of what was seen.

use crate::recent::Recent;
use std::net::IpAddr;

/// Conversations after which those that were quiet longest are forgotten.
const GENERATION: usize = 1 << 18;

/// Counts sequence numbers as tcpdump does: from the first packet with ACK,
/// or a SYN with ACK, of each conversation. That packet itself is shown with
/// the numbers that stand in it.
///
/// A conversation is remembered until 262,144 others were heard after it; its
/// next packet is then a first one again. (tcpdump never forgets.)
#[derive(Debug)]
pub struct Relative(Recent<Key, Start>);

impl Default for Relative {
    fn default() -> Self {
        Self(Recent::new(GENERATION))
    }
}

/// Address and port of both ends, the lower one first.
type Key = ((u16, IpAddr), (u16, IpAddr));

/// The numbers that stand for 0 of the lower and of the higher end.
#[derive(Debug, Clone, Copy)]
struct Start {
    low: u32,
    high: u32,
}

/// The numbers of a packet as they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    /// What SACK blocks are counted from.
    pub(super) sacked_from: u32,
}

impl Numbers {
    pub(super) const fn absolute(sequence: u32, acknowledgment: u32) -> Self {
        Self {
            sequence,
            acknowledgment,
            sacked_from: 0,
        }
    }
}

impl Relative {
    /// The numbers of a packet with ACK from one end to the other. A SYN
    /// begins a conversation anew: its own numbers are kept.
    pub(super) fn numbers(
        &mut self,
        from: (IpAddr, u16),
        to: (IpAddr, u16),
        sequence: u32,
        acknowledgment: u32,
        is_syn: bool,
    ) -> Numbers {
        let (from, to) = ((from.1, from.0), (to.1, to.0));
        let is_from_high = from > to;
        let key = if is_from_high { (to, from) } else { (from, to) };
        let known = if is_syn {
            None
        } else {
            self.0.get(&key).copied()
        };
        let start = known.unwrap_or_else(|| {
            let (own, other) = (sequence, acknowledgment.wrapping_sub(1));
            let start = if is_from_high {
                Start {
                    low: other,
                    high: own,
                }
            } else {
                Start {
                    low: own,
                    high: other,
                }
            };
            self.0.insert(key, start);
            start
        });
        let (own, other) = if is_from_high {
            (start.high, start.low)
        } else {
            (start.low, start.high)
        };
        if known.is_none() {
            return Numbers {
                sequence,
                acknowledgment,
                sacked_from: other,
            };
        }
        Numbers {
            sequence: sequence.wrapping_sub(own),
            acknowledgment: acknowledgment.wrapping_sub(other),
            sacked_from: other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 40000);
    const B: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 7);

    #[test]
    fn numbers_count_from_the_answer_to_the_syn() {
        let mut relative = Relative::default();
        let first = relative.numbers(B, A, 1000, 501, true);
        assert_eq!((first.sequence, first.acknowledgment), (1000, 501));
        let second = relative.numbers(A, B, 501, 1001, false);
        assert_eq!((second.sequence, second.acknowledgment), (1, 1));
    }

    #[test]
    fn numbers_count_from_the_first_packet_of_a_capture_that_begins_late() {
        let mut relative = Relative::default();
        relative.numbers(A, B, 500, 1000, false);
        let probe = relative.numbers(A, B, 499, 1000, false);
        assert_eq!((probe.sequence, probe.acknowledgment), (u32::MAX, 1));
    }
}
