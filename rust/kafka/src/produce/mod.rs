//! Produce: what a request writes is kept, as counts, until the answer says where it went.
//!
//! What must always hold: a partition that a request names has one row, and one that it does not name has none, whatever
//! the answer says.

mod answer;
mod request;

use auditring_event::{ActionSpec, Outcome, index_of, spec_at};

pub(crate) use answer::Answer;
pub(crate) use request::Request;

use crate::exchange::Fate;
use crate::facts::Facts;
use crate::guard::name_of;
use crate::named::{Named, TopicPlaces};
use crate::reads::Out;
use crate::rows::{Numbers, Texts};
use crate::topics::Topics;
use crate::wire::Places;

const WRITE: &ActionSpec = spec_at(index_of(65));
const WIRE: Places = Places::of(WRITE);
const TOPIC: TopicPlaces = TopicPlaces { topic: WRITE.position("topic"), topic_id: WRITE.position("topic_id") };
const PARTITION: usize = WRITE.position("partition");
const FIRST: usize = WRITE.position("first_offset");
const LAST: usize = WRITE.position("last_offset");
const RECORDS: usize = WRITE.position("records");
const BYTES: usize = WRITE.position("bytes");
const TRANSACTION: usize = WRITE.position("transactional_id");

/// From this version on topics go by their ids.
const BY_ID: i16 = 13;
/// Most bytes that are kept of one request.
const MOST: usize = 8 * 1024 * 1024;
/// What an empty one may keep for its next use.
const SPARE: usize = 64 * 1024;
/// Up to so many partitions a look at each is quicker than order.
const FEW: usize = 16;
/// How many partitions of one name are told apart. A request names each but once.
const SAME: usize = 8;

/// What goes to one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    topic: u32,
    index: i32,
    bytes: i64,
    /// None where the heads of the batches do not say.
    records: Option<i64>,
    /// How many offsets they take; none likewise.
    span: Option<i64>,
    told: bool,
}

/// What a request writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    transaction: Option<Vec<u8>>,
    by_id: bool,
    /// Names or ids of the topics, one behind the other, and where each ends.
    names: Vec<u8>,
    topics: Vec<u32>,
    parts: Vec<Part>,
    /// Positions of the parts by topic and partition; made when an answer has another order than the request.
    order: Vec<u32>,
    /// Where the next one of an answer is looked for first.
    next: usize,
    /// Before here all have their rows, when the answer has told what it tells.
    untold: usize,
    /// Whether each topic is an auditor's own; empty where none is.
    exempt: Vec<bool>,
}

impl Writes {
    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        let transaction = self.transaction.as_ref().map_or(0, Vec::len);
        self.names.len() + 4 * self.topics.len() + size_of::<Part>() * self.parts.len() + transaction
    }

    /// Bytes that an empty one keeps for its next use.
    fn capacity(&self) -> usize {
        let numbers = 4 * (self.topics.capacity() + self.order.capacity());
        self.names.capacity() + numbers + size_of::<Part>() * self.parts.capacity()
    }

    pub(crate) fn clear(&mut self) {
        if self.capacity() > SPARE {
            *self = Self::default();
        }
        (self.transaction, self.next, self.untold) = (None, 0, 0);
        self.names.clear();
        self.topics.clear();
        self.parts.clear();
        self.order.clear();
        self.exempt.clear();
    }

    /// Asks of each topic, by its name, whether it is an auditor's own. Whether all are.
    pub(crate) fn exempt(&mut self, topics: &Topics, mut passes: impl FnMut(&[u8]) -> bool) -> bool {
        if self.transaction.is_some() {
            return false;
        }
        let names = (0..self.topics.len()).map(|at| name_of(self.topic(at as u32), self.by_id, topics));
        self.exempt = names.map(|name| name.is_some_and(|name| passes(&name))).collect();
        !self.exempt.is_empty() && self.exempt.iter().all(|exempt| *exempt)
    }

    /// Whether what was written there has no row, if nothing speaks against it.
    #[inline]
    fn is_exempt(&self, part: &Part) -> bool {
        self.exempt.get(part.topic as usize).is_some_and(|exempt| *exempt)
    }

    pub(crate) fn transaction(&self) -> Option<&Vec<u8>> {
        self.transaction.as_ref()
    }

    /// The name or id of a topic.
    #[inline]
    fn topic(&self, at: u32) -> &[u8] {
        let at = at as usize;
        let begin = at.checked_sub(1).map_or(0, |before| self.topics[before]);
        &self.names[begin as usize..self.topics[at] as usize]
    }

    /// Whether a part is for this partition, and has no row yet.
    #[inline]
    fn is_it(&self, at: usize, topic: &[u8], index: i32) -> bool {
        self.parts.get(at).is_some_and(|part| !part.told && part.index == index && self.topic(part.topic) == topic)
    }

    /// The part for a partition that an answer names.
    #[inline]
    fn find(&mut self, topic: &[u8], index: i32) -> Option<usize> {
        let at = if self.is_it(self.next, topic, index) { self.next } else { self.search(topic, index)? };
        self.parts[at].told = true;
        self.next = at + 1;
        Some(at)
    }

    fn search(&mut self, topic: &[u8], index: i32) -> Option<usize> {
        if self.parts.len() <= FEW {
            return (0..self.parts.len()).find(|at| self.is_it(*at, topic, index));
        }
        if self.order.is_empty() {
            let mut order = std::mem::take(&mut self.order);
            order.extend(0..self.parts.len() as u32);
            order.sort_unstable_by_key(|at| self.key(*at));
            self.order = order;
        }
        let from = self.order.partition_point(|at| self.key(*at) < (topic, index));
        let same = self.order[from..].iter().take(SAME).map(|at| *at as usize);
        same.take_while(|at| self.key(*at as u32) == (topic, index)).find(|at| self.is_it(*at, topic, index))
    }

    fn key(&self, at: u32) -> (&[u8], i32) {
        let part = &self.parts[at as usize];
        (self.topic(part.topic), part.index)
    }

    /// Rows for partitions that have none: no answer tells of them. Whether all have one now.
    pub(crate) fn unanswered(&mut self, out: &mut Out<'_>) -> bool {
        // Nearly every answer tells of all of them.
        let told = self.parts.iter().skip(self.untold).take_while(|part| part.told).count();
        self.untold += told;
        if self.untold == self.parts.len() {
            return true;
        }
        let mut rows = Rows::default();
        let mut topic = None;
        while let Some(part) = self.parts.get(self.untold) {
            if out.facts.is_full() {
                return false;
            }
            self.untold += 1;
            if part.told {
                continue;
            }
            if self.is_exempt(part) {
                out.facts.let_pass();
                continue;
            }
            if topic != Some(part.topic) {
                rows.topic(self.topic(part.topic), self.by_id, out.topics);
                topic = Some(part.topic);
            }
            rows.tell(part, self.transaction.as_deref(), Fate::Unanswered, None, out);
        }
        true
    }
}

