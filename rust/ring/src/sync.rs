//! The atomics that the core is written against: the machine's, or the model checker's.
//!
//! Under `cfg(loom)` the same claim, commit, read and release run on loom's atomics over plain heap memory. What cannot
//! be the same there is in this file and nowhere else: payload is words instead of bytes, and it is found modulo the
//! lane's size, because loom has no second mapping of the lane's first bytes behind its end.

pub(crate) use core::sync::atomic::compiler_fence;

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use {
    crate::model::atomic::{AtomicU32, AtomicU64},
    loom::sync::atomic::Ordering,
};

/// After a sequentially consistent access whose place in the order matters to a later one, of another word.
///
/// To the machine the accesses say so themselves. Loom takes them for acquire and release, and knows only fences.
#[inline(always)]
pub(crate) fn sequential() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// The data words of one lane: `mask + 1` of them, a power of two.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    first: *const AtomicU64,
    mask: u32,
}

impl Words {
    /// # Safety
    /// `first` must be good for `count` words (a power of two) for as long as the value is used, and outside of the
    /// model for the longest record's words more, which are the first words once again.
    pub(crate) const unsafe fn new(first: *const AtomicU64, count: u32) -> Self {
        Self { first, mask: count - 1 }
    }

    pub(crate) const fn count(self) -> u32 {
        self.mask + 1
    }

    /// The word at a position. A record's header is always reached through this one address, never through the mirror.
    #[inline(always)]
    pub(crate) fn at(self, position: u32) -> *const AtomicU64 {
        // SAFETY: masked to less than `count`, and `new`'s caller vouched for `count` words.
        unsafe { self.first.add((position & self.mask) as usize) }
    }

    /// Zeroes `n` words from a position on.
    ///
    /// # Safety
    /// Nobody else may touch these words until a later release store has told them to; `n` is at most `count`.
    #[cfg(not(loom))]
    pub(crate) unsafe fn zero(self, position: u32, n: u32) {
        let start = position & self.mask;
        let before_end = n.min(self.count() - start);
        // SAFETY: both ranges lie within the lane proper; the words are ours by the caller's word. Writing plain bytes
        // over atomics is sound while nobody else touches them.
        unsafe {
            self.first.add(start as usize).cast_mut().write_bytes(0, before_end as usize);
            self.first.cast_mut().write_bytes(0, (n - before_end) as usize);
        }
    }

    /// Zeroes `n` words from a position on.
    ///
    /// # Safety
    /// As in the real build.
    #[cfg(loom)]
    pub(crate) unsafe fn zero(self, position: u32, n: u32) {
        for i in 0..n {
            // SAFETY: `at` is within the lane.
            unsafe { &*self.at(position.wrapping_add(i)) }.store(0, Ordering::Relaxed);
        }
    }
}
