//! What an event is emitted by: a session, a connection of it to a broker, or a plugin.
//!
//! What must always hold: a context is encoded whole before it comes into force, so that rows before and after a change
//! differ and none is mixed; a handle that has ended takes no more events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use auditring_event::record::Encoder;
use auditring_event::sanitize::Marks;
use auditring_event::{Authority, Category, Context, Origin, Outcome, droppable};
use auditring_ring::Kind as Edge;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};

use crate::broker::Broker;
use crate::errors;
use crate::ffi::{Blob, Current, Hot};
use crate::plugin::Plugin;
use crate::session::Session;
use crate::shared::{Put, Shared, Via};

/// What every emit call sees.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    /// Of the thread that opened the session: so its events, whoever emits them, are in the order of the calls.
    pub(crate) lane: Arc<Hot>,
    pub(crate) current: Current,
    pub(crate) role: Role,
}

/// What a handle stands for.
#[allow(
    clippy::large_enum_variant,
    reason = "most handles are sessions, and the hot call need not go by another pointer"
)]
pub(crate) enum Role {
    Session(Session),
    Broker(Broker),
    Plugin(Plugin),
}

/// What a close says.
#[derive(Clone, Copy, Default)]
pub(crate) struct Close<'a> {
    pub(crate) initiator: Option<&'a str>,
    pub(crate) status: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    /// What was done to them.
    pub(crate) marks: Marks,
}

/// The last row of a session or a connection.
pub(crate) struct Ending {
    pub(crate) record: Vec<u8>,
    pub(crate) code: u16,
    pub(crate) outcome: Outcome,
}

/// Locked for assignments alone: nothing here waits, or runs Python, while it is held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is changed by assignments that cannot panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handle {
    /// A context as it lies in records.
    pub(crate) fn encode(&self, context: &Context) -> Blob {
        let mut bytes = Vec::with_capacity(256);
        context.encode(&mut bytes);
        let len = bytes.len() as u32;
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let (origin, attempts) = match &self.role {
            Role::Plugin(plugin) => (Origin::Filter, plugin.attempts()),
            _ => (Origin::Client, Origin::Client),
        };
        let (id, authority) = (self.shared.next_id(), self.authority());
        Blob { id, authority, origin, attempts, len, bytes: bytes.into_boxed_slice() }
    }

    /// Brings a context into force. What says the same as before needs no successor.
    pub(crate) fn bring(&self, py: Python<'_>, context: &Context) {
        let blob = self.encode(context);
        if self.current.held().is_none_or(|now| now.bytes != blob.bytes) {
            self.current.set(py, blob);
        }
    }

    /// Position of its type in `methods::TYPES`.
    pub(crate) fn kind(&self) -> usize {
        match &self.role {
            Role::Session(_) => 0,
            Role::Broker(_) => 1,
            Role::Plugin(plugin) => 2 + usize::from(plugin.authorizer),
        }
    }

    /// The session that the handle belongs to.
    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.role {
            Role::Session(session) => Some(session),
            Role::Broker(broker) => broker.parent.session(),
            Role::Plugin(plugin) => plugin.parent.as_ref().and_then(|parent| parent.session()),
        }
    }

    /// The id of the session that the handle belongs to.
    #[inline]
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session().map(|session| session.id.as_str())
    }

    /// The session's authority, for actions that have none of their own.
    pub(crate) fn authority(&self) -> Option<Authority> {
        match &self.role {
            Role::Plugin(plugin) if plugin.parent.is_none() => plugin.authority,
            _ => self.session().and_then(|session| session.authority),
        }
    }

    /// Who starts an event of this category, emitted by this handle.
    pub(crate) fn origin(&self, category: Category) -> Origin {
        match &self.role {
            Role::Plugin(plugin) if category == Category::Authorization => plugin.attempts(),
            Role::Plugin(_) => Origin::Filter,
            _ => Origin::Client,
        }
    }

    fn closed(&self, py: Python<'_>) -> PyErr {
        match (&self.role, self.session_id()) {
            (Role::Broker(broker), Some(id)) => {
                errors::session_closed(py, &format!("the connection to {} of session {id}", broker.server))
            }
            (Role::Plugin(plugin), Some(id)) => {
                errors::session_closed(py, &format!("plugin {} of session {id}", plugin.filter))
            }
            (_, Some(id)) => errors::session_closed(py, &format!("session {id}")),
            (Role::Plugin(plugin), None) if self.shared.is_forked() => errors::plugin_forked(py, &plugin.filter),
            (_, None) => errors::closed(self.shared.is_forked()),
        }
    }

    /// Whether no event of it is accepted any more.
    pub(crate) fn is_closed(&self) -> bool {
        !self.current.is_set() || self.shared.is_shut()
    }

    /// Raises `SessionClosed` or `LogClosed` where no event is accepted any more.
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        // A session of the parent's is closed here, while the log opens a ring of its own on its next use.
        if self.shared.is_forked() || (!self.current.is_set() && !self.shared.is_shut()) {
            return Err(self.closed(py));
        }
        if self.shared.is_shut() {
            return Err(errors::closed(false));
        }
        Ok(())
    }

    /// The way of a protected row that goes in whatever becomes of the handle.
    pub(crate) fn via(&self, code: u16, outcome: Outcome) -> Via<'_> {
        Via { lane: &self.lane, of: None, code, outcome, droppable: false }
    }

    /// Counts one of its events that does not enter the ring.
    #[inline]
    pub(crate) fn count(&self, code: u16, outcome: Outcome, what: Edge) {
        self.shared.count(&self.lane, code, outcome, what, 1);
    }

    /// Stamps a record with clock and context and puts it into the ring.
    pub(crate) fn put(
        &self,
        py: Python<'_>,
        encoder: &mut Encoder,
        (code, category): (u16, Category),
        outcome: Outcome,
    ) -> PyResult<()> {
        let Some(context) = self.current.held() else { return Err(self.closed(py)) };
        self.put_with(py, encoder, &context, (code, category), outcome)
    }

    /// The same with a context that is not in force yet.
    pub(crate) fn put_with(
        &self,
        py: Python<'_>,
        encoder: &mut Encoder,
        context: &Blob,
        (code, category): (u16, Category),
        outcome: Outcome,
    ) -> PyResult<()> {
        encoder.stamp(self.shared.clock.stamp()).context(context.id, &context.bytes[..context.len as usize]);
        let via = Via { of: Some(&self.current), droppable: droppable(category, outcome), ..self.via(code, outcome) };
        match self.shared.put(py, &encoder.to_vec(), via)? {
            Put::Done => Ok(()),
            Put::Withdrawn => Err(self.closed(py)),
        }
    }

    /// Ends what the handle stands for; later calls raise. Whoever comes first writes the rows.
    pub(crate) fn close(&self, py: Python<'_>, close: Close<'_>) -> PyResult<()> {
        // Every row is tried: the first that is refused is what the caller hears of.
        let put = |end: Ending| self.shared.put(py, &end.record, self.via(end.code, end.outcome)).map(|_| ());
        self.end(py, close).into_iter().map(put).fold(Ok(()), Result::and)
    }

    /// Ends it because its log ends: a full ring is waited for a little and never raised about.
    pub(crate) fn close_with_log(&self, py: Python<'_>, close: Close<'_>, until: Instant) -> PyResult<()> {
        let put = |end: Ending| self.shared.put_until(py, &end.record, self.via(end.code, end.outcome), until);
        self.end(py, close).into_iter().map(put).fold(Ok(()), Result::and)
    }

    /// The last reference has gone: what nobody closed ends here, without waiting for anything.
    pub(crate) fn abandon(&self, py: Python<'_>) {
        let status = match &self.role {
            Role::Session(_) => "SessionAbandoned",
            Role::Broker(_) => "BrokerAbandoned",
            Role::Plugin(_) => return,
        };
        for end in self.end(py, Close { status: Some(status), ..Close::default() }) {
            self.shared.put_now(&end.record, self.via(end.code, end.outcome));
        }
    }

    /// Takes the handle out of force; its last rows, in their order, if this call did it.
    pub(crate) fn end(&self, py: Python<'_>, close: Close<'_>) -> Vec<Ending> {
        match &self.role {
            Role::Session(session) => session.end(py, self, close),
            Role::Broker(broker) => broker.end(py, self, close).into_iter().collect(),
            Role::Plugin(_) => Vec::new(),
        }
    }

    /// The session that the handle belongs to has another context now, or none any more.
    pub(crate) fn follow(&self, py: Python<'_>, context: Option<&Context>) {
        match &self.role {
            Role::Session(_) => {}
            Role::Broker(broker) => broker.follow(py, self, context),
            Role::Plugin(plugin) => plugin.follow(py, self, context),
        }
    }
}

