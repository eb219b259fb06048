//! The end of a process's journal: once every sink is past it, its totals stay and the rest goes.

use std::collections::BTreeMap;
use std::path::Path;

use auditring_event::Definitions;
use auditring_journal::{Cursor, Followers, ProcessDir, Scopes, Totals, Walk, remove_remains};

use crate::Error;

/// Removes the directory if every sink is past its final row; whether it is removed. One that nobody follows stays: nobody
/// has its rows yet. What is left of the caller's hold on it is `held`; without one, what could not be removed is removed.
///
/// # Errors
/// What the journal or the system says; asking again does no harm.
pub fn retire(root: &Path, process: &[u8; 16], held: &mut Option<ProcessDir>) -> Result<bool, Error> {
    let Some(dir) = held.as_ref().map(ProcessDir::path) else {
        remove_remains(root, process)?;
        return Ok(true);
    };
    // Nobody is entered in between, to find nothing.
    let Some(_hold) = Followers::hold(dir)? else { return Ok(false) };
    let mut walk = Walk::default();
    walk.advance(dir)?;
    let state = walk.state();
    let followers = Followers::load(dir)?;
    let passed = followers.passed(dir)?;
    if state.ending.is_none() || passed.is_none_or(|passed| passed < state.next_seq) {
        return Ok(false);
    }
    let head = state.head.clone().unwrap_or_default();
    let mut sinks = BTreeMap::new();
    for entry in followers.entries {
        let cursor = Cursor::load(dir, &entry.name)?.unwrap_or_default();
        sinks.insert(entry.name, cursor.totals);
    }
    let cells = state.cells.iter().collect();
    let definitions = Definitions::decode(walk.definitions()).unwrap_or_default();
    let totals = Totals {
        instance: head.instance,
        host: head.host,
        next_seq: state.next_seq,
        cells,
        sinks,
        declared: definitions.iter().map(|one| (one.code, one.name.clone())).collect(),
        // Names of scopes are no reason to keep a journal.
        scopes: Scopes::load(dir).unwrap_or_default(),
    };
    totals.store(root, process)?;
    if let Some(dir) = held.as_ref() {
        // Refused, it is held on to, and asked for again.
        dir.bury()?;
    }
    *held = None;
    remove_remains(root, process)?;
    Ok(true)
}
