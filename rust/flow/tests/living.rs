//! A journal that is followed from outside while its process lives: as an agent does it, by what the directory shows alone.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auditring_event::record::Encoder;
use auditring_event::{RowRef, code_of, index_of, row, spec_at};
use auditring_flow::{Born, Declined, Follower, Form, Limits, Progress, Pump, Settings, adopt, recover};
use auditring_journal::{Cursor, Follower as Entry, Followers, ProcessDir, Shown, bytes_held, segments};
use auditring_ring::Ring;
use common::{emit, limits, settings};

const SINK: &str = "parquet";
const OTHER: &str = "lines";
const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);
/// Longer than any test takes: nothing is synced unless somebody asks.
const NEVER: Duration = Duration::from_secs(3600);
const ALL: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;

struct Rig {
    folder: tempfile::TempDir,
    ring: Arc<Ring>,
    pump: Pump,
    held: ProcessDir,
}

fn rig_of(limits: Limits, interval: Option<Duration>, sinks: &[(&str, &str)]) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let by_agent = sinks.iter().map(|(name, _)| (*name).to_owned()).collect();
    let born = Born::new(&Settings { by_agent, ..settings(folder.path(), ALL, sinks) }).unwrap();
    let ring = Arc::clone(&born.ring);
    let (pump, held) = Pump::durable(born, limits, !sinks.is_empty(), interval).unwrap();
    Rig { folder, ring, pump, held }
}

fn rig() -> Rig {
    rig_of(limits(), None, &[(SINK, "")])
}

impl Rig {
    /// Emits and journals so many Reads.
    fn reads(&mut self, offsets: std::ops::Range<i64>) {
        for offset in offsets {
            let mut event = Encoder::new(spec_at(index_of(code_of("Read"))));
            emit(&self.ring, event.text("topic", "orders").int("partition", 0).int("first_offset", offset));
            self.pump.run(Duration::ZERO).unwrap();
        }
    }

    fn follow(&self, sink: &str) -> Follower {
        outside(self.held.path(), sink)
    }

    fn end(&mut self) {
        self.ring.close();
        while !self.pump.run(SOON).unwrap() {}
    }
}

fn outside(dir: &Path, sink: &str) -> Follower {
    let progress = Arc::new(Progress::of_living(dir));
    Follower::open(dir, sink, Declined::default(), Form::Rows, progress).unwrap()
}

/// (seq, first offset) of the Reads that come.
fn take(follower: &mut Follower) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    while let Some(batch) = follower.next(1000, SOON, true).unwrap() {
        let read = |at: &RowRef| {
            let view = batch.set.row(at).unwrap();
            (view.code() == code_of("Read")).then(|| (at.seq, row::int_field(&view, 2).unwrap()))
        };
        found.extend(batch.set.rows.iter().filter_map(read));
    }
    found
}

/// Dense from 1 (0 is `ProxyStartup`), in order.
fn dense(offsets: std::ops::Range<i64>) -> Vec<(i64, i64)> {
    offsets.clone().zip(offsets).map(|(at, offset)| (at + 1, offset)).collect()
}

fn total(dir: &Path, sink: &str, name: &str) -> u64 {
    Cursor::load(dir, sink).unwrap().and_then(|cursor| cursor.totals.get(name).copied()).unwrap_or(0)
}

fn enter(dir: &Path, name: &str) {
    let entry = Entry { name: name.to_owned(), by_agent: true, ..Entry::default() };
    Followers::change(dir, |followers| (true, followers.entries.push(entry))).unwrap();
}

#[test]
fn every_row_comes_once_while_segments_roll_and_go_and_it_ends_with_the_final_row() {
    let mut rig = rig_of(Limits { segment_bytes: 2048, ..limits() }, None, &[(SINK, "")]);
    let mut follower = rig.follow(SINK);
    let mut found = Vec::new();
    for turn in 0..20 {
        rig.reads(turn * 20..(turn + 1) * 20);
        found.extend(take(&mut follower));
        follower.commit(Vec::new()).unwrap();
    }
    assert!(segments(rig.held.path()).unwrap().len() < 3, "what it has passed goes");
    // The keeper of the journal puts back what is taken away: what a follower has passed it leaves alone.
    let (vanished, result) = rig.pump.keep(&rig.held);
    assert!(vanished.is_empty() && result.is_ok(), "{vanished:?} {result:?}");
    assert!(!follower.ended());
    rig.end();
    take(&mut follower);
    assert!(follower.ended());
    follower.commit(Vec::new()).unwrap();
    assert_eq!(found, dense(0..400));
    assert_eq!(total(rig.held.path(), SINK, "delivered").cast_signed(), rig.pump.progress().next_seq());
}

