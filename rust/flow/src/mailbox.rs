//! The library's own events on their way to the pump: they never go through the ring.
//!
//! What must always hold: bounded. Past the bound the newest are refused, which their poster counts: whoever floods here
//! is the library itself, reporting the same trouble over and over.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

const BOUND: usize = 1024;

/// A queue of encoded records (their stamps are set by the pump).
#[derive(Debug, Default)]
pub struct Mailbox {
    queue: Mutex<VecDeque<Vec<u8>>>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a record; `false` when there is no room for it.
    pub fn post(&self, record: Vec<u8>) -> bool {
        let mut queue = self.lock();
        let room = queue.len() < BOUND;
        if room {
            queue.push_back(record);
        }
        room
    }

    /// The records in front, without taking them: they are taken once they are journaled.
    #[must_use]
    pub fn peek(&self) -> Vec<Vec<u8>> {
        self.lock().iter().cloned().collect()
    }

    /// Takes the first `count` records away.
    pub fn taken(&self, count: usize) {
        let mut queue = self.lock();
        let count = count.min(queue.len());
        queue.drain(..count);
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_taken_and_what_came_meanwhile_stays() {
        let mailbox = Mailbox::default();
        assert!(mailbox.post(vec![1]) && mailbox.post(vec![2]));
        let seen = mailbox.peek();
        mailbox.post(vec![3]);
        mailbox.taken(seen.len());
        assert_eq!(mailbox.peek(), [vec![3]]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mailbox = Mailbox::default();
        assert_eq!((0..2 * BOUND).filter(|_| mailbox.post(Vec::new())).count(), BOUND);
    }
}
