//! The events: what the catalog knows of them, the bytes that carry them, and what readers see.
//!
//! ```text
//! catalog.toml ─▶ spec ─┬─▶ record (in the ring) ─▶ row (in the journal) ─▶ arrow, json
//!                       └─▶ context (who, where; shared by a session's records)
//! ```
//!
//! ```
//! use auditring_event::record::{Encoder, RecordView};
//! use auditring_event::{RowRef, RowSet, arrow, by_name, json, row};
//!
//! let read = by_name("Read").expect("in the catalog");
//! let record = Encoder::new(read).text("topic", "orders").int("partition", 3).int("first_offset", 1000).to_vec();
//!
//! let mut set = RowSet::default();
//! let record = RecordView::parse(&record)?;
//! row::from_record(&record, row::NO_CONTEXT, 1_795_464_900_000_000_000, 250, 0, &mut set.data);
//! set.rows.push(RowRef { seq: 1, offset: 0, weight: 1, count: 1 });
//!
//! let mut lines = Vec::new();
//! json::lines(&set, &mut lines)?;
//! assert!(lines.starts_with(br#"{"time":"2026-11-23T20:15:00.000000000Z","action":"Read","#));
//! assert_eq!(1, arrow::record_batch(&set).expect("the row is fine").num_rows());
//! # Ok::<(), auditring_event::Malformed>(())
//! ```
//!
//! This room knows no file, no thread and no Python. What must always hold: a value that was accepted comes out of the
//! table and of the JSON as it went into the record, and no bytes, however broken, make anything here panic.

pub mod arrow;
mod body;
pub mod context;
pub mod definition;
mod details;
mod encoder;
pub mod event;
pub mod flat;
pub mod json;
mod plan;
pub mod record;
pub mod rewrite;
pub mod row;
mod rowset;
pub mod sanitize;
pub mod spec;
pub mod terminal;
pub mod visible;

pub use context::Context;
pub use definition::{Definition, Definitions, UNDECLARED};
pub use rowset::{Identity, RowRef, RowSet};
pub use spec::*;

/// Why bytes are no record, row, context or definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its head, or than its head says.
    #[error("cut short")]
    Short,
    /// Longer than its fields, or with bytes behind them that are not zero.
    #[error("bytes left over")]
    LeftOver,
    /// A length that is no multiple of eight, or beyond what can be.
    #[error("impossible length")]
    Length,
    /// No action or declared event has this code.
    #[error("unknown code {0}")]
    UnknownCode(u16),
    /// A bit is set that has no meaning for this code.
    #[error("unknown presence bits {0:#x}")]
    UnknownBits(u32),
    /// The outcome, authority or origin has no such number.
    #[error("unknown outcome, authority or origin {0:#x}")]
    UnknownWord(u8),
    /// A string is not UTF-8.
    #[error("not UTF-8")]
    Text,
    /// A map or list is not the JSON that it should be.
    #[error("not the JSON it should be")]
    Json,
    /// A number does not fit its column.
    #[error("number out of range")]
    Range,
    /// A row names a context that is not there.
    #[error("no context {0}")]
    NoContext(u32),
}
