//! Following a directory's journals from outside, and events of the table as the same lines.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use auditring_event::event::{Cell, Event};
use auditring_event::{COLUMNS, Category, Column, Outcome, flat};
use auditring_flow::{Filter, Style};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrow::dialect;
use crate::log::os_error;

/// A reader that follows every journal of a directory.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Tail {
    inner: Mutex<auditring_flow::Tail>,
    style: Style,
    unreadable: Mutex<u64>,
}

/// A row's time, process and seq, and its line.
type Line<'py> = (i64, String, i64, Bound<'py, PyBytes>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn words<T>(what: &str, words: Vec<String>, of: fn(&str) -> Option<T>) -> PyResult<Vec<T>> {
    let read = |word: String| of(&word).ok_or_else(|| PyValueError::new_err(format!("there is no {what} {word:?}")));
    words.into_iter().map(read).collect()
}

fn category(word: &str) -> Option<Category> {
    Category::from_word(word)
}

fn outcome(word: &str) -> Option<Outcome> {
    Outcome::from_word(word)
}

fn style(json: bool, name: Option<&str>, colour: bool) -> PyResult<Style> {
    let dialect = dialect(name)?;
    match (json, name) {
        (true, _) => Ok(Style::Json { dialect }),
        (false, None) => Ok(Style::People { colour }),
        (false, Some(_)) => Err(PyValueError::new_err("a dialect is one of JSON lines")),
    }
}

#[pymethods]
impl Tail {
    #[new]
    #[pyo3(signature = (root, *, json=false, dialect=None, colour=false, from_now=false, actions=vec![], categories=vec![], outcomes=vec![],
                        principals=vec![], sessions=vec![], since_ns=None))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "they are passed by name")]
    fn new(
        py: Python<'_>,
        root: PathBuf,
        json: bool,
        dialect: Option<&str>,
        colour: bool,
        from_now: bool,
        actions: Vec<String>,
        categories: Vec<String>,
        outcomes: Vec<String>,
        principals: Vec<String>,
        sessions: Vec<String>,
        since_ns: Option<i64>,
    ) -> PyResult<Self> {
        let style = style(json, dialect, colour)?;
        let categories = words("category", categories, category)?;
        let outcomes = words("outcome", outcomes, outcome)?;
        let filter = Filter { actions, categories, outcomes, principals, sessions, since_ns };
        let inner = py.detach(|| auditring_flow::Tail::open(&root, filter, from_now)).map_err(os_error)?;
        Ok(Self { inner: Mutex::new(inner), style, unreadable: Mutex::new(0) })
    }

    /// The processes whose journals are being followed.
    #[getter]
    fn processes(&self) -> Vec<String> {
        lock(&self.inner).processes()
    }

    /// Rows that were met and could not be read.
    #[getter]
    fn unreadable(&self) -> u64 {
        *lock(&self.unreadable)
    }

    /// What was in a journal and is there no more: process, first and last seq. Each is told once.
    fn missed(&self) -> Vec<(String, i64, i64)> {
        let missed = lock(&self.inner).take_missed();
        missed.into_iter().map(|one| (one.process, one.first_seq, one.last_seq)).collect()
    }

    /// The last rows of what was journaled when the reader was made, at most `most` of each process.
    fn last<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<Line<'py>>> {
        let (lines, unreadable) = py
            .detach(|| lock(&self.inner).last(most).map(|sets| auditring_flow::lines_each(sets, self.style)))
            .map_err(os_error)?;
        *lock(&self.unreadable) += unreadable;
        let line = |line: auditring_flow::Line| (line.time_ns, line.process, line.seq, PyBytes::new(py, &line.text));
        Ok(lines.into_iter().map(line).collect())
    }

    /// Lines of the rows that wait in windows that are not over, as they stand.
    fn rest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let lines = py.detach(|| auditring_flow::lines(lock(&self.inner).rest(), self.style));
        *lock(&self.unreadable) += lines.unreadable;
        PyBytes::new(py, &lines.text)
    }

    /// Lines of the rows that were journaled since the last call; empty when there are none for now.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let lines = py
            .detach(|| lock(&self.inner).fresh().map(|sets| auditring_flow::lines(sets, self.style)))
            .map_err(os_error)?;
        *lock(&self.unreadable) += lines.unreadable;
        Ok(PyBytes::new(py, &lines.text))
    }
}

/// A value of the table, as Python has it.
#[derive(FromPyObject)]
pub(crate) enum Value {
    #[pyo3(transparent)]
    Text(String),
    #[pyo3(transparent)]
    Int(i64),
    #[pyo3(transparent)]
    Texts(Vec<String>),
}

/// The lines of rows of the table, as `Tail` would give them: `columns` names what is in each row; times are nanoseconds
/// since the epoch.
#[pyfunction]
#[pyo3(signature = (columns, rows, *, json=false, dialect=None, colour=false))]
pub(crate) fn lines<'py>(
    py: Python<'py>,
    columns: Vec<String>,
    rows: Vec<Vec<Option<Value>>>,
    json: bool,
    dialect: Option<&str>,
    colour: bool,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let column = |name: &str| COLUMNS.iter().find(|spec| spec.name == name).map(|spec| spec.column);
    let columns = words("column", columns, column)?;
    let style = style(json, dialect, colour)?;
    let lines = rows.into_iter().map(|row| {
        let mut event = Event::default();
        for (column, value) in columns.iter().zip(row) {
            event.set(*column, value.map(|value| cell(*column, value)));
        }
        let mut line = Vec::new();
        style.line(&event, &mut line);
        PyBytes::new(py, &line)
    });
    Ok(lines.collect())
}

fn cell(column: Column, value: Value) -> Cell {
    match value {
        Value::Int(number) => Cell::Int(number),
        Value::Texts(list) => Cell::Texts(list),
        Value::Text(text) => match column {
            // What is no flat map is no map of ours: it is shown as none.
            Column::ObjectRef | Column::Context => Cell::Map(flat::context(&text).unwrap_or_default()),
            _ => Cell::Text(text),
        },
    }
}
