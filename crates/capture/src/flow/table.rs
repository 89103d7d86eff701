//! Where live flows are kept: entries in blocks that never move, found through
//! chains. At 1,000,000 flows this costs 4 bytes a flow beside the entries.

use super::hash::Secret;
use super::state::Common;

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries in one block.
const BLOCK: usize = 1 << 10;
const BLOCK_BITS: u32 = BLOCK.trailing_zeros();
const FIRST_BUCKETS: usize = 1 << 10;

/// A flow, its key and its place in a chain.
#[derive(Debug)]
pub(crate) struct Entry<const N: usize> {
    pub(crate) key: [u32; N],
    /// The next of the bucket's chain, or of the free entries.
    next: u32,
    pub(crate) common: Common,
}

/// Live flows by key.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    secret: Secret,
    buckets: Vec<u32>,
    blocks: Vec<Vec<Entry<N>>>,
    free: u32,
    live: usize,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(secret: Secret) -> Self {
        Self {
            secret,
            buckets: vec![NONE; FIRST_BUCKETS],
            blocks: Vec::new(),
            free: NONE,
            live: 0,
        }
    }

    /// Flows that are in it.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        self.buckets.capacity() * size_of::<u32>()
            + self.blocks.capacity() * size_of::<Vec<Entry<N>>>()
            + self.blocks.len() * BLOCK * size_of::<Entry<N>>()
    }

    pub(crate) fn entry(&mut self, index: u32) -> &mut Entry<N> {
        &mut self.blocks[(index >> BLOCK_BITS) as usize][index as usize & (BLOCK - 1)]
    }

    /// The entry with this key, if there is one.
    #[inline]
    pub(crate) fn find(&mut self, key: &[u32; N]) -> Option<u32> {
        let mut index = self.buckets[self.bucket(key)];
        while index != NONE {
            let entry = self.entry(index);
            if entry.key == *key {
                return Some(index);
            }
            index = entry.next;
        }
        None
    }

    /// Puts a flow in whose key is not there yet. `None` when all of the
    /// 2³² − 1 indices are taken.
    pub(crate) fn insert(&mut self, key: [u32; N], common: Common) -> Option<u32> {
        if self.live >= self.buckets.len() {
            self.grow();
        }
        let bucket = self.bucket(&key);
        let entry = Entry {
            key,
            next: self.buckets[bucket],
            common,
        };
        let index = if self.free == NONE {
            self.append(entry)?
        } else {
            let index = self.free;
            let place = self.entry(index);
            let next_free = place.next;
            *place = entry;
            self.free = next_free;
            index
        };
        self.buckets[bucket] = index;
        self.live += 1;
        Some(index)
    }

    /// Takes a flow out. The index may be given to another flow after that.
    pub(crate) fn remove(&mut self, index: u32) -> ([u32; N], Common) {
        let key = self.entry(index).key;
        let bucket = self.bucket(&key);
        let next = self.entry(index).next;
        if self.buckets[bucket] == index {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket];
            while self.entry(before).next != index {
                before = self.entry(before).next;
            }
            self.entry(before).next = next;
        }
        self.live -= 1;
        let free = self.free;
        let entry = self.entry(index);
        entry.next = free;
        let common = std::mem::replace(&mut entry.common, Common::VACANT);
        self.free = index;
        (key, common)
    }

    /// The first live flow at this index or behind it.
    pub(crate) fn next_live(&mut self, from: u32) -> Option<u32> {
        let end = self.indices();
        (from..end).find(|&index| !self.entry(index).common.is_vacant())
    }

    /// One more than the highest index that was ever taken.
    pub(crate) fn indices(&self) -> u32 {
        // `append` keeps it below `NONE`.
        let full = self.blocks.len().saturating_sub(1) * BLOCK;
        (full + self.blocks.last().map_or(0, Vec::len)) as u32
    }

    fn append(&mut self, entry: Entry<N>) -> Option<u32> {
        let index = self.indices();
        if index == NONE {
            return None;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(entry);
        }
        Some(index)
    }

    #[inline]
    fn bucket(&self, key: &[u32; N]) -> usize {
        self.secret.hash(key) as usize & (self.buckets.len() - 1)
    }

    fn grow(&mut self) {
        self.buckets = vec![NONE; self.buckets.len() * 2];
        for index in 0..self.indices() {
            let entry = self.entry(index);
            if entry.common.is_vacant() {
                continue;
            }
            let key = entry.key;
            let bucket = self.bucket(&key);
            let first = std::mem::replace(&mut self.buckets[bucket], index);
            self.entry(index).next = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_what_was_taken_out_is_not() {
        let mut table = Table::<3>::new(Secret::random());
        for word in 0..5000 {
            assert!(table.find(&[1, 2, word]).is_none());
            table
                .insert([1, 2, word], Common::new(u64::from(word), 0, 0))
                .unwrap();
        }
        for word in (0..5000).step_by(2) {
            let index = table.find(&[1, 2, word]).unwrap();
            assert_eq!(table.remove(index).0, [1, 2, word]);
        }
        assert_eq!(table.live(), 2500);
        for word in 0..5000 {
            assert_eq!(table.find(&[1, 2, word]).is_some(), word % 2 == 1);
        }
        // Free places are taken before new ones.
        let before = table.indices();
        for word in 6000..8500 {
            table.insert([1, 2, word], Common::new(1, 0, 0)).unwrap();
        }
        assert_eq!(table.indices(), before);
        for word in (1..5000).step_by(2).chain(6000..8500) {
            assert!(table.find(&[1, 2, word]).is_some());
        }
    }

    #[test]
    fn a_flow_takes_what_was_promised() {
        assert_eq!(size_of::<Entry<5>>(), 104);
        assert_eq!(size_of::<Entry<11>>(), 128);
    }
}
