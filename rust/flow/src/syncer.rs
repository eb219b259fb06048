//! What of the journal is not yet known to be durable, and the thread that sees to it: the pump never waits for a disk (a
//! ring fills in milliseconds), and a late write-back error is seen all the same.
//!
//! The thread works in rounds. One is due when a segment was rolled, when somebody waits in [`Unsynced::wait`], and, where the
//! log promises to survive a loss of power, so long after the first batch that the last round does not cover. Whatever was
//! written before a round begins is durable when it ends well: however many wait, and however many batches, it is one
//! `fdatasync` for all of them. What must always hold: a round covers what was published before its segments were listed, in
//! their order; so what counts as durable has no hole.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use auditring_journal::{Error, SyncHandle};

use crate::progress::{Progress, Written};

/// How long after a round that failed the next one may begin, at first and at most. A segment that is rolled does not wait.
const FIRST_AGAIN: Duration = Duration::from_millis(100);
const LAST_AGAIN: Duration = Duration::from_secs(10);

/// What several may be told.
type Outcome<T> = Result<T, Arc<Error>>;

/// One segment. The kernel tells of a failed write-back once: a second `fdatasync` that succeeds proves nothing about what
/// the first one lost. So a segment that failed stays failed until all of it was written again, elsewhere on the disk.
#[derive(Debug)]
struct Segment {
    handle: SyncHandle,
    /// The number of its first batch, and the next seq there.
    begins: (u64, i64),
    failed: Mutex<bool>,
}

/// How far a round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Over the segments before the one being written.
    Rolled,
    /// Over everything.
    All,
}

/// What went wrong and was not told yet.
#[derive(Debug)]
pub(crate) struct Untold {
    pub(crate) error: Arc<Error>,
    /// It is the segment being written: it has to be rolled, so that it can be written again.
    pub(crate) current: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Segments that are not known to be durable, the one being written last.
    segments: Vec<Arc<Segment>>,
    /// When the next round is to begin, and how far it goes.
    due: Option<(Instant, Reach)>,
    /// No round begins before: the last one failed.
    not_before: Option<Instant>,
    /// Failures since a round ended well.
    failures: u32,
    /// Of rounds over everything: how many were begun, and the last one if it failed, with the reason.
    rounds: u64,
    failure: Option<(u64, Arc<Error>)>,
    untold: Option<Untold>,
    /// After how long what was written is made durable without being asked for; none: when its segment is rolled.
    interval: Option<Duration>,
    /// When the first batch was written that no round covers, and the first that the round under way does; where there is an
    /// interval.
    since: Option<Instant>,
    covering: Option<Instant>,
    closing: bool,
    ended: bool,
}

impl State {
    fn begins_at(&self) -> Option<(Instant, Reach)> {
        let (due, reach) = self.due?;
        Some((if self.closing { due } else { self.not_before.map_or(due, |at| at.max(due)) }, reach))
    }
}

