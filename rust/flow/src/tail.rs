//! A reader that follows every journal of an audit directory while processes are born, roll their segments and go.
//!
//! It holds no lock and writes nothing. What must always hold: each row of a journal is given once, in the order of its
//! process; and a row that was journaled but has gone before it could be read is told of as [`Missed`], so that the caller
//! can look for it in sealed files, which are there before a segment goes. Segments are opened as soon as they are seen:
//! what is deleted after that is read all the same.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use auditring_event::row::RowView;
use auditring_event::{Definitions, RowSet};
use auditring_journal::{
    BatchFlags, BatchMeta, Followers, Reader, SegmentHead, Step, Totals, fold, list, process_text,
};

use crate::Error;
use crate::select::{Chosen, Declined, Selector, has_change};
use crate::sieve::{Filter, Sieve};
use crate::snapshot::PARQUET;

/// How often directories are listed while rows flow; without rows the caller's own rhythm holds.
const LOOK: Duration = Duration::from_millis(50);
/// Rows that wait in a window of a living process come out sooner: the longest there can be, and some.
const LONGEST: Duration = Duration::from_secs(310);
/// A set ends at so many bytes of rows: text made of them is ten times as much, and had better stay in the cache.
const SET_BYTES: usize = 512 << 10;

/// Rows that were journaled and are in the journal no more, or never were seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Whose.
    pub process: String,
    /// The first of them.
    pub first_seq: i64,
    /// The last; [`i64::MAX`] for all that there are.
    pub last_seq: i64,
}

/// One process's journal.
#[derive(Debug)]
struct Followed {
    process: String,
    dir: PathBuf,
    reader: Reader,
    selector: Selector,
    sieve: Sieve,
    buf: Vec<u8>,
    /// Rows before it are not wanted.
    floor: i64,
    /// The next row when the directory was opened: what is before it is history.
    until: i64,
    ended: bool,
    /// When there was last something to read.
    moved: Instant,
}

/// The reader.
#[derive(Debug)]
pub struct Tail {
    root: PathBuf,
    filter: Filter,
    followed: BTreeMap<[u8; 16], Followed>,
    /// Every process that was ever met, so that none begins anew.
    known: HashSet<[u8; 16]>,
    missed: Vec<Missed>,
    looked: Instant,
}

impl Tail {
    /// Opens every journal that is there: at its beginning, or with `from_now` behind its last row.
    ///
    /// # Errors
    /// If the directory or a journal cannot be read.
    pub fn open(root: &Path, filter: Filter, from_now: bool) -> Result<Self, Error> {
        let mut tail = Self {
            root: root.to_owned(),
            filter,
            followed: BTreeMap::new(),
            known: HashSet::new(),
            missed: Vec::new(),
            looked: Instant::now(),
        };
        // Before the journals: a process that goes in between is then met as one that has come and gone.
        tail.known.extend(gone(root)?);
        for (process, dir) in list(root)? {
            tail.meet(process, dir, from_now)?;
        }
        Ok(tail)
    }

