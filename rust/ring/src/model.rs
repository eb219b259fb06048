//! One lane on the heap, for the model checker: the core as it is, without file and mapping.

use core::time::Duration;

pub(crate) mod atomic;

use self::atomic::{AtomicU32, AtomicU64};
use crate::lane::{Lane, Parts};
use crate::reader::Reader;
use crate::sleep::{Bell, sleep};
use crate::sync::Words;
use crate::word::Position;

/// The memory of a lane.
pub struct Heap {
    parts: Box<[Parts; 1]>,
    // What the parts point to.
    _memory: Box<(AtomicU64, AtomicU64, AtomicU32, Bell)>,
    _words: Box<[AtomicU64]>,
}

impl Heap {
    /// A lane of `words` words (a power of two) whose counting begins at `start`.
    pub fn new(words: u32, reserve: u32, max_payload: u32, start: Position) -> Self {
        let bell = Bell { rung: AtomicU32::new(0), gate: crate::futex::Gate::new() };
        let memory = Box::new((AtomicU64::new(start.word()), AtomicU64::new(start.word()), AtomicU32::new(0), bell));
        let data: Box<[AtomicU64]> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let parts = Box::new([Parts {
            tail: &raw const memory.0,
            head: &raw const memory.1,
            sleeping: &raw const memory.2,
            bell: &raw const memory.3,
            // SAFETY: the box has so many words, and lives as long as the parts.
            words: unsafe { Words::new(data.as_ptr(), words) },
            room: [words, words - reserve],
            crowd: words / 8,
            max_payload,
        }]);
        Self { parts, _memory: memory, _words: data }
    }

    /// The producers' side.
    pub fn lane(&self) -> Lane<'_> {
        Lane::new(&self.parts[0])
    }

    /// The consumer's side; the caller makes only one.
    pub fn consumer(&self, start: Position) -> Consumer<'_> {
        Consumer { parts: &self.parts, readers: [Reader::new(start)], seen: 0 }
    }

    /// No further claim.
    pub fn close(&self) {
        self.parts[0].close();
    }
}

/// The consumer's side of a [`Heap`].
pub struct Consumer<'a> {
    parts: &'a [Parts; 1],
    readers: [Reader; 1],
    seen: u32,
}

impl Consumer<'_> {
    /// As in the real consumer.
    pub fn poll(&mut self) -> bool {
        self.readers[0].poll(&self.parts[0])
    }

    /// The words of the next committed record. Loom complains if any of them is being written at that time.
    pub fn next(&mut self) -> Option<Vec<u64>> {
        let parts = &self.parts[0];
        let record = self.readers[0].next(parts)?;
        let words = (record.len as u32).div_ceil(8);
        // SAFETY: loom's check that no store races with this load is what we are after.
        Some((0..words).map(|i| unsafe { parts.word(record.payload.wrapping_add(i)).unsync_load() }).collect())
    }

    /// As in the real consumer.
    pub fn release(&mut self) {
        self.readers[0].release(&self.parts[0]);
    }

    /// As in the real consumer.
    pub fn drained(&self) -> bool {
        self.readers[0].drained(&self.parts[0])
    }

    /// As in the real consumer, but never ending by time.
    pub fn sleep(&mut self) {
        sleep(self.parts, &self.readers, self.parts[0].bell(), &mut self.seen, Duration::MAX);
    }
}
