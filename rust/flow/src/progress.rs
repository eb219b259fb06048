//! What pump, producers and followers of one process tell one another.
//!
//! Owns the journaled and the durable seq that followers wait for, the ring positions that `flush` waits for, the words that
//! tell producers whether to wait for space, and the cause of trouble. What must always hold: a number shown here is never
//! ahead of the journal, and a durable one never ahead of the disk.

mod elsewhere;
mod followed;
mod producers;
mod waits;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use auditring_journal::{Scopes, Show, Shown};

use self::elsewhere::Elsewhere;
use self::followed::Followed;
pub(crate) use self::followed::Held;

/// How far the journal is.
#[derive(Clone, Debug, Default)]
pub struct Journaled {
    /// Next seq to be given.
    pub next_seq: i64,
    /// Batches written.
    pub batches: u64,
    /// Next seq behind the rows that are known to be on the disk itself.
    pub durable_seq: i64,
    /// So many batches are.
    pub durable_batches: u64,
    /// Claims taken out of the ring, since birth.
    pub claimed: u64,
    /// The same, of each lane of the present ring; one that is not here has none yet.
    pub lanes: Vec<u64>,
    /// Generation of that ring.
    pub generation: u32,
    /// Records taken out of the ring whole.
    pub accepted: u64,
    /// Claims whose writer died.
    pub torn: u64,
    /// Rows born in the pump.
    pub born: u64,
    /// Lost events by cause.
    pub lost: Vec<(&'static str, u64)>,
    /// Rows at the primary tap: code, outcome's number, how many.
    pub actions: Vec<(u16, u8, u64)>,
    /// The same of those that have a scope: code, outcome's number, scope, how many; and the scopes.
    pub scoped: Vec<(u16, u8, u16, u64)>,
    /// By what rows are counted, beside action and outcome.
    pub scopes: Arc<Scopes>,
    /// The journal's budget is used up: nothing more is taken out of the ring for now.
    pub over_budget: bool,
    /// Bytes of journal on disk.
    pub bytes: u64,
    /// Why the next segment could not be begun; none while they can be.
    pub unrolled: Option<String>,
    /// Somebody has written over the ring: what lies where, until another one has taken its place.
    pub damaged: Option<String>,
    /// Rows before this seq were let go, though a sink that is not required may have lacked them.
    pub let_go: i64,
    /// The final batch is written.
    pub ended: bool,
    /// Raised by [`Progress::nudge`]: ends waits whatever the numbers say.
    nudges: u64,
    /// The seq that each waiter waits for. A pump that writes a few rows a hundred times a second wakes nobody for them.
    wanted: Vec<i64>,
    /// Followers have only what is durable: [`Progress::only_durable`].
    only_durable: bool,
}

impl Journaled {
    /// Next seq behind the rows that followers may have.
    fn open_to(&self) -> i64 {
        if self.only_durable { self.durable_seq } else { self.next_seq }
    }

    /// Followers may have the final row.
    fn over(&self) -> bool {
        self.ended && (!self.only_durable || self.durable_batches >= self.batches)
    }
}

/// How far the journal is, as it is made durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) batches: u64,
    /// Batches that are durable.
    pub(crate) durable: u64,
    pub(crate) next_seq: i64,
    pub(crate) ended: bool,
}

