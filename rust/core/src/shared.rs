//! What every session of a log shares: the gates, the lane, the clock, and what happens when the ring is full.
//!
//! What must always hold: a call that returns without an error has its event in the ring, or counted at the edge before
//! it returned; a wait for space lets go of the GIL; and no caller waits for a pump that is declared dead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use auditring_event::{ACTIONS, CODES, Category, Definition, FREEFORM, OUTCOMES, Outcome, droppable};
use auditring_flow::{Policies, Progress};
use auditring_kafka::Topics as Names;
use auditring_ring::{Clock, Kind as Edge, Refusal, Ring};
use pyo3::prelude::*;

use crate::declare::{Declared, Refused};
use crate::errors;
use crate::ffi::Hot;
use crate::handle::Handle;
use crate::kafka::Shelf;

/// The call goes on.
pub(crate) const GATE_OPEN: u8 = 0;
/// The log's policy has turned the action off: counted, not recorded.
pub(crate) const GATE_OFF: u8 = 1;
/// The log is closed, or belongs to the parent of this process.
pub(crate) const GATE_CLOSED: u8 = 2;

/// How long a waiting caller stays away from the interpreter before it looks for signals.
const SLICE: Duration = Duration::from_millis(50);
const FIRST_NAP: Duration = Duration::from_micros(50);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// What a full ring means for one class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WhenFull {
    /// How long to wait for space; none: for ever.
    pub(crate) wait: Option<Duration>,
    /// Then raise `AuditUnavailable` rather than drop.
    pub(crate) raise: bool,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// In the ring, or counted.
    Done,
    /// Whoever it is about has gone while the call waited; counted as refused.
    Withdrawn,
}

/// A record on its way into the ring.
///
/// What must always hold: neither method panics, allocates or blocks. Between claim and commit nothing may.
pub(crate) trait Record: Sync {
    /// Its bytes.
    fn len(&self) -> usize;

    /// Writes it into room of that length, which is zero.
    fn write(&self, room: &mut [u8]);
}

/// What lies one behind the other in the ring, and need not do so before. Behind the last part is padding.
pub(crate) struct Parts<'a, const N: usize> {
    pub(crate) parts: [&'a [u8]; N],
    pub(crate) len: usize,
}

impl<const N: usize> Record for Parts<'_, N> {
    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn write(&self, room: &mut [u8]) {
        let mut rest = room;
        for part in self.parts {
            let Some((now, behind)) = rest.split_at_mut_checked(part.len()) else { return };
            now.copy_from_slice(part);
            rest = behind;
        }
    }
}

impl<'a> Parts<'a, 1> {
    /// A record that is whole already.
    pub(crate) const fn whole(record: &'a [u8]) -> Self {
        Self { parts: [record], len: record.len() }
    }
}

