//! A log that survives a loss of power: what was synced is all that a follower has, and all that recovery needs.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auditring_event::record::Encoder;
use auditring_event::{RowRef, code_of, index_of, row, spec_at};
use auditring_flow::{
    Batch, Born, Declined, Error, Follower, Form, Limits, Progress, Pump, Recovery, Settings, recover,
};
use auditring_journal::{Cursor, Owner, ProcessDir, segments};
use auditring_ring::Ring;
use common::{emit, limits, settings};

const SINK: &str = "parquet";
const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);
/// Longer than any test takes: nothing is synced unless somebody asks.
const NEVER: Duration = Duration::from_secs(3600);
const JUMP: i64 = 1 << 32;
const ALL: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;

struct Rig {
    folder: tempfile::TempDir,
    ring: Arc<Ring>,
    pump: Pump,
    held: ProcessDir,
}

fn rig_of(limits: Limits, interval: Option<Duration>, sinks: &[(&str, &str)]) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let born = Born::new(&settings(folder.path(), ALL, sinks)).unwrap();
    let ring = Arc::clone(&born.ring);
    let (pump, held) = Pump::durable(born, limits, !sinks.is_empty(), interval).unwrap();
    Rig { folder, ring, pump, held }
}

fn rig(interval: Duration) -> Rig {
    rig_of(limits(), Some(interval), &[(SINK, "")])
}

impl Rig {
    /// Emits and journals so many Reads.
    fn reads(&mut self, offsets: std::ops::Range<i64>) {
        for offset in offsets {
            let mut event = Encoder::new(spec_at(index_of(code_of("Read"))));
            emit(&self.ring, event.text("topic", "orders").int("partition", 0).int("first_offset", offset));
        }
        self.pump.run(Duration::ZERO).unwrap();
    }

    fn follow(&self) -> Follower {
        follow(self.pump.dir(), self.pump.progress())
    }

    /// Waits for the disk, as `AuditLog.sync` does.
    fn sync(&self) {
        let journaled = self.pump.progress().next_seq();
        assert!(self.pump.unsynced().wait(journaled, LONG).unwrap(), "the disk takes it");
    }

