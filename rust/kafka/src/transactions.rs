//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn init_producer_id(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn add_partitions(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn add_offsets(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn end(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn commit_offsets(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_producers(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
