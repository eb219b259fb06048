//! SCRAM credentials: whose and how strong; salts and salted passwords are stepped over.

use auditring_event::{ActionSpec, named};

use crate::answers::Answers;
use crate::cursor::{Cursor, Step};
use crate::exchange::Exchange;

const ALTER: &ActionSpec = named("AlterUserScramCredentials");
const DESCRIBE: &ActionSpec = named("DescribeUserScramCredentials");

/// `ScramMechanism` of Kafka.
const fn mechanism(number: i8) -> &'static [u8] {
    match number {
        1 => b"SCRAM-SHA-256",
        2 => b"SCRAM-SHA-512",
        _ => b"UNKNOWN",
    }
}

pub(crate) fn alter(exchange: &mut Exchange<'_>) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answer.each(|result| {
            answers.say(result.string()?, result.i16()?, ());
            result.nullable_string()?;
            result.tags()
        })?;
        Ok(())
    });
    let mut request = exchange.request;
    request.each(|deletion| {
        let (user, number) = (deletion.string()?, deletion.i8()?);
        let mut draft = exchange.event(ALTER, answers.fate(&user));
        draft.text("user", user).text("scram_mechanism", mechanism(number)).text("change", b"delete").finish();
        deletion.tags()
    })?;
    request.each(|upsertion| {
        let (user, number, iterations) = (upsertion.string()?, upsertion.i8()?, upsertion.i32()?);
        secret(upsertion)?;
        secret(upsertion)?;
        let mut draft = exchange.event(ALTER, answers.fate(&user));
        draft.text("user", user).text("scram_mechanism", mechanism(number)).text("change", b"upsert");
        if iterations >= 0 {
            draft.int("iterations", iterations.into());
        }
        draft.finish();
        upsertion.tags()
    })?;
    answers.whole()
}

/// Steps over what nobody is to know.
fn secret(message: &mut Cursor<'_>) -> Step<()> {
    message.nullable_bytes().map(drop)
}

pub(crate) fn describe(exchange: &mut Exchange<'_>) -> Step<()> {
    if exchange.answer.is_none() {
        return Ok(());
    }
    // What is said of all is said under no name.
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        let code = answer.i16()?;
        answers.say_of_all(code);
        answers.say(None, code, ());
        answer.nullable_string()?;
        answer.each(|result| {
            answers.say(Some(result.string()?), result.i16()?, ());
            result.nullable_string()?;
            result.each(|credential| {
                credential.take(5)?;
                credential.tags()
            })?;
            result.tags()
        })?;
        Ok(())
    });
    let mut request = exchange.request;
    let mut asked = 0;
    request.each(|user| {
        let name = user.string()?;
        asked += 1;
        exchange.event(DESCRIBE, answers.fate(&Some(name))).text("user", name).finish();
        user.tags()
    })?;
    if asked == 0 {
        // No name asks for everybody.
        exchange.event(DESCRIBE, answers.fate(&None)).finish();
    }
    answers.whole()
}

#[cfg(test)]
mod tests;
