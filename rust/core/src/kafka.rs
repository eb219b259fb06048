//! `auditring.kafka`: a tap bound to a session, or to a connection of it.
//!
//! What must always hold: the tap looks at bytes only while this thread has the GIL and nothing else runs; what it saw is in
//! the ring, or counted, when the call returns, in the order in which it went by; and a ring that refuses one event does not
//! keep the next from being tried.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use auditring_event::record::{self, CAUSE_SESSION, Head};
use auditring_event::{Authority, Category, Origin, Outcome, code_of, droppable, sanitize, spec as limits};
use auditring_kafka::{Fact, Facts, Item, Off, Tap as Reader, Topics as Names};
use auditring_ring::Kind as Edge;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::ffi::{Blob, View, shared_handle_of};
use crate::handle::{Handle, Role};
use crate::session;
use crate::shared::{GATE_OFF, Parts, Put, Via};

const SASL: u16 = code_of("ClientSaslAuthSuccess");
const READ: u16 = code_of("Read");
const WRITE: u16 = code_of("Write");
const DENIED: u16 = code_of("OperationDenied");
const INGRESS: u16 = code_of("RequestIngress");
const EGRESS: u16 = code_of("ResponseEgress");
const EXEMPTED: u16 = code_of("auditring.Exempted");
/// Topics of which a name is known, where nobody says how many.
const TOPICS: usize = 100_000;

/// Names of topics by id, as the brokers' Metadata shows them.
#[pyclass(frozen, module = "auditring.kafka")]
pub(crate) struct Topics {
    names: Arc<Names>,
}

#[pymethods]
impl Topics {
    #[new]
    #[pyo3(signature = (limit = 100_000))]
    fn new(limit: usize) -> Self {
        Self { names: Arc::new(Names::new(limit)) }
    }

    fn __len__(&self) -> usize {
        self.names.len()
    }

    /// What a topic is called; None where no answer has said so yet.
    fn name(&self, topic_id: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let id: [u8; 16] = topic_id.getattr("bytes").and_then(|bytes| bytes.extract()).map_err(|_| {
            PyTypeError::new_err(format!("topic_id is of type {}: a uuid.UUID is needed", topic_id.get_type()))
        })?;
        Ok(self.names.name(&id).map(|name| sanitize::text(&name, usize::MAX).0.into_owned()))
    }
}

/// Names that taps share which say the same of themselves: by virtual cluster and name of the tap.
pub(crate) type Shelf = HashMap<(String, String), Arc<Names>>;

struct State {
    reader: Reader,
    facts: Facts,
}

/// One client connection, of which the tap is shown every byte.
#[pyclass(frozen, module = "auditring.kafka")]
pub(crate) struct Tap {
    handle: Arc<Handle>,
    session: Arc<Handle>,
    /// The object that it was made for: a handle whose last reference has gone is closed.
    _owner: Py<PyAny>,
    state: Mutex<State>,
    /// Which thread feeds it at the moment.
    feeder: AtomicUsize,
}

/// An event, and when it was seen.
#[derive(Clone, Copy)]
struct Seen<'a> {
    stamp: u64,
    fact: &'a Fact,
    body: &'a [u8],
}

/// Whose bytes they are.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Client,
    Broker,
}

/// `from_client` and `from_broker` are `ffi::shown`'s.
#[pymethods]
impl Tap {
    #[new]
    #[pyo3(signature = (handle, *, name = None, topics = None))]
    fn new(
        py: Python<'_>,
        handle: &Bound<'_, PyAny>,
        name: Option<&str>,
        topics: Option<&Bound<'_, Topics>>,
    ) -> PyResult<Self> {
        let owner = handle.clone();
        let found = shared_handle_of(handle);
        let session = found.as_ref().and_then(|found| match &found.role {
            Role::Session(_) => Some(Arc::clone(found)),
            Role::Broker(broker) => Some(Arc::clone(&broker.parent)),
            Role::Plugin(_) => None,
        });
        let (Some(handle), Some(session)) = (found, session) else {
            return Err(PyTypeError::new_err(format!(
                "handle is of type {}: a tap belongs to a session, or to a connection that session.broker(…) gave",
                owner.get_type()
            )));
        };
        let (_, done) = name.map_or_else(Default::default, |name| sanitize::text(name.as_bytes(), limits::TAP_CAP));
        if done.any() || name == Some("") {
            return Err(PyValueError::new_err("name: a tap's name is text of 1 to 128 bytes"));
        }
        handle.check_open(py)?;
        let names = if let Some(topics) = topics {
            Arc::clone(&topics.get().names)
        } else {
            let cluster = session.virtual_cluster().unwrap_or_default();
            handle.shared.topics((cluster, name.unwrap_or_default().to_owned()), TOPICS)
        };
        let reader = Reader::new(name, names).guarded(handle.shared.guard());
        let state = State { reader, facts: Facts::default() };
        let state = Mutex::new(state);
        Ok(Self { handle, session, _owner: owner.unbind(), state, feeder: AtomicUsize::new(0) })
    }

