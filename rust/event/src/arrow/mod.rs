//! Rows as an Arrow record batch: the table of the catalog's columns.
//!
//! One walk over the rows takes what each says of its own; everything else is gathered column by column: from the
//! contexts by their index, from the actions by theirs. A column of which nobody says anything is made without looking
//! at a row. Dictionaries hold the values in use, each once.

mod batch;
mod interner;
mod keys;
mod text;
mod touched;
mod walk;

use crate::spec::{COLUMNS, ColumnType};
use crate::{Malformed, RowSet};
pub use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};
pub use touched::{MOST_GROUPS, touched};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields: Fields =
        COLUMNS.iter().map(|column| Field::new(column.name, data_type(column.kind), !column.required)).collect();
    Arc::new(Schema::new(fields))
});

fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Dict => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        ColumnType::Text => DataType::Utf8,
        ColumnType::Texts => DataType::List(Arc::new(item())),
    }
}

/// The element of a list of strings, under the name that Parquet gives it too.
fn item() -> Field {
    Field::new("element", DataType::Utf8, false)
}

/// The table's schema.
#[must_use]
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// The rows as a batch of [`schema`].
///
/// # Errors
/// If a row is malformed, or the strings of a column take more than 2 GiB.
pub fn record_batch(set: &RowSet) -> Result<RecordBatch, ArrowError> {
    let mut table = Table::new(set.rows.len());
    table.append(set).map_err(batch::broken)?;
    table.finish(set)
}

/// A batch of [`schema`] that grows a set of rows at a time, so that no row need be kept as it was.
pub struct Table(walk::Walk);

impl Table {
    /// An empty table with room for `rows` rows; it may get more.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self(walk::Walk::new(rows))
    }

    /// Appends the rows of a set. Each set has the contexts of the one before it, in their places, and may have further
    /// ones; its definitions know at least as much.
    ///
    /// # Errors
    /// If a row is malformed; the table is of no use then.
    pub fn append(&mut self, set: &RowSet) -> Result<(), Malformed> {
        self.0.over(set)
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.len()
    }

    /// Bytes of the columns of plain text, and of the lists of principals: what one session says stands in all of its rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The batch. `set` is the last that was appended, or has its identity, contexts and definitions.
    ///
    /// # Errors
    /// If the strings of a column take more than 2 GiB.
    pub fn finish(self, set: &RowSet) -> Result<RecordBatch, ArrowError> {
        batch::Batch::new(self.0, set).map_err(batch::broken)?.finish()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows()).finish_non_exhaustive()
    }
}
