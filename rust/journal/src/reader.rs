//! A reader of one journal, also while it is written: batch after batch, segment after segment.
//!
//! What always holds:
//! - A step is given once it is whole and its checksums are right, and never before; partial batches are met all the time.
//! - An invalid tail is "not yet" as long as the segment is the newest, and the end of the segment once there is a later one:
//!   whoever begins a segment never writes to an earlier one again. The tail is looked at once more *after* the later segment
//!   was seen, or a batch that was written in between would be lost.
//! - Seqs go up without a hole: rows that cannot be given are told of, as [`Step::Corrupt`] or [`Step::Gone`].
//! - Reading is `pread`: never a mapping (a file that shrinks would be a SIGBUS), and only what lies within the file's length.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::batch::{BatchFlags, BatchMeta, Header, Sections};
use crate::error::{Error, Result};
use crate::files;
use crate::head::SegmentHead;
use crate::segment::{Found, SegmentFile, SegmentName, segments};
use crate::vanish::{What, vanished};

/// What comes next in a journal.
#[derive(Debug)]
pub enum Step {
    /// A segment begins: contexts are numbered anew, the policy may be another.
    Segment(Box<SegmentHead>),
    /// A batch; where its sections lie in the buffer.
    Batch(BatchMeta, Sections),
    /// These rows were journaled, and what holds them is damaged. Rows before the seq that the reader was opened at are not
    /// counted, so this can be none; contexts may be missing too.
    Corrupt {
        /// The first of them.
        first_seq: i64,
        /// How many.
        rows: u64,
    },
    /// These rows were journaled, and their segment is there no more: deleted before this reader had read it.
    Gone {
        /// The first of them.
        first_seq: i64,
        /// How many.
        rows: u64,
    },
    /// Nothing yet. Cheap to ask again.
    NotYet,
    /// The final batch was given. Nothing will come.
    End,
}

/// Reads one journal.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    dir_handle: std::fs::File,
    /// Rows before it do not matter to the caller.
    floor: i64,
    process: Option<[u8; 16]>,
    current: Option<Current>,
    /// Later segments: those held open, then those only known by name.
    held: VecDeque<SegmentFile>,
    listed: VecDeque<SegmentName>,
    /// The last segment that was begun, whether or not it could be read.
    last: Option<SegmentName>,
    /// When the directory last changed, as of `listed`; `None` if that is not certain.
    listed_at: Option<SystemTime>,
    next_seq: Option<i64>,
    next_batch: u64,
    /// Batches from this number on are not there yet, for this reader.
    limit: u64,
    ended: bool,
    /// Somebody puts back what is taken away: what is not there may come.
    patient: bool,
    /// Since when a segment is not there.
    waiting: Option<Instant>,
    /// Rows before it were let go of by the journal's writer: their segments do not come back.
    let_go: i64,
}

/// The segment being read.
#[derive(Debug)]
struct Current {
    segment: SegmentFile,
    /// Where the next batch begins; 0 before the head was read.
    at: u64,
    /// Up to which length of the file there is nothing whole at `at`.
    idle_len: Option<u64>,
    /// Length of the last batch: the next is likely to be as long.
    guess: usize,
}

/// A directory's mtime may hide later changes within one tick of the kernel's clock; far more than any tick.
const TICK: Duration = Duration::from_millis(50);
/// How long a segment that is not there is waited for: the journal's writer looks more often than once a second.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most that is read at once on a guess.
const MAX_GUESS: usize = 2 << 20;

impl Reader {
    /// Opens the journal in a process's directory at the segment that holds `from_seq`. Batches come from the start of that
    /// segment, because its contexts do: the caller passes over rows before `from_seq`.
    ///
    /// # Errors
    /// If the directory or a segment cannot be opened. A directory without segments is fine; they may come.
    pub fn open(dir: &Path, from_seq: i64) -> Result<Self> {
        let mut reader = Self {
            dir: dir.to_owned(),
            dir_handle: files::open_dir(dir)?,
            floor: from_seq,
            process: None,
            current: None,
            held: VecDeque::new(),
            listed: VecDeque::new(),
            last: None,
            listed_at: None,
            next_seq: None,
            next_batch: 0,
            limit: u64::MAX,
            ended: false,
            patient: false,
            waiting: None,
            let_go: 0,
        };
        reader.list()?;
        reader.skip();
        Ok(reader)
    }

    /// Waits a while for a segment that is not there: for a reader of a journal whose writer puts back what is taken away.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    /// Rows before `seq` were let go of on purpose: nobody waits for their segments.
    pub fn let_go(&mut self, seq: i64) {
        self.let_go = self.let_go.max(seq);
    }

