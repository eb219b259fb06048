//! Positions of groups and of logs: who sets one is an event, who merely asks only where that is refused.

use auditring_event::{ActionSpec, named};

use crate::answers::Answers;
use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::{GROUP, TOPIC};
use crate::exchange::Exchange;
use crate::names::Topic;

const RESET: &ActionSpec = named("ResetOffsets");

/// A commit. Without a generation it is not a member of the group that speaks: somebody sets the group's offsets.
pub(crate) fn commit(exchange: &mut Exchange<'_>) -> Step<()> {
    let (version, by_id) = (exchange.version, exchange.version >= 10);
    let mut request = exchange.request;
    let (group, generation) = (request.string()?, request.i32()?);
    request.string()?;
    if version >= 7 {
        request.nullable_string()?;
    }
    if version <= 4 {
        request.i64()?;
    }
    if generation >= 0 {
        let Some(mut answer) = exchange.answer else { return Ok(()) };
        if version >= 3 {
            answer.i32()?;
        }
        let topics = exchange.topics;
        let mut denials = Denials::of(exchange);
        return committed(&mut answer, by_id, |topic, _, code| {
            if crate::errors::is_denial(code) {
                let name = topic.spoken(topics);
                denials.tell(code, &[(GROUP, "READ", Some(group)), (TOPIC, "READ", Some(&name))]);
            }
        });
    }
    let form = Form { by_id, throttled: version >= 3, epochs: version >= 6 };
    set(exchange, request, form, &[("group_id", group)])
}

/// How a version of a commit lays its partitions down.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// Topics by their ids.
    pub(crate) by_id: bool,
    /// An answer begins with the time for which it throttles.
    pub(crate) throttled: bool,
    /// Partitions have the epochs of their leaders.
    pub(crate) epochs: bool,
}

/// A commit of one who is no member of the group; `request` stands before its topics.
pub(crate) fn set(
    exchange: &mut Exchange<'_>,
    mut request: Cursor<'_>,
    form: Form,
    whose: &[(&'static str, &[u8])],
) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        if form.throttled {
            answer.i32()?;
        }
        committed(answer, form.by_id, |topic, partition, code| answers.say((topic, partition), code, ()))
    });
    let topics = exchange.topics;
    request.partitions(
        |message| Topic::read(message, form.by_id),
        |topic, partition| {
            let (index, offset) = (partition.i32()?, partition.i64()?);
            if form.epochs {
                partition.i32()?;
            }
            partition.nullable_string()?;
            let mut draft = exchange.event(RESET, answers.fate(&(topic, index)));
            for (field, value) in whose {
                draft.text(field, value);
            }
            draft.called(&topic, topics).int("partition", index.into()).int("offset", offset).finish();
            Ok(())
        },
    )?;
    answers.whole()
}

/// What an answer to a commit says of each partition.
pub(crate) fn committed<'a>(
    answer: &mut Cursor<'a>,
    by_id: bool,
    mut say: impl FnMut(Topic<'a>, i32, i16),
) -> Step<()> {
    answer.partitions(
        |message| Topic::read(message, by_id),
        |topic, partition| {
            say(topic, partition.i32()?, partition.i16()?);
            Ok(())
        },
    )
}

/// `OffsetDelete`.
pub(crate) fn delete(exchange: &mut Exchange<'_>) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answers.say_of_all(answer.i16()?);
        answer.i32()?;
        committed(answer, false, |topic, partition, code| answers.say((topic, partition), code, ()))
    });
    let topics = exchange.topics;
    let mut request = exchange.request;
    let group = request.string()?;
    request.partitions(
        |message| Topic::read(message, false),
        |topic, partition| {
            let index = partition.i32()?;
            let mut draft = exchange.event(RESET, answers.fate(&(topic, index)));
            draft.text("group_id", group).called(&topic, topics).int("partition", index.into()).finish();
            Ok(())
        },
    )?;
    answers.whole()
}

