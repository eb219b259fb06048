//! The directory of one process's journal: how it is born, found, adopted, and removed.
//!
//! A directory comes and goes by rename, so one under its final name is always whole, and one that is being made or unmade is
//! known by its name:
//!
//! ```text
//! .tmp-<uuid>.<try>   made, locked, owner written        purged when nobody holds it
//! <uuid>              in use, or an orphan if nobody holds its lock
//! .dead-<uuid>        done with                          purged
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::files;
use crate::lock::Lock;

const JOURNAL: &str = "journal";
const OWNER: &str = "owner";
const LOCK: &str = "lock";
const TEMPORARY: &str = ".tmp-";
const DEAD: &str = ".dead-";
/// A purge that comes between the making of a directory and its lock takes the directory away; so a few names are tried.
const TRIES: u32 = 64;

/// Who a directory belongs to; JSON in the file `owner`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process's UUID as text.
    pub process: String,
    /// The proxy's name.
    pub instance: String,
    /// The machine's name.
    pub host: String,
    /// The process id, in whatever namespace it lives.
    pub pid: u32,
    /// The boot that it runs in.
    pub boot_id: String,
    /// The machine; on a network file system only the same one may adopt.
    pub machine_id: String,
    /// Where its ring lies.
    pub ring_path: PathBuf,
    /// What of its events no file may have, as its policy says; opaque here, and empty where it says nothing. It stands
    /// beside the journal, so that it is known also where no segment can be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub redact: String,
    /// Where the directory was made. It may be moved; but whoever finds it there and elsewhere has a copy.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub dir: PathBuf,
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Owner {
    /// Who a process's directory belongs to.
    ///
    /// # Errors
    /// If the file is missing, cannot be read or is not what was written.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(OWNER);
        let Some(bytes) = files::read(&path, 1 << 20)? else {
            return Err(Error::io("open", &path, io::ErrorKind::NotFound.into()));
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::damaged(&path, error.to_string()))
    }

    /// Whether `dir` is a copy of the directory that it belongs to, which is where it was made. The ring is the original's: its
    /// process may live.
    #[must_use]
    pub fn is_copied_to(&self, dir: &Path) -> bool {
        let (Ok(made), Ok(here)) = (fs::metadata(&self.dir), fs::metadata(dir)) else { return false };
        (made.dev(), made.ino()) != (here.dev(), here.ino())
    }

    /// Says it anew, durably. Only the holder of the directory may.
    ///
    /// # Errors
    /// If the system refuses; the old one is in force then.
    pub fn store(&self, dir: &ProcessDir) -> Result<()> {
        self.write(dir.path())
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(OWNER);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::damaged(&path, format!("it cannot be written as JSON: {error}")))?;
        files::replace(&path, &text)
    }
}

/// A process's directory, held by its lock.
#[derive(Debug)]
pub struct ProcessDir {
    path: PathBuf,
    lock: Arc<Lock>,
}

impl ProcessDir {
    /// Makes the directory of a new process in the audit directory `root`, which must be there. When this returns, the
    /// directory is whole, durable and held.
    ///
    /// # Errors
    /// If `owner.process` is no UUID, there is such a directory, or the system refuses.
    pub fn create(root: &Path, owner: &Owner) -> Result<Self> {
        let journal = root.join(JOURNAL);
        if process_of(&owner.process).is_none() {
            return Err(Error::damaged(&journal, format!("{:?} is no process uuid", owner.process)));
        }
        files::ensure_dir(&journal)?;
        let path = journal.join(&owner.process);
        if path.symlink_metadata().is_ok() {
            return Err(Error::io("create", &path, io::ErrorKind::AlreadyExists.into()));
        }
        let (temporary, lock) = locked_temporary(&journal, &owner.process)?;
        let named = owner
            .write(&temporary)
            .and_then(|()| fs::rename(&temporary, &path).map_err(|e| Error::io("rename", &temporary, e)));
        if let Err(error) = named {
            // Best effort, here and below: what is left of it is purged by the next opener.
            let _ = files::remove_all(&temporary);
            return Err(error);
        }
        let lock = Arc::new(lock.moved_to(path.join(LOCK)));
        let dir = Self { path, lock };
        if let Err(error) = files::sync_dir(&journal) {
            let _ = dir.remove();
            return Err(error);
        }
        Ok(dir)
    }