/// A property of the types.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) get: fn(&Handle, Python<'_>) -> Py<PyAny>,
}

fn text(py: Python<'_>, text: Option<&str>) -> Py<PyAny> {
    text.map_or_else(|| py.None(), |text| PyString::new(py, text).into_any().unbind())
}

/// The properties of all types.
pub(crate) const PROPERTIES: [Property; 7] = [
    Property {
        name: "id",
        doc: "The host's id for the connection, or the UUID made here.",
        get: |handle, py| text(py, handle.session_id()),
    },
    Property {
        name: "closed",
        doc: "Whether it takes no event any more: it was closed, or its log.",
        get: |handle, py| PyBool::new(py, handle.is_closed()).to_owned().into_any().unbind(),
    },
    Property {
        name: "server",
        doc: "The broker or upstream.",
        get: |handle, py| text(py, handle.broker().map(|broker| broker.server.as_str())),
    },
    Property {
        name: "local",
        doc: "The proxy's own end of the connection.",
        get: |handle, py| text(py, handle.broker().and_then(|broker| broker.local.as_deref())),
    },
    Property {
        name: "node_id",
        doc: "The broker's node id.",
        get: |handle, py| {
            let id = handle.broker().and_then(|broker| broker.node_id);
            id.map_or_else(|| py.None(), |id| PyInt::new(py, id).into_any().unbind())
        },
    },
    Property {
        name: "filter",
        doc: "Which filter its events name.",
        get: |handle, py| text(py, handle.plugin().map(|plugin| plugin.filter.as_str())),
    },
    Property {
        name: "namespace",
        doc: "The package that the names of its events begin with.",
        get: |handle, py| text(py, handle.plugin().map(|plugin| plugin.namespace.as_str())),
    },
];

impl Handle {
    fn broker(&self) -> Option<&Broker> {
        if let Role::Broker(broker) = &self.role { Some(broker) } else { None }
    }

    pub(crate) fn plugin(&self) -> Option<&Plugin> {
        if let Role::Plugin(plugin) = &self.role { Some(plugin) } else { None }
    }
}
