//! The line of one clock epoch: from stamps to monotonic time.
//!
//! What must always hold: it is one rising, piecewise linear function, extended only at its right end; and what is asked
//! of it never comes out behind that end.

use std::collections::VecDeque;

/// Anchors that are kept: a producer that was descheduled between stamp and claim finds its bracket among them.
const KEPT: usize = 256;

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

/// When a stamp was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) mono_ns: i64,
    /// Realtime − monotonic.
    pub(super) offset_ns: i64,
}

/// The map, from the epoch's first anchor to the last.
#[derive(Debug)]
pub(super) struct Line {
    pieces: VecDeque<Piece>,
    /// Where it ends: stamp, and when that is.
    end: (u64, i64),
    /// Realtime − monotonic behind the end.
    offset_ns: i64,
    /// The piece that was looked up last, but for the newest, and the piece behind it: after a burst many stamps in a row lie
    /// on the same one. Both are fixed once there is a later anchor.
    found: Option<(Piece, Piece)>,
}

impl Line {
    /// Begins with that stamp at that time.
    pub(super) fn new(stamp: u64, mono_ns: i64, offset_ns: i64) -> Self {
        Self { pieces: VecDeque::with_capacity(KEPT), end: (stamp, mono_ns), offset_ns, found: None }
    }

    /// Goes on to a stamp that is not behind the end, at `slope` ns per tick × 2³², but no further than `mono_ns`.
    pub(super) fn extend(&mut self, stamp: u64, mono_ns: i64, slope: u64) {
        if self.pieces.len() == KEPT {
            self.pieces.pop_front();
            // It may be the one that has just gone: older stamps get the oldest moment still known.
            self.found = None;
        }
        self.pieces.push_back(Piece { stamp: self.end.0, mono_ns: self.end.1, slope, offset_ns: self.offset_ns });
        self.end = (stamp, mono_ns);
    }

    /// The wall clock has another offset for stamps behind the end.
    pub(super) fn turn(&mut self, offset_ns: i64) {
        self.offset_ns = offset_ns;
    }

    /// The last stamp that is known of it.
    pub(super) fn last(&self) -> u64 {
        self.end.0
    }

    /// When a stamp was taken.
    #[inline]
    pub(super) fn at(&mut self, stamp: u64) -> Moment {
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
    fn on(&self, piece: &Piece, stamp: u64) -> Moment {
        let nanos = (u128::from(stamp - piece.stamp) * u128::from(piece.slope)) >> 32;
        // Rounding may not carry a stamp past the anchor that closes its piece: age would step back there.
        let most = (self.end.1 - piece.mono_ns) as u128;
        Moment { mono_ns: piece.mono_ns + nanos.min(most) as i64, offset_ns: piece.offset_ns }
    }

    /// On a piece that is not the newest: not past where the next one begins.
    #[inline]
    fn between(&self, piece: &Piece, next: &Piece, stamp: u64) -> Moment {
        let moment = self.on(piece, stamp);
        Moment { mono_ns: moment.mono_ns.min(next.mono_ns), ..moment }
    }

    #[cold]
    fn older(&mut self, stamp: u64) -> Moment {
        let index = self.pieces.partition_point(|piece| piece.stamp <= stamp);
        let Some(piece) = index.checked_sub(1).and_then(|i| self.pieces.get(i)).copied() else {
            // Older than every kept anchor: the oldest moment still known.
            let oldest =
                self.pieces.front().map_or((self.end.1, self.offset_ns), |piece| (piece.mono_ns, piece.offset_ns));
            return Moment { mono_ns: oldest.0, offset_ns: oldest.1 };
        };
        let Some(next) = self.pieces.get(index).copied() else { return self.on(&piece, stamp) };
        self.found = Some((piece, next));
        self.between(&piece, &next, stamp)
    }
}
