//! .

use crate::cursor::Step;
use crate::exchange::Exchange;

pub(crate) fn delete(_: &mut Exchange<'_>) -> Step<()> {
    Ok(())
}