    /// The processes whose journals are being followed.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        self.followed.values().map(|one| one.process.clone()).collect()
    }

    /// Takes what was missed since the last call.
    #[must_use]
    pub fn take_missed(&mut self) -> Vec<Missed> {
        std::mem::take(&mut self.missed)
    }

    /// Reads all that was journaled when the directory was opened, and keeps the last `most` wanted rows of each process;
    /// a window that is not over shows as it stands.
    ///
    /// # Errors
    /// If a journal cannot be read.
    pub fn last(&mut self, most: usize) -> Result<Vec<RowSet>, Error> {
        let mut kept = Vec::new();
        for one in self.followed.values_mut() {
            let (mut sets, mut rows) = (VecDeque::<RowSet>::new(), 0);
            while let Some(set) = one.read(&mut self.missed, one.until)?.or_else(|| one.rest()) {
                rows += set.rows.len();
                sets.push_back(set);
                while sets.front().is_some_and(|first| rows - first.rows.len() >= most) {
                    rows -= sets.pop_front().map_or(0, |first| first.rows.len());
                }
            }
            if let Some(first) = sets.front_mut() {
                first.rows.drain(..rows.saturating_sub(most));
            }
            kept.extend(sets);
        }
        Ok(kept)
    }

    /// The wanted rows that were journaled since the last call, at most one set of each process. None: nothing for now.
    ///
    /// # Errors
    /// If the directory has gone, or a journal cannot be read.
    pub fn fresh(&mut self) -> Result<Vec<RowSet>, Error> {
        if self.looked.elapsed() >= LOOK {
            self.look()?;
        }
        let sets = self.read()?;
        if !sets.is_empty() {
            return Ok(sets);
        }
        // What was written before a directory went is read before it is given up.
        let left: Vec<_> = self.followed.iter().filter(|(_, one)| !one.dir.exists()).map(|(id, _)| *id).collect();
        let sets = self.read()?;
        if sets.is_empty() {
            let mut rest = Vec::new();
            for process in left {
                let Some(mut one) = self.followed.remove(&process) else { continue };
                rest.extend(one.rest().filter(|set| !set.rows.is_empty()));
                if !one.ended {
                    self.missed.push(Missed {
                        first_seq: one.reader.next_seq(),
                        last_seq: i64::MAX,
                        process: one.process,
                    });
                }
            }
            self.look()?;
            return Ok(rest);
        }
        Ok(sets)
    }

    /// The rows that wait in windows that are not over, as they stand: for a reader that does not go on. One that does
    /// makes further rows of what follows.
    pub fn rest(&mut self) -> Vec<RowSet> {
        let rest = self.followed.values_mut().filter_map(Followed::rest);
        rest.filter(|set| !set.rows.is_empty()).collect()
    }

    fn read(&mut self) -> Result<Vec<RowSet>, Error> {
        let mut sets = Vec::new();
        for one in self.followed.values_mut() {
            sets.extend(one.read(&mut self.missed, i64::MAX)?.filter(|set| !set.rows.is_empty()));
        }
        Ok(sets)
    }

    /// Meets processes that were born, opens segments that were begun, and notices processes that have come and gone.
    fn look(&mut self) -> Result<(), Error> {
        self.looked = Instant::now();
        if let Err(source) = self.root.metadata() {
            return Err(Error::Io { what: "follow", path: self.root.clone(), source });
        }
        for (process, dir) in list(&self.root)? {
            match self.followed.get_mut(&process) {
                Some(one) => one.hold()?,
                None if self.known.contains(&process) => {}
                None => self.meet(process, dir, false)?,
            }
        }
        for process in gone(&self.root)? {
            if self.known.insert(process) {
                self.missed.push(Missed { process: process_text(&process), first_seq: 0, last_seq: i64::MAX });
            }
        }
        Ok(())
    }

    fn meet(&mut self, process: [u8; 16], dir: PathBuf, from_now: bool) -> Result<(), Error> {
        let until = fold(&dir)?.next_seq;
        let floor = if from_now { until } else { 0 };
        let opened = Reader::open(&dir, floor).and_then(|mut reader| {
            reader.hold()?;
            Ok((reader, Followers::load(&dir)?.get(PARQUET).cloned().unwrap_or_default()))
        });
        let (reader, table) = match opened {
            Ok(opened) => opened,
            // Removed between listing and opening: it will be met among those that have gone.
            Err(_) if !dir.exists() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // The rows are those of the tables.
        let selector = Selector::new(Declined::default(), &table.policy)?;
        let mut one = Followed {
            process: process_text(&process),
            dir,
            reader,
            selector,
            sieve: Sieve::new(self.filter.clone()),
            buf: Vec::new(),
            floor,
            until,
            ended: false,
            moved: Instant::now(),
        };
        // Up to the first segment, so that it is known from the start what the journal no longer has.
        one.begin(&mut self.missed)?;
        self.known.insert(process);
        self.followed.insert(process, one);
        Ok(())
    }
}

/// The processes whose journals have gone.
fn gone(root: &Path) -> Result<Vec<[u8; 16]>, Error> {
    Ok(Totals::processes(root)?)
}

