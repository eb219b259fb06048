//! A sink that nobody configures any more: the journals of dead processes are no longer held for it.
//!
//! What must always hold: what it lacked is counted as lost in its cursor, in one step with the cursor's going behind the last
//! row, so that its equation holds and its totals outlive the journal. A process that lives is left alone (it would write its
//! cursor anew, or lists the sink again with its next ring), and so is a journal that has not ended: how many rows it has is
//! not known yet.

use std::path::Path;

use auditring_journal::counters;
use auditring_journal::{Cursor, Followers, ProcessDir, SinkLock, fold, is_held, list, process_text};

use crate::Error;
use crate::retire::retire;

/// Counts what the sink lacked.
const LOST: &str = "lost_forgotten";
/// Where the sink stood: files go so far and no further.
const AT: &str = "forgotten_at";

/// How a process stands to being forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It lives, or somebody is recovering it.
    Living,
    /// It has died and nobody has recovered it.
    Unended,
    /// Somebody brings its rows to the sink at this moment.
    Driven,
    /// Nothing but the sink stands in the way.
    Ended,
}

/// One process that lists the sink.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// Its UUID.
    pub process: String,
    /// Which proxy.
    pub instance: String,
    /// How it stands.
    pub held: Held,
    /// Rows that the sink lacks; known of a journal that has ended.
    pub rows: u64,
    /// Its journal is removed: no other sink needs it.
    pub removed: bool,
}

/// Every process that lists `sink` and of which it lacks rows. With `really` it is forgotten wherever the journal has ended.
///
/// # Errors
/// If a directory, a journal or a cursor cannot be read or written; what was forgotten until then is.
pub fn forget(root: &Path, sink: &str, really: bool) -> Result<Vec<Forgotten>, Error> {
    let mut all = Vec::new();
    for (process, dir) in list(root)? {
        match one(root, &process, &dir, sink, really) {
            Ok(found) => all.extend(found),
            // Removed by whoever was faster.
            Err(_) if !dir.exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn one(root: &Path, process: &[u8; 16], dir: &Path, sink: &str, really: bool) -> Result<Option<Forgotten>, Error> {
    let Some(entry) = Followers::load(dir)?.get(sink).cloned() else { return Ok(None) };
    let state = fold(dir)?;
    let head = state.head.as_ref();
    let mut found = Forgotten {
        process: process_text(process),
        instance: head.map_or_else(String::new, |head| head.instance.clone()),
        held: Held::Living,
        rows: 0,
        removed: false,
    };
    let mut hold = if is_held(dir)? { None } else { ProcessDir::adopt(dir)? };
    if hold.is_none() {
        return Ok(Some(found));
    }
    // Anew: somebody may have brought it to its end, or the sink to its, in between.
    let state = fold(dir)?;
    if state.ending.is_none() {
        found.held = Held::Unended;
        return Ok(Some(found));
    }
    let Some(lock) = SinkLock::try_take(dir, sink)? else {
        found.held = Held::Driven;
        return Ok(Some(found));
    };
    found.held = Held::Ended;
    let cursor = Cursor::load(dir, sink)?.unwrap_or_else(|| Cursor { seq: entry.since_seq, ..Cursor::default() });
    if cursor.seq >= state.next_seq {
        return Ok(None);
    }
    let accounted: u64 = cursor.totals.iter().filter(|(name, _)| *name != AT).map(|(_, count)| count).sum();
    found.rows = state.cells.get(counters::JOURNALED).saturating_sub(accounted);
    if really {
        let mut totals = cursor.totals.clone();
        *totals.entry(LOST.to_owned()).or_default() += found.rows;
        totals.insert(AT.to_owned(), cursor.seq.unsigned_abs());
        Cursor { seq: state.next_seq, totals, state: cursor.state }.store(dir, sink)?;
        drop(lock);
        found.removed = retire(root, process, &mut hold)?;
    }
    Ok(Some(found))
}
