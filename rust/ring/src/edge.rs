//! Edge counters: how many events, by code and outcome, never entered the ring, and why. They live in the mapped file,
//! so that a recovery reports exactly what the dead process had not yet reported.
//!
//! What must always hold: a call counts before it returns; counters only rise; each count has two cells, one that
//! somebody else's lock orders (a plain load and store) and one that nobody orders (an atomic addition), and is their
//! sum. A bit a code says whether any of its counters was ever raised, so that a look at the table costs what was
//! counted and not what could be.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::layout::Geometry;
use crate::map::Map;

/// Outcomes that a code has room for; an outcome's number is less.
pub const OUTCOMES: u32 = 8;
const KINDS: usize = 3;
/// Cells of one code.
const ROW: usize = OUTCOMES as usize * KINDS;
/// Words of a line that nobody else writes to.
const LINE: usize = 16;

/// Why an event did not enter the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The policy says that it is not kept.
    Off = 0,
    /// There was no room, and the configuration says go on without it.
    Dropped = 1,
    /// The caller got an error.
    Refused = 2,
}

impl Kind {
    const ALL: [Self; KINDS] = [Self::Off, Self::Dropped, Self::Refused];

    /// The kind that has this number in a journal.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::Dropped),
            2 => Some(Self::Refused),
            _ => None,
        }
    }
}

const fn touched_words(codes: usize) -> usize {
    codes.div_ceil(64).next_multiple_of(LINE)
}

const fn cell_words(codes: usize) -> usize {
    (codes * ROW).next_multiple_of(LINE)
}

/// Words that the table of one lane takes.
pub(crate) const fn lane_words(codes: usize) -> usize {
    touched_words(codes) + 2 * cell_words(codes)
}

/// Where the tables are. All lanes lie behind each other.
pub(crate) struct EdgeTable {
    first: *const AtomicU64,
    lanes: u32,
    codes: u32,
}

// SAFETY: points to atomics that live as long as the ring, which owns this.
unsafe impl Send for EdgeTable {}
// SAFETY: as above.
unsafe impl Sync for EdgeTable {}

impl EdgeTable {
    pub(crate) fn new(map: &Map, g: &Geometry) -> Self {
        Self { first: map.word(g.edge(0)), lanes: g.lanes, codes: g.codes }
    }
}

/// The edge counters of a ring: a pointer, to be copied about freely.
///
/// Lanes, codes and outcomes beyond the table count as its last: a count may land in a wrong row, but never gets lost.
#[derive(Clone, Copy)]
pub struct Edge<'a> {
    first: *const AtomicU64,
    lanes: u32,
    codes: u32,
    _table: PhantomData<&'a EdgeTable>,
}

// SAFETY: as the table.
unsafe impl Send for Edge<'_> {}
// SAFETY: as the table.
unsafe impl Sync for Edge<'_> {}

/// A counter that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCount {
    /// The lane whose caller counted.
    pub lane: u32,
    /// The event's code.
    pub code: u32,
    /// Its outcome's number.
    pub outcome: u32,
    /// Why it did not enter.
    pub kind: Kind,
    /// How many.
    pub count: u64,
}

impl<'a> Edge<'a> {
    pub(crate) const fn new(table: &'a EdgeTable) -> Self {
        Self { first: table.first, lanes: table.lanes, codes: table.codes, _table: PhantomData }
    }

    /// Counts one where somebody else's lock orders all callers of this method (the GIL).
    #[inline(always)]
    pub fn bump_ordered(self, lane: u32, code: u32, outcome: u32, kind: Kind) {
        self.add_ordered(lane, code, outcome, kind, 1);
    }

    /// Counts many likewise.
    #[inline(always)]
    pub fn add_ordered(self, lane: u32, code: u32, outcome: u32, kind: Kind, count: u64) {
        let cell = self.cell(lane, code, outcome, kind, false);
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Counts one where nobody orders the callers.
    #[inline(always)]
    pub fn bump(self, lane: u32, code: u32, outcome: u32, kind: Kind) {
        self.cell(lane, code, outcome, kind, true).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts many where nobody orders the callers: what a replaced ring had counted goes on in its successor.
    pub fn add(self, lane: u32, code: u32, outcome: u32, kind: Kind, count: u64) {
        self.cell(lane, code, outcome, kind, true).fetch_add(count, Ordering::Relaxed);
    }

    /// A cell to be raised; marks its code as touched.
    #[inline(always)]
    fn cell(&self, lane: u32, code: u32, outcome: u32, kind: Kind, shared: bool) -> &'a AtomicU64 {
        let code = code.min(self.codes - 1);
        let touched = self.word(lane, code as usize / 64);
        let bit = 1 << (code % 64);
        // Before the count, so that a process that dies in between has not hidden one.
        if touched.load(Ordering::Relaxed) & bit == 0 {
            Self::touch(touched, bit);
        }
        self.word(lane, self.cell_index(code, outcome, kind, shared))
    }

    #[cold]
    fn touch(word: &AtomicU64, bit: u64) {
        word.fetch_or(bit, Ordering::Release);
    }

    #[inline(always)]
    fn cell_index(&self, code: u32, outcome: u32, kind: Kind, shared: bool) -> usize {
        let codes = self.codes as usize;
        let row = code.min(self.codes - 1) as usize * ROW;
        let cell = outcome.min(OUTCOMES - 1) as usize * KINDS + kind as usize;
        touched_words(codes) + usize::from(shared) * cell_words(codes) + row + cell
    }

    #[inline(always)]
    fn word(&self, lane: u32, index: usize) -> &'a AtomicU64 {
        let lane = lane.min(self.lanes - 1) as usize;
        debug_assert!(index < lane_words(self.codes as usize));
        // SAFETY: the lane and (by the callers here) the index are within the table, which lives for `'a`.
        unsafe { &*self.first.add(lane * lane_words(self.codes as usize) + index) }
    }

    /// A count: what callers of both kinds have counted.
    #[must_use]
    pub fn get(self, lane: u32, code: u32, outcome: u32, kind: Kind) -> u64 {
        let read = |shared| self.word(lane, self.cell_index(code, outcome, kind, shared)).load(Ordering::Relaxed);
        read(false).wrapping_add(read(true))
    }

    /// Shows every counter that is not zero, by lane, code, outcome, kind. Costs by the codes that were ever counted.
    pub fn visit(self, mut see: impl FnMut(EdgeCount)) {
        for lane in 0..self.lanes {
            for group in 0..self.codes.div_ceil(64) {
                let mut touched = self.word(lane, group as usize).load(Ordering::Acquire);
                while touched != 0 {
                    let code = group * 64 + touched.trailing_zeros();
                    touched &= touched - 1;
                    if code >= self.codes {
                        break;
                    }
                    for outcome in 0..OUTCOMES {
                        for kind in Kind::ALL {
                            let count = self.get(lane, code, outcome, kind);
                            if count != 0 {
                                see(EdgeCount { lane, code, outcome, kind, count });
                            }
                        }
                    }
                }
            }
        }
    }

    /// All counts, at `((lane * codes + code) * 8 + outcome) * 3 + kind`. [`visit`](Self::visit) is the cheaper one.
    pub fn snapshot(self, into: &mut Vec<u64>) {
        into.clear();
        into.resize(self.lanes as usize * self.codes as usize * ROW, 0);
        self.visit(|c| {
            let row = (c.lane * self.codes + c.code) as usize;
            into[row * ROW + c.outcome as usize * KINDS + c.kind as usize] = c.count;
        });
    }
}
