//! The client's direction: requests.

use auditring_event::{SESSION_CLIENT_ID_CAP, sanitize};

use crate::api::How;
use crate::asked::Asked;
use crate::blind::{From, Why};
use crate::facts::{Facts, Item};
use crate::frame::{Driven, Frame, Halt};
use crate::inflight::{Entry, Kept, Note, Party};
use crate::produce;
use crate::reads::Out;
use crate::tap::Shared;

/// Most bytes of a message that is read as a whole.
pub(crate) const WHOLE: usize = 8 * 1024 * 1024;
/// A frame without key, version and correlation id is none.
const SHORTEST: i32 = 8;

/// What comes next.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Begin,
    Size,
    Head,
    Produce,
    /// All of it, to be kept.
    Body,
    /// Nothing that matters.
    Rest,
}

/// Where it stands.
#[derive(Debug, Default)]
pub(crate) struct ClientSide {
    at: At,
    frame: Frame,
    /// Bytes of the frame, with those that say how many.
    size: usize,
    /// The request in hand, and what is to be kept of it.
    asked: Option<Asked>,
    kept: Kept,
    party: Option<Box<Party>>,
    produce: produce::Request,
}

impl ClientSide {
    /// Reads as far as the bytes go, or until the facts are full.
    pub(crate) fn feed(&mut self, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) {
        while self.step(input, shared, facts) {}
    }

    /// Whether it can go on.
    #[inline]
    fn step(&mut self, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) -> bool {
        match self.at {
            At::Begin => {
                if input.is_empty() || facts.is_full() {
                    return false;
                }
                self.frame.open(4);
                self.at = At::Size;
            }
            At::Size => match self.frame.unit(input, false, |cursor| cursor.i32()) {
                Ok(len) if len >= SHORTEST => {
                    self.frame.open(len as usize);
                    (self.size, self.at) = (len as usize + 4, At::Head);
                }
                Err(Halt::Wait) => return false,
                _ => return give_up(shared, facts, Why::MalformedFrame),
            },
            At::Head => {
                let head = self.frame.unit(input, false, |cursor| {
                    let (asked, client) = Asked::read(cursor)?;
                    meet(client, shared, facts);
                    Ok(asked)
                });
                match head {
                    Ok(asked) => self.begin(asked, shared, facts),
                    Err(Halt::Wait) => return false,
                    Err(Halt::Malformed) => return give_up(shared, facts, Why::MalformedRequest),
                }
            }
            At::Produce => return self.produce(input, shared, facts),
            At::Body => {
                let Kept::Body(body) = &mut self.kept else { return self.rest() };
                body.extend_from_slice(self.frame.part(input));
                if self.frame.left() > 0 {
                    return false;
                }
                return self.rest();
            }
            At::Rest => {
                if !self.frame.pass(input) {
                    return false;
                }
                self.end(shared, facts);
                self.at = At::Begin;
            }
        }
        true
    }

    /// A header has come: how is the rest to be read?
    fn begin(&mut self, mut asked: Asked, shared: &mut Shared, facts: &mut Facts) {
        if let Some(api) = asked.api.filter(|api| !(api.first..=api.last).contains(&asked.version)) {
            asked.api = None;
            if !shared.unsupported.contains(&api.key) {
                shared.unsupported.push(api.key);
                shared.blind(facts, Why::UnsupportedVersion, From::Client, &asked);
            }
        }
        asked.server = shared.inflight.noted(asked.client);
        let whole = matches!(asked.how(), Some(How::Exchange { .. }));
        if whole && self.frame.left() > WHOLE {
            shared.blind(facts, Why::FrameTooLarge, From::Client, &asked);
            asked.api = None;
        }
        self.asked = Some(asked);
        match asked.how() {
            Some(How::Produce) => {
                self.produce.begin(asked.version, shared.inflight.writes());
                self.at = At::Produce;
            }
            Some(How::Exchange { .. }) => {
                self.kept = Kept::Body(shared.inflight.body());
                self.at = At::Body;
            }
            _ => {
                self.rest();
            }
        }
    }

    /// Nothing more of this frame matters.
    fn rest(&mut self) -> bool {
        self.frame.skip_rest();
        self.at = At::Rest;
        true
    }

    fn produce(&mut self, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) -> bool {
        let Some(asked) = self.asked else { return self.rest() };
        let wire = asked.wire(shared.name.as_deref());
        let driven = self.frame.drive(input, asked.is_flexible(), facts, |cursor, facts| {
            self.produce.step(cursor, &mut Out { wire, topics: &shared.topics, facts })
        });
        let why = match driven {
            Driven::Wait | Driven::Full => return false,
            Driven::End => {
                self.kept = Kept::Writes(std::mem::take(&mut self.produce.writes));
                return self.rest();
            }
            Driven::Malformed => Why::MalformedRequest,
            Driven::TooLarge => Why::FrameTooLarge,
        };
        shared.blind(facts, why, From::Client, &asked);
        self.asked = Some(Asked { api: None, ..asked });
        self.rest()
    }

    /// All of a request has come.
    fn end(&mut self, shared: &mut Shared, facts: &mut Facts) {
        let (kept, party) = (std::mem::take(&mut self.kept), self.party.take());
        let Some(mut asked) = self.asked.take() else { return };
        let note = shared.inflight.take_note(asked.client);
        if let Some(Note::Rewrote(server)) = note {
            asked.server = Some(server);
        }
        let silent = asked.key == PRODUCE && std::mem::take(&mut self.produce.silent);
        if silent && note.is_none() {
            shared.inflight.silent(asked.client);
        }
        if silent || note == Some(Note::Answered) {
            shared.inflight.recycle(kept);
            return;
        }
        let at = shared.now();
        shared.inflight.push(Entry { asked, at, kept, party });
        while let Some(lost) = shared.inflight.relieve() {
            shared.blind(facts, Why::InFlightOverflow, From::Client, &lost);
        }
    }
}

/// Key of Produce.
const PRODUCE: i16 = 0;

fn give_up(shared: &mut Shared, facts: &mut Facts, why: Why) -> bool {
    shared.give_up(facts, why, From::Client, None);
    false
}

/// The client says what it calls itself, in each header: the first is news, and one that differs.
#[inline]
fn meet(client: Option<&[u8]>, shared: &mut Shared, facts: &mut Facts) {
    let Some(client) = client.filter(|client| !client.is_empty() && **client != *shared.client_id) else { return };
    shared.client_id.clear();
    shared.client_id.extend_from_slice(client);
    let (text, marks) = sanitize::text(client, SESSION_CLIENT_ID_CAP);
    facts.push(Item::ClientId(text.into_owned(), marks));
}
