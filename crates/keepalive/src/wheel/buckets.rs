//! Buckets of timers: chains of chunks that share one pool.

use super::place::{LEVELS, Place};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Entries of a chunk.
const ENTRIES: usize = 15;

/// The chunk that is none: the pool's first.
const NIL: u32 = 0;

/// A cache line: 15 timers, and the next chunk of its chain or of the free
/// ones.
///
/// Lists that link the timers themselves would make expiry wait for one cache
/// miss after the other, since where the next timer is stands in the one
/// before. Here fifteen indices are known at once.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Chunk {
    timers: [u32; ENTRIES],
    next: u32,
}

/// The end of a chain: 28 bits for its first chunk, 4 for the entries in that;
/// all others are full. One word, so that adding an entry writes one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End(u32);

impl End {
    /// Without a chunk, and so without room.
    const NONE: Self = Self::new(NIL, ENTRIES as u32);

    const fn new(chunk: u32, fill: u32) -> Self {
        Self(chunk << 4 | fill)
    }

    const fn chunk(self) -> u32 {
        self.0 >> 4
    }

    const fn fill(self) -> usize {
        (self.0 & 15) as usize
    }
}

/// A bucket's entries, taken out of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain(End);

impl Chain {
    pub(super) const EMPTY: Self = Self(End::NONE);

    pub(super) const fn is_empty(&self) -> bool {
        self.0.chunk() == NIL
    }
}

/// Entries of a batch.
const BATCH: usize = CHUNKS * ENTRIES;

/// Chunks of a batch: so many that waiting for memory is shared by many
/// entries, so few that a batch stays in the nearest cache.
const CHUNKS: usize = 8;

/// Entries that were taken out of a bucket, to be looked at together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    timers: [u32; BATCH],
    len: usize,
}

impl Batch {
    pub(super) const EMPTY: Self = Self {
        timers: [0; BATCH],
        len: 0,
    };

    pub(super) fn timers(&self) -> &[u32] {
        &self.timers[..self.len]
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        self.timers.get(self.len).copied()
    }

    /// Drops the entries that `keep` says no to. Asks for all before anything
    /// depends on an answer, so that the cache misses that answers take are
    /// waited for together.
    #[inline]
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let mut kept = [false; BATCH];
        for (kept, &timer) in kept.iter_mut().zip(self.timers()) {
            *kept = keep(timer);
        }
        let mut len = 0;
        for (at, kept) in kept.iter().enumerate().take(self.len) {
            self.timers[len] = self.timers[at];
            len += usize::from(*kept);
        }
        self.len = len;
    }
}

#[derive(Debug)]
pub(super) struct Buckets {
    ends: Box<[End; Place::COUNT]>,
    /// How many timers have their valid entry in each bucket.
    valid: Box<[u32; Place::COUNT]>,
    /// How many entries were left behind in each: by timers that are filed
    /// elsewhere, or that came back to where they had left one.
    stale: Box<[u32; Place::COUNT]>,
    /// One bit for each bucket that has entries.
    occupied: [[u64; 4]; LEVELS as usize],
    pool: Vec<Chunk>,
    free: u32,
}

/// How many entries may be left behind in a bucket beside as many as are
/// valid, before it is swept: few enough to be no burden (1025 buckets × 64
/// entries × 4.3 bytes), enough to make it rare.
const STALE_ALLOWED: u32 = 64;

impl Buckets {
    pub(super) fn with_capacity(entries: usize) -> Self {
        // Each bucket has one chunk with room left.
        let chunks = match entries {
            0 => 1,
            _ => 1 + entries / ENTRIES + Place::COUNT.min(entries),
        };
        let mut pool = Vec::with_capacity(chunks);
        pool.push(Chunk {
            timers: [0; ENTRIES],
            next: NIL,
        });
        Self {
            ends: for_each_place(End::NONE),
            valid: for_each_place(0),
            stale: for_each_place(0),
            occupied: [[0; 4]; LEVELS as usize],
            pool,
            free: NIL,
        }
    }

