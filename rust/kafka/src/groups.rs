//! What members and observers of groups are refused.

use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::{CLUSTER, GROUP, TOPIC, TRANSACTIONAL_ID};
use crate::exchange::Exchange;
use crate::names::Topic;

/// `JoinGroup`.
pub(crate) fn join(exchange: &mut Exchange<'_>) -> Step<()> {
    speak(exchange, 2)
}

/// Heartbeat, `SyncGroup`, `LeaveGroup`.
pub(crate) fn member(exchange: &mut Exchange<'_>) -> Step<()> {
    speak(exchange, 1)
}

/// The heartbeats of newer kinds of groups.
pub(crate) fn heartbeat(exchange: &mut Exchange<'_>) -> Step<()> {
    speak(exchange, 0)
}

/// What a member says: the request begins with the group, the answer with the error, which in the newer versions has a
/// time before it. Which of its topics a heartbeat may not describe, nobody says.
fn speak(exchange: &mut Exchange<'_>, timed: i16) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    if exchange.version >= timed {
        answer.i32()?;
    }
    let code = answer.i16()?;
    let group = exchange.request.clone().string()?;
    Denials::of(exchange).tell(code, &[(GROUP, "READ", Some(group)), (TOPIC, "DESCRIBE", None)]);
    Ok(())
}

/// `FindCoordinator`.
pub(crate) fn find_coordinator(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let (version, mut request) = (exchange.version, exchange.request);
    let mut denials = Denials::of(exchange);
    let mut tell = |code, key| {
        let rules = [
            (GROUP, "DESCRIBE", Some(key)),
            (TRANSACTIONAL_ID, "DESCRIBE", Some(key)),
            (CLUSTER, "CLUSTER_ACTION", None),
        ];
        denials.tell(code, &rules);
    };
    if version >= 1 {
        answer.i32()?;
    }
    if version < 4 {
        tell(answer.i16()?, request.string()?);
        return Ok(());
    }
    answer.each(|coordinator| {
        let key = coordinator.string()?;
        coordinator.i32()?;
        coordinator.string()?;
        coordinator.i32()?;
        tell(coordinator.i16()?, key);
        coordinator.nullable_string()?;
        coordinator.tags()
    })?;
    Ok(())
}

/// `DescribeGroups`.
pub(crate) fn describe(exchange: &mut Exchange<'_>) -> Step<()> {
    let version = exchange.version;
    described(exchange, 1, version >= 6, |group| {
        for _ in ["state", "kind of protocol", "protocol"] {
            group.string()?;
        }
        group.each(|member| {
            member.string()?;
            if version >= 4 {
                member.nullable_string()?;
            }
            member.string()?;
            member.string()?;
            member.nullable_bytes()?;
            member.nullable_bytes()?;
            member.tags()
        })?;
        if version >= 3 {
            group.i32()?;
        }
        Ok(())
    })
}

/// `ConsumerGroupDescribe`.
pub(crate) fn describe_consumers(exchange: &mut Exchange<'_>) -> Step<()> {
    let version = exchange.version;
    described(exchange, 0, true, |group| {
        group.string()?;
        group.take(8)?;
        group.string()?;
        group.each(|member| {
            member.string()?;
            member.nullable_string()?;
            member.nullable_string()?;
            member.i32()?;
            member.string()?;
            member.string()?;
            member.each(|topic| topic.string().map(drop))?;
            member.nullable_string()?;
            assignment(member)?;
            assignment(member)?;
            if version >= 1 {
                member.i8()?;
            }
            member.tags()
        })?;
        group.i32().map(drop)
    })
}

/// `ShareGroupDescribe`.
pub(crate) fn describe_shares(exchange: &mut Exchange<'_>) -> Step<()> {
    described(exchange, 0, true, |group| {
        group.string()?;
        group.take(8)?;
        group.string()?;
        group.each(|member| {
            member.string()?;
            member.nullable_string()?;
            member.i32()?;
            member.string()?;
            member.string()?;
            member.each(|topic| topic.string().map(drop))?;
            assignment(member)?;
            member.tags()
        })?;
        group.i32().map(drop)
    })
}

/// Groups that were described, each by its error and its name, and whatever else the kind of group has.
fn described(
    exchange: &mut Exchange<'_>,
    timed: i16,
    says_why: bool,
    mut more: impl FnMut(&mut Cursor<'_>) -> Step<()>,
) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    if exchange.version >= timed {
        answer.i32()?;
    }
    let mut denials = Denials::of(exchange);
    answer.each(|group| {
        let code = group.i16()?;
        if says_why {
            group.nullable_string()?;
        }
        denials.tell(code, &[(GROUP, "DESCRIBE", Some(group.string()?)), (TOPIC, "DESCRIBE", None)]);
        more(group)?;
        group.tags()
    })?;
    Ok(())
}

/// Partitions that a member has.
fn assignment(member: &mut Cursor<'_>) -> Step<()> {
    member.each(|topic| {
        topic.uuid()?;
        topic.string()?;
        topic.each(|partition| partition.i32().map(drop))?;
        topic.tags()
    })?;
    member.tags()
}

/// `DeleteGroups`.
pub(crate) fn delete(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let version = exchange.version;
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.each(|group| {
        let name = Some(group.string()?);
        denials.tell(group.i16()?, &[(GROUP, "DELETE", name)]);
        if version >= 3 {
            group.nullable_string()?;
        }
        group.tags()
    })?;
    Ok(())
}

/// `ShareAcknowledge`.
pub(crate) fn acknowledge(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let (version, topics) = (exchange.version, exchange.topics);
    let group = exchange.request.clone().nullable_string()?;
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    denials.tell(answer.i16()?, &[(GROUP, "READ", group), (TOPIC, "READ", None)]);
    answer.nullable_string()?;
    if version >= 2 {
        answer.i32()?;
    }
    answer.partitions(
        |message| Topic::read(message, true),
        |topic, partition| {
            partition.i32()?;
            let code = partition.i16()?;
            if code != 0 {
                denials.tell(code, &[(GROUP, "READ", group), (TOPIC, "READ", Some(&topic.spoken(topics)))]);
            }
            partition.nullable_string()?;
            partition.take(8)?;
            // Of the leader; the partition's own come behind.
            partition.tags()
        },
    )
}

#[cfg(test)]
mod tests;
