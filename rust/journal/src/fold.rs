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
    let mut walk = Walk { check, ..Walk::default() };
    walk.advance(dir)?;
    Ok(walk.state)
}

/// A fold that goes on where it stopped: for whoever looks at a living journal again and again.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    state: State,
    /// The definitions of declared events, as head and batches have them.
    definitions: Vec<u8>,
    /// How far it has come: the newest segment with a head, and the end of its last whole batch.
    at: Option<(SegmentName, u64)>,
    check: bool,
    buf: Vec<u8>,
}

impl Walk {
    /// What the journal had come to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The definitions of the events that it counts and the catalog does not know.
    #[must_use]
    pub fn definitions(&self) -> &[u8] {
        &self.definitions
    }

    /// Takes in what was written since. A segment that is written again keeps its name and its bytes.
    ///
    /// # Errors
    /// As [`fold`]; the same call may be made again.
    pub fn advance(&mut self, dir: &Path) -> Result<()> {
        for name in segments(dir)? {
            self.state.last_ordinal = self.state.last_ordinal.max(Some(name.ordinal));
            let from = match self.at {
                Some((at, _)) if name < at => continue,
                Some((at, from)) if name == at => Some(from),
                _ => None,
            };
            let Some(segment) = SegmentFile::open(dir, name)? else { continue };
            self.segment(&segment, from)?;
        }
        Ok(())
    }

    fn segment(&mut self, segment: &SegmentFile, from: Option<u64>) -> Result<()> {
        let Self { state, definitions, at: reached, check, buf } = self;
        let mut at = if let Some(at) = from {
            at
        } else {
            let Found::Whole((head, at)) = segment.head(segment.len()?, buf)? else { return Ok(()) };
            if state.head.as_ref().is_some_and(|known| known.process != head.process) {
                return Err(crate::Error::damaged(segment.path(), "it is another process's"));
            }
            definitions.clone_from(&head.definitions);
            state.enter(head);
            at
        };
        *reached = Some((segment.name, at));
        let process = state.head.as_ref().map(|head| head.process).unwrap_or_default();
        while let Found::Whole((header, have)) = segment.batch(at, segment.len()?, 0, buf)? {
            if header.meta.process != process {
                return Err(crate::Error::damaged(segment.path(), "it holds another process's batch"));
            }
            let passed = header.meta.batch_no < state.batch_no;
            if !passed && header.meta.first_seq < state.next_seq {
                return Ok(()); // as a reader: seqs are given once
            }
            if *check && !passed && !intact(segment, at, &header, have, buf)? {
                state.gaps.push(Gap { first_seq: header.meta.first_seq, rows: header.meta.rows.into() });
            }
            if !header.sections.definitions.is_empty() && intact(segment, at, &header, have, buf)? {
                definitions.extend_from_slice(&buf[header.sections.definitions.clone()]);
            }
            state.apply(&header.meta);
            at += header.len() as u64;
            *reached = Some((segment.name, at));
        }
        Ok(())
    }
}

/// The wall time of the rows at `seq`, or of the first that is there behind it, as their batch has it; none where nothing is.
///
/// # Errors
/// As [`fold`].
pub fn time_of(dir: &Path, seq: i64) -> Result<Option<i64>> {
    let names = segments(dir)?;
    let from = names.iter().rposition(|name| name.first_seq <= seq).unwrap_or(0);
    let mut buf = Vec::new();
    for name in &names[from..] {
        let Some(segment) = SegmentFile::open(dir, *name)? else { continue };
        let Found::Whole((_, mut at)) = segment.head(segment.len()?, &mut buf)? else { continue };
        while let Found::Whole((header, _)) = segment.batch(at, segment.len()?, 0, &mut buf)? {
            if header.meta.rows > 0 && header.meta.end_seq() > seq {
                return Ok(Some(header.meta.min_time_ns));
            }
            at += header.len() as u64;
        }
    }
    Ok(None)
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
