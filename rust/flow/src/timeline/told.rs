//! What the clocks have done, as rows.
//!
//! What must always hold: every step of the wall clock and every restart of the counter is in a row that was written, also
//! where a batch with it could not be; a counter that breaks all the time is told of once a second.

use std::time::{Duration, Instant as Clockwork};

use auditring_event::named;
use auditring_event::record::{EPOCH, Encoder};

use super::{Restart, Seen, Step};

/// Rows about restarts come no closer together.
const PERIOD: Duration = Duration::from_secs(1);
/// Steps that wait for a disk; past it the last ones are one.
const STEPS: usize = 64;

/// What no row has told of yet.
#[derive(Debug, Default)]
pub(crate) struct Told {
    steps: Vec<Step>,
    /// The last one, and how many there were.
    restarts: Option<(Restart, i64)>,
    last: Option<Clockwork>,
    /// The batch in the making tells of restarts, too.
    telling: bool,
}

impl Told {
    /// Takes in what an anchor has shown.
    pub(crate) fn see(&mut self, seen: Seen) {
        if let Some(restart) = seen.restart {
            let before = self.restarts.map_or(0, |(_, times)| times);
            self.restarts = Some((restart, before + 1));
        }
        let Some(step) = seen.step else { return };
        if self.steps.len() < STEPS {
            self.steps.push(step);
        } else if let Some(last) = self.steps.last_mut() {
            last.after_ns = step.after_ns;
        }
    }

    /// The rows of the batch in the making, behind those of the events that it has taken in.
    pub(crate) fn rows(&mut self, last: bool) -> Vec<Vec<u8>> {
        let mut rows: Vec<_> = self.steps.iter().map(stepped).collect();
        self.telling = last || self.last.is_none_or(|last| last.elapsed() >= PERIOD);
        rows.extend(self.restarts.filter(|_| self.telling).map(restarted));
        rows
    }

    /// The batch is written.
    pub(crate) fn written(&mut self) {
        self.steps.clear();
        if self.telling && self.restarts.take().is_some() {
            self.last = Some(Clockwork::now());
        }
    }
}

fn stepped(step: &Step) -> Vec<u8> {
    let mut event = Encoder::new(const { named("auditring.ClockStepped") });
    event.int("old_offset_ns", step.before_ns).int("new_offset_ns", step.after_ns);
    event.to_vec()
}

fn restarted((restart, times): (Restart, i64)) -> Vec<u8> {
    let mut event = Encoder::new(const { named("auditring.ClockRestarted") });
    event.text("cause", restart.cause.word()).int("within_ns", restart.within_ns).int("restarts", times).flags(EPOCH);
    event.to_vec()
}
