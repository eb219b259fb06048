//! The producers' side of a lane: claim room, write into it, commit.
//!
//! ```text
//!   free (zero)      read, not released   committed, unread        claimed         free (zero)
//! ──────────────────┬────────────────────┬──────────────────────┬─────────────────┬───────────
//!                  head               (consumer)                               tail
//! ```
//! What must always hold:
//! - A claim is one compare-and-swap of the tail, after the check for room, so a refusal leaves no trace.
//! - In program order: header with negative length, payload, header with positive length. A thread that dies anywhere
//!   leaves either nothing but its ordinal, or a header that says how far to step.
//! - Nothing from here on until the commit has returned allocates, blocks, panics or indexes with a check.

use crate::sleep::Bell;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Words, compiler_fence, sequential};
use crate::word::{self, Position};

/// Where one lane's words are, and its limits, in words. Made once, read by all, never changed.
pub(crate) struct Parts {
    pub(crate) tail: *const AtomicU64,
    pub(crate) head: *const AtomicU64,
    /// On the head's line, which a producer has just read anyway.
    pub(crate) sleeping: *const AtomicU32,
    pub(crate) bell: *const Bell,
    pub(crate) words: Words,
    /// What may be used by protected and by droppable records.
    pub(crate) room: [u32; 2],
    /// With more than this used, a commit wakes a sleeping consumer.
    pub(crate) crowd: u32,
    pub(crate) max_payload: u32,
}

// SAFETY: the pointers lead to atomics (and to words guarded by them) that live as long as the ring that owns the
// parts.
unsafe impl Send for Parts {}
// SAFETY: as above; nothing in here is changed after it was made.
unsafe impl Sync for Parts {}

impl Parts {
    #[inline(always)]
    pub(crate) fn tail(&self) -> &AtomicU64 {
        // SAFETY: whoever made the parts keeps the memory for as long as they live.
        unsafe { &*self.tail }
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> &AtomicU64 {
        // SAFETY: as `tail`.
        unsafe { &*self.head }
    }

    #[inline(always)]
    pub(crate) fn sleeping(&self) -> &AtomicU32 {
        // SAFETY: as `tail`.
        unsafe { &*self.sleeping }
    }

    pub(crate) fn bell(&self) -> &Bell {
        // SAFETY: as `tail`.
        unsafe { &*self.bell }
    }

    /// The word at a position.
    #[inline(always)]
    pub(crate) fn word(&self, position: u32) -> &AtomicU64 {
        // SAFETY: as `tail`; `at` never leaves the lane.
        unsafe { &*self.words.at(position) }
    }

    /// No further claim: sets `closed` in the tail, in one step with whatever else happens to it.
    pub(crate) fn close(&self) {
        self.tail().fetch_or(word::CLOSED, Ordering::SeqCst);
    }

    /// Out of line: a commit that found the lane crowded and the consumer asleep.
    #[cold]
    #[inline(never)]
    fn rouse(&self) {
        // Of all who see it set, one rings.
        if self.sleeping().swap(0, Ordering::SeqCst) != 0 {
            self.bell().ring();
        }
    }
}

/// Why nothing was claimed. Nothing has changed, and nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room at this moment, or, for a droppable record, only what is kept back for protected ones.
    Full,
    /// The lane takes no more: the ring was closed or replaced.
    Closed,
    /// Longer than the ring's records may be. Will never fit.
    TooLong,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the ring is full",
            Self::Closed => "the ring is closed",
            Self::TooLong => "the record is longer than the ring allows",
        })
    }
}

impl core::error::Error for Refusal {}

/// One lane, as a producer sees it: a pointer, to be copied about freely.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    parts: &'a Parts,
}

impl<'a> Lane<'a> {
    #[inline(always)]
    pub(crate) const fn new(parts: &'a Parts) -> Self {
        Self { parts }
    }

