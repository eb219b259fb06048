//! Readers of fresh rows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::arrow::RowBatch;
use crate::log::os_error;

/// Every journal under a directory, opened at one moment, with the Parquet sink's cursors.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Snapshot(Mutex<auditring_flow::Snapshot>);

#[pymethods]
impl Snapshot {
    #[new]
    fn new(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        let snapshot = py.detach(|| auditring_flow::Snapshot::open(&root)).map_err(os_error)?;
        Ok(Self(Mutex::new(snapshot)))
    }

    /// Whether any process lists a Parquet follower (without one nothing becomes a table).
    #[getter]
    fn parquet(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).parquet()
    }

    /// The primary tap of each process that has one; complete after `fresh`.
    #[getter]
    fn primary_taps(&self) -> BTreeMap<String, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).primary_taps().clone()
    }

    /// Rows that only a later version can read; complete after `fresh`.
    #[getter]
    fn unknown(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unknown()
    }

    /// Rows that no file has and no journal any more; complete after `fresh`.
    #[getter]
    fn gone(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gone()
    }

    /// Rows that are in no sealed file: `sealed` lists (process, first seq, last seq) of those that are.
    fn fresh(&self, py: Python<'_>, sealed: Vec<auditring_flow::Sealed>) -> PyResult<Vec<RowBatch>> {
        let batches = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).fresh(&sealed));
        Ok(batches.map_err(os_error)?.into_iter().map(RowBatch::new).collect())
    }
}
