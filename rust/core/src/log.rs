//! A log: ring, pump and counters behind one object. Python owns the threads that drive them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use auditring_event::record::Encoder;
use auditring_event::sanitize::Marks;
use auditring_event::{Context, Kind, Outcome, by_name, spec};
use auditring_flow::{
    Born, Carry, Error, Journaled, Limits, Mailbox, Progress, Pump, Settings, Unsynced, retire, used,
};
use auditring_journal::{Cursor, Followers, Lock, ProcessDir, fold, in_memory, time_of};
use auditring_policy::Policy;
use auditring_ring::{Clock, ClockKind, Identity, Kind as Edge, Ring};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use uuid::Uuid;

use crate::args;
use crate::change::{Site, set_policy};
use crate::declare::Declaration;
use crate::ffi::{callable, instance};
use crate::handle::Close;
use crate::living::{Listed, check, enter, listed};
use crate::methods;
use crate::own;
use crate::policy::RedactionKey;
use crate::session::Session;
use crate::shared::{Shared, WhenFull};
use crate::slow;

/// An error of the flow as the `OSError` that it mostly is.
pub(crate) fn os_error(error: impl std::error::Error + 'static) -> PyErr {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if let Some(code) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return PyOSError::new_err((code, error.to_string()));
        }
        source = inner.source();
    }
    PyOSError::new_err(error.to_string())
}

/// Something that was taken away: path, kind, what became of it, whether it is there again.
type Missing = (PathBuf, &'static str, &'static str, bool);

/// A class's rule as Python gives it: seconds to wait (none: for ever), then raise or drop.
type Rule = (Option<f64>, bool);

fn when_full(rule: Rule) -> PyResult<WhenFull> {
    let wait = rule.0.map(Duration::try_from_secs_f64).transpose();
    Ok(WhenFull { wait: wait.map_err(|e| PyValueError::new_err(format!("when_full: wait: {e}")))?, raise: rule.1 })
}

/// What a log that keeps something has beside its sessions.
struct Machine {
    process: Uuid,
    root: PathBuf,
    dir: PathBuf,
    pump: Mutex<Option<Pump>>,
    held: Mutex<Option<ProcessDir>>,
    /// For a forked child, where the directory may be in the pump's hands for ever.
    lock: Weak<Lock>,
    mailbox: Arc<Mailbox>,
    unsynced: Arc<Unsynced>,
}

/// With a GIL one thread emits at a time; without one as many as there are processors, and more lanes than these gain nothing.
fn usual_lanes() -> u32 {
    const MOST: usize = 8;
    let processors =
        if cfg!(Py_GIL_DISABLED) { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    processors.min(MOST) as u32
}

/// Under which what taps let pass is counted.
const EXEMPTED: u16 = auditring_event::code_of("auditring.Exempted");
/// What is read of an address that may have a port behind it; its host is cut to the column's cap with the context.
const ADDRESS_CAP: usize = 256;
/// How long the interpreter is left alone before signals are looked for.
const SLICE: Duration = Duration::from_millis(50);

/// A ring, its counters and its journal; Python owns the threads that drive them.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Log {
    shared: Arc<Shared>,
    machine: Option<Machine>,
    closed: AtomicBool,
}

/// Claims of each lane of a ring that are journaled. Of one that the pump has not gone over to yet there are none.
fn known(ring: &Ring, journaled: &Journaled) -> impl Iterator<Item = u64> {
    let known = if ring.identity().generation == journaled.generation { &journaled.lanes[..] } else { &[] };
    (0..ring.geometry().lanes as usize).map(|lane| known.get(lane).copied().unwrap_or(0))
}

/// Claims of each lane of a ring so far: the tail has their low 31 bits.
fn ends(ring: &Ring, journaled: &Journaled) -> impl Iterator<Item = u64> {
    let since = |(lane, known)| known + (u64::from(ring.lane(lane).claims()).wrapping_sub(known) & 0x7FFF_FFFF);
    (0..).zip(known(ring, journaled)).map(since)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// What a follower needs.
    pub(crate) fn follow(&self) -> Option<(PathBuf, Arc<Progress>)> {
        Some((self.machine.as_ref()?.dir.clone(), Arc::clone(&self.shared.progress)))
    }

    /// What takes events. Raises `LogClosed`.
    pub(crate) fn live(&self) -> PyResult<&Arc<Shared>> {
        if self.shared.is_shut() {
            return Err(crate::errors::closed(self.shared.is_forked()));
        }
        Ok(&self.shared)
    }

    fn nothing(droppable: WhenFull, protected: WhenFull) -> Self {
        let shared = Shared::new(None, Clock::detect(), Arc::default(), None, droppable, protected);
        Self { shared: Arc::new(shared), machine: None, closed: AtomicBool::new(false) }
    }

    /// Claims of all time: those that are journaled, and what is in the ring that the pump reads and in those that follow it.
    fn claimed(&self, journaled: &Journaled) -> u64 {
        let rings = self.shared.rings();
        let left = rings.iter().filter(|ring| ring.identity().generation >= journaled.generation);
        let waiting =
            |ring| ends(ring, journaled).zip(known(ring, journaled)).map(|(end, known)| end - known).sum::<u64>();
        journaled.claimed + left.map(|ring| waiting(ring)).sum::<u64>()
    }
}

