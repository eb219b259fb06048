//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn find_coordinator(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn member(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn delete(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_consumers(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_shares(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn acknowledge(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
