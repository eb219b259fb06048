//! One client connection: its context, and the events that change or end it.
//!
//! What must always hold: `ClientAccept` is a session's first row and `ClientClose` its last, whoever closes first, and
//! its connections to brokers have ended before it; what belongs to a session sees every change of its context.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use auditring_event::record::Encoder;
use auditring_event::{ActionSpec, Authority, Context, Outcome, index_of, named, spec_at};
use pyo3::prelude::*;

use crate::errors;
use crate::ffi::{Blob, Current};
use crate::handle::{Close, Ending, Handle, Role, lock};
use crate::shared::Shared;

const CLIENT_ACCEPT: &ActionSpec = named("ClientAccept");
const CLIENT_CLOSE: &ActionSpec = named("ClientClose");

/// One session.
pub(crate) struct Session {
    pub(crate) id: String,
    number: u64,
    pub(crate) authority: Option<Authority>,
    opened: Instant,
    /// What the context in force was encoded from; also what orders its changes and the end.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    facts: Facts,
    ended: bool,
    /// Connections and plugins that follow the context.
    children: Vec<Weak<Handle>>,
}

/// What is known of a client.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) context: Context,
    /// Principals by the action that proved them, in the order in which each way was first used: a client may prove itself
    /// by a certificate and by SASL too, and again by SASL later.
    proofs: Vec<(u16, String)>,
}

impl Facts {
    /// A client has proved who it is.
    pub(crate) fn prove(&mut self, action: u16, principal: &str, mechanism: Option<&str>) {
        match self.proofs.iter_mut().find(|(by, _)| *by == action) {
            Some((_, known)) => principal.clone_into(known),
            None => self.proofs.push((action, principal.to_owned())),
        }
        self.say(mechanism);
    }

    /// It has proved who it is in a way that does not show its name: whom it proved to be that way before, it is no more.
    pub(crate) fn prove_unnamed(&mut self, action: u16, mechanism: &str) {
        self.proofs.retain(|(by, _)| *by != action);
        self.say(Some(mechanism));
    }

    fn say(&mut self, mechanism: Option<&str>) {
        self.context.principals = self.proofs.iter().map(|(_, name)| format!("User:{name}")).collect();
        self.context.principal = self.proofs.first().map(|(_, name)| name.clone());
        if let Some(mechanism) = mechanism {
            self.context.mechanism = Some(mechanism.to_owned());
        }
    }
}

impl Session {
    /// Opens a session: its `ClientAccept` is in the ring when this returns.
    pub(crate) fn open(
        py: Python<'_>,
        shared: &Arc<Shared>,
        id: String,
        authority: Option<Authority>,
        context: Context,
    ) -> PyResult<Arc<Handle>> {
        if shared.is_shut() {
            return Err(errors::closed(shared.is_forked()));
        }
        let number = shared.next_id();
        let session = Self { id, number, authority, opened: Instant::now(), state: Mutex::default() };
        let role = Role::Session(session);
        let lane = Arc::clone(shared.lane());
        let handle = Arc::new(Handle { shared: Arc::clone(shared), lane, current: Current::default(), role });
        handle.change(py, |facts| facts.context = context);
        // Known to the log before its first row, so that a close of the log that comes between ends it.
        shared.register(number, Arc::downgrade(&handle));
        let accept = (CLIENT_ACCEPT.code, CLIENT_ACCEPT.category);
        // A session whose accept was refused was never open: it must not close with a row either.
        if let Err(error) = handle.put(py, &mut Encoder::new(CLIENT_ACCEPT), accept, CLIENT_ACCEPT.outcome) {
            if let Role::Session(session) = &handle.role {
                lock(&session.state).ended = true;
            }
            handle.current.clear(py);
            shared.forget(number);
            return Err(error);
        }
        Ok(handle)
    }

    /// Makes what belongs to the session: `make` is given the context now in force, and what it makes follows it from
    /// then on. None where the session has ended.
    pub(crate) fn adopt(&self, make: impl FnOnce(&Context) -> Arc<Handle>) -> Option<Arc<Handle>> {
        let mut state = lock(&self.state);
        if state.ended {
            return None;
        }
        let child = make(&state.facts.context);
        state.children.retain(|child| child.upgrade().is_some_and(|child| child.current.is_set()));
        state.children.push(Arc::downgrade(&child));
        Some(child)
    }

