//! The broker's direction: answers.

use std::collections::VecDeque;

use crate::api::How;
use crate::blind::{From, Why};
use crate::facts::Facts;
use crate::fetch;
use crate::frame::{Driven, Frame, Halt};
use crate::inflight::{Entry, Kept};
use crate::produce;
use crate::reads::Out;
use crate::requests;
use crate::secret::wipe;
use crate::share_fetch;
use crate::tap::Shared;
use crate::whole::{self, Telling, WHOLE};
use crate::wire::Wire;

/// Keys of what a client logs in with.
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;
/// A frame without correlation id is none.
const SHORTEST: i32 = 4;

/// What comes next.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Begin,
    Size,
    Head,
    Produce,
    Fetch,
    ShareFetch,
    /// All of it.
    Body,
    /// The same without a header.
    Token,
    /// More of what it says, when there is room for it.
    Page,
    /// What the request says alone.
    Alone,
    /// Rows for what an answer did not tell.
    Untold,
    /// Rows for requests that this answer shows to get none.
    Skipped,
    /// Nothing that matters.
    Rest,
}

/// Where it stands.
#[derive(Debug, Default)]
pub(crate) struct BrokerSide {
    at: At,
    frame: Frame,
    /// Bytes of the frame, with those that say how many.
    size: usize,
    /// The request that is answered.
    entry: Option<Entry>,
    /// Requests before it that will get no answer, and the one whose answer has begun meanwhile.
    skipped: VecDeque<Entry>,
    next: Option<Entry>,
    /// From request to answer.
    duration_ns: Option<i64>,
    /// The error of all of it, as far as it is known.
    code: i16,
    body: Vec<u8>,
    /// How far request and answer have been told.
    telling: Telling,
    produce: produce::Answer,
    fetch: fetch::Answer,
    share_fetch: share_fetch::Answer,
}

impl BrokerSide {
    /// Reads as far as the bytes go, or until the facts are full.
    pub(crate) fn feed(&mut self, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) {
        while !shared.is_opaque() && self.step(input, shared, facts) {}
    }