    /// Takes over a directory whose owner is dead. `None`: somebody holds it, or it has gone.
    ///
    /// # Errors
    /// If it is another user's, or a link to one, or the system refuses.
    pub fn adopt(path: &Path) -> Result<Option<Self>> {
        match files::own_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let lock = Lock::try_take(&path.join(LOCK), false)?;
        Ok(lock.map(|lock| Self { path: path.to_owned(), lock: Arc::new(lock) }))
    }

    /// Takes over a directory whose lock file is gone, with a new one. `None`: another was faster, or it has gone. The caller
    /// knows by other means that its owner is dead: an owner that lives holds a lock that nobody can find any more.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn adopt_unlocked(path: &Path) -> Result<Option<Self>> {
        let lock = Lock::try_take(&path.join(LOCK), true)?;
        Ok(lock.map(|lock| Self { path: path.to_owned(), lock: Arc::new(lock) }))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts back what of the directory was taken away: itself and all above it, its lock, and who it belongs to. Returns
    /// what was not there, by its name; empty for the directory itself.
    ///
    /// # Errors
    /// If the system refuses, or somebody else holds what is there now.
    pub fn restore(&self, owner: &Owner) -> Result<Vec<&'static str>> {
        let mut missing = Vec::new();
        if !self.path.is_dir() {
            let journal = self.path.parent().unwrap_or(&self.path);
            let root = journal.parent().unwrap_or(journal);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
            made.map_err(|e| Error::io("create", root, e))?;
            files::ensure_dir(journal)?;
            files::ensure_dir(&self.path)?;
            missing.push("");
        }
        if !self.lock.is_named() {
            if !self.lock.renew()? {
                return Err(Error::io("lock", self.lock.path(), io::ErrorKind::ResourceBusy.into()));
            }
            missing.push(LOCK);
        }
        if !self.path.join(OWNER).exists() {
            owner.write(&self.path)?;
            missing.push(OWNER);
        }
        Ok(missing)
    }

    /// Its lock, for the at-fork handler of a child, where the directory may be in the hands of a thread that is not there:
    /// see [`Lock::close_in_child`]. Held as long as this is.
    #[must_use]
    pub fn lock(&self) -> Weak<Lock> {
        Arc::downgrade(&self.lock)
    }

    /// Removes the directory and all in it. Killed in the middle, [`purge`] does the rest.
    ///
    /// # Errors
    /// If the system refuses; the directory may be under its dead name then: see [`remove_remains`].
    pub fn remove(self) -> Result<()> {
        let dead = self.bury()?;
        dead.parent().map_or(Ok(()), files::sync_dir)?;
        files::remove_all(&dead)
    }

    /// The first step of it: the directory goes under its dead name, which it returns. What is left is [`remove_remains`].
    ///
    /// # Errors
    /// If the system refuses: then it is as it was, and still held.
    pub fn bury(&self) -> Result<PathBuf> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let dead = self.path.with_file_name(format!("{DEAD}{name}"));
        fs::rename(&self.path, &dead).map_err(|e| Error::io("rename", &self.path, e))?;
        Ok(dead)
    }
}

/// Removes what a [`ProcessDir::remove`] that the system refused has left of a process's directory, if anything.
///
/// # Errors
/// If the system refuses again.
pub fn remove_remains(root: &Path, process: &[u8; 16]) -> Result<()> {
    let dead = root.join(JOURNAL).join(format!("{DEAD}{}", process_text(process)));
    if !files::real_dir(&dead)? {
        return Ok(());
    }
    files::sync_dir(&root.join(JOURNAL))?;
    files::remove_all(&dead)
}

