//! What is swapped by pointer under readers that take no lock: the lane in use, and the context in force.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use auditring_event::{Authority, Origin};
use auditring_ring::{Lane, Ring};
use pyo3::Python;

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

    pub(crate) fn set(&self, value: T) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Box::new(value));
        if let Some(last) = all.last_mut() {
            self.now.store(ptr::from_mut(last.as_mut()), Ordering::Release);
        }
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
///
/// Unlike what a [`Swap`] keeps, a context that is no longer in force goes as soon as no slow call holds it: a client that
/// proves itself again and again costs no more than one that did once.
#[derive(Default)]
pub(crate) struct Current {
    /// Points into what `held` holds; null where that is none.
    now: AtomicPtr<Blob>,
    held: Mutex<Option<Arc<Blob>>>,
}

impl Current {
    /// The context in force, for the fast path alone.
    ///
    /// # Safety
    /// The caller must have the GIL and must neither let go of it nor run Python before it last uses what is returned: all
    /// that replaces or clears a context has the GIL too (it takes a `Python`), so the context outlives that.
    #[inline(always)]
    pub(super) unsafe fn get(&self) -> Option<&Blob> {
        // SAFETY: null, or a pointer into the Arc in `held`, which the caller's GIL keeps from being replaced. The module
        // needs the GIL (`gil_used`), and there is no free-threaded interpreter with this ABI.
        unsafe { self.now.load(Ordering::Acquire).as_ref() }
    }

    /// The context in force, to be kept for as long as one likes.
    pub(crate) fn held(&self) -> Option<Arc<Blob>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a context in force, from whichever thread.
    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        !self.now.load(Ordering::Relaxed).is_null()
    }

    /// Brings another into force.
    pub(crate) fn set(&self, _: Python<'_>, blob: Blob) {
        self.replace(Some(Arc::new(blob)));
    }

    /// Takes the context out of force.
    pub(crate) fn clear(&self, _: Python<'_>) {
        self.replace(None);
    }

    fn replace(&self, new: Option<Arc<Blob>>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.now.store(new.as_ref().map_or(ptr::null_mut(), |blob| Arc::as_ptr(blob).cast_mut()), Ordering::Release);
        *held = new;
    }
}
