//! How a log's sessions are opened, and closed with it.
//!
//! What must always hold: no session is opened before all that was said of its connection has been looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auditring_event::Context;
use auditring_event::sanitize::Marks;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use uuid::Uuid;

use crate::args;
use crate::ffi::instance;
use crate::handle::Close;
use crate::methods;
use crate::session::Session;
use crate::shared::Shared;

/// What is read of an address that may have a port behind it; its host is cut to the column's cap with the context.
const ADDRESS_CAP: usize = 256;

/// What a host says of a connection.
pub(super) struct Accepted<'py> {
    pub(super) id: Option<Bound<'py, PyAny>>,
    pub(super) peer: Option<Bound<'py, PyAny>>,
    pub(super) local: Option<Bound<'py, PyAny>>,
    pub(super) virtual_cluster: Option<Bound<'py, PyAny>>,
    pub(super) client_id: Option<Bound<'py, PyAny>>,
    pub(super) authority: Option<Bound<'py, PyAny>>,
    pub(super) tap: Option<Bound<'py, PyAny>>,
    pub(super) context: Option<Bound<'py, PyAny>>,
}

/// Opens a session: `ClientAccept`.
pub(super) fn open(py: Python<'_>, shared: &Arc<Shared>, accepted: Accepted<'_>) -> PyResult<Py<PyAny>> {
    let Accepted { id, peer, local, virtual_cluster, client_id, authority, tap, context } = accepted;
    let mut marks = Marks::default();
    let mut text = |name: &str, value: Option<Bound<'_, PyAny>>, cap: usize| {
        let Some(value) = value else { return Ok(None) };
        let (text, done) = args::text(name, &value, cap)?;
        marks |= done;
        Ok::<_, PyErr>(Some(text))
    };
    let id = text("id", id, auditring_event::SESSION_SESSION_CAP)?.filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
    let virtual_cluster = text("virtual_cluster", virtual_cluster, auditring_event::SESSION_VIRTUAL_CLUSTER_CAP)?;
    let client_id = text("client_id", client_id, auditring_event::SESSION_CLIENT_ID_CAP)?;
    let tap = text("tap", tap, auditring_event::SESSION_TAP_CAP)?;
    let authority = authority.map(|authority| args::authority(&authority)).transpose()?;
    let (peer_ip, peer_port) = match peer {
        Some(peer) => args::address("peer", &peer, ADDRESS_CAP, &mut marks)?,
        None => (None, None),
    };
    let listener = match local {
        Some(local) => args::endpoint("local", &local, auditring_event::SESSION_LISTENER_CAP, &mut marks)?,
        None => None,
    };
    let map = match context {
        Some(context) => methods::session_map(&context, &mut marks)?,
        None => None,
    };
    let mut context = Context {
        session: Some(id.clone()),
        virtual_cluster,
        client_id,
        listener,
        peer_ip,
        peer_port: peer_port.map(i32::from),
        tap,
        context: map,
        ..Context::default()
    };
    context.mark(marks);
    instance(py, Session::open(py, shared, id, authority, context)?, None)
}

/// Ends every open session; returns how many there were.
pub(super) fn close(py: Python<'_>, shared: &Shared, timeout: f64) -> PyResult<usize> {
    let wait = Duration::try_from_secs_f64(timeout).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
    let until = Instant::now() + wait;
    let sessions = shared.sessions();
    for session in &sessions {
        let close = Close { status: Some("ProxyShutdown"), initiator: Some("proxy"), ..Close::default() };
        session.close_with_log(py, close, until)?;
    }
    Ok(sessions.len())
}
