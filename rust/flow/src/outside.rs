//! The balance of every process under an audit directory, from its files alone: living, dead or gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auditring_journal::counters::{self, Counters};
use auditring_journal::{Cursor, Followers, Owner, Totals, fold, is_held, list, lock_is_gone, process_text, time_of};

use crate::Error;

/// One process, as its files show it.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// Its UUID.
    pub process: String,
    /// Which proxy.
    pub instance: String,
    /// Which machine.
    pub host: String,
    /// Its OS process; none once its journal has gone.
    pub pid: Option<u32>,
    /// Somebody holds its lock.
    pub alive: bool,
    /// Its lock file is gone: nobody can tell whether it lives.
    pub lockless: bool,
    /// Next seq.
    pub next_seq: i64,
    /// The terms of the balance by name.
    pub terms: BTreeMap<&'static str, u64>,
    /// Lost events by cause.
    pub lost: BTreeMap<&'static str, u64>,
    /// Every sink.
    pub sinks: BTreeMap<String, SinkOutside>,
}

/// One sink of a process.
#[derive(Clone, Debug, Default)]
pub struct SinkOutside {
    /// At the journal's budget the process stops for it.
    pub required: bool,
    /// Next seq that it has not durably passed.
    pub cursor: i64,
    /// delivered, merged, `sampled_out`, `filtered_out`, `lost_…`.
    pub totals: BTreeMap<String, u64>,
    /// Rows that it still has to see.
    pub pending: u64,
    /// When the first of them happened.
    pub oldest_ns: Option<i64>,
    /// When its cursor was stored last.
    pub last_success_ns: Option<i64>,
}

/// How far each sink of each process is, by its cursor, and the seq behind the last row of each process that has gone.
pub type Cursors = (BTreeMap<String, BTreeMap<String, i64>>, BTreeMap<String, i64>);

/// Cursors alone, without a look into the journals.
///
/// # Errors
/// If a directory, a cursor or totals cannot be read.
pub fn cursors(root: &Path) -> Result<Cursors, Error> {
    let mut open = BTreeMap::new();
    for (process, dir) in list(root)? {
        let sinks = Followers::load(&dir).and_then(|followers| {
            followers
                .entries
                .into_iter()
                .map(|entry| {
                    let seq = Cursor::load(&dir, &entry.name)?.unwrap_or_default().seq.max(entry.since_seq);
                    Ok((entry.name, seq))
                })
                .collect()
        });
        match sinks {
            // Removed while it was read: its totals are read below.
            _ if !dir.exists() => {}
            sinks => _ = open.insert(process_text(&process), sinks?),
        }
    }
    let totals = Totals::load_all(root)?.into_iter();
    let gone = totals.map(|(process, totals)| (process_text(&process), totals.next_seq)).collect();
    Ok((open, gone))
}

pub(crate) fn terms(cells: &Counters) -> (BTreeMap<&'static str, u64>, BTreeMap<&'static str, u64>) {
    let edge = |kind| cells.edge_total(kind, false);
    let (off, dropped, refused) = (edge(0), edge(1), edge(2));
    let claimed = cells.get(counters::CLAIMED);
    let terms = [
        ("offered", [off, dropped, refused].into_iter().fold(claimed, u64::saturating_add)),
        ("claimed", claimed),
        ("accepted", cells.get(counters::ACCEPTED)),
        ("torn", cells.get(counters::TORN)),
        ("off", off),
        ("dropped", dropped),
        ("refused", refused),
        ("born", cells.get(counters::BORN)),
        ("journaled", cells.get(counters::JOURNALED)),
    ];
    let lost = [
        ("unreadable", cells.get(counters::LOST_UNREADABLE)),
        ("journal_gone", cells.get(counters::LOST_JOURNAL_GONE)),
        ("ring_gone", cells.get(counters::LOST_RING_GONE)),
    ];
    (terms.into(), lost.into_iter().filter(|(_, count)| *count > 0).collect())
}

/// Directories whose counters cannot be read, each with the reason.
pub type Unreadable = Vec<(PathBuf, Error)>;

/// All processes under `root`, those whose journal is there first; beside them those that cannot be read: one damaged journal
/// hides no other's counters.
///
/// # Errors
/// If the directory or the totals of those that have gone cannot be read.
pub fn outside(root: &Path) -> Result<(Vec<Outside>, Unreadable), Error> {
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    for (process, dir) in list(root)? {
        match journal(&process, &dir) {
            // Removed while it was read, also where that looked like a journal with nothing in it: its totals are read below.
            _ if !dir.exists() => {}
            Ok(one) => all.push(one),
            Err(error) => unreadable.push((dir, error)),
        }
    }
    for (process, totals) in Totals::load_all(root)? {
        let process = process_text(&process);
        if all.iter().all(|one| one.process != process) {
            all.push(gone(process, totals));
        }
    }
    Ok((all, unreadable))
}

fn journal(process: &[u8; 16], dir: &Path) -> Result<Outside, Error> {
    let (alive, lockless) = (is_held(dir)?, lock_is_gone(dir)?);
    // What it says is in the journal's heads, too, but for the OS process: one damaged file hides no counters.
    let owner = Owner::load(dir);
    // Cursors first: read after the fold, one could be ahead of it.
    let mut sinks = BTreeMap::new();
    for entry in Followers::load(dir)?.entries {
        let cursor = Cursor::load(dir, &entry.name)?.unwrap_or_default();
        let seq = cursor.seq.max(entry.since_seq);
        let last_success_ns = Cursor::stored_ns(dir, &entry.name)?;
        let sink = SinkOutside {
            required: entry.required,
            cursor: seq,
            totals: cursor.totals,
            last_success_ns,
            ..SinkOutside::default()
        };
        sinks.insert(entry.name, sink);
    }
    let state = fold(dir)?;
    for sink in sinks.values_mut() {
        sink.pending = (state.next_seq - sink.cursor).max(0) as u64;
        sink.oldest_ns = if sink.pending > 0 { time_of(dir, sink.cursor)? } else { None };
    }
    let (terms, lost) = terms(&state.cells);
    let (instance, host, pid) = match (owner, state.head) {
        (Ok(owner), _) => (owner.instance, owner.host, Some(owner.pid)),
        (Err(_), Some(head)) => (head.instance, head.host, Some(head.pid)),
        (Err(error), None) => return Err(error.into()),
    };
    Ok(Outside {
        process: process_text(process),
        instance,
        host,
        pid,
        alive,
        lockless,
        next_seq: state.next_seq,
        terms,
        lost,
        sinks,
    })
}

fn gone(process: String, totals: Totals) -> Outside {
    let cells: Vec<_> = totals.cells.into_iter().collect();
    let (terms, lost) = terms(&Counters::from_cells(&cells));
    let next_seq = totals.next_seq;
    let sinks = totals
        .sinks
        .into_iter()
        .map(|(name, totals)| (name, SinkOutside { cursor: next_seq, totals, ..SinkOutside::default() }));
    Outside {
        process,
        instance: totals.instance,
        host: totals.host,
        pid: None,
        alive: false,
        lockless: false,
        next_seq,
        terms,
        lost,
        sinks: sinks.collect(),
    }
}
