//! Order among sequence numbers, which wrap at 2³² (RFC 9293 §3.4).
//!
//! Two numbers are compared by the shorter way round, so an answer means
//! something only while they are less than 2³¹ apart. TCP keeps them so: no
//! window is wider than 2³⁰ (RFC 7323 §2.3). The same rules order the values
//! of the timestamps option (RFC 7323 §5.2).

/// Whether `a` comes before `b` (the kernel's `before`).
///
/// Of two numbers exactly 2³¹ apart each comes before the other.
#[must_use]
pub const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// Whether `a` comes after `b` (the kernel's `after`).
#[must_use]
pub const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// Whether `number` lies between `low` and `high`, both included, going up
/// from `low` (the kernel's `between`).
///
/// This holds for any distance between `low` and `high`.
#[must_use]
pub const fn within(low: u32, number: u32, high: u32) -> bool {
    number.wrapping_sub(low) <= high.wrapping_sub(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(before(u32::MAX, 0));
        assert!(before(0xffff_fff0, 0x10));
        assert!(after(0x10, 0xffff_fff0));
        assert!(!before(0x10, 0xffff_fff0));
    }

    #[test]
    fn a_number_is_neither_before_nor_after_itself() {
        for number in [0, 1, 1 << 31, u32::MAX] {
            assert!(!before(number, number));
            assert!(!after(number, number));
        }
    }

    #[test]
    fn half_the_circle_is_the_limit_of_order() {
        assert!(before(0, (1 << 31) - 1));
        assert!(before(0, 1 << 31) && before(1 << 31, 0));
        assert!(after(0, (1 << 31) + 1));
    }

    #[test]
    fn both_ends_are_within() {
        assert!(within(5, 5, 5));
        assert!(within(0xffff_fffe, 0xffff_fffe, 2));
        assert!(within(0xffff_fffe, 0, 2));
        assert!(within(0xffff_fffe, 2, 2));
        assert!(!within(0xffff_fffe, 3, 2));
        assert!(!within(0xffff_fffe, 0xffff_fffd, 2));
    }
}
