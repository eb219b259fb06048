//! What a log is to Python: its methods, and what they say of themselves.
//!
//! What must always hold: a log that keeps nothing answers all of them, as one that has nothing to wait for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auditring_event::Outcome;
use auditring_journal::{Cursor, Followers, time_of};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::machine::Missing;
use super::open::{self, Asked, Rule};
use super::post::{Said, post};
use super::sessions::{self, Accepted};
use super::{Log, os_error, stats, waits};
use crate::change::{Site, set_policy};
use crate::declare::Declaration;
use crate::ffi::{callable, instance};
use crate::living::{Listed, check, enter, listed};
use crate::methods;
use crate::own;
use crate::policy::RedactionKey;
use crate::slow;

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
        let asked = Asked {
            root,
            instance,
            host,
            policy,
            sinks,
            primary_tap,
            ring_dir,
            ring_bytes,
            droppable,
            protected,
            journal_bytes,
            segment_bytes,
            segment_seconds,
            power_seconds,
            balance_seconds,
            startup,
            key,
            required,
            by_agent,
            lanes,
            label_scopes,
            label_scope_limit,
        };
        open::open(py, asked)
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
        stats::clock(&self.shared)
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
        let accepted = Accepted { id, peer, local, virtual_cluster, client_id, authority, tap, context };
        sessions::open(py, &self.shared, accepted)
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
        post(machine, &self.shared, action, Said { status, reason, context }, fields)
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
        machine.run(py, timeout)
    }

    /// Whether the pump may run again: no panic has left it half-changed.
    #[getter]
    fn pump_sound(&self) -> bool {
        self.machine.as_ref().is_none_or(|machine| !machine.pump.is_poisoned())
    }

    /// Lets go of ring and journal as they are, after a pump that cannot go on: the next opener recovers them.
    fn abandon(&self, py: Python<'_>) {
        if let Some(machine) = &self.machine {
            machine.abandon(py);
        }
    }

    /// Looks whether the ring's file is still there (session managers and containers delete what lies in `/dev/shm`) and whole,
    /// and if not goes on with a new one; returns whether it did. `refused`: why an earlier try could not make one; the row that
    /// tells of the new ring says so. From the pump's thread, between two calls of `run_pump`.
    #[pyo3(signature = (*, refused=None))]
    fn replace_ring(&self, py: Python<'_>, refused: Option<&str>) -> PyResult<bool> {
        self.machine.as_ref().map_or(Ok(false), |machine| machine.replace_ring(py, &self.shared, refused))
    }

    /// Looks whether the journal is still where it was, and puts back what was taken away. Returns what was: path, `journal` or
    /// `segment`, what became of it, whether it is there again; and why not, where it is not. From the pump's thread, between
    /// two calls of `run_pump`.
    fn keep_journal(&self, py: Python<'_>) -> (Vec<Missing>, Option<String>) {
        self.machine.as_ref().map_or((Vec::new(), None), |machine| machine.keep_journal(py))
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
        waits::journaled(py, &self.shared, timeout)
    }

    /// Whether a sink with this cursor holds back half of the journal's budget.
    fn presses(&self, cursor: i64) -> bool {
        self.shared.progress.presses(cursor)
    }

    /// Waits, without the GIL, until the rows before `seq`, which are journaled, are on the disk itself (`fdatasync`). All who
    /// wait at a time share one.
    #[pyo3(signature = (seq, timeout=None))]
    fn sync(&self, py: Python<'_>, seq: i64, timeout: Option<f64>) -> PyResult<()> {
        self.machine.as_ref().map_or(Ok(()), |machine| waits::durable(py, machine, seq, timeout))
    }

    /// Followers that wait for the disk are not kept waiting for the rest of the interval.
    fn sync_soon(&self) {
        if let Some(machine) = &self.machine {
            machine.unsynced.hasten();
        }
    }

    /// The terms of the balance, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats::stats(py, &self.shared, self.machine.as_ref())
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
        sessions::close(py, &self.shared, timeout)
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
        self.machine.as_ref().map_or(Ok(true), |machine| machine.finish(py, &self.shared, leave, behind))
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
