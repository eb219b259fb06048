//! Distinct strings, numbered in order of appearance: the dictionary of one column.

use super::text::strings;
use crate::Malformed;
use arrow_array::StringArray;
use arrow_schema::ArrowError;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// The strings so far.
#[derive(Default)]
pub(super) struct Interner {
    table: HashTable<i32>,
    /// End of each string in `bytes`.
    ends: Vec<i32>,
    bytes: Vec<u8>,
    /// The number that was given last.
    last: i32,
}

impl Interner {
    /// The number of a string. Whether it is UTF-8 is checked once, when a distinct one is first met.
    #[inline]
    pub(super) fn intern(&mut self, text: &[u8]) -> Result<i32, Malformed> {
        // Names come in runs: one request is about one topic.
        if !self.ends.is_empty() && self.get(self.last) == text {
            return Ok(self.last);
        }
        let hash = xxh3_64(text);
        self.last = match self.table.find(hash, |key| self.get(*key) == text) {
            Some(key) => *key,
            None => self.insert(hash, text)?,
        };
        Ok(self.last)
    }

    #[cold]
    fn insert(&mut self, hash: u64, text: &[u8]) -> Result<i32, Malformed> {
        if std::str::from_utf8(text).is_err() {
            return Err(Malformed::Text);
        }
        let key = self.ends.len() as i32;
        self.bytes.extend_from_slice(text);
        self.ends.push(i32::try_from(self.bytes.len()).map_err(|_| Malformed::Length)?);
        let Self { table, ends, bytes, .. } = self;
        table.insert_unique(hash, key, |key| xxh3_64(slice(ends, bytes, *key)));
        Ok(key)
    }

    /// The string of a number.
    #[inline]
    pub(super) fn get(&self, key: i32) -> &[u8] {
        slice(&self.ends, &self.bytes, key)
    }

    /// The strings as an array.
    pub(super) fn finish(self) -> Result<StringArray, ArrowError> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend_from_slice(&self.ends);
        strings(offsets, self.bytes, None)
    }
}

#[inline]
fn slice<'a>(ends: &[i32], bytes: &'a [u8], key: i32) -> &'a [u8] {
    let key = key as usize;
    let begin = if key == 0 { 0 } else { ends[key - 1] as usize };
    &bytes[begin..ends[key] as usize]
}
