//! Requests that wait for their answers, by the id under which the broker will give it.
//!
//! What must always hold: it is bounded, in requests and in bytes that are kept of them. At a bound the oldest gives way:
//! of too many bytes it loses what was kept, of too many requests it goes, and one answer more than there are requests is
//! then no surprise. Requests of one id are answered in their order.

use std::collections::VecDeque;
use std::time::Instant;

use crate::asked::Asked;
use crate::attempt::Attempt;
use crate::produce::Writes;
use crate::requests::Party;
use crate::secret::wipe;

/// Most requests. Java's clients have 5 in flight; librdkafka sets itself no bound, and its sockets' buffers do.
const REQUESTS: usize = 16 * 1024;
/// Most bytes that are kept of them.
const BYTES: usize = 16 * 1024 * 1024;
/// Most ids that the proxy spoke of before, or without, the request that they are about.
const NOTES: usize = 1024;
/// How many of the last requests without an answer are known by their ids.
const SILENT: usize = 64;
/// How many buffers wait for their next use.
const SPARE: usize = 16;

/// What is kept of a request for the day of its answer.
#[derive(Debug, Default)]
pub(crate) enum Kept {
    #[default]
    Nothing,
    /// All behind the header.
    Body(Vec<u8>),
    /// What a Produce request writes.
    Writes(Box<Writes>),
    /// Whom it says it comes from.
    Sasl(Box<Attempt>),
}

impl Kept {
    fn bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Body(body) => body.len(),
            Self::Writes(writes) => writes.bytes(),
            Self::Sasl(attempt) => attempt.bytes(),
        }
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) asked: Asked,
    /// When all of it had come.
    pub(crate) at: Instant,
    pub(crate) kept: Kept,
    /// For whom, where rows are to say so.
    pub(crate) party: Option<Box<Party>>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.kept.bytes() + self.party.as_deref().map_or(0, Party::bytes)
    }
}

/// What the proxy said about an id that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It goes on under this one.
    Rewrote(i32),
    /// The proxy answers it.
    Answered,
}

/// All of one connection.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// So many of the oldest have nothing that is kept.
    bare: usize,
    /// Requests that had to go, and whose answers are still to come.
    forgotten: usize,
    notes: VecDeque<(i32, Note)>,
    silent: VecDeque<i32>,
    bodies: Vec<Vec<u8>>,
    #[allow(clippy::vec_box, reason = "they move in and out of entries as they are")]
    writes: Vec<Box<Writes>>,
}

/// Whose answer it is.
#[derive(Debug)]
pub(crate) enum Found {
    Request(Entry),
    /// One of those that had to go.
    Forgotten,
    /// Nobody asked.
    Nobody,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A request waits for its answer.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// Whether there is more than there may be, and then whose loss it is.
    #[inline]
    pub(crate) fn relieve(&mut self) -> Option<Asked> {
        if self.entries.len() <= REQUESTS && self.bytes <= BYTES {
            return None;
        }
        self.give_way()
    }

    fn give_way(&mut self) -> Option<Asked> {
        if self.entries.len() > REQUESTS {
            let oldest = self.pop()?;
            self.forgotten += 1;
            return Some(oldest.asked);
        }
        self.bare += self.entries.iter().skip(self.bare).position(|entry| entry.bytes() > 0)?;
        let oldest = self.entries.get_mut(self.bare)?;
        self.bytes -= oldest.bytes();
        (oldest.kept, oldest.party) = (Kept::Nothing, None);
        // Its messages cannot be read side by side any more.
        Some(Asked { api: oldest.asked.api.take(), ..oldest.asked })
    }

    /// The broker answers under this id.
    #[inline]
    pub(crate) fn answer(&mut self, id: i32) -> Found {
        let front = self.entries.front().is_some_and(|entry| entry.asked.answered_as() == id);
        let at = if front { Some(0) } else { self.entries.iter().position(|entry| entry.asked.answered_as() == id) };
        match at.and_then(|at| self.remove(at)) {
            Some(entry) => Found::Request(entry),
            None if self.forgotten > 0 => {
                self.forgotten -= 1;
                Found::Forgotten
            }
            None => Found::Nobody,
        }
    }

    /// The oldest, which will not be answered.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.remove(0)
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.bytes();
        self.bare = if at < self.bare { self.bare - 1 } else { self.bare };
        Some(entry)
    }

    /// The proxy sends a request on under another id: one that was shown, or that will be.
    pub(crate) fn rewrote(&mut self, client: i32, server: i32) {
        // Where all are rewritten, those that are not yet stand together at the end.
        let end = self.entries.iter().rposition(|entry| entry.asked.server.is_some()).map_or(0, |at| at + 1);
        let same = |entry: &&mut Entry| entry.asked.client == client && entry.asked.server.is_none();
        if let Some(entry) = self.entries.range_mut(end..).find(same) {
            entry.asked.server = Some(server);
        } else if let Some(entry) = self.entries.iter_mut().find(same) {
            entry.asked.server = Some(server);
        } else {
            self.note(client, Note::Rewrote(server));
        }
    }

    /// The proxy answers a request itself.
    pub(crate) fn answered(&mut self, client: i32) {
        match self.entries.iter().position(|entry| entry.asked.client == client) {
            Some(at) => drop(self.remove(at)),
            None => self.note(client, Note::Answered),
        }
    }

    fn note(&mut self, client: i32, note: Note) {
        if let Some(at) = self.silent.iter().position(|id| *id == client) {
            self.silent.remove(at);
            return;
        }
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back((client, note));
    }

    /// What was said of a request that has come now.
    #[inline]
    pub(crate) fn take_note(&mut self, client: i32) -> Option<Note> {
        if self.notes.is_empty() {
            return None;
        }
        let at = self.notes.iter().position(|(id, _)| *id == client)?;
        self.notes.remove(at).map(|(_, note)| note)
    }

    /// The id under which a request that is about to come goes on, if that was said already.
    #[inline]
    pub(crate) fn noted(&self, client: i32) -> Option<i32> {
        self.notes.iter().find(|(id, _)| *id == client).and_then(|(_, note)| match note {
            Note::Rewrote(server) => Some(*server),
            Note::Answered => None,
        })
    }

    /// A request that has no answer has come, of which nothing was said before.
    pub(crate) fn silent(&mut self, client: i32) {
        if self.silent.len() == SILENT {
            self.silent.pop_front();
        }
        self.silent.push_back(client);
    }

    /// A buffer for a request's body.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        self.bodies.pop().unwrap_or_default()
    }

    /// Room for what a request writes.
    pub(crate) fn writes(&mut self) -> Box<Writes> {
        self.writes.pop().unwrap_or_default()
    }

    /// Takes buffers back.
    pub(crate) fn recycle(&mut self, kept: Kept) {
        match kept {
            Kept::Body(mut body) if self.bodies.len() < SPARE => {
                // It may have been a credential.
                wipe(&mut body);
                self.bodies.push(body);
            }
            Kept::Writes(mut writes) if self.writes.len() < SPARE => {
                writes.clear();
                self.writes.push(writes);
            }
            _ => {}
        }
    }
}
