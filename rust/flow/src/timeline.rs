//! From clock stamps to process age and wall time.
//!
//! Owns the anchors of one process: instants read on the stamp's clock, `CLOCK_MONOTONIC` and `CLOCK_REALTIME` at once.
//! Between two anchors a stamp is interpolated. What must always hold: the map from stamp to age is one fixed, rising,
//! piecewise linear function, extended only at its right end, so that age never goes back within a thread; and a stamp
//! that was taken before the anchor that first saw a step of the wall clock keeps the offset from before the step.

use std::collections::VecDeque;

use auditring_ring::{Anchor, ClockKind};

/// An anchor as the journal has it.
pub(crate) fn journaled(anchor: Anchor) -> auditring_journal::Anchor {
    auditring_journal::Anchor { stamp: anchor.stamp, mono_ns: anchor.mono_ns, real_ns: anchor.real_ns }
}

/// An anchor out of the journal.
pub(crate) fn of_journal(anchor: auditring_journal::Anchor) -> Anchor {
    Anchor { stamp: anchor.stamp, mono_ns: anchor.mono_ns, real_ns: anchor.real_ns }
}

/// Anchors that are kept: a producer that was descheduled between stamp and claim finds its bracket among them.
const KEPT: usize = 256;
/// Realtime − monotonic is a step function; a difference below this is the noise of reading two clocks.
const STEP_NS: u64 = 500;

/// One linear piece: from this anchor to the next.
#[derive(Clone, Copy, Debug)]
struct Piece {
    stamp: u64,
    mono_ns: i64,
    /// ns per tick × 2³².
    slope: u64,
    /// Realtime − monotonic for stamps from here on.
    offset_ns: i64,
}

/// A step of the wall clock, as `ClockStepped` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Realtime − monotonic before.
    pub before_ns: i64,
    /// Realtime − monotonic after.
    pub after_ns: i64,
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
    birth: Anchor,
    pieces: VecDeque<Piece>,
    last: Anchor,
    offset_ns: i64,
    /// The piece that was looked up last, but for the newest, and the piece behind it: after a burst many stamps in a row lie
    /// on the same one. Both are fixed once there is a later anchor.
    found: Option<(Piece, Piece)>,
}

impl Timeline {
    /// Begins at `birth`.
    #[must_use]
    pub fn new(kind: ClockKind, birth: Anchor) -> Self {
        Self {
            kind,
            birth,
            pieces: VecDeque::with_capacity(KEPT),
            last: birth,
            offset_ns: birth.real_ns.wrapping_sub(birth.mono_ns),
            found: None,
        }
    }

    /// Adds an anchor that was taken after every stamp to be converted next; tells of a step of the wall clock.
    pub fn anchor(&mut self, anchor: Anchor) -> Option<Step> {
        if anchor.stamp <= self.last.stamp || anchor.mono_ns <= self.last.mono_ns {
            // Two reads within one tick, or clocks that do not rise: the last piece simply goes on.
            return None;
        }
        let ticks = anchor.stamp - self.last.stamp;
        let nanos = anchor.mono_ns.abs_diff(self.last.mono_ns);
        let slope = match self.kind {
            ClockKind::Monotonic => 1 << 32,
            ClockKind::Tsc => ((u128::from(nanos) << 32) / u128::from(ticks)) as u64,
        };
        if self.pieces.len() == KEPT {
            self.pieces.pop_front();
            // It may be the one that has just gone: older stamps get the oldest instant still known.
            self.found = None;
        }
        let piece = Piece { stamp: self.last.stamp, mono_ns: self.last.mono_ns, slope, offset_ns: self.offset_ns };
        self.pieces.push_back(piece);
        self.last = anchor;
        let after_ns = anchor.real_ns.wrapping_sub(anchor.mono_ns);
        let before_ns = self.offset_ns;
        if after_ns.abs_diff(before_ns) < STEP_NS {
            return None;
        }
        self.offset_ns = after_ns;
        Some(Step { before_ns, after_ns })
    }

    /// The last anchor.
    #[must_use]
    pub fn last(&self) -> Anchor {
        self.last
    }

