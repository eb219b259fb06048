//! Waits for the journal and for the disk.
//!
//! What must always hold: whoever waits has let go of the GIL, hears of signals, and does not wait for a pump that is dead.

use std::time::{Duration, Instant};

use auditring_flow::Journaled;
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;

use super::claims::{ends, known};
use super::machine::Machine;
use super::os_error;
use crate::shared::Shared;

/// How long the interpreter is left alone before signals are looked for.
const SLICE: Duration = Duration::from_millis(50);

/// Until all that was accepted before the call is journaled; returns the next seq.
pub(super) fn journaled(py: Python<'_>, shared: &Shared, timeout: Option<f64>) -> PyResult<i64> {
    let Some(ring) = shared.ring() else { return Ok(0) };
    let progress = &shared.progress;
    let (generation, target): (_, Vec<_>) = (ring.identity().generation, ends(ring, &progress.journaled()).collect());
    // Another ring is gone over to when all of the one before is journaled.
    let enough = |now: &Journaled| {
        now.generation > generation
            || (now.generation == generation && known(ring, now).zip(&target).all(|(now, end)| now >= *end))
    };
    let deadline = match timeout {
        Some(seconds) => {
            let wait =
                Duration::try_from_secs_f64(seconds).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
            Some(Instant::now() + wait)
        }
        None => None,
    };
    let mut nudges = progress.nudges();
    loop {
        ring.wake();
        let left = deadline.map_or(SLICE, |at| SLICE.min(at.saturating_duration_since(Instant::now())));
        let done = py.detach(|| progress.wait(left, i64::MIN, &mut nudges, enough));
        if done {
            return Ok(progress.next_seq());
        }
        py.check_signals()?;
        if deadline.is_some_and(|at| Instant::now() >= at) {
            let cause = progress.trouble().unwrap_or_else(|| "the journal is behind".into());
            return Err(PyTimeoutError::new_err(format!("not everything accepted is journaled yet: {cause}")));
        }
        if progress.dead() {
            let cause = progress.trouble().unwrap_or_default();
            return Err(PyTimeoutError::new_err(format!("the pump is dead: {cause}")));
        }
    }
}

/// Until the rows before `seq` are on the disk itself. All who wait at a time share one `fdatasync`.
pub(super) fn durable(py: Python<'_>, machine: &Machine, seq: i64, timeout: Option<f64>) -> PyResult<()> {
    let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
    let timeout = timeout.map_err(|error| PyValueError::new_err(format!("timeout: {error}")))?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map_or(SLICE, |at| SLICE.min(at.saturating_duration_since(Instant::now())));
        if py.detach(|| machine.unsynced.wait(seq, left)).map_err(os_error)? {
            return Ok(());
        }
        py.check_signals()?;
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(PyTimeoutError::new_err("the disk has not yet taken everything that is journaled"));
        }
    }
}
