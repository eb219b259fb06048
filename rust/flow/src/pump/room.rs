//! What journal and disk have room for: when segments go, and when nothing more is written.
//!
//! What must always hold: a segment that a required sink has not passed never goes; what goes over the head of another is
//! told before it has gone; and the disk keeps what the sinks need to seal their files with, or it would stay full.

use std::io;
use std::time::{Duration, Instant as Clockwork};

use auditring_journal::{
    BatchFlags, Followers, bytes_held, delete_oldest_before, delete_passed, free_bytes, holding, segments,
};

use super::Pump;
use crate::Error;

/// How often budget and disk are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often while both are far away and next to nothing is written: the looks are most of what an idle pump costs.
const QUIET_LOOK: Duration = Duration::from_millis(500);
/// More than this since the last look is not next to nothing; it is little of what the disk keeps for the sinks.
const QUIET_BYTES: u64 = 256 << 10;
/// `ENOSPC`, the same number wherever this runs.
const ENOSPC: i32 = 28;
/// How long the list of followers may be in somebody's hands before the journal's budget is kept all the same: whoever is
/// stopped in the middle of a change must not let the journal grow without an end.
const HOLD_UP: Duration = Duration::from_secs(5);

impl Pump {
    /// What the journal and the disk have room for. A question that is refused leaves the last answer.
    pub(super) fn look_at_bytes(&mut self) {
        self.looked_at_bytes = Clockwork::now();
        self.looked_at_len = self.writer.len();
        if let Ok(bytes) = bytes_held(&self.dir) {
            self.sealed_bytes = bytes.saturating_sub(self.writer.len());
        }
        self.free_bytes = free_bytes(&self.dir).unwrap_or(self.free_bytes);
        let half = self.limits.journal_bytes / 2;
        let held = if self.is_half() { holding(&self.dir, half).unwrap_or(None) } else { None };
        let rows = held.map_or(0, |seq| self.writer.state().next_seq - seq.min(self.writer.state().next_seq));
        self.progress.press(held, rows);
    }

    /// At the budget, or where the disk has only what sealing needs, nothing more is written until every required sink has
    /// passed a segment: the ring fills, and `when_full` speaks. For sinks that are not required the oldest segments go; what
    /// such a sink lacks then its follower counts, by the journal's own names, when it comes there. A log that is closing
    /// goes on, so that it can end.
    pub(super) fn over_budget(&mut self) -> Result<bool, Error> {
        if self.looked_at_bytes.elapsed() >= if self.is_far() { QUIET_LOOK } else { LOOK } {
            self.look_at_bytes();
        }
        if self.is_half() && self.uncut_bytes >= self.slack() && self.ticks.take_uncut() {
            // Whoever holds the journal back may wait for a window's end to commit at.
            self.cut()?;
        }
        if !self.is_over() {
            return Ok(self.show_over(false));
        }
        self.make_room()?;
        let large = self.writer.len() >= self.slack() || self.writer.len() >= self.sealed_bytes;
        if self.is_over() && large && !self.fresh() && !self.writer.is_poisoned() {
            // The segment being written could never go: it ends here, so that it goes once it is passed.
            self.roll()?;
            self.make_room()?;
        }
        let full = self.free_bytes < self.reserve;
        let followers = self.followers()?;
        // Where no sink is required the budget is kept by deleting alone: there is nothing that waiting would bring.
        let waits = followers.entries.iter().any(|entry| entry.required) || (!followers.entries.is_empty() && full);
        let over = self.is_over() && waits && !self.ring.is_closed();
        if over {
            // Followers may be waiting for the disk.
            self.syncer.unsynced().hasten();
        }
        if over && self.ticks.take_uncut() {
            // Followers commit at cuts, and nothing goes before they have: they are not kept waiting for a window's end.
            self.cut()?;
        }
        if over && full {
            return Err(Error::Io {
                what: "write a batch and leave the sinks room to seal their files in",
                path: self.dir.clone(),
                source: io::Error::from_raw_os_error(ENOSPC),
            });
        }
        Ok(self.show_over(over))
    }