    /// Whether it can go on.
    #[inline]
    #[allow(clippy::too_many_lines, reason = "an arm a state, each a few lines: apart they would be harder to follow")]
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
                Ok(len) if shared.sasl.is_bare_answer_next() && (0..=WHOLE as i32).contains(&len) => {
                    self.frame.open(len as usize);
                    self.at = At::Token;
                }
                Ok(len) if len >= SHORTEST && !shared.sasl.is_bare_answer_next() => {
                    self.frame.open(len as usize);
                    (self.size, self.at) = (len as usize + 4, At::Head);
                }
                Err(Halt::Wait) => return false,
                _ => return give_up(shared, facts, Why::MalformedFrame),
            },
            At::Head => match self.frame.number(input) {
                Ok(id) => return self.find(id, shared, facts),
                Err(Halt::Wait) => return false,
                Err(Halt::Malformed) => return give_up(shared, facts, Why::MalformedFrame),
            },
            At::Produce | At::Fetch | At::ShareFetch => return self.stepped(input, shared, facts),
            At::Body => {
                let mut body = std::mem::take(&mut self.body);
                let whole = self.frame.whole(input, &mut body);
                let Some(answer) = whole else {
                    self.body = body;
                    return false;
                };
                if !self.exchange(Some(answer), shared, facts) {
                    self.body = answer.to_vec();
                    self.at = At::Page;
                    return true;
                }
                // A delegation token comes with its key.
                wipe(&mut body);
                self.body = body;
                return self.rest();
            }
            At::Page => {
                if facts.is_full() {
                    return false;
                }
                let mut body = std::mem::take(&mut self.body);
                let done = self.exchange(Some(&body), shared, facts);
                if done {
                    wipe(&mut body);
                }
                self.body = body;
                return !done || self.rest();
            }
            At::Alone => {
                if facts.is_full() {
                    return false;
                }
                return !self.exchange(None, shared, facts) || self.rest();
            }
            At::Token => {
                let mut body = std::mem::take(&mut self.body);
                let whole = self.frame.whole(input, &mut body);
                let all = whole.is_some();
                if let Some(challenge) = whole {
                    let asked = shared.sasl.token_answered(challenge, shared.name.as_deref(), facts);
                    wipe(&mut body);
                    if !asked {
                        return give_up(shared, facts, Why::UnexpectedResponse);
                    }
                }
                self.body = body;
                return all && self.rest();
            }
            At::Untold => {
                if !self.untold(shared, facts) {
                    return false;
                }
                return self.rest();
            }
            At::Skipped => {
                if facts.is_full() {
                    return false;
                }
                if self.entry.is_some() {
                    self.finish(shared, facts);
                } else if !self.skip(shared, facts) {
                    self.begin(shared, facts);
                }
            }
            At::Rest => {
                if !self.frame.pass(input) {
                    return false;
                }
                if let Some(entry) = self.entry.take() {
                    let (party, tap) = (entry.party.as_deref(), shared.name.as_deref());
                    requests::egress(&entry.asked, self.size, party, self.duration_ns, self.code, tap, facts);
                }
                self.at = At::Begin;
            }
        }
        true
    }

    /// A header has come: whose answer is it?
    fn find(&mut self, id: i32, shared: &mut Shared, facts: &mut Facts) -> bool {
        let Some(mut entry) = shared.inflight.answer(id, &mut self.skipped) else {
            return give_up(shared, facts, Why::UnexpectedResponse);
        };
        entry.asked.server = Some(id);
        self.next = Some(entry);
        if self.skipped.is_empty() {
            self.begin(shared, facts);
        } else {
            self.at = At::Skipped;
        }
        true
    }

    /// The next of those that get no answer, if there is one.
    fn skip(&mut self, shared: &Shared, facts: &mut Facts) -> bool {
        let Some(entry) = self.skipped.pop_front() else { return false };
        shared.blind(facts, Why::Unanswered, From::Broker, &entry.asked);
        self.unanswered(entry);
        true
    }

    /// Rows for one of which no more will come: what an answer had begun to say, or the request alone. Whether that is all.
    fn finish(&mut self, shared: &mut Shared, facts: &mut Facts) -> bool {
        if !self.untold(shared, facts) {
            return false;
        }
        let mut body = std::mem::take(&mut self.body);
        let answer = matches!(self.at, At::Page).then_some(&*body);
        let done = self.exchange(answer, shared, facts);
        if done {
            wipe(&mut body);
            self.entry = None;
        }
        self.body = body;
        done
    }

    /// How is the rest of an answer to be read?
    fn begin(&mut self, shared: &mut Shared, facts: &mut Facts) {
        let Some(entry) = self.next.take() else { return };
        let now = shared.now();
        let passed = now.saturating_duration_since(entry.at).as_nanos();
        (self.duration_ns, self.code, self.telling) = (i64::try_from(passed).ok(), 0, Telling::default());
        let (asked, how) = (entry.asked, entry.asked.how());
        if !matches!(asked.key, SASL_HANDSHAKE | SASL_AUTHENTICATE) {
            shared.sasl.served(entry.at, now, shared.name.as_deref(), facts);
        }
        let group = entry.party.as_ref().and_then(|party| party.group.clone());
        self.entry = Some(entry);
        self.at = match how {
            Some(How::Produce) => {
                self.produce.begin(asked.version);
                At::Produce
            }
            Some(How::Fetch) => {
                self.fetch.begin(asked.version);
                At::Fetch
            }
            Some(How::ShareFetch) => {
                self.share_fetch.begin(group);
                At::ShareFetch
            }
            Some(How::Exchange { .. } | How::SaslHandshake | How::SaslAuthenticate) if self.frame.left() <= WHOLE => {
                At::Body
            }
            Some(How::Exchange { .. } | How::SaslHandshake | How::SaslAuthenticate) => {
                shared.too_large(facts, From::Broker, &asked, self.size);
                At::Alone
            }
            _ => At::Rest,
        };
        if matches!(self.at, At::Rest) {
            self.rest();
        }
    }

    /// Nothing more of this frame matters.
    fn rest(&mut self) -> bool {
        self.frame.skip_rest();
        self.at = At::Rest;
        true
    }

    /// An answer that is read as it comes.
    fn stepped(&mut self, input: &mut &[u8], shared: &mut Shared, facts: &mut Facts) -> bool {
        let Some(entry) = &mut self.entry else { return self.rest() };
        let (asked, topics) = (entry.asked, &shared.topics);
        let wire = Wire { duration_ns: self.duration_ns, ..asked.wire(shared.name.as_deref()) };
        let (flexible, mut out) = (asked.is_flexible(), Out { wire, topics, facts });
        let driven = match (&self.at, &mut entry.kept) {
            (At::Produce, Kept::Writes(writes)) => {
                self.frame.drive(input, flexible, &mut out, |cursor, out| self.produce.step(cursor, writes, out))
            }
            (At::Fetch, _) => self.frame.drive(input, flexible, &mut out, |cursor, out| self.fetch.step(cursor, out)),
            (At::ShareFetch, _) => {
                self.frame.drive(input, flexible, &mut out, |cursor, out| self.share_fetch.step(cursor, out))
            }
            _ => Driven::End,
        };
        match driven {
            Driven::Wait | Driven::Full => return false,
            Driven::End => {
                shared.inflight.recycle(std::mem::take(&mut entry.kept));
                self.code = match self.at {
                    At::Fetch => self.fetch.error,
                    At::ShareFetch => self.share_fetch.error,
                    _ => 0,
                };
                return self.rest();
            }
            Driven::Malformed | Driven::TooLarge => {}
        }
        shared.blind(facts, Why::MalformedResponse, From::Broker, &asked);
        self.at = At::Untold;
        true
    }

    /// Rows for what no answer tells, and for what one told before it broke off. Whether that is all of them.
    fn untold(&mut self, shared: &Shared, facts: &mut Facts) -> bool {
        let Some(entry) = &mut self.entry else { return true };
        let wire = Wire { duration_ns: self.duration_ns, ..entry.asked.wire(shared.name.as_deref()) };
        let mut out = Out { wire, topics: &shared.topics, facts };
        self.fetch.reads.flush(&mut out);
        self.share_fetch.reads.flush(&mut out);
        match &mut entry.kept {
            Kept::Writes(writes) => writes.unanswered(&mut out),
            _ => true,
        }
    }

    /// Request and answer side by side, or the request alone. Whether that is all, or there is more when there is room.
    fn exchange(&mut self, answer: Option<&[u8]>, shared: &mut Shared, facts: &mut Facts) -> bool {
        let Some(entry) = &mut self.entry else { return true };
        match (&entry.kept, answer) {
            (Kept::Body(request), _) => {
                let (asked, telling) = (&entry.asked, &mut self.telling);
                if !whole::exchange(asked, self.duration_ns, request, answer, telling, shared, facts) {
                    return false;
                }
                self.code = answer.filter(|_| facts.requests).map_or(0, |answer| whole::error(&entry.asked, answer));
            }
            (Kept::Sasl(attempt), Some(answer)) => {
                self.code = whole::sasl(&entry.asked, attempt, answer, shared, facts);
            }
            _ => {}
        }
        shared.inflight.recycle(std::mem::take(&mut entry.kept));
        true
    }

    /// Whether there is something to tell that no further byte is needed for.
    pub(crate) const fn has_more(&self) -> bool {
        matches!(self.at, At::Page | At::Alone | At::Untold | At::Skipped)
    }

    /// The connection has ended: whether there are rows for all that was begun.
    pub(crate) fn end(&mut self, shared: &mut Shared, facts: &mut Facts) -> bool {
        if !self.finish(shared, facts) {
            return false;
        }
        self.at = At::Rest;
        if self.skip(shared, facts) {
            return false;
        }
        self.next.take().map(|entry| self.unanswered(entry)).is_none()
    }

    /// The same of one that got no answer at all.
    pub(crate) fn unanswered(&mut self, entry: Entry) {
        (self.entry, self.duration_ns, self.telling) = (Some(entry), None, Telling::default());
    }
}

fn give_up(shared: &mut Shared, facts: &mut Facts, why: Why) -> bool {
    shared.give_up(facts, why, From::Broker, None);
    false
}
