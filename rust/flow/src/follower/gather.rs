//! The batch in the making: gathered until it is full, too large, or at a cut that was wanted.
//!
//! What must always hold: nothing is handed out here, so this may be done ahead, by another thread; and what was left half-way
//! is of no use to anybody before [`Follower::rewind`].

use super::{Follower, REJECTED};
use crate::Error;

/// A batch ends past so many bytes of rows, or of what they have become: a session's context is in each of its rows.
const MOST_BYTES: usize = 64 << 20;

impl Follower {
    /// Takes rows from the journal until there is a batch to hand out; `false` where there are not yet enough. It is what
    /// [`Follower::next`] does first, so it may be done ahead of it, by another thread; nothing is handed out by it.
    ///
    /// # Errors
    /// What the journal says; the same call may be made again, unless a row or a segment head cannot be read: that error
    /// stays until [`Follower::rewind`].
    pub fn gather(&mut self, max_rows: usize) -> Result<bool, Error> {
        self.gather_to(max_rows, false)
    }

    pub(super) fn gather_to(&mut self, max_rows: usize, to_cut: bool) -> Result<bool, Error> {
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
    pub(super) fn strike(&mut self) {
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
    pub(super) fn is_due(&self, to_cut: bool) -> bool {
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

    pub(super) fn sound(&self) -> Result<(), Error> {
        self.spoilt.as_ref().map_or(Ok(()), |why| Err(Error::Spoilt(why.clone())))
    }

    /// Lets nothing more be gathered or handed out until [`Follower::rewind`]: what was being gathered was left half-way.
    pub fn spoil(&mut self, why: &impl std::fmt::Display) {
        self.spoilt.get_or_insert_with(|| why.to_string());
    }

    /// Rows of the batch in the making.
    pub(super) fn rows(&self) -> usize {
        self.making.rows + self.chosen.set.rows.len()
    }
}
