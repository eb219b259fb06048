//! Messages that are read as a whole: an answer beside its request, once both are there.

use crate::api::How;
use crate::asked::Asked;
use crate::blind::{From, Why};
use crate::cursor::{Cursor, Step};
use crate::exchange::Exchange;
use crate::facts::Facts;
use crate::requests;
use crate::sasl::Attempt;
use crate::tap::Shared;
use crate::wire::Wire;

/// Most bytes of one.
pub(crate) const WHOLE: usize = 8 * 1024 * 1024;

/// What request and answer say, or the request alone where it may have changed something. An answer that cannot be read and
/// has told nothing is as none.
pub(crate) fn exchange(
    asked: &Asked,
    duration_ns: Option<i64>,
    request: &[u8],
    answer: Option<&[u8]>,
    shared: &Shared,
    facts: &mut Facts,
) {
    let Some((api, How::Exchange { read, keep })) = asked.api.map(|api| (api, api.how)) else { return };
    let flexible = api.is_flexible(asked.version);
    let wire = Wire { duration_ns, ..asked.wire(shared.name.as_deref()) };
    let side_by_side = |answer: Option<&[u8]>, facts: &mut Facts| {
        let request = behind_tags(request, flexible, flexible)?;
        let tags = api.answer_has_tags(asked.version);
        let answer = answer.map(|answer| behind_tags(answer, flexible, tags)).transpose()?;
        read(&mut Exchange { wire, version: asked.version, request, answer, topics: &shared.topics, facts })
    };
    if answer.is_some() {
        let before = facts.items().len();
        if side_by_side(answer, facts).is_ok() {
            return;
        }
        let told = facts.items().len() > before;
        shared.blind(facts, Why::MalformedResponse, From::Broker, asked);
        if told {
            return;
        }
    }
    if keep && side_by_side(None, facts).is_err() {
        shared.blind(facts, Why::MalformedRequest, From::Client, asked);
    }
}

/// What the broker says to a client that authenticates.
pub(crate) fn sasl(asked: &Asked, attempt: &Attempt, answer: &[u8], shared: &mut Shared, facts: &mut Facts) -> i16 {
    let Shared { sasl, name, .. } = shared;
    let flexible = asked.is_flexible();
    let told = behind_tags(answer, flexible, flexible).and_then(|mut answer| {
        if matches!(asked.how(), Some(How::SaslHandshake)) {
            sasl.shaken(attempt, asked.version, &mut answer, name.as_deref(), facts)
        } else {
            Ok((sasl.authenticated(attempt, &mut answer, name.as_deref(), facts)?, true))
        }
    });
    match told {
        Ok((_, true)) => {}
        Ok((_, false)) => shared.give_up(facts, Why::UnsupportedMechanism, From::Broker, Some(asked)),
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