#[pymethods]
impl Log {
    #[new]
    #[pyo3(signature = (root, *, instance, host, policy, sinks, primary_tap=None, ring_dir=None, ring_bytes=16 << 20,
        droppable=(Some(0.05), false), protected=(Some(0.05), false), journal_bytes=4 << 30, segment_bytes=64 << 20,
        segment_seconds=10.0, power_seconds=None, balance_seconds=None, startup=vec![], key=None,
        required=vec![], by_agent=vec![], lanes=None, label_scopes=vec![], label_scope_limit=0))]
    #[allow(clippy::too_many_arguments, reason = "keyword-only, and called from one place")]
    fn new(
        py: Python<'_>,
        root: Option<PathBuf>,
        instance: String,
        host: String,
        policy: Vec<u8>,
        sinks: Vec<(String, Vec<u8>)>,
        primary_tap: Option<String>,
        ring_dir: Option<PathBuf>,
        ring_bytes: u32,
        droppable: Rule,
        protected: Rule,
        journal_bytes: u64,
        segment_bytes: u64,
        segment_seconds: f64,
        power_seconds: Option<f64>,
        balance_seconds: Option<f64>,
        startup: Vec<(String, String)>,
        key: Option<&RedactionKey>,
        required: Vec<String>,
        by_agent: Vec<String>,
        lanes: Option<u32>,
        label_scopes: Vec<(String, String)>,
        label_scope_limit: u16,
    ) -> PyResult<Self> {
        let (droppable, protected) = (when_full(droppable)?, when_full(protected)?);
        Policy::parse(&policy).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let segment_age = Duration::try_from_secs_f64(segment_seconds)
            .map_err(|error| PyValueError::new_err(format!("segment_seconds: {error}")))?;
        let power = power_seconds.map(Duration::try_from_secs_f64).transpose();
        let power = power.map_err(|error| PyValueError::new_err(format!("power_seconds: {error}")))?;
        let balance = balance_seconds.map(Duration::try_from_secs_f64).transpose();
        let balance = balance.map_err(|error| PyValueError::new_err(format!("balance_seconds: {error}")))?;
        let known = by_name("ProxyStartup").map(|spec| spec.fields).unwrap_or_default();
        let text = |name: &str| known.iter().any(|field| field.name == name && field.kind == Kind::Str);
        if let Some((unknown, _)) = startup.iter().find(|(name, _)| !text(name)) {
            return Err(PyValueError::new_err(format!("ProxyStartup has no text {unknown:?}")));
        }
        let key = key.map(|key| key.0.clone());
        let Some(root) = root else { return Ok(Self::nothing(droppable, protected)) };
        let root = std::path::absolute(root)?;
        let followed = !sinks.is_empty();
        let settings = Settings {
            root: root.clone(),
            instance,
            host,
            policy,
            sinks,
            required,
            by_agent,
            primary_tap,
            ring_dir,
            ring_bytes,
            lanes: lanes.unwrap_or_else(usual_lanes),
            startup,
            key,
        };
        let limits = Limits { segment_bytes, segment_age, journal_bytes };
        let made = py.detach(|| {
            let born = Born::new(&settings)?;
            let (process, ring, clock) = (born.process, Arc::clone(&born.ring), born.clock);
            let pump = Pump::durable(born, limits, followed, power);
            if pump.is_err() {
                // Nothing was accepted yet: without its ring the directory is swept by the next opener.
                let _ = ring.unlink();
            }
            let (mut pump, held) = pump?;
            pump.balance_every(balance);
            if !label_scopes.is_empty()
                && let Err(error) = pump.scope_by(label_scopes, label_scope_limit)
            {
                // The birth batch is there: what is left is recovered by the next opener, as after any death.
                return Err(error);
            }
            Ok::<_, Error>((process, ring, clock, pump, held))
        });
        let (process, ring, clock, pump, held) = made.map_err(os_error)?;
        let policies = pump.policies();
        let shared = Arc::new(Shared::new(
            Some(ring),
            clock,
            pump.progress(),
            Some(Arc::clone(&policies)),
            droppable,
            protected,
        ));
        let gates = Arc::downgrade(&shared);
        policies.on_turn(move || {
            if let Some(shared) = gates.upgrade() {
                shared.turn();
            }
        });
        let (dir, mailbox, unsynced) = (pump.dir().to_owned(), pump.mailbox(), pump.unsynced());
        let lock = held.lock();
        let (pump, held) = (Mutex::new(Some(pump)), Mutex::new(Some(held)));
        Ok(Self {
            shared,
            machine: Some(Machine { process, root, dir, pump, held, lock, mailbox, unsynced }),
            closed: AtomicBool::new(false),
        })
    }

    /// UUID of this open log; empty for a log that keeps nothing.
    #[getter]
    fn process(&self) -> String {
        self.machine.as_ref().map_or_else(String::new, |machine| machine.process.to_string())
    }

    /// Where the ring lies.
    #[getter]
    fn ring_path(&self) -> Option<PathBuf> {
        self.shared.ring().map(|ring| ring.path().to_owned())
    }

    /// The journal directory of this process.
    #[getter]
    fn directory(&self) -> Option<PathBuf> {
        self.machine.as_ref().map(|machine| machine.dir.clone())
    }

    /// `tsc` or `monotonic`.
    #[getter]
    fn clock(&self) -> &'static str {
        if self.shared.clock.kind() == ClockKind::Tsc { "tsc" } else { "monotonic" }
    }

    /// Share of the ring in use, 0.0 to 1.0; of its fullest lane where it has several.
    #[getter]
    fn pressure(&self) -> f64 {
        let Some(ring) = self.shared.ring() else { return 0.0 };
        let used = (0..ring.geometry().lanes).map(|lane| ring.lane(lane).used()).max();
        used.unwrap_or(0) as f64 / f64::from(ring.geometry().lane_bytes)
    }

    /// Lanes of the ring.
    #[getter]
    fn lanes(&self) -> u32 {
        self.shared.ring().map_or(0, |ring| ring.geometry().lanes)
    }

    /// Whether the ring's file is still where it was made.
    #[getter]
    fn ring_linked(&self) -> bool {
        self.shared.ring().is_none_or(|ring| ring.is_linked())
    }

    /// Opens a session: `ClientAccept`.
    #[pyo3(signature = (*, id=None, peer=None, local=None, virtual_cluster=None, client_id=None, authority=None, tap=None,
        context=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword-only; the fields of a connection")]
    fn session(
        &self,
        py: Python<'_>,
        id: Option<Bound<'_, PyAny>>,
        peer: Option<Bound<'_, PyAny>>,
        local: Option<Bound<'_, PyAny>>,
        virtual_cluster: Option<Bound<'_, PyAny>>,
        client_id: Option<Bound<'_, PyAny>>,
        authority: Option<Bound<'_, PyAny>>,
        tap: Option<Bound<'_, PyAny>>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
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
        instance(py, Session::open(py, &self.shared, id, authority, context)?, None)
    }

    /// A handle for a plugin that acts on its own account, with no client in sight.
    #[pyo3(signature = (*, filter, namespace, tap=None, authorizer=false, authority=None))]
    fn plugin(
        &self,
        py: Python<'_>,
        filter: Bound<'_, PyAny>,
        namespace: Bound<'_, PyAny>,
        tap: Option<Bound<'_, PyAny>>,
        authorizer: bool,
        authority: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let mut said = vec![("filter".to_owned(), &filter), ("namespace".to_owned(), &namespace)];
        said.extend(tap.as_ref().map(|tap| ("tap".to_owned(), tap)));
        said.extend(authority.as_ref().map(|authority| ("authority".to_owned(), authority)));
        let mut plugin = methods::plugin(&said)?;
        plugin.authorizer = authorizer;
        instance(py, plugin.of_log(py, &self.shared)?, None)
    }

    /// Declares an event of the host's own; returns what emits it.
    #[pyo3(signature = (name, *, object_ref=vec![], context=vec![], outcome="success"))]
    fn declare(
        &self,
        py: Python<'_>,
        name: String,
        object_ref: Vec<String>,
        context: Vec<String>,
        outcome: &str,
    ) -> PyResult<Py<PyAny>> {
        let outcome = Outcome::from_word(outcome)
            .ok_or_else(|| PyValueError::new_err(format!("{name}: {outcome:?} is no outcome")))?;
        let declaration = Declaration::new(name, outcome, object_ref, context)?;
        declaration.bind(py, &self.shared)?;
        let doc = slow::declared_docstring(&declaration.definition);
        let method = auditring_event::snake(&declaration.definition.name);
        callable(py, declaration, &method, &doc)
    }

    /// Records an event that no session has: an action of the catalog by its name, or a package-qualified one.
    #[pyo3(signature = (action, *fields, **kwargs))]
    fn record<'py>(
        &self,
        py: Python<'py>,
        action: Bound<'py, PyAny>,
        fields: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        own::record(py, self.live()?, action, fields, kwargs)
    }

    /// Hands one of the library's own events (`auditring.…`) to the pump; never goes through the ring. Returns its number.
    #[pyo3(signature = (action, *, status=None, reason=None, context=None, **fields))]
    fn post(
        &self,
        action: &str,
        status: Option<&str>,
        reason: Option<&str>,
        context: Option<Bound<'_, PyAny>>,
        fields: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u64> {
        let Some(machine) = &self.machine else { return Ok(0) };
        let spec = by_name(action)
            .filter(|spec| spec.name.starts_with("auditring."))
            .ok_or_else(|| PyValueError::new_err(format!("{action:?} is no event of the library's own")))?;
        if spec.name == "auditring.PolicyChanged"
            && fields.is_some_and(|fields| fields.contains("policy").unwrap_or(true))
        {
            return Err(PyValueError::new_err(
                "what changes the policy is set_policy: the row alone would be no change",
            ));
        }
        let mut event = Encoder::new(spec);
        if let Some(status) = status {
            event.status(status);
        }
        if let Some(reason) = reason {
            event.reason(reason);
        }
        if let Some(map) = context {
            let (text, marks) = args::context_map("context", &map, auditring_event::CONTEXT_CAP, &|_| false)?;
            event.flags(marks.flags());
            if let Some(text) = text {
                event.context_text(text);
            }
        }
        for (name, value) in fields.into_iter().flat_map(PyDictMethods::iter) {
            let name: String = name.extract()?;
            let Some(field) = spec.field(&name).map(|at| &spec.fields[at]) else {
                return Err(PyTypeError::new_err(format!("{action} has no field {name:?}")));
            };
            match field.kind {
                Kind::Int => event.int(field.name, args::int(field, &value)?),
                Kind::Str => {
                    let (text, marks) = args::text(&name, &value, usize::from(field.cap))?;
                    event.text(field.name, &text).flags(marks.flags())
                }
            };
        }
        let Some(number) = machine.mailbox.post_all(vec![event.to_vec()]) else {
            return Err(PyRuntimeError::new_err("too many events of the library's own are waiting for the pump"));
        };
        if let Some(ring) = self.shared.ring() {
            ring.wake();
        }
        Ok(number)
    }

    /// What taps that are made from now on do not audit: Produces to a topic (`*`: any text) under a client id (`*`: what it
    /// begins with).
    fn exempt(&self, topic: &str, client_id: &str) {
        self.shared.exempt(topic, client_id);
    }

    /// Whether what was handed over under this number is in the journal.
    fn posted(&self, number: u64) -> bool {
        self.machine.as_ref().is_none_or(|machine| machine.mailbox.is_written(number))
    }

    /// Brings another policy, in its journaled form, into force: returns once that is journaled, `False` where the same one
    /// was before. `diff` says in words what is different.
    #[pyo3(signature = (policy, diff, timeout=None))]
    fn set_policy(&self, py: Python<'_>, policy: Vec<u8>, diff: &str, timeout: Option<f64>) -> PyResult<bool> {
        let shared = self.live()?;
        let (Some(machine), Some(policies)) = (&self.machine, &shared.policies) else { return Ok(true) };
        let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
        let timeout = timeout.map_err(|error| PyValueError::new_err(format!("timeout: {error}")))?;
        let wake = || {
            if let Some(ring) = shared.ring() {
                ring.wake();
            }
        };
        let site = Site { policies, mailbox: &machine.mailbox, progress: &shared.progress, wake: &wake };
        set_policy(py, &site, policy, diff, timeout)
    }

    /// The policy in force, in its journaled form; empty for a log that keeps nothing.
    #[getter]
    fn policy<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = self.shared.policies.as_ref().map(|policies| policies.in_force());
        PyBytes::new(py, bytes.as_ref().map_or(&[][..], |stated| &stated.bytes))
    }

    /// Moves records from ring to journal for up to `timeout` seconds with the GIL released.
    fn run_pump(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let Some(machine) = &self.machine else { return Ok(true) };
        let timeout =
            Duration::try_from_secs_f64(timeout).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
        let ended = py.detach(|| match machine.pump.lock() {
            Ok(mut pump) => Some(pump.as_mut().map_or(Ok(true), |pump| pump.run(timeout))),
            Err(_) => None,
        });
        let Some(ended) = ended else {
            return Err(PyRuntimeError::new_err("a panic has left the pump half-changed; recovery takes its work up"));
        };
        ended.map_err(os_error)
    }

    /// Whether the pump may run again: no panic has left it half-changed.
    #[getter]
    fn pump_sound(&self) -> bool {
        self.machine.as_ref().is_none_or(|machine| !machine.pump.is_poisoned())
    }

    /// Lets go of ring and journal as they are, after a pump that cannot go on: the next opener recovers them.
    fn abandon(&self, py: Python<'_>) {
        let Some(machine) = &self.machine else { return };
        py.detach(|| {
            drop(lock(&machine.pump).take());
            drop(lock(&machine.held).take());
        });
    }

    /// Looks whether the ring's file is still there (session managers and containers delete what lies in `/dev/shm`) and whole,
    /// and if not goes on with a new one; returns whether it did. `refused`: why an earlier try could not make one; the row that
    /// tells of the new ring says so. From the pump's thread, between two calls of `run_pump`.
    #[pyo3(signature = (*, refused=None))]
    fn replace_ring(&self, py: Python<'_>, refused: Option<&str>) -> PyResult<bool> {
        let (Some(machine), Some(old)) = (&self.machine, self.shared.ring().map(Arc::clone)) else { return Ok(false) };
        let damaged = lock(&machine.pump).as_ref().is_some_and(Pump::is_damaged);
        if self.shared.is_shut() || (old.is_linked() && !damaged) {
            return Ok(false);
        }
        if lock(&machine.pump).as_ref().is_some_and(Pump::is_replacing) {
            // The one that has gone by now has events that the pump does not come to yet: it may be at the journal's budget.
            return Ok(false);
        }
        if damaged {
            // The new one takes its name. What is in it comes out of memory, as if somebody else had deleted it.
            old.unlink()?;
        }
        let identity = Identity { generation: old.identity().generation + 1, ..*old.identity() };
        let made = py.detach(|| Ring::create(old.path(), old.geometry(), &identity, old.clock(), old.birth()));
        let ring = Arc::new(made.map_err(os_error)?);
        if self.shared.redacts() && !in_memory(ring.path()) {
            let path = ring.path().to_owned();
            let _ = ring.unlink();
            return Err(os_error(Error::NotInMemory(path)));
        }
        // With the GIL no caller is in the middle of counting; without one the pump fetches what comes late.
        let carry = Carry::begin(Arc::clone(&old), &ring);
        if self.shared.replace(&ring).is_err() {
            let _ = ring.unlink();
            return Err(PyOSError::new_err("the new ring has no room for the definitions of the old one"));
        }
        old.close();
        fence(Ordering::SeqCst);
        if self.shared.is_shut() {
            // Closed while the new ring was made: what was closed then was the old one.
            ring.close();
        }
        if let Some(pump) = lock(&machine.pump).as_mut() {
            pump.replace(ring, carry, refused);
        }
        Ok(true)
    }

    /// Looks whether the journal is still where it was, and puts back what was taken away. Returns what was: path, `journal` or
    /// `segment`, what became of it, whether it is there again; and why not, where it is not. From the pump's thread, between
    /// two calls of `run_pump`.
    fn keep_journal(&self, py: Python<'_>) -> (Vec<Missing>, Option<String>) {
        let Some(machine) = &self.machine else { return (Vec::new(), None) };
        let (found, result) = py.detach(|| {
            let (mut pump, held) = (lock(&machine.pump), lock(&machine.held));
            match (pump.as_mut(), held.as_ref()) {
                (Some(pump), Some(held)) => pump.keep(held),
                _ => (Vec::new(), Ok(())),
            }
        });
        let found = found.into_iter().map(|one| (one.path, one.kind, one.what.word(), one.restored)).collect();
        (found, result.err().map(|error| error.to_string()))
    }

    /// Declares the pump troubled: `AuditUnavailable` names `cause`; with `dead` no caller waits for it any more.
    #[pyo3(signature = (cause, *, dead=false))]
    fn pump_failed(&self, cause: String, dead: bool) {
        self.shared.progress.set_trouble(Some(cause), dead);
    }

    /// The pump works again.
    fn pump_recovered(&self) {
        self.shared.progress.set_trouble(None, false);
    }

    /// Waits, without the GIL, until all that was accepted before the call is journaled; returns the next seq.
    #[pyo3(signature = (timeout=None))]
    fn wait_journaled(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<i64> {
        let Some(ring) = self.shared.ring() else { return Ok(0) };
        let progress = &self.shared.progress;
        let (generation, target): (_, Vec<_>) =
            (ring.identity().generation, ends(ring, &progress.journaled()).collect());
        // Another ring is gone over to when all of the one before is journaled.
        let enough = |now: &Journaled| {
            now.generation > generation
                || (now.generation == generation && known(ring, now).zip(&target).all(|(now, end)| now >= *end))
        };
        let deadline = match timeout {
            Some(seconds) => {
                let wait =
                    Duration::try_from_secs_f64(seconds).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
                Some(Instant::now() + wait)
            }
            None => None,
        };
        let mut nudges = progress.nudges();
        loop {
            ring.wake();
            let left = deadline.map_or(SLICE, |at| SLICE.min(at.saturating_duration_since(Instant::now())));
            let done = py.detach(|| progress.wait(left, i64::MIN, &mut nudges, enough));
            if done {
                return Ok(progress.next_seq());
            }
            py.check_signals()?;
            if deadline.is_some_and(|at| Instant::now() >= at) {
                let cause = progress.trouble().unwrap_or_else(|| "the journal is behind".into());
                return Err(PyTimeoutError::new_err(format!("not everything accepted is journaled yet: {cause}")));
            }
            if progress.dead() {
                let cause = progress.trouble().unwrap_or_default();
                return Err(PyTimeoutError::new_err(format!("the pump is dead: {cause}")));
            }
        }
    }

    /// Whether a sink with this cursor holds back half of the journal's budget.
    fn presses(&self, cursor: i64) -> bool {
        self.shared.progress.presses(cursor)
    }

    /// Waits, without the GIL, until the rows before `seq`, which are journaled, are on the disk itself (`fdatasync`). All who
    /// wait at a time share one.
    #[pyo3(signature = (seq, timeout=None))]
    fn sync(&self, py: Python<'_>, seq: i64, timeout: Option<f64>) -> PyResult<()> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
        let timeout = timeout.map_err(|error| PyValueError::new_err(format!("timeout: {error}")))?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = deadline.map_or(SLICE, |at| SLICE.min(at.saturating_duration_since(Instant::now())));
            if py.detach(|| machine.unsynced.wait(seq, left)).map_err(os_error)? {
                return Ok(());
            }
            py.check_signals()?;
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(PyTimeoutError::new_err("the disk has not yet taken everything that is journaled"));
            }
        }
    }

    /// Followers that wait for the disk are not kept waiting for the rest of the interval.
    fn sync_soon(&self) {
        if let Some(machine) = &self.machine {
            machine.unsynced.hasten();
        }
    }

    /// The terms of the balance, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut exempt = 0;
        let stats = PyDict::new(py);
        let actions = PyDict::new(py);
        let (mut off, mut dropped, mut refused) = (self.shared.kept_nothing(), 0, 0);
        let journaled = self.shared.progress.journaled();
        let declared = self.shared.declared_names();
        let add = |code: u16, outcome: u8, count: u64| -> PyResult<()> {
            let name = match spec(code) {
                Some(spec) => spec.name,
                None => declared.get(&code).map_or("?", String::as_str),
            };
            let outcome = Outcome::from_number(outcome).map_or("?", Outcome::word);
            let before: u64 = actions.get_item((name, outcome))?.map_or(Ok(0), |count| count.extract())?;
            actions.set_item((name, outcome), before + count)
        };
        for (code, outcome, count) in &journaled.actions {
            add(*code, *outcome, *count)?;
        }
        if let Some(ring) = self.shared.ring() {
            let mut counts = Vec::new();
            ring.edge().visit(|count| counts.push(count));
            for count in counts {
                match count.kind {
                    Edge::Off => off += count.count,
                    Edge::Dropped => dropped += count.count,
                    Edge::Refused => refused += count.count,
                }
                if count.kind == Edge::Off && count.code == u32::from(EXEMPTED) {
                    exempt += count.count;
                }
                if count.kind != Edge::Refused {
                    add(count.code as u16, count.outcome as u8, count.count)?;
                }
            }
        }
        let claimed = self.claimed(&journaled);
        stats.set_item("offered", claimed + off + dropped + refused)?;
        stats.set_item("claimed", claimed)?;
        // What is still in the ring counts as accepted; a claim that is being written is so for nanoseconds.
        stats.set_item("accepted", claimed - journaled.torn)?;
        stats.set_item("torn", journaled.torn)?;
        stats.set_item("off", off)?;
        stats.set_item("exempt", exempt)?;
        stats.set_item("dropped", dropped)?;
        stats.set_item("refused", refused)?;
        stats.set_item("born", journaled.born)?;
        let lost_of_ring: u64 = journaled.lost.iter().map(|(_, count)| count).sum();
        stats.set_item("journaled", journaled.accepted + journaled.born - lost_of_ring)?;
        stats.set_item("in_ring", claimed - journaled.claimed)?;
        let lost = PyDict::new(py);
        for (cause, count) in journaled.lost.iter().filter(|(_, count)| *count > 0) {
            lost.set_item(cause, count)?;
        }
        stats.set_item("lost", lost)?;
        stats.set_item("actions", actions)?;
        stats.set_item("scope_labels", scope_labels(py, &journaled)?)?;
        stats.set_item("scoped", scoped(py, &journaled, &declared)?)?;
        let ring = self.shared.ring();
        let bytes = ring.map_or(0, |ring| u64::from(ring.geometry().lane_bytes) * u64::from(ring.geometry().lanes));
        stats.set_item("ring_bytes", bytes)?;
        stats.set_item("ring_used", ring.map_or(0, |ring| used(ring)))?;
        stats.set_item("ring_high_water", self.shared.progress.most_in_use())?;
        stats.set_item("clock", self.clock())?;
        stats.set_item("journal_bytes", journaled.bytes)?;
        let (waits, blocked_ns) = self.shared.progress.waits();
        stats.set_item("waits", waits)?;
        stats.set_item("blocked_ns", blocked_ns)?;
        stats.set_item("next_seq", journaled.next_seq)?;
        stats.set_item("durable_seq", journaled.durable_seq)?;
        let lag = self.machine.as_ref().map_or(Duration::ZERO, |machine| machine.unsynced.lag());
        stats.set_item("durable_lag_ns", u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX))?;
        stats.set_item("alive", !self.shared.progress.dead())?;
        stats.set_item("over_budget", journaled.over_budget)?;
        stats.set_item("unrolled", journaled.unrolled)?;
        stats.set_item("damaged", journaled.damaged)?;
        stats.set_item("let_go", journaled.let_go)?;
        Ok(stats)
    }

    /// When the first row at or behind `seq` happened, in nanoseconds since the epoch, as its batch in the journal says; None
    /// where there is none.
    fn time_of(&self, py: Python<'_>, seq: i64) -> PyResult<Option<i64>> {
        let Some(machine) = &self.machine else { return Ok(None) };
        py.detach(|| time_of(&machine.dir, seq)).map_err(os_error)
    }

    /// Ends every open session with status `ProxyShutdown`; returns how many there were. A full ring is waited for
    /// `timeout` seconds in all; what finds no room is dropped, counted.
    #[pyo3(signature = (timeout=2.0))]
    fn close_sessions(&self, py: Python<'_>, timeout: f64) -> PyResult<usize> {
        let wait = Duration::try_from_secs_f64(timeout).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
        let until = Instant::now() + wait;
        let sessions = self.shared.sessions();
        for session in &sessions {
            let close = Close { status: Some("ProxyShutdown"), initiator: Some("proxy"), ..Close::default() };
            session.close_with_log(py, close, until)?;
        }
        Ok(sessions.len())
    }

    /// No emit is accepted from now on; the pump drains, writes `ProxyCleanShutdown` and ends. Idempotent.
    fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) || self.shared.is_forked() {
            return;
        }
        self.shared.shut(false);
        if let Some(ring) = self.shared.ring() {
            ring.close();
        }
    }

    /// The sinks that the journal is kept for: name, whether it is left to an agent, whether the log stops for it, whether
    /// somebody drives it now.
    fn sinks(&self, py: Python<'_>) -> PyResult<Vec<Listed>> {
        let Some(machine) = self.machine.as_ref().filter(|machine| machine.dir.is_dir()) else { return Ok(Vec::new()) };
        py.detach(|| listed(&machine.dir)).map_err(os_error)
    }

    /// What the cursor of a sink says that somebody else may drive: next seq, and what became of the rows before it.
    fn cursor_of(&self, py: Python<'_>, sink: &str) -> PyResult<(i64, BTreeMap<String, u64>)> {
        let Some(machine) = &self.machine else { return Ok((0, BTreeMap::new())) };
        let cursor = py.detach(|| Cursor::load(&machine.dir, sink)).map_err(os_error)?.unwrap_or_default();
        Ok((cursor.seq, cursor.totals))
    }

    /// Says whose turn it is at a sink: an agent's, or this process's. One that is not there is entered, with its own policy
    /// in its journaled form. Returns whether it has that policy.
    #[pyo3(signature = (sink, *, by_agent, policy=Vec::new()))]
    fn assign(&self, py: Python<'_>, sink: &str, by_agent: bool, policy: Vec<u8>) -> PyResult<bool> {
        let Some(machine) = &self.machine else { return Ok(true) };
        check(&policy)?;
        py.detach(|| enter(&machine.dir, sink, &policy, Some(by_agent))).map_err(os_error)
    }

    /// After pump and followers have ended: stores the totals, removes ring and journal if every sink is past. `leave`: where
    /// others are not, the directory is let go of, for them and whoever drives them. `behind`: one of ours is not at its end,
    /// whatever its cursor says; only the ring goes.
    #[pyo3(signature = (*, leave=false, behind=false))]
    fn finish(&self, py: Python<'_>, leave: bool, behind: bool) -> PyResult<bool> {
        let Some(machine) = &self.machine else { return Ok(true) };
        let finish = || {
            let removed = finish(machine, &self.shared, behind)?;
            if leave && !removed && !self.shared.progress.end_is_held_back() {
                drop(lock(&machine.held).take());
            }
            Ok(removed)
        };
        py.detach(finish).map_err(|error: Error| os_error(error))
    }

    /// In a forked child: lets go of the parent's ring, files and locks without touching them. Returns the policy that was
    /// in force, unless another thread of the parent was about to change it.
    fn forked<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.shared.shut(true);
        Followers::close_holds_in_child();
        if let Some(lock) = self.machine.as_ref().and_then(|machine| machine.lock.upgrade()) {
            lock.close_in_child();
        }
        let stated = self.shared.policies.as_ref()?.in_force_now()?;
        Some(PyBytes::new(py, &stated.bytes))
    }
}

