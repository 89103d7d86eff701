//! The options of a TCP header.

use std::iter::FusedIterator;

/// The timestamps option (RFC 7323 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamps {
    /// TSval: the sender's clock, in a unit of its own.
    pub value: u32,
    /// TSecr: the last TSval that the sender took from its peer. It counts
    /// only when the ACK flag is set.
    pub echo_reply: u32,
}

/// One TCP option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpOption<'a> {
    /// Largest payload that the sender takes, in bytes (RFC 9293 §3.7.1).
    MaximumSegmentSize(u16),
    /// Windows are shifted left by this many bits (RFC 7323 §2). As it stands
    /// in the header: more than 14 means 14.
    WindowScale(u8),
    /// The sender takes SACK blocks (RFC 2018 §2).
    SackPermitted,
    /// What the sender holds beyond the acknowledgment number, or what it got
    /// twice (RFC 2018 §3, RFC 2883).
    SackBlocks(SackBlocks<'a>),
    /// Timestamps (RFC 7323 §3).
    Timestamps(Timestamps),
    /// An option that this crate has no name for, or a known one with a
    /// length that is not its own.
    Unknown {
        /// Its number in IANA's registry.
        kind: u8,
        /// What follows the length byte.
        value: &'a [u8],
    },
}

/// Received bytes from `left` up to but not including `right`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SackBlock {
    /// First sequence number of the block.
    pub left: u32,
    /// The sequence number that follows the block's last.
    pub right: u32,
}

/// The blocks of one SACK option, in the order in which they stand in it: the
/// newest first, or a duplicate (D-SACK).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SackBlocks<'a> {
    blocks: &'a [[u8; 8]],
}

impl SackBlocks<'_> {
    /// The blocks.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SackBlock> {
        self.blocks.iter().map(|block| {
            let (left, right) = two_numbers(block);
            SackBlock { left, right }
        })
    }
}

/// The options of a header, one after the other; padding (NOP) is skipped.
///
/// Nothing that stands here is trusted: at an option that is shorter than its
/// own two bytes or longer than the header, and at the end of a capture that
/// was cut short, the options are over. The kernel does the same
/// (`tcp_parse_options`).
#[derive(Debug, Clone)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Options<'a> {
    const END: u8 = 0;
    const NOP: u8 = 1;

    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Takes the next option off, or `None` where the options are over.
    fn take_option(&mut self) -> Option<TcpOption<'a>> {
        while let [Self::NOP, rest @ ..] = self.bytes {
            self.bytes = rest;
        }
        let [kind, length, ..] = *self.bytes else {
            return None;
        };
        if kind == Self::END {
            return None;
        }
        let (option, rest) = self.bytes.split_at_checked(usize::from(length))?;
        let value = option.get(2..)?;
        self.bytes = rest;
        Some(TcpOption::from_parts(kind, value))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let option = self.take_option();
        if option.is_none() {
            self.bytes = &[];
        }
        option
    }
}

impl FusedIterator for Options<'_> {}

impl<'a> TcpOption<'a> {
    fn from_parts(kind: u8, value: &'a [u8]) -> Self {
        match (kind, value) {
            (2, &[high, low]) => Self::MaximumSegmentSize(u16::from_be_bytes([high, low])),
            (3, &[shift]) => Self::WindowScale(shift),
            (4, []) => Self::SackPermitted,
            (5, _) => match value.as_chunks() {
                (blocks @ [_, ..], []) => Self::SackBlocks(SackBlocks { blocks }),
                _ => Self::Unknown { kind, value },
            },
            (8, _) => match value.try_into() {
                Ok(numbers) => {
                    let (value, echo_reply) = two_numbers(numbers);
                    Self::Timestamps(Timestamps { value, echo_reply })
                }
                Err(_) => Self::Unknown { kind, value },
            },
            _ => Self::Unknown { kind, value },
        }
    }
}

fn two_numbers(bytes: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<TcpOption<'_>> {
        Options::new(bytes).collect()
    }

    #[test]
    fn nop_is_skipped_and_end_ends() {
        assert_eq!(
            all(&[1, 1, 4, 2, 1, 3, 3, 10, 0, 4, 2]),
            [TcpOption::SackPermitted, TcpOption::WindowScale(10)]
        );
    }

    #[test]
    fn a_duplicate_is_reported_as_a_sack_block() {
        let bytes = [1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 10];
        let [TcpOption::SackBlocks(blocks)] = all(&bytes)[..] else {
            panic!("one option, SACK, expected");
        };
        assert_eq!(
            blocks.iter().collect::<Vec<_>>(),
            [SackBlock { left: 9, right: 10 }]
        );
    }

    #[test]
    fn several_sack_blocks_keep_their_order() {
        let mut bytes = vec![5, 26];
        bytes.extend((0..6_u32).flat_map(u32::to_be_bytes));
        let [TcpOption::SackBlocks(blocks)] = all(&bytes)[..] else {
            panic!("one option, SACK, expected");
        };
        let edges: Vec<_> = blocks.iter().map(|b| (b.left, b.right)).collect();
        assert_eq!(edges, [(0, 1), (2, 3), (4, 5)]);
    }

    #[test]
    fn a_known_kind_with_a_wrong_length_is_unknown() {
        for bytes in [
            &[2, 3, 5][..],
            &[3, 2],
            &[4, 3, 0],
            &[5, 2],
            &[5, 6, 0, 0, 0, 1],
            &[8, 6, 0, 0, 0, 1],
        ] {
            assert_eq!(
                all(bytes),
                [TcpOption::Unknown {
                    kind: bytes[0],
                    value: &bytes[2..]
                }]
            );
        }
    }

    #[test]
    fn a_malformed_length_ends_the_options_for_good() {
        for bytes in [&[4, 0, 4, 2][..], &[4, 1, 4, 2], &[2, 9, 4, 2], &[2]] {
            let mut options = Options::new(bytes);
            assert_eq!(options.next(), None);
            assert_eq!(options.next(), None);
        }
    }

    #[test]
    fn what_stands_before_a_malformed_option_counts() {
        assert_eq!(all(&[4, 2, 99, 50, 1]), [TcpOption::SackPermitted]);
    }
}
