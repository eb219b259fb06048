//! Which (session, resource, action, tap) have been seen: a bounded table of 64-bit fingerprints.
//!
//! What must always hold: a first touch is never missed; it may be told twice, when its entry has been pushed out.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Ways of a bucket: one cache line of fingerprints.
const WAYS: usize = 8;

/// The seed that names a session in hashes; the empty name stands for "no session".
#[must_use]
pub fn session_hash(session: &str) -> u64 {
    xxh3_64_with_seed(session.as_bytes(), 0x5E55_1014)
}

/// The fingerprint of a touch. `tap` is the hash of the tap's name, 0 without one.
#[must_use]
#[inline]
pub fn touch_key(session: u64, code: u16, tap: u64, resource: &[u8]) -> u64 {
    // 0 marks an empty way; a real fingerprint of 0 is moved aside rather than missed.
    xxh3_64_with_seed(resource, session ^ tap.rotate_left(17) ^ (u64::from(code) << 48)).max(1)
}

/// The table: buckets of eight, the least recently inserted pushed out first.
#[derive(Debug)]
pub struct FirstTouch {
    buckets: Box<[[u64; WAYS]]>,
}

impl FirstTouch {
    /// Room for `entries` touches (rounded up to a power of two); 8 bytes each, never more.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        let buckets = (entries / WAYS).max(1).next_power_of_two();
        Self { buckets: vec![[0; WAYS]; buckets].into_boxed_slice() }
    }

    /// Whether `key` comes for the first time, as far as the table remembers.
    #[inline]
    pub fn first(&mut self, key: u64) -> bool {
        let index = (key >> 16) as usize & (self.buckets.len() - 1);
        let bucket = &mut self.buckets[index];
        if bucket.contains(&key) {
            return false;
        }
        bucket.copy_within(0..WAYS - 1, 1);
        bucket[0] = key;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn within_its_bound_each_touch_is_told_once() {
        let mut table = FirstTouch::new(1 << 16);
        let mut told = 0;
        for round in 0..3 {
            for session in 0..20_u32 {
                for topic in 0..50_u32 {
                    let key = touch_key(session_hash(&session.to_string()), 1, 0, topic.to_string().as_bytes());
                    let first = table.first(key);
                    assert!(!first || round == 0);
                    told += u32::from(first);
                }
            }
        }
        assert_eq!(told, 1000);
    }

    proptest! {
        #[test]
        fn a_first_touch_is_never_missed_however_small_the_table(keys in prop::collection::vec(1_u64..500, 0..400)) {
            let mut table = FirstTouch::new(8);
            let mut seen = HashSet::new();
            for key in keys {
                let key = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let first = table.first(key);
                prop_assert!(first || seen.contains(&key));
                seen.insert(key);
            }
        }
    }
}
