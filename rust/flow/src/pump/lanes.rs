//! The lanes of the ring: what waits in each, and what of it is read and not given back.
//!
//! What must always hold: the ring has only the low bits of a lane's claims, so they are counted on from what was read of it.

use std::ops::Range;

use auditring_journal::LaneRange;
use auditring_ring::{Position, Ring};

use super::Pump;

/// Bits of a lane's count of claims.
const CLAIMS: u32 = u32::MAX >> 1;

impl Pump {
    pub(super) fn lanes(&self) -> Range<u32> {
        lanes(&self.ring)
    }

    /// Claims of a lane that are not read yet.
    pub(super) fn waiting(&self, lane: u32) -> u64 {
        let read = self.consumer.position(lane).claims;
        u64::from(self.ring.lane(lane).claims().wrapping_sub(read as u32) & CLAIMS)
    }

    /// Claims of a lane so far.
    pub(super) fn end(&self, lane: u32) -> u64 {
        self.consumer.position(lane).claims + self.waiting(lane)
    }

    /// What is read of each lane and not given back.
    pub(super) fn ranges(&self) -> Vec<LaneRange> {
        self.lanes().map(|at| lane(self.consumer.released(at), self.consumer.position(at))).collect()
    }
}

pub(super) fn lanes(ring: &Ring) -> Range<u32> {
    0..ring.geometry().lanes
}

/// Bytes of a ring that are in use.
pub fn used(ring: &Ring) -> u64 {
    lanes(ring).map(|lane| ring.lane(lane).used()).sum()
}

/// Claims that a batch holds of a lane.
pub(super) fn claims(range: &LaneRange) -> u64 {
    range.to_claims - range.from_claims
}

/// What a batch holds of a lane.
pub(crate) fn lane(from: Position, to: Position) -> LaneRange {
    LaneRange { from_pos: from.pos, from_claims: from.claims, to_pos: to.pos, to_claims: to.claims }
}
