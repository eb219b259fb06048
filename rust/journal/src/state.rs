//! What a journal has come to: the one fold that writer, recovery and readers from outside share.

use crate::batch::{Anchor, BatchFlags, BatchMeta};
use crate::counters::Counters;
use crate::head::{LanePosition, SegmentHead};

/// How a journal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process closed its log.
    Clean,
    /// Recovery closed it.
    Recovered,
}

/// Rows that were journaled and cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first_seq: i64,
    /// How many.
    pub rows: u64,
}

/// The state after the last good batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The newest readable segment head; `None` as long as there is none.
    pub head: Option<SegmentHead>,
    /// The greatest ordinal in use, also by a segment that cannot be read.
    pub last_ordinal: Option<u64>,
    /// A birth batch has been written. Without one, nothing was accepted.
    pub born: bool,
    /// How the journal ended, if it did.
    pub ending: Option<Ending>,
    /// The next seq.
    pub next_seq: i64,
    /// The next batch number.
    pub batch_no: u64,
    /// The ring that `lanes` are positions in.
    pub generation: u32,
    /// What has been journaled of each lane: recovery begins here.
    pub lanes: Vec<LanePosition>,
    /// The last batch's anchor.
    pub anchor: Anchor,
    /// All counters.
    pub cells: Counters,
    /// Greatest wall time of a row in the segments that were read.
    pub max_time_ns: i64,
    /// Greatest age of a row in the segments that were read.
    pub max_age_ns: i64,
    /// Rows that the segments do not hold although later ones follow.
    pub gaps: Vec<Gap>,
}

impl State {
    /// Goes on to a segment. One that repeats what was already read changes nothing but the head.
    pub(crate) fn enter(&mut self, head: SegmentHead) {
        let first = self.head.is_none();
        self.last_ordinal = self.last_ordinal.max(Some(head.ordinal));
        if first || head.batch_no >= self.batch_no {
            if !first && head.first_seq > self.next_seq {
                self.gaps.push(Gap { first_seq: self.next_seq, rows: head.first_seq.abs_diff(self.next_seq) });
            }
            self.born |= head.born;
            self.next_seq = self.next_seq.max(head.first_seq);
            self.batch_no = head.batch_no;
            self.generation = head.generation;
            self.lanes.clone_from(&head.lanes);
            self.anchor = head.anchor;
            self.cells = Counters::from_cells(&head.cells);
        }
        self.head = Some(head);
    }

    /// Takes the step of one batch. A batch that was passed changes nothing.
    pub(crate) fn apply(&mut self, meta: &BatchMeta) {
        if meta.batch_no < self.batch_no {
            return;
        }
        if meta.first_seq > self.next_seq && !meta.flags.contains(BatchFlags::SEQ_JUMP) {
            self.gaps.push(Gap { first_seq: self.next_seq, rows: meta.first_seq.abs_diff(self.next_seq) });
        }
        self.born |= meta.flags.contains(BatchFlags::BIRTH);
        if meta.flags.contains(BatchFlags::FINAL_CLEAN) {
            self.ending = Some(Ending::Clean);
        } else if meta.flags.contains(BatchFlags::FINAL_RECOVERED) {
            self.ending = Some(Ending::Recovered);
        }
        self.next_seq = self.next_seq.max(meta.end_seq());
        self.batch_no = meta.batch_no + 1;
        if meta.generation != self.generation {
            self.generation = meta.generation;
            self.lanes.clear();
        }
        if self.lanes.len() < meta.lanes.len() {
            self.lanes.resize(meta.lanes.len(), LanePosition::default());
        }
        for (lane, range) in self.lanes.iter_mut().zip(&meta.lanes) {
            *lane = LanePosition { pos: range.to_pos, claims: range.to_claims };
        }
        self.anchor = meta.anchor;
        for &(cell, value) in &meta.cells {
            self.cells.set(cell, value);
        }
        self.cells.written();
        if meta.rows > 0 {
            self.max_time_ns = self.max_time_ns.max(meta.max_time_ns);
            self.max_age_ns = self.max_age_ns.max(meta.max_age_ns);
        }
    }

    /// Whether `meta` is the batch that has to come next, or what is wrong with it.
    pub(crate) fn follows(&self, meta: &BatchMeta) -> Result<(), String> {
        let jump = meta.flags.contains(BatchFlags::SEQ_JUMP);
        if self.ending.is_some() {
            Err("the final batch has been written".to_owned())
        } else if meta.batch_no != self.batch_no {
            Err(format!("batch {} cannot follow: {} is next", meta.batch_no, self.batch_no))
        } else if meta.first_seq < self.next_seq || (!jump && meta.first_seq != self.next_seq) {
            Err(format!("seq {} cannot follow: {} is next", meta.first_seq, self.next_seq))
        } else if !meta.is_countable() {
            Err(format!(
                "batch {}, seq {} or a position is beyond what can be counted up to",
                meta.batch_no, meta.first_seq
            ))
        } else if self.head.as_ref().is_some_and(|head| head.process != meta.process) {
            Err("the batch is another process's".to_owned())
        } else {
            Ok(())
        }
    }

    /// Whether the last thing that is there leaves a gap, behind which nothing is yet.
    #[must_use]
    pub fn ends_in_a_gap(&self) -> bool {
        self.gaps.last().is_some_and(|gap| gap.first_seq.saturating_add_unsigned(gap.rows) == self.next_seq)
    }

    /// The head of the segment that follows: identity, policy and definitions as before, all else as it now stands.
    /// `None` if no head was ever read.
    #[must_use]
    pub fn next_head(&self) -> Option<SegmentHead> {
        let last = self.head.as_ref()?;
        Some(SegmentHead {
            ordinal: self.last_ordinal.map_or(0, |ordinal| ordinal + 1),
            first_seq: self.next_seq,
            batch_no: self.batch_no,
            born: self.born,
            generation: self.generation,
            anchor: self.anchor,
            lanes: self.lanes.clone(),
            cells: self.cells.all(),
            ..last.clone()
        })
    }
}