/// `AlterShareGroupOffsets`.
pub(crate) fn alter_shares(exchange: &mut Exchange<'_>) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answers.say_of_all(answer.i16()?);
        answer.nullable_string()?;
        answer.partitions(
            |topic| Ok((topic.string()?, topic.uuid()?)),
            |(name, id), partition| {
                answers.say((name, partition.i32()?), partition.i16()?, id);
                partition.nullable_string().map(drop)
            },
        )
    });
    let mut request = exchange.request;
    let group = request.string()?;
    request.partitions(Cursor::string, |name, partition| {
        let (index, offset) = (partition.i32()?, partition.i64()?);
        let mut draft = exchange.event(RESET, answers.fate(&(name, index)));
        draft.text("group_id", group).text("topic", name).int("partition", index.into()).int("offset", offset);
        if let Some(id) = answers.said(&(name, index)) {
            draft.topic_id(id);
        }
        draft.finish();
        Ok(())
    })?;
    answers.whole()
}

/// `DeleteShareGroupOffsets`: all partitions of a topic at once.
pub(crate) fn delete_shares(exchange: &mut Exchange<'_>) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answers.say_of_all(answer.i16()?);
        answer.nullable_string()?;
        answer.each(|topic| {
            let (name, id) = (topic.string()?, topic.uuid()?);
            answers.say(name, topic.i16()?, id);
            topic.nullable_string()?;
            topic.tags()
        })?;
        Ok(())
    });
    let mut request = exchange.request;
    let group = request.string()?;
    request.each(|topic| {
        let name = topic.string()?;
        let mut draft = exchange.event(RESET, answers.fate(&name));
        draft.text("group_id", group).text("topic", name);
        if let Some(id) = answers.said(&name) {
            draft.topic_id(id);
        }
        draft.finish();
        topic.tags()
    })?;
    answers.whole()
}

/// `ListOffsets`.
pub(crate) fn list(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let version = exchange.version;
    let mut denials = Denials::of(exchange);
    if version >= 2 {
        answer.i32()?;
    }
    answer.partitions(Cursor::string, |name, partition| {
        partition.i32()?;
        denials.tell(partition.i16()?, &[(TOPIC, "DESCRIBE", Some(name))]);
        partition.take(if version >= 4 { 20 } else { 16 }).map(drop)
    })
}

/// `OffsetForLeaderEpoch`.
pub(crate) fn for_leader_epoch(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.partitions(Cursor::string, |name, partition| {
        denials.tell(partition.i16()?, &[(TOPIC, "DESCRIBE", Some(name))]);
        partition.take(16).map(drop)
    })
}

/// `OffsetFetch`.
pub(crate) fn fetch(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let (version, topics) = (exchange.version, exchange.topics);
    let mut request = exchange.request;
    let mut denials = Denials::of(exchange);
    if version >= 3 {
        answer.i32()?;
    }
    // One group of a version that knows only one, or of several.
    let mut group = |group: &[u8], message: &mut Cursor<'_>| {
        let mut tell = |code, topic: Option<&[u8]>| {
            denials.tell(code, &[(GROUP, "DESCRIBE", Some(group)), (TOPIC, "DESCRIBE", topic)]);
        };
        message.partitions(
            |message| Topic::read(message, version >= 10),
            |topic, partition| {
                partition.take(if version >= 5 { 16 } else { 12 })?;
                partition.nullable_string()?;
                let code = partition.i16()?;
                if code != 0 {
                    tell(code, Some(&topic.spoken(topics)));
                }
                Ok(())
            },
        )?;
        if version >= 2 {
            tell(message.i16()?, None);
        }
        Ok(())
    };
    if version < 8 {
        return group(request.string()?, &mut answer);
    }
    answer.each(|message| {
        let name = message.string()?;
        group(name, message)?;
        message.tags()
    })?;
    Ok(())
}

/// `DescribeShareGroupOffsets`.
pub(crate) fn describe_shares(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let version = exchange.version;
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.each(|message| {
        let group = Some(message.string()?);
        message.partitions(
            |topic| Ok((topic.string()?, topic.uuid()?)),
            |(name, _), partition| {
                partition.take(if version >= 1 { 24 } else { 16 })?;
                denials.tell(partition.i16()?, &[(GROUP, "DESCRIBE", group), (TOPIC, "DESCRIBE", Some(name))]);
                partition.nullable_string().map(drop)
            },
        )?;
        denials.tell(message.i16()?, &[(GROUP, "DESCRIBE", group), (TOPIC, "DESCRIBE", None)]);
        message.nullable_string()?;
        message.tags()
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
