//! The last counters of processes that have gone, so that no total ever goes backwards.
//!
//! Written before a process's directory is removed, and again the same if that is interrupted.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::counters::Cell;
use crate::cursor::is_seq;
use crate::document;
use crate::error::{Error, Result};
use crate::files;
use crate::process_dir::{process_of, process_text};
use crate::scopes::Scopes;

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
    /// What the declared events that are counted are called, by code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub declared: BTreeMap<u16, String>,
    /// By what else its rows were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
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
        let mut all = Vec::new();
        for process in Self::processes(root)? {
            if let Some(totals) = Self::load(root, &process)? {
                all.push((process, totals));
            }
        }
        Ok(all)
    }

    /// The totals of one process; none where it has none.
    ///
    /// # Errors
    /// If they cannot be read, or are damaged.
    pub fn load(root: &Path, process: &[u8; 16]) -> Result<Option<Self>> {
        let path = root.join(DIR).join(process_text(process));
        let totals: Option<Self> = document::load(&path, KIND)?;
        match totals {
            Some(totals) if !is_seq(totals.next_seq) => {
                Err(Error::damaged(&path, format!("{} is no seq", totals.next_seq)))
            }
            totals => Ok(totals),
        }
    }

    /// The processes that have totals, in the order of their UUIDs. What is no plain file says nothing.
    ///
    /// # Errors
    /// If the system refuses. An audit directory without totals has none.
    pub fn processes(root: &Path) -> Result<Vec<[u8; 16]>> {
        let dir = root.join(DIR);
        let mut all = Vec::new();
        if !files::real_dir(&dir)? {
            return Ok(all);
        }
        for name in files::names(&dir)? {
            if let Some(process) = process_of(&name)
                && files::look(&dir.join(&name))?.is_some_and(|meta| meta.is_file())
            {
                all.push(process);
            }
        }
        all.sort_unstable();
        Ok(all)
    }
}