    /// Adds a timer's valid entry.
    #[inline]
    pub(super) fn push(&mut self, place: Place, timer: u32) {
        if !self.push_if_room(place, timer) {
            self.add_chunk(place);
            self.push_if_room(place, timer);
        }
    }

    /// Adds a timer's valid entry, or says that [`push`](Self::push) has to:
    /// the bucket's first chunk is full.
    #[inline]
    pub(super) fn push_if_room(&mut self, place: Place, timer: u32) -> bool {
        let end = &mut self.ends[place.index()];
        let (chunk, fill) = (end.chunk() as usize, end.fill());
        if fill == ENTRIES {
            return false;
        }
        self.pool[chunk].timers[fill] = timer;
        end.0 += 1;
        self.valid[place.index()] += 1;
        true
    }

    #[cold]
    fn add_chunk(&mut self, place: Place) {
        let end = &mut self.ends[place.index()];
        if let (NIL, Some((level, index))) = (end.chunk(), place.bucket()) {
            self.occupied[level][index / 64] |= 1 << (index % 64);
        }
        let chunk = if self.free == NIL {
            // In steps of a quarter, so that no more than that is idle.
            if self.pool.len() == self.pool.capacity() {
                self.pool.reserve_exact(self.pool.len() / 4 + 16);
            }
            self.pool.push(Chunk {
                timers: [0; ENTRIES],
                next: NIL,
            });
            // 2^28 chunks hold two entries for each of 2^30 timers, and more.
            (self.pool.len() - 1) as u32
        } else {
            let chunk = self.free;
            self.free = self.pool[chunk as usize].next;
            chunk
        };
        self.pool[chunk as usize].next = end.chunk();
        *end = End::new(chunk, 0);
    }

    /// Notes that a timer's entry at `place` is valid no more. Says whether it
    /// is time to sweep: more is left behind than valid.
    ///
    /// Entries are left behind here alone, so if each time that this says so
    /// the bucket is swept, no bucket ever has more than `valid +
    /// STALE_ALLOWED + 1` of them. A timer is valid in one bucket at most:
    /// summed up, entries are at most twice the timers that are filed, and 65
    /// a bucket, whatever is done in whatever order. And since a sweep reads
    /// `valid + stale < 2 × stale` entries, of which `stale` go, each leaving
    /// pays for less than two entries.
    #[inline]
    pub(super) fn leave(&mut self, place: Place) -> bool {
        let (valid, stale) = (
            &mut self.valid[place.index()],
            &mut self.stale[place.index()],
        );
        *valid -= 1;
        *stale += 1;
        *stale > *valid + STALE_ALLOWED
    }

    /// Takes all entries of a bucket out.
    pub(super) fn take(&mut self, place: Place) -> Chain {
        self.valid[place.index()] = 0;
        self.stale[place.index()] = 0;
        if let Some((level, index)) = place.bucket() {
            self.occupied[level][index / 64] &= !(1 << (index % 64));
        }
        Chain(core::mem::replace(&mut self.ends[place.index()], End::NONE))
    }

    /// Copies the next entries of what was taken out; their chunks are free
    /// again. Says whether there were any.
    #[inline]
    pub(super) fn next_batch(&mut self, chain: &mut Chain, batch: &mut Batch) -> bool {
        batch.len = 0;
        while !chain.is_empty() && batch.len <= BATCH - ENTRIES {
            let index = chain.0.chunk();
            let chunk = &mut self.pool[index as usize];
            batch.timers[batch.len..][..ENTRIES].copy_from_slice(&chunk.timers);
            batch.len += chain.0.fill();
            chain.0 = End::new(chunk.next, ENTRIES as u32);
            chunk.next = self.free;
            self.free = index;
        }
        batch.len > 0
    }

