//! A hierarchical timing wheel for tens of millions of timers.

mod buckets;
mod place;
#[cfg(test)]
mod tests;
mod ticks;

use crate::time::Time;
use alloc::vec;
use alloc::vec::Vec;
use buckets::{Batch, Buckets, Chain};
use core::time::Duration;
use place::{LEVELS, Place, Record};
use ticks::Ticks;

/// Timers of a caller that numbers them: one deadline for each, or none.
///
/// **The wheel reads no clock: its owner says what time it is, and asks which
/// timers have expired.** A timer is an index into whatever table the owner
/// has; indices should be dense, since the wheel has a word for each up to the
/// highest.
///
/// ```
/// use core::time::Duration;
/// use tcpalive_keepalive::{Time, Wheel};
///
/// let mut wheel = Wheel::new(Duration::from_millis(4), Time::ZERO);
/// wheel.arm(7, Time::from_secs(10));
/// wheel.arm(8, Time::from_secs(75));
/// wheel.cancel(8);
///
/// assert_eq!(wheel.pop(Time::from_millis(9_999)), None);
/// assert_eq!(wheel.pop(Time::from_secs(10)), Some(7));
/// assert_eq!(wheel.pop(Time::from_secs(10)), None);
/// assert_eq!(wheel.next_expiry(), None);
/// ```
///
/// # When a timer expires
/// Deadlines are rounded up to whole ticks. A timer is never popped at a `now`
/// before its deadline, and always at the first `now` that is not before its
/// deadline rounded up: at most one tick late, beside what the caller is late.
/// A deadline that has passed is due at once. The wheel's time is the latest
/// that it was told; a `now` before that is taken as no progress.
/// [`Time::MAX`] as `now` expires everything.
///
/// Ticks come in order. Within one tick the order is not specified.
///
/// # What it costs
/// Arming, re-arming and cancelling touch one word of the timer (one cache
/// miss when there are many timers) and, if a new entry is needed, the end of
/// one bucket. Nothing is allocated once the pools have grown to the need.
///
/// The wheel is lazy, as the kernel's keep-alive is. Cancelling and re-arming
/// to a later time only write the timer's word: its entry stays, and what is
/// to become of it is seen when its bucket is come upon. Only re-arming to a
/// time before that bucket makes a new entry; what is left behind is known by
/// the word, which names another bucket.
///
/// A timer that expires was looked at as many times as it passed levels: once
/// for deadlines less than 256 ticks ahead, twice to 256² (262 s at 4 ms),
/// three times to 256³ (18 h), four to 256⁴ (198 days), and farther ones are
/// filed again at that horizon. All of a coarse bucket is moved by the call
/// that comes upon it. Empty time costs nothing, however much passes at once.
///
/// # Memory
/// 8 bytes for each index up to the highest armed, and 4.3 bytes (64 bytes for
/// 15) for each entry. Entries are never more than twice the timers that have
/// one, and 65 a bucket (0.3 MB): a bucket in which more is left behind than
/// valid is swept, which costs each re-arming to an earlier time about two
/// entries' reading, paid in one go. The buckets take 12 KB. Memory that was
/// needed once is kept for the next time.
#[derive(Debug)]
pub struct Wheel {
    ticks: Ticks,
    /// The tick that the wheel has come to. Of all that is filed for it or
    /// before, the rest is in `draining`, in `batch` or at [`Place::LATE`].
    now: u64,
    records: Vec<Record>,
    buckets: Buckets,
    /// The bucket that is being emptied.
    draining: Chain,
    drained_place: Place,
    batch: Batch,
    /// What was late has had its turn since the wheel last moved.
    late_served: bool,
    armed: usize,
}

impl Wheel {
    /// The shortest tick. With it, 64 bits of nanoseconds are fewer than 2⁵³
    /// ticks.
    pub const SHORTEST_TICK: Duration = Duration::from_micros(10);

    /// One more than the highest index that a timer can have.
    pub const MAX_TIMERS: u32 = 1 << 30;

    /// A wheel without timers. A tick shorter than
    /// [`SHORTEST_TICK`](Self::SHORTEST_TICK) is taken as that. Deadlines up
    /// to `start` count as passed.
    #[must_use]
    pub fn new(tick: Duration, start: Time) -> Self {
        Self::with_capacity(tick, start, 0)
    }

    /// A wheel that needs no more memory for `timers` timers, unless they are
    /// re-armed to earlier times.
    #[must_use]
    pub fn with_capacity(tick: Duration, start: Time, timers: usize) -> Self {
        let tick = Time::from_origin(tick.max(Self::SHORTEST_TICK));
        let mut wheel = Self {
            ticks: Ticks::of(tick.as_nanos()),
            now: 0,
            records: vec![Record::IDLE; timers],
            buckets: Buckets::with_capacity(timers),
            draining: Chain::EMPTY,
            drained_place: Place::LATE,
            batch: Batch::EMPTY,
            late_served: false,
            armed: 0,
        };
        wheel.now = wheel.ticks.passed(start);
        wheel
    }

