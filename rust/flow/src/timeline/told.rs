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

#[cfg(test)]
mod tests {
    use super::super::Break;
    use super::*;

    const STEP: Seen = Seen { step: Some(Step { before_ns: 1, after_ns: 2_001 }), restart: None };
    const RESTART: Seen = Seen { step: None, restart: Some(Restart { cause: Break::Back, within_ns: 7 }) };

    #[test]
    fn what_was_seen_is_told_until_it_is_written() {
        let mut told = Told::default();
        told.see(STEP);
        told.see(RESTART);
        assert_eq!(told.rows(false).len(), 2);
        assert_eq!(told.rows(false).len(), 2, "the batch could not be written");
        told.written();
        assert!(told.rows(false).is_empty());
    }

    #[test]
    fn restarts_are_told_of_once_a_second_and_at_the_end() {
        let mut told = Told::default();
        told.see(RESTART);
        assert_eq!(told.rows(false).len(), 1);
        told.written();
        told.see(RESTART);
        told.see(RESTART);
        assert!(told.rows(false).is_empty());
        told.written();
        assert_eq!(told.rows(true), vec![restarted((RESTART.restart.unwrap(), 2))]);
    }

    #[test]
    fn steps_that_wait_for_a_disk_are_bounded_and_end_where_the_last_one_did() {
        let mut told = Told::default();
        for at in 0..1_000 {
            told.see(Seen { step: Some(Step { before_ns: at * 1_000, after_ns: (at + 1) * 1_000 }), restart: None });
        }
        let rows = told.rows(false);
        assert_eq!(rows.len(), STEPS);
        assert_eq!(rows[STEPS - 1], stepped(&Step { before_ns: 63_000, after_ns: 1_000_000 }));
    }
}
