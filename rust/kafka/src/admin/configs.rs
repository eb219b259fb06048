//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn describe(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn alter(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn incremental_alter(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
