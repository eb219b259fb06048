//! The consumer's side of one lane.
//!
//! What must always hold: `released ≤ read ≤ polled ≤ tail`; what lies between `released` and `read` is still in the
//! file and can be read again; the head moves only after everything before it is zero.

use crate::lane::Parts;
use crate::sync::Ordering;
use crate::word::{self, Position};

/// How far the one consumer has come in a lane.
pub(crate) struct Reader {
    pub(crate) read: Position,
    pub(crate) released: Position,
    /// What was read last was given up: nobody knows whether all of it was committed.
    given_up: bool,
    /// The tail when it was last looked at, in words.
    polled: u32,
}

/// A committed record: the position of its payload, and its length in bytes.
pub(crate) struct Record {
    pub(crate) payload: u32,
    pub(crate) len: usize,
}

impl Reader {
    pub(crate) const fn new(start: Position) -> Self {
        Self { read: start, released: start, given_up: false, polled: start.units() }
    }

    pub(crate) fn poll(&mut self, parts: &Parts) -> bool {
        self.polled = word::units(parts.tail().load(Ordering::Acquire));
        self.polled != self.read.units()
    }

    #[inline]
    pub(crate) fn next(&mut self, parts: &Parts) -> Option<Record> {
        let (record, words) = self.peek(parts)?;
        self.read = self.read.after(words);
        Some(record)
    }

    /// The record at the read position, if it is committed, and the words it takes.
    #[inline]
    fn peek(&self, parts: &Parts) -> Option<(Record, u32)> {
        let at = self.read.units();
        let left = self.polled.wrapping_sub(at);
        if left == 0 {
            return None;
        }
        // Acquire: with the positive length comes the payload.
        let header = parts.word(at).load(Ordering::Acquire);
        let len = (word::length(header) as u32).wrapping_sub(word::HEADER as u32);
        // Below zero (an open claim, or no store yet) is far too long. The ordinal and the bounds always hold unless
        // somebody has scribbled over the file; then the lane stops here and is left to recovery.
        if len > parts.max_payload || header >> 32 != u64::from(self.read.ordinal()) {
            return None;
        }
        let words = word::record_words(len as usize);
        (words <= left).then_some((Record { payload: at.wrapping_add(1), len: len as usize }, words))
    }

    pub(crate) fn release(&mut self, parts: &Parts) {
        let words = self.read.units().wrapping_sub(self.released.units());
        if words == 0 {
            return;
        }
        if !self.given_up {
            // SAFETY: all of it was committed, and we alone may touch it until the store below gives it back.
            unsafe { parts.words.zero(self.released.units(), words) };
        }
        // Release: who sees the head sees the zeroes.
        parts.head().store(self.read.word(), Ordering::Release);
        self.released = self.read;
    }

    pub(crate) fn rewind(&mut self) {
        self.read = self.released;
        self.given_up = false;
    }

    /// What lies at the read position can never be a record: somebody has scribbled over the file.
    pub(crate) fn is_damaged(&self, parts: &Parts) -> bool {
        // The header first: whoever has stored one had moved the tail before.
        let header = parts.word(self.read.units()).load(Ordering::Acquire);
        let left = word::units(parts.tail().load(Ordering::Acquire)).wrapping_sub(self.read.units());
        // A claim that has not come to its header yet; or one that is still to come, and will store over what lies there.
        if header == 0 || left == 0 {
            return false;
        }
        let payload = word::length(header).unsigned_abs().wrapping_sub(word::HEADER as u32);
        payload > parts.max_payload
            || header >> 32 != u64::from(self.read.ordinal())
            || word::record_words(payload as usize) > left
    }

    /// Moves on to the tail of a lane that takes no more, whatever lies there; over how many claims. It stays as it is.
    pub(crate) fn give_up(&mut self, parts: &Parts) -> u64 {
        let tail = parts.tail_from(self.read);
        let claims = tail.claims.wrapping_sub(self.read.claims);
        self.read = tail;
        self.given_up = true;
        claims
    }

    /// Moves on over committed records without a look at them, to a position that another reading came to.
    pub(crate) fn skip_to(&mut self, parts: &Parts, to: Position) -> bool {
        self.poll(parts);
        let from = self.read;
        while self.read.pos < to.pos && self.next(parts).is_some() {}
        let there = self.read == to;
        if !there {
            self.read = from;
        }
        there
    }

    /// What lies between the read position and the tail as it is now.
    pub(crate) fn backlog(&self, parts: &Parts) -> (u64, u64) {
        let tail = parts.tail_from(self.read);
        (tail.pos.wrapping_sub(self.read.pos), tail.claims.wrapping_sub(self.read.claims))
    }

    /// The tail is ahead, but what lies at the read position is not (yet) a committed record.
    pub(crate) fn stuck(&self, parts: &Parts) -> bool {
        let now = Self { polled: word::units(parts.tail().load(Ordering::Acquire)), ..*self };
        now.polled != now.read.units() && now.peek(parts).is_none()
    }

    pub(crate) fn drained(&self, parts: &Parts) -> bool {
        let tail = parts.tail().load(Ordering::Acquire);
        tail & word::CLOSED != 0 && word::units(tail) == self.read.units()
    }

    /// Whether a consumer that has told producers that it sleeps may really do so.
    pub(crate) fn may_sleep(&self, parts: &Parts) -> MaySleep {
        // SeqCst: after `sleeping` was set, see there.
        let tail = word::units(parts.tail().load(Ordering::SeqCst));
        if tail.wrapping_sub(self.released.units()) <= parts.crowd || tail == self.read.units() {
            MaySleep::Yes
        } else if self.stuck(parts) {
            MaySleep::Briefly
        } else {
            MaySleep::No
        }
    }
}

/// See [`Reader::may_sleep`]. In the order of how much it forbids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MaySleep {
    /// The next producer to crowd the lane sees us asleep.
    Yes,
    /// Crowded behind an open claim: its commit need not see us asleep, so we look again soon.
    Briefly,
    /// Crowded, and there is something to read.
    No,
}
