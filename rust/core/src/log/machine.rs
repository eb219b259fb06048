//! What a log that keeps something has beside its sessions: the pump, the process's directory, and the ring that is replaced.
//!
//! What must always hold: whoever has both locks took the pump's first; a ring that is gone over to is known to the callers
//! before the one before is closed, and to the pump last; and nothing of the directory goes while anything may write to it.

use std::path::PathBuf;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use auditring_flow::{Carry, Error, Mailbox, Pump, Unsynced, retire};
use auditring_journal::{Lock, ProcessDir, fold, in_memory};
use auditring_ring::{Identity, Ring};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use uuid::Uuid;

use super::os_error;
use crate::shared::Shared;

/// Something that was taken away: path, kind, what became of it, whether it is there again.
pub(super) type Missing = (PathBuf, &'static str, &'static str, bool);

/// What a log that keeps something has beside its sessions.
pub(super) struct Machine {
    pub(super) process: Uuid,
    pub(super) root: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) pump: Mutex<Option<Pump>>,
    pub(super) held: Mutex<Option<ProcessDir>>,
    /// For a forked child, where the directory may be in the pump's hands for ever.
    pub(super) lock: Weak<Lock>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) unsynced: Arc<Unsynced>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Moves records from ring to journal for up to `timeout` seconds with the GIL released.
    pub(super) fn run(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout =
            Duration::try_from_secs_f64(timeout).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
        let ended = py.detach(|| match self.pump.lock() {
            Ok(mut pump) => Some(pump.as_mut().map_or(Ok(true), |pump| pump.run(timeout))),
            Err(_) => None,
        });
        let Some(ended) = ended else {
            return Err(PyRuntimeError::new_err("a panic has left the pump half-changed; recovery takes its work up"));
        };
        ended.map_err(os_error)
    }

    /// Lets go of ring and journal as they are.
    pub(super) fn abandon(&self, py: Python<'_>) {
        py.detach(|| {
            drop(lock(&self.pump).take());
            drop(lock(&self.held).take());
        });
    }

    /// Goes on with a new ring where this one's file is gone, or it is damaged; returns whether it did.
    pub(super) fn replace_ring(&self, py: Python<'_>, shared: &Shared, refused: Option<&str>) -> PyResult<bool> {
        let Some(old) = shared.ring().map(Arc::clone) else { return Ok(false) };
        let damaged = lock(&self.pump).as_ref().is_some_and(Pump::is_damaged);
        if shared.is_shut() || (old.is_linked() && !damaged) {
            return Ok(false);
        }
        if lock(&self.pump).as_ref().is_some_and(Pump::is_replacing) {
            // The one that has gone by now has events that the pump does not come to yet: it may be at the journal's budget.
            return Ok(false);
        }
        if damaged {
            // The new one takes its name. What is in it comes out of memory, as if somebody else had deleted it.
            old.unlink()?;
        }
        let identity = Identity { generation: old.identity().generation + 1, ..*old.identity() };
        let made = py.detach(|| Ring::create(old.path(), old.geometry(), &identity, old.clock(), old.birth()));
        let ring = Arc::new(made.map_err(os_error)?);
        if shared.redacts() && !in_memory(ring.path()) {
            let path = ring.path().to_owned();
            let _ = ring.unlink();
            return Err(os_error(Error::NotInMemory(path)));
        }
        // With the GIL no caller is in the middle of counting; without one the pump fetches what comes late.
        let carry = Carry::begin(Arc::clone(&old), &ring);
        if shared.replace(&ring).is_err() {
            let _ = ring.unlink();
            return Err(PyOSError::new_err("the new ring has no room for the definitions of the old one"));
        }
        old.close();
        fence(Ordering::SeqCst);
        if shared.is_shut() {
            // Closed while the new ring was made: what was closed then was the old one.
            ring.close();
        }
        if let Some(pump) = lock(&self.pump).as_mut() {
            pump.replace(ring, carry, refused);
        }
        Ok(true)
    }

    /// Puts back what of the journal was taken away; returns what was, and why not where it is not there again.
    pub(super) fn keep_journal(&self, py: Python<'_>) -> (Vec<Missing>, Option<String>) {
        let (found, result) = py.detach(|| {
            let (mut pump, held) = (lock(&self.pump), lock(&self.held));
            match (pump.as_mut(), held.as_ref()) {
                (Some(pump), Some(held)) => pump.keep(held),
                _ => (Vec::new(), Ok(())),
            }
        });
        let found = found.into_iter().map(|one| (one.path, one.kind, one.what.word(), one.restored)).collect();
        (found, result.err().map(|error| error.to_string()))
    }

    /// Stores the totals, and removes ring and journal if every sink is past; returns whether it did.
    pub(super) fn finish(&self, py: Python<'_>, shared: &Shared, leave: bool, behind: bool) -> PyResult<bool> {
        let finish = || {
            let removed = self.remove(shared, behind)?;
            if leave && !removed && !shared.progress.end_is_held_back() {
                drop(lock(&self.held).take());
            }
            Ok(removed)
        };
        py.detach(finish).map_err(|error: Error| os_error(error))
    }

    /// Whether all is gone.
    fn remove(&self, shared: &Shared, behind: bool) -> Result<bool, Error> {
        if shared.progress.end_is_held_back() {
            // Its syncer goes on trying: the ring is left until the final row is durable.
            return Ok(false);
        }
        // The pump first: it waits for its syncer, and nothing may write to the directory any more.
        drop(lock(&self.pump).take());
        let mut held = lock(&self.held);
        if held.is_none() {
            // What could not be removed the last time.
            return retire(&self.root, self.process.as_bytes(), &mut held);
        }
        let state = fold(&self.dir)?;
        if let (Some(_), Some(ring)) = (state.ending, shared.ring()) {
            // All that it held is journaled, whether or not a sink still lags.
            ring.unlink().map_err(|source| Error::Io {
                what: "remove the ring",
                path: ring.path().to_owned(),
                source,
            })?;
        }
        if behind {
            // A cursor may be past all of it although its follower could not make sure of that: who tries again finds it there.
            return Ok(false);
        }
        retire(&self.root, self.process.as_bytes(), &mut held)
    }
}
