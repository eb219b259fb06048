//! The client's direction: requests.

use auditring_event::{SESSION_CLIENT_ID_CAP, sanitize};

use crate::api::How;
use crate::asked::Asked;
use crate::attempt::Attempt;
use crate::blind::{From, Why};
use crate::cursor::Step;
use crate::facts::{Facts, Item};
use crate::frame::{Driven, Frame, Halt, Next};
use crate::inflight::{Entry, Kept, Loss, Note, PRODUCE};
use crate::produce::{self, Writes};
use crate::reads::Out;
use crate::requests::{self, Party};
use crate::secret::Secret;
use crate::tags::Tags;
use crate::tap::Shared;
use crate::whole::{WHOLE, behind_tags};

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
    /// Of a Produce that is not read: whether there will be an answer.
    Acks,
    /// The group that a `ShareFetch` is for.
    Group(Tags),
    /// All of it, to be kept.
    Body,
    /// All of it, of which only a name may be kept.
    Proof,
    /// The same without a header.
    Token,
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
    /// Whether it came under the id of an auditor.
    trusted: bool,
    kept: Kept,
    party: Option<Box<Party>>,
    produce: produce::Request,
    secret: Secret,
}

impl ClientSide {
    /// Reads as far as the bytes go, or until the facts are full.
    pub(crate) fn feed(&mut self, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) {
        while !shared.is_opaque() && self.step(input, shared, facts) {}
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
            At::Size => match self.frame.number(input) {
                Ok(len) if shared.sasl.is_token_next() && (0..=WHOLE as i32).contains(&len) => {
                    shared.sasl.begin_token();
                    self.frame.open(len as usize);
                    self.at = At::Token;
                }
                Ok(len) if len >= SHORTEST && !shared.sasl.is_token_next() => {
                    self.frame.open(len as usize);
                    (self.size, self.at) = (len as usize + 4, At::Head);
                }
                Err(Halt::Wait) => return false,
                _ => return give_up(shared, facts, Why::MalformedFrame),
            },
            At::Head => {
                let mut known = None;
                let trusted = &mut self.trusted;
                let head = self.frame.unit(input, false, |cursor| {
                    let asked = Asked::read(cursor)?;
                    known = Some(asked);
                    // Never compact, so that any broker can read it; nothing that lives has a header without it.
                    let client = cursor.nullable_string()?.unwrap_or_default();
                    *trusted = asked.key == PRODUCE && !client.is_empty() && shared.guard.knows(client);
                    meet(client, shared, facts);
                    Ok(asked)
                });
                match (head, known) {
                    (Ok(asked), _) => self.begin(asked, shared, facts),
                    (Err(Halt::Wait), _) => return false,
                    // Whose answer will come, and where the next request begins, is known all the same.
                    (Err(Halt::Malformed), Some(asked)) => {
                        shared.blind(facts, Why::MalformedRequest, From::Client, &asked);
                        self.begin(Asked { api: None, ..asked }, shared, facts);
                    }
                    (Err(Halt::Malformed), None) => return give_up(shared, facts, Why::MalformedRequest),
                }
            }
            At::Produce => return self.produce(input, shared, facts),
            At::Acks => {
                match self.frame.unit(input, false, |cursor| Ok(cursor.i16()? == 0)) {
                    Ok(silent) => self.produce.silent = silent,
                    Err(Halt::Wait) => return false,
                    Err(Halt::Malformed) => self.unreadable(shared, facts, Why::MalformedRequest),
                }
                return self.rest();
            }
            At::Group(mut tags) => return self.group(&mut tags, input, shared, facts),
            At::Body => {
                let Kept::Body(body) = &mut self.kept else { return self.rest() };
                body.extend_from_slice(self.frame.part(input));
                if self.frame.left() > 0 {
                    return false;
                }
                return self.rest();
            }
            At::Proof | At::Token => {
                let secret = self.secret.buffer(self.frame.left());
                let Some(proof) = self.frame.whole(input, secret) else { return false };
                match &self.asked {
                    Some(asked) => match sasl(asked, proof, shared) {
                        Ok(attempt) => self.kept = Kept::Sasl(attempt.into()),
                        Err(_) => shared.blind(facts, Why::MalformedRequest, From::Client, asked),
                    },
                    None => shared.sasl.token(proof),
                }
                self.secret.wipe();
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
        // They begin with how many are to acknowledge it.
        let is_old_produce = asked.api.is_some() && asked.key == PRODUCE && asked.version < 3;
        if let Some(api) = asked.api.filter(|api| !(api.first..=api.last).contains(&asked.version)) {
            asked.api = None;
            if !shared.unsupported.contains(&api.key) {
                shared.unsupported.push(api.key);
                shared.blind(facts, Why::UnsupportedVersion, From::Client, &asked);
            }
        }
        asked.server = shared.inflight.noted(asked.client);
        let most = match asked.how() {
            Some(How::Exchange { most, .. }) => most,
            Some(How::SaslHandshake | How::SaslAuthenticate) => WHOLE,
            _ => usize::MAX,
        };
        if self.frame.left() > most {
            shared.too_large(facts, From::Client, &asked, self.size);
            asked.api = None;
        }
        self.asked = Some(asked);
        match asked.how() {
            Some(How::Produce) => {
                self.produce.begin(asked.version);
                self.at = At::Produce;
            }
            Some(How::Exchange { .. }) => {
                self.kept = Kept::Body(shared.inflight.body());
                self.at = At::Body;
            }
            Some(How::SaslHandshake | How::SaslAuthenticate) => self.at = At::Proof,
            Some(How::ShareFetch) => self.at = At::Group(Tags::Count),
            None if is_old_produce => self.at = At::Acks,
            Some(How::Fetch) | None => {
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
        let mut out = Out { wire, topics: &shared.topics, facts };
        let produce = &mut self.produce;
        let driven = self.frame.drive(input, asked.is_flexible(), &mut out, |cursor, out| produce.step(cursor, out));
        match driven {
            Driven::Wait | Driven::Full => return false,
            Driven::End => {
                let next = shared.inflight.writes();
                self.kept = Kept::Writes(std::mem::replace(&mut self.produce.writes, next));
            }
            Driven::Malformed => self.unreadable(shared, facts, Why::MalformedRequest),
            Driven::TooLarge => self.unreadable(shared, facts, Why::FrameTooLarge),
        }
        self.rest()
    }

    fn group(&mut self, tags: &mut Tags, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) -> bool {
        let mut group = None;
        let driven = self.frame.drive(input, true, facts, |cursor, _| {
            if let Some(next) = tags.step(cursor)? {
                return Ok(next);
            }
            group = cursor.nullable_string()?.map(Into::into);
            Ok(Next::End)
        });
        self.at = At::Group(*tags);
        match driven {
            Driven::Wait | Driven::Full => return false,
            Driven::End => self.party = Some(Box::new(Party { group, transaction: None })),
            Driven::Malformed | Driven::TooLarge => self.unreadable(shared, facts, Why::MalformedRequest),
        }
        self.rest()
    }

    /// What came of a request cannot be read, and so its answer cannot either.
    fn unreadable(&mut self, shared: &Shared, facts: &mut Facts, why: Why) {
        if let Some(asked) = &mut self.asked {
            shared.blind(facts, why, From::Client, asked);
            asked.api = None;
        }
    }

    /// The connection has ended.
    pub(crate) fn close(&mut self) {
        self.secret.wipe();
    }

    /// All of a request has come.
    fn end(&mut self, shared: &mut Shared, facts: &mut Facts) {
        let (mut kept, mut party) = (std::mem::take(&mut self.kept), self.party.take());
        let Some(mut asked) = self.asked.take() else { return };
        if let Kept::Writes(writes) = &mut kept
            && std::mem::take(&mut self.trusted)
            && !self.produce.silent
        {
            asked.exempt = exempt(writes, shared, facts);
        }
        if facts.requests && party.is_none() {
            party = named(&asked, &kept).map(Box::new);
        }
        requests::ingress(&asked, self.size, party.as_deref(), shared.name.as_deref(), facts);
        let note = shared.inflight.take_note(asked.client);
        if let Some(Note::Rewrote(server)) = note {
            asked.server = Some(server);
        }
        let silent = asked.key == PRODUCE && std::mem::take(&mut self.produce.silent);
        if silent && matches!(note, None | Some(Note::Perhaps(_))) {
            shared.inflight.silent(asked.client);
        }
        if note == Some(Note::Answered) {
            shared.sasl.taken_over(asked.client);
        }
        if silent || note == Some(Note::Answered) {
            shared.inflight.recycle(kept);
            return;
        }
        let mut entry = Entry::new(asked, shared.now(), kept, party);
        if let Some(Note::Perhaps(server)) = note {
            entry.perhaps = Some(server);
        }
        shared.inflight.push(entry);
        while let Some(loss) = shared.inflight.relieve() {
            match loss {
                Loss::Request(lost) => shared.blind(facts, Why::InFlightOverflow, From::Client, &lost),
                Loss::Connection => return shared.give_up(facts, Why::InFlightOverflow, From::Client, None),
            }
        }
    }
}

/// Which topics of a Produce are an auditor's own; whether all are. One in a transaction is none: auditors have none.
fn exempt(writes: &mut Writes, shared: &mut Shared, facts: &mut Facts) -> bool {
    let Shared { guard, topics, client_id, exempted, name, .. } = shared;
    writes.exempt(topics, |topic| {
        let passes = guard.lets_pass(client_id, topic);
        if passes {
            exempted.tell(topic, name.as_deref(), facts);
        }
        passes
    })
}

/// What a request of an authentication says.
fn sasl(asked: &Asked, request: &[u8], shared: &mut Shared) -> Step<Attempt> {
    let flexible = asked.is_flexible();
    let request = behind_tags(request, flexible, flexible)?;
    if matches!(asked.how(), Some(How::SaslHandshake)) {
        shared.sasl.handshake(request, asked)
    } else {
        shared.sasl.authenticate(request)
    }
}

/// The group and the transaction that a request names, as far as it can be read.
fn named(asked: &Asked, kept: &Kept) -> Option<Party> {
    match kept {
        Kept::Writes(writes) => writes.transaction().map(|id| Party { group: None, transaction: Some(id.clone()) }),
        Kept::Body(request) => {
            let flexible = asked.is_flexible();
            let party = behind_tags(request, flexible, flexible).and_then(|request| Party::read(asked, request));
            party.ok().filter(|party| *party != Party::default())
        }
        Kept::Nothing | Kept::Sasl(_) => None,
    }
}

fn give_up(shared: &mut Shared, facts: &mut Facts, why: Why) -> bool {
    shared.give_up(facts, why, From::Client, None);
    false
}

/// The client says what it calls itself, in each header: the first is news, and one that differs.
#[inline]
fn meet(client: &[u8], shared: &mut Shared, facts: &mut Facts) {
    if client.is_empty() || client == shared.client_id {
        return;
    }
    shared.client_id.clear();
    shared.client_id.extend_from_slice(client);
    let (text, marks) = sanitize::text(client, SESSION_CLIENT_ID_CAP);
    facts.push(Item::ClientId(text.into_owned(), marks));
}
