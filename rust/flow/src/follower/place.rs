//! Where a follower stands: its cursor, moved over what is safe, and the way back to it.
//!
//! What must always hold: the cursor is stored before anybody acts on it, and nothing goes that another sink is owed. The
//! lock's file, which in the directory of a process that lives elsewhere nobody else would put back where it is taken away, is
//! made sure of at each commit there.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use auditring_journal::{Cursor, Followers, delete_passed};

use super::read::{DAY_NS, Left};
use super::{Follower, Making, NOTHING, reader};
use crate::Error;
use crate::select::Chosen;

impl Follower {
    /// All that was handed out is safe: the cursor moves there, and segments that every sink has passed go.
    ///
    /// # Errors
    /// If the cursor cannot be stored, or what was handed out does not end at a cut; then it has not moved. If its name cannot
    /// be made durable, or the segments do not go, it has: whoever drives another sink may delete on its account.
    pub fn commit(&mut self, state: Vec<u8>) -> Result<(), Error> {
        if !self.at_cut() {
            return Err(Error::MidWindow(self.position));
        }
        let mut cursor = Cursor { seq: self.position, state, totals: self.cursor.totals.clone() };
        for (name, count) in self.handed.iter().filter(|(_, count)| *count > 0) {
            *cursor.totals.entry((*name).to_owned()).or_default() += count;
        }
        self.place(cursor)?;
        self.rejected = self.rejected.split_off(&self.position);
        self.cut = true;
        self.handed = NOTHING;
        self.boundary = false;
        // A date that begins among what was gathered ends the next checkpoint, too.
        self.cutting &= self.selector.has_windows() && !self.is_idle();
        // What was gathered and not handed out begins the next checkpoint.
        self.day = self.chosen.time.map(|(_, greatest)| greatest.div_euclid(DAY_NS));
        if self.left.seq > self.chosen.next_seq {
            self.jump(self.left.seq);
        }
        Cursor::make_durable(&self.dir)?;
        self.undurable = false;
        // Who is entered at this moment may be owed what would go; it goes with the next commit.
        let Some(_hold) = Followers::hold(&self.dir)? else { return Ok(()) };
        // A cursor of another sink that cannot be read is its own follower's to tell of: it holds what it is owed.
        let marks = Followers::load(&self.dir)?.marks(&self.dir).unwrap_or_default();
        if let Some(passed) = marks.iter().map(|mark| mark.seq).min() {
            delete_passed(&self.dir, passed, 1)?;
        }
        Ok(())
    }

    /// The sink has all rows before `seq`, a cut, safe already, from before a crash that the cursor is behind. It moves there,
    /// with an empty state, and with what became of the rows behind it; nothing of them is asked of the journal.
    ///
    /// # Errors
    /// [`Error::NotAhead`] where the cursor is there already, or for a term that there is not; as [`Follower::commit`], and
    /// [`Follower::rewind`].
    pub fn advance(&mut self, seq: i64, totals: &BTreeMap<String, u64>) -> Result<(), Error> {
        let known = |term: &String| NOTHING.iter().any(|(name, _)| name == term);
        if seq <= self.cursor.seq || !totals.keys().all(known) {
            return Err(Error::NotAhead(seq));
        }
        let mut cursor = Cursor { seq, state: Vec::new(), totals: self.cursor.totals.clone() };
        for (name, count) in totals.iter().filter(|(_, count)| **count > 0) {
            *cursor.totals.entry(name.clone()).or_default() += count;
        }
        self.place(cursor)?;
        // Made durable by it.
        self.rewind()
    }

    /// Puts a cursor in force; a loss of power may bring the one before it back.
    fn place(&mut self, cursor: Cursor) -> Result<(), Error> {
        if self.progress.is_elsewhere() && !self.lock.renew()? {
            return Err(Error::SinkHeld { sink: self.sink.clone(), dir: self.dir.clone() });
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        cursor.place(&self.dir, &self.sink)?;
        held.clone_from(&cursor);
        drop(held);
        self.undurable = true;
        self.cursor = cursor;
        Ok(())
    }

    /// Back to the cursor: what was not committed will be handed out again, the same, but for rows that say what no row can.
    ///
    /// # Errors
    /// If the journal cannot be opened, or the cursor, where its name was not durable, cannot be stored anew.
    pub fn rewind(&mut self) -> Result<(), Error> {
        if self.undurable {
            self.cursor.store(&self.dir, &self.sink)?;
            self.undurable = false;
        }
        self.reader = reader(&self.dir, self.cursor.seq, &self.progress)?;
        self.suspect = self.suspect.max(self.chosen.next_seq);
        self.left = Left::default();
        self.chosen = Chosen::at(self.cursor.seq);
        self.making = Making::of(self.making.form);
        self.selector.forget();
        self.selector.begin(&mut self.chosen);
        self.handed = NOTHING;
        self.losing = [0; 3];
        self.position = self.cursor.seq;
        self.day = None;
        self.boundary = false;
        self.cutting = false;
        self.cut = true;
        self.ended = false;
        self.spoilt = None;
        Ok(())
    }
}
