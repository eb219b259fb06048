//! What is readable without a log: the catalog, and the balance of a directory.

use std::path::PathBuf;

use auditring_event::{ACTIONS, Authority, COLUMNS, Category, Column, ColumnType, Kind, Origin, Outcome, Target};
use auditring_flow::Held;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::log::os_error;

/// The catalog: one dictionary an action.
#[pyfunction]
pub(crate) fn actions(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for spec in ACTIONS {
        let action = PyDict::new(py);
        action.set_item("name", spec.name)?;
        action.set_item("code", spec.code)?;
        let (session, log) = (crate::slow::is_method(spec), crate::own::is_log_method(spec));
        action.set_item("method", (session || log).then_some(spec.method))?;
        action.set_item("session", session)?;
        action.set_item("broker", crate::methods::is_broker_method(spec))?;
        action.set_item("authorizer", session && spec.category == Category::Authorization)?;
        action.set_item("log", log)?;
        action.set_item("category", spec.category.word())?;
        action.set_item("scope", spec.scope.word())?;
        action.set_item("outcome", spec.outcome.word())?;
        let outcomes: Vec<_> = spec.outcomes.iter().map(|outcome| outcome.word()).collect();
        action.set_item("outcomes", outcomes)?;
        action.set_item("authority", spec.authority.map(auditring_event::Authority::word))?;
        action.set_item("origin", spec.origin.word())?;
        action.set_item("failure_status", spec.failure_status)?;
        action.set_item("denied_status", spec.denied_status)?;
        action
            .set_item("constants", spec.constants.iter().map(|(of, value)| (of.name(), *value)).collect::<Vec<_>>())?;
        action.set_item("stability", spec.stability.word())?;
        action.set_item("kroxylicious", spec.kroxylicious)?;
        action.set_item("doc", spec.doc)?;
        let fields = PyList::empty(py);
        for field in spec.fields {
            let entry = PyDict::new(py);
            entry.set_item("name", field.name)?;
            entry.set_item("type", if field.kind == Kind::Str { "str" } else { "int" })?;
            entry.set_item("required", field.required)?;
            let (target, key) = match field.target {
                Target::Column(column) => ("column", column.name()),
                Target::ObjectRef(key) => ("object_ref", key),
                Target::Context(key) => ("context", key),
            };
            entry.set_item("target", target)?;
            entry.set_item("key", key)?;
            entry.set_item("words", field.words)?;
            entry.set_item("cap", (field.kind == Kind::Str).then_some(field.cap))?;
            entry.set_item("min", (field.kind == Kind::Int).then_some(field.min))?;
            entry.set_item("max", (field.kind == Kind::Int).then_some(field.max))?;
            entry.set_item("doc", field.doc)?;
            fields.append(entry)?;
        }
        action.set_item("fields", fields)?;
        list.append(action)?;
    }
    Ok(list)
}

/// The table's columns, in order: one dictionary a column.
#[pyfunction]
pub(crate) fn columns(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for spec in COLUMNS {
        let column = PyDict::new(py);
        column.set_item("name", spec.name)?;
        let kind = match spec.kind {
            ColumnType::Timestamp => "timestamp",
            ColumnType::Int64 => "int64",
            ColumnType::Int32 => "int32",
            ColumnType::Dict | ColumnType::Text => "str",
            ColumnType::Texts => "list",
        };
        column.set_item("type", kind)?;
        column.set_item("required", spec.required)?;
        column.set_item("words", words(spec.column))?;
        column.set_item("doc", spec.doc)?;
        list.append(column)?;
    }
    Ok(list)
}

/// All that a column may say; empty: anything.
fn words(column: Column) -> Vec<&'static str> {
    match column {
        Column::Category => Category::ALL.iter().map(|one| one.word()).collect(),
        Column::Outcome => Outcome::ALL.iter().map(|one| one.word()).collect(),
        Column::Authority => Authority::ALL.iter().map(|one| one.word()).collect(),
        Column::Origin => Origin::ALL.iter().map(|one| one.word()).collect(),
        _ => Vec::new(),
    }
}

