//! Counters: what they are called on disk, and the set of them that a pump or a fold holds.
//!
//! ```text
//! cell = family << 28 | …
//!   0  plain          number
//!   1  journaled      code << 4 | outcome << 1 | at the primary tap
//!   2  edge seen      lane << 17 | code << 5 | outcome << 2 | kind
//!   3  edge reported  likewise
//!   4  scoped         scope << 15 | code << 3 | outcome
//! ```
//! Codes have 12 bits, lanes 8, outcomes 3, kinds 2, scopes 13. A cell keeps its number for ever; one that is not known is carried along.

use std::collections::{BTreeMap, BTreeSet};

/// The id of a counter.
pub type Cell = u32;

/// Claims taken from the rings, over all generations.
pub const CLAIMED: Cell = 1;
/// Claims that were committed.
pub const ACCEPTED: Cell = 2;
/// Claims whose writer died before the commit.
pub const TORN: Cell = 3;
/// Rows made by the library itself.
pub const BORN: Cell = 4;
/// Rows in the journal.
pub const JOURNALED: Cell = 5;
/// Accepted, but the rest of the lane could not be read.
pub const LOST_UNREADABLE: Cell = 6;
/// Accepted and taken from the ring, but the journal that held them is gone.
pub const LOST_JOURNAL_GONE: Cell = 7;
/// Accepted, but the ring is gone.
pub const LOST_RING_GONE: Cell = 8;
/// Journaled, and deleted unread because the journal was at its budget with no follower listed.
pub const LOST_BUDGET: Cell = 9;
/// Rows that say [`LOST_RING_GONE`] with an unknown number (a reboot).
pub const LOST_UNKNOWN: Cell = 10;
/// Bytes: the most of the ring that was ever in use when the pump looked, or when a producer found no room. No sum.
pub const RING_HIGH_WATER: Cell = 11;
/// Emit calls that waited for room in the ring.
pub const WAITS: Cell = 12;
/// For how long, all together.
pub const BLOCKED_NS: Cell = 13;

const FAMILY: u32 = 28;
const JOURNALED_BY: u32 = 1;
const EDGE_SEEN: u32 = 2;
const EDGE_REPORTED: u32 = 3;
const SCOPED: u32 = 4;

/// Codes that fit a cell.
pub const CODES: u32 = 1 << 12;
/// Lanes that fit a cell.
pub const LANES: u32 = 1 << 8;
/// Scopes that fit a cell.
pub const SCOPES: u32 = 1 << 13;

/// Rows in the journal by code, outcome, and whether at the primary tap.
#[must_use]
pub const fn journaled(code: u16, outcome: u8, primary: bool) -> Cell {
    debug_assert!((code as u32) < CODES && outcome < 8);
    JOURNALED_BY << FAMILY | (code as u32 & 0xfff) << 4 | (outcome as u32 & 7) << 1 | primary as u32
}

/// An edge counter (off, dropped or refused) as the pump has read it.
#[must_use]
pub const fn edge_seen(lane: u32, code: u16, outcome: u8, kind: u8) -> Cell {
    edge(EDGE_SEEN, lane, code, outcome, kind)
}

/// An edge counter as far as rows have told of it.
#[must_use]
pub const fn edge_reported(lane: u32, code: u16, outcome: u8, kind: u8) -> Cell {
    edge(EDGE_REPORTED, lane, code, outcome, kind)
}

/// Rows at the primary tap by code and outcome, of one [scope](crate::Scopes).
#[must_use]
pub const fn scoped(code: u16, outcome: u8, scope: u16) -> Cell {
    debug_assert!((scope as u32) < SCOPES && (code as u32) < CODES && outcome < 8);
    SCOPED << FAMILY | (scope as u32 & 0x1fff) << 15 | (code as u32 & 0xfff) << 3 | (outcome as u32 & 7)
}

const fn edge(family: u32, lane: u32, code: u16, outcome: u8, kind: u8) -> Cell {
    debug_assert!(lane < LANES && (code as u32) < CODES && outcome < 8 && kind < 4);
    family << FAMILY | (lane & 0xff) << 17 | (code as u32 & 0xfff) << 5 | (outcome as u32 & 7) << 2 | (kind as u32 & 3)
}