/// Shared by the threads of one open log.
#[derive(Debug)]
pub struct Progress {
    /// What those who follow from outside are shown, and the journal's budget.
    show: OnceLock<(Show, u64)>,
    /// It is of a process that lives elsewhere.
    elsewhere: Option<Elsewhere>,
    journaled: Mutex<Journaled>,
    moved: Condvar,
    /// Per class (droppable, protected): one wait has expired and no space has been seen since.
    shed: [AtomicBool; 2],
    /// Who lacks a row before this seq holds back half of the journal's budget, and had better commit.
    pressed: AtomicI64,
    /// Rows that are worth a commit then.
    worth: AtomicI64,
    /// The cursors of the followers of this log, and their locks: to be put back where they are taken away.
    followed: Mutex<BTreeMap<String, Followed>>,
    /// The pump puts back what of the journal is taken away.
    kept: AtomicBool,
    /// What troubles the pump.
    trouble: Mutex<Option<String>>,
    /// What the disk refuses to make durable.
    disk: Mutex<Option<String>>,
    /// Nobody takes records out of the ring any more.
    dead: AtomicBool,
    blocked_ns: AtomicU64,
    waits: AtomicU64,
    /// The most of the ring that was ever seen in use.
    most_in_use: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            show: OnceLock::new(),
            elsewhere: None,
            journaled: Mutex::default(),
            moved: Condvar::new(),
            shed: Default::default(),
            pressed: AtomicI64::new(i64::MIN),
            worth: AtomicI64::new(i64::MAX),
            followed: Mutex::default(),
            kept: AtomicBool::new(false),
            trouble: Mutex::default(),
            dead: AtomicBool::new(false),
            blocked_ns: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            most_in_use: AtomicU64::new(0),
            disk: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain numbers, replaced as a whole: a panic elsewhere cannot leave them half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// A copy of the numbers.
    #[must_use]
    pub fn journaled(&self) -> Journaled {
        lock(&self.journaled).clone()
    }

    /// Next seq to be given.
    #[must_use]
    pub fn next_seq(&self) -> i64 {
        lock(&self.journaled).next_seq
    }

    /// Begins to show those outside how far they may read.
    pub(crate) fn show_in(&self, dir: &Path, journal_bytes: u64) -> auditring_journal::Result<()> {
        let show = Show::begin(dir, self.shown(journal_bytes))?;
        // Once in the life of a log.
        let _ = self.show.set((show, journal_bytes));
        Ok(())
    }

    fn shown(&self, journal_bytes: u64) -> Shown {
        let journaled = lock(&self.journaled);
        Shown {
            batches: if journaled.only_durable { journaled.durable_batches } else { u64::MAX },
            let_go: journaled.let_go,
            journal_bytes,
            over_budget: journaled.over_budget,
        }
    }

    /// Shows those outside how things are by now.
    pub(crate) fn show(&self) -> auditring_journal::Result<()> {
        self.show.get().map_or(Ok(()), |(show, journal_bytes)| show.show(self.shown(*journal_bytes)))
    }

    /// From now on followers have what is durable, and nothing else. Before any of them has begun.
    pub(crate) fn only_durable(&self) {
        lock(&self.journaled).only_durable = true;
    }

    /// So many batches may be read by followers.
    pub(crate) fn open_batches(&self) -> u64 {
        let journaled = lock(&self.journaled);
        if journaled.only_durable { journaled.durable_batches } else { u64::MAX }
    }

    /// Rows before this seq were let go for the budget's sake.
    pub(crate) fn let_go(&self) -> i64 {
        lock(&self.journaled).let_go
    }

    /// The final batch is written, and followers cannot have it yet.
    #[must_use]
    pub fn end_is_held_back(&self) -> bool {
        let journaled = lock(&self.journaled);
        journaled.ended && !journaled.over()
    }

    /// Why it does not get onto the disk, where that has been tried.
    pub(crate) fn held_back(&self) -> Option<String> {
        if self.end_is_held_back() { lock(&self.disk).clone() } else { None }
    }

    /// Says what the disk refuses; none: nothing.
    pub(crate) fn set_disk(&self, cause: Option<String>) {
        *lock(&self.disk) = cause;
    }

    /// Next seq behind the rows that are known to be on the disk itself.
    #[must_use]
    pub fn durable_seq(&self) -> i64 {
        lock(&self.journaled).durable_seq
    }

    pub(crate) fn written(&self) -> Written {
        let journaled = lock(&self.journaled);
        let Journaled { batches, durable_batches: durable, next_seq, ended, .. } = *journaled;
        Written { batches, durable, next_seq, ended }
    }
}
