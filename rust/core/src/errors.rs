//! The exceptions of `auditring.exceptions`, raised from here; imported when first needed.

use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

fn exception(py: Python<'_>, name: &str, message: String) -> PyErr {
    let class = py
        .import("auditring.exceptions")
        .and_then(|module| module.getattr(name))
        .and_then(|class| class.cast_into::<PyType>().map_err(PyErr::from));
    match class {
        Ok(class) => PyErr::from_type(class, message),
        // Interpreter shutdown, or a broken installation: the message still says what happened.
        Err(_) => PyRuntimeError::new_err(message),
    }
}

/// `LogClosed`.
pub(crate) fn closed(forked: bool) -> PyErr {
    let message = if forked {
        "this log belongs to the parent process; the child's first use of it opens one of its own, \
         a session of the parent's is closed here: open a new one"
    } else {
        "the log is closed: no event is accepted any more"
    };
    Python::attach(|py| exception(py, "LogClosed", message.to_owned()))
}

/// `SessionClosed`.
pub(crate) fn session_closed(py: Python<'_>, id: &str) -> PyErr {
    exception(py, "SessionClosed", format!("session {id} is closed: no event of it is accepted any more"))
}

/// `AuditUnavailable`.
pub(crate) fn unavailable(py: Python<'_>, cause: Option<&str>, waited: Duration) -> PyErr {
    let cause = cause.unwrap_or("the ring is full: events come faster than the journal takes them");
    exception(py, "AuditUnavailable", format!("the event was not recorded after {} ms: {cause}", waited.as_millis()))
}