    /// A request goes on under another correlation id.
    fn rewrote(&self, py: Python<'_>, client_id: i32, server_id: i32) -> PyResult<()> {
        self.with(py, |state| {
            state.reader.rewrote(client_id, server_id);
            Ok(())
        })
    }

    /// The proxy answers a request itself.
    fn answered(&self, py: Python<'_>, correlation_id: i32) -> PyResult<()> {
        self.with(py, |state| {
            state.reader.answered(correlation_id);
            Ok(())
        })
    }

    /// The connection has ended: what changes something and got no answer was forwarded, and that is all that is known.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |state| {
            let mut done = Ok(());
            self.judge(&mut state.facts);
            while !state.reader.close(&mut state.facts) {
                done = done.and(self.relieve(py, state));
                self.judge(&mut state.facts);
            }
            done.and(self.relieve(py, state))
        })
    }

    /// Whether it has given up reading; a row says why.
    #[getter]
    fn opaque(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |state| Ok(state.reader.is_opaque()))
    }

    /// Requests that have no answer yet.
    #[getter]
    fn in_flight(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |state| Ok(state.reader.in_flight()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }
}

/// Says which thread feeds a tap for as long as it lives, also where that panics.
struct Feeding<'t>(&'t AtomicUsize);

impl<'t> Feeding<'t> {
    fn begin(feeder: &'t AtomicUsize, here: usize) -> Self {
        feeder.store(here, Ordering::Relaxed);
        Self(feeder)
    }
}

impl Drop for Feeding<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Tap {
    /// Runs a body with the tap to itself.
    fn with<R>(&self, py: Python<'_>, body: impl FnOnce(&mut State) -> PyResult<R>) -> PyResult<R> {
        thread_local!(static HERE: u8 = const { 0 });
        let here = HERE.with(|here| std::ptr::from_ref(here).addr());
        // A handler of a signal that came while this thread waits for space in the ring would wait for itself.
        if self.feeder.load(Ordering::Relaxed) == here {
            return Err(PyRuntimeError::new_err("this tap is in use by the call that was interrupted"));
        }
        // A panic leaves the tap as it was between two steps, at worst with a frame half read.
        let mut state = self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let _feeding = Feeding::begin(&self.feeder, here);
        body(&mut state)
    }

    /// Bytes that one side sent.
    #[inline]
    pub(crate) fn show(&self, py: Python<'_>, side: Side, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let view = View::of(data)?;
        self.with(py, |state| {
            let (mut taken, mut done) = (0, Ok(()));
            while taken < view.len() || (matches!(side, Side::Broker) && state.reader.has_more()) {
                self.judge(&mut state.facts);
                let State { reader, facts } = state;
                taken += view.show(py, taken, |bytes| match side {
                    Side::Client => reader.from_client(bytes, facts),
                    Side::Broker => reader.from_broker(bytes, facts),
                });
                done = done.and(self.relieve(py, state));
                // What names very many resources takes long: other threads go on meanwhile.
                if state.reader.has_more() {
                    py.detach(std::thread::yield_now);
                }
            }
            done
        })
    }

    /// What is off now: another policy may have come since bytes were shown, and while a row waited.
    #[inline]
    fn judge(&self, facts: &mut Facts) {
        // A log that keeps nothing has no policy that turns them off.
        let keeps = self.handle.lane.get().is_some();
        facts.requests = keeps && [INGRESS, EGRESS].iter().any(|code| self.is_wanted(*code, Outcome::Success));
        facts.off = Off {
            reads: !self.is_wanted(READ, Outcome::Success),
            writes: !self.is_wanted(WRITE, Outcome::Success),
            forwarded: !self.is_wanted(WRITE, Outcome::Forwarded),
        };
    }

    fn is_wanted(&self, code: u16, outcome: Outcome) -> bool {
        self.handle.shared.gate(code, outcome) != GATE_OFF
    }

    /// Puts what was seen into the ring. The first refusal is what the caller hears of.
    #[inline]
    fn relieve(&self, py: Python<'_>, state: &mut State) -> PyResult<()> {
        let facts = &mut state.facts;
        // Most calls show no more than a part of something.
        let done = if facts.items().is_empty() { Ok(()) } else { self.tell(py, facts) };
        let data = facts.data_off;
        for (code, outcome, off) in [
            (INGRESS, Outcome::Success, facts.ingress_off),
            (EGRESS, Outcome::Success, facts.egress_off),
            (READ, Outcome::Success, data.reads),
            (WRITE, Outcome::Success, data.writes),
            (WRITE, Outcome::Forwarded, data.forwarded),
            (EXEMPTED, Outcome::Success, facts.exempt),
        ] {
            if off > 0 {
                self.handle.shared.count(&self.handle.lane, code, outcome, Edge::Off, off.into());
            }
        }
        facts.clear();
        done
    }

