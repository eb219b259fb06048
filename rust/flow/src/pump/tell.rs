//! How things stand, told: in rows of the journal, in the numbers that this process's threads look at, and to those outside.
//!
//! What must always hold: the numbers that are shown are those of the writer's state, which changes only after a write returned
//! in full; a row says how things stand once its own batch is written.

use std::sync::Arc;

use auditring_journal::counters;

use super::Pump;
use super::lanes::{claims, lanes};
use crate::balance::{Stand, Terms, cursors, sink};

impl Pump {
    /// How things stand at the row that comes next, and so the rows of process and sinks that say so.
    pub(super) fn tell_balance(&mut self, last: bool) {
        let (stand, in_ring, journaled) = self.stand();
        if !self.balance.begin(stand, self.losses.exempt(), last) {
            return;
        }
        let stand = Stand { born: stand.born + 1, ..stand };
        let row = Terms { stand, in_ring, journaled: journaled + 1, cells: &self.writer.state().cells }.row();
        self.own(&row);
        self.balance.made();
        for (name, cursor) in cursors(&self.dir) {
            let (_, _, journaled) = self.stand();
            self.own(&sink(&name, &cursor, journaled + 1));
            self.balance.made();
        }
    }

    /// What moves, with the batch being filled; claims still in the ring; rows.
    fn stand(&self) -> (Stand, u64, u64) {
        let cells = &self.writer.state().cells;
        let taken: u64 = self.ranges().iter().map(claims).sum();
        let rows = u64::from(self.fill.count);
        let next: u64 =
            self.successor.iter().flat_map(|ring| lanes(ring).map(|lane| u64::from(ring.lane(lane).claims()))).sum();
        let in_ring = self.lanes().map(|lane| self.waiting(lane)).sum::<u64>() + next;
        let stand = Stand {
            claimed: cells.get(counters::CLAIMED) + taken + in_ring,
            edge: self.losses.edge(),
            born: cells.get(counters::BORN) + rows + self.unreadable - taken,
        };
        (stand, in_ring, cells.get(counters::JOURNALED) + rows)
    }

    pub(super) fn publish(&mut self) {
        let state = self.writer.state();
        let cells = &state.cells;
        let lost = [
            ("unreadable", counters::LOST_UNREADABLE),
            ("journal_gone", counters::LOST_JOURNAL_GONE),
            ("ring_gone", counters::LOST_RING_GONE),
        ];
        self.progress.publish(|journaled| {
            journaled.next_seq = state.next_seq;
            journaled.batches = state.batch_no;
            journaled.claimed = cells.get(counters::CLAIMED);
            journaled.lanes.clear();
            journaled.lanes.extend(state.lanes.iter().map(|lane| lane.claims));
            journaled.generation = state.generation;
            journaled.accepted = cells.get(counters::ACCEPTED);
            journaled.torn = cells.get(counters::TORN);
            journaled.born = cells.get(counters::BORN);
            journaled.lost.clear();
            journaled.lost.extend(lost.map(|(name, cell)| (name, cells.get(cell))));
            journaled.bytes = self.sealed_bytes + self.writer.len();
            journaled.let_go = self.let_go;
            journaled.actions.clear();
            journaled.actions.extend(cells.iter().filter_map(|(cell, count)| match counters::name(cell) {
                counters::Name::Journaled { code, outcome, primary: true } => Some((code, outcome, count)),
                _ => None,
            }));
            journaled.scoped.clear();
            if let Some(scopes) = self.fill.scopes() {
                if scopes.values.len() != journaled.scopes.values.len() || journaled.scopes.labels.is_empty() {
                    journaled.scopes = Arc::new(scopes.clone());
                }
                journaled.scoped.extend(cells.iter().filter_map(|(cell, count)| match counters::name(cell) {
                    counters::Name::Scoped { code, outcome, scope } => Some((code, outcome, scope, count)),
                    _ => None,
                }));
            }
        });
    }

    /// Those who follow from outside see it, too. What could not be shown is shown, or told of, when the journal is looked at.
    pub(super) fn show(&self) {
        let _ = self.progress.show();
    }
}
