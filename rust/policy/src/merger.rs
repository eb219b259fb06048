//! The rows that wait for more: a bounded table, emptied at every cut.
//!
//! Two kinds wait. A *range* is Reads or Writes of one session on one partition at one tap, whose offsets follow each other;
//! any other event of the session there closes it. A *rest* is all that came after the first of its kind in a window.
//!
//! What must always hold: which rows close when is a function of the events since the table was empty, and of nothing else
//! (the least recently used closes first where there is no room); an event is in one row.

use std::sync::Arc;

use auditring_event::record::FIRST_TOUCH;
use auditring_event::row::{HEAD, RowView};
use auditring_event::{Category, code_of, spec};
use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub use crate::merge::Event;
use crate::merge::{Waiting, has_range};
use crate::table::{Shape, shape};
use crate::whose::Whose;

/// Rows that wait at most.
const MOST: usize = 1 << 16;
/// Bytes of them at most.
const MOST_BYTES: usize = 32 << 20;
/// More room than this is not kept for the next row in a place.
const ROOM: usize = 4096;
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

/// A place in the table.
#[derive(Debug, Default)]
struct Slot {
    hash: u64,
    window_ns: i64,
    /// What makes the kind; empty of a range.
    kind: Vec<u8>,
    waiting: Waiting,
    /// Of a range: its partition, and where in the row its topic lies.
    partition: i64,
    topic: (usize, usize),
    used: bool,
    /// It is among its session's.
    ranked: bool,
    newer: u32,
    older: u32,
    /// The others of the session.
    next: u32,
    before: u32,
}

impl Slot {
    fn topic(&self) -> &[u8] {
        self.waiting.row.get(self.topic.0..self.topic.1).unwrap_or_default()
    }

    fn session(&self) -> Option<u64> {
        self.waiting.whose.as_ref().map(|whose| whose.session)
    }
}

/// Where an event happened.
struct Place<'a> {
    hash: u64,
    topic: &'a [u8],
    partition: i64,
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

#[inline]
fn own_tap<'a>(row: &RowView<'a>, whose: Option<&'a Arc<Whose>>) -> Option<&'a str> {
    Shape::own_tap(row).or_else(|| whose.and_then(|whose| whose.context.tap.as_deref()))
}

