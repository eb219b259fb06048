//! What may be deleted, and what the journal costs.
//!
//! The newest segment with a readable head always stays, and all behind it: the fold begins there when all else has gone.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::fold::rows_in;
use crate::segment::{Found, SegmentFile, SegmentName, segments};

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Segments.
    pub segments: usize,
    /// Bytes.
    pub bytes: u64,
    /// The seq of the first row deleted, if [`Deleted::rows`] is not 0.
    pub first_seq: i64,
    /// Rows; counted by [`delete_oldest`] alone.
    pub rows: u64,
}

/// Deletes the segments whose rows all come before `cursor`, the least of all followers' cursors, but never the newest
/// `keep_last` ones (and at least one that can be read).
///
/// # Errors
/// If the system refuses.
pub fn delete_passed(dir: &Path, cursor: i64, keep_last: usize) -> Result<Deleted> {
    let names = segments(dir)?;
    let mut deleted = Deleted::default();
    for pair in names.windows(2).take(names.len().saturating_sub(keep_last.max(1))) {
        // A segment ends where its successor begins.
        if pair[1].first_seq > cursor || !readable(dir, pair[1])? {
            break;
        }
        deleted.bytes += delete(dir, pair[0])?;
        deleted.segments += 1;
    }
    Ok(deleted)
}

/// Deletes the oldest segment unread, for a journal at its budget that nobody follows; the caller journals the loss. Nothing
/// if it is the only one that can be read.
///
/// # Errors
/// If the system refuses.
pub fn delete_oldest(dir: &Path) -> Result<Option<Deleted>> {
    delete_oldest_before(dir, i64::MAX)
}

/// The same, if all of its rows come before `seq`.
///
/// # Errors
/// If the system refuses.
pub fn delete_oldest_before(dir: &Path, seq: i64) -> Result<Option<Deleted>> {
    let names = segments(dir)?;
    let [oldest, next, ..] = names[..] else { return Ok(None) };
    if next.first_seq > seq || !readable(dir, next)? {
        return Ok(None);
    }
    let rows = SegmentFile::open(dir, oldest)?.map_or(Ok(0), |segment| rows_in(&segment))?;
    let bytes = delete(dir, oldest)?;
    Ok(Some(Deleted { segments: 1, bytes, first_seq: oldest.first_seq, rows }))
}

fn readable(dir: &Path, name: SegmentName) -> Result<bool> {
    let Some(segment) = SegmentFile::open(dir, name)? else { return Ok(false) };
    Ok(matches!(segment.head(segment.len()?, &mut Vec::new())?, Found::Whole(_)))
}

fn delete(dir: &Path, name: SegmentName) -> Result<u64> {
    let path = dir.join(name.file_name());
    let bytes = size(&path)?;
    files::remove(&path)?;
    Ok(bytes)
}

/// The bytes of all files in a process's directory: what counts against the journal's budget.
///
/// # Errors
/// If the system refuses. What goes meanwhile counts nothing.
pub fn bytes_held(dir: &Path) -> Result<u64> {
    files::names(dir)?.iter().map(|name| size(&dir.join(name))).sum()
}

/// Who lacks a row before this seq holds back about `bytes` bytes of segments, or more; none where there are not so many.
///
/// # Errors
/// If the system refuses.
pub fn holding(dir: &Path, bytes: u64) -> Result<Option<i64>> {
    let (mut held, mut behind) = (0, i64::MAX);
    for name in segments(dir)?.into_iter().rev() {
        held += size(&dir.join(name.file_name()))?;
        if held >= bytes {
            return Ok(Some(behind));
        }
        behind = name.first_seq;
    }
    Ok(None)
}

fn size(path: &Path) -> Result<u64> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

/// The bytes that an unprivileged process may still write to the file system of `path`.
///
/// # Errors
/// If the system refuses.
#[allow(clippy::useless_conversion, reason = "the fields' widths differ between systems")]
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|e| Error::io("look at", path, e.into()))?;
    Ok(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}
