//! One batch in the making: rows, the contexts they need, and what is counted about them.
//!
//! What must always hold: nothing here outlives a failed write. The batch is encoded anew then, from the ring and the
//! mailbox, so contexts and first touches that only the failed batch told of are forgotten. With redactions in force no
//! byte of a context or a body comes in here that has not gone through them.
//!
//! What was done to a row's own values is said in its context: a context is there once for each set of redactions of its
//! rows, so that rows stay as short as they were and readers need know nothing of it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use auditring_event::record::{self, RecordView};
use auditring_event::{Context, Definitions, code_of, row};
use auditring_journal::{ScopeFile, Scopes, Tally, contexts};
use auditring_policy::{FirstTouch, Redacted, Redactor, session_hash, touch_key};
use xxhash_rust::xxh3::xxh3_64;

use crate::Error;
use crate::keep::Vanished;
use crate::scoping::Scoping;
use crate::timeline::Instant;

const READ: u16 = code_of("Read");
const WRITE: u16 = code_of("Write");
/// Presence bit of the topic: the first field of Read and Write, so the first string of the body.
const TOPIC: u32 = 1;
/// First touches that are remembered: a megabyte of fingerprints.
const TOUCHES: usize = 1 << 17;

/// What the pump remembers of a context that the segment holds.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: u64,
    /// Which redactions of its rows it tells of.
    marks: u64,
    index: u32,
    session: u64,
    /// Hash of the context's own tap; 0 without one.
    tap: u64,
    /// What else its rows count as; none: nothing else.
    scope: Option<u16>,
    /// It lacks what wants a key to be hashed.
    unhashed: bool,
}

/// Context ids are counted up by the log, so nobody can choose ones that collide.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, id: u64) {
        // The table takes its tag from the topmost bits and its bucket from the lowest.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The batch.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) rows: Vec<u8>,
    pub(crate) contexts: Vec<u8>,
    pub(crate) count: u32,
    /// Rows of all batches that lack values for want of the key by which those are hashed.
    pub(crate) unhashed: u64,
    pub(crate) tally: Tally,
    pub(crate) time: (i64, i64),
    pub(crate) age: (i64, i64),
    /// Contexts of the segment by id.
    segment: HashMap<u64, Known, BuildHasherDefault<IdHasher>>,
    /// The same, where they tell of redactions of their rows; of the context 0, which rows without a session have, too.
    marked: HashMap<(u64, u64), Known>,
    last: Option<Known>,
    touched: FirstTouch,
    /// The touch that came last. One request is about many partitions of one topic, so it mostly comes again.
    last_touch: u64,
    primary_tap: Option<u64>,
    redactor: Option<Box<Redactor>>,
    scopes: Option<Scoping>,
}

impl Fill {
    pub(crate) fn new(primary_tap: Option<&str>, redactor: Option<Redactor>) -> Self {
        Self {
            rows: Vec::with_capacity(2 << 20),
            contexts: Vec::new(),
            count: 0,
            unhashed: 0,
            tally: Tally::default(),
            time: (i64::MAX, i64::MIN),
            age: (i64::MAX, i64::MIN),
            segment: HashMap::default(),
            marked: HashMap::default(),
            last: None,
            touched: FirstTouch::new(TOUCHES),
            last_touch: 0,
            primary_tap: primary_tap.map(|tap| xxh3_64(tap.as_bytes())),
            redactor: redactor.map(Box::new),
            scopes: None,
        }
    }

    /// From now on rows are counted by scope, too.
    pub(crate) fn scope_by(&mut self, scopes: ScopeFile) {
        self.scopes = Some(Scoping::new(scopes));
    }

    /// By what rows are counted, beside action and outcome.
    pub(crate) fn scopes(&self) -> Option<&Scopes> {
        self.scopes.as_ref().map(Scoping::scopes)
    }

    /// Puts the file of the scopes back where it was taken away.
    pub(crate) fn keep(&mut self) -> Result<Option<Vanished>, Error> {
        self.scopes.as_mut().map_or(Ok(None), Scoping::keep)
    }

    /// Whether anything is redacted.
    pub(crate) const fn redacts(&self) -> bool {
        self.redactor.is_some()
    }

    /// Definitions, before the first record that uses them.
    pub(crate) fn define(&mut self, definitions: &Definitions) {
        if let Some(redactor) = &mut self.redactor {
            redactor.define(definitions);
        }
    }

