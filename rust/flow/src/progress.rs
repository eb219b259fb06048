//! What pump, producers and followers of one process tell one another.
//!
//! Owns the journaled and the durable seq that followers wait for, the ring positions that `flush` waits for, the words that
//! tell producers whether to wait for space, and the cause of trouble. What must always hold: a number shown here is never
//! ahead of the journal, and a durable one never ahead of the disk.
//!
//! Of a process that lives elsewhere ([`Progress::of_living`]) nobody tells: what matters of its numbers is read from what it
//! shows, and whether there are more rows is for the journal to say. Where it shows nothing no batch may be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use auditring_journal::{Cursor, Scopes, Show, Shown, SinkLock, bytes_held, free_bytes, holding, segments};

/// How often what another process's journal weighs is looked at, and how often what it shows.
const WEIGH: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_millis(5);
/// Less than this on a disk is as good as a journal at its budget: the process keeps about as much back.
const SCARCE: u64 = 32 << 20;
/// Rows that are worth a commit to a follower that holds back half of the budget, at most.
const WORTH: i64 = 1 << 16;

/// How far the journal is.
#[derive(Clone, Debug, Default)]
pub struct Journaled {
    /// Next seq to be given.
    pub next_seq: i64,
    /// Batches written.
    pub batches: u64,
    /// Next seq behind the rows that are known to be on the disk itself.
    pub durable_seq: i64,
    /// So many batches are.
    pub durable_batches: u64,
    /// Claims taken out of the ring, since birth.
    pub claimed: u64,
    /// The same, of each lane of the present ring; one that is not here has none yet.
    pub lanes: Vec<u64>,
    /// Generation of that ring.
    pub generation: u32,
    /// Records taken out of the ring whole.
    pub accepted: u64,
    /// Claims whose writer died.
    pub torn: u64,
    /// Rows born in the pump.
    pub born: u64,
    /// Lost events by cause.
    pub lost: Vec<(&'static str, u64)>,
    /// Rows at the primary tap: code, outcome's number, how many.
    pub actions: Vec<(u16, u8, u64)>,
    /// The same of those that have a scope: code, outcome's number, scope, how many; and the scopes.
    pub scoped: Vec<(u16, u8, u16, u64)>,
    /// By what rows are counted, beside action and outcome.
    pub scopes: Arc<Scopes>,
    /// The journal's budget is used up: nothing more is taken out of the ring for now.
    pub over_budget: bool,
    /// Bytes of journal on disk.
    pub bytes: u64,
    /// Why the next segment could not be begun; none while they can be.
    pub unrolled: Option<String>,
    /// Somebody has written over the ring: what lies where, until another one has taken its place.
    pub damaged: Option<String>,
    /// Rows before this seq were let go, though a sink that is not required may have lacked them.
    pub let_go: i64,
    /// The final batch is written.
    pub ended: bool,
    /// Raised by [`Progress::nudge`]: ends waits whatever the numbers say.
    nudges: u64,
    /// The seq that each waiter waits for. A pump that writes a few rows a hundred times a second wakes nobody for them.
    wanted: Vec<i64>,
    /// Followers have only what is durable: [`Progress::only_durable`].
    only_durable: bool,
}

impl Journaled {
    /// Next seq behind the rows that followers may have.
    fn open_to(&self) -> i64 {
        if self.only_durable { self.durable_seq } else { self.next_seq }
    }

    /// Followers may have the final row.
    fn over(&self) -> bool {
        self.ended && (!self.only_durable || self.durable_batches >= self.batches)
    }
}

/// How far the journal is, as it is made durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) batches: u64,
    /// Batches that are durable.
    pub(crate) durable: u64,
    pub(crate) next_seq: i64,
    pub(crate) ended: bool,
}

/// A follower's cursor, as it was stored last. Whoever stores one holds it meanwhile.
pub(crate) type Held = Arc<Mutex<Cursor>>;

/// One follower.
#[derive(Debug)]
struct Followed {
    cursor: Held,
    lock: Weak<SinkLock>,
}

/// A process that lives elsewhere.
#[derive(Debug)]
struct Elsewhere {
    dir: PathBuf,
    seen: Mutex<Seen>,
}

/// What was seen of it, and when.
#[derive(Debug, Default)]
struct Seen {
    shown: Option<Shown>,
    glanced: Option<Instant>,
    weighed: Option<Instant>,
    /// Whoever follows had better commit what there is.
    urgent: bool,
}

