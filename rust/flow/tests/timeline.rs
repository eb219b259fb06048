//! Times out of stamps, whatever the machine's clocks do: over random histories of a wall clock that is set, a machine
//! that is suspended, and a counter that goes back, jumps, stands still or runs at another rate.

use auditring_flow::{Break, Instant, Seen, Step, Timeline};
use auditring_ring::{Anchor, ClockKind};
use proptest::prelude::*;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;

/// A machine: what its clocks say, and what really goes by.
#[derive(Clone, Debug)]
struct Machine {
    mono_ns: i64,
    /// Realtime − monotonic.
    offset_ns: i64,
    counter: f64,
    /// Ticks a nanosecond.
    rate: f64,
}

impl Machine {
    fn new() -> Self {
        Self { mono_ns: 5 * SECOND, offset_ns: 1_000 * SECOND, counter: 3e12, rate: 2.5 }
    }

    fn run(&mut self, nanos: i64) {
        self.mono_ns += nanos;
        self.counter += nanos as f64 * self.rate;
    }

    fn anchor(&self) -> Anchor {
        Anchor { stamp: self.counter as u64, mono_ns: self.mono_ns, real_ns: self.mono_ns + self.offset_ns }
    }
}

/// What may come between two looks of the pump.
#[derive(Clone, Debug)]
enum Happens {
    Nothing,
    /// The wall clock is set.
    Step(i64),
    /// The machine sleeps so long, and its counter goes on meanwhile.
    Suspend(i64),
    /// The same, and the counter begins anew.
    Reset(i64),
    /// The counter is set back or forward, in nanoseconds of it, and by more than anchors may be off.
    Shift(i64),
    /// So many thousandth parts of the rate.
    Rate(u32),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Nothing),
        2 => (1_000..86_400 * SECOND).prop_flat_map(|by| prop_oneof![Just(by), Just(-by)]).prop_map(Happens::Step),
        1 => (SECOND..100_000 * SECOND).prop_map(Happens::Suspend),
        1 => (SECOND..100_000 * SECOND).prop_map(Happens::Reset),
        1 => (10 * MS..1_000 * SECOND).prop_flat_map(|by| prop_oneof![Just(by), Just(-by)]).prop_map(Happens::Shift),
        1 => prop_oneof![200_u32..990, 1_010_u32..3_000].prop_map(Happens::Rate),
    ]
}

fn happen(machine: &mut Machine, what: &Happens) {
    match *what {
        Happens::Nothing => {}
        Happens::Step(by) => machine.offset_ns += by,
        Happens::Suspend(slept) => {
            machine.offset_ns += slept;
            machine.counter += slept as f64 * machine.rate;
        }
        Happens::Reset(slept) => {
            machine.offset_ns += slept;
            machine.counter = 0.0;
        }
        Happens::Shift(by) => machine.counter = (machine.counter + by as f64 * machine.rate).max(0.0),
        Happens::Rate(parts) => machine.rate *= f64::from(parts) / 1_000.0,
    }
}

/// Between two anchors: how long, when in it something happens, and when the threads emit; `late` of them take their place
/// in the ring only after the next anchor.
#[derive(Clone, Debug)]
struct Interval {
    nanos: i64,
    what: Happens,
    at: f64,
    emits: Vec<(f64, u8, bool)>,
}

fn interval() -> impl Strategy<Value = Interval> {
    let nanos = prop_oneof![20_000_i64..2 * MS, 5 * MS..60 * MS, 100 * MS..3 * SECOND];
    let emits = prop::collection::vec((0.0..1.0_f64, 0_u8..4, prop::bool::weighted(0.1)), 0..12);
    (nanos, happens(), 0.0..1.0_f64, emits).prop_map(|(nanos, what, at, mut emits)| {
        emits.sort_by(|a, b| a.0.total_cmp(&b.0));
        Interval { nanos, what, at, emits }
    })
}

/// An event: its thread, its stamp, when it really was.
type Emitted = (u8, u64, i64);