    fn tell(&self, py: Python<'_>, facts: &Facts) -> PyResult<()> {
        let mut done = Ok(());
        // What one call brings was seen at one time.
        let stamp = self.handle.shared.clock.stamp();
        let mut context = self.handle.current.held();
        for item in facts.items() {
            let put = match item {
                Item::Event(fact) => {
                    let seen = Seen { stamp, fact, body: facts.body(fact) };
                    self.put(py, context.as_deref(), seen)
                }
                Item::Proved { event, principal, mechanism } => {
                    let seen = Seen { stamp, fact: event, body: facts.body(event) };
                    let put = self.prove(py, seen, (principal.as_deref(), mechanism));
                    context = self.handle.current.held();
                    put
                }
                Item::ClientId(name, marks) => {
                    self.session.change(py, |known| {
                        known.context.client_id = Some(name.clone());
                        known.context.mark(*marks);
                    });
                    context = self.handle.current.held();
                    Ok(())
                }
            };
            if put.is_err() {
                done = done.and(put);
            }
        }
        done
    }

    #[inline]
    fn put(&self, py: Python<'_>, context: Option<&Blob>, Seen { stamp, fact, body }: Seen<'_>) -> PyResult<()> {
        let handle = &self.handle;
        let shared = &handle.shared;
        let spec = fact.spec;
        if !self.is_wanted(spec.code, fact.outcome) {
            handle.count(spec.code, fact.outcome, Edge::Off);
            return Ok(());
        }
        let Some(context) = context else { return handle.check_open(py) };
        let authority = match spec.category {
            Category::Authentication => Some(Authority::Witness),
            _ if spec.code == DENIED => Some(Authority::Witness),
            _ => spec.authority.or(context.authority),
        };
        let cause = if spec.origin == Origin::Client { None } else { handle.session_id() };
        let body_len = body.len() + cause.map_or(0, |session| 2 + session.len());
        let head = Head {
            stamp,
            presence: fact.presence | if cause.is_some() { CAUSE_SESSION } else { 0 },
            code: spec.code,
            bits: record::bits(fact.outcome, authority, spec.origin),
            flags: fact.flags,
            context_id: context.id,
            context_len: context.len,
            body_len: body_len as u32,
        };
        // The cause is the last of the strings, whatever else is there.
        let cause = cause.unwrap_or_default();
        let cause_len = (cause.len() as u16).to_le_bytes();
        let cause_len = if cause.is_empty() { &[] } else { &cause_len[..] };
        let head = head.bytes();
        let parts = [head.as_flattened(), &*context.bytes, body, cause_len, cause.as_bytes()];
        let record = Parts { parts, len: record::length(context.len as usize, body_len) };
        let droppable = droppable(spec.category, fact.outcome);
        let via = Via { of: Some(&handle.current), droppable, ..handle.via(spec.code, fact.outcome) };
        match shared.put_record(py, &record, via)? {
            Put::Done => Ok(()),
            Put::Withdrawn => handle.check_open(py),
        }
    }

    /// The client has proved who it is: in every later row of the session, and in this one, once it is in the ring.
    fn prove(&self, py: Python<'_>, seen: Seen<'_>, (principal, mechanism): (Option<&str>, &str)) -> PyResult<()> {
        let change = |known: &mut session::Facts| match principal {
            Some(principal) => known.prove(SASL, principal, Some(mechanism)),
            None => known.prove_unnamed(SASL, mechanism),
        };
        let Some(preview) = self.handle.preview(change) else { return self.handle.check_open(py) };
        let put = self.put(py, Some(&preview), seen);
        // The broker has let the client in, whether or not there was room for the row.
        self.session.change(py, change);
        put
    }
}

/// One API: key, name, first and last version, first flexible version, what comes from it.
type ApiRow = (i16, &'static str, i16, i16, Option<i16>, &'static str);

/// Kafka's APIs that a tap reads: key, name, first and last version, first flexible version or none, and what comes from it.
#[pyfunction]
pub(crate) fn kafka_apis() -> Vec<ApiRow> {
    let row = |api: &auditring_kafka::Api| {
        let flexible = (api.flexible <= api.last).then_some(api.flexible);
        (api.key, api.name, api.first, api.last, flexible, api.events)
    };
    auditring_kafka::APIS.iter().map(row).collect()
}
