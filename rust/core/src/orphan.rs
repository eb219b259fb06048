//! Processes that have died: adopted, recovered, and followed to their end by whoever found them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use auditring_flow::{Recovery, Salvage, key_for, recover, retire};
use auditring_journal::{Followers, Lock, ProcessDir, SegmentHead, fold, list, process_text, purge, strangers};
use auditring_policy::Key;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::living::{check, enter};
use crate::log::os_error;
use crate::policy::RedactionKey;

/// The journal of a process that has died, held by this one; its last row is there.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Orphan {
    root: PathBuf,
    dir: PathBuf,
    process: [u8; 16],
    head: SegmentHead,
    /// Behind its last row.
    next_seq: i64,
    salvage: Option<Salvage>,
    held: Mutex<Option<ProcessDir>>,
    /// For a forked child, where the directory may be in another thread's hands for ever.
    lock: Weak<Lock>,
}

impl Orphan {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn held(&self) -> MutexGuard<'_, Option<ProcessDir>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Recovers one directory; none where somebody holds it, or nothing is left of it.
fn adopt(
    root: &Path,
    process: [u8; 16],
    dir: PathBuf,
    by: &str,
    keys: &[Key],
) -> Result<Option<Orphan>, auditring_flow::Error> {
    let mut held = auditring_flow::adopt(&dir)?;
    if held.is_none() {
        return Ok(None);
    }
    let salvage = match recover(&mut held, by, key_for(&dir, keys)?)? {
        Recovery::Unborn => return Ok(None),
        Recovery::Ended => None,
        Recovery::Recovered(salvage) => Some(salvage),
    };
    let state = fold(&dir)?;
    Ok(Some(Orphan {
        root: root.to_owned(),
        dir,
        process,
        head: state.head.unwrap_or_default(),
        next_seq: state.next_seq,
        salvage,
        lock: held.as_ref().map_or_else(Weak::new, ProcessDir::lock),
        held: Mutex::new(held),
    }))
}

/// The dead, and directories that could not be recovered, each with the reason.
type Adopted = (Vec<Orphan>, Vec<(PathBuf, String)>);

/// Adopts and recovers every process under `root` that has died. Beside them: the directories that could not be recovered,
/// each with the reason. `keys`: what those who had one of them redacted is hashed by it, and otherwise left out. `only`: the
/// UUIDs of those that are meant.
#[pyfunction]
#[pyo3(signature = (root, *, by="", keys=Vec::new(), only=None))]
pub(crate) fn adopt_orphans(
    py: Python<'_>,
    root: PathBuf,
    by: &str,
    keys: Vec<PyRef<'_, RedactionKey>>,
    only: Option<HashSet<String>>,
) -> PyResult<Adopted> {
    let keys: Vec<Key> = keys.iter().map(|key| key.0.clone()).collect();
    py.detach(|| {
        let (mut orphans, mut refused) = (Vec::new(), Vec::new());
        if let Err(error) = purge(&root) {
            refused.push((root.clone(), error.to_string()));
        }
        for (path, what) in strangers(&root)? {
            refused.push((path, format!("left alone: {what}")));
        }
        for (process, dir) in list(&root)? {
            if only.as_ref().is_some_and(|only| !only.contains(&process_text(&process))) {
                continue;
            }
            match adopt(&root, process, dir.clone(), by, &keys) {
                Ok(orphan) => orphans.extend(orphan),
                // Told of among the strangers.
                Err(auditring_flow::Error::Journal(auditring_journal::Error::Foreign { path, .. })) if path == dir => {}
                // Removed by its next adopter, who was faster.
                Err(_) if !dir.exists() => {}
                Err(error) => refused.push((dir, error.to_string())),
            }
        }
        Ok((orphans, refused))
    })
    .map_err(|error: auditring_journal::Error| os_error(error))
}

#[pymethods]
impl Orphan {
    /// Its UUID.
    #[getter]
    fn process(&self) -> String {
        process_text(&self.process)
    }

    /// Which proxy it was.
    #[getter]
    fn instance(&self) -> &str {
        &self.head.instance
    }

    /// On which machine.
    #[getter]
    fn host(&self) -> &str {
        &self.head.host
    }

    /// The tap that its totals count.
    #[getter]
    fn primary_tap(&self) -> Option<&str> {
        self.head.primary_tap.as_deref()
    }

    /// The sinks that follow it, whether or not they lack rows.
    #[getter]
    fn sinks(&self) -> PyResult<Vec<String>> {
        let followers = Followers::load(&self.dir).map_err(os_error)?;
        Ok(followers.entries.into_iter().map(|entry| entry.name).collect())
    }

    /// Enters a sink, where it is not there, which is owed what its journal still has. Returns whether it has that policy.
    fn enter(&self, py: Python<'_>, sink: &str, policy: &[u8]) -> PyResult<bool> {
        check(policy)?;
        py.detach(|| enter(&self.dir, sink, policy, None)).map_err(os_error)
    }

    /// The log's policy, in its journaled form, as its last segment has it.
    #[getter]
    fn policy<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.head.policy)
    }

    /// Whether it is in our hands: not let go of, nor its journal removed.
    #[getter(held)]
    fn is_held(&self) -> bool {
        self.held().is_some()
    }

    /// The sinks that still lack rows of it; none once its journal is removed.
    fn behind(&self) -> PyResult<Vec<String>> {
        if self.held().is_none() {
            return Ok(Vec::new());
        }
        let followers = Followers::load(&self.dir).map_err(os_error)?;
        followers.behind(&self.dir, self.next_seq).map_err(os_error)
    }

    /// What was found beside its journal (`rows`, `torn`, `unreadable`, `journal_gone`, `dropped`, `unhashed`, `ring_gone`);
    /// none where it had ended before.
    #[getter]
    fn salvage<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(salvage) = &self.salvage else { return Ok(None) };
        let said = PyDict::new(py);
        said.set_item("rows", salvage.rows)?;
        said.set_item("torn", salvage.torn)?;
        said.set_item("unreadable", salvage.unreadable)?;
        said.set_item("journal_gone", salvage.journal_gone)?;
        said.set_item("dropped", salvage.dropped)?;
        said.set_item("unhashed", salvage.unhashed)?;
        said.set_item("ring_gone", salvage.ring_gone)?;
        Ok(Some(said))
    }

    /// Removes the journal if every sink is past it; its totals stay. Whether it is removed. What could not be removed of it is
    /// removed by the next call.
    fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| retire(&self.root, &self.process, &mut self.held())).map_err(os_error)
    }

    /// Lets go of it: the next opener goes on.
    fn close(&self) {
        *self.held() = None;
    }

    /// In a forked child: the hold is the parent's.
    fn forked(&self) {
        if let Some(lock) = self.lock.upgrade() {
            lock.close_in_child();
        }
    }
}
