//! The library's own events on their way to the pump: they never go through the ring.
//!
//! What must always hold: bounded. Past the bound the newest are refused, which their poster counts: whoever floods here
//! is the library itself, reporting the same trouble over and over. What the pump is writing nobody takes back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

const BOUND: usize = 1024;

/// What becomes of an event that its poster takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// It will never be written.
    Yes,
    /// The pump is writing it: that may succeed or fail.
    UnderWay,
    /// It is written.
    TooLate,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with the number of its posting; those of one posting lie together.
    records: VecDeque<(u64, Vec<u8>)>,
    next: u64,
    /// So many in front are in the batch that is being written.
    under_way: usize,
}

/// A queue of encoded records (their stamps are set by the pump).
#[derive(Debug, Default)]
pub struct Mailbox {
    queue: Mutex<Queue>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a record; `false` when there is no room for it.
    pub fn post(&self, record: Vec<u8>) -> bool {
        self.post_all(vec![record]).is_some()
    }

    /// Hands over records that are written together or not at all; none when there is no room for them, else the number by
    /// which they can be withdrawn.
    pub fn post_all(&self, records: Vec<Vec<u8>>) -> Option<u64> {
        let mut queue = self.lock();
        if queue.records.len() + records.len() > BOUND {
            return None;
        }
        let number = queue.next;
        queue.next += 1;
        queue.records.extend(records.into_iter().map(|record| (number, record)));
        Some(number)
    }

    /// Takes back what was posted under a number, unless the pump has it.
    pub fn withdraw(&self, number: u64) -> Withdrawn {
        let mut queue = self.lock();
        match queue.records.iter().position(|(posted, _)| *posted == number) {
            None => Withdrawn::TooLate,
            Some(at) if at < queue.under_way => Withdrawn::UnderWay,
            Some(_) => {
                queue.records.retain(|(posted, _)| *posted != number);
                Withdrawn::Yes
            }
        }
    }

    /// Whether what was posted under a number waits no more: it is written, if nobody took it back.
    #[must_use]
    pub fn is_written(&self, number: u64) -> bool {
        let queue = self.lock();
        number < queue.next && queue.records.iter().all(|(posted, _)| *posted != number)
    }

    /// The records in front, to be written now, each with the number of its posting. They stay until they are
    /// [`Mailbox::taken`] or [`Mailbox::left`].
    #[must_use]
    pub fn peek(&self) -> Vec<(u64, Vec<u8>)> {
        let mut queue = self.lock();
        queue.under_way = queue.records.len();
        queue.records.iter().cloned().collect()
    }

    /// The first `count` records are written.
    pub fn taken(&self, count: usize) {
        let mut queue = self.lock();
        let count = count.min(queue.records.len());
        queue.records.drain(..count);
        queue.under_way = 0;
    }

    /// Nothing was written: what was peeked at waits again.
    pub fn left(&self) {
        self.lock().under_way = 0;
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        assert_eq!(mailbox.peek(), [(2, vec![3])]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mailbox = Mailbox::default();
        assert_eq!((0..2 * BOUND).filter(|_| mailbox.post(Vec::new())).count(), BOUND);
    }

    #[test]
    fn what_is_posted_together_is_withdrawn_together_and_not_while_it_is_written() {
        let mailbox = Mailbox::default();
        let first = mailbox.post_all(vec![vec![1], vec![2]]).unwrap();
        assert_eq!(mailbox.peek(), [(0, vec![1]), (0, vec![2])]);
        let second = mailbox.post_all(vec![vec![3], vec![4]]).unwrap();
        assert_eq!((mailbox.withdraw(first), mailbox.withdraw(second)), (Withdrawn::UnderWay, Withdrawn::Yes));
        assert_eq!(mailbox.len(), 2);
        mailbox.left();
        assert_eq!((mailbox.withdraw(first), mailbox.withdraw(second)), (Withdrawn::Yes, Withdrawn::TooLate));
        assert!(mailbox.is_empty());
        let third = mailbox.post_all(vec![vec![5]]).unwrap();
        mailbox.taken(mailbox.peek().len());
        assert_eq!(mailbox.withdraw(third), Withdrawn::TooLate);
    }

    #[test]
    fn what_waits_or_was_never_posted_is_not_written() {
        let mailbox = Mailbox::default();
        assert!(!mailbox.is_written(0));
        let number = mailbox.post_all(vec![vec![1]]).unwrap();
        let seen = mailbox.peek();
        assert!(!mailbox.is_written(number));
        mailbox.taken(seen.len());
        assert!(mailbox.is_written(number));
    }
}
