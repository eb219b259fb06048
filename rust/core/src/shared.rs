//! What every session of a log shares: the gates, the lanes, the clock, and what happens when the ring is full.
//!
//! What must always hold: a call that returns without an error has its event in the ring, or counted at the edge before
//! it returned; a wait for space lets go of the GIL; and no caller waits for a pump that is declared dead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use auditring_event::{ACTIONS, CODES, Category, Definition, FREEFORM, OUTCOMES, Outcome, droppable};
use auditring_flow::{Policies, Progress, used};
use auditring_kafka::{Guard, Topics as Names};
use auditring_ring::{Clock, Kind as Edge, Refusal, Ring};
use pyo3::prelude::*;

use crate::declare::{Declared, Refused};
use crate::errors;
use crate::ffi::{Current, Hot, HotLane};
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

/// Where a record goes, and as what it is counted where it does not get there.
#[derive(Clone, Copy)]
pub(crate) struct Via<'a> {
    pub(crate) lane: &'a Hot,
    /// The context of whom it is about: no record goes in once that is out of force.
    pub(crate) of: Option<&'a Current>,
    pub(crate) code: u16,
    pub(crate) outcome: Outcome,
    pub(crate) droppable: bool,
}

/// Threads are numbered as they come, so that those that work at the same time are spread over the lanes.
fn number_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}

