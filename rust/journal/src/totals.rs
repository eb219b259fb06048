//! The last counters of processes that have gone, so that no total ever goes backwards.
//!
//! Written before a process's directory is removed, and again the same if that is interrupted.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::counters::Cell;
use crate::document;
use crate::error::Result;
use crate::files;
use crate::process_dir::{process_of, process_text};

const KIND: &str = "totals";
const DIR: &str = "totals";

/// What a process's journal had come to when it was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The proxy's name.
    pub instance: String,
    /// The machine's name.
    pub host: String,
    /// The seq after its last row.
    pub next_seq: i64,
    /// All counters.
    pub cells: BTreeMap<Cell, u64>,
    /// The totals of every sink's last cursor, by sink.
    pub sinks: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Totals {
    /// Writes the totals of a process of the audit directory `root`, durably. Doing it again does no harm.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn store(&self, root: &Path, process: &[u8; 16]) -> Result<()> {
        let dir = root.join(DIR);
        files::ensure_dir(&dir)?;
        document::store(&dir.join(process_text(process)), KIND, self)
    }

    /// The totals of all processes that have gone.
    ///
    /// # Errors
    /// If the directory or a file cannot be read, or is damaged.
    pub fn load_all(root: &Path) -> Result<Vec<([u8; 16], Self)>> {
        let dir = root.join(DIR);
        let mut all = Vec::new();
        for process in Self::processes(root)? {
            if let Some(totals) = document::load(&dir.join(process_text(&process)), KIND)? {
                all.push((process, totals));
            }
        }
        Ok(all)
    }

    /// The processes that have totals, in the order of their UUIDs.
    ///
    /// # Errors
    /// If the system refuses. An audit directory without totals has none.
    pub fn processes(root: &Path) -> Result<Vec<[u8; 16]>> {
        let mut all: Vec<_> = files::names(&root.join(DIR))?.iter().filter_map(|name| process_of(name)).collect();
        all.sort_unstable();
        Ok(all)
    }
}
