//! What is swapped by pointer under readers that take no lock: the lane in use, and the context in force.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auditring_event::{Authority, Origin, Outcome};
use auditring_ring::{Kind, Lane, Ring};
use pyo3::Python;

/// A lane that is kept beside the ring that it points into.
pub(crate) struct HotLane {
    // Declared before the ring: dropped first.
    lane: Lane<'static>,
    number: u32,
    ring: Arc<Ring>,
}

impl HotLane {
    fn new(ring: Arc<Ring>, number: u32) -> Self {
        // SAFETY: the Arc beside it keeps the ring for as long as this value; the lane is only handed out borrowed from it.
        let lane = unsafe { ring.lane(number).detached() };
        Self { lane, number, ring }
    }

    #[inline(always)]
    pub(crate) fn lane(&self) -> &Lane<'_> {
        &self.lane
    }

    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Counts what does not enter the ring. Where there is a GIL it orders all who call this: whoever is attached.
    #[inline(always)]
    pub(crate) fn count(&self, code: u16, outcome: Outcome, what: Kind, count: u64) {
        let edge = self.ring.edge();
        if cfg!(Py_GIL_DISABLED) {
            edge.add(self.number, u32::from(code), outcome as u32, what, count);
        } else {
            edge.add_ordered(self.number, u32::from(code), outcome as u32, what, count);
        }
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
        let mut all = self.all();
        all.push(Box::new(value));
        if let Some(last) = all.last_mut() {
            self.now.store(ptr::from_mut(last.as_mut()), Ordering::Release);
        }
    }

    /// Shows all that were ever in force, in their order.
    pub(crate) fn each(&self, see: impl FnMut(&T)) {
        self.all().iter().map(Box::as_ref).for_each(see);
    }

    #[allow(clippy::vec_box, reason = "as in the field")]
    fn all(&self) -> MutexGuard<'_, Vec<Box<T>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane of the ring in use; none in a log that keeps nothing. Of another ring when that was replaced.
pub(crate) type Hot = Swap<HotLane>;

impl Hot {
    pub(crate) fn install(&self, ring: Arc<Ring>, number: u32) {
        self.set(HotLane::new(ring, number));
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
/// Unlike what a [`Swap`] keeps, a context that is no longer in force goes as soon as nobody reads it: a client that proves
/// itself again and again costs no more than one that did once. With a GIL that is when the swap is done, as all who read
/// have it, and so has who swaps. Without one readers are counted: whoever swaps first and then sees none knows that nobody
/// has what was in force before, and nobody will.
#[derive(Default)]
pub(crate) struct Current {
    /// Points into what `held` holds; null where that is none.
    now: AtomicPtr<Blob>,
    /// Calls between the look at `now` and the commit of what they write. Always 0 with a GIL.
    readers: AtomicU32,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    now: Option<Arc<Blob>>,
    /// Out of force, and perhaps still being read.
    before: Vec<Arc<Blob>>,
}

/// Contexts that may wait for their last reader, before a swap waits for a moment without one.
const MOST_BEFORE: usize = 16;

/// The right to write what belongs to a context in force: none ends until it is given back.
pub(crate) struct Open<'a>(&'a Current);

impl Drop for Open<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if cfg!(Py_GIL_DISABLED) {
            // Release: what was read was read before.
            self.0.readers.fetch_sub(1, Ordering::Release);
        }
    }
}

/// A context in force, for as long as it takes to write one record.
pub(crate) struct InForce<'a> {
    blob: &'a Blob,
    _open: Open<'a>,
}

impl Deref for InForce<'_> {
    type Target = Blob;

    #[inline(always)]
    fn deref(&self) -> &Blob {
        self.blob
    }
}

impl Current {
    /// The context in force, for the fast path alone.
    ///
    /// # Safety
    /// Where there is a GIL the caller must have it, and must neither let go of it nor run Python before it last uses what
    /// is returned: all that replaces or clears a context has the GIL too (it takes a `Python`), so the context outlives
    /// that.
    #[inline(always)]
    pub(super) unsafe fn get(&self) -> Option<InForce<'_>> {
        let open = self.open();
        // Sequentially consistent, behind the count: either who swaps sees us, or we see what is in force afterwards.
        let order = if cfg!(Py_GIL_DISABLED) { Ordering::SeqCst } else { Ordering::Acquire };
        // SAFETY: null, or a pointer into the Arc in `held`. With a GIL the caller's keeps it from being replaced; without
        // one what is replaced is kept until there was no reader.
        let blob = unsafe { self.now.load(order).as_ref() }?;
        Some(InForce { blob, _open: open })
    }

    #[inline(always)]
    fn open(&self) -> Open<'_> {
        if cfg!(Py_GIL_DISABLED) {
            self.readers.fetch_add(1, Ordering::SeqCst);
        }
        Open(self)
    }

    /// Comes in while there is a context in force; [`clear`](Self::clear) waits until all who did are out again. Nothing
    /// may be waited for meanwhile.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Open<'_>> {
        let open = self.open();
        (!self.now.load(Ordering::SeqCst).is_null()).then_some(open)
    }

    fn held_now(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The context in force, to be kept for as long as one likes.
    pub(crate) fn held(&self) -> Option<Arc<Blob>> {
        self.held_now().now.clone()
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

    /// Takes the context out of force: when this returns every record with it is in the ring, or will not be.
    pub(crate) fn clear(&self, _: Python<'_>) {
        self.replace(None);
    }

    fn replace(&self, new: Option<Arc<Blob>>) {
        let mut held = self.held_now();
        let blob = new.as_ref().map_or(ptr::null_mut(), |blob| Arc::as_ptr(blob).cast_mut());
        self.now.store(blob, Ordering::SeqCst);
        let ends = new.is_none();
        let before = std::mem::replace(&mut held.now, new);
        held.before.extend(before);
        // Readers copy a few hundred bytes and wait for nothing, so a moment without one comes soon.
        while self.readers.load(Ordering::SeqCst) != 0 {
            if !ends && held.before.len() < MOST_BEFORE {
                return;
            }
            std::thread::yield_now();
        }
        held.before.clear();
    }
}
