//! Names of topics by id, as Metadata shows them.
//!
//! What must always hold: it never holds more than its limit, and a name that it gives was said by the broker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cursor::TopicId;

/// Shared by all taps that see the same names.
#[derive(Debug)]
pub struct Topics {
    names: Mutex<HashMap<TopicId, Arc<[u8]>>>,
    limit: usize,
    /// Raised when a name is learnt: who knows a name need not look again until then.
    edition: AtomicU64,
}

impl Topics {
    /// Room for so many topics; what comes when it is full is not learnt.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { names: Mutex::default(), limit, edition: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicId, Arc<[u8]>>> {
        // A map is whole between any two of its operations.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a topic, as bytes off the wire.
    #[must_use]
    pub fn name(&self, id: &[u8; 16]) -> Option<Arc<[u8]>> {
        self.lock().get(id).cloned()
    }

    /// Names are as they were for as long as this stays the same. To be asked before a name is.
    pub(crate) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Shows the name of a topic; the id, as Kafka writes it, where no answer has told the name.
    pub(crate) fn spoken<R>(&self, id: &TopicId, look: impl FnOnce(&[u8]) -> R) -> R {
        match self.name(id) {
            Some(name) => look(&name),
            None => look(&id_text(id)),
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The broker has said what a topic is called.
    pub(crate) fn learn(&self, id: &TopicId, name: &[u8]) {
        if *id == [0; 16] {
            return;
        }
        let mut names = self.lock();
        let room = names.len() < self.limit;
        match names.get_mut(id) {
            Some(known) if **known == *name => return,
            Some(known) => *known = name.into(),
            None if room => drop(names.insert(*id, name.into())),
            None => return,
        }
        self.edition.fetch_add(1, Ordering::Release);
    }
}

/// A topic's id as Kafka writes it: Base64 for URLs, without padding.
pub(crate) fn id_text(id: &TopicId) -> [u8; 22] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = u128::from_be_bytes(*id);
    std::array::from_fn(|at| {
        // 21 digits of six bits from the front, and the last two bits in front of four zeros.
        let bits = if at == 21 { (number << 4) & 0x3F } else { number >> (122 - 6 * at) & 0x3F };
        DIGITS[bits as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_kafka_writes_it() {
        // `Uuid.fromString("l3CiTqWqQUqmX7iW0D9AcQ")` of Apache Kafka, and its two reserved ids.
        let id = [0x97, 0x70, 0xa2, 0x4e, 0xa5, 0xaa, 0x41, 0x4a, 0xa6, 0x5f, 0xb8, 0x96, 0xd0, 0x3f, 0x40, 0x71];
        assert_eq!(*b"l3CiTqWqQUqmX7iW0D9AcQ", id_text(&id));
        assert_eq!(*b"AAAAAAAAAAAAAAAAAAAAAA", id_text(&[0; 16]));
        assert_eq!(*b"AAAAAAAAAAAAAAAAAAAAAQ", id_text(&std::array::from_fn(|at| u8::from(at == 15))));
    }

    #[test]
    fn no_more_is_learnt_than_there_is_room_for() {
        let topics = Topics::new(2);
        for at in 1..=3 {
            topics.learn(&[at; 16], b"name");
        }
        topics.learn(&[1; 16], b"renamed");
        topics.learn(&[0; 16], b"no topic");
        assert_eq!(2, topics.len());
        assert_eq!(Some(&b"renamed"[..]), topics.name(&[1; 16]).as_deref());
        assert_eq!(None, topics.name(&[3; 16]));
    }
}
