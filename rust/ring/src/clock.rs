//! The clock: one cheap read for a stamp, and anchors that say what stamps mean.
//!
//! What must always hold: a stamp is one clock read and no more; it never goes backwards within a thread; the
//! processor's counter is used only where the kernel itself keeps time by it. A stamp means nothing alone: between two
//! anchors it is interpolated.

/// Which clock stamps are of. Stands in the ring's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockKind {
    /// The processor's time stamp counter, in ticks.
    Tsc = 1,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    Monotonic = 2,
}

impl ClockKind {
    /// The kind that has this number in a header.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Tsc),
            2 => Some(Self::Monotonic),
            _ => None,
        }
    }
}

/// One instant on three clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// What a stamp taken then would be.
    pub stamp: u64,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub mono_ns: i64,
    /// `CLOCK_REALTIME`, in nanoseconds since the epoch.
    pub real_ns: i64,
}

/// Takes stamps and anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    kind: ClockKind,
}

impl Clock {
    /// The best clock of this machine. `AUDITRING_CLOCK=monotonic` in the environment forces the fallback.
    #[must_use]
    pub fn detect() -> Self {
        let forced = std::env::var_os("AUDITRING_CLOCK").is_some_and(|value| value == "monotonic");
        Self::new(if !forced && tsc_is_trusted() { ClockKind::Tsc } else { ClockKind::Monotonic })
    }

    /// A clock of that kind; the monotonic one where the processor has no other.
    #[must_use]
    pub const fn new(kind: ClockKind) -> Self {
        Self { kind: if cfg!(target_arch = "x86_64") { kind } else { ClockKind::Monotonic } }
    }

    /// Which clock it is.
    #[must_use]
    pub const fn kind(&self) -> ClockKind {
        self.kind
    }

    /// The one clock read of an event.
    #[inline(always)]
    #[must_use]
    pub fn stamp(&self) -> u64 {
        match self.kind {
            ClockKind::Tsc => ticks(),
            ClockKind::Monotonic => now(libc::CLOCK_MONOTONIC) as u64,
        }
    }

    /// This instant on all three clocks, paired to within about 50 ns: the closest of several tries, each bracketed.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        self.anchor_within().0
    }

    /// The same, and within how many nanoseconds of each other the monotonic and the real clock were read: a clock that the
    /// kernel has to ask a device for is slow to read.
    #[must_use]
    pub fn anchor_within(&self) -> (Anchor, i64) {
        const TRIES: usize = 5;
        let mut best = self.bracketed();
        for _ in 1..TRIES {
            let next = self.bracketed();
            if next.1 < best.1 {
                best = next;
            }
        }
        (best.0, best.2)
    }

    /// Reads stamp, monotonic, real, monotonic, stamp: the real one happened half-way between the others. And how wide
    /// that was, in stamps and, of the real one, in nanoseconds to either side.
    fn bracketed(self) -> (Anchor, u64, i64) {
        let before = self.stamp();
        let mono_before = now(libc::CLOCK_MONOTONIC);
        let real_ns = now(libc::CLOCK_REALTIME);
        let mono_after = now(libc::CLOCK_MONOTONIC);
        let after = self.stamp();
        let width = after.wrapping_sub(before);
        let within_ns = (mono_after - mono_before) / 2;
        let mono_ns = mono_before + within_ns;
        let stamp = match self.kind {
            ClockKind::Tsc => before.wrapping_add(width / 2),
            // One and the same clock: equal, and not only close.
            ClockKind::Monotonic => mono_ns as u64,
        };
        (Anchor { stamp, mono_ns, real_ns }, width, within_ns)
    }
}

/// The line through two anchors, from stamps to monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    from: Anchor,
    /// Nanoseconds a tick, times 2⁴⁰: an hour's ticks are off by less than 10 ns.
    rate: u64,
}

impl Scale {
    /// None if no ticks, or no time, passed from one to the other.
    #[must_use]
    pub fn between(from: &Anchor, to: &Anchor) -> Option<Self> {
        let ticks = to.stamp.checked_sub(from.stamp).filter(|&ticks| ticks > 0)?;
        let ns = u64::try_from(to.mono_ns - from.mono_ns).ok().filter(|&ns| ns > 0)?;
        let rate = u64::try_from((u128::from(ns) << 40) / u128::from(ticks)).ok()?;
        Some(Self { from: *from, rate })
    }

    /// Nanoseconds a tick, times 2⁴⁰. Two anchors far apart agree on it unless the counter was stopped or changed.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// The monotonic time of a stamp.
    #[inline]
    #[must_use]
    pub const fn mono_ns(&self, stamp: u64) -> i64 {
        let ticks = stamp.wrapping_sub(self.from.stamp) as i64;
        self.from.mono_ns + ((ticks as i128 * self.rate as i128) >> 40) as i64
    }

    /// The wall time of a stamp by the first anchor's offset; a step of the wall clock is the caller's to see.
    #[inline]
    #[must_use]
    pub const fn real_ns(&self, stamp: u64) -> i64 {
        self.mono_ns(stamp) + (self.from.real_ns - self.from.mono_ns)
    }
}

#[inline(always)]
fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    now(libc::CLOCK_MONOTONIC).cast_unsigned()
}

#[inline(always)]
fn now(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the result; both clocks exist everywhere, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The kernel keeps time by the counter, and it neither changes its rate nor stops.
fn tsc_is_trusted() -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
        && read("/sys/devices/system/clocksource/clocksource0/current_clocksource").trim() == "tsc"
        && steady(&read("/proc/cpuinfo"))
}

fn steady(cpuinfo: &str) -> bool {
    let flags = || cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default().split_whitespace();
    ["constant_tsc", "nonstop_tsc"].iter().all(|wanted| flags().any(|flag| flag == *wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_trusted_only_with_both_flags() {
        assert!(steady("processor\t: 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\n"));
        assert!(!steady("flags\t\t: fpu constant_tsc\n"));
        assert!(!steady("bugs\t\t: constant_tsc nonstop_tsc\n"));
        assert!(!steady(""));
    }

    #[test]
    fn a_stamp_between_two_anchors_is_interpolated() {
        let from = Anchor { stamp: 1_000, mono_ns: 50, real_ns: 1_050 };
        let to = Anchor { stamp: 4_000, mono_ns: 1_050, real_ns: 9_999 };
        let scale = Scale::between(&from, &to).unwrap();
        assert_eq!([1_000, 2_500, 4_000].map(|stamp| scale.mono_ns(stamp)), [50, 549, 1_049]);
        assert_eq!(scale.real_ns(1_000), 1_050);
        assert_eq!(scale.mono_ns(700), -50);
    }

    #[test]
    fn anchors_without_distance_make_no_scale() {
        let anchor = Anchor { stamp: 1, mono_ns: 1, real_ns: 1 };
        assert_eq!(Scale::between(&anchor, &anchor), None);
        assert_eq!(Scale::between(&anchor, &Anchor { stamp: 0, mono_ns: 2, real_ns: 2 }), None);
    }

    #[test]
    fn the_monotonic_clock_is_its_own_anchor() {
        let anchor = Clock::new(ClockKind::Monotonic).anchor();
        assert_eq!(anchor.stamp, anchor.mono_ns as u64);
    }

    #[test]
    fn stamps_of_one_thread_never_go_back() {
        for kind in [ClockKind::Tsc, ClockKind::Monotonic] {
            let clock = Clock::new(kind);
            let mut last = clock.stamp();
            for _ in 0..10_000 {
                let stamp = clock.stamp();
                assert!(stamp >= last, "{kind:?}");
                last = stamp;
            }
        }
    }
}
