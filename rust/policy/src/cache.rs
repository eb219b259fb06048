//! What was decided before, by what it was decided on: bounded, and never wrong.
//!
//! What must always hold: an entry is found by all that the decision looked at, byte for byte, so nobody who chooses names
//! can make one decision pass for another. Two ways a bucket; what came first is pushed out.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const BUCKETS: usize = 1 << 13;
const WAYS: usize = 2;
/// Longer names are decided anew each time: so the table takes at most some 5 MiB.
const MOST: usize = 256;

/// What beside its strings a decision looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The session's context, by its number in the segment.
    pub(crate) context: u32,
    pub(crate) code: u16,
    pub(crate) bits: u8,
    /// Which strings of the row, and whether it has a status: presence bits.
    pub(crate) there: u32,
    /// Segments so far: a context's number means nothing in another one. 0 marks an empty entry.
    pub(crate) segment: u32,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    asked: Asked,
    answer: u16,
    strings: Box<[u8]>,
}

/// The table. It takes no memory until something is put into it.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: Vec<Entry>,
}

impl Cache {
    #[inline]
    fn bucket(asked: Asked, strings: &[u8]) -> usize {
        let seed = u64::from(asked.context) << 32 | u64::from(asked.code) << 8 | u64::from(asked.bits);
        xxh3_64_with_seed(strings, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as usize % BUCKETS * WAYS
    }

    /// What was decided on the same, or what is decided now.
    #[inline]
    pub(crate) fn get(&mut self, asked: Asked, strings: &[u8], decide: impl FnOnce() -> u16) -> u16 {
        let at = Self::bucket(asked, strings);
        for entry in self.entries.iter().skip(at).take(WAYS) {
            if entry.asked == asked && *entry.strings == *strings {
                return entry.answer;
            }
        }
        let answer = decide();
        self.put(at, Entry { asked, answer, strings: strings.into() });
        answer
    }

    #[cold]
    fn put(&mut self, at: usize, entry: Entry) {
        if entry.strings.len() > MOST {
            return;
        }
        if self.entries.is_empty() {
            self.entries = vec![Entry::default(); BUCKETS * WAYS];
        }
        self.entries.swap(at, at + 1);
        self.entries[at] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_question_has_the_same_answer() {
        let mut cache = Cache::default();
        let asked = Asked { context: 1, code: 64, bits: 0, there: 1, segment: 1 };
        assert_eq!(cache.get(asked, b"orders", || 1), 1);
        assert_eq!(cache.get(asked, b"orders", || unreachable!()), 1);
        for (other, strings) in [
            (Asked { context: 2, ..asked }, &b"orders"[..]),
            (Asked { code: 65, ..asked }, b"orders"),
            (Asked { bits: 8, ..asked }, b"orders"),
            (Asked { there: 2, ..asked }, b"orders"),
            (Asked { segment: 2, ..asked }, b"orders"),
            (asked, b"order"),
        ] {
            assert_eq!(cache.get(other, strings, || 2), 2);
        }
    }

    #[test]
    fn it_is_bounded_and_long_names_are_asked_for_anew() {
        let mut cache = Cache::default();
        let asked = |context| Asked { context, segment: 1, ..Asked::default() };
        for context in 0..100_000 {
            cache.get(asked(context), b"t", || 1);
        }
        assert_eq!(cache.entries.len(), BUCKETS * WAYS);
        let long = [b'x'; MOST + 1];
        assert_eq!(cache.get(asked(0), &long, || 1), 1);
        assert_eq!(cache.get(asked(0), &long, || 2), 2);
    }
}
