//! The pump's turns: one look at ring, mailbox and edge, at most one batch, and sleep while there is little to do.
//!
//! What must always hold:
//! - the anchor is taken after the tail was loaded, so every stamp of the batch lies before it;
//! - rows that wait in a window are told when it is over: by a later row, else by a batch without rows;
//! - a change of the policy comes behind all that was recorded before anybody asked for it.

use std::time::{Duration, Instant as Clockwork};

use auditring_event::named;
use auditring_event::record::{Encoder, RecordView};
use auditring_journal::BatchFlags;

use super::Pump;
use super::lanes::used;
use crate::Error;
use crate::select::policy_in;
use crate::syncer::Untold;

/// With less than this in a batch there is time to sleep.
const BUSY_BYTES: usize = 256 << 10;
/// The backstop behind the producers' wake-up.
const NAP: Duration = Duration::from_millis(10);
/// The same while next to nothing comes: what a quiet host pays for the pump is its wake-ups.
const QUIET_NAP: Duration = Duration::from_millis(50);
/// Less than this in a batch is next to nothing.
const QUIET_BYTES: usize = 16 << 10;

/// A change of the policy stands behind all that was recorded before anybody asked for it.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    /// The number of its posting.
    number: u64,
    /// Of the ring.
    generation: u32,
    /// So many claims of each of its lanes.
    claims: Vec<u64>,
}

/// What one look at the ring came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Nothing,
    /// There is no room to write to: the ring may be full, so nobody will ring.
    Stalled,
    Bytes(usize),
    All,
}

impl Pump {
    /// Moves records until `timeout` is over; `true` once the final batch is written. Returns early on an error, after
    /// which everything is as before the batch: the next call tries again, in a new segment.
    ///
    /// # Errors
    /// If a batch cannot be written.
    pub fn run(&mut self, timeout: Duration) -> Result<bool, Error> {
        let end = Clockwork::now() + timeout;
        loop {
            match self.step()? {
                Moved::All => return Ok(true),
                Moved::Bytes(bytes) if bytes >= BUSY_BYTES => {}
                moved => {
                    let quiet = !matches!(moved, Moved::Bytes(bytes) if bytes >= QUIET_BYTES);
                    let left = end.saturating_duration_since(Clockwork::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    if moved == Moved::Stalled {
                        std::thread::sleep(left.min(NAP));
                        continue;
                    }
                    self.consumer.sleep(left.min(if quiet { QUIET_NAP } else { NAP }));
                }
            }
            if Clockwork::now() >= end {
                return Ok(false);
            }
        }
    }

    /// One look at ring, mailbox and edge: at most one batch.
    fn step(&mut self) -> Result<Moved, Error> {
        // Whatever fails before a write leaves in the mailbox what was looked at.
        self.look().inspect_err(|_| self.mailbox.left())
    }

    fn look(&mut self) -> Result<Moved, Error> {
        if self.ended {
            return Ok(Moved::All);
        }
        if self.over_budget()? {
            return Ok(Moved::Stalled);
        }
        if let Some(Untold { error, current }) = self.syncer.failed() {
            self.distrusted |= current;
            return Err(Error::Sync(error));
        }
        if self.successor.is_some() && self.consumer.drained() {
            self.succeed()?;
        }
        // The tails first, then the anchor: whatever is in front of them was stamped before it.
        let mut waiting = false;
        for lane in self.lanes() {
            waiting |= self.consumer.poll(lane);
        }
        if waiting {
            self.progress.in_use(used(&self.ring));
        }
        let posted = self.mailbox.peek();
        if self.must_roll(waiting || !posted.is_empty()) {
            match self.roll() {
                // A segment that is whole takes more; the next batch tries again to begin another.
                Err(error) if !self.writer.is_poisoned() => self.rolls.failed(&error, &self.progress),
                result => result?,
            }
        }
        let (anchor, within_ns) = self.clock.anchor_within();
        self.clocks.see(self.timeline.anchor(anchor, within_ns));
        let change = posted.iter().position(|(_, record)| changes(record).is_some());
        let (first, rest) = posted.split_at(change.unwrap_or(posted.len()));
        for (_, record) in first {
            self.own(record);
        }
        self.look_behind(rest.first().map(|(number, _)| *number));
        self.fill_from_ring();
        self.look_for_damage();
        let mut taken = first.len();
        if let Some(number) = self.behind.as_ref().filter(|behind| self.is_past(behind)).map(|behind| behind.number) {
            for (_, record) in rest.iter().take_while(|(posted, _)| *posted == number) {
                self.own(record);
                taken += 1;
            }
            self.changing = rest.first().and_then(|(_, record)| changes(record));
        }
        let last = self.successor.is_none() && self.consumer.drained() && self.mailbox.len() == taken;
        self.learn();
        let newest = self.successor.as_ref().unwrap_or(&self.ring);
        self.carried.iter_mut().for_each(|carry| carry.on(newest));
        for row in self.clocks.rows(last) {
            self.own(&row);
        }
        for row in self.losses.rows(self.ring.edge(), &self.definitions, self.timeline.now(), last) {
            self.own(&row);
        }
        if self.balance.is_time(last) {
            self.tell_balance(last);
        }
        let bytes = self.fill.rows.len();
        if last {
            self.own(&Encoder::new(named("ProxyCleanShutdown")).to_vec());
            self.write(BatchFlags::FINAL_CLEAN, taken)?;
            self.ended = true;
            self.progress.publish(|journaled| journaled.ended = true);
            self.syncer.unsynced().hasten();
            return Ok(Moved::All);
        }
        if self.fill.count == 0 {
            if self.ticks.is_due(self.timeline.now().age_ns) {
                // A change may wait behind a claim that is open: it stays where it is.
                self.write(BatchFlags::NONE, taken)?;
            }
            self.mailbox.left();
            self.look_for_open_claim()?;
            return Ok(Moved::Nothing);
        }
        self.write(BatchFlags::NONE, taken)?;
        Ok(Moved::Bytes(bytes))
    }

    /// Notes where a change of this number belongs, the first time that it is seen.
    fn look_behind(&mut self, change: Option<u64>) {
        let generation = self.ring.identity().generation;
        let known = self.behind.take().filter(|known| Some(known.number) == change && known.generation == generation);
        self.behind = known.or_else(|| {
            // What is in the ring that follows this one may be older, too.
            let end = |lane| if self.successor.is_some() { u64::MAX } else { self.end(lane) };
            change.map(|number| Behind { number, generation, claims: self.lanes().map(end).collect() })
        });
    }

    /// Whether all is read that a change stands behind.
    fn is_past(&self, behind: &Behind) -> bool {
        self.lanes().zip(&behind.claims).all(|(lane, claims)| self.consumer.position(lane).claims >= *claims)
    }
}

/// The policy that a record brings into force.
fn changes(record: &[u8]) -> Option<Vec<u8>> {
    policy_in(&RecordView::parse(record).ok()?)
}