#[inline]
fn place<'a>(event: &Event<'a>, shape: &Shape) -> Option<Place<'a>> {
    let partition = shape.partition(event.row)?;
    let topic = shape.has_resource(event.row)?;
    // The tap is not in the hash: rows of two taps are few, and found by looking.
    let session = event.whose.map_or(0, |whose| whose.session);
    let seed = session ^ (partition as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Some(Place { hash: xxh3_64_with_seed(topic, seed), topic, partition })
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

    /// The range that is open where an event happened.
    #[inline]
    fn find(&self, place: &Place<'_>, event: &Event<'_>) -> Option<u32> {
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
    fn open(&mut self, event: &Event<'_>, window_ns: i64, hash: u64, kind: &[u8]) {
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
    fn wait(&mut self, event: &Event<'_>, shape: &Shape) {
        let slot = &mut self.slots[self.newest as usize];
        slot.waiting.begin(event, shape);
        self.bytes += event.bytes.len();
    }

    /// The newest is among its session's.
    fn join_session(&mut self) {
        let at = self.newest;
        let Some(session) = self.slots[at as usize].session() else { return };
        let slots = &self.slots;
        let head = self.sessions.find(session, |head| slots[*head as usize].session() == Some(session)).copied();
        if let Some(head) = head {
            // Behind the first, so that the table need not change.
            let next = std::mem::replace(&mut self.slots[head as usize].next, at);
            if next != NONE {
                self.slots[next as usize].before = at;
            }
            (self.slots[at as usize].before, self.slots[at as usize].next) = (head, next);
        } else {
            (self.slots[at as usize].before, self.slots[at as usize].next) = (NONE, NONE);
            let slots = &self.slots;
            self.sessions.insert_unique(session, at, |at| slots[*at as usize].session().unwrap_or_default());
        }
        self.slots[at as usize].ranked = true;
    }

    fn leave_session(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if !std::mem::take(&mut slot.ranked) {
            return;
        }
        let (before, next, session) = (slot.before, slot.next, slot.session().unwrap_or_default());
        if next != NONE {
            self.slots[next as usize].before = before;
        }
        if before != NONE {
            self.slots[before as usize].next = next;
        } else if let Ok(mut head) = self.sessions.find_entry(session, |head| *head == at) {
            if next == NONE {
                head.remove();
            } else {
                *head.get_mut() = next;
            }
        }
    }

    /// A session, or one of its connections, has ended.
    #[cold]
    fn close_session(&mut self, event: &Event<'_>, connection: bool) {
        let Some(whose) = event.whose else { return };
        let slots = &self.slots;
        let head = self.sessions.find(whose.session, |head| slots[*head as usize].session() == Some(whose.session));
        let (mut at, mut those) = (head.copied().unwrap_or(NONE), Vec::new());
        while at != NONE {
            let slot = &self.slots[at as usize];
            let is =
                |mine: &Arc<Whose>| if connection { mine.is_connection_of(whose) } else { mine.is_session_of(whose) };
            if slot.waiting.whose.as_ref().is_some_and(is) {
                those.push((slot.waiting.seq, at));
            }
            at = slot.next;
        }
        those.sort_unstable();
        for (_, at) in those {
            self.close(at);
        }
    }

    fn close(&mut self, at: u32) {
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

    /// A row has grown: it is the last to close for want of room.
    #[inline]
    fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.push_newest(at);
        }
    }

    fn push_newest(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        (self.slots[at as usize].older, self.slots[at as usize].newer) = (before, NONE);
        if before == NONE {
            self.oldest = at;
        } else {
            self.slots[before as usize].newer = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let (newer, older) = (self.slots[at as usize].newer, self.slots[at as usize].older);
        if newer == NONE {
            self.newest = older;
        } else {
            self.slots[newer as usize].older = older;
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            self.slots[older as usize].newer = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use auditring_event::record::{Encoder, RecordView};
    use auditring_event::row::from_record;
    use auditring_event::{Context, by_name};

    use super::*;

    /// A Read of a session's partition.
    fn row(partition: i64, offset: i64) -> Vec<u8> {
        let mut read = Encoder::new(by_name("Read").unwrap());
        read.text("topic", "orders").int("partition", partition).int("first_offset", offset);
        let record = read.int("last_offset", offset).int("records", 1).to_vec();
        let mut bytes = Vec::new();
        from_record(&RecordView::parse(&record).unwrap(), 0, offset, offset, 0, &mut bytes);
        bytes
    }

    fn whose() -> Arc<Whose> {
        let context = Context { session: Some("s".into()), ..Context::default() };
        Arc::new(Whose::new(Arc::new(context), b"s"))
    }

    /// What closes: seq and count.
    fn fed(merger: &mut Merger, events: &[(i64, i64)]) -> Vec<(i64, u32)> {
        let (mut closed, whose) = (Vec::new(), whose());
        for (seq, (partition, offset)) in events.iter().enumerate() {
            let bytes = row(*partition, *offset);
            let view = RowView::parse(&bytes).unwrap();
            let event = Event { row: &view, bytes: &bytes, seq: seq as i64, whose: Some(&whose), shown: true };
            assert!(merger.coalesce(&event, 1));
            merger.take(|one, _| closed.push((one.seq, one.count)));
            assert!(merger.len() <= merger.most);
        }
        merger.close_all();
        merger.take(|one, _| closed.push((one.seq, one.count)));
        closed
    }

    #[test]
    fn where_there_is_no_room_the_least_recently_used_closes() {
        // The third partition pushes out the second, which was not touched since.
        let events = [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)];
        assert_eq!(fed(&mut Merger::new(2), &events), [(1, 1), (3, 1), (0, 3), (5, 1)]);
        assert_eq!(fed(&mut Merger::new(3), &events), [(0, 3), (1, 2), (3, 1)]);
    }

    /// A later version's, or a forgery's.
    #[test]
    fn a_row_of_a_code_beyond_all_that_are_known_is_merged_with_nothing() {
        let (mut merger, whose) = (Merger::default(), whose());
        let bytes = row(0, 0);
        let view = RowView::parse(&bytes).unwrap();
        assert!(merger.coalesce(&Event { row: &view, bytes: &bytes, seq: 0, whose: Some(&whose), shown: true }, 1));
        for code in [auditring_event::CODES as u16, u16::MAX] {
            let mut strange = bytes.clone();
            strange[8..10].copy_from_slice(&code.to_le_bytes());
            let view = RowView::parse(&strange).unwrap();
            let event = Event { row: &view, bytes: &strange, seq: 1, whose: Some(&whose), shown: true };
            merger.interrupt(&event);
            assert!(!merger.coalesce(&event, 1));
            assert!(!merger.first(&event, 1, b"a kind") || code == u16::MAX);
        }
        merger.close_all();
        let mut counts = Vec::new();
        merger.take(|one, _| counts.push((one.seq, one.count)));
        assert_eq!(counts[0], (0, 1), "it is not in the Read's row");
    }

    #[test]
    fn what_comes_after_the_first_of_its_kind_is_bounded_in_bytes_too() {
        let (mut merger, whose) = (Merger::default(), whose());
        let mut bytes = Vec::new();
        let mut plugin = Encoder::new(by_name("Read").unwrap());
        let record =
            plugin.text("topic", "orders").context_text(format!(r#"{{"x":"{}"}}"#, "x".repeat(8 << 10))).to_vec();
        from_record(&RecordView::parse(&record).unwrap(), 0, 0, 0, 0, &mut bytes);
        let view = RowView::parse(&bytes).unwrap();
        let (mut rows, mut events) = (0, 0);
        for round in 0..3 {
            for kind in 0..6000_u32 {
                let seq = i64::from(round * 6000 + kind);
                let event = Event { row: &view, bytes: &bytes, seq, whose: Some(&whose), shown: true };
                rows += usize::from(!merger.first(&event, 1, &kind.to_le_bytes()));
                merger.take(|one, _| events += one.count);
                assert!(merger.bytes <= MOST_BYTES, "{} bytes wait", merger.bytes);
            }
        }
        merger.close_all();
        merger.take(|one, _| events += one.count);
        assert_eq!((rows + events as usize, merger.bytes), (18_000, 0));
    }

    #[test]
    fn the_others_of_a_kind_are_shown_to_whoever_wants_to_see_one_of_them() {
        let (mut merger, whose, bytes) = (Merger::default(), whose(), row(0, 0));
        let view = RowView::parse(&bytes).unwrap();
        for (seq, shown) in [(0, false), (1, false), (2, true), (3, false)] {
            let event = Event { row: &view, bytes: &bytes, seq, whose: Some(&whose), shown };
            assert_eq!(merger.first(&event, 1, b"kind"), seq > 0);
        }
        merger.close_all();
        let mut closed = Vec::new();
        merger.take(|one, _| closed.push((one.seq, one.count, one.shown)));
        assert_eq!(closed, [(1, 3, true)]);
    }

    #[test]
    fn what_was_before_the_table_was_empty_makes_no_difference() {
        let mut used = Merger::new(50);
        let events: Vec<_> = (0..5000).map(|n: i64| (n * n % 83, n / 10)).collect();
        let fresh = fed(&mut Merger::new(50), &events);
        for _ in 0..3 {
            assert_eq!(fed(&mut used, &events), fresh);
            assert!(used.is_empty() && used.bytes == 0 && used.sessions.is_empty());
            assert_eq!((used.newest, used.oldest, used.free.len()), (NONE, NONE, used.slots.len()));
        }
        assert_eq!(fresh.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(), 5000);
    }
}
