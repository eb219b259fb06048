//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn list(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn commit(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn fetch(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn for_leader_epoch(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn delete(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn describe_shares(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn alter_shares(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}

pub(crate) fn delete_shares(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