    /// What is in a bucket, for reading.
    pub(super) fn entries(&self, place: Place) -> impl Iterator<Item = u32> {
        let end = self.ends[place.index()];
        let (mut chunk, mut fill) = (end.chunk(), end.fill());
        core::iter::from_fn(move || {
            if chunk == NIL {
                return None;
            }
            let this = &self.pool[chunk as usize];
            chunk = this.next;
            let timers = &this.timers[..fill];
            fill = ENTRIES;
            Some(timers)
        })
        .flatten()
        .copied()
    }

    pub(super) fn is_empty(&self, place: Place) -> bool {
        self.ends[place.index()].chunk() == NIL
    }

    /// The first tick after `now` at which a bucket with entries is come upon.
    #[inline]
    pub(super) fn next_tick(&self, now: u64) -> Option<u64> {
        // Coarser buckets are come upon at multiples of 256 ticks; a finer one
        // before the next of those comes first.
        let fine = self.next_tick_of(0, now);
        if fine.is_some_and(|tick| tick <= now | 255) {
            return fine;
        }
        (1..LEVELS)
            .filter_map(|level| self.next_tick_of(level, now))
            .chain(fine)
            .min()
    }

    #[inline]
    fn next_tick_of(&self, level: u32, now: u64) -> Option<u64> {
        let here = now >> (8 * level);
        let ahead = first_after(&self.occupied[level as usize], here as usize % 256)?;
        Some((here + ahead) << (8 * level))
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.ends)
            + size_of_val(&*self.valid)
            + size_of_val(&*self.stale)
            + self.pool.capacity() * size_of::<Chunk>()
    }
}

fn for_each_place<T: Copy>(value: T) -> Box<[T; Place::COUNT]> {
    match vec![value; Place::COUNT].try_into() {
        Ok(values) => values,
        Err(_) => unreachable!("as many as were asked for"),
    }
}

/// How far ahead of bit `index` the next set bit is, counted round the 256
/// bits: 1 to 255.
fn first_after(bits: &[u64; 4], index: usize) -> Option<u64> {
    let start = (index + 1) % 256;
    let mut word = start / 64;
    let mut found = bits[word] & u64::MAX << (start % 64);
    // Four words, and the first one's beginning at last.
    for _ in 0..5 {
        if found != 0 {
            let bit = word * 64 + found.trailing_zeros() as usize;
            return Some((bit.wrapping_sub(index) % 256) as u64);
        }
        word = (word + 1) % 4;
        found = bits[word];
    }
    None
}

#[cfg(test)]
impl Buckets {
    /// Compares what was counted with what is there.
    pub(super) fn check(&self, place: Place, entries: usize, valid: usize) {
        let counted = self.valid[place.index()];
        assert_eq!(counted as usize, valid);
        assert_eq!((counted + self.stale[place.index()]) as usize, entries);
        if let Some((level, index)) = place.bucket() {
            let bit = self.occupied[level][index / 64] >> (index % 64) & 1;
            assert_eq!(bit == 1, entries > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_bucket_is_found_wherever_it_is() {
        for index in 0..256 {
            assert_eq!(first_after(&[0; 4], index), None);
            for ahead in 1..256 {
                let mut bits = [0; 4];
                for bit in ahead..256 {
                    let bit = (index + bit) % 256;
                    bits[bit / 64] |= 1 << (bit % 64);
                }
                assert_eq!(first_after(&bits, index), Some(ahead as u64));
            }
        }
    }

    #[test]
    fn chunks_are_used_again() {
        let mut buckets = Buckets::with_capacity(0);
        let place = Place::of(0, 7);
        for round in 0..100 {
            for timer in 0..100 {
                buckets.push(place, timer);
            }
            assert_eq!(buckets.entries(place).count(), 100, "round {round}");
            let mut chain = buckets.take(place);
            let (mut seen, mut batch) = (0, Batch::EMPTY);
            while buckets.next_batch(&mut chain, &mut batch) {
                seen += batch.timers().len();
            }
            assert_eq!(seen, 100);
            assert!(buckets.is_empty(place));
        }
        assert!(
            buckets.pool.len() <= 1 + 100_usize.div_ceil(ENTRIES),
            "{}",
            buckets.pool.len()
        );
    }
}
