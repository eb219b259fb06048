//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn create(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn delete(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn create_partitions(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
