//! When the events of a dead process were.

use auditring_journal::{Anchor, SegmentHead, State};
use auditring_ring::{Clock, Ring};

use crate::timeline::{Instant, Timeline, Told, journaled, of_journal};

/// The times of rows: between the dead pump's last anchor and now, or, over a reboot, the best that is known.
pub(super) enum Times {
    Line(Box<Timeline>, Told),
    Fixed(Instant, Anchor),
}

impl Times {
    pub(super) fn new(state: &State, head: &SegmentHead, ring: Option<&Ring>) -> Self {
        let Some(ring) = ring else {
            let now = Clock::detect().anchor();
            let age_ns = state.max_age_ns.max(state.anchor.mono_ns - head.birth.mono_ns).max(0);
            return Self::Fixed(Instant { age_ns, time_ns: now.real_ns }, state.anchor);
        };
        let mut line = Timeline::resumed(ring.clock(), *ring.birth(), of_journal(state.anchor));
        // After whatever is in the ring: stamps lie between this one and the dead pump's last.
        let (now, within_ns) = Clock::new(ring.clock()).anchor_within();
        let mut told = Told::default();
        told.see(line.anchor(now, within_ns));
        Self::Line(Box::new(line), told)
    }

    /// What the clocks have done since the dead pump's last anchor.
    pub(super) fn told(&mut self) -> Vec<Vec<u8>> {
        if let Self::Line(_, told) = self { told.rows(true) } else { Vec::new() }
    }

    pub(super) fn at(&mut self, stamp: u64) -> Instant {
        match self {
            Self::Line(line, _) => line.at(stamp),
            Self::Fixed(instant, _) => *instant,
        }
    }

    pub(super) fn now(&self) -> Instant {
        match self {
            Self::Line(line, _) => line.now(),
            Self::Fixed(instant, _) => *instant,
        }
    }

    pub(super) fn anchor(&self) -> Anchor {
        match self {
            Self::Line(line, _) => journaled(line.last()),
            Self::Fixed(_, anchor) => *anchor,
        }
    }
}