    /// Bytes of the batch so far.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() + self.contexts.len()
    }

    /// Least and greatest wall time of its rows, and of their ages; of a batch without any, those of this moment.
    pub(crate) fn span(&self, now: Instant) -> ((i64, i64), (i64, i64)) {
        if self.count > 0 { (self.time, self.age) } else { ((now.time_ns, now.time_ns), (now.age_ns, now.age_ns)) }
    }

    /// The batch is written: the next one begins.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.contexts.clear();
        self.count = 0;
        self.time = (i64::MAX, i64::MIN);
        self.age = (i64::MAX, i64::MIN);
    }

    /// A new segment begins: it repeats the contexts it needs.
    pub(crate) fn begin_segment(&mut self) {
        self.segment.clear();
        self.marked.clear();
        self.last = None;
    }

    /// The batch could not be written: what only it told of is told again.
    pub(crate) fn abandon(&mut self) {
        self.clear();
        self.tally.clear();
        self.begin_segment();
        self.forget_touches();
    }

    /// First touches are marked again: another policy is in force, and the one before may have left them out.
    pub(crate) fn forget_touches(&mut self) {
        self.touched = FirstTouch::new(TOUCHES);
        self.last_touch = 0;
    }

    /// Adds one record as a row. False, and nothing is added, where redactions are in force and it cannot be read.
    #[inline]
    pub(crate) fn push(&mut self, record: &RecordView<'_>, at: Instant) -> bool {
        if self.redactor.is_some() {
            return self.push_redacted(record, at);
        }
        let known = match record.context_id() {
            0 => None,
            id => Some(match self.last {
                Some(known) if known.id == id => known,
                _ => self.context(id, record.context_bytes()),
            }),
        };
        self.add(record, record, known, at);
        true
    }

    fn push_redacted(&mut self, record: &RecordView<'_>, at: Instant) -> bool {
        let Some(mut redactor) = self.redactor.take() else { return false };
        let redacted = redactor.record(record);
        if redacted != Redacted::Unreadable {
            let marks = if let Redacted::Body { marks, .. } = redacted { marks } else { 0 };
            let known = match (record.context_id(), marks) {
                (0, 0) => None,
                (id, marks) => Some(match self.last {
                    Some(known) if known.id == id && known.marks == marks => known,
                    _ => self.redacted_context(&mut redactor, id, marks, record.context_bytes()),
                }),
            };
            if redactor.wants_key(marks) || known.is_some_and(|known| known.unhashed) {
                self.unhashed += 1;
            }
            let shown = match redacted {
                Redacted::Body { presence, flags, .. } => record.with(presence, flags, redactor.body()),
                _ => *record,
            };
            self.add(record, &shown, known, at);
        }
        self.redactor = Some(redactor);
        redacted != Redacted::Unreadable
    }

    /// Adds the row of a record, with the body as it is shown.
    #[inline]
    fn add(&mut self, record: &RecordView<'_>, shown: &RecordView<'_>, known: Option<Known>, at: Instant) {
        let code = record.code();
        let mut flags = 0;
        if code == READ || code == WRITE {
            let topic = record.fields().strings().next().filter(|(bit, _)| *bit == TOPIC);
            let topic = topic.map_or(&[][..], |(_, topic)| topic);
            let session = known.map_or(0, |known| known.session);
            let touch = touch_key(session, code, tap(record, known), topic);
            if touch != self.last_touch && self.touched.first(touch) {
                flags = record::FIRST_TOUCH;
            }
            self.last_touch = touch;
        }
        let primary = match self.primary_tap {
            None => true,
            Some(primary) => matches!(tap(record, known), 0) || tap(record, known) == primary,
        };
        let outcome = record::outcome_number(record.bits());
        self.tally.row(code, outcome, primary);
        if let Some(scope) = known.and_then(|known| known.scope).filter(|_| primary) {
            self.tally.in_scope(code, outcome, scope);
        }
        self.count += 1;
        self.time = (self.time.0.min(at.time_ns), self.time.1.max(at.time_ns));
        self.age = (self.age.0.min(at.age_ns), self.age.1.max(at.age_ns));
        let index = known.map_or(row::NO_CONTEXT, |known| known.index);
        row::from_record(shown, index, at.time_ns, at.age_ns, flags, &mut self.rows);
    }

    fn context(&mut self, id: u64, bytes: &[u8]) -> Known {
        let next = self.next_index();
        let (contexts, scopes) = (&mut self.contexts, &mut self.scopes);
        let known = *self.segment.entry(id).or_insert_with(|| Known::new(contexts, scopes, id, 0, next, bytes, false));
        self.last = Some(known);
        known
    }

    fn redacted_context(&mut self, redactor: &mut Redactor, id: u64, marks: u64, bytes: &[u8]) -> Known {
        let next = self.next_index();
        let (contexts, scopes) = (&mut self.contexts, &mut self.scopes);
        let new = || {
            let mut other = Vec::new();
            let done = redactor.context(bytes, marks, &mut other);
            Known::new(contexts, scopes, id, marks, next, &other, redactor.wants_key(done))
        };
        let known = match marks {
            0 => *self.segment.entry(id).or_insert_with(new),
            _ => *self.marked.entry((id, marks)).or_insert_with(new),
        };
        self.last = Some(known);
        known
    }

    fn next_index(&self) -> u32 {
        (self.segment.len() + self.marked.len()) as u32
    }
}

impl Known {
    /// Puts a context that the segment does not hold yet into its batch.
    fn new(
        contexts: &mut Vec<u8>,
        scopes: &mut Option<Scoping>,
        id: u64,
        marks: u64,
        index: u32,
        bytes: &[u8],
        unhashed: bool,
    ) -> Self {
        contexts::push(contexts, index, id, bytes);
        let context = Context::decode(bytes).unwrap_or_default();
        Self {
            id,
            marks,
            index,
            session: session_hash(context.session.as_deref().unwrap_or_default()),
            scope: scopes.as_mut().and_then(|scopes| scopes.of(&context)),
            tap: context.tap.map_or(0, |tap| xxh3_64(tap.as_bytes())),
            unhashed,
        }
    }
}

/// Hash of the tap that holds for a record: its own, else its context's; 0 without one.
#[inline]
fn tap(record: &RecordView<'_>, known: Option<Known>) -> u64 {
    if record.presence() & record::TAP == 0 {
        return known.map_or(0, |known| known.tap);
    }
    record.fields().text(record::TAP).map_or(0, |tap| xxh3_64(tap.as_bytes()))
}
