//! One sink's reader of one process's journal.
//!
//! Owns the sink's cursor and its lock. What must always hold: batches are handed out in order and without a gap; the
//! cursor moves only by [`Follower::commit`], over all that was handed out, and begins and ends at cuts (with no window
//! in force every row is one), so that no cursor needs to know what waits in a window; what was not committed is handed out
//! again, the same. A row that closes late comes in a later batch than its first event's seq lies in, never behind a cut.
//! Where the log promises that a loss of power loses nothing, nothing is handed out that it could still take.
//!
//! It may follow a process that lives elsewhere: then nobody says that there is more, so the journal is looked at ever more
//! seldom while nothing comes; how far it may be read is what that process shows; and the lock's file, which nobody else
//! would put back where it is taken away, is made sure of at each commit.

mod making;
mod place;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::Malformed;
use auditring_event::row::RowView;
use auditring_journal::{BatchFlags, Cursor, Followers, Reader, SinkLock, Step};

use crate::Error;
use crate::progress::{Held, Progress};
use crate::select::{Chosen, Declined, Selector};

use making::Making;
pub use making::{Batch, Form};

const DAY_NS: i64 = 86_400_000_000_000;
/// The longest wait for another look at the journal: what is written is announced, so this is only a backstop.
const LOOK: Duration = Duration::from_secs(1);
/// The least and the longest time between two looks at the journal of a process that lives elsewhere.
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(100);
/// How soon a segment that is not there is looked for again.
const MISSING: Duration = Duration::from_millis(10);
/// Rows that are worth waking up for when a whole batch is wanted.
const MANY: usize = 4096;
/// A batch ends past so many bytes of rows, or of what they have become: a session's context is in each of its rows.
const MOST_BYTES: usize = 64 << 20;

/// Rows of a journal batch that are still to be chosen from.
#[derive(Debug, Default)]
struct Left {
    rows: Range<usize>,
    /// Seq of the first of them.
    seq: i64,
    /// Behind the last.
    end: i64,
    /// Rows that lie there behind a jump and cannot be had: how many, and why.
    lost: Option<(u64, usize)>,
}

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

