//! Where a timer is filed, and the word that a timer is.

/// Buckets of a level, as bits of the tick.
const LEVEL_BITS: u32 = 8;
const PER_LEVEL: u64 = 1 << LEVEL_BITS;
pub(super) const LEVELS: u32 = 4;

/// A bucket: level × 256 + index, or one of the places beyond the levels.
///
/// Bucket `i` of level `l` stands for the ticks whose bits from `8 × l` up end
/// in `i`, and is come upon at the first of them. Whatever is filed there is
/// meant for the next time that this happens: nothing is filed further than
/// 255 buckets ahead, so one number tells the tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u16);

impl Place {
    /// What was due when it was armed.
    pub(super) const LATE: Self = Self(LEVELS as u16 * PER_LEVEL as u16);
    /// Without an entry.
    pub(super) const NOWHERE: Self = Self(Self::LATE.0 + 1);
    /// For the time of a sweep: seen once already.
    pub(super) const SEEN: Self = Self(Self::LATE.0 + 2);
    /// How many places have buckets.
    pub(super) const COUNT: usize = Self::LATE.0 as usize + 1;

    /// The bucket of a level that a tick belongs to.
    pub(super) const fn of(level: u32, tick: u64) -> Self {
        Self((level as u64 * PER_LEVEL + (tick >> (LEVEL_BITS * level)) % PER_LEVEL) as u16)
    }

    /// The bucket for a deadline that is not before `now`, both in ticks: on
    /// the finest level that reaches it. What no level reaches goes to the
    /// last bucket of the last level, to be filed again from there.
    #[inline]
    pub(super) const fn ahead(deadline: u64, now: u64) -> Self {
        let mut level = 0;
        while level < LEVELS {
            let shift = LEVEL_BITS * level;
            if (deadline >> shift) - (now >> shift) < PER_LEVEL {
                return Self::of(level, deadline);
            }
            level += 1;
        }
        let shift = LEVEL_BITS * (LEVELS - 1);
        Self::of(LEVELS - 1, ((now >> shift) + PER_LEVEL - 1) << shift)
    }

    /// The tick at which the bucket is come upon, seen from `now`; the first
    /// of all for what was late, and none for what is nowhere.
    #[inline]
    pub(super) const fn tick(self, now: u64) -> u64 {
        if self.0 >= Self::LATE.0 {
            return if self.0 == Self::LATE.0 { 0 } else { u64::MAX };
        }
        let shift = LEVEL_BITS * (self.0 as u32 >> LEVEL_BITS);
        let here = now >> shift;
        let ahead = (self.0 as u64).wrapping_sub(here) % PER_LEVEL;
        (here + ahead) << shift
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Level and index; `None` for what was late.
    pub(super) const fn bucket(self) -> Option<(usize, usize)> {
        if self.0 >= Self::LATE.0 {
            return None;
        }
        Some((
            self.0 as usize >> LEVEL_BITS,
            self.0 as usize % PER_LEVEL as usize,
        ))
    }
}

/// All that the wheel knows of a timer, in one word: 53 bits for the tick of
/// its deadline, 11 for the place of its entry. One word means one cache line
/// for every operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record(u64);

const PLACE_BITS: u32 = 11;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const NEVER: u64 = u64::MAX >> PLACE_BITS;

impl Record {
    /// Not armed, and without an entry.
    pub(super) const IDLE: Self = Self(NEVER << PLACE_BITS | Place::NOWHERE.0 as u64);

    /// A timer that is armed for a tick and filed at a place.
    pub(super) const fn new(deadline: u64, place: Place) -> Self {
        Self(deadline << PLACE_BITS | place.0 as u64)
    }

    /// The tick; later than all others when it is not armed.
    pub(super) const fn deadline(self) -> u64 {
        self.0 >> PLACE_BITS
    }

    pub(super) const fn is_armed(self) -> bool {
        self.deadline() != NEVER
    }

    pub(super) const fn place(self) -> Place {
        Place((self.0 & PLACE_MASK) as u16)
    }

    /// The same, filed elsewhere.
    pub(super) const fn filed(self, place: Place) -> Self {
        Self(self.0 & !PLACE_MASK | place.0 as u64)
    }

    /// The same, not armed.
    pub(super) const fn cancelled(self) -> Self {
        Self(self.0 | NEVER << PLACE_BITS)
    }
}

#[cfg(test)]
impl Place {
    /// All places that have buckets.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_the_tick_at_which_it_is_come_upon() {
        for now in [0, 1, 255, 256, 65_535, 0xffff_ff00, 0xffff_ffff, 1 << 52] {
            for distance in (0..64).map(|bit| 1_u64 << bit).filter(|d| *d < 1 << 52) {
                for deadline in [now + distance - 1, now + distance, now + distance + 1] {
                    let tick = Place::ahead(deadline, now).tick(now);
                    assert!(
                        tick <= deadline,
                        "never late: {now} {deadline} filed at {tick}"
                    );
                    // Due now, or later than now: progress in either case.
                    assert!(
                        tick > now || deadline < now + PER_LEVEL,
                        "{now} {deadline} filed at {tick}"
                    );
                    if deadline - now < PER_LEVEL {
                        assert_eq!(tick, deadline);
                    }
                }
            }
        }
    }

    #[test]
    fn what_no_level_reaches_is_filed_at_the_horizon() {
        let horizon = 255 << 24;
        assert_eq!(Place::ahead(horizon, 0).tick(0), horizon);
        assert_eq!(Place::ahead(horizon + (1 << 24), 0).tick(0), horizon);
        assert_eq!(Place::ahead(1 << 52, 0).tick(0), horizon);
    }

    #[test]
    fn a_record_keeps_deadline_and_place_apart() {
        let record = Record::new(1 << 52, Place::LATE);
        assert_eq!(record.deadline(), 1 << 52);
        assert_eq!(record.place(), Place::LATE);
        assert_eq!(
            record.filed(Place::of(3, 0)),
            Record::new(1 << 52, Place::of(3, 0))
        );
        assert!(record.is_armed());
        assert!(!record.cancelled().is_armed());
        assert_eq!(record.cancelled().place(), Place::LATE);
        assert!(!Record::IDLE.is_armed());
        assert_eq!(Record::IDLE.place(), Place::NOWHERE);
    }
}
