//! One sink's reader, as its Python thread drives it, and a thread that reads ahead for it.
//!
//! `next` waits with the reader locked, so what other threads ask for (how far is it?) is kept beside it. While the sink
//! is busy with a full batch the helper gathers the next one. It only does earlier what `next` would do first: with the
//! reader locked, and nothing is handed out by it.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use auditring_event::{Outcome, by_name};
use auditring_flow::{Declined, Form, Progress};
use auditring_journal::SinkLock;
use pyo3::exceptions::{PyBlockingIOError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrow::RowBatch;
use crate::living::Living;
use crate::log::{Log, os_error};
use crate::orphan::Orphan;

/// What others may ask for at any time.
#[derive(Clone, Default)]
struct View {
    state: Vec<u8>,
    cursor: i64,
    position: i64,
    seen: i64,
    boundary: bool,
    at_cut: bool,
    ended: bool,
    totals: BTreeMap<String, u64>,
}

/// One sink's reader of one process's journal, with its durable cursor and its lock.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Follower {
    inner: Arc<Mutex<Option<auditring_flow::Follower>>>,
    /// Tells the helper how many rows the next batch will be asked for. The helper ends when it is dropped.
    ahead: Mutex<Option<Sender<usize>>>,
    view: Mutex<View>,
    progress: Arc<Progress>,
    /// For a forked child, where the reader may be locked for ever. The lock goes with the reader.
    sink_lock: Weak<SinkLock>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a sink declines, by the names of actions and outcomes.
fn pairs(sink: &str, declined: Vec<(String, String)>) -> PyResult<Declined> {
    let mut pairs = Declined::default();
    let mut unknown = HashSet::new();
    for (action, outcome) in declined {
        match (by_name(&action), Outcome::from_word(&outcome)) {
            (Some(spec), Some(outcome)) => pairs.add(spec.code, outcome),
            _ => _ = unknown.insert(action),
        }
    }
    if !unknown.is_empty() {
        return Err(PyValueError::new_err(format!("sink {sink:?} declines what is not in the catalog: {unknown:?}")));
    }
    Ok(pairs)
}

impl Follower {
    fn open(
        py: Python<'_>,
        dir: &Path,
        progress: Arc<Progress>,
        sink: &str,
        declined: Declined,
        tables: bool,
    ) -> PyResult<Self> {
        let form = if tables { Form::Table } else { Form::Rows };
        let opened = py.detach(|| auditring_flow::Follower::open(dir, sink, declined, form, Arc::clone(&progress)));
        let inner = opened.map_err(|error| match error {
            auditring_flow::Error::SinkHeld { .. } => PyBlockingIOError::new_err(error.to_string()),
            error => os_error(error),
        })?;
        let sink_lock = Arc::downgrade(&inner.lock());
        let shared = Arc::default();
        // Where there is no thread to be had nobody reads ahead.
        let ahead = Mutex::new(read_ahead(Arc::clone(&shared)).ok());
        let follower = Self { inner: shared, ahead, view: Mutex::default(), progress, sink_lock };
        follower.look(&inner);
        *lock(&follower.inner) = Some(inner);
        Ok(follower)
    }

    fn look(&self, inner: &auditring_flow::Follower) {
        let cursor = inner.cursor();
        let mut view = lock(&self.view);
        view.cursor = cursor.seq;
        view.position = inner.position();
        view.seen = inner.seen();
        view.boundary = inner.boundary();
        view.at_cut = inner.at_cut();
        view.ended = inner.ended();
        view.totals.clone_from(&cursor.totals);
        view.state.clone_from(&cursor.state);
    }

    /// What the helper has gathered, if it is ready and nobody has the reader.
    fn gathered(&self, max_rows: usize) -> Option<auditring_flow::Batch> {
        let mut inner = self.inner.try_lock().ok()?;
        let follower = inner.as_mut().filter(|follower| follower.is_ready(max_rows))?;
        // An error is met again, and raised, by `next`.
        let batch = follower.hand_out().ok()?;
        self.look(follower);
        batch
    }

    /// Runs `work` on the reader without the GIL, then brings the view up to date.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut auditring_flow::Follower) -> Result<T, auditring_flow::Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let mut inner = lock(&self.inner);
            let Some(follower) = inner.as_mut() else { return Ok(None) };
            let result = work(follower);
            self.look(follower);
            result.map(Some)
        })
        .map_err(os_error)?
        .ok_or_else(|| PyRuntimeError::new_err("this follower is closed"))
    }
}

/// Starts the helper.
fn read_ahead(inner: Arc<Mutex<Option<auditring_flow::Follower>>>) -> std::io::Result<Sender<usize>> {
    let (sender, asked) = channel();
    std::thread::Builder::new().name("auditring-ahead".to_owned()).spawn(move || {
        for rows in asked {
            if let Some(follower) = lock(&inner).as_mut() {
                // An error is met again, and told, by `next`; after a panic, too, nothing is handed out of what it left.
                let gathered = catch_unwind(AssertUnwindSafe(|| drop(follower.gather(rows))));
                if gathered.is_err() {
                    follower.spoil(&"a panic while rows were read ahead");
                }
            }
        }
    })?;
    Ok(sender)
}

#[pymethods]
impl Follower {
    #[new]
    #[pyo3(signature = (log, sink, declined=vec![], *, tables=false))]
    fn new(py: Python<'_>, log: &Log, sink: String, declined: Vec<(String, String)>, tables: bool) -> PyResult<Self> {
        let pairs = pairs(&sink, declined)?;
        let Some((dir, progress)) = log.follow() else {
            return Err(PyValueError::new_err("a log that keeps nothing has no followers"));
        };
        Self::open(py, &dir, progress, &sink, pairs, tables)
    }

