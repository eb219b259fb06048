//! Rows as canonical JSON, one object a line.
//!
//! The same for every sink. It is a superset of the upstream proposal's `audit_action_v1`; its members come first, ours
//! beside them in camelCase. A member that is absent is null. A row can be told from its line in every column
//! ([`parse()`]), so JSONL is as good an archive as the table.
//!
//! `objectRef` holds what can be derived from the columns under upstream's names (`vc`, `topicName`, `partition`,
//! `groupId`, `transactionalId`, `addr`, `nodeId`) and the caller's own keys. Where the caller used one of those names the
//! caller's value stands, and `objectRefGiven` lists the name.

mod dialect;
mod event;
mod line;
mod object_ref;
mod parse;
mod session;
mod time;
mod values;

pub use dialect::Dialect;
pub use event::line;
pub use line::Record;
pub use parse::{NotOurs, parse};
pub use session::session_uuid;

use crate::{Column, Malformed, RowSet};
pub(crate) use session::member;
pub(crate) use time::Clock;
pub(crate) use values::Values;

/// The member of a column that an action can have as a constant: its name in camelCase.
pub(crate) fn name(column: Column) -> String {
    let mut name = String::new();
    for (i, word) in column.name().split('_').enumerate() {
        let (first, rest) = word.split_at(usize::from(i > 0).min(word.len()));
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

/// Appends each row as a line that ends in `\n`.
///
/// # Errors
/// If a row is malformed; then nothing is appended.
pub fn lines(set: &RowSet, out: &mut Vec<u8>) -> Result<(), Malformed> {
    lines_in(Dialect::Own, set, out)
}

/// [`lines()`] in a dialect.
///
/// # Errors
/// If a row is malformed; then nothing is appended.
pub fn lines_in(dialect: Dialect, set: &RowSet, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let begin = out.len();
    match Lines::new(dialect, set).fill(out, usize::MAX) {
        Ok(_) => Ok(()),
        Err(malformed) => {
            out.truncate(begin);
            Err(malformed)
        }
    }
}

/// [`lines_in()`], and what is known of each row beside its line.
///
/// # Errors
/// If a row is malformed; then nothing is appended.
pub fn records_in<'a>(dialect: Dialect, set: &'a RowSet, out: &mut Vec<u8>) -> Result<Vec<Record<'a>>, Malformed> {
    let begin = out.len();
    let mut records = Vec::with_capacity(set.rows.len());
    match line::Writer::new(dialect, set).write_each(out, 0, usize::MAX, |record| records.push(record)) {
        Ok(_) => Ok(records),
        Err(malformed) => {
            out.truncate(begin);
            Err(malformed)
        }
    }
}

/// The lines of a set, a piece after the other.
pub struct Lines<'a> {
    writer: line::Writer<'a>,
    next: usize,
}

impl<'a> Lines<'a> {
    /// From the first row on.
    #[must_use]
    pub fn new(dialect: Dialect, set: &'a RowSet) -> Self {
        Self { writer: line::Writer::new(dialect, set), next: 0 }
    }

    /// Appends lines until `out` has `enough` bytes; `false` when that was the last one.
    ///
    /// # Errors
    /// If a row is malformed; the lines before it are in `out`, and there is no going on.
    pub fn fill(&mut self, out: &mut Vec<u8>, enough: usize) -> Result<bool, Malformed> {
        self.next = self.writer.write(out, self.next, enough)?;
        Ok(self.next < self.writer.rows())
    }
}

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("next", &self.next).finish_non_exhaustive()
    }
}
