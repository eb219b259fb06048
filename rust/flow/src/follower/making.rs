//! What a sink is handed: rows as they are, or a table that grows while the journal is read.
//!
//! What must always hold: a table that is done does not grow, and finishing it again changes nothing.

use auditring_event::RowSet;
use auditring_event::arrow::{RecordBatch, Table};

use crate::Error;
use crate::select::Chosen;

/// What a sink takes its rows as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As they are: the sink makes of them what it likes.
    #[default]
    Rows,
    /// As Arrow, and as nothing else: made as the journal is read, while each batch of it is warm, and no row is kept.
    Table,
}

/// Rows handed to a sink.
#[derive(Debug)]
pub struct Batch {
    /// The rows; none of them where they were made into the table.
    pub set: RowSet,
    /// The rows as [`Form::Table`].
    pub table: Option<RecordBatch>,
    /// How many.
    pub rows: usize,
    /// Events that were merged into them, beside the first of each.
    pub merged: u64,
    /// First seq of the range.
    pub first_seq: i64,
    /// Last seq of the range, inclusive.
    pub last_seq: i64,
    /// Rows of the range that sampling left out.
    pub sampled_out: u64,
    /// Rows of the range that a rule or the sink left out.
    pub filtered_out: u64,
    /// Rows of the range that are damaged or gone.
    pub lost: u64,
    /// Those of them that were let go at the journal's budget.
    pub lost_budget: u64,
    /// Those of them that the sink has refused.
    pub lost_rejected: u64,
    /// Least and greatest wall time of the range, nanoseconds since the epoch.
    pub time: (i64, i64),
}

impl From<Chosen> for Batch {
    fn from(chosen: Chosen) -> Self {
        Self {
            rows: chosen.set.rows.len(),
            set: chosen.set,
            table: None,
            first_seq: chosen.first_seq,
            last_seq: chosen.next_seq - 1,
            merged: chosen.merged,
            sampled_out: chosen.sampled_out,
            filtered_out: chosen.filtered_out,
            lost: chosen.lost,
            lost_budget: 0,
            lost_rejected: 0,
            time: chosen.time.unwrap_or((0, 0)),
        }
    }
}

/// The batch in the making, as its [`Form`] wants it.
#[derive(Debug, Default)]
pub(super) struct Making {
    pub(super) form: Form,
    /// Rows that `chosen` no longer has.
    pub(super) rows: usize,
    table: Option<Table>,
    /// The batch is complete and may not grow.
    pub(super) done: Option<RecordBatch>,
}

impl Making {
    pub(super) fn of(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// Takes over what was chosen; `expected` rows make the batch.
    pub(super) fn take(&mut self, set: &mut RowSet, expected: usize) -> Result<(), Error> {
        if self.form == Form::Rows || set.rows.is_empty() {
            return Ok(());
        }
        let table = self.table.get_or_insert_with(|| Table::new(expected));
        table.append(set).map_err(Error::convert)?;
        self.rows += set.rows.len();
        set.rows.clear();
        set.data.clear();
        Ok(())
    }

    /// Bytes of text in the table.
    pub(super) fn bytes(&self) -> usize {
        self.table.as_ref().map_or(0, Table::bytes)
    }

    pub(super) fn finish(&mut self, set: &mut RowSet) -> Result<(), Error> {
        if self.form == Form::Table && self.done.is_none() {
            // Rows that closed without one that was chosen.
            self.take(set, 0)?;
            let table = self.table.take().unwrap_or_else(|| Table::new(0));
            self.done = Some(table.finish(set).map_err(Error::convert)?);
        }
        Ok(())
    }
}