/// The columns that rows can be counted by, beside action and outcome.
#[pyfunction]
pub(crate) fn scope_columns() -> [&'static str; 3] {
    auditring_flow::scope_columns()
}

/// How far each sink of each process under `root` is, and the seq behind the last row of each process that has gone.
#[pyfunction]
pub(crate) fn cursors(py: Python<'_>, root: PathBuf) -> PyResult<auditring_flow::Cursors> {
    py.detach(|| auditring_flow::cursors(&root)).map_err(os_error)
}

/// The balance of every process under `root`, read from its files alone. `unreadable` is given those that cannot be read, each
/// with the reason; without it the first of them raises.
#[pyfunction]
#[pyo3(signature = (root, *, unreadable=None))]
pub(crate) fn outside<'py>(
    py: Python<'py>,
    root: PathBuf,
    unreadable: Option<&Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyList>> {
    let (all, damaged) = py.detach(|| auditring_flow::outside(&root)).map_err(os_error)?;
    for (dir, error) in damaged {
        let Some(unreadable) = unreadable else { return Err(os_error(error)) };
        unreadable.append((dir, error.to_string()))?;
    }
    let list = PyList::empty(py);
    for one in all {
        let process = PyDict::new(py);
        process.set_item("process", &one.process)?;
        process.set_item("instance", &one.instance)?;
        process.set_item("host", &one.host)?;
        process.set_item("pid", one.pid)?;
        process.set_item("alive", one.alive)?;
        process.set_item("lockless", one.lockless)?;
        process.set_item("next_seq", one.next_seq)?;
        for (term, value) in &one.terms {
            process.set_item(term, value)?;
        }
        process.set_item("lost", &one.lost)?;
        let sinks = PyDict::new(py);
        for (name, sink) in &one.sinks {
            let entry = PyDict::new(py);
            entry.set_item("required", sink.required)?;
            entry.set_item("cursor", sink.cursor)?;
            // A sink that was forgotten has a cursor behind the last row, and nothing from here on.
            let reached = sink.totals.get("forgotten_at").map_or(Ok(sink.cursor), |at| i64::try_from(*at))?;
            entry.set_item("reached", reached)?;
            entry.set_item("pending", sink.pending)?;
            entry.set_item("oldest_ns", sink.oldest_ns)?;
            entry.set_item("last_success_ns", sink.last_success_ns)?;
            for term in ["delivered", "merged", "sampled_out", "filtered_out"] {
                entry.set_item(term, sink.totals.get(term).copied().unwrap_or(0))?;
            }
            let lost = PyDict::new(py);
            for (name, value) in &sink.totals {
                if let Some(cause) = name.strip_prefix("lost_") {
                    lost.set_item(cause, value)?;
                }
            }
            entry.set_item("lost", lost)?;
            sinks.set_item(name, entry)?;
        }
        process.set_item("sinks", sinks)?;
        list.append(process)?;
    }
    Ok(list)
}

/// Every process that lists `sink` and of which it lacks rows: one dictionary each. With `really` it is forgotten wherever the
/// journal has ended.
#[pyfunction]
#[pyo3(signature = (root, sink, *, really=false))]
pub(crate) fn forget_sink<'py>(
    py: Python<'py>,
    root: PathBuf,
    sink: &str,
    really: bool,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for one in py.detach(|| auditring_flow::forget(&root, sink, really)).map_err(os_error)? {
        let found = PyDict::new(py);
        found.set_item("process", one.process)?;
        found.set_item("instance", one.instance)?;
        let held = match one.held {
            Held::Living => "living",
            Held::Unended => "unended",
            Held::Driven => "driven",
            Held::Ended => "ended",
        };
        found.set_item("held", held)?;
        found.set_item("rows", one.rows)?;
        found.set_item("removed", one.removed)?;
        list.append(found)?;
    }
    Ok(list)
}
