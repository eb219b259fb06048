//! What the broker refuses on the cluster as a whole.

use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::CLUSTER;
use crate::exchange::Exchange;

/// The error of the whole answer, behind so many bytes.
fn whole(exchange: &mut Exchange<'_>, before: usize, operation: &'static str) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    answer.take(before)?;
    let code = answer.i16()?;
    Denials::of(exchange).tell(code, &[(CLUSTER, operation, None)]);
    Ok(())
}

/// `UpdateFeatures`, `UnregisterBroker`, `AddRaftVoter`, `RemoveRaftVoter`; and `DescribeCluster`, which only of controllers asks
/// for a right.
pub(crate) fn alter(exchange: &mut Exchange<'_>) -> Step<()> {
    whole(exchange, 4, "ALTER")
}

/// `UpdateRaftVoter`.
pub(crate) fn act(exchange: &mut Exchange<'_>) -> Step<()> {
    whole(exchange, 4, "CLUSTER_ACTION")
}

/// `ListPartitionReassignments`.
pub(crate) fn list_reassignments(exchange: &mut Exchange<'_>) -> Step<()> {
    whole(exchange, 4, "DESCRIBE")
}

/// `AlterPartitionReassignments`.
pub(crate) fn alter_reassignments(exchange: &mut Exchange<'_>) -> Step<()> {
    let before = if exchange.version >= 1 { 5 } else { 4 };
    whole(exchange, before, "ALTER")
}

/// `DescribeClientQuotas`, `ListConfigResources`.
pub(crate) fn describe_configs(exchange: &mut Exchange<'_>) -> Step<()> {
    whole(exchange, 4, "DESCRIBE_CONFIGS")
}

/// `DescribeQuorum`.
pub(crate) fn describe_quorum(exchange: &mut Exchange<'_>) -> Step<()> {
    whole(exchange, 0, "DESCRIBE")
}

/// `DescribeLogDirs`; up to version 2 a refusal looks like a broker without any.
pub(crate) fn describe_log_dirs(exchange: &mut Exchange<'_>) -> Step<()> {
    if exchange.version < 3 { Ok(()) } else { whole(exchange, 4, "DESCRIBE") }
}

/// `AlterReplicaLogDirs`.
pub(crate) fn alter_replica_log_dirs(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.partitions(Cursor::string, |_, partition| {
        partition.i32()?;
        denials.tell(partition.i16()?, &[(CLUSTER, "ALTER", None)]);
        Ok(())
    })
}

/// `ElectLeaders`.
pub(crate) fn elect_leaders(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let version = exchange.version;
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    if version >= 1 {
        denials.tell(answer.i16()?, &[(CLUSTER, "ALTER", None)]);
    }
    answer.partitions(Cursor::string, |_, partition| {
        partition.i32()?;
        denials.tell(partition.i16()?, &[(CLUSTER, "ALTER", None)]);
        partition.nullable_string().map(drop)
    })
}

/// `AlterClientQuotas`.
pub(crate) fn alter_quotas(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.each(|entry| {
        denials.tell(entry.i16()?, &[(CLUSTER, "ALTER_CONFIGS", None)]);
        entry.nullable_string()?;
        entry.each(|part| {
            part.string()?;
            part.nullable_string()?;
            part.tags()
        })?;
        entry.tags()
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
