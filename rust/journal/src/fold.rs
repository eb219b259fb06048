//! The fold of a whole journal from outside: what recovery begins with, and what `stats` shows of a process.
//!
//! It reads segment heads and batch headers, and payloads only if asked to: state is never in a payload.

use std::path::Path;

use crate::batch::Header;
use crate::error::Result;
use crate::segment::{Found, SegmentFile, SegmentName, segments};
use crate::state::{Gap, State};

/// Folds all segments by ordinal and their batches by number. Writes nothing; the journal may be in use.
///
/// # Errors
/// If the directory or a segment cannot be read, or is of a later version. Damage is no error: it is in the state.
pub fn fold(dir: &Path) -> Result<State> {
    walk(dir, false)
}

/// Likewise, and reads every payload: batches whose payload is damaged are among the gaps.
///
/// # Errors
/// As [`fold`].
pub fn fold_checked(dir: &Path) -> Result<State> {
    walk(dir, true)
}

fn walk(dir: &Path, check: bool) -> Result<State> {
    let mut state = State::default();
    let mut buf = Vec::new();
    for name in segments(dir)? {
        state.last_ordinal = state.last_ordinal.max(Some(name.ordinal));
        let Some(segment) = SegmentFile::open(dir, name)? else { continue };
        each_batch(&segment, &mut state, check, &mut buf)?;
    }
    Ok(state)
}

fn each_batch(segment: &SegmentFile, state: &mut State, check: bool, buf: &mut Vec<u8>) -> Result<()> {
    let Found::Whole((head, mut at)) = segment.head(segment.len()?, buf)? else { return Ok(()) };
    let process = head.process;
    if state.head.as_ref().is_some_and(|head| head.process != process) {
        return Err(crate::Error::damaged(segment.path(), "it is another process's"));
    }
    state.enter(head);
    while let Found::Whole((header, have)) = segment.batch(at, segment.len()?, 0, buf)? {
        if header.meta.process != process {
            return Err(crate::Error::damaged(segment.path(), "it holds another process's batch"));
        }
        let passed = header.meta.batch_no < state.batch_no;
        if check && !passed && !intact(segment, at, &header, have, buf)? {
            state.gaps.push(Gap { first_seq: header.meta.first_seq, rows: header.meta.rows.into() });
        }
        state.apply(&header.meta);
        at += header.len() as u64;
    }
    Ok(())
}

fn intact(segment: &SegmentFile, at: u64, header: &Header, have: usize, buf: &mut Vec<u8>) -> Result<bool> {
    Ok(segment.rest(at, header, have, buf)? && crc32fast::hash(&buf[header.payload.clone()]) == header.payload_crc)
}

/// How many rows the batches of one segment hold, by their headers.
pub(crate) fn rows_in(segment: &SegmentFile) -> Result<u64> {
    let mut buf = Vec::new();
    let mut rows = 0;
    let Found::Whole((_, mut at)) = segment.head(segment.len()?, &mut buf)? else { return Ok(0) };
    while let Found::Whole((header, _)) = segment.batch(at, segment.len()?, 0, &mut buf)? {
        rows += u64::from(header.meta.rows);
        at += header.len() as u64;
    }
    Ok(rows)
}

/// The number behind the last batch of one segment that is intact, with all that come before it in there; none where there is
/// no head or no batch.
pub(crate) fn batches_in(path: &Path) -> Result<Option<u64>> {
    let name = path.file_name().and_then(|name| SegmentName::parse(&name.to_string_lossy()));
    let (Some(dir), Some(name)) = (path.parent(), name) else { return Ok(None) };
    let Some(segment) = SegmentFile::open(dir, name)? else { return Ok(None) };
    let mut buf = Vec::new();
    let Found::Whole((_, mut at)) = segment.head(segment.len()?, &mut buf)? else { return Ok(None) };
    let mut behind = None;
    while let Found::Whole((header, have)) = segment.batch(at, segment.len()?, 0, &mut buf)? {
        if !intact(&segment, at, &header, have, &mut buf)? {
            break;
        }
        behind = Some(header.meta.batch_no + 1);
        at += header.len() as u64;
    }
    Ok(behind)
}