    /// One of a process that has died, over what is left of its journal.
    #[staticmethod]
    #[pyo3(signature = (orphan, sink, declined=vec![], *, tables=false))]
    fn of_orphan(
        py: Python<'_>,
        orphan: &Orphan,
        sink: String,
        declined: Vec<(String, String)>,
        tables: bool,
    ) -> PyResult<Self> {
        let pairs = pairs(&sink, declined)?;
        // Nothing more comes: nobody announces anything.
        Self::open(py, orphan.dir(), Arc::default(), &sink, pairs, tables)
    }

    /// One of a process that lives elsewhere. It ends when that ends its journal, or another does for it.
    #[staticmethod]
    #[pyo3(signature = (living, sink, declined=vec![], *, tables=false))]
    fn of_living(
        py: Python<'_>,
        living: &Living,
        sink: String,
        declined: Vec<(String, String)>,
        tables: bool,
    ) -> PyResult<Self> {
        let pairs = pairs(&sink, declined)?;
        Self::open(py, living.dir(), living.progress(), &sink, pairs, tables)
    }

    /// What the sink's last commit returned; empty at first.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.view).state)
    }

    /// Next seq after the last commit.
    #[getter]
    fn cursor(&self) -> i64 {
        lock(&self.view).cursor
    }

    /// Next seq after the last batch handed out.
    #[getter]
    fn position(&self) -> i64 {
        lock(&self.view).position
    }

    /// Next seq behind what the journal is known to have, as of the last call.
    #[getter]
    fn seen(&self) -> i64 {
        lock(&self.view).seen
    }

    /// Whether it holds back half of the journal's budget.
    #[getter]
    fn presses(&self) -> bool {
        self.progress.presses(self.cursor())
    }

    /// The next row begins a later UTC date (or lies behind a jump in seq): commit first, nothing is handed out before.
    #[getter]
    fn boundary(&self) -> bool {
        lock(&self.view).boundary
    }

    /// What was handed out ends at a cut: a commit is possible. Without a window in force every row is one.
    #[getter]
    fn at_cut(&self) -> bool {
        lock(&self.view).at_cut
    }

    /// The final row has been handed out.
    #[getter]
    fn ended(&self) -> bool {
        lock(&self.view).ended
    }

    /// delivered, merged, `sampled_out`, `filtered_out` and lost_… up to the last commit.
    #[getter]
    fn totals(&self) -> BTreeMap<String, u64> {
        lock(&self.view).totals.clone()
    }

    /// The next rows, waiting up to `timeout` seconds without the GIL; with `to_cut` up to the next cut. While a full batch
    /// is made use of, the next one is gathered, of `ahead` rows.
    #[pyo3(signature = (max_rows, timeout, *, partial, to_cut=false, ahead=0))]
    fn next(
        &self,
        py: Python<'_>,
        max_rows: usize,
        timeout: f64,
        partial: bool,
        to_cut: bool,
        ahead: usize,
    ) -> PyResult<Option<RowBatch>> {
        let timeout =
            Duration::try_from_secs_f64(timeout).map_err(|e| PyValueError::new_err(format!("timeout: {e}")))?;
        let batch = match self.gathered(max_rows) {
            // Getting the GIL back from a thread that emits all the time takes milliseconds.
            Some(batch) => Some(batch),
            None => self.with(py, |follower| follower.next_to(max_rows, timeout, partial, to_cut))?,
        };
        let full = batch.as_ref().is_some_and(|batch| batch.rows >= max_rows);
        if let Some(sender) = lock(&self.ahead).as_ref().filter(|_| full && ahead > 0) {
            // A helper that has gone leaves its work to `next`.
            let _ = sender.send(ahead);
        }
        Ok(batch.map(RowBatch::new))
    }

    /// Ends a `next` that waits, from another thread.
    fn wake(&self) {
        self.progress.nudge();
    }

    /// All that was handed out is safe: moves the durable cursor.
    fn commit(&self, py: Python<'_>, state: Vec<u8>) -> PyResult<()> {
        if state.len() > auditring_journal::MAX_STATE {
            return Err(PyValueError::new_err(format!(
                "a sink's state is at most {} bytes, not {}",
                auditring_journal::MAX_STATE,
                state.len()
            )));
        }
        self.with(py, |follower| follower.commit(state))
    }

    /// The sink has all rows before `seq`, a cut, safe already: moves the durable cursor; what became of those behind it.
    fn advance(&self, py: Python<'_>, seq: i64, totals: BTreeMap<String, u64>) -> PyResult<()> {
        self.with(py, |follower| match follower.advance(seq, &totals) {
            Err(error @ auditring_flow::Error::NotAhead(_)) => Ok(Err(PyValueError::new_err(error.to_string()))),
            other => other.map(Ok),
        })?
    }

    /// Back to the cursor, after a sink has failed.
    fn rewind(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, auditring_flow::Follower::rewind)
    }

    /// The sink has refused these rows and always will; how many of them are news. They are left out, counted, after `rewind`.
    fn reject(&self, py: Python<'_>, seqs: Vec<i64>) -> PyResult<usize> {
        self.with(py, |follower| Ok(follower.reject(seqs)))
    }

    /// In a forked child: closes the inherited descriptor of the sink's lock, or a worker would hold it for a dead master.
    fn forked(&self) {
        if let Some(lock) = self.sink_lock.upgrade() {
            lock.close_in_child();
        }
    }

    /// Lets go of the sink's lock.
    fn close(&self, py: Python<'_>) {
        *lock(&self.ahead) = None;
        py.detach(|| *lock(&self.inner) = None);
    }
}
