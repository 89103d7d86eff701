//! The flags of a TCP header.

use std::fmt;
use std::ops::BitOr;

/// A set of TCP flags (RFC 9293 §3.1; [`Flags::AE`]: RFC 9768).
///
/// Displayed as `tcpdump` does: `S` for a SYN, `S.` for its answer, `.` for
/// an ACK, `R.` for a reset with an ACK, `none` for none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    bits: u16,
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self { bits: 0 };
    /// The sender has no more data.
    pub const FIN: Self = Self { bits: 0x001 };
    /// Synchronise sequence numbers: the first segment of each direction.
    pub const SYN: Self = Self { bits: 0x002 };
    /// Reset: the sender knows no such connection, or gives it up.
    pub const RST: Self = Self { bits: 0x004 };
    /// Push: hand the data to the program now.
    pub const PSH: Self = Self { bits: 0x008 };
    /// The acknowledgment number counts.
    pub const ACK: Self = Self { bits: 0x010 };
    /// The urgent pointer counts.
    pub const URG: Self = Self { bits: 0x020 };
    /// Congestion was experienced (ECN echo, RFC 3168).
    pub const ECE: Self = Self { bits: 0x040 };
    /// The congestion window was reduced (RFC 3168).
    pub const CWR: Self = Self { bits: 0x080 };
    /// Accurate ECN (RFC 9768). Together with CWR and ECE it is a counter
    /// that stands on every segment, probes too.
    pub const AE: Self = Self { bits: 0x100 };

    /// The letters, in the order in which `tcpdump` prints them.
    const LETTERS: [(Self, char); 9] = [
        (Self::FIN, 'F'),
        (Self::SYN, 'S'),
        (Self::RST, 'R'),
        (Self::PSH, 'P'),
        (Self::ACK, '.'),
        (Self::URG, 'U'),
        (Self::ECE, 'E'),
        (Self::CWR, 'W'),
        (Self::AE, 'e'),
    ];

    /// From the low nine bits of the header's 13th and 14th byte. The others,
    /// data offset and reserved, are dropped.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self { bits: bits & 0x1ff }
    }

    /// As they stand in the header.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.bits
    }

    /// Whether all of `others` are set.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.bits & others.bits == others.bits
    }

    /// Whether at least one of `others` is set.
    #[must_use]
    pub const fn intersects(self, others: Self) -> bool {
        self.bits & others.bits != 0
    }

    /// Flags in either.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self {
            bits: self.bits | others.bits,
        }
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, others: Self) -> Self {
        self.union(others)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.pad("none");
        }
        let mut letters = [0; Self::LETTERS.len()];
        let mut length = 0;
        for (flag, letter) in Self::LETTERS {
            if self.contains(flag) {
                length += letter.encode_utf8(&mut letters[length..]).len();
            }
        }
        f.pad(std::str::from_utf8(&letters[..length]).unwrap_or_default())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_tcpdumps() {
        for (flags, text) in [
            (Flags::NONE, "none"),
            (Flags::SYN, "S"),
            (Flags::SYN | Flags::ACK, "S."),
            (Flags::ACK, "."),
            (Flags::PSH | Flags::ACK, "P."),
            (Flags::FIN | Flags::PSH | Flags::ACK, "FP."),
            (Flags::RST, "R"),
            (Flags::RST | Flags::ACK, "R."),
            (Flags::SYN | Flags::ECE | Flags::CWR, "SEW"),
            (Flags::from_bits(0xffff), "FSRP.UEWe"),
        ] {
            assert_eq!(flags.to_string(), text);
        }
    }

    #[test]
    fn display_obeys_width() {
        assert_eq!(format!("{:<4}|", Flags::SYN | Flags::ACK), "S.  |");
    }

    #[test]
    fn contains_wants_all_and_intersects_one() {
        let flags = Flags::SYN | Flags::ACK;
        assert!(flags.contains(Flags::ACK));
        assert!(!flags.contains(Flags::ACK | Flags::FIN));
        assert!(flags.intersects(Flags::ACK | Flags::FIN));
        assert!(!flags.intersects(Flags::RST | Flags::FIN));
    }
}
