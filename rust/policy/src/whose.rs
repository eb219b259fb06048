//! Whose a row is that waits for others: kept beyond the segment that told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use auditring_event::Context;

use crate::first_touch::session_hash;

/// A context, as it was told of.
#[derive(Debug)]
pub struct Whose {
    /// The context.
    pub context: Arc<Context>,
    /// [`session_hash`] of its session.
    pub session: u64,
    /// As it lies in the journal; empty for one that was made of several.
    bytes: Box<[u8]>,
    /// Where the reader has put it: see [`Whose::place`].
    place: AtomicU64,
}

impl Whose {
    /// A context and its bytes.
    #[must_use]
    pub fn new(context: Arc<Context>, bytes: &[u8]) -> Self {
        let session = session_hash(context.session.as_deref().unwrap_or_default());
        Self { context, session, bytes: bytes.into(), place: AtomicU64::new(0) }
    }

    /// Its position in the reader's list of this generation; what `put` returns where it has none yet.
    pub fn place(&self, generation: u32, put: impl FnOnce() -> u32) -> u32 {
        let place = self.place.load(Ordering::Relaxed);
        if (place >> 32) as u32 == generation {
            return place as u32;
        }
        let at = put();
        self.place.store(u64::from(generation) << 32 | u64::from(at), Ordering::Relaxed);
        at
    }

    /// Whether it is the same context, told of by another segment or not.
    pub(crate) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (!self.bytes.is_empty() && self.bytes == other.bytes)
    }

    /// Whether it is the same session.
    pub(crate) fn is_session_of(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (self.session == other.session && self.context.session == other.context.session)
    }

    /// Whether it is the same connection of the same session.
    pub(crate) fn is_connection_of(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let end = |of: &Self| (of.context.server.clone(), of.context.server_local.clone(), of.context.node_id);
        self.is_session_of(other) && end(self) == end(other)
    }

    /// What two have in common.
    pub(crate) fn common(self: &Arc<Self>, other: &Arc<Self>) -> Arc<Self> {
        if self.is(other) || self.context.is_part_of(&other.context) {
            return Arc::clone(self);
        }
        Arc::new(Self::new(Arc::new(self.context.common(&other.context)), &[]))
    }
}