/// The rows of one topic.
#[derive(Debug, Default)]
struct Rows {
    named: Named,
    /// What those share that have no status, and the transaction that this names.
    texts: Texts,
    transaction: Option<Vec<u8>>,
}

impl Rows {
    /// Goes on with a topic by its name or id.
    fn topic(&mut self, topic: &[u8], by_id: bool, topics: &Topics) {
        let is_another = match topic.try_into() {
            Ok(id) if by_id => self.named.by_id(id, topics),
            _ => self.named.by_name(topic),
        };
        if is_another {
            self.texts.clear();
        }
    }

    /// The row of one partition.
    #[inline]
    fn tell(&mut self, part: &Part, transaction: Option<&[u8]>, fate: Fate, base: Option<i64>, out: &mut Out<'_>) {
        let outcome = match fate {
            Fate::Answered(0) => Outcome::Success,
            Fate::Unanswered => Outcome::Forwarded,
            Fate::Answered(code) => return self.refused(part, transaction, code, out),
        };
        let Facts { off, data_off, .. } = &mut *out.facts;
        let (is_off, count) = match outcome {
            Outcome::Success => (off.writes, &mut data_off.writes),
            _ => (off.forwarded, &mut data_off.forwarded),
        };
        if is_off {
            *count = count.saturating_add(1);
            return;
        }
        if self.texts.is_empty() || self.transaction.as_deref() != transaction {
            self.lay_texts(transaction, out);
        }
        let first = base.filter(|first| *first >= 0 && part.span != Some(0));
        let mut numbers = Numbers::default();
        numbers.put(PARTITION, part.index.into());
        numbers.put_known(FIRST, first);
        numbers.put_known(LAST, first.zip(part.span).and_then(|(first, span)| first.checked_add(span - 1)));
        numbers.put(WIRE.client, out.wire.client.into());
        numbers.put_known(WIRE.server, out.wire.server.map(Into::into));
        numbers.put_known(RECORDS, part.records);
        numbers.put(BYTES, part.bytes);
        numbers.put_known(WIRE.duration, out.wire.duration_ns);
        out.facts.row(WRITE, outcome, &numbers, &self.texts);
    }

    #[inline(never)]
    fn lay_texts(&mut self, transaction: Option<&[u8]>, out: &mut Out<'_>) {
        self.transaction = transaction.map(Into::into);
        let mut draft = out.facts.draft(WRITE);
        draft.wire_texts(&out.wire, &WIRE).named(&self.named, &TOPIC);
        if let Some(transaction) = transaction {
            draft.text_at(TRANSACTION, transaction);
        }
        draft.share(&mut self.texts);
    }

    #[inline(never)]
    fn refused(&self, part: &Part, transaction: Option<&[u8]>, code: i16, out: &mut Out<'_>) {
        let mut draft = out.facts.draft(WRITE);
        draft.wire(&out.wire, &WIRE).named(&self.named, &TOPIC).fate(Fate::Answered(code));
        draft.int_at(PARTITION, part.index.into()).int_at(BYTES, part.bytes);
        if let Some(records) = part.records {
            draft.int_at(RECORDS, records);
        }
        if let Some(transaction) = transaction {
            draft.text_at(TRANSACTION, transaction);
        }
        draft.finish();
    }
}