    /// Whom the journal is kept for. Where the file was taken away nothing goes on that account: it will be put back.
    fn followers(&self) -> Result<Followers, Error> {
        let followers = Followers::load(&self.dir)?;
        Ok(if followers.entries.is_empty() { self.keep.followers() } else { followers })
    }

    /// Deletes what every sink has passed, then, while that is not enough, what every required one has.
    fn make_room(&mut self) -> Result<(), Error> {
        let hold = Followers::hold(&self.dir)?;
        if hold.is_some() {
            self.held_up = None;
        } else if self.held_up.get_or_insert_with(Clockwork::now).elapsed() < HOLD_UP {
            // It is being changed: a moment later it is known for whom what is kept.
            return Ok(());
        }
        let followers = self.followers()?;
        let marks = followers.marks(&self.dir)?;
        if let Some(passed) = marks.iter().map(|mark| mark.seq).min() {
            delete_passed(&self.dir, passed, 1)?;
            self.look_at_bytes();
        }
        let before = marks.iter().filter(|mark| mark.required).map(|mark| mark.seq).min().unwrap_or(i64::MAX);
        // Some room at a time, or each batch would have to wait for a little of it.
        while self.is_over_with(self.slack()) {
            // Before it goes: whoever misses it asks whether it was on purpose.
            let let_go = self.let_go;
            if let [_, next, ..] = segments(&self.dir)?[..]
                && next.first_seq <= before
                && marks.iter().any(|mark| !mark.required && mark.seq < next.first_seq)
            {
                self.show_let_go(let_go.max(next.first_seq));
            }
            let Some(gone) = delete_oldest_before(&self.dir, before)? else {
                self.show_let_go(let_go);
                break;
            };
            let end = gone.first_seq.saturating_add_unsigned(gone.rows);
            for mark in marks.iter().filter(|mark| !mark.required && mark.seq < end) {
                let from = mark.seq.max(gone.first_seq);
                self.losses.let_go(&mark.name, from.abs_diff(end), from..end);
                self.show_let_go(self.let_go.max(end));
            }
            if marks.is_empty() {
                self.unfollowed = end;
                self.show_let_go(self.let_go.max(end));
                self.losses.unfollowed(gone.rows);
            }
            self.look_at_bytes();
        }
        Ok(())
    }

    fn show_let_go(&mut self, seq: i64) {
        if self.let_go != seq {
            self.let_go = seq;
            self.progress.publish(|journaled| journaled.let_go = seq);
            self.show();
        }
    }

    /// A batch without rows at which followers may commit.
    fn cut(&mut self) -> Result<(), Error> {
        self.uncut_bytes = 0;
        self.write(BatchFlags::CUT, 0)
    }

    fn is_half(&self) -> bool {
        self.sealed_bytes + self.writer.len() >= self.limits.journal_bytes / 2
    }

    /// Whether neither budget nor a full disk can be reached soon.
    fn is_far(&self) -> bool {
        // A segment that is begun is shorter than the last one was: then it wraps round, and is looked at.
        let written = self.writer.len().wrapping_sub(self.looked_at_len);
        written < QUIET_BYTES && !self.is_half() && self.free_bytes / 4 > self.reserve
    }

    fn is_over(&self) -> bool {
        self.is_over_with(0)
    }

    fn is_over_with(&self, slack: u64) -> bool {
        self.sealed_bytes + self.writer.len() + slack >= self.limits.journal_bytes || self.free_bytes < self.reserve
    }

    /// A part of the budget that is worth making room for.
    fn slack(&self) -> u64 {
        self.limits.journal_bytes / 8
    }

    fn show_over(&mut self, over: bool) -> bool {
        if self.over != over {
            self.over = over;
            self.progress.publish(|journaled| journaled.over_budget = over);
            self.show();
            if over {
                // Who waits for a few thousand rows more would wait in vain.
                self.progress.nudge();
            }
        }
        over
    }
}
