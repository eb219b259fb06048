//! What goes into a batch, how it is written, and when a segment ends.
//!
//! What must always hold: nothing that the pump knows changes before a write has returned in full; what a failed one was
//! about is taken anew, with the same number and seqs, into a new segment.

use std::io;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Definitions, named};
use auditring_journal::{BatchFlags, BatchMeta, counters};
use auditring_policy::Policy;
use xxhash_rust::xxh3::xxh3_128;

use super::Pump;
use super::lanes::claims;
use crate::Error;
use crate::timeline::journaled;

/// A batch ends when its rows have reached this.
const BATCH_BYTES: usize = 1 << 20;

impl Pump {
    pub(super) fn fill_from_ring(&mut self) {
        if self.fill.redacts() {
            // What is in front of the tail that was loaded had been declared before: it must be known to be redacted.
            self.learn();
            self.fill.define(&self.definitions);
        }
        // Each lane comes to its share of a batch, then whoever has more.
        let count = self.ring.geometry().lanes;
        for turn in 0..count {
            self.take((self.first + turn) % count, BATCH_BYTES * (turn as usize + 1) / count as usize);
        }
        for turn in 0..count {
            self.take((self.first + turn) % count, BATCH_BYTES);
        }
    }

    /// Takes records out of a lane until the batch has so many bytes.
    fn take(&mut self, lane: u32, bytes: usize) {
        while self.fill.bytes() < bytes {
            let Some(payload) = self.consumer.next(lane) else { break };
            let taken = RecordView::parse(payload).is_ok_and(|record| {
                let at = self.timeline.at(record.stamp());
                self.fill.push(&record, at)
            });
            if !taken {
                // Decoding is a pure function: a second try would fail alike.
                let row = unreadable(payload);
                self.own(&row);
            }
        }
    }

    /// Adds a row that was never in the ring, stamped now.
    pub(super) fn own(&mut self, record: &[u8]) {
        if let Ok(record) = RecordView::parse(record) {
            self.fill.push(&record, self.timeline.now());
        }
    }

    /// Writes the batch that is filled, then gives the ring's space back and tells everybody.
    pub(super) fn write(&mut self, flags: BatchFlags, posted: usize) -> Result<(), Error> {
        let result = self.append(flags);
        if let Err(error) = result {
            self.lanes().for_each(|lane| self.consumer.rewind(lane));
            self.fill.abandon();
            self.timeline.abandon();
            self.losses.abandon();
            self.balance.abandon();
            self.unreadable = 0;
            self.changing = None;
            return Err(error);
        }
        self.lanes().for_each(|lane| self.consumer.release(lane));
        self.mailbox.taken(posted);
        self.first = (self.first + 1) % self.ring.geometry().lanes;
        let (rows, age_ns) = (self.fill.count > 0, self.fill.age.1);
        self.fill.clear();
        self.clocks.written();
        self.losses.written();
        self.balance.written();
        self.unreadable = 0;
        if let Some(policy) = self.changing.take() {
            self.policies.settle(&policy);
            self.ticks.go_by(&self.policies.in_force().policy);
            self.fill.forget_touches();
        }
        if rows {
            self.ticks.rows(age_ns);
        } else {
            self.ticks.told(self.timeline.now().age_ns);
        }
        self.progress.space();
        self.publish();
        self.syncer.written();
        if !rows {
            // No number has moved, but what waits may have closed.
            self.progress.nudge();
        }
        Ok(())
    }