    /// Opens every segment that is there now, so that their deletion does no harm. Readers that no cursor protects do this
    /// before they look at anything else; each segment takes a descriptor until it is read.
    ///
    /// # Errors
    /// If a segment that is there cannot be opened.
    pub fn hold(&mut self) -> Result<()> {
        self.list()?;
        while let Some(name) = self.listed.pop_front() {
            self.held.extend(SegmentFile::open(&self.dir, name)?);
        }
        Ok(())
    }

    /// Gives no batch of this number or a later one until the limit is another: they are written, and not yet to be relied on.
    pub fn limit(&mut self, batches: u64) {
        self.limit = batches;
    }

    /// The next step. `buf` receives the batch; it grows to the longest one, is never cleared, and only what the sections name
    /// is valid in it. Hand in the same one every time.
    ///
    /// # Errors
    /// If the system refuses, a segment is of a later version, or is another process's. The same call may be made again.
    pub fn next(&mut self, buf: &mut Vec<u8>) -> Result<Step> {
        while !self.ended {
            if self.next_batch >= self.limit {
                return Ok(Step::NotYet);
            }
            let step = match &mut self.current {
                None => None,
                Some(current) if current.at == 0 => self.head(buf)?,
                Some(_) => self.batch(buf)?,
            };
            if let Some(step) = step {
                return Ok(step);
            }
            if self.current.as_ref().is_some_and(|current| current.idle_len.is_none()) {
                continue; // passed over something
            }
            if !self.later()? {
                return Ok(Step::NotYet);
            }
            // The newest segment may have grown until the moment a later one was begun.
            if let Some(current) = &self.current
                && current.idle_len != Some(current.segment.len()?)
            {
                continue;
            }
            self.go_on()?;
        }
        Ok(Step::End)
    }

    /// The seq after the last row that was given or told of; where the reader was opened, before there was one.
    #[must_use]
    pub fn next_seq(&self) -> i64 {
        self.next_seq.map_or(self.floor, |next| next.max(self.floor))
    }

    /// A segment is not there, and may be put back.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The segment being read.
    #[must_use]
    pub fn segment(&self) -> Option<SegmentName> {
        self.current.as_ref().map(|current| current.segment.name)
    }