    pub(crate) fn end(&self, py: Python<'_>, handle: &Handle, close: Close<'_>) -> Vec<Ending> {
        let (context, children) = {
            let mut state = lock(&self.state);
            let Some(context) = handle.current.held().filter(|_| !state.ended) else { return Vec::new() };
            state.ended = true;
            handle.current.clear(py);
            (context, std::mem::take(&mut state.children))
        };
        handle.shared.forget(self.number);
        let mut endings = Vec::new();
        for child in children.iter().filter_map(Weak::upgrade) {
            // The proxy lets go of its brokers because the client has gone, for whatever reason that was.
            endings.extend(child.end(py, Close { initiator: Some("proxy"), ..close }));
            child.follow(py, None);
        }
        // A log that is shut takes no rows; its own close has ended every session that it knew.
        if handle.shared.is_shut() {
            return Vec::new();
        }
        endings.push(ending(handle, &context, CLIENT_CLOSE, self.opened, close));
        endings
    }
}

impl Handle {
    /// Changes a session's context and brings it into force as a whole, for what belongs to the session too; `false` where
    /// the session has ended meanwhile.
    pub(crate) fn change(&self, py: Python<'_>, change: impl FnOnce(&mut Facts)) -> bool {
        let Role::Session(session) = &self.role else { return false };
        let mut state = lock(&session.state);
        if state.ended {
            return false;
        }
        change(&mut state.facts);
        state.facts.context.fit();
        self.bring(py, &state.facts.context);
        for child in state.children.iter().filter_map(Weak::upgrade) {
            child.follow(py, Some(&state.facts.context));
        }
        true
    }

    /// The virtual cluster that the client sees.
    pub(crate) fn virtual_cluster(&self) -> Option<String> {
        self.session().and_then(|session| lock(&session.state).facts.context.virtual_cluster.clone())
    }

    /// What the context of a session, or of a connection of it, would be with a change of the session's, for a row that has to
    /// be in the ring before the change is in force.
    pub(crate) fn preview(&self, change: impl FnOnce(&mut Facts)) -> Option<Blob> {
        let mut facts = self.session().filter(|_| self.current.is_set()).map(|of| lock(&of.state).facts.clone())?;
        change(&mut facts);
        facts.context.fit();
        let context = match &self.role {
            Role::Session(_) => facts.context,
            Role::Broker(broker) => broker.own(facts.context),
            Role::Plugin(_) => return None,
        };
        Some(self.encode(&context))
    }
}

/// The last row of a session or a connection, which takes its fields from `close` and its age.
pub(crate) fn ending(
    handle: &Handle,
    context: &Blob,
    spec: &'static ActionSpec,
    opened: Instant,
    close: Close<'_>,
) -> Ending {
    let mut encoder = Encoder::new(spec);
    let age = i64::try_from(opened.elapsed().as_nanos()).unwrap_or(i64::MAX);
    encoder.stamp(handle.shared.clock.stamp()).context(context.id, &context.bytes[..context.len as usize]);
    encoder.int("duration_ns", age).flags(close.marks.flags());
    if let Some(initiator) = close.initiator {
        encoder.text("initiator", initiator);
    }
    let mut outcome = spec.outcome;
    if let Some(status) = close.status {
        outcome = Outcome::Failure;
        encoder.status(status).outcome(outcome);
    }
    if let Some(reason) = close.reason {
        encoder.reason(reason);
    }
    Ending { record: encoder.to_vec(), code: spec.code, outcome }
}

/// The outcome of a call that names `status` and not `outcome`, and of one that names neither.
pub(crate) fn outcome_of(default: Outcome, outcome: Option<Outcome>, status: bool) -> Outcome {
    match outcome {
        Some(outcome) => outcome,
        None if status && default == Outcome::Denied => Outcome::Denied,
        None if status => Outcome::Failure,
        None => default,
    }
}

/// The free-form action.
pub(crate) fn freeform() -> &'static ActionSpec {
    const FREEFORM: &ActionSpec = spec_at(index_of(auditring_event::FREEFORM));
    FREEFORM
}