/// Whether a row holds what no sink could write. One that only a later version knows is not that.
pub(crate) fn illegible(view: &RowView<'_>) -> bool {
    matches!(view.validate(), Err(Malformed::Text | Malformed::Short | Malformed::Json))
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

    /// The next rows: at most `max_rows` (but for those that close together), and fewer only if `partial`, at a boundary or
    /// at the end.
    ///
    /// # Errors
    /// What the journal says; the same call may be made again.
    pub fn next(&mut self, max_rows: usize, timeout: Duration, partial: bool) -> Result<Option<Batch>, Error> {
        self.next_to(max_rows, timeout, partial, false)
    }

    /// The same; with `to_cut` up to the next cut, where there may be nothing left to hand out. Every row is one where no
    /// window is in force: then it is the same as `partial`.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub fn next_to(
        &mut self,
        max_rows: usize,
        timeout: Duration,
        partial: bool,
        to_cut: bool,
    ) -> Result<Option<Batch>, Error> {
        let deadline = Clockwork::now() + timeout;
        loop {
            if self.gather_to(max_rows, to_cut)? {
                return self.hand_out();
            }
            let partial = partial || (to_cut && !self.selector.has_windows());
            if self.ended || (partial && !self.is_idle()) {
                return self.hand_out();
            }
            let left = deadline.saturating_duration_since(Clockwork::now());
            if left.is_zero() {
                return Ok(None);
            }
            if self.reader.is_waiting() {
                // What is written is announced, and this has been already.
                std::thread::sleep(left.min(MISSING));
                continue;
            }
            if self.progress.is_elsewhere() {
                if !self.look_elsewhere(left, partial)? {
                    return if partial { self.hand_out() } else { Ok(None) };
                }
                continue;
            }
            // For a whole batch a few rows more are no reason to wake up.
            let more = if partial || to_cut { 1 } else { (max_rows - self.rows().min(max_rows)).clamp(1, MANY) };
            let wanted = self.reader.next_seq() + more as i64;
            let moved = self.progress.wait(left.min(LOOK), wanted, &mut self.nudges, |_| true);
            // Nothing, or a nudge: once more for what was written and not announced, then the caller has its turn.
            if !moved && !self.step()? {
                if let Some(cause) = self.progress.held_back() {
                    return Err(Error::HeldBack(cause));
                }
                return if partial { self.hand_out() } else { Ok(None) };
            }
        }
    }

    /// Waits a little, then looks whether a process that lives elsewhere has written more; `false` where it was woken up, and
    /// there is nothing.
    fn look_elsewhere(&mut self, left: Duration, partial: bool) -> Result<bool, Error> {
        let before = self.reader.next_seq();
        let nudged = self.progress.pause(left.min(self.pace), &mut self.nudges);
        let more = self.step()?;
        // For a whole batch a few rows more are no reason to come again soon.
        let came = more && (partial || self.reader.next_seq() - before >= MANY as i64);
        self.pace = if came { SOON } else { LATE.min(self.pace * 2) };
        Ok(more || !nudged)
    }

    /// Next seq behind what the journal is known to have.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.reader.next_seq()
    }

    /// Takes rows from the journal until there is a batch to hand out; `false` where there are not yet enough. It is what
    /// [`Follower::next`] does first, so it may be done ahead of it, by another thread; nothing is handed out by it.
    ///
    /// # Errors
    /// What the journal says; the same call may be made again, unless a row or a segment head cannot be read: that error
    /// stays until [`Follower::rewind`].
    pub fn gather(&mut self, max_rows: usize) -> Result<bool, Error> {
        self.gather_to(max_rows, false)
    }

    fn gather_to(&mut self, max_rows: usize, to_cut: bool) -> Result<bool, Error> {
        self.gathered(max_rows, to_cut).inspect_err(|error| {
            // What the system refuses may be tried again. A row or a head that cannot be read has been passed, and whoever
            // asks next must not be given what was made without it.
            if !matches!(error, Error::Io { .. } | Error::Journal(_)) {
                self.spoil(error);
            }
        })
    }

    fn gathered(&mut self, max_rows: usize, to_cut: bool) -> Result<bool, Error> {
        self.sound()?;
        loop {
            if self.progress.should_commit(self.cursor.seq, self.chosen.next_seq - self.cursor.seq) {
                // A sink that keeps few of many rows would hold the journal back for a long time.
                self.cutting = true;
            }
            let due = self.is_due(to_cut);
            self.boundary |= due && self.cutting;
            if due || self.is_ready(max_rows) || self.making.bytes() + self.chosen.set.data.len() >= MOST_BYTES {
                if !self.is_idle() {
                    self.strike();
                    self.making.finish(&mut self.chosen.set)?;
                }
                return Ok(true);
            }
            if let Some((rows, cause)) = self.left.lost.take() {
                self.lose(self.left.seq, rows, cause);
            } else if !self.left.rows.is_empty() || self.left.seq < self.left.end {
                self.choose(max_rows, to_cut)?;
            } else if !self.step()? {
                return Ok(false);
            }
            self.strike();
            self.making.take(&mut self.chosen.set, max_rows)?;
        }
    }

    /// Leaves out what the sink has refused: the events of such a row are lost, also those that were merged into it.
    fn strike(&mut self) {
        if self.rejected.is_empty() {
            return;
        }
        let (rejected, mut events, mut rows) = (&self.rejected, 0, 0);
        self.chosen.set.rows.retain(|row| {
            let struck = rejected.contains(&row.seq);
            if struck {
                events += u64::from(row.count);
                rows += 1;
            }
            !struck
        });
        self.chosen.merged -= events - rows;
        self.chosen.lost += events;
        self.losing[REJECTED] += events;
    }

    /// The sink has refused these rows and always will: they are counted as lost when they come again, after
    /// [`Follower::rewind`]. How many of them were handed out since the commit and not refused before.
    pub fn reject(&mut self, seqs: impl IntoIterator<Item = i64>) -> usize {
        let handed = self.cursor.seq..self.position;
        seqs.into_iter().filter(|seq| handed.contains(seq) && self.rejected.insert(*seq)).count()
    }

    /// Whether a cut that was wanted lies here: one that ends the checkpoint, or what is asked for.
    fn is_due(&self, to_cut: bool) -> bool {
        let wanted = if self.selector.has_windows() {
            (self.cutting && self.chosen.next_seq > self.cursor.seq) || (to_cut && !(self.cut && self.is_idle()))
        } else {
            self.cutting
        };
        wanted && self.selector.at_cut()
    }

    /// Whether a batch of so many rows can be handed out, or a commit is due, without another look at the journal.
    #[must_use]
    pub fn is_ready(&self, max_rows: usize) -> bool {
        self.spoilt.is_none() && (self.rows() >= max_rows || self.boundary || self.making.done.is_some())
    }

    fn sound(&self) -> Result<(), Error> {
        self.spoilt.as_ref().map_or(Ok(()), |why| Err(Error::Spoilt(why.clone())))
    }

    /// Lets nothing more be gathered or handed out until [`Follower::rewind`]: what was being gathered was left half-way.
    pub fn spoil(&mut self, why: &impl std::fmt::Display) {
        self.spoilt.get_or_insert_with(|| why.to_string());
    }

    /// Rows of the batch in the making.
    fn rows(&self) -> usize {
        self.making.rows + self.chosen.set.rows.len()
    }

    /// Reads on in the journal; `false` when there is nothing yet or nothing more.
    fn step(&mut self) -> Result<bool, Error> {
        if self.ended {
            return Ok(false);
        }
        self.progress.glance()?;
        self.reader.limit(self.progress.open_batches());
        self.reader.let_go(self.progress.let_go());
        match self.reader.next(&mut self.buf)? {
            Step::Segment(head) => {
                let empty = self.rows() == 0;
                self.selector.segment(&head, &mut self.chosen)?;
                if empty {
                    self.selector.begin(&mut self.chosen);
                }
            }
            Step::Batch(meta, sections) => {
                self.selector.contexts(&self.buf[sections.contexts]);
                self.selector.definitions(&self.buf[sections.definitions], &mut self.chosen);
                self.left = Left { rows: sections.rows, seq: meta.first_seq, end: meta.end_seq(), lost: None };
                if meta.first_seq > self.chosen.next_seq {
                    self.jump(meta.first_seq);
                }
                if meta.rows == 0 && !meta.flags.contains(BatchFlags::PASSED) {
                    self.selector.elapse(&meta, &mut self.chosen);
                }
            }
            Step::Corrupt { first_seq, rows } => self.lose_at(first_seq, rows, CORRUPT),
            Step::Gone { first_seq, rows } => self.lose_at(first_seq, rows, BUDGET),
            Step::NotYet => return Ok(false),
            Step::End => {
                self.ended = true;
                self.selector.cut(&mut self.chosen);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same, where they may lie behind a jump: seqs that were left out on purpose are not among what is lost.
    fn lose_at(&mut self, first_seq: i64, rows: u64, cause: usize) {
        if first_seq > self.chosen.next_seq {
            self.left = Left { seq: first_seq, lost: Some((rows, cause)), ..Left::default() };
            self.jump(first_seq);
        } else {
            self.lose(first_seq, rows, cause);
        }
    }

    /// Rows that were journaled and cannot be had.
    fn lose(&mut self, first_seq: i64, rows: u64, cause: usize) {
        let end = first_seq.saturating_add_unsigned(rows);
        let from = first_seq.max(self.chosen.next_seq);
        if end > from {
            self.selector.cut(&mut self.chosen);
            self.chosen.lost += from.abs_diff(end);
            self.chosen.next_seq = end;
            self.losing[cause] += from.abs_diff(end);
        }
    }

    /// Seqs were left out on purpose: a file ends before, so that its range holds what it says.
    fn jump(&mut self, to: i64) {
        self.selector.cut(&mut self.chosen);
        if self.is_idle() && self.position == self.cursor.seq {
            self.cursor.seq = to;
            self.position = to;
            self.chosen = Chosen::at(to);
            self.selector.begin(&mut self.chosen);
        } else {
            self.boundary = true;
        }
    }

    /// Chooses from the rows at hand, until there are enough or a later date begins.
    ///
    /// # Errors
    /// If a row tells of a policy that cannot be read.
    fn choose(&mut self, max_rows: usize, to_cut: bool) -> Result<(), Error> {
        let windows = self.selector.has_windows();
        while !self.left.rows.is_empty() && self.rows() < max_rows {
            if self.left.seq >= self.left.end {
                // More rows than it says: their seqs are the next batch's.
                self.left.rows = 0..0;
                break;
            }
            let bytes = &self.buf[self.left.rows.clone()];
            let Ok(view) = RowView::parse(bytes) else {
                // The checksum held and the row does not: a writer of another mind. Its batch's rest cannot be told apart.
                let rest = self.reader.next_seq() - self.chosen.next_seq.max(self.left.seq);
                self.lose(self.chosen.next_seq, rest.max(0) as u64, CORRUPT);
                self.left = Left::default();
                return Ok(());
            };
            let len = view.len();
            if self.left.seq < self.chosen.next_seq {
                // Before the cursor: only its contexts were needed, and the policy in force.
                self.selector.pass(&view)?;
                self.left.rows.start += len;
                self.left.seq += 1;
                continue;
            }
            if self.left.seq < self.suspect && illegible(&view) {
                // Scribbled over in the ring: no sink could make anything of it.
                self.lose(self.left.seq, 1, CORRUPT);
                self.left.rows.start += len;
                self.left.seq += 1;
                continue;
            }
            let day = view.time_ns().div_euclid(DAY_NS);
            if self.day.is_some_and(|seen| day > seen) {
                if !windows {
                    self.boundary = true;
                    return Ok(());
                }
                self.cutting = true;
            }
            if windows && (to_cut || self.cutting) {
                if self.selector.cuts(&view, self.left.seq) {
                    self.selector.cut(&mut self.chosen);
                }
                if self.is_due(to_cut) {
                    return Ok(());
                }
            }
            self.day = Some(self.day.unwrap_or(day));
            self.selector.row(&view, &bytes[..len], &mut self.chosen)?;
            self.left.rows.start += len;
            self.left.seq += 1;
        }
        if self.left.rows.is_empty() && self.left.seq < self.left.end {
            // Fewer rows than it says.
            let (seq, end) = (self.left.seq, std::mem::replace(&mut self.left.end, self.left.seq));
            self.lose(seq, seq.abs_diff(end), CORRUPT);
        }
        Ok(())
    }

    /// Hands out what was gathered; nothing where there is nothing.
    ///
    /// # Errors
    /// If it cannot be converted.
    pub fn hand_out(&mut self) -> Result<Option<Batch>, Error> {
        self.sound()?;
        if self.is_idle() {
            // A window may have ended behind what was handed out, with nothing in it: then there lies a cut.
            self.cut |= self.selector.at_cut();
            return Ok(None);
        }
        self.cut = self.selector.at_cut();
        self.strike();
        if let Err(error) = self.making.finish(&mut self.chosen.set) {
            self.spoil(&error);
            return Err(error);
        }
        let rows = self.rows();
        let mut chosen = Chosen::at(self.chosen.next_seq);
        self.selector.begin(&mut chosen);
        match self.making.form {
            // The next batch is about as large.
            Form::Rows => {
                chosen.set.rows.reserve(self.chosen.set.rows.len());
                chosen.set.data.reserve(self.chosen.set.data.len());
            }
            // Its rows have gone into the table: their room serves again.
            Form::Table => {
                chosen.set.rows = std::mem::take(&mut self.chosen.set.rows);
                chosen.set.data = std::mem::take(&mut self.chosen.set.data);
            }
        }
        let chosen = std::mem::replace(&mut self.chosen, chosen);
        let next = Making::of(self.making.form);
        let making = std::mem::replace(&mut self.making, next);
        self.position = chosen.next_seq;
        let [corrupt, budget, rejected] = std::mem::take(&mut self.losing);
        let counts = [rows as u64, chosen.merged, chosen.sampled_out, chosen.filtered_out, corrupt, budget, rejected];
        for ((_, total), count) in self.handed.iter_mut().zip(counts) {
            *total += count;
        }
        Ok(Some(Batch { table: making.done, rows, lost_budget: budget, lost_rejected: rejected, ..chosen.into() }))
    }
}
