//! One client connection: its context, and the events that change or end it.
//!
//! What must always hold: a context is encoded whole before it comes into force, so that rows before and after a change
//! differ and none is mixed; `ClientAccept` is a session's first row and `ClientClose` its last, whoever closes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use auditring_event::record::Encoder;
use auditring_event::{ActionSpec, Authority, Context, Outcome, code_of, droppable, spec_at};
use pyo3::prelude::*;

use crate::errors;
use crate::ffi::{Blob, Current};
use crate::shared::{Put, Shared};

const CLIENT_ACCEPT: &ActionSpec = spec_at(auditring_event::index_of(code_of("ClientAccept")));
const CLIENT_CLOSE: &ActionSpec = spec_at(auditring_event::index_of(code_of("ClientClose")));

/// What a close says.
#[derive(Clone, Copy, Default)]
pub(crate) struct Close<'a> {
    pub(crate) initiator: Option<&'a str>,
    pub(crate) status: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

/// State of one session.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) current: Current,
    pub(crate) id: String,
    number: u64,
    authority: Option<Authority>,
    opened: Instant,
    /// What `current` was encoded from; also what orders its changes and the end.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    context: Context,
    ended: bool,
}

impl Session {
    /// Opens a session: its `ClientAccept` is in the ring when this returns.
    pub(crate) fn open(
        py: Python<'_>,
        shared: &Arc<Shared>,
        id: String,
        authority: Option<Authority>,
        context: Context,
    ) -> PyResult<Arc<Self>> {
        if shared.is_shut() {
            return Err(errors::closed(shared.is_forked()));
        }
        let session = Arc::new(Self {
            shared: Arc::clone(shared),
            current: Current::default(),
            id,
            number: shared.next_id(),
            authority,
            opened: Instant::now(),
            state: Mutex::default(),
        });
        session.change(|current| *current = context);
        // Known to the log before its first row, so that a close of the log that comes between ends it.
        shared.register(session.number, Arc::downgrade(&session));
        // A session whose accept was refused was never open: it must not close with a row either.
        if let Err(error) = session.put(py, &mut Encoder::new(CLIENT_ACCEPT), CLIENT_ACCEPT, CLIENT_ACCEPT.outcome) {
            session.state().ended = true;
            session.current.clear();
            shared.forget(session.number);
            return Err(error);
        }
        Ok(session)
    }

