//! What of the journal is not yet known to be durable, and the thread that sees to it when a segment is rolled: the pump
//! never waits for a disk (a ring fills in milliseconds), and a late write-back error is seen all the same.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use auditring_journal::{Error, Result, SyncHandle};

/// One segment. The kernel tells of a failed write-back once: a second `fdatasync` that succeeds proves nothing about what
/// the first one lost. So a segment that failed stays failed until all of it was written again, elsewhere on the disk.
#[derive(Debug)]
struct Segment {
    handle: SyncHandle,
    /// Held while it is seen to, so that it is written again by one thread at a time.
    failed: Mutex<bool>,
}

/// Segments that are not known to be durable, the one being written last.
#[derive(Debug, Default)]
pub struct Unsynced {
    segments: Mutex<Vec<Arc<Segment>>>,
    failed: Mutex<Option<Error>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists of handles, whole between any two operations.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unsynced {
    fn begin(&self, segment: SyncHandle) {
        lock(&self.segments).push(Arc::new(Segment { handle: segment, failed: Mutex::new(false) }));
    }

    fn forget(&self, segment: &Arc<Segment>) {
        lock(&self.segments).retain(|one| !Arc::ptr_eq(one, segment));
    }

    /// Makes everything durable that was journaled before the call.
    ///
    /// # Errors
    /// If the system says that it is not.
    pub fn sync(&self) -> Result<()> {
        let segments = lock(&self.segments).clone();
        let Some((current, rolled)) = segments.split_last() else { return Ok(()) };
        for segment in rolled {
            sync(segment, true)?;
            self.forget(segment);
        }
        sync(current, false)
    }
}

/// A segment that every sink has passed is deleted already: nobody will read it again. One that failed is written again
/// once it is `whole`, that is, rolled.
fn sync(segment: &Segment, whole: bool) -> Result<()> {
    let mut failed = lock(&segment.failed);
    let path = segment.handle.path();
    if !path.exists() {
        return Ok(());
    }
    let result = match (*failed, whole) {
        (false, _) => segment.handle.sync(),
        (true, true) => segment.handle.write_again(),
        (true, false) => {
            Err(Error::damaged(path, "an earlier fdatasync of it failed; it will be written again when it is rolled"))
        }
    };
    *failed = result.is_err();
    result
}

/// Handle of the thread; dropping it waits for what was asked.
#[derive(Debug)]
pub(crate) struct Syncer {
    unsynced: Arc<Unsynced>,
    ask: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start() -> Self {
        let (ask, asked): (_, Receiver<()>) = channel();
        let unsynced = Arc::<Unsynced>::default();
        let shared = Arc::clone(&unsynced);
        let work = move || {
            for () in asked {
                let rolled = lock(&shared.segments).split_last().map(|(_, rolled)| rolled.to_vec()).unwrap_or_default();
                for segment in rolled {
                    // What failed is told, and then written again: now, or when the next segment is rolled.
                    let result = sync(&segment, true).or_else(|error| {
                        *lock(&shared.failed) = Some(error);
                        sync(&segment, true)
                    });
                    if result.is_ok() {
                        shared.forget(&segment);
                    }
                }
            }
        };
        // Without a thread (limits) rolled segments wait for the next `sync`: nothing is taken for durable that is not.
        let thread = std::thread::Builder::new().name("auditring-sync".into()).spawn(work).ok();
        Self { unsynced, ask: thread.is_some().then_some(ask), thread }
    }

    /// A segment begins; those before it are to be made durable.
    pub(crate) fn begin(&self, segment: SyncHandle) {
        self.unsynced.begin(segment);
        if let Some(ask) = &self.ask {
            // The thread ends only with us.
            let _ = ask.send(());
        }
    }

    /// A segment that cannot even be asked for.
    pub(crate) fn fail(&self, error: Error) {
        *lock(&self.unsynced.failed) = Some(error);
    }

    pub(crate) fn unsynced(&self) -> Arc<Unsynced> {
        Arc::clone(&self.unsynced)
    }

    /// What went wrong since the last question.
    pub(crate) fn failed(&self) -> Option<Error> {
        lock(&self.unsynced.failed).take()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // It only ends by itself; a panic in it has nothing left to tell here.
            let _ = thread.join();
        }
    }
}