impl Followed {
    fn hold(&mut self) -> Result<(), Error> {
        match self.reader.hold() {
            Err(error) if self.dir.exists() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What waits in windows, as it stands.
    fn rest(&mut self) -> Option<RowSet> {
        if self.selector.at_cut() {
            return None;
        }
        let mut chosen = Chosen::default();
        self.selector.begin(&mut chosen);
        self.selector.cut(&mut chosen);
        Some(chosen.set)
    }

    fn miss(&self, missed: &mut Vec<Missed>, first_seq: i64, rows: u64) {
        let end = first_seq.saturating_add_unsigned(rows);
        let first_seq = first_seq.max(self.floor);
        if end > first_seq {
            missed.push(Missed { process: self.process.clone(), first_seq, last_seq: end - 1 });
        }
    }

    fn begin(&mut self, missed: &mut Vec<Missed>) -> Result<(), Error> {
        loop {
            match self.reader.next(&mut self.buf)? {
                Step::Gone { first_seq, rows } | Step::Corrupt { first_seq, rows } => {
                    self.miss(missed, first_seq, rows);
                }
                Step::Segment(head) => return self.segment(&head, &mut Chosen::default()),
                Step::Batch(..) | Step::NotYet => return Ok(()),
                Step::End => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
    }

    fn segment(&mut self, head: &SegmentHead, chosen: &mut Chosen) -> Result<(), Error> {
        self.sieve.segment(&Definitions::decode(&head.definitions).unwrap_or_default());
        self.selector.segment(head, chosen)
    }

    /// What was declared since the segment began.
    fn define(&mut self, section: Range<usize>, chosen: &mut Chosen) {
        let section = &self.buf[section];
        if !section.is_empty() {
            self.sieve.define(&Definitions::decode(section).unwrap_or_default());
            self.selector.definitions(section, chosen);
        }
    }

    /// Reads on, up to a row, the end of what is there, or a full set. None if there was nothing more to read.
    fn read(&mut self, missed: &mut Vec<Missed>, until: i64) -> Result<Option<RowSet>, Error> {
        let mut chosen = Chosen::default();
        self.selector.begin(&mut chosen);
        let mut moved = false;
        while !self.ended && self.reader.next_seq() < until && chosen.set.data.len() < SET_BYTES {
            match self.reader.next(&mut self.buf)? {
                Step::Segment(head) => {
                    self.segment(&head, &mut chosen)?;
                    self.selector.begin(&mut chosen);
                }
                Step::Batch(meta, sections) => {
                    self.define(sections.definitions, &mut chosen);
                    self.sieve.contexts(&self.buf[sections.contexts.clone()]);
                    self.selector.contexts(&self.buf[sections.contexts]);
                    if meta.rows == 0 && !meta.flags.contains(BatchFlags::PASSED) {
                        self.selector.elapse(&meta, &mut chosen);
                    }
                    self.choose(&meta, sections.rows, &mut chosen, missed)?;
                }
                Step::Gone { first_seq, rows } | Step::Corrupt { first_seq, rows } => {
                    self.selector.cut(&mut chosen);
                    self.miss(missed, first_seq, rows);
                }
                Step::NotYet => break,
                Step::End => {
                    self.selector.cut(&mut chosen);
                    self.ended = true;
                }
            }
            moved = true;
        }
        if moved {
            self.moved = Instant::now();
        } else if !self.selector.at_cut() && self.moved.elapsed() > LONGEST {
            // Its pump would have said long ago that the window is over: it is dead, and nobody has recovered it yet.
            self.selector.cut(&mut chosen);
            return Ok(Some(chosen.set));
        }
        Ok(moved.then_some(chosen.set))
    }

    /// Chooses from the rows of a batch.
    fn choose(
        &mut self,
        meta: &BatchMeta,
        rows: Range<usize>,
        chosen: &mut Chosen,
        missed: &mut Vec<Missed>,
    ) -> Result<(), Error> {
        if !self.sieve.reaches(meta.max_time_ns) && !has_change(meta) {
            return Ok(());
        }
        let mut rows = &self.buf[rows];
        let mut seq = meta.first_seq;
        while let Ok(view) = RowView::parse(rows) {
            let (bytes, rest) = rows.split_at(view.len());
            if seq >= self.floor {
                chosen.next_seq = seq;
                let wanted = self.sieve.wants(&view);
                self.selector.row_shown(&view, bytes, chosen, wanted)?;
            } else {
                self.selector.pass(&view)?;
            }
            rows = rest;
            seq += 1;
        }
        self.miss(missed, seq, meta.end_seq().saturating_sub(seq).max(0) as u64);
        Ok(())
    }
}
