//! The records of one partition, batch by batch: their heads are read, the records are stepped over.
//!
//! ```text
//! base offset 8 │ length 4 │ leader epoch 4 │ magic 1 = 2 │ crc 4 │ attributes 2 │ last offset delta 4 │ timestamps 16 │
//! producer id 8, epoch 2 │ base sequence 4 │ how many records 4 │ records
//!
//! offset 8 │ length 4 │ crc 4 │ magic 1 = 0 or 1 │ attributes 1 │ …          a message of the formats before that
//! ```
//!
//! What must always hold: nothing is guessed. What a head does not say, or says in a way that cannot be, is not known.

use crate::cursor::{Cursor, Step};

/// Up to the magic byte, which lies at one place in all formats.
const FIXED: usize = 17;
/// The head of a batch.
const HEAD: usize = 61;
/// The shortest message of the old formats.
const LEGACY: usize = 26;
/// The bits of a message's attributes that say how it is compressed.
const COMPRESSION: i8 = 7;

/// One batch, or one message of the old formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
    pub(crate) records: Option<i64>,
    /// Bytes of the whole batch.
    pub(crate) bytes: i64,
}

/// What is left of a partition's records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batches {
    left: usize,
}

impl Batches {
    pub(crate) const fn new(len: usize) -> Self {
        Self { left: len }
    }

    /// Whether all of them are behind us.
    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.left == 0
    }

    /// Reads the head of the next batch, and says how many bytes there are to step over behind it. None where what is left
    /// is the begin of a batch alone, which no consumer can read.
    #[inline]
    pub(crate) fn step(&mut self, cursor: &mut Cursor<'_>) -> Step<(Option<Batch>, usize)> {
        if self.left < FIXED {
            return Ok((None, std::mem::take(&mut self.left)));
        }
        let base = cursor.i64()?;
        let len = cursor.i32()?;
        let _epoch_or_crc = cursor.i32()?;
        let magic = cursor.i8()?;
        let Some(bytes) = usize::try_from(len).ok().map(|len| len + 12) else {
            return Ok((Some(self.unreadable(self.left)), self.rest(FIXED)));
        };
        if bytes > self.left {
            return Ok((None, self.rest(FIXED)));
        }
        let (batch, read) = match magic {
            2 if bytes >= HEAD => {
                let head = cursor.take(HEAD - FIXED)?;
                (batch(base, head, bytes), HEAD)
            }
            0 | 1 if bytes >= LEGACY => (message(base, cursor.i8()?, bytes), FIXED + 1),
            _ if bytes >= FIXED => (self.unreadable(bytes), FIXED),
            _ => return Ok((Some(self.unreadable(self.left)), self.rest(FIXED))),
        };
        self.left -= bytes;
        Ok((Some(batch), bytes - read))
    }

    /// All that is left, of which so much was read.
    fn rest(&mut self, read: usize) -> usize {
        std::mem::take(&mut self.left) - read
    }

    #[allow(clippy::unused_self, reason = "reads as what it is where it is called")]
    const fn unreadable(self, bytes: usize) -> Batch {
        Batch { first: None, last: None, records: None, bytes: bytes as i64 }
    }
}

/// A batch by its head behind the magic byte.
#[inline]
fn batch(base: i64, head: &[u8], bytes: usize) -> Batch {
    let number =
        |at: usize| head.get(at..).and_then(|rest| rest.first_chunk()).map_or(-1, |raw| i32::from_be_bytes(*raw));
    let (delta, records) = (number(6), number(40));
    let last = (base >= 0 && delta >= 0).then(|| base.checked_add(delta.into())).flatten();
    Batch { first: last.map(|_| base), last, records: (records >= 0).then_some(records.into()), bytes: bytes as i64 }
}

/// A message of the old formats. One that is compressed stands for those inside it and bears the offset of their last one;
/// how many they are can only be seen by unpacking it.
fn message(offset: i64, attributes: i8, bytes: usize) -> Batch {
    let last = (offset >= 0).then_some(offset);
    let single = attributes & COMPRESSION == 0;
    Batch { first: last.filter(|_| single), last, records: single.then_some(1), bytes: bytes as i64 }
}
