//! The Internet checksum (RFC 1071), as IPv4 and TCP headers carry it.

/// A checksum in the making: add the bytes in as many slices as they come in,
/// of odd length too.
///
/// Over bytes that contain their own checksum, [`Checksum::finish`] is 0 when
/// they are as they were sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checksum {
    /// Sum of folded slices: each adds less than 2^16.
    sum: u64,
    /// Whether the next byte is the low half of a 16-bit word.
    odd: bool,
}

impl Checksum {
    /// The checksum of nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// What TCP puts before its header when it sums: the IP addresses, the
    /// protocol number and the length of the segment, header and payload
    /// (RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6).
    ///
    /// Addresses are in network order; the two layouts differ only in zeros,
    /// which do not change the sum.
    #[must_use]
    pub fn with_pseudo_header(source: &[u8], destination: &[u8], tcp_length: u32) -> Self {
        const TCP: [u8; 2] = [0, 6];
        let mut checksum = Self::new();
        checksum.add(source);
        checksum.add(destination);
        checksum.add(&tcp_length.to_be_bytes());
        checksum.add(&TCP);
        checksum
    }

    /// Adds the bytes that come next. A slice may have up to 2³² bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        // One's complement sums of 32-bit words fold into those of 16-bit
        // words, and 64 bits take the carries (RFC 1071 §2 C).
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_be_bytes(*word)))
            .sum();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        sum += u64::from(u32::from_be_bytes(last));

        let folded = fold(sum);
        // A sum of byte-swapped words is the byte-swapped sum (RFC 1071 §2 B),
        // so a slice that starts in the middle of a word is swapped as a whole.
        self.sum += u64::from(if self.odd {
            folded.swap_bytes()
        } else {
            folded
        });
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The checksum to put in a header, in host order.
    #[must_use]
    pub const fn finish(self) -> u16 {
        !fold(self.sum)
    }
}

/// The checksum of these bytes.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    let mut checksum = Checksum::new();
    checksum.add(bytes);
    checksum.finish()
}

/// Adds the carries back in until 16 bits are left.
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The algorithm as a textbook gives it: one 16-bit word after the other.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(of(&bytes), !0xddf2);
    }

    #[test]
    fn nothing_sums_to_zero() {
        assert_eq!(of(&[]), 0xffff);
        assert_eq!(of(&[0; 5]), 0xffff);
    }

    #[test]
    fn carries_are_carried_around() {
        assert_eq!(of(&[0xff; 65536]), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum(bytes: Vec<u8>) {
            prop_assert_eq!(of(&bytes), naive(&bytes));
        }

        #[test]
        fn slices_of_any_length_add_up(slices: Vec<Vec<u8>>) {
            let mut checksum = Checksum::new();
            for slice in &slices {
                checksum.add(slice);
            }
            prop_assert_eq!(checksum.finish(), naive(&slices.concat()));
        }
    }
}
