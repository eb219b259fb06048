//! What is swapped by pointer under readers that take no lock: the lane in use, and the context in force.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use auditring_event::{Authority, Origin};
use auditring_ring::{Lane, Ring};

/// A lane that is kept beside the ring that it points into.
pub(crate) struct HotLane {
    // Declared before the ring: dropped first.
    lane: Lane<'static>,
    ring: Arc<Ring>,
}

impl HotLane {
    fn new(ring: Arc<Ring>) -> Self {
        // SAFETY: the Arc beside it keeps the ring for as long as this value; the lane is only handed out borrowed from it.
        let lane = unsafe { ring.lane(0).detached() };
        Self { lane, ring }
    }

    #[inline(always)]
    pub(crate) fn lane(&self) -> &Lane<'_> {
        &self.lane
    }

    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }
}

/// A value that is swapped by pointer under readers that take no lock. What was in force is kept as long as the cell,
/// because another thread may still be reading it; so a swap is for what changes seldom.
pub(crate) struct Swap<T> {
    now: AtomicPtr<T>,
    // Boxes that stay where they are: `now` points into one of them.
    #[allow(clippy::vec_box, reason = "the addresses must survive the vector's growth")]
    all: Mutex<Vec<Box<T>>>,
}

impl<T> Default for Swap<T> {
    fn default() -> Self {
        Self { now: AtomicPtr::default(), all: Mutex::default() }
    }
}

impl<T> Swap<T> {
    /// The value in force, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: null, or a pointer to a Box in `all`, which is only ever grown, and dropped with `self`.
        unsafe { self.now.load(Ordering::Acquire).as_ref() }
    }

    /// Whether there is a value in force, from a thread that may not look at it.
    pub(crate) fn is_set(&self) -> bool {
        !self.now.load(Ordering::Relaxed).is_null()
    }

    pub(crate) fn set(&self, value: T) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Box::new(value));
        if let Some(last) = all.last_mut() {
            self.now.store(ptr::from_mut(last.as_mut()), Ordering::Release);
        }
    }

    /// Takes the value out of force. Tells whether this call did it.
    pub(crate) fn clear(&self) -> bool {
        !self.now.swap(ptr::null_mut(), Ordering::AcqRel).is_null()
    }
}

/// The lane in use; none in a log that keeps nothing. Another one when the ring was replaced.
pub(crate) type Hot = Swap<HotLane>;

impl Hot {
    pub(crate) fn install(&self, ring: Arc<Ring>) {
        self.set(HotLane::new(ring));
    }
}

/// A context as it lies in the records of a session, of a connection of it, or of a plugin. Immutable.
pub(crate) struct Blob {
    pub(crate) id: u64,
    /// The session's authority, for actions that have none of their own.
    pub(crate) authority: Option<Authority>,
    /// Who starts what is recorded with it.
    pub(crate) origin: Origin,
    /// Who attempts what an authorizer decides.
    pub(crate) attempts: Origin,
    /// Unpadded length; `bytes` is zero-padded to 8.
    pub(crate) len: u32,
    pub(crate) bytes: Box<[u8]>,
}

/// The context in force; none once the handle is closed. Swapped whole, so that no record mixes two.
pub(crate) type Current = Swap<Blob>;
