//! The next batch: waited for, and handed out.
//!
//! What must always hold: what is written is announced, so nobody looks for it all the time. Of a process that lives elsewhere
//! nobody says that there is more: its journal is looked at ever more seldom while nothing comes.

use std::time::{Duration, Instant as Clockwork};

use super::{Batch, Follower, Form, Making};
use crate::Error;
use crate::select::Chosen;

/// The longest wait for another look at the journal: what is written is announced, so this is only a backstop.
const LOOK: Duration = Duration::from_secs(1);
/// The least and the longest time between two looks at the journal of a process that lives elsewhere.
pub(super) const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(100);
/// How soon a segment that is not there is looked for again.
const MISSING: Duration = Duration::from_millis(10);
/// Rows that are worth waking up for when a whole batch is wanted.
const MANY: usize = 4096;

impl Follower {
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
            if !moved {
                if self.step()? {
                    if self.gather_to(max_rows, to_cut)? {
                        return self.hand_out();
                    }
                } else if let Some(cause) = self.progress.held_back() {
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
