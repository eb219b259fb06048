//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn create(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn renew(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn expire(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