    /// Claims room for `len` payload bytes, contiguous and zero. Never blocks, never panics; a refusal has no side
    /// effect.
    ///
    /// A `droppable` record may not use the lane's reserve. Whoever holds a claim must go straight on to
    /// [`commit`](Claim::commit): until then the consumer can read nothing behind it.
    ///
    /// # Errors
    /// [`Refusal`] says why there is no room.
    #[inline(always)]
    pub fn claim(&self, len: usize, droppable: bool) -> Result<Claim<'a>, Refusal> {
        let parts = self.parts;
        if len > parts.max_payload as usize {
            return Err(Refusal::TooLong);
        }
        let words = word::record_words(len);
        // Does not underflow: a record of the greatest length fits into either room, or the ring would not have been
        // made.
        let most_used = parts.room[usize::from(droppable)].wrapping_sub(words);
        // Relaxed: the compare-and-swap finds out whether it is still true.
        let mut tail = parts.tail().load(Ordering::Relaxed);
        loop {
            if tail & word::CLOSED != 0 {
                return Err(Refusal::Closed);
            }
            // Acquire: the consumer has zeroed what lies behind the head before it stored it.
            let head = parts.head().load(Ordering::Acquire);
            let used = word::units(tail).wrapping_sub(word::units(head));
            if used > most_used {
                // A stale tail and a newer head look full, too (the difference goes below zero). The head that we read
                // was stored after its consumer saw a tail at or behind it, so this load sees that tail or a later one:
                // if it is the same as ours, the difference was true.
                let again = parts.tail().load(Ordering::Relaxed);
                if again == tail {
                    return Err(Refusal::Full);
                }
                tail = again;
                continue;
            }
            let next = word::claimed(tail, words);
            // SeqCst, against the consumer's `sleeping`: either it sees this tail before it sleeps, or our commit sees
            // it asleep.
            match parts.tail().compare_exchange_weak(tail, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    sequential();
                    return Ok(Claim::open(parts, tail, len, used.wrapping_add(words) > parts.crowd));
                }
                Err(now) => tail = now,
            }
        }
    }

    /// Whether a claim of that kind would have had room just now.
    #[must_use]
    pub fn has_room(&self, len: usize, droppable: bool) -> bool {
        let parts = self.parts;
        let words = u64::from(word::record_words(len.min(parts.max_payload as usize)));
        let tail = parts.tail().load(Ordering::Acquire);
        len <= parts.max_payload as usize
            && tail & word::CLOSED == 0
            && self.used() / 8 + words <= u64::from(parts.room[usize::from(droppable)])
    }

    /// Bytes between the head and the tail: what is not yet free again.
    #[must_use]
    pub fn used(&self) -> u64 {
        // The head first: read the other way round, it could be ahead.
        let head = self.parts.head().load(Ordering::Acquire);
        let tail = self.parts.tail().load(Ordering::Acquire);
        8 * u64::from(word::units(tail).wrapping_sub(word::units(head)))
    }

    /// Claims ever made in this lane, modulo 2³¹.
    #[must_use]
    pub fn claims(&self) -> u32 {
        word::claims(self.parts.tail().load(Ordering::Acquire))
    }

    /// Whether the lane takes no more claims.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.parts.tail().load(Ordering::Acquire) & word::CLOSED != 0
    }

    /// The greatest payload that a claim may ask for.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.parts.max_payload as usize
    }

    /// The same lane without the borrow, for owners that keep it beside their `Arc` of the ring.
    ///
    /// # Safety
    /// The ring must outlive every use of the lane and of the claims made through it.
    #[must_use]
    pub unsafe fn detached(self) -> Lane<'static> {
        // SAFETY: the caller keeps the ring, which owns the parts and what they point to.
        Lane { parts: unsafe { &*core::ptr::from_ref(self.parts) } }
    }

    /// Takes room and dies before the first store, as a killed thread may. For tests of recovery.
    #[doc(hidden)]
    pub fn claim_and_vanish(&self, len: usize, droppable: bool) -> Result<(), Refusal> {
        let claim = self.claim(len, droppable)?;
        // SAFETY: the header is ours until the commit, which never comes.
        unsafe { &*claim.at }.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Room in the ring, ours to write until [`commit`](Self::commit).
///
/// Dropping a claim leaves it torn, as the death of its thread would: the consumer stops in front of it, and only the
/// recovery after the process's end steps over it and counts it.
#[must_use = "a claim that is not committed stops the lane"]
pub struct Claim<'a> {
    parts: &'a Parts,
    /// The record's header. A pointer and not a reference: the payload behind it is reached from here, too.
    at: *const AtomicU64,
    /// What the commit stores there.
    header: u64,
    crowded: bool,
}

