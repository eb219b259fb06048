//! Messages that are read as a whole: an answer beside its request, once both are there.

use crate::api::How;
use crate::asked::Asked;
use crate::attempt::Attempt;
use crate::blind::{From, Why};
use crate::cursor::{Cursor, Step};
use crate::exchange::{Exchange, Page};
use crate::facts::Facts;
use crate::requests;
use crate::tap::Shared;
use crate::wire::Wire;

/// Most bytes of one.
pub(crate) const WHOLE: usize = 8 * 1024 * 1024;
/// Most bytes of a request each of whose resources has an event: of the shortest there are half a million in it.
pub(crate) const NAMING: usize = 1024 * 1024;

/// How far the events of an exchange have been told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Telling {
    told: usize,
    /// The two could not be read side by side, and that had told nothing: the answer is as none.
    broken: bool,
}

/// What request and answer say, or the request alone where it may have changed something, from where `telling` stands.
/// Whether that is all of it; else the facts are to be taken out, and it is to be called again with the same.
pub(crate) fn exchange(
    asked: &Asked,
    duration_ns: Option<i64>,
    request: &[u8],
    answer: Option<&[u8]>,
    telling: &mut Telling,
    shared: &Shared,
    facts: &mut Facts,
) -> bool {
    let Some((api, How::Exchange { read, keep, .. })) = asked.api.map(|api| (api, api.how)) else { return true };
    let flexible = api.is_flexible(asked.version);
    let wire = Wire { duration_ns, ..asked.wire(shared.name.as_deref()) };
    let side_by_side = |answer: Option<&[u8]>, page: &mut Page, facts: &mut Facts| {
        let request = behind_tags(request, flexible, flexible)?;
        let tags = api.answer_has_tags(asked.version);
        let answer = answer.map(|answer| behind_tags(answer, flexible, tags)).transpose()?;
        let (version, topics) = (asked.version, &shared.topics);
        let mut exchange = Exchange { wire, version, request, answer, topics, facts, page: *page };
        let read = read(&mut exchange);
        *page = exchange.page;
        read
    };
    let mut page = Page::after(telling.told);
    if answer.is_some() && !telling.broken {
        let read = side_by_side(answer, &mut page, facts);
        telling.told = page.told;
        if page.is_partial() {
            return false;
        }
        if read.is_ok() {
            return true;
        }
        let told = telling.told > 0;
        // The request alone shows whose fault it is; it is said once, for a request that is told alone at the end of that.
        let requested = side_by_side(None, &mut Page::none(), facts).is_ok();
        if requested {
            shared.blind(facts, Why::MalformedResponse, From::Broker, asked);
        } else if told || !keep {
            shared.blind(facts, Why::MalformedRequest, From::Client, asked);
        }
        if told {
            return true;
        }
        telling.broken = true;
    }
    if keep {
        page = Page::after(telling.told);
        let read = side_by_side(None, &mut page, facts);
        telling.told = page.told;
        if page.is_partial() {
            return false;
        }
        if read.is_err() {
            shared.blind(facts, Why::MalformedRequest, From::Client, asked);
        }
    }
    true
}

/// What the broker says to a client that authenticates.
pub(crate) fn sasl(asked: &Asked, attempt: &Attempt, answer: &[u8], shared: &mut Shared, facts: &mut Facts) -> i16 {
    let now = shared.now();
    let Shared { sasl, name, .. } = shared;
    let flexible = asked.is_flexible();
    let told = behind_tags(answer, flexible, flexible).and_then(|mut answer| {
        if matches!(asked.how(), Some(How::SaslHandshake)) {
            sasl.shaken(attempt, asked.version, &mut answer, name.as_deref(), facts)
        } else {
            Ok((sasl.authenticated(attempt, &mut answer, now, name.as_deref(), facts)?, true))
        }
    });
    match told {
        Ok((_, true)) => {}
        Ok((_, false)) => shared.give_up(facts, Why::UnsupportedMechanism, From::Broker, Some(asked)),
        // Whether tokens follow is then not known.
        Err(_) if matches!(asked.how(), Some(How::SaslHandshake)) && asked.version == 0 => {
            shared.give_up(facts, Why::MalformedResponse, From::Broker, Some(asked));
        }
        Err(_) => shared.blind(facts, Why::MalformedResponse, From::Broker, asked),
    }
    told.map_or(0, |(code, _)| code)
}

/// The error that an answer gives for all of its request.
pub(crate) fn error(asked: &Asked, answer: &[u8]) -> i16 {
    let tags = asked.api.is_some_and(|api| api.answer_has_tags(asked.version));
    behind_tags(answer, asked.is_flexible(), tags).and_then(|answer| requests::error(asked, answer)).unwrap_or(0)
}

/// Behind the tagged fields of a header, where it has any.
pub(crate) fn behind_tags(bytes: &[u8], flexible: bool, tags: bool) -> Step<Cursor<'_>> {
    let mut cursor = Cursor::new(bytes, flexible);
    if tags {
        cursor.tags()?;
    }
    Ok(cursor)
}