/// A cell's id, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// One of the constants of this module.
    Plain(Cell),
    /// Made by [`journaled`].
    Journaled {
        /// Catalog code.
        code: u16,
        /// Outcome.
        outcome: u8,
        /// At the primary tap.
        primary: bool,
    },
    /// Made by [`edge_seen`], or, with `reported`, by [`edge_reported`].
    Edge {
        /// Reported, and not only seen.
        reported: bool,
        /// Lane.
        lane: u32,
        /// Catalog code.
        code: u16,
        /// Outcome.
        outcome: u8,
        /// Off 0, dropped 1, refused 2.
        kind: u8,
    },
    /// Made by [`scoped`].
    Scoped {
        /// Catalog code.
        code: u16,
        /// Outcome.
        outcome: u8,
        /// Which scope.
        scope: u16,
    },
    /// Of a later release.
    Unknown(Cell),
}

/// Takes a cell's id apart.
#[must_use]
pub const fn name(cell: Cell) -> Name {
    match cell >> FAMILY {
        0 => Name::Plain(cell),
        JOURNALED_BY => {
            Name::Journaled { code: (cell >> 4 & 0xfff) as u16, outcome: (cell >> 1 & 7) as u8, primary: cell & 1 != 0 }
        }
        family @ (EDGE_SEEN | EDGE_REPORTED) => Name::Edge {
            reported: family == EDGE_REPORTED,
            lane: cell >> 17 & 0xff,
            code: (cell >> 5 & 0xfff) as u16,
            outcome: (cell >> 2 & 7) as u8,
            kind: (cell & 3) as u8,
        },
        SCOPED => Name::Scoped {
            code: (cell >> 3 & 0xfff) as u16,
            outcome: (cell & 7) as u8,
            scope: (cell >> 15 & 0x1fff) as u16,
        },
        _ => Name::Unknown(cell),
    }
}

/// A set of counters that knows what changed since the last batch. A counter that was never set is 0.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    values: BTreeMap<Cell, u64>,
    changed: BTreeSet<Cell>,
}

impl Counters {
    /// Counters as a segment head has them; none counts as changed.
    #[must_use]
    pub fn from_cells(cells: &[(Cell, u64)]) -> Self {
        Self { values: cells.iter().copied().collect(), changed: BTreeSet::new() }
    }

    /// The value.
    #[must_use]
    pub fn get(&self, cell: Cell) -> u64 {
        self.values.get(&cell).copied().unwrap_or(0)
    }

    /// Sets the absolute value.
    pub fn set(&mut self, cell: Cell, value: u64) {
        let slot = self.values.entry(cell).or_insert(0);
        if *slot != value {
            *slot = value;
            self.changed.insert(cell);
        }
    }

    /// Raises the value. What a damaged ring or journal has counted may be any number: it stops at the greatest.
    pub fn add(&mut self, cell: Cell, n: u64) {
        self.set(cell, self.get(cell).saturating_add(n));
    }

    /// What has changed since [`Counters::written`], with its absolute value: a batch's `cells`.
    #[must_use]
    pub fn changed(&self) -> Vec<(Cell, u64)> {
        self.changed.iter().map(|&cell| (cell, self.get(cell))).collect()
    }

    /// The batch with [`Counters::changed`] is in the journal. Not to be called when its append failed.
    pub fn written(&mut self) {
        self.changed.clear();
    }

    /// All of them, in order: a segment head's `cells`.
    #[must_use]
    pub fn all(&self) -> Vec<(Cell, u64)> {
        self.iter().collect()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Cell, u64)> {
        self.values.iter().map(|(&cell, &value)| (cell, value))
    }

    /// The sum over all cells whose name `pick` takes.
    #[must_use]
    pub fn sum(&self, pick: impl Fn(Name) -> bool) -> u64 {
        let picked = self.iter().filter(|&(cell, _)| pick(name(cell)));
        picked.fold(0, |sum, (_, value)| sum.saturating_add(value))
    }

    /// The sum of the edge counters of one kind (off 0, dropped 1, refused 2), as seen or as reported.
    #[must_use]
    pub fn edge_total(&self, kind: u8, reported: bool) -> u64 {
        self.sum(|name| matches!(name, Name::Edge { reported: r, kind: k, .. } if r == reported && k == kind))
    }
}

impl PartialEq for Counters {
    /// Equal in value; what has changed is bookkeeping. A zero is as good as an absent cell.
    fn eq(&self, other: &Self) -> bool {
        let set = |counters: &'_ Self| counters.iter().filter(|&(_, value)| value != 0).collect::<Vec<_>>();
        set(self) == set(other)
    }
}

impl Eq for Counters {}
