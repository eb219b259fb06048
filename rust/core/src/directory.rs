//! What all processes of a directory add up to, for whoever asks again and again.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::log::os_error;

/// An audit directory that is looked at again and again: each look reads what has come since the last one.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Directory(Mutex<auditring_flow::Directory>);

#[pymethods]
impl Directory {
    #[new]
    fn new(root: PathBuf) -> Self {
        Self(Mutex::new(auditring_flow::Directory::new(root)))
    }

    /// Looks once, without the GIL. `samples`: counters over all processes that ever were, each `(name, labels, value)`.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        // What a panic has left is what the last look that came to its end had.
        let seen = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).read()).map_err(os_error)?;
        let reading = PyDict::new(py);
        let samples = PyList::empty(py);
        for (sample, value) in &seen.samples {
            let labels = PyTuple::new(py, &sample.labels)?;
            samples.append((&sample.name, labels, value))?;
        }
        reading.set_item("samples", samples)?;
        let sinks = PyDict::new(py);
        for (name, sink) in &seen.sinks {
            let entry = PyDict::new(py);
            entry.set_item("pending", sink.pending)?;
            entry.set_item("oldest_ns", sink.oldest_ns)?;
            entry.set_item("last_success_ns", sink.last_success_ns)?;
            sinks.set_item(name, entry)?;
        }
        reading.set_item("sinks", sinks)?;
        let processes = PyDict::new(py);
        for (state, count) in [
            ("writing", seen.processes.writing),
            ("ended", seen.processes.ended),
            ("dead", seen.processes.dead),
            ("gone", seen.processes.gone),
            ("missing", seen.processes.missing),
        ] {
            processes.set_item(state, count)?;
        }
        reading.set_item("processes", processes)?;
        reading.set_item("in_ring", seen.in_ring)?;
        reading.set_item("ring_bytes", seen.ring_bytes)?;
        reading.set_item("ring_used", seen.ring_used)?;
        reading.set_item("ring_high_water", seen.ring_high_water)?;
        reading.set_item("pressure", seen.pressure)?;
        reading.set_item("journal_bytes", seen.journal_bytes)?;
        let unreadable = seen.unreadable.into_iter().map(|(path, error)| (path, error.to_string()));
        reading.set_item("unreadable", unreadable.collect::<Vec<_>>())?;
        Ok(reading)
    }
}
