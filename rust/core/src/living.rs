//! Processes that live elsewhere: found, and followed by another one, an agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use auditring_flow::Progress;
use auditring_journal::{
    Follower as Entry, Followers, Reader, SegmentHead, SinkLock, Step, is_held, list, lock_is_gone, process_text,
    require_own,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::log::os_error;

/// The journal of a process that lives elsewhere, and what it shows.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct Living {
    dir: PathBuf,
    head: SegmentHead,
    progress: Arc<Progress>,
}

/// A process under an audit directory: its UUID, its directory, whether somebody holds that, whether nobody can tell.
type Found = (String, PathBuf, bool, bool);

/// A sink that a journal is kept for: its name, whether it is left to an agent, whether the log stops for it, whether somebody
/// drives it at this moment.
pub(crate) type Listed = (String, bool, bool, bool);

/// Every process whose journal is under `root`. One that goes meanwhile is none.
#[pyfunction]
pub(crate) fn processes(py: Python<'_>, root: PathBuf) -> PyResult<Vec<Found>> {
    let look = || {
        let mut found = Vec::new();
        for (process, dir) in list(&root)? {
            // Where its lock cannot be asked nobody can tell either, and the others are looked at all the same.
            let asked = is_held(&dir).and_then(|held| Ok((held, lock_is_gone(&dir)?)));
            let (held, lockless) = asked.unwrap_or((false, true));
            if dir.is_dir() {
                found.push((process_text(&process), dir, held, lockless));
            }
        }
        Ok(found)
    };
    py.detach(look).map_err(|error: auditring_journal::Error| os_error(error))
}

/// Whom a journal is kept for.
pub(crate) fn listed(dir: &Path) -> auditring_journal::Result<Vec<Listed>> {
    let followers = Followers::load(dir)?.entries.into_iter();
    followers
        .map(|entry| {
            let held = SinkLock::is_held(dir, &entry.name)?;
            Ok((entry.name, entry.by_agent, entry.required, held))
        })
        .collect()
}

/// Enters a sink that is not there, with its own policy in its journaled form; one that is there is as it was, but for whose
/// turn it is: `by_agent`, unless that is for the list to say. Returns whether the policy is the one that stands there (a sink
/// goes by that, whoever drives it), or it is not the caller's turn to have one.
pub(crate) fn enter(dir: &Path, name: &str, policy: &[u8], by_agent: Option<bool>) -> auditring_journal::Result<bool> {
    Followers::amend(dir, |followers| {
        let Some(entry) = followers.entries.iter_mut().find(|entry| entry.name == name) else {
            followers.entries.push(Entry {
                name: name.to_owned(),
                policy: policy.to_owned(),
                by_agent: by_agent.unwrap_or(true),
                ..Entry::default()
            });
            return (true, true);
        };
        let wanted = by_agent.unwrap_or(entry.by_agent);
        let changed = std::mem::replace(&mut entry.by_agent, wanted) != wanted;
        let others = by_agent.is_none() && !entry.by_agent;
        (changed, others || entry.policy == policy)
    })
}

/// What the newest segment says of its process; none: it is being begun.
fn head(dir: &Path) -> auditring_journal::Result<Option<SegmentHead>> {
    let (mut reader, mut buf) = (Reader::open(dir, i64::MAX)?, Vec::new());
    Ok(match reader.next(&mut buf)? {
        Step::Segment(head) => Some(*head),
        _ => None,
    })
}

impl Living {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

#[pymethods]
impl Living {
    /// Of a process's directory; none where it is not born yet. Another user's is refused: what is made in there would be ours,
    /// and its process could neither read nor replace it.
    #[staticmethod]
    fn open(py: Python<'_>, directory: PathBuf) -> PyResult<Option<Self>> {
        let head = py.detach(|| require_own(&directory).and_then(|()| head(&directory))).map_err(os_error)?;
        Ok(head.map(|head| Self { progress: Arc::new(Progress::of_living(&directory)), dir: directory, head }))
    }

    /// Its UUID.
    #[getter]
    fn process(&self) -> String {
        process_text(&self.head.process)
    }

    /// Which proxy it is.
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

    /// The log's policy, in its journaled form, as its newest segment has it.
    #[getter]
    fn policy<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.head.policy)
    }

    /// Whether it shows how far its journal may be read, as of the last look of a follower.
    #[getter]
    fn shown(&self) -> bool {
        self.progress.is_shown()
    }

    /// Whether its journal or its disk has no room.
    #[getter]
    fn urgent(&self) -> bool {
        self.progress.is_urgent()
    }

    /// The sinks that its journal is kept for: name, whether it is left to an agent, whether the log stops for it, whether
    /// somebody drives it now.
    fn sinks(&self, py: Python<'_>) -> PyResult<Vec<Listed>> {
        py.detach(|| listed(&self.dir)).map_err(os_error)
    }

    /// Enters a sink for which the journal is kept from now on, with its own policy in its journaled form; one that is there
    /// is as it was. Returns whether it has that policy.
    fn enter(&self, py: Python<'_>, sink: &str, policy: &[u8]) -> PyResult<bool> {
        check(policy)?;
        py.detach(|| enter(&self.dir, sink, policy, None)).map_err(os_error)
    }
}

/// Whether a sink's own policy can be read; empty is none.
pub(crate) fn check(policy: &[u8]) -> PyResult<()> {
    if !policy.is_empty() {
        auditring_policy::Policy::parse(policy).map_err(|error| PyValueError::new_err(error.to_string()))?;
    }
    Ok(())
}
