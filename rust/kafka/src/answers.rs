//! What an answer says of each resource that its request named, in whatever order.
//!
//! What must always hold: what an answer leaves out, or where it breaks off, is `Unanswered`; what it had said before
//! stands.

use std::collections::HashMap;
use std::hash::Hash;

use crate::cursor::{Cursor, Step};
use crate::exchange::Fate;

/// The codes by resource, with what else was said of each.
pub(crate) struct Answers<K, V = ()> {
    by_key: HashMap<K, (i16, V)>,
    /// An error of the whole request.
    all: i16,
    /// Whether all of it could be read.
    whole: Step<()>,
}

impl<K: Eq + Hash, V> Answers<K, V> {
    /// Reads the answer, where there is one.
    pub(crate) fn read<'a>(
        answer: Option<Cursor<'a>>,
        read: impl FnOnce(&mut Self, &mut Cursor<'a>) -> Step<()>,
    ) -> Self {
        let mut answers = Self { by_key: HashMap::new(), all: 0, whole: Ok(()) };
        if let Some(mut answer) = answer {
            answers.whole = read(&mut answers, &mut answer);
        }
        answers
    }

    /// What the answer says of a resource; of one that it names twice the first is what counts.
    pub(crate) fn say(&mut self, key: K, code: i16, more: V) {
        self.by_key.entry(key).or_insert((code, more));
    }

    /// What it says of all at once; 0 is nothing.
    pub(crate) fn say_of_all(&mut self, code: i16) {
        self.all = code;
    }

    /// What became of a resource.
    pub(crate) fn fate(&self, key: &K) -> Fate {
        match self.by_key.get(key) {
            Some((code, _)) if *code != 0 || self.all == 0 => Fate::Answered(*code),
            None if self.all == 0 => Fate::Unanswered,
            _ => Fate::Answered(self.all),
        }
    }

    /// What else it said of a resource, where that was done.
    pub(crate) fn done(&self, key: &K) -> Option<&V> {
        self.said(key).filter(|_| self.fate(key) == Fate::Answered(0))
    }

    /// What else it said of a resource, whether done or not.
    pub(crate) fn said(&self, key: &K) -> Option<&V> {
        self.by_key.get(key).map(|(_, more)| more)
    }

    /// Whether all of the answer could be read.
    pub(crate) fn whole(&self) -> Step<()> {
        self.whole
    }
}
