//! What clients learn of the cluster: the names of topic ids are learnt with them.

use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::TOPIC;
use crate::exchange::Exchange;
use crate::names::{NO_ID, Topic};
use crate::topics::Topics;

/// `ApiVersions`: what a broker speaks is no event.
#[allow(clippy::unnecessary_wraps, reason = "it has the shape of its neighbours")]
pub(crate) fn api_versions(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

/// Metadata.
pub(crate) fn metadata(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let (version, topics) = (exchange.version, exchange.topics);
    let mut denials = Denials::of(exchange);
    if version >= 3 {
        answer.i32()?;
    }
    answer.each(|broker| {
        broker.i32()?;
        broker.string()?;
        broker.i32()?;
        if version >= 1 {
            broker.nullable_string()?;
        }
        broker.tags()
    })?;
    if version >= 2 {
        answer.nullable_string()?;
    }
    if version >= 1 {
        answer.i32()?;
    }
    answer.each(|topic| {
        let (code, name) = (topic.i16()?, topic.nullable_string()?);
        let id = if version >= 10 { topic.uuid()? } else { NO_ID };
        told(&mut denials, topics, code, name, id);
        if version >= 1 {
            topic.bool()?;
        }
        topic.each(|partition| {
            partition.take(if version >= 7 { 14 } else { 10 })?;
            // Replicas, those in sync, and those offline.
            for _ in 0..if version >= 5 { 3 } else { 2 } {
                nodes(partition)?;
            }
            partition.tags()
        })?;
        if version >= 8 {
            topic.i32()?;
        }
        topic.tags()
    })?;
    Ok(())
}

/// `DescribeTopicPartitions`.
pub(crate) fn topic_partitions(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let topics = exchange.topics;
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.each(|topic| {
        let (code, name, id) = (topic.i16()?, topic.nullable_string()?, topic.uuid()?);
        told(&mut denials, topics, code, name, id);
        topic.bool()?;
        topic.each(|partition| {
            partition.take(14)?;
            // Replicas, those in sync, eligible as leaders, last known to be so, and offline.
            for _ in 0..5 {
                nodes(partition)?;
            }
            partition.tags()
        })?;
        topic.i32()?;
        topic.tags()
    })?;
    Ok(())
}

/// What the broker says of a topic.
fn told(denials: &mut Denials<'_>, topics: &Topics, code: i16, name: Option<&[u8]>, id: [u8; 16]) {
    let name = name.filter(|name| !name.is_empty());
    match (code, name) {
        (0, Some(name)) => topics.learn(&id, name),
        (0, None) => {}
        (_, Some(name)) => denials.tell(code, &[(TOPIC, "DESCRIBE", Some(name))]),
        (_, None) if id == NO_ID => denials.tell(code, &[(TOPIC, "DESCRIBE", None)]),
        (_, None) => denials.tell(code, &[(TOPIC, "DESCRIBE", Some(&Topic::Id(id).spoken(topics)))]),
    }
}

/// Ids of brokers.
fn nodes(message: &mut Cursor<'_>) -> Step<()> {
    message.each(|node| node.i32().map(drop)).map(drop)
}

#[cfg(test)]
mod tests;
