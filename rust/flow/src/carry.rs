//! Edge counters over a change of rings: what was counted in the one that goes is counted on in the one that comes.
//!
//! What must always hold: a count is in exactly one of both. Without the GIL a caller may still count in the ring that it
//! had found a moment before, so whoever drains looks again until the process ends.

use std::collections::HashMap;
use std::sync::Arc;

use auditring_ring::{Kind, Ring};

/// The counts of a ring that was replaced.
#[derive(Debug)]
pub struct Carry {
    from: Arc<Ring>,
    /// What of them is in its successor.
    carried: HashMap<(u32, u32, u32, Kind), u64>,
}

impl Carry {
    /// Takes all that was counted so far into a ring in which nobody counts yet.
    #[must_use]
    pub fn begin(from: Arc<Ring>, to: &Ring) -> Self {
        let mut carry = Self { from, carried: HashMap::new() };
        carry.on(to);
        carry
    }

    /// Takes what was counted since the last time into the ring in which everybody counts now.
    pub(crate) fn on(&mut self, to: &Ring) {
        let Self { from, carried } = self;
        from.edge().visit(|count| {
            let known = carried.entry((count.lane, count.code, count.outcome, count.kind)).or_default();
            if count.count > *known {
                to.edge().add(count.lane, count.code, count.outcome, count.kind, count.count - *known);
                *known = count.count;
            }
        });
    }
}
