//! What an interface description block says about the packets of its
//! interface (draft-ietf-opsawg-pcapng §4.2).

use crate::file::buffer::{number, short_number};
use crate::link::Link;

const END_OF_OPTIONS: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) link: Link,
    /// The most bytes of a packet that were captured.
    pub(super) snap_length: u32,
    tick: Tick,
    /// What is to be added to each time, in seconds.
    offset: i64,
}

/// The unit that times are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    /// So many nanoseconds: 10⁻ⁿ s for n up to 9.
    Nanoseconds(u64),
    /// A nanosecond has so many of them: 10⁻ⁿ s for n from 10 on.
    PerNanosecond(u128),
    /// 2⁻ⁿ s.
    Binary(u32),
}

impl Interface {
    /// `None` if the fixed fields are not all there. Options that make no
    /// sense end the options.
    pub(super) fn parse(body: &[u8], big_endian: bool) -> Option<Self> {
        if body.len() < 8 {
            return None;
        }
        let mut interface = Self {
            link: Link(short_number(body, 0, big_endian)),
            snap_length: match number(body, 4, big_endian) {
                // No limit.
                0 => u32::MAX,
                length => length,
            },
            tick: Tick::Nanoseconds(1000),
            offset: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let code = short_number(options, 0, big_endian);
            let length = usize::from(short_number(options, 2, big_endian));
            let Some(value) = options.get(4..4 + length) else {
                break;
            };
            match (code, value) {
                (END_OF_OPTIONS, _) => break,
                (IF_TSRESOL, &[resolution]) => interface.tick = Tick::from_resolution(resolution),
                (IF_TSOFFSET, &[a, b, c, d, e, f, g, h]) => {
                    let bytes = [a, b, c, d, e, f, g, h];
                    interface.offset = if big_endian {
                        i64::from_be_bytes(bytes)
                    } else {
                        i64::from_le_bytes(bytes)
                    };
                }
                _ => {}
            }
            let padded = 4 + length.next_multiple_of(4);
            options = options.get(padded..).unwrap_or_default();
        }
        Some(interface)
    }

    /// Nanoseconds since the Unix epoch.
    #[inline]
    pub(super) fn time(&self, ticks: u64) -> u64 {
        if let (Tick::Nanoseconds(tick), 0) = (self.tick, self.offset) {
            return ticks.saturating_mul(tick);
        }
        self.unusual_time(ticks)
    }

    #[inline(never)]
    fn unusual_time(&self, ticks: u64) -> u64 {
        const SECOND: u128 = 1_000_000_000;
        let ticks = u128::from(ticks);
        let nanoseconds = match self.tick {
            Tick::Nanoseconds(tick) => ticks * u128::from(tick),
            Tick::PerNanosecond(ticks_in_one) => ticks / ticks_in_one,
            // At most 64 + 30 bits, and n is at most 127.
            Tick::Binary(n) => (ticks * SECOND) >> n,
        };
        // Lossless: at most 64 + 30 bits.
        let time = nanoseconds.cast_signed() + i128::from(self.offset) * SECOND.cast_signed();
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

impl Tick {
    /// The value of `if_tsresol`: the highest bit says whether the others are
    /// a negative power of 2 or of 10.
    fn from_resolution(resolution: u8) -> Self {
        let n = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::Binary(n)
        } else if n <= 9 {
            Self::Nanoseconds(10_u64.pow(9 - n))
        } else {
            // Finer than 10⁻⁴⁷ s, every 64-bit number of them is nothing.
            Self::PerNanosecond(10_u128.checked_pow(n - 9).unwrap_or(u128::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(resolution: u8, offset: i64) -> Interface {
        let mut body = vec![
            1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, resolution, 0, 0, 0, 14, 0, 8, 0,
        ];
        body.extend(offset.to_le_bytes());
        Interface::parse(&body, false).unwrap()
    }

    #[test]
    fn powers_of_ten_become_nanoseconds() {
        assert_eq!(interface(0, 0).time(7), 7_000_000_000);
        assert_eq!(interface(3, 0).time(7), 7_000_000);
        assert_eq!(interface(6, 0).time(7), 7_000);
        assert_eq!(interface(9, 0).time(7), 7);
        assert_eq!(interface(12, 0).time(7_999), 7);
        assert_eq!(interface(127, 0).time(u64::MAX), 0);
    }

    #[test]
    fn powers_of_two_become_nanoseconds() {
        assert_eq!(interface(0x80, 0).time(7), 7_000_000_000);
        assert_eq!(interface(0x81, 0).time(3), 1_500_000_000);
        assert_eq!(interface(0x80 | 32, 0).time(3 << 31), 1_500_000_000);
        assert_eq!(interface(0x80 | 64, 0).time(1 << 63), 500_000_000);
        assert_eq!(interface(0xff, 0).time(u64::MAX), 0);
    }

    #[test]
    fn the_offset_is_added_and_the_ends_of_time_hold() {
        assert_eq!(interface(9, 2).time(7), 2_000_000_007);
        assert_eq!(interface(9, -2).time(3_000_000_000), 1_000_000_000);
        assert_eq!(interface(9, -2).time(7), 0);
        assert_eq!(interface(9, i64::MIN).time(u64::MAX), 0);
        assert_eq!(interface(9, i64::MAX).time(0), u64::MAX);
        assert_eq!(interface(0, i64::MAX).time(u64::MAX), u64::MAX);
        assert_eq!(interface(0x80, 0).time(u64::MAX), u64::MAX);
        assert_eq!(interface(0, 0).time(u64::MAX), u64::MAX);
    }

    #[test]
    fn options_that_make_no_sense_end_the_options() {
        // A length beyond the block, and what looks like one option more.
        let body = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 99, 0, 9, 0, 1, 0, 9, 0, 0, 0];
        let interface = Interface::parse(&body, false).unwrap();
        assert_eq!(interface.time(1), 1000);
        // Wrong lengths are passed over, and the next option counts.
        let body = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 1, 0, 9];
        let interface = Interface::parse(&body, false).unwrap();
        assert_eq!(interface.time(1), 1);
        assert_eq!(Interface::parse(&body[..7], false), None);
    }
}
