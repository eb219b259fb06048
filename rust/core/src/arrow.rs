//! Rows as Arrow, handed over by the C data interface, and as JSON lines. Each is made when asked for.

use arrow_array::Array;
use arrow_array::StructArray;
use arrow_array::ffi::{FFI_ArrowSchema, to_ffi};
use arrow_schema::Schema;
use auditring_event::arrow::RecordBatch;
use auditring_event::json::Dialect;
use auditring_event::{RowSet, arrow, json};
use auditring_flow::Batch;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyList, PyString};
use std::collections::HashMap;

fn failed(error: impl std::fmt::Display) -> PyErr {
    PyRuntimeError::new_err(format!("rows could not be converted: {error}"))
}

/// The dialect of a name; ours without one.
pub(crate) fn dialect(name: Option<&str>) -> PyResult<Dialect> {
    let Some(name) = name else { return Ok(Dialect::Own) };
    Dialect::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Dialect::NAMED.iter().map(|(name, _)| *name).collect();
        PyValueError::new_err(format!("there is no dialect {name:?}; known: {}", known.join(", ")))
    })
}

fn schema_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(failed)?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// A batch as the C data interface has it: schema and columns.
fn capsules(py: Python<'_>, batch: RecordBatch) -> PyResult<Capsules<'_>> {
    let schema = schema_capsule(py, batch.schema_ref())?;
    let (array, _) = to_ffi(&StructArray::from(batch).to_data()).map_err(failed)?;
    Ok((schema, PyCapsule::new_with_value(py, array, c"arrow_array")?))
}

type Capsules<'py> = (Bound<'py, PyCapsule>, Bound<'py, PyCapsule>);

/// An Arrow schema, handed over by the C data interface.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct ArrowSchema;

#[pymethods]
#[allow(clippy::unused_self, reason = "the interface's methods have a receiver; the schema is one and the same")]
impl ArrowSchema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &arrow::schema())
    }
}

/// A record batch, handed over by the C data interface.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct ArrowBatch(RecordBatch);

#[pymethods]
impl ArrowBatch {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Capsules<'py>> {
        // The interface lets a producer ignore a schema that it does not cast to.
        drop(requested_schema);
        capsules(py, self.0.clone())
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, self.0.schema_ref())
    }
}

/// The Arrow schema of the rows; `pyarrow.schema(schema())` makes it pyarrow's.
#[pyfunction]
pub(crate) fn schema() -> ArrowSchema {
    ArrowSchema
}

/// Texts of which the rows of a batch have few: one Python object for each place in memory.
#[derive(Default)]
struct Words<'py>(HashMap<(usize, usize), Bound<'py, PyString>>);

impl<'py> Words<'py> {
    fn of(&mut self, py: Python<'py>, word: &str) -> Bound<'py, PyString> {
        // The same bytes at the same place, for as long as the batch is borrowed; texts of rows may differ in place alone.
        self.0.entry((word.as_ptr().addr(), word.len())).or_insert_with(|| PyString::new(py, word)).clone()
    }
}

/// Rows of one process and one contiguous range of seq, after the policy.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct RowBatch(Batch);

impl RowBatch {
    pub(crate) fn new(batch: Batch) -> Self {
        Self(batch)
    }

    /// The rows as they are.
    pub(crate) fn set(&self) -> PyResult<&RowSet> {
        if self.0.table.is_some() {
            return Err(PyRuntimeError::new_err("these rows are Arrow alone, as the sink's `batching.tables` says"));
        }
        Ok(&self.0.set)
    }

    /// The rows as Arrow.
    fn table(&self, py: Python<'_>) -> PyResult<RecordBatch> {
        match &self.0.table {
            Some(batch) => Ok(batch.clone()),
            None => py.detach(|| arrow::record_batch(&self.0.set)).map_err(failed),
        }
    }
}

#[pymethods]
#[allow(clippy::unused_self, reason = "the interface's methods have a receiver; the schema is one and the same")]
impl RowBatch {
    /// Rows to deliver.
    #[getter]
    fn rows(&self) -> usize {
        self.0.rows
    }