/// State of one open log that its sessions see.
pub(crate) struct Shared {
    gates: Box<[AtomicU8]>,
    /// Nothing in a log that keeps nothing.
    pub(crate) hot: Hot,
    pub(crate) clock: Clock,
    pub(crate) progress: Arc<Progress>,
    /// The log's; none in a log that keeps nothing.
    pub(crate) policies: Option<Arc<Policies>>,
    droppable: WhenFull,
    protected: WhenFull,
    next_id: AtomicU64,
    forked: AtomicBool,
    sessions: Mutex<HashMap<u64, Weak<Handle>>>,
    /// Also held while the ring is replaced: the new one begins with the definitions of the old; and while gates are set.
    declared: Mutex<Declared>,
    /// What Kafka's topics are called.
    topics: Mutex<Shelf>,
    /// Calls that a log without a ring has taken.
    kept_nothing: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map of weak references is whole between any two of its operations.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        ring: Option<Arc<Ring>>,
        clock: Clock,
        progress: Arc<Progress>,
        policies: Option<Arc<Policies>>,
        droppable: WhenFull,
        protected: WhenFull,
    ) -> Self {
        let hot = Hot::default();
        if let Some(ring) = ring {
            hot.install(ring);
        }
        let shared = Self {
            gates: (0..CODES * OUTCOMES).map(|_| AtomicU8::new(GATE_OPEN)).collect(),
            hot,
            clock,
            progress,
            policies,
            droppable,
            protected,
            next_id: AtomicU64::new(1),
            forked: AtomicBool::new(false),
            sessions: Mutex::default(),
            declared: Mutex::default(),
            topics: Mutex::default(),
            kept_nothing: AtomicU64::new(0),
        };
        shared.turn();
        shared
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of the hot call")]
    pub(crate) fn gate(&self, code: u16, outcome: Outcome) -> u8 {
        let at = code as usize * OUTCOMES + outcome as usize;
        // A code is below CODES by construction of the catalog; a stray one finds a closed gate, not a panic.
        self.gates.get(at).map_or(GATE_CLOSED, |gate| gate.load(Ordering::Relaxed))
    }

    /// Sets the bits anew: what every policy leaves out that may come to judge it is counted, and nothing more.
    pub(crate) fn turn(&self) {
        let declared = lock(&self.declared);
        for spec in ACTIONS {
            self.turn_one(spec.code, (spec.code != FREEFORM).then_some(spec.name), spec.category);
        }
        for one in declared.iter() {
            self.turn_one(one.code, Some(&one.name), one.category);
        }
    }

    /// The bits of one action, with the declarations locked: whoever looks last at the policies sets them last. `name` is
    /// none where events of one code have names of their own.
    fn turn_one(&self, code: u16, name: Option<&str>, category: Category) {
        let Some(policies) = &self.policies else { return };
        for outcome in Outcome::ALL.iter().filter(|outcome| droppable(category, **outcome)) {
            let gate = &self.gates[code as usize * OUTCOMES + *outcome as usize];
            let off = policies.leave_out(code, name, category, *outcome);
            let (from, to) = if off { (GATE_OPEN, GATE_OFF) } else { (GATE_OFF, GATE_OPEN) };
            // A gate that is closed stays so.
            let _ = gate.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the log's policy redacts anything.
    pub(crate) fn redacts(&self) -> bool {
        self.policies.as_ref().is_some_and(|policies| !policies.in_force().policy.redact.is_empty())
    }

    /// The code of a declared event, given out where it is new. Its definition is in the ring first.
    pub(crate) fn declare(&self, definition: &Definition) -> Result<u16, Refused> {
        if self.is_shut() {
            return Err(Refused::Closed);
        }
        let mut declared = lock(&self.declared);
        let code = declared.code(definition, |bytes| match self.hot.get() {
            Some(hot) => hot.ring().definitions_append(bytes).map_err(|_| Refused::Full),
            None => Ok(()),
        })?;
        self.turn_one(code, Some(&definition.name), definition.category);
        Ok(code)
    }

    /// Names of the declared events by code.
    pub(crate) fn declared_names(&self) -> HashMap<u16, String> {
        lock(&self.declared).names()
    }

    /// Goes over to another ring, which knows all that was declared.
    pub(crate) fn replace(&self, ring: &Arc<Ring>) -> Result<(), Refused> {
        let _declaring = lock(&self.declared);
        if let Some(hot) = self.hot.get() {
            ring.definitions_append(&hot.ring().definitions()).map_err(|_| Refused::Full)?;
        }
        self.hot.install(Arc::clone(ring));
        Ok(())
    }

    /// No event is accepted any more.
    pub(crate) fn shut(&self, forked: bool) {
        self.forked.fetch_or(forked, Ordering::Relaxed);
        for gate in &self.gates {
            gate.store(GATE_CLOSED, Ordering::Release);
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.gates[0].load(Ordering::Relaxed) == GATE_CLOSED
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forked.load(Ordering::Relaxed)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn register(&self, id: u64, session: Weak<Handle>) {
        lock(&self.sessions).insert(id, session);
    }

    pub(crate) fn forget(&self, id: u64) {
        lock(&self.sessions).remove(&id);
    }

    /// The sessions that are open.
    pub(crate) fn sessions(&self) -> Vec<Arc<Handle>> {
        lock(&self.sessions).values().filter_map(Weak::upgrade).collect()
    }

    /// The names of topics that everybody shares who says the same.
    pub(crate) fn topics(&self, who: (String, String), limit: usize) -> Arc<Names> {
        Arc::clone(lock(&self.topics).entry(who).or_insert_with(|| Arc::new(Names::new(limit))))
    }

    pub(crate) fn kept_nothing(&self) -> u64 {
        self.kept_nothing.load(Ordering::Relaxed)
    }

    /// Counts at the edge; the GIL orders the callers.
    #[inline]
    pub(crate) fn count_ordered(&self, code: u16, outcome: Outcome, what: Edge) {
        self.count_many(code, outcome, what, 1);
    }

    /// The same of many.
    #[inline]
    pub(crate) fn count_many(&self, code: u16, outcome: Outcome, what: Edge, count: u64) {
        match self.hot.get() {
            Some(hot) => hot.ring().edge().add_ordered(0, u32::from(code), outcome as u32, what, count),
            None => self.kept_nothing.store(self.kept_nothing.load(Ordering::Relaxed) + count, Ordering::Relaxed),
        }
    }

    /// Puts a whole record into the ring, waiting and giving up as the class says.
    ///
    /// Waits only as long as `wanted`. Raises `LogClosed`, `AuditUnavailable`, or whatever a signal handler raised; then
    /// nothing was claimed.
    pub(crate) fn put(
        &self,
        py: Python<'_>,
        record: &[u8],
        code: u16,
        outcome: Outcome,
        droppable: bool,
        wanted: &(dyn Fn() -> bool + Sync),
    ) -> PyResult<Put> {
        self.put_record(py, &Parts::whole(record), code, outcome, droppable, wanted)
    }

    /// The same of a record in parts.
    #[inline]
    pub(crate) fn put_record(
        &self,
        py: Python<'_>,
        record: &impl Record,
        code: u16,
        outcome: Outcome,
        droppable: bool,
        wanted: &(dyn Fn() -> bool + Sync),
    ) -> PyResult<Put> {
        if self.hot.get().is_none() {
            self.count_ordered(code, outcome, Edge::Off);
            return Ok(Put::Done);
        }
        match self.offer(record, droppable) {
            Ok(()) => Ok(Put::Done),
            Err(refusal) => self.put_late(py, record, code, outcome, droppable, wanted, refusal),
        }
    }

    /// It was refused once.
    #[cold]
    #[allow(clippy::too_many_arguments, reason = "what `put` was called with, and why that was not enough")]
    fn put_late(
        &self,
        py: Python<'_>,
        record: &dyn Record,
        code: u16,
        outcome: Outcome,
        droppable: bool,
        wanted: &(dyn Fn() -> bool + Sync),
        refusal: Refusal,
    ) -> PyResult<Put> {
        if refusal != Refusal::Full {
            return Err(self.refuse(refusal, record.len(), code, outcome));
        }
        let rule = if droppable { self.droppable } else { self.protected };
        let began = Instant::now();
        let waited = self.wait(py, record, droppable, rule.wait, began, wanted);
        self.progress.waited(began.elapsed());
        match waited {
            Ok(true) => Ok(Put::Done),
            Ok(false) if !wanted() => {
                self.count_ordered(code, outcome, Edge::Refused);
                Ok(Put::Withdrawn)
            }
            Ok(false) if rule.raise => {
                self.count_ordered(code, outcome, Edge::Refused);
                Err(errors::unavailable(py, self.progress.no_room().as_deref(), began.elapsed()))
            }
            Ok(false) => {
                self.count_ordered(code, outcome, Edge::Dropped);
                Ok(Put::Done)
            }
            Err(error) => {
                self.count_ordered(code, outcome, Edge::Refused);
                Err(error)
            }
        }
    }

    /// Puts a record of the log's own end into the ring: waits until then at most, whatever the class says, and drops it,
    /// counted, rather than raise.
    pub(crate) fn put_until(
        &self,
        py: Python<'_>,
        record: &[u8],
        code: u16,
        outcome: Outcome,
        droppable: bool,
        until: Instant,
    ) -> PyResult<()> {
        let wait = until.saturating_duration_since(Instant::now());
        let done = self.hot.get().is_none()
            || self.offer(&Parts::whole(record), droppable).is_ok()
            || (!wait.is_zero()
                && self.wait(py, &Parts::whole(record), droppable, Some(wait), Instant::now(), &|| true)?);
        if !done {
            self.count_ordered(code, outcome, Edge::Dropped);
        }
        Ok(())
    }

    /// Puts a record into the ring without ever waiting, as a destructor must; a full ring drops it, counted.
    pub(crate) fn put_now(&self, record: &[u8], code: u16, outcome: Outcome, droppable: bool) {
        if self.hot.get().is_some() && self.offer(&Parts::whole(record), droppable).is_err() {
            self.count_ordered(code, outcome, Edge::Dropped);
        }
    }

    #[inline]
    fn offer<R: Record + ?Sized>(&self, record: &R, droppable: bool) -> Result<(), Refusal> {
        loop {
            let hot = self.hot.get().filter(|_| !self.is_shut()).ok_or(Refusal::Closed)?;
            match hot.lane().claim(record.len(), droppable) {
                Ok(mut claim) => {
                    claim.write(|room| record.write(room));
                    claim.commit();
                    return Ok(());
                }
                // A ring that was replaced is closed after its successor is in force.
                Err(Refusal::Closed)
                    if !self.is_shut() && self.hot.get().is_some_and(|now| !std::ptr::eq(now, hot)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// What is too long is counted: it was offered, and the ring would take it at no time.
    fn refuse(&self, refusal: Refusal, len: usize, code: u16, outcome: Outcome) -> PyErr {
        if refusal == Refusal::TooLong {
            self.count_ordered(code, outcome, Edge::Refused);
        }
        self.refused(refusal, len)
    }

    fn refused(&self, refusal: Refusal, len: usize) -> PyErr {
        match refusal {
            Refusal::TooLong => pyo3::exceptions::PyValueError::new_err(format!(
                "the event takes {len} bytes; give the ring more `ring_bytes`, or the event less context"
            )),
            _ => errors::closed(self.is_forked()),
        }
    }

    /// Whether the record went in before the time was over.
    fn wait(
        &self,
        py: Python<'_>,
        record: &dyn Record,
        droppable: bool,
        wait: Option<Duration>,
        began: Instant,
        wanted: &(dyn Fn() -> bool + Sync),
    ) -> PyResult<bool> {
        let deadline = wait.map(|wait| began + wait);
        let mut nap = FIRST_NAP;
        loop {
            // Paid once an outage: after one expiry the class sheds until the pump has made space. A dead pump makes none.
            if self.progress.dead() || !wanted() || (deadline.is_some() && self.progress.sheds(droppable)) {
                return Ok(false);
            }
            let slice = Instant::now() + SLICE;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            let result = py.detach(|| {
                if let Some(hot) = self.hot.get() {
                    hot.ring().wake();
                }
                loop {
                    match self.offer(record, droppable) {
                        Err(Refusal::Full) => {}
                        other => return other,
                    }
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() || self.progress.dead() || !wanted() {
                        return Err(Refusal::Full);
                    }
                    std::thread::sleep(nap.min(left));
                    nap = (nap * 2).min(LONGEST_NAP);
                }
            });
            match result {
                Ok(()) => return Ok(true),
                Err(Refusal::Full) => {}
                Err(refusal) => return Err(self.refused(refusal, record.len())),
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.progress.shed(droppable);
                return Ok(false);
            }
        }
    }
}