/// Shared by the threads of one open log.
#[derive(Debug)]
pub struct Progress {
    /// What those who follow from outside are shown, and the journal's budget.
    show: OnceLock<(Show, u64)>,
    /// It is of a process that lives elsewhere.
    elsewhere: Option<Elsewhere>,
    journaled: Mutex<Journaled>,
    moved: Condvar,
    /// Per class (droppable, protected): one wait has expired and no space has been seen since.
    shed: [AtomicBool; 2],
    /// Who lacks a row before this seq holds back half of the journal's budget, and had better commit.
    pressed: AtomicI64,
    /// Rows that are worth a commit then.
    worth: AtomicI64,
    /// The cursors of the followers of this log, and their locks: to be put back where they are taken away.
    followed: Mutex<BTreeMap<String, Followed>>,
    /// The pump puts back what of the journal is taken away.
    kept: AtomicBool,
    /// What troubles the pump.
    trouble: Mutex<Option<String>>,
    /// What the disk refuses to make durable.
    disk: Mutex<Option<String>>,
    /// Nobody takes records out of the ring any more.
    dead: AtomicBool,
    blocked_ns: AtomicU64,
    waits: AtomicU64,
    /// The most of the ring that was ever seen in use.
    most_in_use: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            show: OnceLock::new(),
            elsewhere: None,
            journaled: Mutex::default(),
            moved: Condvar::new(),
            shed: Default::default(),
            pressed: AtomicI64::new(i64::MIN),
            worth: AtomicI64::new(i64::MAX),
            followed: Mutex::default(),
            kept: AtomicBool::new(false),
            trouble: Mutex::default(),
            dead: AtomicBool::new(false),
            blocked_ns: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            most_in_use: AtomicU64::new(0),
            disk: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain numbers, replaced as a whole: a panic elsewhere cannot leave them half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Progress {
    /// A copy of the numbers.
    #[must_use]
    pub fn journaled(&self) -> Journaled {
        lock(&self.journaled).clone()
    }

    /// Next seq to be given.
    #[must_use]
    pub fn next_seq(&self) -> i64 {
        lock(&self.journaled).next_seq
    }

    /// The progress of a process that lives elsewhere, as its directory shows it.
    #[must_use]
    pub fn of_living(dir: &Path) -> Self {
        let elsewhere = Elsewhere { dir: dir.to_owned(), seen: Mutex::default() };
        let progress = Self { elsewhere: Some(elsewhere), ..Self::default() };
        // Until it is known how far: no further than nowhere.
        progress.only_durable();
        // Somebody there puts back what is taken away.
        progress.keep();
        progress
    }

    /// Whether it is of a process that lives elsewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Looks at what a process that lives elsewhere shows by now, unless that was done a moment ago.
    pub(crate) fn glance(&self) -> auditring_journal::Result<()> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        let mut seen = lock(&elsewhere.seen);
        if seen.glanced.is_some_and(|at| at.elapsed() < GLANCE) {
            return Ok(());
        }
        let shown = Shown::load(&elsewhere.dir)?;
        seen.glanced = Some(Instant::now());
        if seen.shown != shown {
            seen.shown = shown;
            self.publish(|journaled| {
                // Nothing that was open is closed again: a file that was taken away had said so truly.
                journaled.durable_batches = journaled.durable_batches.max(shown.map_or(0, |shown| shown.batches));
                journaled.let_go = journaled.let_go.max(shown.map_or(0, |shown| shown.let_go));
                journaled.over_budget = shown.is_some_and(|shown| shown.over_budget);
            });
        }
        if let Some(shown) = shown
            && seen.weighed.is_none_or(|at| at.elapsed() >= WEIGH)
        {
            seen.weighed = Some(Instant::now());
            seen.urgent = shown.over_budget || free_bytes(&elsewhere.dir)? < SCARCE;
            self.weigh(&elsewhere.dir, shown.journal_bytes / 2)?;
        }
        Ok(())
    }

    /// The same that the pump does for the followers of its own log.
    fn weigh(&self, dir: &Path, half: u64) -> auditring_journal::Result<()> {
        let held = if bytes_held(dir)? >= half { holding(dir, half)? } else { None };
        // How far the journal is stands in no name; where its last segment begins is as good.
        let last = segments(dir)?.last().map_or(0, |name| name.first_seq);
        self.press(held, held.map_or(0, |seq| last.saturating_sub(seq)));
        Ok(())
    }

