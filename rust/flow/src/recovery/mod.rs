//! Recovery: what a process that died had accepted, and its pump had not yet journaled, is taken out of its ring.
//!
//! Whoever holds the dead process's directory does it, and nobody else. What must always hold: each claim between what is
//! journaled and the ring's tail ends up as a row, as torn, or as lost under a name, once, also when recovery itself is
//! killed at any point: it goes on from the last whole batch. What is there is never cut: the next segment is opened. The
//! ring is removed only when the final batch is durable.

mod remains;
mod salvager;
mod times;

use std::path::Path;

use auditring_journal::{Owner, ProcessDir, fold, lock_is_gone, make_durable};
use auditring_policy::{Key, Redactor};

pub(crate) use self::remains::is_dead;
use self::remains::{is_elsewhere, is_of_another_boot, process, remove_ring, ring_of, was_born};
use self::salvager::Salvager;
use crate::Error;

/// What became of a dead process's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It had died before it was born: nothing was accepted, nothing is left.
    Unborn,
    /// Its journal had its final row already.
    Ended,
    /// It has it now.
    Recovered(Salvage),
}

/// What was found beside what the journal had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Rows taken out of the ring.
    pub rows: u64,
    /// Claims whose callers died before they returned.
    pub torn: u64,
    /// Claims behind something that no producer can have left.
    pub unreadable: u64,
    /// Claims that the pump had taken, and whose journal is gone.
    pub journal_gone: u64,
    /// There is no ring to be trusted: what it still held is unknown.
    pub ring_gone: bool,
    /// Calls that were dropped at the edge and of which no row told.
    pub dropped: u64,
    /// Rows that lack values for want of the key by which those are hashed.
    pub unhashed: u64,
}

/// Takes over the directory of a process that has died. `None`: somebody holds it, or it has gone.
///
/// # Errors
/// [`Error::NoLock`] where its lock file is gone and its process may live; what the system says.
pub fn adopt(dir: &Path) -> Result<Option<ProcessDir>, Error> {
    if let Some(held) = ProcessDir::adopt(dir)? {
        return Ok(Some(held));
    }
    if !lock_is_gone(dir)? {
        return Ok(None);
    }
    let owner = Owner::load(dir)?;
    if is_of_another_boot(&owner) {
        return Ok(ProcessDir::adopt_unlocked(dir)?);
    }
    Err(Error::NoLock { dir: dir.to_owned(), host: owner.host, pid: owner.pid })
}

/// The key among `keys` by which a dead process hashed; none where it is not among them.
///
/// # Errors
/// If who it was, or what it redacted, cannot be read.
pub fn key_for<'a>(dir: &Path, keys: &'a [Key]) -> Result<Option<&'a Key>, Error> {
    if keys.is_empty() {
        return Ok(None);
    }
    let owner = Owner::load(dir)?;
    for key in keys {
        if Redactor::hashes_by(&owner.redact, key)? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Ends a dead process's journal. `by` is the process that does it, empty for a command; `key`, where it is the dead one's, is
/// that by which values are hashed, else they are left out. The hold is given up where nothing is left to hold.
///
/// # Errors
/// What journal, ring or system say; nothing is lost by it, and the same call may be made again.
pub fn recover(held: &mut Option<ProcessDir>, by: &str, key: Option<&Key>) -> Result<Recovery, Error> {
    let Some(dir) = held.as_ref().map(|dir| dir.path().to_owned()) else { return Ok(Recovery::Ended) };
    let owner = Owner::load(&dir)?;
    let process = process(&owner, &dir)?;
    let state = fold(&dir)?;
    if state.ending.is_some() {
        make_durable(&dir)?;
        remove_ring(&owner, &process)?;
        return Ok(Recovery::Ended);
    }
    if owner.is_copied_to(&dir) {
        let why = format!("it is a copy of {}, and its ring is the original's", owner.dir.display());
        return Err(Error::NotOurs { dir, why });
    }
    if is_elsewhere(&owner) {
        return Err(Error::OtherMachine { dir, host: owner.host });
    }
    let ring = ring_of(&owner, &process, &state)?;
    if !was_born(&dir, &state, ring.as_ref())? {
        drop(ring);
        remove_ring(&owner, &process)?;
        if let Some(dir) = held.take() {
            dir.remove()?;
        }
        return Ok(Recovery::Unborn);
    }
    let mut salvager = Salvager::new(&dir, &dir, &owner, process, state, ring.as_ref(), key)?;
    let salvage = salvager.run(ring.as_ref(), by)?;
    // The ring is its only other copy. And whatever the dead one had promised: sinks are given what no loss of power takes.
    make_durable(&dir)?;
    drop(ring);
    remove_ring(&owner, &process)?;
    Ok(Recovery::Recovered(salvage))
}

/// What recovery would add to a dead process's journal, written into an empty folder of the caller's: for readers that may not
/// write, or do not want to. Nothing where there is nothing to add.
///
/// # Errors
/// What journal, ring or system say.
pub(crate) fn preview(dir: &Path, into: &Path) -> Result<bool, Error> {
    let owner = Owner::load(dir)?;
    let process = process(&owner, dir)?;
    let state = fold(dir)?;
    if state.ending.is_some() || owner.is_copied_to(dir) || is_elsewhere(&owner) {
        return Ok(false);
    }
    let ring = ring_of(&owner, &process, &state)?;
    if !was_born(dir, &state, ring.as_ref())? {
        return Ok(false);
    }
    Salvager::new(dir, into, &owner, process, state, ring.as_ref(), None)?.run(ring.as_ref(), "")?;
    Ok(true)
}
