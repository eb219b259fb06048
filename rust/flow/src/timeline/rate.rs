//! How fast the processor's counter runs, and whether it still does.
//!
//! What must always hold: an anchor that the counter cannot have come to by itself is told of, whatever it did: it went
//! back, it jumped, it stood still, or it runs at another rate. A machine that was suspended, moved or stopped may do
//! any of it to a counter that the kernel trusts.

use auditring_ring::Anchor;

/// A rate is known once it was measured over so long: two anchors are paired to within a microsecond.
const MEASURED_NS: i64 = 100_000_000;
/// Over so long it is compared with the rate that the epoch began with.
const CHECKED_NS: i64 = 1_000_000_000;
/// What the two anchors of an interval may be off by, beside the part below; less is not seen where the counter rises.
const NOISE_NS: i64 = 250_000;
/// How far the rate may be off: a thousandth part.
const PART: i64 = 1_000;

/// What the counter has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// It counts from before where it was.
    Back,
    /// It is further than it can have come.
    Jump,
    /// It is not as far as it should be, or further, but by so little that the interval is one and the same.
    Rate,
}

impl Break {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Back => "back",
            Self::Jump => "jump",
            Self::Rate => "rate",
        }
    }
}

/// The rate of one clock epoch.
#[derive(Debug)]
pub(super) struct Rate {
    /// Where the measurement began.
    from: Anchor,
    /// ns per tick × 2³², once it is known.
    slope: Option<u64>,
    /// Until when it was compared.
    checked: Anchor,
}

/// Nanoseconds a tick, times 2³², from one anchor to a later one.
pub(super) fn slope(from: &Anchor, to: &Anchor) -> u64 {
    let ticks = u128::from(to.stamp.saturating_sub(from.stamp).max(1));
    let nanos = u128::from(to.mono_ns.saturating_sub(from.mono_ns).unsigned_abs());
    u64::try_from((nanos << 32) / ticks).unwrap_or(u64::MAX)
}

impl Rate {
    pub(super) fn new(from: Anchor) -> Self {
        Self { from, slope: None, checked: from }
    }

    /// Ticks that so many nanoseconds take, where that is known.
    pub(super) fn ticks(&self, nanos: i64) -> Option<u64> {
        let slope = self.slope.filter(|slope| *slope > 0)?;
        u64::try_from((u128::from(nanos.unsigned_abs()) << 32) / u128::from(slope)).ok()
    }

    /// Nanoseconds a tick × 2³², where that is known.
    pub(super) fn slope(&self) -> Option<u64> {
        self.slope
    }

    /// Looks at the interval from `last` to a later anchor; tells if the counter did not simply go on.
    pub(super) fn look(&mut self, last: &Anchor, now: &Anchor) -> Option<Break> {
        let nanos = now.mono_ns - last.mono_ns;
        if now.stamp < last.stamp {
            return Some(Break::Back);
        }
        let ticks = now.stamp - last.stamp;
        if ticks == 0 {
            return (nanos > NOISE_NS).then_some(Break::Rate);
        }
        let Some(slope) = self.slope else {
            if now.mono_ns - self.from.mono_ns >= MEASURED_NS {
                self.slope = Some(self::slope(&self.from, now));
                self.checked = *now;
            }
            return None;
        };
        let expected = (u128::from(ticks) * u128::from(slope)) >> 32;
        let off = i64::try_from(expected).map_or(i64::MAX, |expected| (expected - nanos).abs());
        if off > NOISE_NS + nanos / PART {
            let most = self.ticks(nanos).unwrap_or(u64::MAX);
            return Some(if ticks > most.saturating_mul(2) { Break::Jump } else { Break::Rate });
        }
        if now.mono_ns - self.checked.mono_ns < CHECKED_NS {
            return None;
        }
        let rate = self::slope(&self.checked, now);
        self.checked = *now;
        (rate.abs_diff(slope) > slope / PART as u64).then_some(Break::Rate)
    }
}
