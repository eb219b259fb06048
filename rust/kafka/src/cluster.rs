//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn alter_replica_log_dirs(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_log_dirs(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn elect_leaders(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn alter_reassignments(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn list_reassignments(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_quotas(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn alter_quotas(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_quorum(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn alter(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn list_config_resources(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