    /// Sets a timer to expire at `deadline`, in place of what it was set to.
    ///
    /// # Panics
    /// If `timer` is not below [`MAX_TIMERS`](Self::MAX_TIMERS).
    #[inline]
    pub fn arm(&mut self, timer: u32, deadline: Time) {
        let deadline = self.ticks.until(deadline);
        let Some(record) = self.records.get_mut(timer as usize) else {
            return self.arm_new(timer, deadline);
        };
        let left = record.place();
        self.armed += usize::from(!record.is_armed());
        let due = deadline.max(self.now);
        if left.tick(self.now) <= due {
            *record = Record::new(deadline, left);
            return;
        }
        let place = match due == self.now {
            true => Place::LATE,
            false => Place::ahead(due, self.now),
        };
        *record = Record::new(deadline, place);
        let pushed = self.buckets.push_if_room(place, timer);
        let sweep = left != Place::NOWHERE && self.buckets.leave(left);
        if !pushed || sweep {
            self.finish_arming(timer, pushed, sweep.then_some(left));
        }
    }

    /// The first time that an index is that high.
    #[cold]
    fn arm_new(&mut self, timer: u32, deadline: u64) {
        self.grow(timer);
        let place = match deadline <= self.now {
            true => Place::LATE,
            false => Place::ahead(deadline, self.now),
        };
        self.records[timer as usize] = Record::new(deadline, place);
        self.buckets.push(place, timer);
        self.armed += 1;
    }

    /// What arming seldom needs; apart, so that the rest of it is short: the
    /// more operations the processor has under way, the more cache misses it
    /// waits for at a time.
    #[cold]
    fn finish_arming(&mut self, timer: u32, pushed: bool, sweep: Option<Place>) {
        if !pushed {
            let place = self.records[timer as usize].place();
            self.buckets.push(place, timer);
        }
        if let Some(left) = sweep {
            self.sweep(left);
        }
    }

    /// Makes a timer not expire. Does nothing if it is not armed.
    #[inline]
    pub fn cancel(&mut self, timer: u32) {
        if let Some(record) = self.records.get_mut(timer as usize) {
            self.armed -= usize::from(record.is_armed());
            *record = record.cancelled();
        }
    }

    /// When the timer expires: its deadline, rounded up to a whole tick.
    #[must_use]
    pub fn deadline(&self, timer: u32) -> Option<Time> {
        let record = self.records.get(timer as usize)?;
        record
            .is_armed()
            .then(|| self.ticks.time_of(record.deadline()))
    }

