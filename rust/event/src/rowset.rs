//! Rows of one process with what is needed to read them: what a follower hands to Arrow and JSON.

use crate::row::RowView;
use crate::{Context, Definitions, Malformed};
use std::sync::Arc;

/// Whose rows they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The process, as a UUID's text.
    pub process: String,
    /// Which proxy.
    pub instance: String,
    /// Which machine.
    pub host: String,
}

/// Where one row lies, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef {
    /// Its number.
    pub seq: i64,
    /// Where it begins in the data.
    pub offset: u32,
    /// How many events it stands for by sampling.
    pub weight: u32,
    /// How many events were merged into it without loss; `seq` is that of the first.
    pub count: u32,
}

/// Rows of one process.
#[derive(Clone, Debug, Default)]
pub struct RowSet {
    /// Whose rows they are.
    pub identity: Arc<Identity>,
    /// The contexts that the rows name by position.
    pub contexts: Vec<Arc<Context>>,
    /// Journal rows; their context index is a position in `contexts`.
    pub data: Vec<u8>,
    /// The rows to show, in the order in which to show them.
    pub rows: Vec<RowRef>,
    /// The process's declared events.
    pub definitions: Arc<Definitions>,
}

impl RowSet {
    /// The row behind a reference.
    ///
    /// # Errors
    /// If it does not lie within the data, or names a context that is not there.
    #[inline]
    pub fn row(&self, at: &RowRef) -> Result<RowView<'_>, Malformed> {
        let row = RowView::at(&self.data, at.offset)?;
        let context = row.context();
        if context != crate::row::NO_CONTEXT && context as usize >= self.contexts.len() {
            return Err(Malformed::NoContext(context));
        }
        Ok(row)
    }

    /// The context of a row.
    #[inline]
    #[must_use]
    pub fn context(&self, row: &RowView<'_>) -> Option<&Context> {
        self.contexts.get(row.context() as usize).map(Arc::as_ref)
    }
}
