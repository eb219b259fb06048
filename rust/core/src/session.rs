//! One client connection: its context, and the events that change or end it.
//!
//! What must always hold: a context is encoded whole before it comes into force, so that rows before and after a change
//! differ and none is mixed; `ClientAccept` is a session's first row and `ClientClose` its last, whoever closes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use auditring_event::record::Encoder;
use auditring_event::{ActionSpec, Authority, Context, Outcome, code_of, droppable, spec, spec_at};
use pyo3::prelude::*;

use crate::errors;
use crate::ffi::{Blob, Current};
use crate::shared::Shared;

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
    /// What `current` was encoded from; also what orders changes of it.
    context: Mutex<Context>,
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
            context: Mutex::default(),
        });
        session.change(|current| *current = context);
        let mut accept = Encoder::new(CLIENT_ACCEPT);
        let outcome = CLIENT_ACCEPT.outcome;
        // A session whose accept was refused was never open: it must not close with a row either.
        if let Err(error) = session.put(py, &mut accept, CLIENT_ACCEPT, outcome) {
            session.current.clear();
            return Err(error);
        }
        shared.register(session.number, Arc::downgrade(&session));
        Ok(session)
    }

    fn context(&self) -> MutexGuard<'_, Context> {
        // A context is changed by assignments that cannot panic half-way.
        self.context.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the context and brings it into force as a whole.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Context)) {
        let mut context = self.context();
        change(&mut context);
        context.fit();
        let mut bytes = Vec::with_capacity(256);
        context.encode(&mut bytes);
        let len = bytes.len() as u32;
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self.current.set(Blob {
            id: self.shared.next_id(),
            authority: self.authority,
            len,
            bytes: bytes.into_boxed_slice(),
        });
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
        encoder.stamp(self.shared.clock.stamp()).context(context.id, &context.bytes[..context.len as usize]);
        self.shared.put(py, &encoder.to_vec(), spec.code, outcome, droppable(spec.category, outcome))
    }

    /// Ends the session; later calls raise. Whoever comes first writes the row.
    pub(crate) fn close(&self, py: Python<'_>, close: Close<'_>) -> PyResult<()> {
        let Some((record, outcome)) = self.end(close) else { return Ok(()) };
        self.shared.put(py, &record, CLIENT_CLOSE.code, outcome, false)
    }

    /// The last reference has gone: a session that nobody closed ends here, without waiting for anything.
    pub(crate) fn abandon(&self) {
        if self.shared.is_shut() {
            self.current.clear();
        }
        if let Some((record, outcome)) = self.end(Close { status: Some("SessionAbandoned"), ..Close::default() }) {
            self.shared.put_now(&record, CLIENT_CLOSE.code, outcome, false);
        }
    }

    fn end(&self, close: Close<'_>) -> Option<(Vec<u8>, Outcome)> {
        let context = self.current.get()?;
        if !self.current.clear() {
            return None;
        }
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
    debug_assert!(spec(FREEFORM.code).is_some());
    FREEFORM
}