    /// Tries to read the current segment's head.
    fn head(&mut self, buf: &mut Vec<u8>) -> Result<Option<Step>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let len = current.segment.len()?;
        if current.idle_len == Some(len) {
            return Ok(None);
        }
        let Found::Whole((head, at)) = current.segment.head(len, buf)? else {
            current.idle_len = Some(len);
            return Ok(None);
        };
        if self.process.is_some_and(|process| process != head.process) {
            return Err(Error::damaged(current.segment.path(), "it is another process's"));
        }
        let skipped = match self.last {
            Some(last) => last.ordinal + 1 < head.ordinal,
            None => true,
        };
        let from = self.next_seq.map_or(self.floor, |next| next.max(self.floor));
        if skipped
            && self.patient
            && head.first_seq > from.max(self.let_go)
            && self.waiting.get_or_insert_with(Instant::now).elapsed() < PATIENCE
        {
            // Looked for anew at the next call: it may be there by then.
            self.current = None;
            self.held.clear();
            self.listed.clear();
            self.listed_at = None;
            return Ok(Some(Step::NotYet));
        }
        self.waiting = None;
        if let Some(step) = missing(&mut self.next_seq, self.floor, head.first_seq, skipped) {
            return Ok(Some(step)); // the head again at the next call
        }
        current.at = at;
        current.idle_len = None;
        self.last = Some(current.segment.name);
        self.process = Some(head.process);
        self.next_batch = self.next_batch.max(head.batch_no);
        Ok(Some(Step::Segment(Box::new(head))))
    }

    /// Tries to read the batch at the current place.
    fn batch(&mut self, buf: &mut Vec<u8>) -> Result<Option<Step>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let len = current.segment.len()?;
        if current.idle_len == Some(len) {
            return Ok(None);
        }
        let Found::Whole((header, have)) = current.segment.batch(current.at, len, current.guess, buf)? else {
            current.idle_len = Some(len);
            return Ok(None);
        };
        current.idle_len = None;
        if self.process != Some(header.meta.process) {
            return Err(Error::damaged(current.segment.path(), "it holds another process's batch"));
        }
        let passed = header.meta.batch_no < self.next_batch;
        // Seqs are given once: a batch that says otherwise is none, whoever has sealed it.
        if !passed && self.next_seq > Some(header.meta.first_seq) {
            current.idle_len = Some(len);
            return Ok(None);
        }
        let useless = passed && header.sections.contexts.is_empty() && header.sections.definitions.is_empty();
        let jump = header.meta.flags.contains(BatchFlags::SEQ_JUMP);
        if !passed
            && !jump
            && let Some(step) = missing(&mut self.next_seq, self.floor, header.meta.first_seq, false)
        {
            return Ok(Some(step)); // the batch again at the next call
        }
        if !useless && !current.segment.rest(current.at, &header, have, buf)? {
            current.idle_len = Some(len);
            return Ok(None);
        }
        current.at += header.len() as u64;
        current.guess = header.len().next_multiple_of(512).min(MAX_GUESS);
        if useless {
            return Ok(None);
        }
        Ok(self.give(header, passed, buf))
    }

    /// Moves past a batch that lies in `buf`.
    fn give(&mut self, header: Header, passed: bool, buf: &[u8]) -> Option<Step> {
        let Header { mut meta, mut sections, payload, payload_crc, .. } = header;
        let good = crc32fast::hash(&buf[payload]) == payload_crc;
        if passed {
            sections.rows = sections.rows.start..sections.rows.start;
            meta.flags = meta.flags | BatchFlags::PASSED;
            meta.rows = 0;
            meta.first_seq = self.next_seq();
            return good.then_some(Step::Batch(meta, sections));
        }
        self.next_seq = self.next_seq.max(Some(meta.end_seq()));
        self.next_batch = meta.batch_no + 1;
        self.ended = meta.flags.is_final();
        if good {
            return Some(Step::Batch(meta, sections));
        }
        let first_seq = meta.first_seq.max(self.floor);
        let rows = meta.end_seq().saturating_sub(first_seq).max(0);
        Some(Step::Corrupt { first_seq, rows: rows as u64 })
    }

    /// Whether there is a segment after the current one.
    fn later(&mut self) -> Result<bool> {
        if self.held.is_empty() && self.listed.is_empty() {
            if self.patient {
                self.follow()?;
            }
            let changed = self.dir_handle.metadata().and_then(|m| m.modified());
            let changed = changed.map_err(|e| Error::io("look at", &self.dir, e))?;
            if self.listed_at != Some(changed) {
                self.list()?;
            }
        }
        Ok(!self.held.is_empty() || !self.listed.is_empty())
    }

    /// A directory that was put back is another one under the same name.
    fn follow(&mut self) -> Result<()> {
        if vanished(&self.dir_handle, &self.dir)? == Some(What::Replaced) {
            self.dir_handle = files::open_dir(&self.dir)?;
            self.listed_at = None;
        }
        Ok(())
    }

    /// Lists the segments after all that are known.
    fn list(&mut self) -> Result<()> {
        let now = SystemTime::now();
        let changed = self.dir_handle.metadata().and_then(|m| m.modified());
        let changed = changed.map_err(|e| Error::io("look at", &self.dir, e))?;
        let known = self.held.back().map(|segment| segment.name).max(self.segment()).max(self.last);
        self.listed = segments(&self.dir)?.into_iter().filter(|&name| Some(name) > known).collect();
        // What changes within the tick of the last change leaves no trace in the mtime.
        let settled = now.duration_since(changed).is_ok_and(|age| age > TICK);
        self.listed_at = settled.then_some(changed);
        if known.is_none() && self.waiting.is_some() {
            self.skip();
        }
        Ok(())
    }

    /// Leaves out what lies before the segment that holds what is asked for.
    fn skip(&mut self) {
        while self.listed.get(1).is_some_and(|second| second.first_seq <= self.floor) {
            self.listed.pop_front();
        }
    }

    /// Leaves the current segment and opens the next. One that has gone meanwhile is passed over; its successor tells.
    fn go_on(&mut self) -> Result<()> {
        let segment = match self.held.pop_front() {
            Some(segment) => Some(segment),
            None => match self.listed.front() {
                Some(&name) => {
                    let segment = SegmentFile::open(&self.dir, name)?;
                    self.listed.pop_front();
                    segment
                }
                None => None,
            },
        };
        let Some(segment) = segment else { return Ok(()) };
        if let Some(left) = self.current.take() {
            self.last = self.last.max(Some(left.segment.name));
        }
        self.current = Some(Current { segment, at: 0, idle_len: None, guess: 0 });
        Ok(())
    }
}

/// The step for the rows from where the reader is to `first_seq`, if there are any that matter; they count as told of.
fn missing(next_seq: &mut Option<i64>, floor: i64, first_seq: i64, gone: bool) -> Option<Step> {
    let from = next_seq.map_or(floor, |next| next.max(floor));
    *next_seq = (*next_seq).max(Some(first_seq));
    if first_seq <= from {
        return None;
    }
    let rows = first_seq.abs_diff(from);
    Some(if gone { Step::Gone { first_seq: from, rows } } else { Step::Corrupt { first_seq: from, rows } })
}
