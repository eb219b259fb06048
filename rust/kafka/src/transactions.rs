//! What producers in transactions, and those who look at them, are refused.

use crate::cursor::{Cursor, Step};
use crate::denials::{Denials, Rule};
use crate::errors::{CLUSTER, GROUP, TOPIC, TRANSACTIONAL_ID, is_denial};
use crate::exchange::Exchange;
use crate::offsets::{self, Form, committed};

/// May this producer write in the name of the transactional id?
const fn writes(transactional_id: Option<&[u8]>) -> Rule<'_> {
    (TRANSACTIONAL_ID, "WRITE", transactional_id)
}

/// `InitProducerId`.
pub(crate) fn init_producer_id(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    answer.i32()?;
    let code = answer.i16()?;
    let id = exchange.request.clone().nullable_string()?;
    Denials::of(exchange).tell(code, &[writes(id), (CLUSTER, "IDEMPOTENT_WRITE", None)]);
    Ok(())
}

/// `AddPartitionsToTxn`.
pub(crate) fn add_partitions(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let (version, mut request) = (exchange.version, exchange.request);
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    if version < 4 {
        return added(&mut denials, Some(request.string()?), &mut answer);
    }
    denials.tell(answer.i16()?, &[(CLUSTER, "CLUSTER_ACTION", None)]);
    answer.each(|transaction| {
        let id = transaction.string()?;
        added(&mut denials, Some(id), transaction)?;
        transaction.tags()
    })?;
    Ok(())
}

/// The topics of one transaction.
fn added(denials: &mut Denials<'_>, id: Option<&[u8]>, answer: &mut Cursor<'_>) -> Step<()> {
    answer.partitions(Cursor::string, |name, partition| {
        partition.i32()?;
        denials.tell(partition.i16()?, &[writes(id), (TOPIC, "WRITE", Some(name))]);
        Ok(())
    })
}

/// `AddOffsetsToTxn`.
pub(crate) fn add_offsets(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut request = exchange.request;
    let id = request.string()?;
    request.take(10)?;
    let group = request.string()?;
    answer.i32()?;
    let code = answer.i16()?;
    Denials::of(exchange).tell(code, &[writes(Some(id)), (GROUP, "READ", Some(group))]);
    Ok(())
}

/// `EndTxn`.
pub(crate) fn end(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    answer.i32()?;
    let code = answer.i16()?;
    let id = exchange.request.clone().string()?;
    Denials::of(exchange).tell(code, &[writes(Some(id))]);
    Ok(())
}

/// `WriteTxnMarkers`, by which an administrator ends a transaction that hangs.
pub(crate) fn write_markers(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.each(|marker| {
        marker.take(8)?;
        marker.partitions(Cursor::string, |_, partition| {
            partition.i32()?;
            denials.tell(partition.i16()?, &[(CLUSTER, "CLUSTER_ACTION", None)]);
            Ok(())
        })?;
        marker.tags()
    })?;
    Ok(())
}

/// `TxnOffsetCommit`. Without a generation, which the first versions do not have, it is not a member of the group that
/// speaks: somebody sets the group's offsets.
pub(crate) fn commit_offsets(exchange: &mut Exchange<'_>) -> Step<()> {
    let (version, topics, mut request) = (exchange.version, exchange.topics, exchange.request);
    let (id, group) = (request.string()?, request.string()?);
    let form = Form { by_id: version >= 6, throttled: true, epochs: version >= 2 };
    let _producer_id_and_epoch = request.take(10)?;
    let mut generation = -1;
    if version >= 3 {
        generation = request.i32()?;
        request.string()?;
        request.nullable_string()?;
    }
    if generation < 0 {
        return offsets::set(exchange, request, form, &[("group_id", group), ("transactional_id", id)]);
    }
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    committed(&mut answer, form.by_id, |topic, _, code| {
        if is_denial(code) {
            let name = topic.spoken(topics);
            denials.tell(code, &[writes(Some(id)), (GROUP, "READ", Some(group)), (TOPIC, "READ", Some(&name))]);
        }
    })
}

/// `DescribeProducers`.
pub(crate) fn describe_producers(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.partitions(Cursor::string, |name, partition| {
        partition.i32()?;
        denials.tell(partition.i16()?, &[(TOPIC, "READ", Some(name))]);
        partition.nullable_string()?;
        let producer = |producer: &mut Cursor<'_>| {
            producer.take(36)?;
            producer.tags()
        };
        partition.each(producer).map(drop)
    })
}

/// `DescribeTransactions`.
pub(crate) fn describe(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.each(|transaction| {
        let code = transaction.i16()?;
        denials.tell(code, &[(TRANSACTIONAL_ID, "DESCRIBE", Some(transaction.string()?))]);
        transaction.string()?;
        transaction.take(22)?;
        transaction.each(|topic| {
            topic.string()?;
            topic.each(|partition| partition.i32().map(drop))?;
            topic.tags()
        })?;
        transaction.tags()
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
