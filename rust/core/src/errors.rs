//! The exceptions of `auditring.exceptions`, raised from here; imported when first needed.

use std::time::Duration;

use auditring_event::Definition;
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

/// `LogClosed`, of a plugin's handle that a forked child has from its parent.
pub(crate) fn plugin_forked(py: Python<'_>, filter: &str) -> PyErr {
    let message = format!(
        "plugin {filter} belongs to the log of the parent process; in a forked child make a new handle with \
         AuditLog.plugin(…), which opens the child's own log"
    );
    exception(py, "LogClosed", message)
}

/// `SessionClosed`, of a session or of what belongs to one.
pub(crate) fn session_closed(py: Python<'_>, what: &str) -> PyErr {
    exception(py, "SessionClosed", format!("{what} is closed: no event of it is accepted any more"))
}

/// `EventConflict`.
pub(crate) fn conflict(py: Python<'_>, known: &Definition, wanted: &Definition) -> PyErr {
    let say = |one: &Definition| {
        format!("object_ref={:?}, context={:?}, outcome={:?}", one.object_ref, one.context, one.outcome.word())
    };
    let message = format!("{} is declared with {} already, not with {}", wanted.name, say(known), say(wanted));
    exception(py, "EventConflict", message)
}

/// `EventTableFull`.
pub(crate) fn table_full(py: Python<'_>, name: &str) -> PyErr {
    let message = format!(
        "{name} is one event too many: a log takes 256 declarations, of 64 KiB in all; free-form emit() needs none"
    );
    exception(py, "EventTableFull", message)
}

/// `AuditUnavailable`.
pub(crate) fn unavailable(py: Python<'_>, cause: Option<&str>, waited: Duration) -> PyErr {
    let cause = cause.unwrap_or("the ring is full: events come faster than the journal takes them");
    exception(py, "AuditUnavailable", format!("the event was not recorded after {} ms: {cause}", waited.as_millis()))
}
