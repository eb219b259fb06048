//! From clock stamps to process age and wall time.
//!
//! Owns the anchors of one process: instants read on the stamp's clock, `CLOCK_MONOTONIC` and `CLOCK_REALTIME` at once.
//! Between two anchors a stamp is interpolated. What must always hold: age never goes back within a thread; a stamp that
//! was taken before the anchor that first saw a step of the wall clock keeps the offset from before the step; and time
//! goes on, whatever the processor's counter does.
//!
//! As long as the counter goes on, the map from stamp to age is one fixed, rising function. Where it does not (`rate`) a
//! new clock epoch begins: a stamp is of the epoch in whose range it lies. Those ranges may overlap where a producer
//! was descheduled, so from the first break on no age is below the greatest that was given: producers take their places
//! in the ring one behind the other, so what is true of all of them is true of each.

mod line;
mod rate;
mod told;

use auditring_ring::{Anchor, ClockKind};

use self::line::{Line, Moment};
pub use self::rate::Break;
use self::rate::{Rate, slope};
pub(crate) use self::told::Told;

/// An anchor as the journal has it.
pub(crate) fn journaled(anchor: Anchor) -> auditring_journal::Anchor {
    auditring_journal::Anchor { stamp: anchor.stamp, mono_ns: anchor.mono_ns, real_ns: anchor.real_ns }
}

/// An anchor out of the journal.
pub(crate) fn of_journal(anchor: auditring_journal::Anchor) -> Anchor {
    Anchor { stamp: anchor.stamp, mono_ns: anchor.mono_ns, real_ns: anchor.real_ns }
}

/// Realtime − monotonic is a step function; a difference below this is the noise of reading two clocks.
const STEP_NS: i64 = 500;

/// A step of the wall clock, as `ClockStepped` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Realtime − monotonic before.
    pub before_ns: i64,
    /// Realtime − monotonic after.
    pub after_ns: i64,
}

/// A new clock epoch, as `ClockRestarted` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// What the counter has done.
    pub cause: Break,
    /// It happened in the nanoseconds before the anchor that saw it, so times in them may be off by as much.
    pub within_ns: i64,
}

/// What an anchor has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The wall clock was set.
    pub step: Option<Step>,
    /// The counter did not simply go on.
    pub restart: Option<Restart>,
}

/// What a row says of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// Nanoseconds since birth, monotonic.
    pub age_ns: i64,
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
}

/// The map, from birth to the last anchor.
#[derive(Debug)]
pub struct Timeline {
    kind: ClockKind,
    birth_ns: i64,
    line: Line,
    rate: Rate,
    last: Anchor,
    offset_ns: i64,
    restarted: Option<Restarted>,
}

/// What is known once the counter has broken.
#[derive(Debug)]
struct Restarted {
    /// The least stamp that is of the epoch in force.
    from: u64,
    /// The epoch before.
    before: Line,
    /// The latest moment that was given, and the same without the batch in the making.
    floor: Moment,
    kept: Moment,
}

impl Timeline {
    /// Begins at `birth`.
    #[must_use]
    pub fn new(kind: ClockKind, birth: Anchor) -> Self {
        let offset_ns = birth.real_ns - birth.mono_ns;
        Self {
            kind,
            birth_ns: birth.mono_ns,
            line: Line::new(birth.stamp, birth.mono_ns, offset_ns),
            rate: Rate::new(birth),
            last: birth,
            offset_ns,
            restarted: None,
        }
    }

    /// Goes on where another had come to that began at `birth`: nobody knows what the counter did in between, so how fast
    /// it runs is measured anew.
    #[must_use]
    pub fn resumed(kind: ClockKind, birth: Anchor, last: Anchor) -> Self {
        let mut line = Self::new(kind, birth);
        line.anchor(last, 0);
        line.rate = Rate::new(line.last);
        line
    }

    /// Adds an anchor that was taken after every stamp to be converted next, its clocks read within so many nanoseconds of
    /// each other; tells what it has shown.
    pub fn anchor(&mut self, anchor: Anchor, within_ns: i64) -> Seen {
        if let Some(restarted) = &mut self.restarted {
            restarted.kept = restarted.floor;
        }
        let nanos = anchor.mono_ns - self.last.mono_ns;
        if nanos <= 0 {
            // Two reads within one tick: the last piece simply goes on.
            return Seen::default();
        }
        let broken = match self.kind {
            ClockKind::Monotonic => None,
            ClockKind::Tsc => self.rate.look(&self.last, &anchor),
        };
        if broken.is_none() && anchor.stamp == self.last.stamp {
            return Seen::default();
        }
        let after_ns = anchor.real_ns - anchor.mono_ns;
        let before_ns = self.offset_ns;
        let step = (after_ns - before_ns).abs() >= STEP_NS.max(2 * within_ns);
        if step {
            self.offset_ns = after_ns;
        }
        match broken {
            Some(cause) => self.restart(cause, &anchor, before_ns),
            None => self.line.extend(anchor.stamp, anchor.mono_ns, self.slope_to(&anchor)),
        }
        self.line.turn(self.offset_ns);
        self.last = anchor;
        Seen {
            step: step.then_some(Step { before_ns, after_ns }),
            restart: broken.map(|cause| Restart { cause, within_ns: nanos }),
        }
    }