/// What of the journal is not known to be durable.
#[derive(Debug)]
pub struct Unsynced {
    state: Mutex<State>,
    /// There is something to do, or the log is closed.
    work: Condvar,
    /// A round has ended.
    done: Condvar,
    progress: Arc<Progress>,
    /// Followers have what is durable alone, so a segment that has gone before it was durable was passed by nobody, and is
    /// missed unless it was let go of at the budget.
    followed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists of handles and plain words, whole between any two operations.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unsynced {
    /// Waits until the rows before `seq`, which are journaled, are durable; `false` when the time is over first. All who wait
    /// at a time share one `fdatasync`.
    ///
    /// # Errors
    /// If the disk refused it to a round that began after the call, or refuses everything for now.
    pub fn wait(&self, seq: i64, timeout: Duration) -> Outcome<bool> {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.state);
        let before = state.rounds;
        loop {
            if self.progress.durable_seq() >= seq {
                return Ok(true);
            }
            let outage = state.not_before.is_some_and(|at| at > Instant::now());
            if let Some((_, error)) = state.failure.as_ref().filter(|(round, _)| outage || *round > before) {
                return Err(Arc::clone(error));
            }
            if state.ended {
                return Err(Arc::new(refused(Path::new("the journal"), "the thread that does it has ended")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            if state.rounds == before {
                self.want(&mut state, Instant::now(), Reach::All);
            }
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Where durability is promised at all, a round begins at once: somebody waits for a follower, which waits for it.
    pub fn hasten(&self) {
        let mut state = lock(&self.state);
        if state.interval.is_some() {
            self.want(&mut state, Instant::now(), Reach::All);
        }
    }

    /// How long what was promised to be durable has been waiting for it by now.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let state = lock(&self.state);
        state.covering.or(state.since).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether anybody follows, by now.
    pub(crate) fn follow(&self, followed: bool) {
        self.followed.store(followed, Ordering::Relaxed);
    }

    /// Whether what is not durable was passed by nobody who follows.
    fn is_missed(&self) -> bool {
        self.followed.load(Ordering::Relaxed) && lock(&self.state).interval.is_some()
    }

    fn want(&self, state: &mut State, at: Instant, reach: Reach) {
        let wanted = state.due.map_or((at, reach), |(due, known)| (due.min(at), known.max(reach)));
        if state.due != Some(wanted) {
            state.due = Some(wanted);
            self.work.notify_one();
        }
    }

    /// Rounds until the log is closed; the last one is for what was asked for until then.
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            match state.begins_at() {
                Some((at, reach)) if state.closing || at <= Instant::now() => {
                    state.due = None;
                    drop(state);
                    self.round(reach);
                    state = lock(&self.state);
                }
                None if state.closing => return,
                Some((at, _)) => {
                    let left = at.saturating_duration_since(Instant::now());
                    state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn round(&self, reach: Reach) {
        let all = reach == Reach::All;
        let (written, segments, round) = {
            let mut state = lock(&self.state);
            state.rounds += u64::from(all);
            if all {
                state.covering = state.since.take();
            }
            // In this order: what was published by then lies in these segments, or is durable already.
            (self.progress.written(), state.segments.clone(), state.rounds)
        };
        let result = self.make_durable(&segments, all, written);
        self.progress.set_disk(result.as_ref().err().map(ToString::to_string));
        if let Ok((batches, seq)) = result {
            self.progress.publish(|journaled| {
                journaled.durable_batches = journaled.durable_batches.max(batches);
                journaled.durable_seq = journaled.durable_seq.max(seq);
            });
            // Where that fails those outside have it later: the pump shows it anew, and tells.
            let _ = self.progress.show();
        }
        let mut state = lock(&self.state);
        let since = state.covering.take();
        match result {
            Ok(_) => (state.failures, state.failure, state.not_before) = (0, None, None),
            Err(error) => {
                let again = LAST_AGAIN.min(FIRST_AGAIN.saturating_mul(1 << state.failures.min(10)));
                let at = Instant::now() + again;
                state.failures += 1;
                state.not_before = Some(at);
                state.since = since.or(state.since);
                if all {
                    state.failure = Some((round, error));
                }
                if state.interval.is_some() && !state.closing {
                    self.want(&mut state, at, Reach::All);
                }
            }
        }
        drop(state);
        self.done.notify_all();
    }

    /// Up to which batch and seq everything is durable then.
    fn make_durable(&self, segments: &[Arc<Segment>], all: bool, written: Written) -> Outcome<(u64, i64)> {
        for pair in segments.windows(2) {
            self.whole(&pair[0], pair[1].begins.0)?;
            lock(&self.state).segments.retain(|one| !Arc::ptr_eq(one, &pair[0]));
        }
        match segments.last() {
            // Behind the final batch nothing is written to it any more.
            Some(current) if all && written.ended => self.whole(current, written.batches)?,
            Some(current) if all => self.see_to(current, None)?,
            Some(current) => return Ok(current.begins),
            None => {}
        }
        Ok((written.batches, written.next_seq))
    }

    /// A segment that is whole, and holds the batches before number `end`: where it cannot be made durable it is written again
    /// at once, and all the same told of.
    fn whole(&self, segment: &Segment, end: u64) -> Outcome<()> {
        self.see_to(segment, Some(end)).or_else(|_| self.see_to(segment, Some(end)))
    }

    /// One try at a segment; one that failed before is written again if it is whole: then `end` is behind its last batch.
    fn see_to(&self, segment: &Segment, end: Option<u64>) -> Outcome<()> {
        let mut failed = lock(&segment.failed);
        if !*failed && end.is_some_and(|end| end <= self.progress.written().durable) {
            return Ok(());
        }
        let path = segment.handle.path();
        let gone = !path.exists();
        if gone && (!self.is_missed() || self.is_let_go(segment)) {
            // Passed by every sink, or given up for room: nobody will read it again.
            return Ok(());
        }
        let tell = |error| self.tell(error, end.is_none());
        if !*failed {
            let deleted = || refused(path, "it was deleted before it was durable");
            let result = if gone { Err(deleted()) } else { segment.handle.sync() };
            *failed = result.is_err();
            return result.map_err(tell);
        }
        let Some(end) = end else {
            let why = "an earlier fdatasync of it failed; it will be written again when it is rolled";
            return Err(Arc::new(Error::damaged(path, why)));
        };
        let found = segment.handle.write_again().map_err(tell)?.unwrap_or(segment.begins.0);
        *failed = false;
        if found < end {
            let why = format!("a failed write took its batches from {found} to {end}, and nobody has them any more");
            return Err(tell(Error::damaged(path, why)));
        }
        Ok(())
    }

    /// Whether all of its rows were let go of at the budget; one that was being written as the round began may be whole by now.
    fn is_let_go(&self, segment: &Segment) -> bool {
        let state = lock(&self.state);
        let next = state.segments.iter().skip_while(|one| !std::ptr::eq(&raw const ***one, segment)).nth(1);
        next.is_some_and(|next| next.begins.1 <= self.progress.let_go())
    }

    fn tell(&self, error: Error, current: bool) -> Arc<Error> {
        let error = Arc::new(error);
        let mut state = lock(&self.state);
        // The pump must hear that it has to roll, whatever else has failed since.
        let current = current || state.untold.as_ref().is_some_and(|untold| untold.current);
        state.untold = Some(Untold { error: Arc::clone(&error), current });
        error
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::Io { action: "sync", path: path.to_owned(), source: io::Error::other(why) }
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Unsynced>);

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.0.state).ended = true;
        self.0.done.notify_all();
    }
}

/// Handle of the thread; dropping it waits for what was asked.
#[derive(Debug)]
pub(crate) struct Syncer {
    unsynced: Arc<Unsynced>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// `followed`: sinks have what is durable alone.
    pub(crate) fn start(progress: Arc<Progress>, interval: Option<Duration>, followed: bool) -> io::Result<Self> {
        let unsynced = Arc::new(Unsynced {
            state: Mutex::new(State { interval, ..State::default() }),
            work: Condvar::new(),
            done: Condvar::new(),
            progress,
            followed: AtomicBool::new(followed),
        });
        let ending = Ending(Arc::clone(&unsynced));
        let thread = std::thread::Builder::new().name("auditring-sync".into()).spawn(move || ending.0.run())?;
        Ok(Self { unsynced, thread: Some(thread) })
    }

    /// A segment begins; those before it are to be made durable.
    pub(crate) fn begin(&self, handle: SyncHandle, begins: (u64, i64)) {
        let mut state = lock(&self.unsynced.state);
        state.segments.push(Arc::new(Segment { handle, begins, failed: Mutex::new(false) }));
        if state.segments.len() > 1 {
            // One that failed can be written again now.
            state.not_before = None;
            self.unsynced.want(&mut state, Instant::now(), Reach::Rolled);
        }
    }

    /// A segment that held nothing is removed.
    pub(crate) fn removed(&self, path: &Path) {
        lock(&self.unsynced.state).segments.retain(|one| one.handle.path() != path);
    }

    /// A batch was written, and published.
    pub(crate) fn written(&self) {
        let mut state = lock(&self.unsynced.state);
        let Some(interval) = state.interval else { return };
        let since = *state.since.get_or_insert_with(Instant::now);
        // As good as never, where no clock reaches that far.
        if let Some(at) = since.checked_add(interval) {
            self.unsynced.want(&mut state, at, Reach::All);
        }
    }

    pub(crate) fn unsynced(&self) -> Arc<Unsynced> {
        Arc::clone(&self.unsynced)
    }

    /// What went wrong since the last question.
    pub(crate) fn failed(&self) -> Option<Untold> {
        lock(&self.unsynced.state).untold.take()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        lock(&self.unsynced.state).closing = true;
        self.unsynced.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // It only ends by itself; a panic in it has nothing left to tell here.
            let _ = thread.join();
        }
    }
}
