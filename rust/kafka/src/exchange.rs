//! A request and its answer, side by side: what the rarer APIs are read from.
//!
//! What must always hold: a resource that a request names has one event, however the answer looks; and nothing that could be
//! a secret (the values of settings, credentials, HMACs, messages of the broker that quote them) goes into one.
//!
//! A request of a mebibyte can name so many resources that their events take a gigabyte, and an answer can refuse as many.
//! So they are told in pages: the messages are read again for each, and only the events of that page are laid down.

use auditring_event::{ActionSpec, Outcome};

use crate::cursor::Cursor;
use crate::errors;
use crate::facts::{Draft, Facts};
use crate::topics::Topics;
use crate::wire::{Places, Wire};

/// What is read.
pub(crate) struct Exchange<'a> {
    pub(crate) wire: Wire<'a>,
    pub(crate) version: i16,
    /// Behind the request's header.
    pub(crate) request: Cursor<'a>,
    /// Behind the answer's header; none where no answer was seen, which is known when the connection ends.
    pub(crate) answer: Option<Cursor<'a>>,
    pub(crate) topics: &'a Topics,
    pub(crate) facts: &'a mut Facts,
    pub(crate) page: Page,
}

/// Which of an exchange's events are laid down this time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Page {
    /// So many have been read about.
    read: usize,
    /// So many have been laid down, those of the pages before among them.
    pub(crate) told: usize,
}

impl Page {
    /// Goes on where another ended.
    pub(crate) const fn after(told: usize) -> Self {
        Self { read: 0, told }
    }

    /// Takes no event: only whether the messages can be read is asked.
    pub(crate) const fn none() -> Self {
        Self { read: 0, told: usize::MAX - 1 }
    }

    /// Whether there is more to tell than what has been.
    pub(crate) const fn is_partial(&self) -> bool {
        self.told < self.read
    }

    /// Whether the next event is one of this page.
    pub(crate) fn takes(&mut self, facts: &Facts) -> bool {
        self.read += 1;
        let takes = self.read == self.told + 1 && !facts.is_page();
        self.told += usize::from(takes);
        takes
    }
}

/// What became of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The broker's error code for it; 0 is its yes.
    Answered(i16),
    /// No answer was seen: it went on to the broker, and nobody here knows more.
    Unanswered,
}

impl Draft<'_> {
    /// Outcome and status by what became of the resource.
    pub(crate) fn fate(&mut self, fate: Fate) -> &mut Self {
        match fate {
            Fate::Answered(0) => self.outcome(Outcome::Success),
            Fate::Answered(code) if errors::is_denial(code) => self.outcome(Outcome::Denied).status(errors::name(code)),
            Fate::Answered(code) => self.outcome(Outcome::Failure).status(errors::name(code)),
            Fate::Unanswered => self.outcome(Outcome::Forwarded),
        }
    }
}

impl Exchange<'_> {
    /// Begins an event of an action that has the columns of the wire.
    pub(crate) fn event(&mut self, spec: &'static ActionSpec, fate: Fate) -> Draft<'_> {
        let takes = self.page.takes(self.facts);
        let mut draft = self.facts.draft(spec);
        if takes {
            draft.wire(&self.wire, &Places::of(spec)).fate(fate);
        } else {
            draft.mute();
        }
        draft
    }
}
