//! What pump and followers of one log tell one another: how far each of these is, and who of them had better commit.
//!
//! What must always hold: a cursor that is being stored keeps nobody waiting who does not ask to; and of a follower that has
//! let go of its lock nothing is known here, for whoever drives its sink now has the cursor in the file.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};

use auditring_journal::{Cursor, SinkLock};

use super::{Progress, lock};

/// Rows that are worth a commit to a follower that holds back half of the budget, at most.
const WORTH: i64 = 1 << 16;

/// A follower's cursor, as it was stored last. Whoever stores one holds it meanwhile.
pub(crate) type Held = Arc<Mutex<Cursor>>;

/// One follower.
#[derive(Debug)]
pub(super) struct Followed {
    cursor: Held,
    lock: Weak<SinkLock>,
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Progress {
    /// A follower takes up its work.
    pub(crate) fn follow(&self, sink: &str, cursor: Cursor, sink_lock: &Arc<SinkLock>) -> Held {
        let held = Arc::new(Mutex::new(cursor));
        let one = Followed { cursor: Arc::clone(&held), lock: Arc::downgrade(sink_lock) };
        lock(&self.followed).insert(sink.to_owned(), one);
        held
    }

    /// How far a follower of this log is; none: it has none of that name. One that stores its cursor is waited for if wanted,
    /// which may take as long as its disk does; else it has passed nothing.
    pub(crate) fn passed(&self, sink: &str, wait: bool) -> Option<i64> {
        let cursor = {
            let followed = lock(&self.followed);
            let one = followed.get(sink)?;
            // One that has let go of its lock may have been followed by somebody else, whose cursor is in the file alone.
            if one.lock.strong_count() == 0 {
                return None;
            }
            Arc::clone(&one.cursor)
        };
        if wait {
            return Some(lock(&cursor).seq);
        }
        Some(try_lock(&cursor).map_or(i64::MIN, |cursor| cursor.seq))
    }

    /// Puts back cursors and locks that have been taken away; returns the names of the cursors. One that is being stored at
    /// the moment is not waited for: it will be there.
    pub(crate) fn restore(&self, dir: &Path) -> auditring_journal::Result<Vec<String>> {
        let mut missing = Vec::new();
        for (sink, one) in &*lock(&self.followed) {
            let Some(sink_lock) = one.lock.upgrade() else { continue };
            // Somebody else's hold would be of no use to them: the directory is ours.
            sink_lock.renew()?;
            let Some(cursor) = try_lock(&one.cursor) else { continue };
            if *cursor != Cursor::default() && !Cursor::is_there(dir, sink)? {
                cursor.store(dir, sink)?;
                missing.push(format!("{sink}.cursor"));
            }
        }
        Ok(missing)
    }

    /// From now on the pump puts back what of the journal is taken away.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(crate) fn kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// Tells followers who of them holds back half of the budget: whoever lacks a row before `seq`; none: nobody does. `rows`:
    /// how many there are from there on.
    pub(crate) fn press(&self, seq: Option<i64>, rows: i64) {
        // A small budget holds few rows: a quarter of what is there is worth a commit.
        let worth = (rows / 4).clamp(1, WORTH);
        self.worth.store(worth, Ordering::Relaxed);
        self.pressed.store(seq.unwrap_or(i64::MIN), Ordering::Relaxed);
    }

    /// Whether a follower with this cursor holds back half of the journal's budget.
    #[must_use]
    pub fn presses(&self, cursor: i64) -> bool {
        cursor < self.pressed.load(Ordering::Relaxed)
    }

    /// The same, where so many rows are ready to be committed.
    pub(crate) fn should_commit(&self, cursor: i64, rows: i64) -> bool {
        self.presses(cursor) && rows >= self.worth.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_that_is_being_stored_keeps_nobody_waiting_who_does_not_ask_to() {
        let dir = tempfile::tempdir().unwrap();
        let progress = Progress::default();
        let sink_lock = Arc::new(SinkLock::try_take(dir.path(), "lines").unwrap().unwrap());
        let held = progress.follow("lines", Cursor { seq: 7, ..Cursor::default() }, &sink_lock);
        let storing = lock(&held);
        assert_eq!(progress.passed("lines", false), Some(i64::MIN));
        assert!(progress.restore(dir.path()).unwrap().is_empty());
        drop(storing);
        assert_eq!((progress.passed("lines", false), progress.passed("lines", true)), (Some(7), Some(7)));
        assert_eq!(progress.restore(dir.path()).unwrap(), ["lines.cursor"]);
        drop(sink_lock);
        assert_eq!(progress.passed("lines", true), None, "whoever drives it now has the cursor in the file");
    }
}