/// The labels by which rows are counted, beside action and outcome.
fn scope_labels<'py>(py: Python<'py>, journaled: &Journaled) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, journaled.scopes.labels.iter().map(|(label, _)| label))
}

/// Rows at the primary tap by action, outcome and values of those labels; None for all that is past the limit.
fn scoped<'py>(
    py: Python<'py>,
    journaled: &Journaled,
    declared: &HashMap<u16, String>,
) -> PyResult<Bound<'py, PyDict>> {
    let counts = PyDict::new(py);
    for (code, outcome, scope, count) in &journaled.scoped {
        let action = spec(*code).map(|spec| spec.name).or_else(|| declared.get(code).map(String::as_str));
        let outcome = Outcome::from_number(*outcome).map_or("?", Outcome::word);
        let values = journaled.scopes.get(*scope).map(|values| PyTuple::new(py, values)).transpose()?;
        counts.set_item((action.unwrap_or("?"), outcome, values), count)?;
    }
    Ok(counts)
}

fn finish(machine: &Machine, shared: &Shared, behind: bool) -> Result<bool, auditring_flow::Error> {
    if shared.progress.end_is_held_back() {
        // Its syncer goes on trying: the ring is left until the final row is durable.
        return Ok(false);
    }
    // The pump first: it waits for its syncer, and nothing may write to the directory any more.
    drop(lock(&machine.pump).take());
    let mut held = lock(&machine.held);
    if held.is_none() {
        // What could not be removed the last time.
        return retire(&machine.root, machine.process.as_bytes(), &mut held);
    }
    let state = fold(&machine.dir)?;
    if let (Some(_), Some(ring)) = (state.ending, shared.ring()) {
        // All that it held is journaled, whether or not a sink still lags.
        ring.unlink().map_err(|source| auditring_flow::Error::Io {
            what: "remove the ring",
            path: ring.path().to_owned(),
            source,
        })?;
    }
    if behind {
        // A cursor may be past all of it although its follower could not make sure of that: who tries again finds it there.
        return Ok(false);
    }
    retire(&machine.root, machine.process.as_bytes(), &mut held)
}
