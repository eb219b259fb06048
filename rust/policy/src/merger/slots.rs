//! The places of the table: where an event happened, and the row that waits there.
//!
//! What must always hold: the bytes that are counted are those of the rows and kinds that wait; a place that is free keeps
//! little room, and is in no list.

use std::sync::Arc;

use auditring_event::row::RowView;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Closed, MOST_BYTES, Merger, NONE};
use crate::merge::{Event, Waiting};
use crate::table::{Shape, shape};
use crate::whose::Whose;

/// More room than this is not kept for the next row in a place.
const ROOM: usize = 4096;

/// A place in the table.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) hash: u64,
    pub(super) window_ns: i64,
    /// What makes the kind; empty of a range.
    pub(super) kind: Vec<u8>,
    pub(super) waiting: Waiting,
    /// Of a range: its partition, and where in the row its topic lies.
    pub(super) partition: i64,
    pub(super) topic: (usize, usize),
    pub(super) used: bool,
    /// It is among its session's.
    pub(super) ranked: bool,
    pub(super) newer: u32,
    pub(super) older: u32,
    /// The others of the session.
    pub(super) next: u32,
    pub(super) before: u32,
}

impl Slot {
    fn topic(&self) -> &[u8] {
        self.waiting.row.get(self.topic.0..self.topic.1).unwrap_or_default()
    }

    pub(super) fn session(&self) -> Option<u64> {
        self.waiting.whose.as_ref().map(|whose| whose.session)
    }
}

/// Where an event happened.
pub(super) struct Place<'a> {
    pub(super) hash: u64,
    pub(super) topic: &'a [u8],
    pub(super) partition: i64,
}

#[inline]
fn own_tap<'a>(row: &RowView<'a>, whose: Option<&'a Arc<Whose>>) -> Option<&'a str> {
    Shape::own_tap(row).or_else(|| whose.and_then(|whose| whose.context.tap.as_deref()))
}

#[inline]
pub(super) fn place<'a>(event: &Event<'a>, shape: &Shape) -> Option<Place<'a>> {
    let partition = shape.partition(event.row)?;
    let topic = shape.has_resource(event.row)?;
    // The tap is not in the hash: rows of two taps are few, and found by looking.
    let session = event.whose.map_or(0, |whose| whose.session);
    let seed = session ^ (partition as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Some(Place { hash: xxh3_64_with_seed(topic, seed), topic, partition })
}

impl Merger {
    /// The range that is open where an event happened.
    #[inline]
    pub(super) fn find(&self, place: &Place<'_>, event: &Event<'_>) -> Option<u32> {
        let is = |at: &u32| {
            let slot = &self.slots[*at as usize];
            let same = slot.kind.is_empty() && slot.partition == place.partition && slot.topic() == place.topic;
            same && match (&slot.waiting.whose, event.whose) {
                (Some(mine), Some(theirs)) => mine.is_session_of(theirs),
                (None, None) => true,
                _ => false,
            } && RowView::parse(&slot.waiting.row)
                .is_ok_and(|mine| own_tap(&mine, slot.waiting.whose.as_ref()) == own_tap(event.row, event.whose))
        };
        self.places.find(place.hash, is).copied()
    }

    /// Takes a place in the table, as the newest.
    pub(super) fn open(&mut self, event: &Event<'_>, window_ns: i64, hash: u64, kind: &[u8]) {
        let needed = kind.len() + event.bytes.len();
        while self.oldest != NONE && (self.places.len() >= self.most || self.bytes + needed > MOST_BYTES) {
            self.close(self.oldest);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[at as usize];
        slot.hash = hash;
        slot.window_ns = window_ns;
        slot.kind.extend_from_slice(kind);
        // Of a rest that never comes nothing is shown, so where it is sorted in does not matter.
        slot.waiting.seq = event.seq;
        slot.used = true;
        slot.ranked = false;
        self.bytes += kind.len();
        self.push_newest(at);
        let slots = &self.slots;
        self.places.insert_unique(hash, at, |at| slots[*at as usize].hash);
    }

    /// The newest begins to wait with an event.
    pub(super) fn wait(&mut self, event: &Event<'_>, shape: &Shape) {
        let slot = &mut self.slots[self.newest as usize];
        slot.waiting.begin(event, shape);
        self.bytes += event.bytes.len();
    }

    pub(super) fn close(&mut self, at: u32) {
        self.leave_session(at);
        self.unlink(at);
        if let Ok(found) = self.places.find_entry(self.slots[at as usize].hash, |one| *one == at) {
            found.remove();
        }
        let slot = &mut self.slots[at as usize];
        self.bytes -= slot.kind.len() + slot.waiting.row.len();
        let waiting = &mut slot.waiting;
        if waiting.count > 0 {
            let code = RowView::parse(&waiting.row).map_or(0, |view| view.code());
            waiting.finish(shape(code), slot.kind.is_empty(), &mut self.data);
            let (seq, count, shown) = (waiting.seq, waiting.count, waiting.shown);
            self.closed.push(Closed { seq, count, whose: waiting.whose.take(), shown, end: self.data.len() });
        }
        waiting.count = 0;
        waiting.row.clear();
        waiting.row.shrink_to(ROOM);
        slot.kind.clear();
        slot.kind.shrink_to(ROOM);
        slot.used = false;
        self.free.push(at);
    }
}