/// Runs through one interval; what was emitted in it, those that are late apart.
fn live(machine: &mut Machine, interval: &Interval) -> (Vec<Emitted>, Vec<Emitted>) {
    let (mut now, mut done) = (0.0, false);
    let (mut emitted, mut late): (Vec<Emitted>, Vec<Emitted>) = Default::default();
    let run = |machine: &mut Machine, now: &mut f64, to: f64| {
        machine.run(((to - *now) * interval.nanos as f64) as i64);
        *now = to;
    };
    for &(at, thread, is_late) in &interval.emits {
        if !done && interval.at <= at {
            run(machine, &mut now, interval.at);
            happen(machine, &interval.what);
            done = true;
        }
        run(machine, &mut now, at);
        // A thread whose event is late emits nothing before that has its place.
        let waits = late.iter().any(|(other, ..)| *other == thread);
        let event = (thread, machine.counter as u64, machine.mono_ns);
        if waits {
            continue;
        }
        if is_late { late.push(event) } else { emitted.push(event) }
    }
    if !done {
        run(machine, &mut now, interval.at);
        happen(machine, &interval.what);
    }
    run(machine, &mut now, 1.0);
    machine.run(1_000);
    (emitted, late)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn age_never_goes_back_within_a_thread_and_time_goes_on(intervals in prop::collection::vec(interval(), 1..80)) {
        let mut machine = Machine::new();
        let birth = machine.anchor();
        let mut line = Timeline::new(ClockKind::Tsc, birth);
        let mut ages = [0_i64; 4];
        let mut waiting: Vec<Emitted> = Vec::new();
        let mut offsets = vec![machine.offset_ns];
        let (mut last_ns, mut began_ns, mut measured_ns) = (birth.mono_ns, birth.mono_ns, birth.mono_ns);
        let mut restarts = 0;
        for interval in &intervals {
            let before_ns = machine.offset_ns;
            let (emitted, late) = live(&mut machine, interval);
            let anchor = machine.anchor();
            let seen = line.anchor(anchor, 0);
            restarts += i32::from(seen.restart.is_some());
            // As long as the rate of an epoch is not known, what the counter does may go unseen.
            let unsure_ns = if last_ns - measured_ns < 100 * MS { began_ns } else { last_ns };
            if seen.restart.is_some() {
                (began_ns, measured_ns) = (last_ns, anchor.mono_ns);
            }
            prop_assert_eq!(line.now().age_ns, anchor.mono_ns - birth.mono_ns, "the timeline stands still");
            prop_assert_eq!(line.now().time_ns, anchor.real_ns);
            let stepped = (machine.offset_ns != before_ns).then_some(Step { before_ns, after_ns: machine.offset_ns });
            prop_assert_eq!(seen.step, stepped);
            let were_late = std::mem::replace(&mut waiting, late);
            // Whose events are late has emitted nothing else meanwhile.
            let ours = |(thread, ..): &Emitted| !were_late.iter().any(|(other, ..)| other == thread);
            let emitted: Vec<_> = emitted.into_iter().filter(ours).collect();
            waiting.retain(ours);
            for (in_time, (thread, stamp, true_ns)) in
                were_late.iter().map(|event| (false, event)).chain(emitted.iter().map(|event| (true, event)))
            {
                let at = line.at(*stamp);
                let age = &mut ages[usize::from(*thread)];
                prop_assert!(at.age_ns >= *age, "thread {thread}: {} after {age}", at.age_ns);
                prop_assert!(at.age_ns <= line.now().age_ns);
                *age = at.age_ns;
                let offset_ns = at.time_ns - (at.age_ns + birth.mono_ns);
                if in_time {
                    let off = (at.age_ns + birth.mono_ns - true_ns).abs();
                    // Off by no more than the interval; and exact where nothing happened in it, and no event that is of
                    // nobody knows which epoch came with it.
                    let calm = matches!(interval.what, Happens::Nothing | Happens::Step(_)) && seen.restart.is_none();
                    let sure = calm && (were_late.is_empty() || restarts == 0);
                    let most = if sure { 1_000 } else { anchor.mono_ns - unsure_ns };
                    prop_assert!(off <= most, "{off} ns off, {interval:?}, {seen:?}");
                    let is_fresh = offset_ns == before_ns || offset_ns == machine.offset_ns;
                    prop_assert!(is_fresh || (!sure && offsets.contains(&offset_ns)), "a wall clock that never was");
                }
            }
            last_ns = anchor.mono_ns;
            offsets.push(machine.offset_ns);
        }
    }
}

/// A second of a quiet host, so that the rate is known.
fn second(machine: &mut Machine) -> Timeline {
    let mut line = Timeline::new(ClockKind::Tsc, machine.anchor());
    for _ in 0..100 {
        machine.run(10 * MS);
        assert_eq!(line.anchor(machine.anchor(), 0), Seen::default());
    }
    line
}

