//! What a dead process left, and what of it may be trusted.
//!
//! What must always hold: no ring is read that is not the process's own, of this boot and of our user; nothing is removed but
//! what lies under the ring's own name; and what was accepted by anybody counts as born.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use auditring_journal::counters::CODES;
use auditring_journal::{Cursor, Followers, Owner, State, is_held, lock_is_gone, segments};
use auditring_ring::{Position, Ring, RingError, boot_id};
use uuid::Uuid;

use crate::Error;
use crate::birth::{machine_id, ring_name, text};

pub(super) fn process(owner: &Owner, dir: &Path) -> Result<Uuid, Error> {
    let named = dir.file_name().is_some_and(|name| name.to_string_lossy() == owner.process);
    Uuid::try_parse(&owner.process)
        .ok()
        .filter(|_| named)
        .ok_or_else(|| Error::NotOurs { dir: dir.to_owned(), why: format!("its owner says {:?}", owner.process) })
}

/// Whether its directory is on a file system that machines share, and its ring in the memory of another one.
pub(super) fn is_elsewhere(owner: &Owner) -> bool {
    !owner.machine_id.is_empty() && owner.machine_id != machine_id()
}

/// Whether a process is certainly dead because this machine has been booted since.
pub(super) fn is_of_another_boot(owner: &Owner) -> bool {
    let ours = !owner.machine_id.is_empty() && owner.machine_id == machine_id();
    // Where the system does not tell which boot this is, nothing is certain.
    let Ok(boot) = boot_id() else { return false };
    ours && boot != [0; 16] && Uuid::try_parse(&owner.boot_id).is_ok_and(|theirs| theirs.into_bytes() != boot)
}

/// Whether a process is certainly dead, and nobody recovers it.
pub(crate) fn is_dead(dir: &Path) -> Result<bool, Error> {
    if lock_is_gone(dir)? {
        return Ok(is_of_another_boot(&Owner::load(dir)?));
    }
    Ok(!is_held(dir)?)
}

/// Whether a process was born: also one of whose birth no segment tells, where the batch that told is damaged, and not only torn
/// by the death of its writer.
pub(super) fn was_born(dir: &Path, state: &State, ring: Option<&Ring>) -> Result<bool, Error> {
    // Nobody emits before the birth is journaled; so whatever was emitted or followed proves it.
    if state.born || ring.is_some_and(is_used) || cursors(dir)? > 0 {
        return Ok(true);
    }
    // Beside a head without the birth batch a second segment says nothing: that batch may have failed, and been tried again.
    Ok(state.head.is_none() && segments(dir)?.len() > 1)
}

/// Whether anybody has emitted into a ring, or tried to.
fn is_used(ring: &Ring) -> bool {
    let mut used = (0..ring.geometry().lanes).any(|lane| ring.lane(lane).claims() > 0);
    ring.edge().visit(|count| used |= count.count > 0);
    used
}

/// The greatest seq that any sink is known to have passed.
pub(super) fn cursors(dir: &Path) -> Result<i64, Error> {
    let mut greatest = 0;
    for entry in Followers::load(dir)?.entries {
        greatest = greatest.max(Cursor::load(dir, &entry.name)?.map_or(0, |cursor| cursor.seq));
    }
    Ok(greatest)
}

/// The dead process's ring, if it is one that may be trusted.
pub(super) fn ring_of(owner: &Owner, process: &Uuid, state: &State) -> Result<Option<Ring>, Error> {
    let boot = boot_id().map_err(|source| Error::Io {
        what: "learn which boot this is, to trust the ring",
        path: owner.ring_path.clone(),
        source,
    })?;
    // Zeroes are no boot's: where the system has none to tell, no ring is trusted.
    if boot == [0; 16] || owner.boot_id != text(boot) {
        return Ok(None);
    }
    match Ring::look(&owner.ring_path) {
        Ok(ring) => {
            let who = ring.identity();
            let ours = who.process == *process.as_bytes() && who.boot_id == boot;
            // Of an earlier moment than the journal: somebody has put a copy in its place, and what came after is in neither.
            let earlier = who.generation == state.generation
                && (0..ring.geometry().lanes)
                    .zip(&state.lanes)
                    .any(|(lane, at)| !ring.has_reached(lane, Position { pos: at.pos, claims: at.claims }));
            // Ours never count by more codes than a journal can name.
            let counts = ring.geometry().codes <= CODES;
            Ok((ours && counts && who.generation >= state.generation && !earlier).then_some(ring))
        }
        Err(RingError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // What the system refuses for now may be there the next time; what is no ring never will be.
        Err(error @ RingError::Io { .. }) if !is_link(&owner.ring_path) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Removes what lies where the ring was, if it is a plain file of ours under the ring's own name.
pub(super) fn remove_ring(owner: &Owner, process: &Uuid) -> Result<(), Error> {
    let path = &owner.ring_path;
    let named = path.file_name().is_some_and(|name| name.to_string_lossy() == ring_name(process));
    let ours = |meta: std::fs::Metadata| meta.is_file() && meta.uid() == auditring_ring::own_uid();
    if !named || !std::fs::symlink_metadata(path).is_ok_and(ours) {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { what: "remove the ring", path: path.clone(), source })
        }
        _ => Ok(()),
    }
}
