//! Claims of the lanes of a ring: those that are journaled, and all so far.
//!
//! What must always hold: a ring that the pump has not gone over to yet has none that are journaled.

use auditring_flow::Journaled;
use auditring_ring::Ring;

use crate::shared::Shared;

/// Claims of each lane of a ring that are journaled. Of one that the pump has not gone over to yet there are none.
pub(super) fn known(ring: &Ring, journaled: &Journaled) -> impl Iterator<Item = u64> {
    let known = if ring.identity().generation == journaled.generation { &journaled.lanes[..] } else { &[] };
    (0..ring.geometry().lanes as usize).map(|lane| known.get(lane).copied().unwrap_or(0))
}

/// Claims of each lane of a ring so far: the tail has their low 31 bits.
pub(super) fn ends(ring: &Ring, journaled: &Journaled) -> impl Iterator<Item = u64> {
    let since = |(lane, known)| known + (u64::from(ring.lane(lane).claims()).wrapping_sub(known) & 0x7FFF_FFFF);
    (0..).zip(known(ring, journaled)).map(since)
}

/// Claims of all time: those that are journaled, and what is in the ring that the pump reads and in those that follow it.
pub(super) fn claimed(shared: &Shared, journaled: &Journaled) -> u64 {
    let rings = shared.rings();
    let left = rings.iter().filter(|ring| ring.identity().generation >= journaled.generation);
    let waiting = |ring| ends(ring, journaled).zip(known(ring, journaled)).map(|(end, known)| end - known).sum::<u64>();
    journaled.claimed + left.map(|ring| waiting(ring)).sum::<u64>()
}