#[test]
fn what_comes_while_it_waits_wakes_nobody_and_is_found_all_the_same() {
    let mut rig = rig();
    let dir = rig.held.path().to_owned();
    let waiting = std::thread::spawn(move || {
        let mut follower = outside(&dir, SINK);
        follower.next(1000, SOON, true).unwrap();
        let began = Instant::now();
        while follower.next(1, LONG, true).unwrap().is_none_or(|batch| batch.last_seq < 1) {}
        began.elapsed()
    });
    std::thread::sleep(SOON * 2);
    rig.reads(0..1);
    assert!(waiting.join().unwrap() < LONG / 2);
}

#[test]
fn of_a_log_that_survives_a_loss_of_power_nothing_is_read_that_is_not_on_the_disk() {
    let mut rig = rig_of(limits(), Some(NEVER), &[(SINK, "")]);
    let mut follower = rig.follow(SINK);
    rig.reads(0..10);
    assert_eq!(take(&mut follower), []);
    assert!(rig.pump.unsynced().wait(rig.pump.progress().next_seq(), LONG).unwrap());
    rig.reads(10..20);
    assert_eq!(take(&mut follower), dense(0..10));
    assert_eq!(follower.position(), 11);
    assert!(rig.pump.unsynced().wait(rig.pump.progress().next_seq(), LONG).unwrap());
    let rest = take(&mut follower);
    assert_eq!(rest.len(), 10);
}

#[test]
fn where_nothing_is_shown_nothing_is_read_until_its_keeper_has_put_it_back() {
    let mut rig = rig();
    fs::remove_file(rig.held.path().join(".shown")).unwrap();
    let progress = Arc::new(Progress::of_living(rig.held.path()));
    let open = || Follower::open(rig.held.path(), SINK, Declined::default(), Form::Rows, Arc::clone(&progress));
    let mut follower = open().unwrap();
    rig.reads(0..10);
    assert_eq!(take(&mut follower), []);
    assert!(!progress.is_shown());
    rig.pump.keep(&rig.held).1.unwrap();
    assert_eq!(take(&mut follower), dense(0..10));
    assert!(progress.is_shown());
}

#[test]
fn what_is_shown_is_the_budget_and_what_was_let_go_of() {
    let budget = 16 << 10;
    let tight = Limits { segment_bytes: 4096, journal_bytes: budget, ..limits() };
    let mut rig = rig_of(tight, None, &[(SINK, ""), (OTHER, "")]);
    let dir = rig.held.path().to_owned();
    let mut required = rig.follow(SINK);
    rig.reads(0..1000);
    assert!(Shown::load(&dir).unwrap().unwrap().over_budget, "a required sink is waited for");
    while rig.pump.progress().journaled().accepted < 1000 || rig.pump.progress().journaled().over_budget {
        take(&mut required);
        required.commit(Vec::new()).unwrap();
        rig.pump.run(SOON).unwrap();
    }
    let shown = Shown::load(&dir).unwrap().unwrap();
    assert_eq!((shown.journal_bytes, shown.let_go), (budget, rig.pump.progress().journaled().let_go));
    assert!(shown.let_go > 0 && !shown.over_budget && shown.batches == u64::MAX);
    let mut late = rig.follow(OTHER);
    // What was let go of is not waited for: without any patience all comes at once.
    while late.next(1000, Duration::ZERO, true).unwrap().is_some() || late.boundary() {
        late.commit(Vec::new()).unwrap();
    }
    late.commit(Vec::new()).unwrap();
    let [had, lost] = ["delivered", "lost_budget"].map(|name| total(&dir, OTHER, name).cast_signed());
    assert_eq!((had + lost, lost >= shown.let_go), (rig.pump.progress().next_seq(), true));
}

#[test]
fn a_follower_outside_commits_where_it_holds_back_half_of_the_budget() {
    let tight = Limits { segment_bytes: 4096, journal_bytes: 64 << 10, ..limits() };
    let mut rig = rig_of(tight, None, &[(SINK, "")]);
    let progress = Arc::new(Progress::of_living(rig.held.path()));
    let mut follower =
        Follower::open(rig.held.path(), SINK, Declined::default(), Form::Rows, Arc::clone(&progress)).unwrap();
    rig.reads(0..10);
    assert!(follower.next(1 << 20, SOON, false).unwrap().is_none() && !follower.boundary());
    while !rig.pump.progress().journaled().over_budget {
        rig.reads(0..1);
    }
    let end = Instant::now() + LONG;
    // It wants a whole batch, and is told to take what there is.
    while follower.next(1 << 20, SOON, false).unwrap().is_none() {
        assert!(Instant::now() < end, "it waits for ever for what has no room");
    }
    assert!(follower.boundary() && progress.presses(follower.cursor().seq) && progress.is_urgent());
    follower.commit(Vec::new()).unwrap();
    rig.pump.run(Duration::from_millis(200)).unwrap();
    assert!(!rig.pump.progress().journaled().over_budget);
}

