//! What a segment is to a keep-alive engine: a probe, or an answer to one.
//!
//! These are questions about one segment and the numbers of one direction of
//! a connection. `expected_next` is the sequence number that the segment's
//! receiver expects next: what it has acknowledged, the sender's SND.UNA.

use crate::{Flags, Segment, sequence};

/// Whether the segment is a keep-alive probe without data, as Linux, the BSDs
/// and most others send it: an ACK whose sequence number is
/// `expected_next − 1`, without SYN, FIN or RST.
///
/// A probe of a closed window is the same bytes on Linux
/// (`tcp_write_wakeup`): it differs only in that the peer's last window was 0
/// and data is queued.
#[must_use]
pub fn is_empty_probe(segment: &Segment<'_>, expected_next: u32) -> bool {
    segment.payload_len() == 0 && stands_one_to_the_left(segment, expected_next)
}

/// Whether the segment is a keep-alive probe with one byte of data, as
/// RFC 9293 §3.8.4 (MAY-6) permits it for peers that answer no other.
///
/// A sender that missed an ACK repeats its last segment, and if that had one
/// byte it is the same as such a probe.
#[must_use]
pub fn is_garbage_probe(segment: &Segment<'_>, expected_next: u32) -> bool {
    segment.payload_len() == 1 && stands_one_to_the_left(segment, expected_next)
}

/// Whether the segment acknowledges something between `snd_una` and `snd_nxt`
/// of the other direction, both included, modulo 2³²: what the kernel takes
/// as a sign of life (`tcp_ack`).
///
/// Only the ACK flag and the number are looked at. A reset may pass as well:
/// ask for [`Flags::RST`] first.
#[must_use]
pub fn acknowledges(segment: &Segment<'_>, snd_una: u32, snd_nxt: u32) -> bool {
    segment.flags().contains(Flags::ACK)
        && sequence::within(snd_una, segment.acknowledgment(), snd_nxt)
}

/// ECN's flags are not looked at: with accurate ECN they count on every
/// segment.
fn stands_one_to_the_left(segment: &Segment<'_>, expected_next: u32) -> bool {
    let flags = segment.flags();
    segment.sequence() == expected_next.wrapping_sub(1)
        && flags.contains(Flags::ACK)
        && !flags.intersects(Flags::SYN | Flags::FIN | Flags::RST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet with ports 1 and 2 and no options; checksums are zero.
    fn packet(sequence: u32, acknowledgment: u32, flags: Flags, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        packet.extend([0, 1, 0, 2]);
        packet.extend(sequence.to_be_bytes());
        packet.extend(acknowledgment.to_be_bytes());
        packet.extend((0x5000 | flags.bits()).to_be_bytes());
        packet.extend([0, 63, 0, 0, 0, 0]);
        packet.extend(payload);
        packet[3] = u8::try_from(packet.len()).unwrap();
        packet
    }

    fn with<T>(packet: &[u8], ask: impl FnOnce(&Segment<'_>) -> T) -> T {
        ask(&Segment::parse(packet).unwrap())
    }

    #[test]
    fn an_empty_ack_one_to_the_left_is_an_empty_probe() {
        let probe = packet(999, 0, Flags::ACK, &[]);
        assert!(with(&probe, |s| is_empty_probe(s, 1000)));
        assert!(!with(&probe, |s| is_garbage_probe(s, 1000)));
        assert!(!with(&probe, |s| is_empty_probe(s, 999)));
        assert!(!with(&probe, |s| is_empty_probe(s, 1001)));
    }

    #[test]
    fn one_byte_one_to_the_left_is_a_garbage_probe() {
        let probe = packet(999, 0, Flags::ACK, &[0]);
        assert!(with(&probe, |s| is_garbage_probe(s, 1000)));
        assert!(!with(&probe, |s| is_empty_probe(s, 1000)));
        let two = packet(999, 0, Flags::ACK, &[0, 0]);
        assert!(!with(&two, |s| is_garbage_probe(s, 1000)));
    }

    #[test]
    fn one_to_the_left_of_zero_is_the_last_number() {
        let probe = packet(u32::MAX, 0, Flags::ACK, &[]);
        assert!(with(&probe, |s| is_empty_probe(s, 0)));
    }

    #[test]
    fn syn_fin_rst_and_a_missing_ack_make_no_probe() {
        for flags in [
            Flags::NONE,
            Flags::SYN,
            Flags::ACK | Flags::SYN,
            Flags::ACK | Flags::FIN,
            Flags::ACK | Flags::RST,
        ] {
            assert!(!with(&packet(999, 0, flags, &[]), |s| is_empty_probe(
                s, 1000
            )));
            assert!(!with(&packet(999, 0, flags, &[0]), |s| is_garbage_probe(
                s, 1000
            )));
        }
    }

    #[test]
    fn the_counter_of_accurate_ecn_does_not_hide_a_probe() {
        let flags = Flags::ACK | Flags::AE | Flags::CWR | Flags::ECE;
        assert!(with(&packet(999, 0, flags, &[]), |s| is_empty_probe(
            s, 1000
        )));
    }

    #[test]
    fn an_answer_acknowledges_from_snd_una_to_snd_nxt() {
        let cases = [
            (10, 10, 10, true),
            (9, 10, 20, false),
            (10, 10, 20, true),
            (20, 10, 20, true),
            (21, 10, 20, false),
            (1, u32::MAX, 3, true),
            (4, u32::MAX, 3, false),
        ];
        for (number, snd_una, snd_nxt, expected) in cases {
            let answer = packet(0, number, Flags::ACK, &[]);
            assert_eq!(
                with(&answer, |s| acknowledges(s, snd_una, snd_nxt)),
                expected
            );
        }
    }

    #[test]
    fn without_the_flag_the_number_means_nothing() {
        let reset = packet(0, 10, Flags::RST, &[]);
        assert!(!with(&reset, |s| acknowledges(s, 10, 10)));
    }
}
