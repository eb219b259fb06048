//! The rows that wait for more: a bounded table, emptied at every cut.
//!
//! Two kinds wait. A *range* is Reads or Writes of one session on one partition at one tap, whose offsets follow each other;
//! any other event of the session there closes it. A *rest* is all that came after the first of its kind in a window.
//!
//! What must always hold: which rows close when is a function of the events since the table was empty, and of nothing else
//! (the least recently used closes first where there is no room); an event is in one row.

mod links;
mod slots;

use std::sync::Arc;

use auditring_event::record::FIRST_TOUCH;
use auditring_event::row::HEAD;
use auditring_event::{Category, code_of, spec};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use self::slots::{Slot, place};
pub use crate::merge::Event;
use crate::merge::has_range;
use crate::table::{Shape, shape};
use crate::whose::Whose;

/// Rows that wait at most.
const MOST: usize = 1 << 16;
/// Bytes of them at most.
const MOST_BYTES: usize = 32 << 20;
const NONE: u32 = u32::MAX;

const CLIENT_CLOSE: u16 = code_of("ClientClose");
const BROKER_CLOSE: u16 = code_of("BrokerClose");

/// A row that has closed.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Number of the first event in it.
    pub seq: i64,
    /// How many events.
    pub count: u32,
    /// Whose it is.
    pub whose: Option<Arc<Whose>>,
    /// Whether whoever reads wants to see it.
    pub shown: bool,
    end: usize,
}

/// The table.
#[derive(Debug)]
pub struct Merger {
    slots: Vec<Slot>,
    free: Vec<u32>,
    places: HashTable<u32>,
    /// The first of each session's ranges.
    sessions: HashTable<u32>,
    newest: u32,
    oldest: u32,
    bytes: usize,
    most: usize,
    closed: Vec<Closed>,
    data: Vec<u8>,
}

impl Default for Merger {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Merger {
    /// A table of so many rows.
    fn new(most: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            places: HashTable::new(),
            sessions: HashTable::new(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            most,
            closed: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Rows that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether rows have closed since they were last taken.
    #[inline]
    #[must_use]
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Hands out the rows that have closed, in the order in which they have.
    pub fn take(&mut self, mut each: impl FnMut(Closed, &[u8])) {
        let mut begin = 0;
        for closed in self.closed.drain(..) {
            let end = closed.end;
            each(closed, &self.data[begin..end]);
            begin = end;
        }
        self.data.clear();
    }

    /// A Read or Write that the policy coalesces; whether it is in a row now. Else it is one by itself.
    #[inline]
    pub fn coalesce(&mut self, event: &Event<'_>, window_ns: i64) -> bool {
        let shape = shape(event.row.code());
        let Some(place) = place(event, shape) else { return false };
        let fits = has_range(event.row, shape, place.topic);
        // What joins says the same of session, topic, partition and tap, so mostly the place itself need not be compared.
        let slots = &self.slots;
        let likely = self.places.find(place.hash, |at| {
            let slot = &slots[*at as usize];
            slot.hash == place.hash && slot.kind.is_empty()
        });
        let likely = likely.copied();
        if likely.is_some_and(|at| fits && self.join(at, event, shape, window_ns)) {
            return true;
        }
        if likely.is_some()
            && let Some(at) = self.find(&place, event)
        {
            if fits && Some(at) != likely && self.join(at, event, shape, window_ns) {
                return true;
            }
            self.close(at);
        }
        if fits {
            self.open(event, window_ns, place.hash, &[]);
            let slot = &mut self.slots[self.newest as usize];
            slot.partition = place.partition;
            // It is the first of the row's strings.
            let begin = HEAD + 8 * event.row.fields().ints().count_ones() as usize + 2;
            slot.topic = (begin, begin + place.topic.len());
            self.wait(event, shape);
            self.join_session();
        }
        fits
    }

    /// Makes an event part of a range, if it goes on there.
    #[inline]
    fn join(&mut self, at: u32, event: &Event<'_>, shape: &Shape, window_ns: i64) -> bool {
        let slot = &mut self.slots[at as usize];
        let joins = slot.window_ns == window_ns && slot.waiting.join(event, shape);
        if joins {
            self.touch(at);
        }
        joins
    }

    /// An event of which the policy keeps the first of its kind; whether it is in the row of the others now.
    pub fn first(&mut self, event: &Event<'_>, window_ns: i64, kind: &[u8]) -> bool {
        let code = event.row.code();
        if spec(code).is_some_and(|spec| matches!(spec.category, Category::Audit | Category::Lifecycle)) {
            // What the log says of itself is counted by reading it.
            return false;
        }
        let hash = xxh3_64(kind);
        let slots = &self.slots;
        let Some(&at) = self.places.find(hash, |at| slots[*at as usize].kind == kind) else {
            self.open(event, window_ns, hash, kind);
            return false;
        };
        self.touch(at);
        if event.row.flags() & FIRST_TOUCH != 0 {
            return false;
        }
        let shape = shape(code);
        match &mut self.slots[at as usize].waiting {
            waiting if waiting.count > 0 => waiting.absorb(event, shape),
            _ => {
                // It is the newest now, so the last that would have to go.
                while self.oldest != at && self.bytes + event.bytes.len() > MOST_BYTES {
                    self.close(self.oldest);
                }
                self.wait(event, shape);
            }
        }
        true
    }

    /// An event that is a row by itself: it closes what it must not be merged across.
    #[inline]
    pub fn interrupt(&mut self, event: &Event<'_>) {
        if self.places.is_empty() {
            return;
        }
        let code = event.row.code();
        if code == CLIENT_CLOSE || code == BROKER_CLOSE {
            self.close_session(event, code == BROKER_CLOSE);
        } else if let Some(place) = place(event, shape(code))
            && let Some(at) = self.find(&place, event)
        {
            self.close(at);
        }
    }

    /// Closes the rows of one window.
    pub(crate) fn close_window(&mut self, window_ns: i64) {
        self.close_those(|slot| slot.window_ns == window_ns);
    }

    /// Closes all rows.
    pub(crate) fn close_all(&mut self) {
        self.close_those(|_| true);
    }

    fn close_those(&mut self, which: impl Fn(&Slot) -> bool) {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.used && which(slot));
        let mut those: Vec<_> = used.map(|(at, slot)| (slot.waiting.seq, at as u32)).collect();
        those.sort_unstable();
        for (_, at) in those {
            self.close(at);
        }
    }
}

#[cfg(test)]
mod tests;