#[test]
fn where_its_process_has_died_it_reads_what_another_recovers() {
    let mut rig = rig();
    let mut follower = rig.follow(SINK);
    rig.reads(0..10);
    assert_eq!(take(&mut follower), dense(0..10));
    let mut event = Encoder::new(spec_at(index_of(code_of("Read"))));
    emit(&rig.ring, event.text("topic", "orders").int("partition", 0).int("first_offset", 10));
    let Rig { folder: _folder, ring: _, pump, held } = rig;
    let dir = held.path().to_owned();
    drop((pump, held));
    assert_eq!(take(&mut follower), []);
    let mut held = adopt(&dir).unwrap();
    recover(&mut held, "another", None).unwrap();
    assert_eq!(take(&mut follower), [(11, 10)]);
    assert!(follower.ended());
}

#[test]
fn a_sink_is_handed_over_and_back_and_its_journal_is_kept_for_whoever_drives_it() {
    let mut rig = rig_of(Limits { segment_bytes: 2048, ..limits() }, None, &[(SINK, "")]);
    let dir = rig.held.path().to_owned();
    let inside = |rig: &Rig| {
        let progress = rig.pump.progress();
        Follower::open(&dir, SINK, Declined::default(), Form::Rows, progress).unwrap()
    };
    let mut found = Vec::new();
    for turn in 0..6 {
        let mut follower = if turn % 2 == 0 { inside(&rig) } else { rig.follow(SINK) };
        for part in 0..4 {
            let from = (turn * 4 + part) * 20;
            rig.reads(from..from + 20);
            found.extend(take(&mut follower));
            follower.commit(Vec::new()).unwrap();
            let (vanished, result) = rig.pump.keep(&rig.held);
            assert!(vanished.is_empty() && result.is_ok(), "turn {turn}: {vanished:?} {result:?}");
        }
    }
    assert_eq!(found, dense(0..480));
}

#[test]
fn who_is_entered_late_is_owed_what_is_left_and_counts_what_has_gone() {
    let budget = 16 << 10;
    let mut rig = rig_of(Limits { segment_bytes: 4096, journal_bytes: budget, ..limits() }, None, &[]);
    rig.reads(0..20);
    let dir = rig.held.path().to_owned();
    enter(&dir, SINK);
    let mut first = rig.follow(SINK);
    assert_eq!(take(&mut first), dense(0..20), "below the budget nothing has gone");
    first.commit(Vec::new()).unwrap();
    drop(first);
    Followers::change(&dir, |followers| (followers.forget(SINK), ())).unwrap();
    rig.pump.keep(&rig.held).1.unwrap();
    rig.reads(20..1000);
    assert!(bytes_held(&dir).unwrap() < budget + 8192, "nobody is waited for");
    enter(&dir, OTHER);
    let mut late = rig.follow(OTHER);
    while late.next(1000, SOON, true).unwrap().is_some() || late.boundary() {
        late.commit(Vec::new()).unwrap();
    }
    let [had, lost] = ["delivered", "lost_budget"].map(|name| total(&dir, OTHER, name).cast_signed());
    assert_eq!(had + lost, rig.pump.progress().next_seq());
    assert!(lost > 0 && had > 0);
    rig.pump.keep(&rig.held).1.unwrap();
    rig.reads(1000..2000);
    take(&mut late);
    late.commit(Vec::new()).unwrap();
    assert_eq!(
        total(&dir, OTHER, "lost_budget").cast_signed() + total(&dir, OTHER, "delivered").cast_signed(),
        late.position()
    );
}

#[test]
fn a_list_that_is_in_somebodys_hands_keeps_the_journal_within_its_budget_all_the_same() {
    let budget = 16 << 10;
    let mut rig = rig_of(Limits { segment_bytes: 4096, journal_bytes: budget, ..limits() }, None, &[]);
    let stopped = Followers::hold(rig.held.path()).unwrap().expect("nobody has it");
    let end = Instant::now() + LONG;
    while rig.pump.progress().next_seq() < 1500 || bytes_held(rig.held.path()).unwrap() > 2 * budget {
        assert!(Instant::now() < end, "it grows without an end: {}", bytes_held(rig.held.path()).unwrap());
        let from = rig.pump.progress().next_seq();
        rig.reads(from..from + 1);
    }
    drop(stopped);
}

#[test]
fn a_lock_file_that_is_taken_away_is_made_anew_by_whoever_holds_it() {
    let mut rig = rig();
    let dir = rig.held.path().to_owned();
    let mut follower = rig.follow(SINK);
    rig.reads(0..10);
    take(&mut follower);
    fs::remove_file(dir.join("parquet.lock")).unwrap();
    follower.commit(Vec::new()).unwrap();
    assert!(Follower::open(&dir, SINK, Declined::default(), Form::Rows, Arc::default()).is_err());
    fs::remove_file(dir.join("parquet.lock")).unwrap();
    let other = outside(&dir, SINK);
    rig.reads(10..20);
    take(&mut follower);
    assert!(follower.commit(Vec::new()).is_err(), "another drives it by now: its cursor is not ours to move");
    assert_eq!(Cursor::load(&dir, SINK).unwrap().unwrap().seq, 11);
    drop(other);
}
