//! One sink's reader of one process's journal.
//!
//! Owns the sink's cursor and its lock. What must always hold: batches are handed out in order and without a gap; the
//! cursor moves only by [`Follower::commit`], over all that was handed out, and begins and ends at cuts (with no window
//! in force every row is one), so that no cursor needs to know what waits in a window; what was not committed is handed out
//! again, the same. A row that closes late comes in a later batch than its first event's seq lies in, never behind a cut.
//! Where the log promises that a loss of power loses nothing, nothing is handed out that it could still take.
//!
//! It may follow a process that lives elsewhere: then how far the journal may be read is what that process shows.

mod gather;
mod making;
mod next;
mod place;
mod read;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auditring_journal::{Cursor, Followers, Reader, SinkLock};

use self::making::Making;
pub use self::making::{Batch, Form};
use self::next::SOON;
use self::read::Left;
pub(crate) use self::read::illegible;
use crate::Error;
use crate::progress::{Held, Progress};
use crate::select::{Chosen, Declined, Selector};

/// The follower.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Follower {
    dir: PathBuf,
    sink: String,
    progress: Arc<Progress>,
    lock: Arc<SinkLock>,
    reader: Reader,
    selector: Selector,
    buf: Vec<u8>,
    left: Left,
    chosen: Chosen,
    making: Making,
    cursor: Cursor,
    /// The same, for the pump to put back.
    held: Held,
    /// Handed out since the commit.
    handed: [(&'static str, u64); 7],
    /// Rows that the sink has refused for good, from the cursor on: they are left out when they come again.
    rejected: BTreeSet<i64>,
    /// Rows before this seq are looked at whole: they were in hand at a failure, which one of them may be the cause of.
    suspect: i64,
    /// Lost by cause among the rows being chosen.
    losing: [u64; 3],
    position: i64,
    /// Greatest UTC day seen since the commit.
    day: Option<i64>,
    boundary: bool,
    /// The checkpoint ends at the next cut.
    cutting: bool,
    /// What was handed out ends at a cut.
    cut: bool,
    ended: bool,
    /// The cursor is in force, and a loss of power may bring the one before it back.
    undurable: bool,
    /// Why what was gathered is of no use, and what comes cannot be told apart: until [`Follower::rewind`].
    spoilt: Option<String>,
    /// Nudges that have ended a wait.
    nudges: u64,
    /// The time until the next look at a process that lives elsewhere.
    pace: Duration,
}

const NOTHING: [(&str, u64); 7] = [
    ("delivered", 0),
    ("merged", 0),
    ("sampled_out", 0),
    ("filtered_out", 0),
    ("lost_corrupt", 0),
    ("lost_budget", 0),
    ("lost_rejected", 0),
];
/// Positions in `losing`.
const CORRUPT: usize = 0;
const BUDGET: usize = 1;
const REJECTED: usize = 2;

fn reader(dir: &Path, from_seq: i64, progress: &Progress) -> Result<Reader, Error> {
    let reader = Reader::open(dir, from_seq)?;
    Ok(if progress.kept() { reader.patient() } else { reader })
}

impl Follower {
    /// Takes up a sink's work at its cursor.
    ///
    /// # Errors
    /// [`Error::SinkHeld`] when another holder drives the sink; what the journal says.
    pub fn open(
        dir: &Path,
        sink: &str,
        declined: Declined,
        form: Form,
        progress: Arc<Progress>,
    ) -> Result<Self, Error> {
        let held = || Error::SinkHeld { sink: sink.to_owned(), dir: dir.to_owned() };
        let lock = SinkLock::try_take(dir, sink)?.ok_or_else(held)?;
        let entry = Followers::load(dir)?.get(sink).cloned().unwrap_or_default();
        let since = entry.since_seq;
        let cursor = Cursor::load(dir, sink)?.unwrap_or_else(|| Cursor { seq: since, ..Cursor::default() });
        let lock = Arc::new(lock);
        let mut follower = Self {
            dir: dir.to_owned(),
            sink: sink.to_owned(),
            reader: reader(dir, cursor.seq, &progress)?,
            held: progress.follow(sink, cursor.clone(), &lock),
            lock,
            selector: Selector::new(declined, &entry.policy)?,
            buf: Vec::new(),
            left: Left::default(),
            chosen: Chosen::at(cursor.seq),
            making: Making::of(form),
            handed: NOTHING,
            rejected: BTreeSet::new(),
            suspect: i64::MIN,
            losing: [0; 3],
            position: cursor.seq,
            day: None,
            boundary: false,
            cutting: false,
            cut: true,
            ended: false,
            undurable: false,
            spoilt: None,
            nudges: progress.nudges(),
            pace: SOON,
            progress,
            cursor,
        };
        follower.selector.begin(&mut follower.chosen);
        Ok(follower)
    }

    /// The sink's lock, for a forked child to let go of its copy.
    #[must_use]
    pub fn lock(&self) -> Arc<SinkLock> {
        Arc::clone(&self.lock)
    }

    /// The last commit.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Next seq after what was handed out.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Nothing is gathered that was not handed out.
    fn is_idle(&self) -> bool {
        self.chosen.is_empty() && self.making.rows == 0
    }

    /// What was handed out ends at a cut: it may be committed.
    #[must_use]
    pub fn at_cut(&self) -> bool {
        self.cut || (self.is_idle() && self.selector.at_cut())
    }

    /// The next row belongs to a later UTC date, or behind a jump: nothing is handed out before a commit.
    #[must_use]
    pub fn boundary(&self) -> bool {
        // What was gathered ahead lies before it, and is handed out first.
        self.boundary && self.is_idle()
    }

    /// The final row has been handed out.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended && self.is_idle()
    }

    /// Next seq behind what the journal is known to have.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.reader.next_seq()
    }
}