    fn append(&mut self, flags: BatchFlags) -> Result<(), Error> {
        let lanes = self.ranges();
        let state = self.writer.state();
        let mut cells = state.cells.clone();
        let claims: u64 = lanes.iter().map(claims).sum();
        cells.add(counters::CLAIMED, claims);
        cells.add(counters::ACCEPTED, claims);
        cells.add(counters::LOST_UNREADABLE, self.unreadable);
        cells.add(counters::BORN, u64::from(self.fill.count) + self.unreadable - claims);
        cells.add(counters::JOURNALED, u64::from(self.fill.count));
        self.fill.tally.drain(&mut cells);
        self.losses.cells(&mut cells);
        let (waits, blocked_ns) = self.progress.waits();
        let high_water = self.progress.most_in_use();
        for (cell, value) in
            [(counters::RING_HIGH_WATER, high_water), (counters::WAITS, waits), (counters::BLOCKED_NS, blocked_ns)]
        {
            cells.set(cell, value);
        }
        let ((min_time_ns, max_time_ns), (min_age_ns, max_age_ns)) = self.fill.span(self.timeline.now());
        let meta = BatchMeta {
            flags,
            process: self.ring.identity().process,
            batch_no: state.batch_no,
            generation: self.ring.identity().generation,
            lanes,
            first_seq: state.next_seq,
            rows: self.fill.count,
            anchor: journaled(self.timeline.last()),
            min_time_ns,
            max_time_ns,
            min_age_ns,
            max_age_ns,
            cells: cells.changed(),
        };
        // Read after the records were: whoever used a code had appended its definition before.
        let definitions = self.ring.definitions_since(self.defined);
        self.writer.append(&meta, &self.fill.contexts, &definitions, &self.fill.rows)?;
        self.defined += definitions.len();
        Ok(())
    }

    /// Takes in what was declared since the last look.
    pub(super) fn learn(&mut self) {
        let definitions = self.ring.definitions_since(self.learnt);
        self.learnt += definitions.len();
        for one in Definitions::decode(&definitions).unwrap_or_default().iter() {
            self.definitions.insert(one.clone());
        }
    }

    /// Whether the next batch belongs into a new segment. A segment without a batch is never rolled for its age or size.
    pub(super) fn must_roll(&self, something: bool) -> bool {
        let due = self.writer.len() >= self.limits.segment_bytes || self.writer.age() >= self.limits.segment_age;
        self.writer.is_poisoned() || self.distrusted || (something && due && !self.fresh())
    }

    pub(super) fn roll(&mut self) -> Result<(), Error> {
        // A segment that was begun for a batch that could not be written holds nothing that the next one does not.
        let empty = self.fresh().then(|| self.writer.path().to_owned());
        let mut head = self.writer.next_head();
        head.definitions = self.ring.definitions();
        let stated = self.policies.in_force();
        if head.policy != stated.bytes {
            head.policy_digest = Policy::digest(&stated.bytes);
            head.policy.clone_from(&stated.bytes);
        }
        let ended = self.writer.len();
        while let Err(error) = self.writer.roll(&head) {
            // A name that a try left, which failed and could not even remove it, is passed over.
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error.into());
            }
            head.ordinal += 1;
        }
        if let Some(row) = self.rolls.done(&self.progress) {
            // A full mailbox has told of worse.
            let _ = self.mailbox.post(row);
        }
        self.uncut_bytes += ended;
        self.defined = head.definitions.len();
        // Directly behind: whatever fails next, the new segment holds no context yet.
        self.fill.begin_segment();
        self.distrusted = false;
        if let Some(empty) = empty {
            // It is only in the way, and goes with those around it at the latest.
            if let Err(source) = std::fs::remove_file(&empty) {
                let path = empty.clone();
                let error = Error::Io { what: "remove a segment that was never of use", path, source };
                self.rolls.failed(&error, &self.progress);
            }
            self.syncer.removed(&empty);
            self.keep.forget(&empty);
        }
        self.syncer.begin(self.writer.sync_handle(), (head.batch_no, head.first_seq));
        self.keep.begin(self.writer.sync_handle());
        self.look_at_bytes();
        Ok(())
    }

    /// Whether the segment holds no batch yet.
    pub(super) fn fresh(&self) -> bool {
        let state = self.writer.state();
        state.head.as_ref().is_some_and(|head| head.batch_no == state.batch_no)
    }
}

/// The row in place of a record that cannot be read.
pub(crate) fn unreadable(payload: &[u8]) -> Vec<u8> {
    let mut event = Encoder::new(named("auditring.Unreadable"));
    event.int("length", payload.len() as i64).text("digest", &format!("{:032x}", xxh3_128(payload)));
    event.to_vec()
}
