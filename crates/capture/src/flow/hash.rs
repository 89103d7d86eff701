//! The keyed hash of a flow's key.
//!
//! Multilinear hashing of 32-bit words (Carter and Wegman 1979; Lemire and
//! Kaser, "Strongly universal string hashing is fast", 2014): for any two
//! keys that were chosen without knowing the secret, the chance that their
//! hashes share a bucket is one in as many as there are buckets. A file is
//! written before the secret is drawn, so whatever stands in it, chains stay
//! as short as with random keys.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Words of the longest key.
pub(crate) const MAX_WORDS: usize = 11;

/// The secret of one tracker.
#[derive(Debug, Clone)]
pub(crate) struct Secret([u64; MAX_WORDS + 1]);

impl Secret {
    /// Drawn from the process's random state, stretched by its SipHash.
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self(std::array::from_fn(|index| {
            let mut hasher = state.build_hasher();
            hasher.write_usize(index);
            hasher.finish()
        }))
    }

    /// 32 strongly universal bits. `N` is at most [`MAX_WORDS`].
    #[inline]
    pub(crate) fn hash<const N: usize>(&self, words: &[u32; N]) -> u32 {
        const { assert!(N <= MAX_WORDS) };
        let sum = self.0[1..]
            .iter()
            .zip(words)
            .fold(self.0[0], |sum, (&factor, &word)| {
                sum.wrapping_add(factor.wrapping_mul(u64::from(word)))
            });
        (sum >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        let key = [1, 2, 3, 4, 5];
        let hashes: std::collections::HashSet<_> =
            (0..8).map(|_| Secret::random().hash(&key)).collect();
        assert!(hashes.len() > 1);
    }

    #[test]
    fn keys_in_a_row_spread_over_the_buckets() {
        let secret = Secret::random();
        let mut buckets = vec![0_u32; 1 << 12];
        for word in 0..1 << 12 {
            buckets[(secret.hash(&[7, word, 9]) & 0xfff) as usize] += 1;
        }
        // Random keys leave 37 % of the buckets empty.
        let empty = buckets.iter().filter(|&&keys| keys == 0).count();
        assert!(empty < 3 << 10, "{empty} of 4096 buckets are empty");
        assert!(buckets.iter().max() < Some(&64));
    }
}