    /// Locked for assignments alone: nothing here waits, or runs Python, while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        // A context is changed by assignments that cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode(&self, context: &Context) -> Blob {
        let mut bytes = Vec::with_capacity(256);
        context.encode(&mut bytes);
        let len = bytes.len() as u32;
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Blob { id: self.shared.next_id(), authority: self.authority, len, bytes: bytes.into_boxed_slice() }
    }

    /// Changes the context and brings it into force as a whole; `false` where the session has ended meanwhile.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Context)) -> bool {
        let mut state = self.state();
        if state.ended {
            return false;
        }
        change(&mut state.context);
        state.context.fit();
        let blob = self.encode(&state.context);
        // What says the same as before needs no successor: contexts are kept as long as the session.
        if self.current.get().is_none_or(|now| now.bytes != blob.bytes) {
            self.current.set(blob);
        }
        true
    }

    /// What the context would be with a change, for a row that has to be in the ring before the change is in force.
    pub(crate) fn preview(&self, change: impl FnOnce(&mut Context)) -> Blob {
        let mut context = self.state().context.clone();
        change(&mut context);
        context.fit();
        self.encode(&context)
    }

    /// The session's authority, for actions that have none of their own.
    pub(crate) fn authority(&self) -> Option<Authority> {
        self.authority
    }

    /// Raises `SessionClosed` or `LogClosed` where no event is accepted any more.
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        // A session of the parent's is closed here, while the log opens a ring of its own on its next use.
        if self.shared.is_forked() || (self.current.get().is_none() && !self.shared.is_shut()) {
            return Err(errors::session_closed(py, &self.id));
        }
        if self.shared.is_shut() {
            return Err(errors::closed(false));
        }
        Ok(())
    }

    /// Stamps a record with clock and context and puts it into the ring.
    pub(crate) fn put(
        &self,
        py: Python<'_>,
        encoder: &mut Encoder,
        spec: &ActionSpec,
        outcome: Outcome,
    ) -> PyResult<()> {
        let Some(context) = self.current.get() else { return Err(errors::session_closed(py, &self.id)) };
        self.put_with(py, encoder, context, spec, outcome)
    }

    /// The same with a context that is not in force yet.
    pub(crate) fn put_with(
        &self,
        py: Python<'_>,
        encoder: &mut Encoder,
        context: &Blob,
        spec: &ActionSpec,
        outcome: Outcome,
    ) -> PyResult<()> {
        encoder.stamp(self.shared.clock.stamp()).context(context.id, &context.bytes[..context.len as usize]);
        let droppable = droppable(spec.category, outcome);
        match self.shared.put(py, &encoder.to_vec(), spec.code, outcome, droppable, &|| self.current.is_set())? {
            Put::Done => Ok(()),
            Put::Withdrawn => Err(errors::session_closed(py, &self.id)),
        }
    }

    /// Ends the session; later calls raise. Whoever comes first writes the row.
    pub(crate) fn close(&self, py: Python<'_>, close: Close<'_>) -> PyResult<()> {
        let Some((record, outcome)) = self.end(close) else { return Ok(()) };
        self.shared.put(py, &record, CLIENT_CLOSE.code, outcome, false, &|| true).map(|_| ())
    }

    /// Ends the session because its log ends: a full ring is waited for a little and never raised about.
    pub(crate) fn close_with_log(&self, py: Python<'_>, close: Close<'_>, until: Instant) -> PyResult<()> {
        let Some((record, outcome)) = self.end(close) else { return Ok(()) };
        self.shared.put_until(py, &record, CLIENT_CLOSE.code, outcome, false, until)
    }

    /// The last reference has gone: a session that nobody closed ends here, without waiting for anything.
    pub(crate) fn abandon(&self) {
        if let Some((record, outcome)) = self.end(Close { status: Some("SessionAbandoned"), ..Close::default() }) {
            self.shared.put_now(&record, CLIENT_CLOSE.code, outcome, false);
        }
    }

    fn end(&self, close: Close<'_>) -> Option<(Vec<u8>, Outcome)> {
        let context = {
            let mut state = self.state();
            let context = self.current.get().filter(|_| !state.ended)?;
            state.ended = true;
            self.current.clear();
            context
        };
        self.shared.forget(self.number);
        // A log that is shut takes no rows; its own close has ended every session that it knew.
        if self.shared.is_shut() {
            return None;
        }
        let mut encoder = Encoder::new(CLIENT_CLOSE);
        let age = i64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(i64::MAX);
        encoder.stamp(self.shared.clock.stamp()).context(context.id, &context.bytes[..context.len as usize]);
        encoder.int("duration_ns", age);
        if let Some(initiator) = close.initiator {
            encoder.text("initiator", initiator);
        }
        let mut outcome = CLIENT_CLOSE.outcome;
        if let Some(status) = close.status {
            outcome = Outcome::Failure;
            encoder.status(status).outcome(outcome);
        }
        if let Some(reason) = close.reason {
            encoder.reason(reason);
        }
        Some((encoder.to_vec(), outcome))
    }
}

/// The outcome of a call that names `status` and not `outcome`, and of one that names neither.
pub(crate) fn outcome_of(spec: &ActionSpec, outcome: Option<Outcome>, status: bool) -> Outcome {
    match outcome {
        Some(outcome) => outcome,
        None if status && spec.outcome == Outcome::Denied => Outcome::Denied,
        None if status => Outcome::Failure,
        None => spec.outcome,
    }
}

/// The free-form action.
pub(crate) fn freeform() -> &'static ActionSpec {
    const FREEFORM: &ActionSpec = spec_at(auditring_event::index_of(auditring_event::FREEFORM));
    FREEFORM
}
