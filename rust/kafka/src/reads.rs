//! What a client was given of one partition: a row for each contiguous range of the batches that an answer brings.
//!
//! What must always hold: every offset that a consumer can see in the answer is in a row. A range begins where its first
//! batch does and ends where its last one does, although a consumer may have asked for less than whole batches.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use auditring_event::{ActionSpec, Outcome, index_of, spec_at};

use crate::batches::Batch;
use crate::cursor::TopicId;
use crate::exchange::Fate;
use crate::facts::Facts;
use crate::frame::Room;
use crate::named::{Named, TopicPlaces};
use crate::rows::{Numbers, Texts};
use crate::topics::Topics;
use crate::wire::{Places, Wire};

const READ: &ActionSpec = spec_at(index_of(64));
const WIRE: Places = Places::of(READ);
const TOPIC: TopicPlaces = TopicPlaces { topic: READ.position("topic"), topic_id: READ.position("topic_id") };
const PARTITION: usize = READ.position("partition");
const FIRST: usize = READ.position("first_offset");
const LAST: usize = READ.position("last_offset");
const RECORDS: usize = READ.position("records");
const BYTES: usize = READ.position("bytes");
const GROUP: usize = READ.position("group_id");
const LOG_START: usize = READ.position("log_start_offset");

/// Partitions whose first Read is remembered. When they are more, first Reads are noted again.
const STARTS: usize = 16 * 1024;

/// Where events of an answer go to.
pub(crate) struct Out<'a> {
    pub(crate) wire: Wire<'a>,
    pub(crate) topics: &'a Topics,
    pub(crate) facts: &'a mut Facts,
}

impl Room for Out<'_> {
    #[inline]
    fn is_full(&self) -> bool {
        self.facts.is_full()
    }
}

/// Spreads numbers that lie side by side over all bits; odd, so that no two become one.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Takes a key for its own hash.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The partition in hand.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    topic: Named,
    /// What its rows share.
    texts: Texts,
    /// Stands for the topic among the first Reads.
    key: u64,
    partition: i32,
    /// Where its log begins, unless a Read has said so already.
    log_start: Option<i64>,
    /// The range that may still grow.
    range: Option<Batch>,
    /// The group that it is read for.
    group: Option<Vec<u8>>,
    starts: HashSet<u64, BuildHasherDefault<AsItIs>>,
    hasher: RandomState,
}

impl Reads {
    /// Begins an answer.
    pub(crate) fn begin(&mut self, group: Option<Vec<u8>>) {
        if self.group != group {
            self.group = group;
            self.texts.clear();
        }
        self.range = None;
    }

    /// The group that it is read for.
    pub(crate) fn group(&self) -> Option<&[u8]> {
        self.group.as_deref()
    }

    pub(crate) fn topic_name(&mut self, name: &[u8]) {
        if self.topic.by_name(name) {
            self.key = self.hasher.hash_one(name);
            self.texts.clear();
        }
    }

    pub(crate) fn topic_id(&mut self, id: &TopicId, topics: &Topics) {
        if self.topic.by_id(id, topics) {
            // By its name, if it has one, so that a name that is learnt later counts as another topic, which is noted again.
            self.key = self.hasher.hash_one(self.topic.name());
            self.texts.clear();
        }
    }

    /// Begins a partition.
    #[inline]
    pub(crate) fn partition(&mut self, index: i32, log_start: i64) {
        self.partition = index;
        self.log_start = (log_start >= 0).then_some(log_start);
        self.range = None;
    }

    /// The broker refused it. A refusal is no Read of records: the one behind it may still be the first.
    pub(crate) fn refused(&mut self, code: i16, out: &mut Out<'_>) {
        let mut draft = out.facts.draft(READ);
        draft.wire(&out.wire, &WIRE).named(&self.topic, &TOPIC).fate(Fate::Answered(code));
        draft.int_at(PARTITION, self.partition.into());
        if let Some(group) = &self.group {
            draft.text_at(GROUP, group);
        }
        draft.finish();
    }

    /// It brings a batch.
    #[inline]
    pub(crate) fn batch(&mut self, batch: Batch, out: &mut Out<'_>) {
        if let Some(range) = &mut self.range {
            let follows = range.last.and_then(|last| last.checked_add(1)) == batch.first;
            if follows && range.first.is_some() && batch.first.is_some() {
                range.last = batch.last;
                range.records = range.records.zip(batch.records).and_then(|(one, other)| one.checked_add(other));
                range.bytes += batch.bytes;
                return;
            }
            self.flush(out);
        }
        self.range = Some(batch);
    }

    /// It brings no more.
    #[inline]
    pub(crate) fn flush(&mut self, out: &mut Out<'_>) {
        if let Some(range) = self.range.take() {
            self.read(&range, out);
        }
    }

    #[inline]
    fn read(&mut self, range: &Batch, out: &mut Out<'_>) {
        if out.facts.off.reads {
            out.facts.data_off.reads = out.facts.data_off.reads.saturating_add(1);
            return;
        }
        let log_start = self.log_start.take().filter(|_| self.is_first());
        if self.texts.is_empty() {
            self.lay_texts(out);
        }
        let mut numbers = Numbers::default();
        numbers.put(PARTITION, self.partition.into());
        numbers.put_known(FIRST, range.first);
        numbers.put_known(LAST, range.last);
        numbers.put(WIRE.client, out.wire.client.into());
        numbers.put_known(WIRE.server, out.wire.server.map(Into::into));
        numbers.put_known(RECORDS, range.records);
        numbers.put(BYTES, range.bytes);
        numbers.put_known(WIRE.duration, out.wire.duration_ns);
        numbers.put_known(LOG_START, log_start);
        out.facts.row(READ, Outcome::Success, &numbers, &self.texts);
    }

    #[inline(never)]
    fn lay_texts(&mut self, out: &mut Out<'_>) {
        let mut draft = out.facts.draft(READ);
        draft.wire_texts(&out.wire, &WIRE).named(&self.topic, &TOPIC);
        if let Some(group) = &self.group {
            draft.text_at(GROUP, group);
        }
        draft.share(&mut self.texts);
    }

    /// Whether no Read of the partition in hand has been noted before.
    #[inline]
    fn is_first(&mut self) -> bool {
        // The topic's part of it is keyed, so nobody can choose what falls together.
        let key = (self.key ^ (self.partition as u64).wrapping_mul(SPREAD)).wrapping_mul(SPREAD).rotate_left(32);
        if self.starts.contains(&key) {
            return false;
        }
        if self.starts.len() == STARTS {
            self.starts.clear();
        }
        self.starts.insert(key)
    }
}