/// State of one open log that its sessions see.
pub(crate) struct Shared {
    gates: Box<[AtomicU8]>,
    /// A cell for each lane, which has that lane of the ring in use. One with nothing in it in a log that keeps nothing.
    lanes: Box<[Arc<Hot>]>,
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
    /// Whose messages taps let pass.
    guard: Mutex<Arc<Guard>>,
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
        let count = ring.as_ref().map_or(1, |ring| ring.geometry().lanes);
        let lanes = (0..count).map(|_| Arc::default()).collect();
        let shared = Self {
            gates: (0..CODES * OUTCOMES).map(|_| AtomicU8::new(GATE_OPEN)).collect(),
            lanes,
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
            guard: Mutex::default(),
            kept_nothing: AtomicU64::new(0),
        };
        if let Some(ring) = ring {
            shared.install(&ring);
        }
        shared.turn();
        shared
    }

    fn install(&self, ring: &Arc<Ring>) {
        for (number, lane) in (0..).zip(&self.lanes) {
            lane.install(Arc::clone(ring), number);
        }
    }

    /// The ring in use; none in a log that keeps nothing.
    pub(crate) fn ring(&self) -> Option<&Arc<Ring>> {
        self.lanes[0].get().map(HotLane::ring)
    }

    /// The rings of all its life, the one in use last.
    pub(crate) fn rings(&self) -> Vec<Arc<Ring>> {
        let mut rings = Vec::new();
        self.lanes[0].each(|lane| rings.push(Arc::clone(lane.ring())));
        rings
    }

    /// The lane of the calling thread: what it opens writes there, in the order of its calls.
    pub(crate) fn lane(&self) -> &Arc<Hot> {
        &self.lanes[number_of_thread() % self.lanes.len()]
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
        let code = declared.code(definition, |bytes| match self.ring() {
            Some(ring) => ring.definitions_append(bytes).map_err(|_| Refused::Full),
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
        if let Some(old) = self.ring() {
            ring.definitions_append(&old.definitions()).map_err(|_| Refused::Full)?;
        }
        self.install(ring);
        Ok(())
    }

    /// No event is accepted any more.
    pub(crate) fn shut(&self, forked: bool) {
        self.forked.fetch_or(forked, Ordering::Relaxed);
        for gate in &self.gates {
            gate.store(GATE_CLOSED, Ordering::Release);
        }
        // Against who replaces the ring: he sees the gates, or who closes next sees his ring.
        fence(Ordering::SeqCst);
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

    /// What taps let pass that are made from now on.
    pub(crate) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&lock(&self.guard))
    }

    /// Taps that are made from now on let this pass, too.
    pub(crate) fn exempt(&self, topic: &str, client: &str) {
        Arc::make_mut(&mut lock(&self.guard)).add(topic, client);
    }

    pub(crate) fn kept_nothing(&self) -> u64 {
        self.kept_nothing.load(Ordering::Relaxed)
    }

    /// Counts at the edge.
    #[inline]
    pub(crate) fn count(&self, lane: &Hot, code: u16, outcome: Outcome, what: Edge, count: u64) {
        match lane.get() {
            Some(hot) => hot.count(code, outcome, what, count),
            None if cfg!(Py_GIL_DISABLED) => _ = self.kept_nothing.fetch_add(count, Ordering::Relaxed),
            // The GIL orders the callers.
            None => self.kept_nothing.store(self.kept_nothing.load(Ordering::Relaxed) + count, Ordering::Relaxed),
        }
    }

    fn count_one(&self, via: Via<'_>, what: Edge) {
        self.count(via.lane, via.code, via.outcome, what, 1);
    }

    /// Puts a whole record into the ring, waiting and giving up as the class says.
    ///
    /// Raises `LogClosed`, `AuditUnavailable`, or whatever a signal handler raised; then nothing was claimed.
    pub(crate) fn put(&self, py: Python<'_>, record: &[u8], via: Via<'_>) -> PyResult<Put> {
        self.put_record(py, &Parts::whole(record), via)
    }

    /// The same of a record in parts.
    #[inline]
    pub(crate) fn put_record(&self, py: Python<'_>, record: &impl Record, via: Via<'_>) -> PyResult<Put> {
        if via.lane.get().is_none() {
            self.count_one(via, Edge::Off);
            return Ok(Put::Done);
        }
        match self.offer(record, via) {
            Ok(Put::Done) => Ok(Put::Done),
            refusal => self.put_late(py, record, via, refusal),
        }
    }

    /// It did not go in at once.
    #[cold]
    fn put_late(
        &self,
        py: Python<'_>,
        record: &dyn Record,
        via: Via<'_>,
        refusal: Result<Put, Refusal>,
    ) -> PyResult<Put> {
        let (began, rule) = (Instant::now(), if via.droppable { self.droppable } else { self.protected });
        let waited = match refusal {
            Err(Refusal::Full) => {
                if let Some(ring) = self.ring() {
                    self.progress.in_use(used(ring));
                }
                let waited = self.wait(py, record, via, rule.wait, began);
                self.progress.waited(began.elapsed());
                waited
            }
            Err(refusal) => return Err(self.refuse(refusal, record.len(), via)),
            Ok(put) => Ok(Some(put)),
        };
        match waited {
            Ok(Some(Put::Done)) => Ok(Put::Done),
            Ok(Some(Put::Withdrawn)) => {
                self.count_one(via, Edge::Refused);
                Ok(Put::Withdrawn)
            }
            Ok(None) if rule.raise => {
                self.count_one(via, Edge::Refused);
                Err(errors::unavailable(py, self.progress.no_room().as_deref(), began.elapsed()))
            }
            Ok(None) => {
                self.count_one(via, Edge::Dropped);
                Ok(Put::Done)
            }
            Err(error) => {
                self.count_one(via, Edge::Refused);
                Err(error)
            }
        }
    }

    /// Puts a record of the log's own end into the ring: waits until then at most, whatever the class says, and drops it,
    /// counted, rather than raise.
    pub(crate) fn put_until(&self, py: Python<'_>, record: &[u8], via: Via<'_>, until: Instant) -> PyResult<()> {
        let wait = until.saturating_duration_since(Instant::now());
        let record = Parts::whole(record);
        let done = via.lane.get().is_none()
            || self.offer(&record, via).is_ok()
            || (!wait.is_zero() && self.wait(py, &record, via, Some(wait), Instant::now())?.is_some());
        if !done {
            self.count_one(via, Edge::Dropped);
        }
        Ok(())
    }

    /// Puts a record into the ring without ever waiting, as a destructor must; a full ring drops it, counted.
    pub(crate) fn put_now(&self, record: &[u8], via: Via<'_>) {
        if via.lane.get().is_some() && self.offer(&Parts::whole(record), via).is_err() {
            self.count_one(via, Edge::Dropped);
        }
    }

    #[inline]
    fn offer<R: Record + ?Sized>(&self, record: &R, via: Via<'_>) -> Result<Put, Refusal> {
        loop {
            let hot = via.lane.get().filter(|_| !self.is_shut()).ok_or(Refusal::Closed)?;
            // Held until the commit: whoever ends what the record is about waits for it, and comes behind.
            let open = via.of.map(Current::enter);
            if matches!(open, Some(None)) {
                return Ok(Put::Withdrawn);
            }
            match hot.lane().claim(record.len(), via.droppable) {
                Ok(mut claim) => {
                    claim.write(|room| record.write(room));
                    claim.commit();
                    return Ok(Put::Done);
                }
                // A ring that was replaced is closed after its successor is in force.
                Err(Refusal::Closed)
                    if !self.is_shut() && via.lane.get().is_some_and(|now| !std::ptr::eq(now, hot)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// What is too long is counted: it was offered, and the ring would take it at no time.
    fn refuse(&self, refusal: Refusal, len: usize, via: Via<'_>) -> PyErr {
        if refusal == Refusal::TooLong {
            self.count_one(via, Edge::Refused);
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

    /// What became of the record, if anything did before the time was over.
    fn wait(
        &self,
        py: Python<'_>,
        record: &dyn Record,
        via: Via<'_>,
        wait: Option<Duration>,
        began: Instant,
    ) -> PyResult<Option<Put>> {
        let deadline = wait.map(|wait| began + wait);
        let mut nap = FIRST_NAP;
        loop {
            if via.of.is_some_and(|current| !current.is_set()) {
                return Ok(Some(Put::Withdrawn));
            }
            // Paid once an outage: after one expiry the class sheds until the pump has made space. A dead pump makes none.
            if self.progress.dead() || (deadline.is_some() && self.progress.sheds(via.droppable)) {
                return Ok(None);
            }
            let slice = Instant::now() + SLICE;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            let result = py.detach(|| {
                if let Some(ring) = self.ring() {
                    ring.wake();
                }
                loop {
                    match self.offer(record, via) {
                        Err(Refusal::Full) => {}
                        other => return other,
                    }
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() || self.progress.dead() {
                        return Err(Refusal::Full);
                    }
                    std::thread::sleep(nap.min(left));
                    nap = (nap * 2).min(LONGEST_NAP);
                }
            });
            match result {
                Ok(put) => return Ok(Some(put)),
                Err(Refusal::Full) => {}
                Err(refusal) => return Err(self.refused(refusal, record.len())),
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.progress.shed(via.droppable);
                return Ok(None);
            }
        }
    }
}
