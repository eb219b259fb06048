//! Topics are created, deleted, given more partitions.

use auditring_event::{ActionSpec, named};

use crate::answers::Answers;
use crate::cursor::{Cursor, Step, TopicId};
use crate::exchange::Exchange;
use crate::names::{NO_ID, Topic};

const CREATE: &ActionSpec = named("CreateTopics");
const DELETE: &ActionSpec = named("DeleteTopics");
const CREATE_PARTITIONS: &ActionSpec = named("CreatePartitions");

/// What an answer to `CreateTopics` says of a topic.
struct Created {
    id: TopicId,
    partitions: i32,
    replicas: i16,
}

pub(crate) fn create(exchange: &mut Exchange<'_>) -> Step<()> {
    let (version, topics) = (exchange.version, exchange.topics);
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answer.each(|topic| {
            let name = topic.string()?;
            let id = if version >= 7 { topic.uuid()? } else { NO_ID };
            let code = topic.i16()?;
            topic.nullable_string()?;
            let (mut partitions, mut replicas) = (-1, -1);
            if version >= 5 {
                (partitions, replicas) = (topic.i32()?, topic.i16()?);
                topic.each(|config| {
                    config.string()?;
                    config.nullable_string()?;
                    config.take(3)?;
                    config.tags()
                })?;
            }
            if code == 0 {
                topics.learn(&id, name);
            }
            answers.say(name, code, Created { id, partitions, replicas });
            topic.tags()
        })?;
        Ok(())
    });
    let validate_only = {
        let mut request = exchange.request;
        request.each(|topic| creatable(topic).map(drop))?;
        request.i32()?;
        request.bool()?
    };
    let mut request = exchange.request;
    request.each(|topic| {
        let (name, mut partitions, mut replicas) = creatable(topic)?;
        let mut draft = exchange.event(CREATE, answers.fate(&name));
        draft.text("topic", name).int("validate_only", validate_only.into());
        if let Some(created) = answers.done(&name) {
            // -1: the broker does not say.
            partitions = if created.partitions < 0 { partitions } else { created.partitions };
            replicas = if created.replicas < 0 { replicas } else { created.replicas };
            draft.topic_id(&created.id);
        }
        draft.int("partitions", partitions.into()).int("replication_factor", replicas.into()).finish();
        Ok(())
    })?;
    answers.whole()
}

/// A topic to create: name, partitions, replicas. Where the client has assigned the partitions itself, both are counted.
fn creatable<'a>(topic: &mut Cursor<'a>) -> Step<(&'a [u8], i32, i16)> {
    let name = topic.string()?;
    let (mut partitions, mut replicas) = (topic.i32()?, topic.i16()?);
    let (mut assigned, mut brokers) = (0i32, 0i16);
    topic.each(|partition| {
        partition.i32()?;
        let mut count = 0i16;
        partition.each(|broker| {
            count = count.saturating_add(1);
            broker.i32().map(drop)
        })?;
        assigned += 1;
        brokers = brokers.max(count);
        partition.tags()
    })?;
    if assigned > 0 {
        (partitions, replicas) = (assigned, brokers);
    }
    topic.each(|config| {
        config.string()?;
        config.nullable_string()?;
        config.tags()
    })?;
    topic.tags()?;
    Ok((name, partitions, replicas))
}

pub(crate) fn delete(exchange: &mut Exchange<'_>) -> Step<()> {
    let (version, topics) = (exchange.version, exchange.topics);
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answer.each(|topic| {
            let name = topic.nullable_string()?;
            let id = if version >= 6 { topic.uuid()? } else { NO_ID };
            let code = topic.i16()?;
            if version >= 5 {
                topic.nullable_string()?;
            }
            // It does not say by which of both it was asked for.
            if let Some(name) = name {
                answers.say(Topic::Name(name), code, (Some(name), id));
            }
            if name.is_none() || id != NO_ID {
                answers.say(Topic::Id(id), code, (name, id));
            }
            topic.tags()
        })?;
        Ok(())
    });
    let mut request = exchange.request;
    request.each(|topic| {
        let (name, asked_id) = if version >= 6 {
            let asked = (topic.nullable_string()?, topic.uuid()?);
            topic.tags()?;
            asked
        } else {
            (Some(topic.string()?), NO_ID)
        };
        let key = name.map_or(Topic::Id(asked_id), Topic::Name);
        let (said_name, said_id) = answers.said(&key).copied().unwrap_or((None, NO_ID));
        let known_id = if asked_id == NO_ID { said_id } else { asked_id };
        let by_id = || (known_id != NO_ID).then(|| Topic::Id(known_id).spoken(topics));
        let mut draft = exchange.event(DELETE, answers.fate(&key));
        if let Some(name) = name.or(said_name).map(Into::into).or_else(by_id) {
            draft.text("topic", &name);
        }
        draft.topic_id(&known_id).finish();
        Ok(())
    })?;
    answers.whole()
}

pub(crate) fn create_partitions(exchange: &mut Exchange<'_>) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answer.each(|topic| {
            let name = topic.string()?;
            answers.say(name, topic.i16()?, ());
            topic.nullable_string()?;
            topic.tags()
        })?;
        Ok(())
    });
    let validate_only = {
        let mut request = exchange.request;
        request.each(|topic| growing(topic).map(drop))?;
        request.i32()?;
        request.bool()?
    };
    let mut request = exchange.request;
    request.each(|topic| {
        let (name, count) = growing(topic)?;
        let mut draft = exchange.event(CREATE_PARTITIONS, answers.fate(&name));
        draft.text("topic", name).int("partitions", count.into()).int("validate_only", validate_only.into()).finish();
        Ok(())
    })?;
    answers.whole()
}

/// A topic that is to have so many partitions.
fn growing<'a>(topic: &mut Cursor<'a>) -> Step<(&'a [u8], i32)> {
    let (name, count) = (topic.string()?, topic.i32()?);
    topic.each(|assignment| {
        assignment.each(|broker| broker.i32().map(drop))?;
        assignment.tags()
    })?;
    topic.tags()?;
    Ok((name, count))
}

#[cfg(test)]
mod tests;