    fn until_durable(&self, seq: i64) {
        let end = Instant::now() + LONG;
        while self.pump.progress().durable_seq() < seq {
            assert!(Instant::now() < end, "{} of {seq}", self.pump.progress().durable_seq());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn follow(dir: &Path, progress: Arc<Progress>) -> Follower {
    Follower::open(dir, SINK, Declined::default(), Form::Rows, progress).unwrap()
}

/// (seq, first offset) of the Reads.
fn reads(batch: &Batch) -> Vec<(i64, i64)> {
    let read = |at: &RowRef| {
        let view = batch.set.row(at).unwrap();
        (view.code() == code_of("Read")).then(|| (at.seq, row::int_field(&view, 2).unwrap()))
    };
    batch.set.rows.iter().filter_map(read).collect()
}

fn all_of(follower: &mut Follower) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    while let Some(batch) = follower.next(1000, SOON, true).unwrap() {
        found.extend(reads(&batch));
    }
    found
}

#[test]
fn a_follower_has_nothing_that_is_not_durable() {
    let mut rig = rig(NEVER);
    let mut follower = rig.follow();
    rig.reads(0..10);
    assert!(follower.next(1000, SOON, true).unwrap().is_none());
    let shown = rig.pump.progress().journaled();
    assert_eq!((shown.next_seq, shown.durable_seq), (11, 0));
    rig.sync();
    rig.reads(10..20);
    assert_eq!(all_of(&mut follower), (0..10).map(|i| (i + 1, i)).collect::<Vec<_>>());
    assert_eq!(follower.position(), 11);
    follower.commit(Vec::new()).unwrap();
    assert_eq!(Cursor::load(rig.pump.dir(), SINK).unwrap().unwrap().seq, 11);
}

#[test]
fn without_that_promise_a_follower_waits_for_no_disk() {
    let mut rig = rig_of(limits(), None, &[(SINK, "")]);
    rig.reads(0..10);
    assert_eq!(all_of(&mut rig.follow()).len(), 10);
    assert_eq!(rig.pump.progress().durable_seq(), 0);
    assert_eq!(rig.pump.unsynced().lag(), Duration::ZERO);
    rig.sync();
    assert_eq!(rig.pump.progress().durable_seq(), 11);
}

#[test]
fn what_is_written_is_durable_after_the_interval_without_being_asked_for() {
    for interval in [Duration::ZERO, Duration::from_millis(30)] {
        let mut rig = rig(interval);
        for round in 0..5 {
            rig.reads(round * 10..round * 10 + 10);
            rig.until_durable(11 + round * 10);
        }
        assert_eq!(rig.pump.unsynced().lag(), Duration::ZERO);
    }
}

#[test]
fn what_waits_for_the_disk_says_for_how_long() {
    let mut rig = rig(NEVER);
    rig.reads(0..1);
    std::thread::sleep(SOON);
    assert!(rig.pump.unsynced().lag() >= SOON);
    rig.sync();
    assert_eq!(rig.pump.unsynced().lag(), Duration::ZERO);
}

#[test]
fn the_end_is_durable_before_a_follower_has_it_and_nobody_waits_for_the_interval() {
    let mut rig = rig(NEVER);
    rig.reads(0..10);
    let mut follower = rig.follow();
    rig.ring.close();
    while !rig.pump.run(SOON).unwrap() {}
    let end = Instant::now() + LONG;
    while !follower.ended() {
        assert!(Instant::now() < end);
        follower.next(1000, SOON, true).unwrap();
    }
    assert_eq!(follower.position(), 12);
    assert_eq!(rig.pump.progress().durable_seq(), 12);
    assert!(!rig.pump.progress().end_is_held_back());
}

#[test]
fn an_end_that_does_not_get_onto_the_disk_is_an_error_and_nobody_waits_for_ever() {
    let mut rig = rig(NEVER);
    rig.reads(0..10);
    let mut follower = rig.follow();
    fs::remove_dir_all(rig.pump.dir()).unwrap();
    rig.ring.close();
    while !rig.pump.run(SOON).unwrap() {}
    let end = Instant::now() + LONG;
    let error = loop {
        assert!(Instant::now() < end);
        match follower.next(1000, SOON, true) {
            Ok(batch) => assert!(batch.is_none()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::HeldBack(_)), "{error}");
    assert!(rig.pump.progress().end_is_held_back() && !follower.ended());
}

#[test]
fn segments_that_roll_under_followers_that_keep_up_go_for_good() {
    let limits = Limits { segment_bytes: 4096, ..limits() };
    let mut rig = rig_of(limits, Some(Duration::ZERO), &[(SINK, "")]);
    let mut follower = rig.follow();
    for round in 0..100 {
        rig.reads(round * 10..round * 10 + 10);
        rig.until_durable(11 + round * 10);
        assert_eq!(all_of(&mut follower).len(), 10);
        follower.commit(Vec::new()).unwrap();
    }
    rig.sync();
    // The one being written, and the one that a look from outside begins at.
    assert!(segments(rig.pump.dir()).unwrap().len() <= 2, "{:?}", segments(rig.pump.dir()).unwrap());
}

#[test]
fn a_segment_that_is_deleted_before_it_was_durable_is_told_of_and_written_again() {
    let mut rig = rig(NEVER);
    rig.reads(0..10);
    rig.sync();
    rig.reads(10..20);
    let [name] = segments(rig.pump.dir()).unwrap()[..] else { panic!("it never rolled") };
    let path = rig.pump.dir().join(name.file_name());
    fs::remove_file(&path).unwrap();
    let error = rig.pump.unsynced().wait(21, LONG).unwrap_err();
    assert!(error.to_string().contains("deleted before it was durable"), "{error}");
    assert_eq!(rig.pump.progress().durable_seq(), 11);
    assert!(matches!(rig.pump.run(Duration::ZERO), Err(Error::Sync(_))));
    // Once it is told the segment is rolled, and so it can be written again.
    rig.reads(20..30);
    rig.until_durable(21);
    assert!(path.exists());
    rig.sync();
    let mut follower = rig.follow();
    assert_eq!(all_of(&mut follower), (0..30).map(|i| (i + 1, i)).collect::<Vec<_>>());
    assert_eq!(follower.cursor().totals.get("lost_corrupt"), None);
    let (found, result) = rig.pump.keep(&rig.held);
    assert!(found.is_empty() && result.is_ok(), "what was written again is no other's file: {found:?}");
}

#[test]
fn what_is_let_go_at_the_budget_before_it_is_durable_is_no_failure_of_the_disk() {
    let limits = Limits { segment_bytes: 4096, journal_bytes: 16 << 10, ..limits() };
    let folder = tempfile::tempdir().unwrap();
    // Nobody waits for the sink, and it takes nothing.
    let settings = Settings { required: Vec::new(), ..settings(folder.path(), ALL, &[(SINK, "")]) };
    let born = Born::new(&settings).unwrap();
    let ring = Arc::clone(&born.ring);
    let (pump, held) = Pump::durable(born, limits, true, Some(NEVER)).unwrap();
    let mut rig = Rig { folder, ring, pump, held };
    for offset in 0..1500 {
        rig.reads(offset..offset + 1);
    }
    rig.sync();
    let shown = rig.pump.progress().journaled();
    assert!(shown.let_go > 0 && shown.durable_seq == shown.next_seq);
    let first = segments(rig.pump.dir()).unwrap()[0].first_seq;
    assert!(first >= shown.let_go, "nothing comes back: {first} of {}", shown.let_go);
}

/// Of each segment how long it was when it was synced.
type Synced = BTreeMap<PathBuf, u64>;

/// What a power cut leaves: the segments as they were when they were synced, and a kernel that has started anew.
fn cut(rig: Rig, synced: &Synced) -> (tempfile::TempDir, PathBuf) {
    let Rig { folder, pump, held, .. } = rig;
    let dir = held.path().to_owned();
    drop((pump, held));
    for path in paths(&dir) {
        match synced.get(&path) {
            Some(len) => fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(*len).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    let mut held = ProcessDir::adopt(&dir).unwrap();
    let mut owner = Owner::load(&dir).unwrap();
    owner.boot_id = "00000000-1111-2222-3333-444444444444".into();
    owner.store(held.as_ref().unwrap()).unwrap();
    assert!(matches!(recover(&mut held, "", None).unwrap(), Recovery::Recovered(salvage) if salvage.ring_gone));
    (folder, dir)
}

fn paths(dir: &Path) -> Vec<PathBuf> {
    segments(dir).unwrap().iter().map(|name| dir.join(name.file_name())).collect()
}

fn with_length(path: PathBuf) -> (PathBuf, u64) {
    let len = fs::metadata(&path).unwrap().len();
    (path, len)
}

/// Every row that was durable, once, and no other; what nobody knows of comes behind a jump that no seq has been in.
fn nothing_durable_is_lost_by_a_power_cut(segment_bytes: u64) {
    let mut rig = rig_of(Limits { segment_bytes, ..limits() }, Some(NEVER), &[(SINK, "")]);
    let mut follower = rig.follow();
    let (mut had, mut synced) = (Vec::new(), Synced::new());
    for round in 0..20 {
        rig.reads(round * 10..round * 10 + 10);
        // What has rolled is synced without being asked for.
        rig.until_durable(segments(rig.pump.dir()).unwrap().last().unwrap().first_seq);
        let all = paths(rig.pump.dir());
        synced.extend(all[..all.len() - 1].iter().cloned().map(with_length));
        if round % 3 == 0 && round < 19 {
            rig.sync();
            synced.extend(all.into_iter().map(with_length));
        }
        had.extend(all_of(&mut follower));
        follower.commit(Vec::new()).unwrap();
        assert_eq!(follower.cursor().seq, rig.pump.progress().durable_seq());
    }
    let durable = rig.pump.progress().durable_seq();
    assert!(durable < rig.pump.progress().next_seq(), "the last round is not synced");
    drop(follower);
    let (_folder, dir) = cut(rig, &synced);
    let mut follower = follow(&dir, Arc::default());
    assert_eq!(follower.cursor().seq, durable);
    had.extend(all_of(&mut follower));
    follower.commit(Vec::new()).unwrap();
    had.extend(all_of(&mut follower));
    assert_eq!(had, (0..durable - 1).map(|i| (i + 1, i)).collect::<Vec<_>>());
    assert!(follower.ended() && follower.position() >= durable + JUMP);
    assert_eq!(follower.cursor().totals.get("lost_corrupt"), None);
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_no_sink_had_it() {
    nothing_durable_is_lost_by_a_power_cut(64 << 20);
}

#[test]
fn a_power_cut_between_segments_takes_no_more() {
    nothing_durable_is_lost_by_a_power_cut(2048);
}

#[test]
fn those_who_wait_at_a_time_are_all_served() {
    let mut rig = rig(NEVER);
    rig.reads(0..10);
    let waiters: Vec<_> = (0..64)
        .map(|_| {
            let unsynced = rig.pump.unsynced();
            std::thread::spawn(move || unsynced.wait(11, LONG).unwrap())
        })
        .collect();
    assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    assert!(!rig.pump.unsynced().wait(12, SOON).unwrap(), "nobody has journaled that");
}

#[test]
fn a_log_that_nobody_follows_may_give_up_what_is_not_durable() {
    let mut rig = rig_of(limits(), Some(NEVER), &[]);
    rig.reads(0..10);
    let [name] = segments(rig.pump.dir()).unwrap()[..] else { panic!("it never rolled") };
    fs::remove_file(rig.pump.dir().join(name.file_name())).unwrap();
    rig.sync();
    assert!(rig.folder.path().exists() && rig.held.path().exists());
}
