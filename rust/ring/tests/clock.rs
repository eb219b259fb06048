//! The clock: what stamps mean between two anchors.
#![cfg(not(loom))]

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use auditring_ring::{Anchor, Clock, ClockKind, Scale};

fn wall_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// Wall time before a stamp, the stamp, wall time after it.
fn sample(clock: Clock) -> (i64, u64, i64) {
    (wall_ns(), clock.stamp(), wall_ns())
}

fn stamps_between_anchors_are_wall_time(kind: ClockKind) {
    let clock = Clock::new(kind);
    // A stamp and two anchors that were taken over one interval; the machine may hold a thread up for long at any
    // place, which only makes the bracket wider.
    let first = clock.anchor();
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < Duration::from_millis(5) {
        samples.push(sample(clock));
    }
    let last = clock.anchor();
    let scale = Scale::between(&first, &last).expect("time has passed");
    for (before, stamp, after) in samples {
        let wall = scale.real_ns(stamp);
        assert!(before - 1_000 <= wall && wall <= after + 1_000, "{kind:?}: {before} <= {wall} <= {after}");
    }
}

#[test]
fn stamps_of_the_counter_are_wall_time_to_a_microsecond() {
    // Where the counter is not trusted nobody uses it.
    if Clock::detect().kind() == ClockKind::Tsc {
        stamps_between_anchors_are_wall_time(ClockKind::Tsc);
    }
}

#[test]
fn stamps_of_the_monotonic_clock_are_wall_time_to_a_microsecond() {
    stamps_between_anchors_are_wall_time(ClockKind::Monotonic);
}

#[test]
fn anchors_pair_the_three_clocks_closely() {
    let clock = Clock::detect();
    // The best of many: how well it can pair, and not how busy the machine is.
    let error = |anchor: Anchor, before: i64, after: i64| (before - anchor.real_ns).max(anchor.real_ns - after);
    let best = (0..100).map(|_| {
        let before = wall_ns();
        let anchor = clock.anchor();
        error(anchor, before, wall_ns())
    });
    assert!(best.min().unwrap() <= 0, "an anchor lies between the times around it");
}

#[test]
fn the_environment_can_force_the_fallback() {
    if std::env::var_os("AUDITRING_CLOCK").is_some_and(|value| value == "monotonic") {
        assert_eq!(Clock::detect().kind(), ClockKind::Monotonic);
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_environment_can_force_the_fallback"])
        .env("AUDITRING_CLOCK", "monotonic")
        .status();
    assert!(status.unwrap().success());
}