    /// When to ask for expired timers again; `None` when no timer is armed.
    ///
    /// Never later than the first expiry, and not after the wheel's time when
    /// something is due already. It may be earlier, since the wheel
    /// is lazy, and since it looks at coarse buckets before their timers are
    /// due: then nothing expires at that time, but the wheel comes further. So
    /// a loop that pops up to each `next_expiry` ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        if self.armed == 0 {
            return None;
        }
        let waiting = !self.batch.timers().is_empty()
            || !self.draining.is_empty()
            || !self.buckets.is_empty(Place::LATE);
        let tick = match waiting {
            true => self.now,
            false => self.buckets.next_tick(self.now)?,
        };
        Some(self.ticks.time_of(tick))
    }

    /// A timer that has expired, which is not armed any more by that; `None`
    /// when there is no other.
    ///
    /// Timers may be armed and cancelled between the calls. One that is armed
    /// for a time that has passed is popped soon, but has its turn after
    /// others: calls with one `now` come to `None` even if each timer is
    /// armed anew for the past.
    ///
    /// A caller that stops before `None` goes on where it stopped. What it arms
    /// for the past meanwhile may come after the next `None` only;
    /// [`next_expiry`](Self::next_expiry) tells that it is there.
    #[inline]
    pub fn pop(&mut self, now: Time) -> Option<u32> {
        let mut timer = [0];
        (self.pop_batch(now, &mut timer) == 1).then_some(timer[0])
    }

    /// Fills `batch` with timers that have expired, as [`pop`](Self::pop)
    /// does, and says how many: fewer than there is room for, when there are
    /// no others; 0 at the end. Faster than one by one, since the processor
    /// fetches many timers' words at a time.
    pub fn pop_batch(&mut self, now: Time, batch: &mut [u32]) -> usize {
        let target = self.ticks.passed(now);
        let mut popped = 0;
        while popped < batch.len() {
            let Some(timer) = self.batch.pop() else {
                if self.next_batch(target) {
                    continue;
                }
                break;
            };
            batch[popped] = timer;
            popped += usize::from(self.expire(timer));
        }
        if popped == 0 && !batch.is_empty() {
            self.late_served = false;
        }
        popped
    }

    /// How many timers are armed.
    #[must_use]
    pub const fn armed(&self) -> usize {
        self.armed
    }

    /// Bytes allocated.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.buckets.memory()
    }

    /// Looks at an entry of the bucket that is being emptied. Says whether its
    /// timer has expired.
    ///
    /// What makes copies harmless: after this, or [`refile`](Self::refile),
    /// the record names another place than the bucket that is being emptied,
    /// since nothing is filed at or before `now` but [`Place::LATE`], and a
    /// timer has one entry there: it leaves that place by this function alone.
    /// So a second entry of the timer in the same bucket is passed over.
    #[inline]
    fn expire(&mut self, timer: u32) -> bool {
        let record = &mut self.records[timer as usize];
        if record.place() != self.drained_place {
            return false;
        }
        let expired = record.deadline() <= self.now;
        if expired || !record.is_armed() {
            *record = Record::IDLE;
            self.armed -= usize::from(expired);
            return expired;
        }
        // Re-armed to a later time since it was filed.
        let record = *record;
        self.refile(timer, record);
        false
    }

    /// Gives the timer's entry, which was taken out of its bucket, a place
    /// farther on.
    #[inline]
    fn refile(&mut self, timer: u32, record: Record) {
        let place = Place::ahead(record.deadline(), self.now);
        self.records[timer as usize] = record.filed(place);
        self.buckets.push(place, timer);
    }

    /// Gets entries that may have expired at the tick `target`.
    fn next_batch(&mut self, target: u64) -> bool {
        loop {
            if self.buckets.next_batch(&mut self.draining, &mut self.batch) {
                let (records, place) = (&self.records, self.drained_place);
                self.batch
                    .retain(|timer| records[timer as usize].place() == place);
                return true;
            }
            if !self.late_served && !self.buckets.is_empty(Place::LATE) {
                self.late_served = true;
                self.drained_place = Place::LATE;
            } else if self.advance(target) {
                self.late_served = false;
                self.drained_place = Place::of(0, self.now);
            } else {
                return false;
            }
            self.draining = self.buckets.take(self.drained_place);
        }
    }

    /// Moves to the next tick at which a bucket is come upon, and files what
    /// is in the coarse ones on finer levels. Says whether there is such a
    /// tick up to `target`; else moves there.
    fn advance(&mut self, target: u64) -> bool {
        let Some(next) = self.buckets.next_tick(self.now).filter(|t| *t <= target) else {
            self.now = self.now.max(target);
            return false;
        };
        self.now = next;
        // The coarse buckets that are come upon at this tick.
        for level in (1..LEVELS).filter(|level| next.trailing_zeros() >= 8 * level) {
            self.cascade(Place::of(level, next));
        }
        true
    }

    fn cascade(&mut self, place: Place) {
        let mut chain = self.buckets.take(place);
        let mut batch = Batch::EMPTY;
        while self.buckets.next_batch(&mut chain, &mut batch) {
            let records = &self.records;
            batch.retain(|timer| records[timer as usize].place() == place);
            for &timer in batch.timers() {
                let record = self.records[timer as usize];
                if record.place() != place {
                    continue;
                }
                if record.is_armed() {
                    self.refile(timer, record);
                } else {
                    self.records[timer as usize] = Record::IDLE;
                }
            }
        }
    }

    /// Drops the entries of a bucket that are not valid.
    #[cold]
    fn sweep(&mut self, place: Place) {
        let mut chain = self.buckets.take(place);
        let mut batch = Batch::EMPTY;
        while self.buckets.next_batch(&mut chain, &mut batch) {
            for &timer in batch.timers() {
                let record = &mut self.records[timer as usize];
                if record.place() == place {
                    // A copy must not be taken for the entry.
                    *record = record.filed(Place::SEEN);
                    self.buckets.push(place, timer);
                }
            }
        }
        for timer in self.buckets.entries(place) {
            let record = &mut self.records[timer as usize];
            *record = record.filed(place);
        }
    }

    #[cold]
    fn grow(&mut self, timer: u32) {
        assert!(
            timer < Self::MAX_TIMERS,
            "timer {timer}: a wheel's timers are numbered below 2^30"
        );
        let len = timer as usize + 1;
        if len > self.records.capacity() {
            // In steps of a quarter, so that no more than that is idle.
            let spare = self.records.len() / 4 + 16;
            let more = (len - self.records.len()).max(spare);
            self.records.reserve_exact(more);
        }
        self.records.resize(len, Record::IDLE);
    }
}
