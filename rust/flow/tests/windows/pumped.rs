//! The pump says when a window is over, and lets nobody wait for it where there is no room.

use std::sync::Arc;
use std::time::Duration;

use auditring_event::record::Encoder;
use auditring_event::{Context, by_name};
use auditring_flow::{Born, Declined, Follower, Form, Limits, Pump, Tail};
use auditring_journal::ProcessDir;
use auditring_ring::Ring;

use crate::common::{emit, limits, settings};
use crate::journal::{Row, rows};

const SOON: Duration = Duration::from_millis(20);
const NONE: &str = r#"{"version":2,"seed":7,"allow_blind_spots":false,"rules":[]}"#;

fn coalesce(window_ms: i64) -> String {
    let window = window_ms * 1_000_000;
    format!(
        r#"{{"version":3,"seed":7,"allow_blind_spots":false,"rules":[
            {{"action":["Read"],"keep":"coalesce","window_ns":{window}}}]}}"#
    )
}

struct Rig {
    folder: tempfile::TempDir,
    ring: Arc<Ring>,
    pump: Pump,
    _dir: ProcessDir,
}

impl Rig {
    /// Of a log with a policy, and a sink with one of its own, or none.
    fn new(policy: &str, own: &str, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), policy, &[("parquet", own)]);
        let born = Born::new(&settings).unwrap();
        let ring = Arc::clone(&born.ring);
        let (pump, dir) = Pump::new(born, limits, true).unwrap();
        Self { folder, ring, pump, _dir: dir }
    }

    fn read(&self, offset: i64) {
        let mut event = Encoder::new(by_name("Read").unwrap());
        event.text("topic", "orders").int("partition", 0).int("first_offset", offset).int("last_offset", offset);
        let mut context = Vec::new();
        Context { session: Some("s".into()), ..Context::default() }.encode(&mut context);
        emit(&self.ring, event.context(1, &context));
    }

    fn follow(&self) -> Follower {
        let progress = self.pump.progress();
        Follower::open(self.pump.dir(), "parquet", Declined::default(), Form::Rows, progress).unwrap()
    }
}

fn reads(all: impl IntoIterator<Item = Row>) -> i64 {
    all.into_iter().filter(|row| row.action == "Read").map(|row| row.count).sum()
}

#[test]
fn where_nothing_comes_any_more_the_pump_ends_the_window() {
    for (policy, own) in [(coalesce(50).as_str(), ""), (NONE, coalesce(50).as_str())] {
        let mut rig = Rig::new(policy, own, limits());
        (0..20).for_each(|n| rig.read(n));
        rig.pump.run(SOON).unwrap();
        let mut follower = rig.follow();
        let mut seen = Vec::new();
        let mut tries = 0;
        while !(follower.at_cut() && follower.position() == 21) {
            rig.pump.run(SOON).unwrap();
            seen.extend(follower.next_to(1000, Duration::ZERO, true, true).unwrap().iter().flat_map(rows));
            tries += 1;
            assert!(tries < 500, "{}", follower.position());
        }
        assert_eq!(reads(seen), 20);
        follower.commit(Vec::new()).unwrap();
        assert!(follower.cursor().totals["merged"] >= 10);
    }
}

#[test]
fn without_a_window_the_pump_writes_nothing_of_its_own() {
    let mut rig = Rig::new(NONE, "", limits());
    rig.read(0);
    rig.pump.run(SOON).unwrap();
    let bytes = auditring_journal::bytes_held(rig.pump.dir()).unwrap();
    rig.pump.run(SOON * 5).unwrap();
    assert_eq!(auditring_journal::bytes_held(rig.pump.dir()).unwrap(), bytes);
}

#[test]
fn a_journal_at_its_budget_does_not_wait_for_the_end_of_a_minute() {
    let small = Limits { segment_bytes: 4096, journal_bytes: 16 << 10, ..limits() };
    let mut rig = Rig::new(&coalesce(60_000), "", small);
    let mut follower = rig.follow();
    let (mut sent, mut seen, mut stalls) = (0, Vec::new(), 0);
    while reads(seen.iter().cloned()) < 2000 {
        if sent < 2000 {
            rig.read(sent);
            sent += 1;
        }
        rig.pump.run(Duration::ZERO).unwrap();
        if rig.pump.progress().journaled().over_budget || sent == 2000 {
            stalls += 1;
            assert!(stalls < 3000, "{} of {sent} at {}", reads(seen), follower.position());
            if sent == 2000 {
                rig.ring.close();
            }
            seen.extend(follower.next_to(1000, Duration::ZERO, false, true).unwrap().iter().flat_map(rows));
            if follower.at_cut() && follower.position() > follower.cursor().seq {
                follower.commit(Vec::new()).unwrap();
            }
        }
    }
    assert!(auditring_journal::bytes_held(rig.pump.dir()).unwrap() < 64 << 10);
    assert!(seen.len() < 1000, "{} rows", seen.len());
}

#[test]
fn a_tail_shows_what_waits_when_nobody_goes_on() {
    let mut rig = Rig::new(&coalesce(60_000), "", limits());
    (0..20).for_each(|n| rig.read(n));
    rig.pump.run(SOON).unwrap();
    let root = rig.folder.path().join("audit");
    let mut tail = Tail::open(&root, auditring_flow::Filter::default(), false).unwrap();
    let shown: i64 = tail.last(100).unwrap().iter().map(|set| reads(crate::journal::shown(set))).sum();
    assert_eq!(shown, 20);
    let filter = auditring_flow::Filter { actions: vec!["Read".into()], ..Default::default() };
    let mut tail = Tail::open(&root, filter, false).unwrap();
    let mut sets = tail.fresh().unwrap();
    sets.extend(tail.rest());
    assert!(sets.iter().flat_map(crate::journal::shown).all(|row| row.action == "Read"));
    assert_eq!(sets.iter().map(|set| reads(crate::journal::shown(set))).sum::<i64>(), 20);
}
