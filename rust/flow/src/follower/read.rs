//! How the journal is read on in, and chosen from.
//!
//! What must always hold: until a rewind each seq is passed once, in order, as a row that was chosen or left out, or as one that
//! is lost; and a checkpoint goes neither past a later date nor over seqs that are not there on purpose.

use std::ops::Range;

use auditring_event::Malformed;
use auditring_event::row::RowView;
use auditring_journal::{BatchFlags, Step};

use super::{BUDGET, CORRUPT, Follower};
use crate::Error;
use crate::select::Chosen;

pub(super) const DAY_NS: i64 = 86_400_000_000_000;

/// Rows of a journal batch that are still to be chosen from.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) rows: Range<usize>,
    /// Seq of the first of them.
    pub(super) seq: i64,
    /// Behind the last.
    pub(super) end: i64,
    /// Rows that lie there behind a jump and cannot be had: how many, and why.
    pub(super) lost: Option<(u64, usize)>,
}

/// Whether a row holds what no sink could write. One that only a later version knows is not that.
pub(crate) fn illegible(view: &RowView<'_>) -> bool {
    matches!(view.validate(), Err(Malformed::Text | Malformed::Short | Malformed::Json))
}

impl Follower {
    /// Reads on in the journal; `false` when there is nothing yet or nothing more.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        if self.ended {
            return Ok(false);
        }
        self.progress.glance()?;
        self.reader.limit(self.progress.open_batches());
        self.reader.let_go(self.progress.let_go());
        match self.reader.next(&mut self.buf)? {
            Step::Segment(head) => {
                let empty = self.rows() == 0;
                self.selector.segment(&head, &mut self.chosen)?;
                if empty {
                    self.selector.begin(&mut self.chosen);
                }
            }
            Step::Batch(meta, sections) => {
                self.selector.contexts(&self.buf[sections.contexts]);
                self.selector.definitions(&self.buf[sections.definitions], &mut self.chosen);
                self.left = Left { rows: sections.rows, seq: meta.first_seq, end: meta.end_seq(), lost: None };
                if meta.first_seq > self.chosen.next_seq {
                    self.jump(meta.first_seq);
                }
                if meta.rows == 0 && !meta.flags.contains(BatchFlags::PASSED) {
                    self.selector.elapse(&meta, &mut self.chosen);
                }
            }
            Step::Corrupt { first_seq, rows } => self.lose_at(first_seq, rows, CORRUPT),
            Step::Gone { first_seq, rows } => self.lose_at(first_seq, rows, BUDGET),
            Step::NotYet => return Ok(false),
            Step::End => {
                self.ended = true;
                self.selector.cut(&mut self.chosen);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same, where they may lie behind a jump: seqs that were left out on purpose are not among what is lost.
    fn lose_at(&mut self, first_seq: i64, rows: u64, cause: usize) {
        if first_seq > self.chosen.next_seq {
            self.left = Left { seq: first_seq, lost: Some((rows, cause)), ..Left::default() };
            self.jump(first_seq);
        } else {
            self.lose(first_seq, rows, cause);
        }
    }

    /// Rows that were journaled and cannot be had.
    pub(super) fn lose(&mut self, first_seq: i64, rows: u64, cause: usize) {
        let end = first_seq.saturating_add_unsigned(rows);
        let from = first_seq.max(self.chosen.next_seq);
        if end > from {
            self.selector.cut(&mut self.chosen);
            self.chosen.lost += from.abs_diff(end);
            self.chosen.next_seq = end;
            self.losing[cause] += from.abs_diff(end);
        }
    }

    /// Seqs were left out on purpose: a file ends before, so that its range holds what it says.
    pub(super) fn jump(&mut self, to: i64) {
        self.selector.cut(&mut self.chosen);
        if self.is_idle() && self.position == self.cursor.seq {
            self.cursor.seq = to;
            self.position = to;
            self.chosen = Chosen::at(to);
            self.selector.begin(&mut self.chosen);
        } else {
            self.boundary = true;
        }
    }

    /// Chooses from the rows at hand, until there are enough or a later date begins.
    ///
    /// # Errors
    /// If a row tells of a policy that cannot be read.
    pub(super) fn choose(&mut self, max_rows: usize, to_cut: bool) -> Result<(), Error> {
        let windows = self.selector.has_windows();
        while !self.left.rows.is_empty() && self.rows() < max_rows {
            if self.left.seq >= self.left.end {
                // More rows than it says: their seqs are the next batch's.
                self.left.rows = 0..0;
                break;
            }
            let bytes = &self.buf[self.left.rows.clone()];
            let Ok(view) = RowView::parse(bytes) else {
                // The checksum held and the row does not: a writer of another mind. Its batch's rest cannot be told apart.
                let rest = self.reader.next_seq() - self.chosen.next_seq.max(self.left.seq);
                self.lose(self.chosen.next_seq, rest.max(0) as u64, CORRUPT);
                self.left = Left::default();
                return Ok(());
            };
            let len = view.len();
            if self.left.seq < self.chosen.next_seq {
                // Before the cursor: only its contexts were needed, and the policy in force.
                self.selector.pass(&view)?;
                self.left.rows.start += len;
                self.left.seq += 1;
                continue;
            }
            if self.left.seq < self.suspect && illegible(&view) {
                // Scribbled over in the ring: no sink could make anything of it.
                self.lose(self.left.seq, 1, CORRUPT);
                self.left.rows.start += len;
                self.left.seq += 1;
                continue;
            }
            let day = view.time_ns().div_euclid(DAY_NS);
            if self.day.is_some_and(|seen| day > seen) {
                if !windows {
                    self.boundary = true;
                    return Ok(());
                }
                self.cutting = true;
            }
            if windows && (to_cut || self.cutting) {
                if self.selector.cuts(&view, self.left.seq) {
                    self.selector.cut(&mut self.chosen);
                }
                if self.is_due(to_cut) {
                    return Ok(());
                }
            }
            self.day = Some(self.day.unwrap_or(day));
            self.selector.row(&view, &bytes[..len], &mut self.chosen)?;
            self.left.rows.start += len;
            self.left.seq += 1;
        }
        if self.left.rows.is_empty() && self.left.seq < self.left.end {
            // Fewer rows than it says.
            let (seq, end) = (self.left.seq, std::mem::replace(&mut self.left.end, self.left.seq));
            self.lose(seq, seq.abs_diff(end), CORRUPT);
        }
        Ok(())
    }
}
