//! `DeleteRecords`: what lies before an offset is gone.

use auditring_event::{ActionSpec, named};

use crate::answers::Answers;
use crate::cursor::{Cursor, Step};
use crate::exchange::Exchange;

const DELETE: &ActionSpec = named("Delete");

pub(crate) fn delete(exchange: &mut Exchange<'_>) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answer.partitions(Cursor::string, |name, partition| {
            let (index, low) = (partition.i32()?, partition.i64()?);
            answers.say((name, index), partition.i16()?, low);
            Ok(())
        })
    });
    let mut request = exchange.request;
    request.partitions(Cursor::string, |name, partition| {
        // Up to where it was asked for may be -1, all that there is; how far it went is in the answer.
        let (index, _) = (partition.i32()?, partition.i64()?);
        let key = (name, index);
        let mut draft = exchange.event(DELETE, answers.fate(&key));
        draft.text("topic", name).int("partition", index.into());
        if let Some(low) = answers.done(&key).filter(|low| **low > 0) {
            draft.int("last_offset", low - 1);
        }
        draft.finish();
        Ok(())
    })?;
    answers.whole()
}

#[cfg(test)]
mod tests;