    /// Events that were merged into the rows, beside the first of each.
    #[getter]
    fn merged(&self) -> u64 {
        self.0.merged
    }

    /// First seq of the range; behind the last where rows of an earlier one have closed, and no more.
    #[getter]
    fn first_seq(&self) -> i64 {
        self.0.first_seq
    }

    /// Last seq of the range, inclusive.
    #[getter]
    fn last_seq(&self) -> i64 {
        self.0.last_seq
    }

    /// Rows of the range that sampling left out.
    #[getter]
    fn sampled_out(&self) -> u64 {
        self.0.sampled_out
    }

    /// Rows of the range that a rule or the sink left out.
    #[getter]
    fn filtered_out(&self) -> u64 {
        self.0.filtered_out
    }

    /// Rows of the range that are damaged or gone.
    #[getter]
    fn lost(&self) -> u64 {
        self.0.lost
    }

    /// Those of them that were let go at the journal's budget.
    #[getter]
    fn lost_budget(&self) -> u64 {
        self.0.lost_budget
    }

    /// Those of them that the sink has refused.
    #[getter]
    fn lost_rejected(&self) -> u64 {
        self.0.lost_rejected
    }

    /// Least wall time of the range, nanoseconds since the epoch.
    #[getter]
    fn min_time_ns(&self) -> i64 {
        self.0.time.0
    }

    /// Greatest wall time of the range, nanoseconds since the epoch.
    #[getter]
    fn max_time_ns(&self) -> i64 {
        self.0.time.1
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Capsules<'py>> {
        drop(requested_schema);
        capsules(py, self.table(py)?)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &arrow::schema())
    }

    /// Who touched what: the rows that name a resource, added up; none where there would be too many sums.
    fn touched(&self, py: Python<'_>) -> PyResult<Option<ArrowBatch>> {
        let batch = self.table(py)?;
        Ok(py.detach(|| arrow::touched(&batch)).map_err(failed)?.map(ArrowBatch))
    }

    /// Canonical JSON, one object a line, each line ended by a newline; UTF-8.
    #[pyo3(signature = (dialect=None))]
    fn json_lines<'py>(&self, py: Python<'py>, dialect: Option<&str>) -> PyResult<Bound<'py, PyBytes>> {
        let (set, dialect) = (self.set()?, self::dialect(dialect)?);
        let lines = py.detach(|| {
            let mut lines = Vec::with_capacity(set.rows.len() * 1024);
            json::lines_in(dialect, set, &mut lines).map(|()| lines)
        });
        Ok(PyBytes::new(py, &lines.map_err(failed)?))
    }

    /// A tuple a row: its line without the newline, seq, time in nanoseconds since the epoch, the catalog's name of the
    /// action, category, outcome, session and virtual cluster.
    #[pyo3(signature = (dialect=None))]
    fn records<'py>(&self, py: Python<'py>, dialect: Option<&str>) -> PyResult<Bound<'py, PyList>> {
        let (set, dialect) = (self.set()?, self::dialect(dialect)?);
        let (lines, records) = py
            .detach(|| {
                let mut lines = Vec::with_capacity(set.rows.len() * 1024);
                json::records_in(dialect, set, &mut lines).map(|records| (lines, records))
            })
            .map_err(failed)?;
        let mut words = Words::default();
        let mut begin = 0;
        let rows = records.iter().map(|record| {
            let line = &lines[begin..record.end - 1];
            begin = record.end;
            (
                PyBytes::new(py, line),
                record.seq,
                record.time_ns,
                words.of(py, record.action),
                words.of(py, record.category),
                words.of(py, record.outcome),
                record.session.map(|session| words.of(py, session)),
                record.virtual_cluster.map(|cluster| words.of(py, cluster)),
            )
        });
        PyList::new(py, rows)
    }

    fn __repr__(&self) -> String {
        format!("<RowBatch seq {}..={}, {} rows>", self.0.first_seq, self.0.last_seq, self.0.rows)
    }
}
