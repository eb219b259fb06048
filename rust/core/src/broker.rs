//! One of a session's connections to a broker or upstream: its rows say which.
//!
//! What must always hold: `BrokerConnect` is its first row and `BrokerClose` its last; it has the session's context of the
//! moment, with the broker's own on top.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use auditring_event::record::Encoder;
use auditring_event::sanitize::Marks;
use auditring_event::{ActionSpec, Context, Outcome, named};
use pyo3::prelude::*;

use crate::errors;
use crate::ffi::Current;
use crate::handle::{Close, Ending, Handle, Role, lock};
use crate::session::ending;

pub(crate) const BROKER_CONNECT: &ActionSpec = named("BrokerConnect");
const BROKER_CLOSE: &ActionSpec = named("BrokerClose");

/// One connection.
pub(crate) struct Broker {
    pub(crate) parent: Arc<Handle>,
    pub(crate) server: String,
    pub(crate) local: Option<String>,
    pub(crate) node_id: Option<i32>,
    opened: Instant,
    /// Whether it has ended; also what orders its changes and the end.
    ended: Mutex<bool>,
}

/// What a session says of a connection that it opens.
#[derive(Default)]
pub(crate) struct Connect {
    pub(crate) server: String,
    pub(crate) local: Option<String>,
    pub(crate) node_id: Option<i32>,
    pub(crate) duration_ns: Option<i64>,
    pub(crate) status: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) marks: Marks,
}

impl Broker {
    /// Opens a connection: its `BrokerConnect` is in the ring when this returns. With a status it was never open: the
    /// handle has ended, and no close will follow.
    pub(crate) fn open(py: Python<'_>, parent: &Arc<Handle>, connect: Connect) -> PyResult<Arc<Handle>> {
        parent.check_open(py)?;
        let Connect { server, local, node_id, duration_ns, status, reason, marks } = connect;
        let broker = Self {
            parent: Arc::clone(parent),
            server,
            local,
            node_id,
            opened: Instant::now(),
            ended: Mutex::new(false),
        };
        let role = Role::Broker(broker);
        let (shared, lane) = (Arc::clone(&parent.shared), Arc::clone(&parent.lane));
        let new = Handle { shared, lane, current: Current::default(), role };
        let adopted = parent.session().and_then(|session| {
            session.adopt(|context| {
                new.follow(py, Some(context));
                Arc::new(new)
            })
        });
        let Some(handle) = adopted else {
            let id = parent.session_id().unwrap_or_default();
            return Err(errors::session_closed(py, &format!("session {id}")));
        };
        let mut event = Encoder::new(BROKER_CONNECT);
        event.flags(marks.flags());
        if let Some(duration) = duration_ns {
            event.int("duration_ns", duration);
        }
        if let Some(reason) = reason {
            event.reason(&reason);
        }
        let mut outcome = BROKER_CONNECT.outcome;
        if let Some(status) = &status {
            outcome = Outcome::Failure;
            event.status(status).outcome(outcome);
        }
        let put = handle.put(py, &mut event, (BROKER_CONNECT.code, BROKER_CONNECT.category), outcome);
        // A connection that failed, or whose row was refused, was never open: it must not close with a row either.
        if put.is_err() || status.is_some() {
            if let Role::Broker(broker) = &handle.role {
                *lock(&broker.ended) = true;
            }
            handle.current.clear(py);
        }
        put.map(|()| handle)
    }

    pub(crate) fn follow(&self, py: Python<'_>, handle: &Handle, context: Option<&Context>) {
        let ended = lock(&self.ended);
        if let Some(context) = context.filter(|_| !*ended) {
            handle.bring(py, &self.own(context.clone()));
        }
    }

    /// A session's context with the connection's own on top.
    pub(crate) fn own(&self, context: Context) -> Context {
        Context {
            server: Some(self.server.clone()),
            server_local: self.local.clone(),
            node_id: self.node_id,
            ..context
        }
    }

    pub(crate) fn end(&self, py: Python<'_>, handle: &Handle, close: Close<'_>) -> Option<Ending> {
        let context = {
            let mut ended = lock(&self.ended);
            let context = handle.current.held().filter(|_| !*ended)?;
            *ended = true;
            handle.current.clear(py);
            context
        };
        if handle.shared.is_shut() {
            return None;
        }
        Some(ending(handle, &context, BROKER_CLOSE, self.opened, close))
    }
}
