//! Requests that wait for their answers, in the order in which they came.
//!
//! A broker answers a connection in the order of its requests. So an answer is that of the oldest request of its id, and
//! what is older still will get none: a client that uses an id again cannot have one answer taken for the other.
//!
//! What must always hold: it is bounded, in requests and in bytes that are kept of them. At a bound the oldest keep nothing
//! but their ids, and still have their turn; of too many even for that none can be told from the other any more. Whom a
//! client says it is, is kept whatever else it sends.

use std::collections::VecDeque;
use std::time::Instant;

use crate::asked::Asked;
use crate::attempt::Attempt;
use crate::produce::Writes;
use crate::requests::Party;
use crate::secret::wipe;

/// Key of Produce.
pub(crate) const PRODUCE: i16 = 0;

/// Most requests of which something is kept. Java's clients have 5 in flight; librdkafka sets itself no bound, and its
/// sockets' buffers do.
const REQUESTS: usize = 16 * 1024;
/// So many requests are too many.
const MOST: usize = 64 * 1024;
/// Most bytes that are kept of them.
const BYTES: usize = 16 * 1024 * 1024;
/// How many that perhaps get no answer are looked at behind one of them.
const DOUBTFUL: usize = 1024;
/// Most ids that the proxy spoke of before, or without, the request that they are about.
const NOTES: usize = 1024;
/// How many of the last requests without an answer are known by their ids.
const SILENT: usize = 4096;
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
    /// The id under which it may go on: that was said before it came, or of one before it that has no answer.
    pub(crate) perhaps: Option<i32>,
    /// Whether the client perhaps wants no answer: what it asks for could not be read, and that was said.
    doubtful: bool,
    /// Which one of the connection it is.
    turn: u64,
}

impl Entry {
    pub(crate) fn new(asked: Asked, at: Instant, kept: Kept, party: Option<Box<Party>>) -> Self {
        let doubtful = asked.key == PRODUCE && asked.api.is_none();
        Self { asked, at, kept, party, perhaps: None, doubtful, turn: 0 }
    }

    #[inline]
    fn is_answered_by(&self, id: i32) -> bool {
        self.asked.answered_as() == id || self.perhaps == Some(id)
    }

    /// Whether there is something that can be let go of.
    fn can_give(&self) -> bool {
        self.bytes() > 0 && !matches!(self.kept, Kept::Sasl(_))
    }

    fn bytes(&self) -> usize {
        self.kept.bytes() + self.party.as_deref().map_or(0, Party::bytes)
    }
}

/// What the proxy said about an id that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It goes on under this one.
    Rewrote(i32),
    /// The same, or that was said of one that has no answer.
    Perhaps(i32),
    /// The proxy answers it.
    Answered,
}

/// All of one connection.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// So many of the oldest have nothing that they could let go of.
    bare: usize,
    /// So many do not go on under another id, as far as that was said.
    plain: usize,
    /// So many have come.
    turns: u64,
    notes: VecDeque<(i32, Note)>,
    /// Ids of the last requests without an answer, and which ones they were.
    silent: VecDeque<(i32, u64)>,
    bodies: Vec<Vec<u8>>,
    #[allow(clippy::vec_box, reason = "they move in and out of entries as they are")]
    writes: Vec<Box<Writes>>,
}

/// What is lost where there is more than there may be.
#[derive(Debug)]
pub(crate) enum Loss {
    /// What was kept of this one.
    Request(Asked),
    /// Whose answer is whose.
    Connection,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A request waits for its answer.
    pub(crate) fn push(&mut self, mut entry: Entry) {
        self.turns += 1;
        entry.turn = self.turns;
        self.bytes += entry.bytes();
        self.plain += usize::from(entry.asked.server.is_none());
        self.entries.push_back(entry);
    }

    /// Whether there is more than there may be, and then what is lost.
    #[inline]
    pub(crate) fn relieve(&mut self) -> Option<Loss> {
        if self.entries.len() <= REQUESTS && self.bytes <= BYTES {
            return None;
        }
        self.give_way()
    }

