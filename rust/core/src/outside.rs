//! What is readable without a log: the catalog, and the balance of a directory.

use std::path::PathBuf;

use auditring_event::{ACTIONS, Kind};
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
        action.set_item("method", crate::slow::is_method(spec).then_some(spec.method))?;
        action.set_item("category", spec.category.word())?;
        action.set_item("scope", spec.scope.word())?;
        action.set_item("outcome", spec.outcome.word())?;
        action.set_item("authority", spec.authority.map(auditring_event::Authority::word))?;
        action.set_item("stability", spec.stability.word())?;
        action.set_item("doc", spec.doc)?;
        let fields = PyList::empty(py);
        for field in spec.fields {
            let entry = PyDict::new(py);
            entry.set_item("name", field.name)?;
            entry.set_item("type", if field.kind == Kind::Str { "str" } else { "int" })?;
            entry.set_item("required", field.required)?;
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

/// The balance of every process under `root`, read from its files alone.
#[pyfunction]
pub(crate) fn outside(py: Python<'_>, root: PathBuf) -> PyResult<Bound<'_, PyList>> {
    let all = py.detach(|| auditring_flow::outside(&root)).map_err(os_error)?;
    let list = PyList::empty(py);
    for one in all {
        let process = PyDict::new(py);
        process.set_item("process", &one.process)?;
        process.set_item("instance", &one.instance)?;
        process.set_item("host", &one.host)?;
        process.set_item("pid", one.pid)?;
        process.set_item("alive", one.alive)?;
        process.set_item("next_seq", one.next_seq)?;
        for (term, value) in &one.terms {
            process.set_item(term, value)?;
        }
        process.set_item("lost", &one.lost)?;
        let sinks = PyDict::new(py);
        for (name, sink) in &one.sinks {
            let entry = PyDict::new(py);
            entry.set_item("cursor", sink.cursor)?;
            entry.set_item("pending", sink.pending)?;
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
