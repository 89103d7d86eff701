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

/// The first chunk alone may have room left.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    chunk: u32,
    /// Entries in the first chunk; all, when there is none.
    fill: u32,
    /// How many timers have their valid entry here.
    valid: u32,
    /// How many entries are left behind: by timers that are filed elsewhere,
    /// or that came back to where they had left one.
    stale: u32,
}

const EMPTY: Bucket = Bucket {
    chunk: NIL,
    fill: ENTRIES as u32,
    valid: 0,
    stale: 0,
};

/// A bucket's entries, taken out of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    chunk: u32,
    fill: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self {
        chunk: NIL,
        fill: 0,
    };

    pub(super) const fn is_empty(&self) -> bool {
        self.chunk == NIL
    }
}

/// The entries of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    timers: [u32; ENTRIES],
    len: usize,
}

impl Batch {
    pub(super) const EMPTY: Self = Self {
        timers: [0; ENTRIES],
        len: 0,
    };

    pub(super) fn timers(&self) -> &[u32] {
        &self.timers[..self.len]
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        self.timers.get(self.len).copied()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let mut kept = 0;
        for at in 0..self.len {
            let timer = self.timers[at];
            self.timers[kept] = timer;
            kept += usize::from(keep(timer));
        }
        self.len = kept;
    }
}

#[derive(Debug)]
pub(super) struct Buckets {
    buckets: Box<[Bucket; Place::COUNT]>,
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
            buckets: vec![EMPTY; Place::COUNT]
                .into_boxed_slice()
                .try_into()
                .expect("as many as were asked for"),
            occupied: [[0; 4]; LEVELS as usize],
            pool,
            free: NIL,
        }
    }

    /// Adds a timer's valid entry.
    #[inline]
    pub(super) fn push(&mut self, place: Place, timer: u32) {
        if self.buckets[place.index()].fill == ENTRIES as u32 {
            self.add_chunk(place);
        }
        let bucket = &mut self.buckets[place.index()];
        self.pool[bucket.chunk as usize].timers[bucket.fill as usize] = timer;
        bucket.fill += 1;
        bucket.valid += 1;
    }

    fn add_chunk(&mut self, place: Place) {
        let bucket = &mut self.buckets[place.index()];
        if let (NIL, Some((level, index))) = (bucket.chunk, place.bucket()) {
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
            u32::try_from(self.pool.len() - 1).expect("2^31 timers have fewer chunks")
        } else {
            let chunk = self.free;
            self.free = self.pool[chunk as usize].next;
            chunk
        };
        self.pool[chunk as usize].next = bucket.chunk;
        bucket.chunk = chunk;
        bucket.fill = 0;
    }

    /// Notes that a timer's entry at `place` is valid no more. Says whether it
    /// is time to sweep: more is left behind than valid.
    pub(super) fn leave(&mut self, place: Place) -> bool {
        let bucket = &mut self.buckets[place.index()];
        bucket.valid -= 1;
        bucket.stale += 1;
        bucket.stale > bucket.valid + STALE_ALLOWED
    }

    /// Takes all entries of a bucket out.
    pub(super) fn take(&mut self, place: Place) -> Chain {
        let bucket = core::mem::replace(&mut self.buckets[place.index()], EMPTY);
        if let Some((level, index)) = place.bucket() {
            self.occupied[level][index / 64] &= !(1 << (index % 64));
        }
        Chain {
            chunk: bucket.chunk,
            fill: if bucket.chunk == NIL { 0 } else { bucket.fill },
        }
    }

    /// The next entries of what was taken out; their chunk is free again.
    #[inline]
    pub(super) fn next_batch(&mut self, chain: &mut Chain) -> Option<Batch> {
        if chain.chunk == NIL {
            return None;
        }
        let chunk = &mut self.pool[chain.chunk as usize];
        let batch = Batch {
            timers: chunk.timers,
            len: chain.fill as usize,
        };
        let next = core::mem::replace(&mut chunk.next, self.free);
        self.free = chain.chunk;
        *chain = Chain {
            chunk: next,
            fill: ENTRIES as u32,
        };
        Some(batch)
    }

    /// What is in a bucket, for reading.
    pub(super) fn entries(&self, place: Place) -> impl Iterator<Item = u32> {
        let bucket = self.buckets[place.index()];
        let mut chunk = bucket.chunk;
        let mut fill = bucket.fill as usize;
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
        self.buckets[place.index()].chunk == NIL
    }

    /// The first tick after `now` at which a bucket with entries is come upon.
    pub(super) fn next_tick(&self, now: u64) -> Option<u64> {
        let mut next = None;
        for (level, occupied) in (0..LEVELS).zip(&self.occupied) {
            // Coarser buckets are come upon at multiples of 256 ticks; a finer
            // one before the next of those comes first.
            if level == 1 && next.is_some_and(|tick| tick <= now | 255) {
                break;
            }
            let Some((_, index)) = Place::of(level, now).bucket() else {
                break;
            };
            if let Some(ahead) = first_after(occupied, index) {
                let shift = 8 * level;
                let tick = ((now >> shift) + ahead) << shift;
                if next.is_none_or(|next| tick < next) {
                    next = Some(tick);
                }
            }
        }
        next
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.buckets) + self.pool.capacity() * size_of::<Chunk>()
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
        let bucket = self.buckets[place.index()];
        assert_eq!(bucket.valid as usize, valid);
        assert_eq!((bucket.valid + bucket.stale) as usize, entries);
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
            let mut seen = 0;
            while let Some(batch) = buckets.next_batch(&mut chain) {
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