    fn give_way(&mut self) -> Option<Loss> {
        if self.entries.len() >= MOST {
            return Some(Loss::Connection);
        }
        while self.bytes > BYTES || self.bare + REQUESTS < self.entries.len() {
            let Some(oldest) = self.entries.get_mut(self.bare) else { return Some(Loss::Connection) };
            self.bare += 1;
            if oldest.can_give() {
                self.bytes -= oldest.bytes();
                (oldest.kept, oldest.party) = (Kept::Nothing, None);
                // Its messages cannot be read side by side any more.
                return Some(Loss::Request(Asked { api: oldest.asked.api.take(), ..oldest.asked }));
            }
        }
        None
    }

    /// The broker answers under this id; none where nobody asked, or it cannot be known who. What was asked before and will
    /// get no answer is added to `skipped`.
    #[inline]
    pub(crate) fn answer(&mut self, id: i32, skipped: &mut VecDeque<Entry>) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.is_answered_by(id))?;
        if self.entries.get(at)?.doubtful && self.may_be_another(at, id) {
            return None;
        }
        for _ in 0..at {
            let entry = self.pop()?;
            // The proxy may still say that it has answered it.
            self.be_silent(entry.asked.client, entry.turn);
            if !entry.doubtful {
                skipped.push_back(entry);
            }
        }
        self.pop()
    }

    /// Whether an answer to this one, which perhaps gets none, may be that to the first behind it that does get one.
    #[inline(never)]
    fn may_be_another(&self, at: usize, id: i32) -> bool {
        let mut behind = self.entries.range(at + 1..);
        let certain = behind.by_ref().take(DOUBTFUL).find(|entry| !entry.doubtful);
        certain.map_or(behind.next().is_some(), |entry| entry.is_answered_by(id))
    }

    /// The oldest, which will not be answered.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.forget(&entry);
        self.bare = self.bare.saturating_sub(1);
        Some(entry)
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.forget(&entry);
        self.bare = if at < self.bare { self.bare - 1 } else { self.bare };
        Some(entry)
    }

    #[inline]
    fn forget(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes();
        self.plain -= usize::from(entry.asked.server.is_none());
    }

    /// The proxy sends a request on under another id: one that was shown, or that will be.
    pub(crate) fn rewrote(&mut self, client: i32, server: i32) {
        if let Some(at) = self.plain(client) {
            let entry = &mut self.entries[at];
            (entry.asked.server, entry.perhaps) = (Some(server), None);
            self.plain -= 1;
            return;
        }
        let silent = self.silent.iter().rposition(|(id, _)| *id == client);
        let note = silent.map_or(Note::Rewrote(server), |_| Note::Perhaps(server));
        silent.and_then(|at| self.silent.remove(at));
        self.note(client, note);
    }

    /// The oldest of this id that does not go on under another yet.
    fn plain(&self, client: i32) -> Option<usize> {
        if self.plain == 0 {
            return None;
        }
        let same = |entry: &Entry| entry.asked.client == client && entry.asked.server.is_none();
        // Where all are rewritten, those that are not yet stand together at the end.
        let end = self.entries.iter().rposition(|entry| entry.asked.server.is_some()).map_or(0, |at| at + 1);
        let late = self.entries.range(end..).position(same).map(|at| end + at);
        late.or_else(|| self.entries.iter().position(same))
    }

    /// The proxy answers a request itself: the last one of this id, or the next.
    pub(crate) fn answered(&mut self, client: i32) {
        let same = |entry: &Entry| entry.asked.client == client && entry.asked.server.is_none();
        let waits = if self.plain == 0 { None } else { self.entries.iter().rposition(same) };
        let silent = self.silent.iter().rposition(|(id, _)| *id == client);
        match (waits, silent) {
            (Some(waits), Some(silent)) if self.silent[silent].1 > self.entries[waits].turn => {
                self.silent.remove(silent);
            }
            (Some(waits), _) => drop(self.remove(waits)),
            (None, Some(silent)) => drop(self.silent.remove(silent)),
            (None, None) => self.note(client, Note::Answered),
        }
    }

    fn note(&mut self, client: i32, note: Note) {
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
            Note::Perhaps(_) | Note::Answered => None,
        })
    }

    /// A request that has no answer has come, of which nothing was said before.
    pub(crate) fn silent(&mut self, client: i32) {
        self.turns += 1;
        self.be_silent(client, self.turns);
    }

    fn be_silent(&mut self, client: i32, turn: u64) {
        if self.silent.len() == SILENT {
            self.silent.pop_front();
        }
        self.silent.push_back((client, turn));
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