#[test]
fn a_counter_that_begins_anew_is_a_new_epoch_with_exact_times_on_both_sides() {
    let mut machine = Machine::new();
    let mut line = second(&mut machine);
    machine.run(4 * MS);
    let before = (machine.counter as u64, machine.mono_ns);
    happen(&mut machine, &Happens::Reset(3_600 * SECOND));
    machine.run(2 * MS);
    let after = (machine.counter as u64, machine.mono_ns);
    machine.run(4 * MS);
    let seen = line.anchor(machine.anchor(), 0);
    let restart = seen.restart.unwrap();
    assert_eq!((restart.cause, restart.within_ns), (Break::Back, 10 * MS));
    let step = seen.step.unwrap();
    assert_eq!(step.after_ns - step.before_ns, 3_600 * SECOND);
    let birth_ns = 5 * SECOND;
    for ((stamp, mono_ns), offset_ns) in [(before, step.before_ns), (after, step.after_ns)] {
        let at = line.at(stamp);
        assert!((at.age_ns - (mono_ns - birth_ns)).abs() < 1_000, "{at:?}");
        assert!((at.time_ns - (mono_ns + offset_ns)).abs() < 1_000, "what comes after the sleep has the time after it");
    }
    machine.run(10 * MS);
    assert_eq!(line.anchor(machine.anchor(), 0), Seen::default());
}

#[test]
fn a_sleep_through_which_the_counter_goes_on_is_a_jump() {
    let mut machine = Machine::new();
    let mut line = second(&mut machine);
    machine.run(4 * MS);
    happen(&mut machine, &Happens::Suspend(60 * SECOND));
    machine.run(2 * MS);
    let (stamp, real_ns) = (machine.counter as u64, machine.mono_ns + machine.offset_ns);
    machine.run(4 * MS);
    assert_eq!(line.anchor(machine.anchor(), 0).restart.unwrap().cause, Break::Jump);
    assert!((line.at(stamp).time_ns - real_ns).abs() < 1_000);
}

#[test]
fn a_rate_that_is_off_by_more_than_a_thousandth_part_is_a_new_epoch() {
    for (parts, is_off) in [(1_000_400, false), (1_002_000, true), (998_000, true)] {
        let mut machine = Machine::new();
        let mut line = second(&mut machine);
        machine.rate *= f64::from(parts) / 1e6;
        let mut causes = Vec::new();
        for _ in 0..300 {
            machine.run(10 * MS);
            causes.extend(line.anchor(machine.anchor(), 0).restart.map(|restart| restart.cause));
        }
        assert_eq!(causes, if is_off { vec![Break::Rate] } else { vec![] }, "{parts}");
    }
}

#[test]
fn a_batch_that_is_encoded_anew_has_the_times_that_it_had() {
    let mut machine = Machine::new();
    let mut line = second(&mut machine);
    happen(&mut machine, &Happens::Reset(SECOND));
    machine.run(10 * MS);
    line.anchor(machine.anchor(), 0);
    let stamps: Vec<u64> = (1..5).map(|part| (machine.counter as u64) * part / 5).collect();
    let first: Vec<Instant> = stamps.iter().map(|stamp| line.at(*stamp)).collect();
    line.abandon();
    assert_eq!(stamps.iter().map(|stamp| line.at(*stamp)).collect::<Vec<_>>(), first);
    assert!(first.windows(2).all(|pair| pair[0].age_ns < pair[1].age_ns));
}

#[test]
fn two_clocks_that_are_slow_to_read_are_no_step_of_the_wall_clock() {
    let mut machine = Machine::new();
    let mut line = Timeline::new(ClockKind::Monotonic, Anchor { stamp: machine.mono_ns as u64, ..machine.anchor() });
    let mut anchor = |off_ns: i64, within_ns: i64| {
        machine.run(10 * MS);
        let now = machine.anchor();
        line.anchor(
            Anchor { stamp: now.mono_ns as u64, mono_ns: now.mono_ns, real_ns: now.real_ns + off_ns },
            within_ns,
        )
    };
    assert_eq!(anchor(1_500, 1_000), Seen::default());
    assert_eq!(anchor(1_500, 50).step.unwrap().after_ns, 1_000 * SECOND + 1_500);
}

proptest! {
    #[test]
    fn age_rises_with_the_stamp_across_any_anchors_of_one_epoch(
        gaps in prop::collection::vec(1_i64..20 * MS, 1..400),
        probes in prop::collection::vec(any::<prop::sample::Index>(), 2..50),
    ) {
        let mut machine = Machine::new();
        let birth = machine.anchor();
        let mut line = Timeline::new(ClockKind::Tsc, birth);
        for nanos in gaps {
            machine.run(nanos);
            prop_assert_eq!(line.anchor(machine.anchor(), 0), Seen::default());
        }
        let span = (machine.anchor().stamp - birth.stamp) as usize;
        let mut stamps: Vec<u64> = probes.iter().map(|p| birth.stamp + p.index(span + 1) as u64).collect();
        stamps.sort_unstable();
        let ages: Vec<i64> = stamps.iter().map(|s| line.at(*s).age_ns).collect();
        prop_assert!(ages.is_sorted());
        prop_assert!(*ages.last().unwrap() <= line.now().age_ns && ages[0] >= 0);
    }
}