fn locked_temporary(journal: &Path, process: &str) -> Result<(PathBuf, Lock)> {
    let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
    for attempt in 0..TRIES {
        let path = journal.join(format!("{TEMPORARY}{process}.{attempt}"));
        match files::create_dir(&path).and_then(|()| Lock::try_take(&path.join(LOCK), true)) {
            Ok(Some(lock)) => return Ok((path, lock)),
            Ok(None) => {}
            // A purge was faster, or what an earlier try left is still there.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
                last = error.into();
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::io("make and lock a new directory in", journal, last))
}

/// The directories of all processes of an audit directory, dead or alive, in the order of their UUIDs. What only looks like one
/// is none: [`strangers`] tells of it.
///
/// # Errors
/// If the system refuses, or `journal` is no directory. An audit directory without journals has none.
pub fn list(root: &Path) -> Result<Vec<([u8; 16], PathBuf)>> {
    let journal = root.join(JOURNAL);
    let mut found = Vec::new();
    for name in names(&journal)? {
        let path = journal.join(&name);
        if let Some(process) = process_of(&name)
            && files::real_dir(&path)?
        {
            found.push((process, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What is named like a process's directory, or like one that is being made or removed, and is none of ours: left alone by all
/// that is done here. Each with what is wrong with it.
///
/// # Errors
/// If the system refuses.
pub fn strangers(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let journal = root.join(JOURNAL);
    let mut found = Vec::new();
    for name in names(&journal)? {
        let path = journal.join(&name);
        if (process_of(&name).is_some() || is_passing(&name))
            && let Some(meta) = files::look(&path)?
            && let Some(what) = files::strange(&meta, true)
        {
            found.push((path, what));
        }
    }
    found.sort();
    Ok(found)
}

/// The names in the folder of all journals, which has to be a real one.
fn names(journal: &Path) -> Result<Vec<String>> {
    match files::look(journal)? {
        Some(meta) if !meta.is_dir() => Err(Error::foreign(journal, "it is no directory, and links are not followed")),
        _ => files::names(journal),
    }
}

/// Whether a directory of this name is being made or removed.
fn is_passing(name: &str) -> bool {
    name.starts_with(DEAD) || name.starts_with(TEMPORARY)
}

/// Refuses a process's directory that is another user's, or a link to one: what we made in there its owner could not touch.
///
/// # Errors
/// If it is, or is not there.
pub fn require_own(dir: &Path) -> Result<()> {
    files::own_dir(dir).map(drop)
}

/// Whether somebody holds a process's directory: whether the process lives, or is being recovered. Asks without taking.
///
/// # Errors
/// If the system refuses. A directory that is not there is held by nobody.
pub fn is_held(dir: &Path) -> Result<bool> {
    Lock::is_held(&dir.join(LOCK))
}

/// Whether a process's directory is there and its lock file is not. It was born with one, so somebody has deleted it, and no
/// lock tells any more whether its owner lives.
///
/// # Errors
/// If the system refuses.
pub fn lock_is_gone(dir: &Path) -> Result<bool> {
    let lock = dir.join(LOCK);
    match lock.symlink_metadata() {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(dir.is_dir()),
        Err(error) => Err(Error::io("look at", &lock, error)),
    }
}

/// Deletes what the dead left half made or half removed. Returns how many directories.
///
/// # Errors
/// The first refusal of the system; the others are tried all the same.
pub fn purge(root: &Path) -> Result<usize> {
    let journal = root.join(JOURNAL);
    let mut purged = 0;
    let mut result = Ok(());
    for name in names(&journal)? {
        let path = journal.join(&name);
        if !is_passing(&name) || files::own_dir(&path).is_err() {
            continue; // or it is not ours, and stays: `strangers` tells of it
        }
        let removed =
            if name.starts_with(DEAD) { files::remove_all(&path).map(|()| true) } else { purge_temporary(&path) };
        match removed {
            Ok(removed) => purged += usize::from(removed),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| purged)
}

/// The lock is made if it is not there yet, so that its maker cannot take it any more. And the directory is renamed before it
/// is emptied: a maker who came between would else have a lock in it that is deleted under its feet.
fn purge_temporary(path: &Path) -> Result<bool> {
    let purge = || {
        let Some(_lock) = Lock::try_take(&path.join(LOCK), true)? else { return Ok(false) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let dead = path.with_file_name(format!("{DEAD}{name}"));
        fs::rename(path, &dead).map_err(|e| Error::io("rename", path, e))?;
        files::remove_all(&dead).map(|()| true)
    };
    match purge() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

/// A process's UUID as it names files and rows.
#[must_use]
pub fn process_text(process: &[u8; 16]) -> String {
    Uuid::from_bytes(*process).hyphenated().to_string()
}

/// The UUID of a name in exactly that spelling.
pub(crate) fn process_of(name: &str) -> Option<[u8; 16]> {
    let process = Uuid::try_parse(name).ok()?.into_bytes();
    (process_text(&process) == name).then_some(process)
}
