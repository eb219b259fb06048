//! A plugin's handle: what it emits names the filter, begins with its own package, and is never taken for the client's.
//!
//! What must always hold: a plugin emits names within its own namespace and nothing else (an authorizer also the decisions
//! that it was asked for); process, session, seq and time are not its to say.

use std::sync::{Arc, Mutex};

use auditring_event::sanitize::Marks;
use auditring_event::{Authority, Context, Origin};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::ffi::Current;
use crate::handle::{Handle, Role, lock};
use crate::shared::Shared;

/// One plugin, within a session or on its own account.
pub(crate) struct Plugin {
    pub(crate) parent: Option<Arc<Handle>>,
    pub(crate) filter: String,
    /// What was done to its names.
    pub(crate) marks: Marks,
    pub(crate) namespace: String,
    pub(crate) tap: Option<String>,
    pub(crate) authorizer: bool,
    /// Of a plugin without a session.
    pub(crate) authority: Option<Authority>,
    /// Whether its session has ended; also what orders its changes.
    pub(crate) ended: Mutex<bool>,
}

impl Plugin {
    /// A handle of a session's; it ends with the session.
    pub(crate) fn of_session(self, py: Python<'_>, parent: &Arc<Handle>) -> PyResult<Arc<Handle>> {
        parent.check_open(py)?;
        let new = Handle {
            shared: Arc::clone(&parent.shared),
            lane: Arc::clone(&parent.lane),
            current: Current::default(),
            role: Role::Plugin(Self { parent: Some(Arc::clone(parent)), ..self }),
        };
        let adopted = parent.session().and_then(|session| {
            session.adopt(|context| {
                new.follow(py, Some(context));
                Arc::new(new)
            })
        });
        adopted
            .ok_or_else(|| errors::session_closed(py, &format!("session {}", parent.session_id().unwrap_or_default())))
    }

    /// A handle for what happens with no client in sight; it ends with the log.
    pub(crate) fn of_log(self, py: Python<'_>, shared: &Arc<Shared>) -> PyResult<Arc<Handle>> {
        if shared.is_shut() {
            return Err(errors::closed(shared.is_forked()));
        }
        let role = Role::Plugin(self);
        let lane = Arc::clone(shared.lane());
        let handle = Handle { shared: Arc::clone(shared), lane, current: Current::default(), role };
        handle.follow(py, Some(&Context::default()));
        Ok(Arc::new(handle))
    }

    /// Who attempts what this authorizer decides: its session's client.
    pub(crate) fn attempts(&self) -> Origin {
        if self.parent.is_some() { Origin::Client } else { Origin::Filter }
    }

    /// Whether an event's name is the plugin's own.
    pub(crate) fn owns(&self, name: &str) -> bool {
        name.strip_prefix(self.namespace.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }

    pub(crate) fn foreign(&self, name: &str) -> PyErr {
        PyValueError::new_err(format!(
            "{name:?} is not a name of {:?}: a plugin emits events of its own namespace alone",
            self.namespace
        ))
    }

    pub(crate) fn follow(&self, py: Python<'_>, handle: &Handle, context: Option<&Context>) {
        let mut ended = lock(&self.ended);
        let Some(context) = context.filter(|_| !*ended) else {
            *ended = true;
            handle.current.clear(py);
            return;
        };
        let mut own = context.clone();
        own.filter = Some(self.filter.clone());
        if self.tap.is_some() {
            own.tap.clone_from(&self.tap);
        }
        own.mark(self.marks);
        handle.bring(py, &own);
    }
}
