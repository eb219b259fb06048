//! Delegation tokens. An HMAC is what a client logs in with, so a token that is named by its HMAC alone has no name here.

use auditring_event::{ActionSpec, named};

use crate::cursor::{Cursor, Step};
use crate::exchange::{Exchange, Fate};

const CREATE: &ActionSpec = named("CreateDelegationToken");
const RENEW: &ActionSpec = named("RenewDelegationToken");
const EXPIRE: &ActionSpec = named("ExpireDelegationToken");
const DESCRIBE: &ActionSpec = named("DescribeDelegationToken");

/// `Type:name`; none where the message leaves it empty.
fn principal(message: &mut Cursor<'_>) -> Step<Option<Vec<u8>>> {
    let (kind, name) = (message.nullable_string()?, message.nullable_string()?);
    let (Some(kind), Some(name)) = (kind, name) else { return Ok(None) };
    Ok(if kind.is_empty() && name.is_empty() { None } else { Some([kind, b":", name].concat()) })
}

/// What an answer says of a new token.
#[derive(Default)]
struct Created<'a> {
    code: Option<i16>,
    owner: Option<Vec<u8>>,
    requester: Option<Vec<u8>>,
    expires_ms: Option<i64>,
    id: Option<&'a [u8]>,
}

impl<'a> Created<'a> {
    fn read(&mut self, answer: &mut Cursor<'a>, version: i16) -> Step<()> {
        self.code = Some(answer.i16()?);
        self.owner = principal(answer)?;
        if version >= 3 {
            self.requester = principal(answer)?;
        }
        answer.i64()?;
        self.expires_ms = Some(answer.i64()?);
        answer.i64()?;
        self.id = Some(answer.string()?);
        Ok(())
    }
}

pub(crate) fn create(exchange: &mut Exchange<'_>) -> Step<()> {
    let version = exchange.version;
    let mut request = exchange.request;
    let wanted = if version >= 3 { principal(&mut request)? } else { None };
    let mut created = Created::default();
    let whole = exchange.answer.map_or(Ok(()), |mut answer| created.read(&mut answer, version));
    let mut draft = exchange.event(CREATE, created.code.map_or(Fate::Unanswered, Fate::Answered));
    let owner = created.owner.or(wanted);
    if let Some(owner) = &owner {
        draft.text("owner", owner);
    }
    if let Some(requester) = created.requester.filter(|requester| Some(requester) != owner.as_ref()) {
        draft.text("requester", &requester);
    }
    if let (Some(0), Some(id), Some(expires_ms)) = (created.code, created.id, created.expires_ms) {
        draft.text("token_id", id).int("expires_ms", expires_ms);
    }
    draft.finish();
    whole
}

pub(crate) fn renew(exchange: &mut Exchange<'_>) -> Step<()> {
    given_time(exchange, RENEW)
}

pub(crate) fn expire(exchange: &mut Exchange<'_>) -> Step<()> {
    given_time(exchange, EXPIRE)
}

fn given_time(exchange: &mut Exchange<'_>, spec: &'static ActionSpec) -> Step<()> {
    let mut said = None;
    let whole = exchange.answer.map_or(Ok(()), |mut answer| {
        said = Some((answer.i16()?, answer.i64()?));
        Ok(())
    });
    let mut draft = exchange.event(spec, said.map_or(Fate::Unanswered, |(code, _)| Fate::Answered(code)));
    if let Some((0, expires_ms)) = said {
        draft.int("expires_ms", expires_ms);
    }
    draft.finish();
    whole
}

/// An event per owner whose tokens were asked for; one that names nobody where it was everybody.
pub(crate) fn describe(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let fate = Fate::Answered(answer.i16()?);
    let mut request = exchange.request;
    let named = request.each(|owner| {
        let owner_name = principal(owner)?;
        let mut draft = exchange.event(DESCRIBE, fate);
        if let Some(owner) = &owner_name {
            draft.text("owner", owner);
        }
        draft.finish();
        owner.tags()
    })?;
    if !named {
        exchange.event(DESCRIBE, fate).finish();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