    /// The last anchor as a row's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.instant(self.last.mono_ns, self.offset_ns)
    }

    /// Modulo: anchors may come out of a ring or a journal that says what it likes.
    #[inline]
    fn instant(&self, mono_ns: i64, offset_ns: i64) -> Instant {
        Instant { age_ns: mono_ns.wrapping_sub(self.birth.mono_ns), time_ns: mono_ns.wrapping_add(offset_ns) }
    }

    /// Converts a stamp taken before the last anchor.
    #[inline]
    #[must_use]
    pub fn at(&mut self, stamp: u64) -> Instant {
        match self.pieces.back() {
            Some(piece) if stamp >= piece.stamp => return self.on(piece, stamp),
            _ => {}
        }
        match &self.found {
            Some((piece, next)) if (piece.stamp..next.stamp).contains(&stamp) => self.between(piece, next, stamp),
            _ => self.older(stamp),
        }
    }

    #[inline]
    fn on(&self, piece: &Piece, stamp: u64) -> Instant {
        let ticks = stamp - piece.stamp;
        let nanos = ((u128::from(ticks) * u128::from(piece.slope)) >> 32) as i64;
        let mono_ns = piece.mono_ns.wrapping_add(nanos);
        // Rounding may not carry a stamp past the anchor that closes its piece: age would step back there.
        let mono_ns = mono_ns.min(self.last.mono_ns);
        self.instant(mono_ns, piece.offset_ns)
    }

    /// On a piece that is not the newest: not past where the next one begins.
    #[inline]
    fn between(&self, piece: &Piece, next: &Piece, stamp: u64) -> Instant {
        let mut instant = self.on(piece, stamp);
        let age_ns = instant.age_ns.min(next.mono_ns.wrapping_sub(self.birth.mono_ns));
        instant.time_ns = instant.time_ns.wrapping_add(age_ns.wrapping_sub(instant.age_ns));
        instant.age_ns = age_ns;
        instant
    }

    #[cold]
    fn older(&mut self, stamp: u64) -> Instant {
        let index = self.pieces.partition_point(|piece| piece.stamp <= stamp);
        let Some(piece) = index.checked_sub(1).and_then(|i| self.pieces.get(i)).copied() else {
            // Older than every kept anchor (or than birth, by a clock that went back): the oldest instant still known.
            let (mono_ns, offset_ns) = self
                .pieces
                .front()
                .map_or((self.birth.mono_ns, self.offset_ns), |piece| (piece.mono_ns, piece.offset_ns));
            return self.instant(mono_ns, offset_ns);
        };
        let Some(next) = self.pieces.get(index).copied() else { return self.on(&piece, stamp) };
        self.found = Some((piece, next));
        self.between(&piece, &next, stamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BIRTH: Anchor = Anchor { stamp: 1_000, mono_ns: 50, real_ns: 1_050 };

    #[test]
    fn a_stamp_between_two_anchors_is_interpolated() {
        let mut line = Timeline::new(ClockKind::Tsc, BIRTH);
        assert_eq!(line.anchor(Anchor { stamp: 3_000, mono_ns: 1_050, real_ns: 2_050 }), None);
        assert_eq!(line.at(2_000), Instant { age_ns: 500, time_ns: 1_550 });
        assert_eq!(line.now(), Instant { age_ns: 1_000, time_ns: 2_050 });
    }

    #[test]
    fn stamps_before_the_anchor_that_saw_a_step_keep_the_old_offset() {
        let mut line = Timeline::new(ClockKind::Tsc, BIRTH);
        let step = line.anchor(Anchor { stamp: 3_000, mono_ns: 1_050, real_ns: 1_002_050 });
        assert_eq!(step, Some(Step { before_ns: 1_000, after_ns: 1_001_000 }));
        assert_eq!(line.at(2_000).time_ns, 1_550);
        line.anchor(Anchor { stamp: 5_000, mono_ns: 2_050, real_ns: 1_003_050 });
        assert_eq!(line.at(2_000), Instant { age_ns: 500, time_ns: 1_550 });
        assert_eq!(line.at(4_000), Instant { age_ns: 1_500, time_ns: 1_002_550 });
    }

    proptest! {
        #[test]
        fn age_rises_with_the_stamp_across_any_anchors(
            gaps in prop::collection::vec((1_u64..5_000, 1_i64..3_000), 1..400),
            probes in prop::collection::vec(any::<prop::sample::Index>(), 2..50),
        ) {
            let mut line = Timeline::new(ClockKind::Tsc, BIRTH);
            let mut anchor = BIRTH;
            for (ticks, nanos) in gaps {
                anchor.stamp += ticks;
                anchor.mono_ns += nanos;
                anchor.real_ns += nanos;
                line.anchor(anchor);
            }
            let span = (anchor.stamp - BIRTH.stamp) as usize;
            let mut stamps: Vec<u64> = probes.iter().map(|p| BIRTH.stamp + p.index(span + 1) as u64).collect();
            stamps.sort_unstable();
            let ages: Vec<i64> = stamps.iter().map(|s| line.at(*s).age_ns).collect();
            prop_assert!(ages.is_sorted());
            prop_assert!(*ages.last().unwrap() <= line.now().age_ns && ages[0] >= 0);
        }
    }
}