    fn slope_to(&self, anchor: &Anchor) -> u64 {
        match self.kind {
            ClockKind::Monotonic => 1 << 32,
            ClockKind::Tsc => slope(&self.last, anchor),
        }
    }

    /// Begins a new epoch somewhere between the last anchor and this one. Each of the two may have lasted the whole while.
    #[cold]
    fn restart(&mut self, cause: Break, anchor: &Anchor, offset_ns: i64) {
        // What comes now was stamped after the last anchor, but for what is late.
        let floor = Moment { mono_ns: self.last.mono_ns, offset_ns };
        if cause == Break::Rate {
            // The counter has only risen, so nothing is better than the line between the anchors.
            self.line.extend(anchor.stamp, anchor.mono_ns, self.slope_to(anchor));
            let before = self.restarted.take().map(|known| (known.from, known.before));
            let (from, before) = before.unwrap_or_else(|| (0, Line::new(0, self.birth_ns, offset_ns)));
            self.restarted = Some(Restarted { from, before, floor, kept: floor });
        } else {
            let nanos = anchor.mono_ns - self.last.mono_ns;
            let (slope, ticks) = (self.rate.slope().unwrap_or(0), self.rate.ticks(nanos).unwrap_or(0));
            let from = anchor.stamp.saturating_sub(ticks);
            let lived = ((u128::from(anchor.stamp - from) * u128::from(slope)) >> 32) as i64;
            let begin_ns = (anchor.mono_ns - lived).max(self.last.mono_ns);
            // What was stamped after the break was so after a step that the same anchor shows: of a suspended machine.
            let mut line = Line::new(from, begin_ns, self.offset_ns);
            line.extend(anchor.stamp, anchor.mono_ns, slope);
            let mut before = std::mem::replace(&mut self.line, line);
            before.extend(self.last.stamp.saturating_add(ticks), anchor.mono_ns, slope);
            let from = if ticks == 0 { 0 } else { from };
            self.restarted = Some(Restarted { from, before, floor, kept: floor });
        }
        self.rate = Rate::new(*anchor);
    }

    /// The last anchor.
    #[must_use]
    pub fn last(&self) -> Anchor {
        self.last
    }

    /// The last anchor as a row's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.instant(Moment { mono_ns: self.last.mono_ns, offset_ns: self.offset_ns })
    }

    /// Converts a stamp taken before the last anchor.
    #[inline]
    #[must_use]
    pub fn at(&mut self, stamp: u64) -> Instant {
        if self.restarted.is_some() {
            return self.restarted_at(stamp);
        }
        let moment = self.line.at(stamp);
        self.instant(moment)
    }

    #[cold]
    fn restarted_at(&mut self, stamp: u64) -> Instant {
        let Some(known) = &mut self.restarted else { return self.now() };
        let of_now = (known.from..=self.line.last()).contains(&stamp);
        let moment = if of_now { self.line.at(stamp) } else { known.before.at(stamp) };
        if moment.mono_ns >= known.floor.mono_ns {
            known.floor = moment;
        }
        let floor = known.floor;
        self.instant(floor)
    }

    /// The batch could not be written: its stamps are converted again.
    pub fn abandon(&mut self) {
        if let Some(known) = &mut self.restarted {
            known.floor = known.kept;
        }
    }

    #[inline]
    fn instant(&self, moment: Moment) -> Instant {
        Instant { age_ns: moment.mono_ns - self.birth_ns, time_ns: moment.mono_ns + moment.offset_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIRTH: Anchor = Anchor { stamp: 1_000, mono_ns: 50, real_ns: 1_050 };

    #[test]
    fn a_stamp_between_two_anchors_is_interpolated() {
        let mut line = Timeline::new(ClockKind::Tsc, BIRTH);
        assert_eq!(line.anchor(Anchor { stamp: 3_000, mono_ns: 1_050, real_ns: 2_050 }, 0), Seen::default());
        assert_eq!(line.at(2_000), Instant { age_ns: 500, time_ns: 1_550 });
        assert_eq!(line.now(), Instant { age_ns: 1_000, time_ns: 2_050 });
    }

    #[test]
    fn stamps_before_the_anchor_that_saw_a_step_keep_the_old_offset() {
        let mut line = Timeline::new(ClockKind::Tsc, BIRTH);
        let seen = line.anchor(Anchor { stamp: 3_000, mono_ns: 1_050, real_ns: 1_002_050 }, 0);
        assert_eq!(seen.step, Some(Step { before_ns: 1_000, after_ns: 1_001_000 }));
        assert_eq!(line.at(2_000).time_ns, 1_550);
        line.anchor(Anchor { stamp: 5_000, mono_ns: 2_050, real_ns: 1_003_050 }, 0);
        assert_eq!(line.at(2_000), Instant { age_ns: 500, time_ns: 1_550 });
        assert_eq!(line.at(4_000), Instant { age_ns: 1_500, time_ns: 1_002_550 });
    }
}
