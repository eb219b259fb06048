//! Lanes on the heap, for the model checker: the core as it is, without file and mapping.

use core::time::Duration;

pub(crate) mod atomic;

use self::atomic::{AtomicU32, AtomicU64};
use crate::lane::{Lane, Parts};
use crate::reader::Reader;
use crate::sleep::{Bell, sleep};
use crate::sync::Words;
use crate::word::Position;

/// The memory of a lane.
struct Memory {
    tail: AtomicU64,
    head: AtomicU64,
    sleeping: AtomicU32,
    words: Box<[AtomicU64]>,
}

/// Lanes and the bell that they share.
pub struct Heap {
    parts: Box<[Parts]>,
    // What the parts point to.
    _memory: Box<[Memory]>,
    bell: Box<Bell>,
}

impl Heap {
    /// A lane of `words` words (a power of two) whose counting begins at `start`.
    pub fn new(words: u32, reserve: u32, max_payload: u32, start: Position) -> Self {
        Self::with_lanes(1, words, reserve, max_payload, start)
    }

    /// Several of them.
    pub fn with_lanes(lanes: u32, words: u32, reserve: u32, max_payload: u32, start: Position) -> Self {
        let bell = Box::new(Bell { rung: AtomicU32::new(0), gate: crate::futex::Gate::new() });
        let memory = |_| Memory {
            tail: AtomicU64::new(start.word()),
            head: AtomicU64::new(start.word()),
            sleeping: AtomicU32::new(0),
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        };
        let memory: Box<[_]> = (0..lanes).map(memory).collect();
        let parts = |memory: &Memory| Parts {
            tail: &raw const memory.tail,
            head: &raw const memory.head,
            sleeping: &raw const memory.sleeping,
            bell: &raw const *bell,
            // SAFETY: the box has so many words, and lives as long as the parts.
            words: unsafe { Words::new(memory.words.as_ptr(), words) },
            room: [words, words - reserve],
            crowd: words / 8,
            max_payload,
        };
        Self { parts: memory.iter().map(parts).collect(), _memory: memory, bell }
    }

    /// The producers' side of the first lane.
    pub fn lane(&self) -> Lane<'_> {
        self.lane_at(0)
    }

    /// The producers' side of a lane.
    pub fn lane_at(&self, lane: u32) -> Lane<'_> {
        Lane::new(&self.parts[lane as usize])
    }

    /// The consumer's side; the caller makes only one.
    pub fn consumer(&self, start: Position) -> Consumer<'_> {
        let readers = self.parts.iter().map(|_| Reader::new(start)).collect();
        Consumer { parts: &self.parts, bell: &self.bell, readers, seen: 0 }
    }

    /// No further claim in the first lane.
    pub fn close(&self) {
        self.parts[0].close();
    }
}

/// The consumer's side of a [`Heap`].
pub struct Consumer<'a> {
    parts: &'a [Parts],
    bell: &'a Bell,
    readers: Box<[Reader]>,
    seen: u32,
}

impl Consumer<'_> {
    /// As in the real consumer.
    pub fn poll(&mut self, lane: u32) -> bool {
        self.readers[lane as usize].poll(&self.parts[lane as usize])
    }

    /// The words of the next committed record. Loom complains if any of them is being written at that time.
    pub fn next(&mut self, lane: u32) -> Option<Vec<u64>> {
        let parts = &self.parts[lane as usize];
        let record = self.readers[lane as usize].next(parts)?;
        let words = (record.len as u32).div_ceil(8);
        // SAFETY: loom's check that no store races with this load is what we are after.
        Some((0..words).map(|i| unsafe { parts.word(record.payload.wrapping_add(i)).unsync_load() }).collect())
    }

    /// As in the real consumer.
    pub fn release(&mut self, lane: u32) {
        self.readers[lane as usize].release(&self.parts[lane as usize]);
    }

    /// As in the real consumer.
    pub fn drained(&self) -> bool {
        self.parts.iter().zip(&self.readers).all(|(parts, reader)| reader.drained(parts))
    }

    /// As in the real consumer, but never ending by time.
    pub fn sleep(&mut self) {
        sleep(self.parts, &self.readers, self.bell, &mut self.seen, Duration::MAX);
    }
}
