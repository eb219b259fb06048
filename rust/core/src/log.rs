//! A log: ring, pump and counters behind one object. Python owns the threads that drive them.

mod claims;
mod machine;
mod open;
mod post;
mod python;
mod sessions;
mod stats;
mod waits;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use auditring_flow::Progress;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use self::machine::Machine;
use crate::shared::Shared;

/// An error of the flow as the `OSError` that it mostly is.
pub(crate) fn os_error(error: impl std::error::Error + 'static) -> PyErr {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if let Some(code) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return PyOSError::new_err((code, error.to_string()));
        }
        source = inner.source();
    }
    PyOSError::new_err(error.to_string())
}

/// A ring, its counters and its journal; Python owns the threads that drive them.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Log {
    shared: Arc<Shared>,
    machine: Option<Machine>,
    closed: AtomicBool,
}

impl Log {
    /// What a follower needs.
    pub(crate) fn follow(&self) -> Option<(PathBuf, Arc<Progress>)> {
        Some((self.machine.as_ref()?.dir.clone(), Arc::clone(&self.shared.progress)))
    }

    /// What takes events. Raises `LogClosed`.
    pub(crate) fn live(&self) -> PyResult<&Arc<Shared>> {
        if self.shared.is_shut() {
            return Err(crate::errors::closed(self.shared.is_forked()));
        }
        Ok(&self.shared)
    }
}