impl<'a> Claim<'a> {
    #[inline(always)]
    fn open(parts: &'a Parts, tail: u64, len: usize, crowded: bool) -> Self {
        let at = parts.words.at(word::units(tail));
        let header = word::committed(word::claims(tail), len);
        // SAFETY: within the lane, and nobody but the owner of this claim stores there until the consumer has released
        // it.
        unsafe { &*at }.store(word::open(header), Ordering::Relaxed);
        // The payload must not be stored before the header. The processor keeps what it has executed when the process
        // dies, so program order is all that is asked for, and only the compiler could break it.
        compiler_fence(Ordering::Release);
        Self { parts, at, header, crowded }
    }

    /// Payload bytes claimed.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.header as u32 as usize - word::HEADER
    }

    /// Whether the claim is for a record without payload.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Publishes the record: from here on it survives the process. Wakes the consumer if that sleeps and the lane
    /// fills.
    #[inline(always)]
    pub fn commit(self) {
        // SAFETY: as in `open`. Release: whoever reads the positive length may read the payload.
        unsafe { &*self.at }.store(self.header, Ordering::Release);
        // SeqCst, against the consumer's re-check of the tail after it has set `sleeping`.
        if self.crowded && self.parts.sleeping().load(Ordering::SeqCst) != 0 {
            self.parts.rouse();
        }
    }
}

#[cfg(not(loom))]
impl Claim<'_> {
    /// The payload: aligned to 8, [`len`](Self::len) bytes (rounded up to 8) that are writable, contiguous and zero.
    ///
    /// What is written is the record from the commit on; nothing may be written through the pointer after it.
    #[inline(always)]
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: a record is at least its header, and behind the lane's end its first bytes are mapped once more.
        unsafe { self.at.add(1) }.cast_mut().cast()
    }

    /// Hands the payload to `f`. The safe form; if `f` panics the claim is torn, so it must not.
    #[inline(always)]
    pub fn write(&mut self, f: impl FnOnce(&mut [u8])) {
        let len = self.len();
        // SAFETY: `len` bytes from there are ours alone until the commit, which takes the claim by value.
        f(unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr(), len) });
    }
}

#[cfg(loom)]
impl Claim<'_> {
    /// Writes a word of the payload. It must be zero before: what is claimed has been zeroed, and we see it.
    pub fn put(&mut self, index: u32, value: u64) {
        let word = self.parts.word(self.position() + 1 + index);
        // SAFETY: loom's check that no store races with this one is what we are after.
        assert_eq!(unsafe { word.unsync_load() }, 0, "claimed room is zero");
        word.store(value, Ordering::Relaxed);
    }

    fn position(&self) -> u32 {
        // SAFETY: both are in the lane's words.
        unsafe { self.at.offset_from(self.parts.words.at(0)) as u32 }
    }
}

/// Positions as the tail and the head have them, for who knows about where they are.
impl Parts {
    /// The tail, unwrapped from a position that is at or before it.
    pub(crate) fn tail_from(&self, here: Position) -> Position {
        here.unwrapped(self.tail().load(Ordering::Acquire))
    }
}
