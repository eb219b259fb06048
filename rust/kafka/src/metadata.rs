//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn api_versions(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn metadata(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn topic_partitions(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