    /// Whether a process that lives elsewhere shows how far it may be read; one that is not there does not.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.elsewhere.as_ref().is_none_or(|elsewhere| lock(&elsewhere.seen).shown.is_some())
    }

    /// Whether its journal or its disk has no room, so that whatever can be made safe had better be.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| lock(&elsewhere.seen).urgent)
    }

    /// Waits for so long, or for a nudge that is not among those `seen`: whether there was one.
    pub(crate) fn pause(&self, time: Duration, seen: &mut u64) -> bool {
        let (_, journaled) = self.wait_locked(time, lock(&self.journaled), *seen, |_| false);
        let nudged = journaled.nudges != *seen;
        *seen = journaled.nudges;
        nudged
    }

    /// Begins to show those outside how far they may read.
    pub(crate) fn show_in(&self, dir: &Path, journal_bytes: u64) -> auditring_journal::Result<()> {
        let show = Show::begin(dir, self.shown(journal_bytes))?;
        // Once in the life of a log.
        let _ = self.show.set((show, journal_bytes));
        Ok(())
    }

    fn shown(&self, journal_bytes: u64) -> Shown {
        let journaled = lock(&self.journaled);
        Shown {
            batches: if journaled.only_durable { journaled.durable_batches } else { u64::MAX },
            let_go: journaled.let_go,
            journal_bytes,
            over_budget: journaled.over_budget,
        }
    }

    /// Shows those outside how things are by now.
    pub(crate) fn show(&self) -> auditring_journal::Result<()> {
        self.show.get().map_or(Ok(()), |(show, journal_bytes)| show.show(self.shown(*journal_bytes)))
    }

    /// From now on followers have what is durable, and nothing else. Before any of them has begun.
    pub(crate) fn only_durable(&self) {
        lock(&self.journaled).only_durable = true;
    }

    /// So many batches may be read by followers.
    pub(crate) fn open_batches(&self) -> u64 {
        let journaled = lock(&self.journaled);
        if journaled.only_durable { journaled.durable_batches } else { u64::MAX }
    }

    /// Rows before this seq were let go for the budget's sake.
    pub(crate) fn let_go(&self) -> i64 {
        lock(&self.journaled).let_go
    }

    /// The final batch is written, and followers cannot have it yet.
    #[must_use]
    pub fn end_is_held_back(&self) -> bool {
        let journaled = lock(&self.journaled);
        journaled.ended && !journaled.over()
    }

    /// Why it does not get onto the disk, where that has been tried.
    pub(crate) fn held_back(&self) -> Option<String> {
        if self.end_is_held_back() { lock(&self.disk).clone() } else { None }
    }

    /// Says what the disk refuses; none: nothing.
    pub(crate) fn set_disk(&self, cause: Option<String>) {
        *lock(&self.disk) = cause;
    }

    /// Next seq behind the rows that are known to be on the disk itself.
    #[must_use]
    pub fn durable_seq(&self) -> i64 {
        lock(&self.journaled).durable_seq
    }

    pub(crate) fn written(&self) -> Written {
        let journaled = lock(&self.journaled);
        let Journaled { batches, durable_batches: durable, next_seq, ended, .. } = *journaled;
        Written { batches, durable, next_seq, ended }
    }

    /// Changes the numbers and wakes whoever waits for what they have reached.
    pub fn publish(&self, change: impl FnOnce(&mut Journaled)) {
        let mut journaled = lock(&self.journaled);
        change(&mut journaled);
        let reached = journaled.over() || journaled.wanted.iter().any(|seq| *seq <= journaled.open_to());
        drop(journaled);
        if reached {
            self.moved.notify_all();
        }
    }

    /// Ends every wait, once.
    pub fn nudge(&self) {
        lock(&self.journaled).nudges += 1;
        self.moved.notify_all();
    }

    /// Nudges so far.
    #[must_use]
    pub fn nudges(&self) -> u64 {
        lock(&self.journaled).nudges
    }

    /// Waits until followers may have `seq` rows and `enough` holds, the end comes, the time is over, or there was a nudge that
    /// is not among those `seen` (also one before the call); returns whether it holds.
    pub fn wait(&self, timeout: Duration, seq: i64, seen: &mut u64, enough: impl Fn(&Journaled) -> bool) -> bool {
        let mut journaled = lock(&self.journaled);
        journaled.wanted.push(seq);
        let (held, mut journaled) =
            self.wait_locked(timeout, journaled, *seen, |j| j.over() || (j.open_to() >= seq && enough(j)));
        *seen = journaled.nudges;
        if let Some(at) = journaled.wanted.iter().position(|wanted| *wanted == seq) {
            journaled.wanted.swap_remove(at);
        }
        held
    }

    fn wait_locked<'a>(
        &self,
        timeout: Duration,
        mut journaled: MutexGuard<'a, Journaled>,
        seen: u64,
        enough: impl Fn(&Journaled) -> bool,
    ) -> (bool, MutexGuard<'a, Journaled>) {
        let deadline = Instant::now().checked_add(timeout);
        while !enough(&journaled) {
            if journaled.nudges != seen {
                return (false, journaled);
            }
            let left = deadline.map_or(Duration::from_secs(3600), |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return (false, journaled);
            }
            journaled = self.moved.wait_timeout(journaled, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (true, journaled)
    }

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

    /// Whether this class sheds without waiting.
    #[must_use]
    pub fn sheds(&self, droppable: bool) -> bool {
        self.shed[usize::from(droppable)].load(Ordering::Relaxed)
    }

    /// A wait of this class has expired.
    pub fn shed(&self, droppable: bool) {
        self.shed[usize::from(droppable)].store(true, Ordering::Relaxed);
    }

    /// The pump has made space.
    pub fn space(&self) {
        for shed in &self.shed {
            if shed.load(Ordering::Relaxed) {
                shed.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Says what troubles the pump, and whether it will never work again.
    pub fn set_trouble(&self, cause: Option<String>, dead: bool) {
        *lock(&self.trouble) = cause;
        self.dead.store(dead, Ordering::Relaxed);
        self.moved.notify_all();
    }

    /// Whether waiting for space is pointless.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// What troubles the pump.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Why there is no room, where it is not that events simply come faster than the journal takes them.
    #[must_use]
    pub fn no_room(&self) -> Option<String> {
        const BUDGET: &str = "the journal's budget is used up: a sink that it keeps rows for is behind";
        self.trouble().or_else(|| lock(&self.journaled).over_budget.then(|| BUDGET.to_owned()))
    }

    /// Adds one producer's wait for space.
    pub fn waited(&self, time: Duration) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.blocked_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// So many bytes of the ring are in use: by the pump at each drain, and by a producer that finds no room.
    pub fn in_use(&self, bytes: u64) {
        // Few write and the most counts: a plain look before spares the line that others read.
        if bytes > self.most_in_use.load(Ordering::Relaxed) {
            self.most_in_use.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    /// The most of the ring that was ever seen in use.
    #[must_use]
    pub fn most_in_use(&self) -> u64 {
        self.most_in_use.load(Ordering::Relaxed)
    }

    /// Producers' waits for space, and their sum in nanoseconds.
    #[must_use]
    pub fn waits(&self) -> (u64, u64) {
        (self.waits.load(Ordering::Relaxed), self.blocked_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_waiter_sees_what_is_published() {
        let progress = Arc::new(Progress::default());
        let other = Arc::clone(&progress);
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(30), 7, &mut 0, |_| true));
        progress.publish(|j| j.next_seq = 7);
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn where_only_the_durable_counts_a_waiter_and_the_end_wait_for_the_disk() {
        let progress = Progress::default();
        progress.only_durable();
        let follower = |seq| progress.wait(Duration::from_millis(1), seq, &mut 0, |_| true);
        progress.publish(|j| (j.next_seq, j.batches) = (7, 2));
        assert_eq!((follower(7), progress.open_batches()), (false, 0));
        progress.publish(|j| (j.durable_seq, j.durable_batches) = (5, 1));
        assert_eq!((follower(5), follower(7), progress.open_batches()), (true, false, 1));
        progress.publish(|j| j.ended = true);
        assert_eq!((follower(8), progress.end_is_held_back()), (false, true));
        progress.publish(|j| (j.durable_seq, j.durable_batches) = (7, 2));
        assert_eq!((follower(8), progress.end_is_held_back()), (true, false));
    }

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

    #[test]
    fn a_wait_ends_at_its_deadline() {
        assert!(!Progress::default().wait(Duration::from_millis(1), 1, &mut 0, |_| true));
    }

    #[test]
    fn a_nudge_before_the_wait_ends_it_once() {
        let (progress, mut seen) = (Progress::default(), 0);
        progress.nudge();
        assert!(!progress.wait(Duration::from_secs(3600), 1, &mut seen, |_| true));
        assert!(!progress.wait(Duration::from_millis(1), 1, &mut seen, |_| true));
        assert_eq!(seen, progress.nudges());
    }

    #[test]
    fn space_ends_shedding() {
        let progress = Progress::default();
        progress.shed(true);
        assert!(progress.sheds(true) && !progress.sheds(false));
        progress.space();
        assert!(!progress.sheds(true));
    }
}
