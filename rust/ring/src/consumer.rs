//! The consumer: the one that reads all lanes, and the only one that gives their space back.
//!
//! ```text
//!   poll → next, next, … → (the caller makes the batch safe) → release       in each lane
//!                                        └ failed: rewind, and read the same again
//! ```
//! What must always hold: nothing is zeroed and no head moves but in `release`; a consumer that goes (or panics) leaves
//! everything that it has not released to the next one.

use core::ops::Deref;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::lane::Parts;
use crate::reader::Reader;
use crate::ring::Ring;
use crate::sleep;
use crate::word::Position;

/// Reads a ring. There is at most one at a time; dropping it lets another take over at what was released.
///
/// Lanes are numbered as in [`Ring::lane`]; the methods panic where there is no such lane.
pub struct Consumer<R: Deref<Target = Ring> = Arc<Ring>> {
    readers: Box<[Reader]>,
    bell_seen: u32,
    ring: R,
}

/// A consumer that keeps its ring alive.
pub type OwnedConsumer = Consumer<Arc<Ring>>;

impl Ring {
    /// The right to consume, unless somebody has it.
    #[must_use]
    pub fn consumer(&self) -> Option<Consumer<&Self>> {
        Consumer::of(self)
    }
}

/// As [`Ring::consumer`], with a share in the ring instead of a borrow.
#[must_use]
pub fn consumer_of(ring: Arc<Ring>) -> Option<OwnedConsumer> {
    Consumer::of(ring)
}

impl<R: Deref<Target = Ring>> Consumer<R> {
    fn of(ring: R) -> Option<Self> {
        // Acquire, with the release in `drop`: we go on where the last consumer stopped.
        if ring.consumed.swap(true, Ordering::Acquire) {
            return None;
        }
        let readers = ring.resume().iter().map(|&at| Reader::new(at)).collect();
        Some(Self { readers, bell_seen: ring.bell().rung(), ring })
    }

    /// The ring that is read.
    #[must_use]
    pub fn ring(&self) -> &R {
        &self.ring
    }

    fn parts(&self, lane: u32) -> &Parts {
        &self.ring.parts()[lane as usize]
    }

    fn reader(&self, lane: u32) -> &Reader {
        &self.readers[lane as usize]
    }

    /// Looks at the lane's tail: all that was committed before can be read by [`next`](Self::next). Says whether there
    /// is anything.
    pub fn poll(&mut self, lane: u32) -> bool {
        self.readers[lane as usize].poll(&self.ring.parts()[lane as usize])
    }

    /// The next record's payload, as long as it was claimed. Nothing at the polled tail, or in front of a claim that is
    /// still open.
    #[inline]
    pub fn next(&mut self, lane: u32) -> Option<&[u8]> {
        let parts = &self.ring.parts()[lane as usize];
        let record = self.readers[lane as usize].next(parts)?;
        // SAFETY: committed, so nobody writes to it until we release it, for which we would have to be borrowed anew.
        // Behind the lane's end its first bytes are mapped once more, and the reader has checked the length against the
        // greatest.
        Some(unsafe { core::slice::from_raw_parts(parts.words.at(record.payload).cast(), record.len) })
    }

    /// How far the lane has been read.
    #[must_use]
    pub fn position(&self, lane: u32) -> Position {
        self.reader(lane).read
    }

    /// How far its space has been given back.
    #[must_use]
    pub fn released(&self, lane: u32) -> Position {
        self.reader(lane).released
    }

    /// Gives back the space of all that was read since the last release: zeroes it, then moves the head.
    ///
    /// Only once all of it is safe elsewhere; from here on the ring no longer has it.
    pub fn release(&mut self, lane: u32) {
        self.readers[lane as usize].release(&self.ring.parts()[lane as usize]);
    }

    /// Goes back to what was released last: what was read since then is read again.
    pub fn rewind(&mut self, lane: u32) {
        self.readers[lane as usize].rewind();
    }

    /// Moves on, over committed records, to a position that an earlier consumer had already made safe but not yet
    /// released. False, and no move, if there is no such record boundary.
    pub fn skip_to(&mut self, lane: u32, to: Position) -> bool {
        self.readers[lane as usize].skip_to(&self.ring.parts()[lane as usize], to)
    }

    /// Bytes and claims between the read position and the tail.
    #[must_use]
    pub fn backlog(&self, lane: u32) -> (u64, u64) {
        self.reader(lane).backlog(self.parts(lane))
    }

    /// The tail is ahead, but the record at the read position is not committed: its writer is off the processor, or
    /// dead.
    #[must_use]
    pub fn stuck(&self, lane: u32) -> bool {
        self.reader(lane).stuck(self.parts(lane))
    }

    /// What lies at the read position can never be a record: somebody has scribbled over the file. It may be seen for a
    /// moment where a claim comes to store over it; if it stays, the lane goes no further.
    #[must_use]
    pub fn is_damaged(&self, lane: u32) -> bool {
        self.reader(lane).is_damaged(self.parts(lane))
    }

    /// Moves on to the tail, over what nobody can read any more; over how many claims. The lane has to be closed, and
    /// nothing of it is ever used again.
    pub fn give_up(&mut self, lane: u32) -> u64 {
        debug_assert!(self.ring.is_closed(), "a lane that takes more has no end");
        self.readers[lane as usize].give_up(&self.ring.parts()[lane as usize])
    }

    /// Every lane is closed and read to its end: nothing more will come.
    #[must_use]
    pub fn drained(&self) -> bool {
        self.ring.parts().iter().zip(&self.readers).all(|(parts, reader)| reader.drained(parts))
    }

    /// Sleeps until a lane is more than an eighth full, [`Ring::wake`] is called, or the time is over. It may also
    /// return for no reason, and does so at once if it was woken since it last slept.
    pub fn sleep(&mut self, timeout: Duration) {
        let ring: &Ring = &self.ring;
        sleep::sleep(ring.parts(), &self.readers, ring.bell(), &mut self.bell_seen, timeout);
    }
}

impl<R: Deref<Target = Ring>> Drop for Consumer<R> {
    fn drop(&mut self) {
        *self.ring.resume() = self.readers.iter().map(|reader| reader.released).collect();
        self.ring.consumed.store(false, Ordering::Release);
    }
}
