//! A ring of several lanes: each in its own order, each fairly, and everything of all of them through every turn of a log's
//! life.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auditring_event::event::Event;
use auditring_event::record::Encoder;
use auditring_event::{Column, by_name, code_of, row};
use auditring_flow::{
    Born, Carry, Change, Declined, Follower, Form, Pump, Recovery, Salvage, Settings, Snapshot, Stated, outside,
    recover,
};
use auditring_journal::{ProcessDir, fold};
use auditring_ring::{Identity, Kind, Ring};
use common::{emit_into, limits, settings};

const SINK: &str = "parquet";
const SOON: Duration = Duration::from_millis(20);
const ALL: &str = r#"{"allow_blind_spots":false,"rules":[],"seed":1,"version":2}"#;
const NO_READS: &str = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"off"}],"seed":1,"version":2}"#;

struct Rig {
    folder: tempfile::TempDir,
    ring: Arc<Ring>,
    pump: Pump,
    held: ProcessDir,
}

/// The offsets of the Reads of each lane, and the other rows by name, with what they say was lost.
type Story = (Vec<Vec<i64>>, Vec<(String, Option<i64>)>);

impl Rig {
    fn new(lanes: u32) -> Self {
        Self::of(lanes, 8 << 20)
    }

    fn of(lanes: u32, ring_bytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let born = Born::new(&Settings { lanes, ring_bytes, ..settings(folder.path(), ALL, &[(SINK, "")]) }).unwrap();
        let ring = Arc::clone(&born.ring);
        assert_eq!(ring.geometry().lanes, lanes);
        let (pump, held) = Pump::new(born, limits(), true).unwrap();
        Self { folder, ring, pump, held }
    }

    fn lanes(&self) -> u32 {
        self.ring.geometry().lanes
    }

    /// Reads in a lane, which its partition names.
    fn reads(&self, lane: u32, offsets: std::ops::Range<i64>) {
        for offset in offsets {
            let mut event = Encoder::new(by_name("Read").unwrap());
            event.text("topic", "orders").int("partition", lane.into()).int("first_offset", offset);
            emit_into(&self.ring, lane, &mut event);
        }
    }

    fn pump(&mut self) {
        self.pump.run(Duration::ZERO).unwrap();
    }

    fn end(&mut self) {
        self.ring.close();
        while !self.pump.run(SOON).unwrap() {}
    }

    fn dir(&self) -> PathBuf {
        self.held.path().to_owned()
    }

    /// Another ring in place of this one, as when its file has gone.
    fn replace(&mut self) -> Arc<Ring> {
        let old = Arc::clone(&self.ring);
        old.unlink().unwrap();
        let identity = Identity { generation: old.identity().generation + 1, ..*old.identity() };
        let new = Ring::create(old.path(), old.geometry(), &identity, old.clock(), old.birth()).unwrap();
        self.ring = Arc::new(new);
        let carry = Carry::begin(Arc::clone(&old), &self.ring);
        old.close();
        self.pump.replace(Arc::clone(&self.ring), carry, None);
        old
    }
}

fn story(dir: &std::path::Path, lanes: u32) -> Story {
    let mut follower = Follower::open(dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
    let (mut reads, mut others) = (vec![Vec::new(); lanes as usize], Vec::new());
    while !follower.ended() {
        let Some(batch) = follower.next(1 << 20, SOON, true).unwrap() else { continue };
        for at in &batch.set.rows {
            let view = batch.set.row(at).unwrap();
            if view.code() == code_of("Read") {
                let lane = row::int_field(&view, 1).unwrap();
                reads[lane as usize].push(row::int_field(&view, 2).unwrap());
            } else {
                let event = Event::of(&batch.set, at).unwrap();
                others.push((event.text(Column::Action).unwrap().to_owned(), event.int(Column::Lost)));
            }
        }
    }
    (reads, others)
}

fn dense(count: i64) -> Vec<i64> {
    (0..count).collect()
}

/// The equations, from the files alone; and how many were claimed.
fn balanced(rig_root: &std::path::Path) -> u64 {
    let (all, _unreadable) = outside(&rig_root.join("audit")).unwrap();
    let term = |name: &str| all[0].terms[name];
    assert_eq!(term("claimed"), term("accepted") + term("torn"));
    assert_eq!(term("accepted") + term("born"), term("journaled") + all[0].lost.values().sum::<u64>());
    term("claimed")
}

#[test]
fn every_lane_is_journaled_whole_and_in_its_own_order() {
    for lanes in [1, 2, 3, 8] {
        let mut rig = Rig::new(lanes);
        for round in 0..5 {
            for lane in (0..lanes).rev() {
                rig.reads(lane, round * 40..(round + 1) * 40);
            }
            rig.pump();
        }
        rig.end();
        let (reads, others) = story(&rig.dir(), lanes);
        assert_eq!(reads, vec![dense(200); lanes as usize]);
        assert_eq!(others.len(), 2, "startup and shutdown: {others:?}");
        assert_eq!(balanced(rig.folder.path()), 200 * u64::from(lanes));
        let state = fold(&rig.dir()).unwrap();
        assert_eq!(state.lanes.iter().map(|lane| lane.claims).collect::<Vec<_>>(), vec![200; lanes as usize]);
    }
}

#[test]
fn the_lanes_share_the_bytes_and_each_takes_what_the_catalog_allows() {
    for (lanes, bytes, each) in
        [(1, 16 << 20, 16 << 20), (2, 16 << 20, 8 << 20), (3, 16 << 20, 4 << 20), (8, 1 << 20, 1 << 20)]
    {
        let rig = Rig::of(lanes, bytes);
        assert_eq!((rig.ring.geometry().lane_bytes, rig.ring.geometry().max_record), (each, 1 << 16));
    }
}

#[test]
fn a_full_lane_starves_no_other() {
    let mut rig = Rig::new(2);
    // Some megabytes, which no batch takes at once.
    rig.reads(0, 0..25_000);
    rig.reads(1, 0..10);
    let mut claims = vec![0, 0];
    while claims[1] == 0 {
        let batch = fold(&rig.dir()).unwrap().batch_no;
        rig.pump();
        let state = fold(&rig.dir()).unwrap();
        assert!(state.batch_no <= batch + 1, "one batch a look");
        claims = state.lanes.iter().map(|lane| lane.claims).collect();
    }
    assert_eq!(claims[1], 10);
    assert!(claims[0] > 0 && claims[0] < 25_000, "{claims:?}");
    rig.end();
    assert_eq!(story(&rig.dir(), 2).0, [dense(25_000), dense(10)]);
}

#[test]
fn a_claim_that_stays_open_holds_its_own_lane_alone() {
    let mut rig = Rig::new(2);
    let ring = Arc::clone(&rig.ring);
    let mut event = Encoder::new(by_name("Read").unwrap());
    let bytes = event.text("topic", "orders").int("partition", 0).int("first_offset", 0).to_vec();
    let mut claim = ring.lane(0).claim(bytes.len(), true).expect("the ring has room");
    rig.reads(0, 1..5);
    rig.reads(1, 0..5);
    rig.pump();
    let claims = |rig: &Rig| fold(&rig.dir()).unwrap().lanes.iter().map(|lane| lane.claims).collect::<Vec<_>>();
    assert_eq!(claims(&rig), [0, 5]);
    claim.write(|room| room[..bytes.len()].copy_from_slice(&bytes));
    claim.commit();
    rig.end();
    assert_eq!(story(&rig.dir(), 2).0, [dense(5), dense(5)]);
}

#[test]
fn a_change_of_the_policy_stands_behind_what_was_recorded_in_every_lane() {
    let mut rig = Rig::new(4);
    (0..4).for_each(|lane| rig.reads(lane, 0..10));
    let ring = Arc::clone(&rig.ring);
    let claim = ring.lane(3).claim(64, true).expect("the ring has room");
    let (policies, mailbox) = (rig.pump.policies(), rig.pump.mailbox());
    let stated = Stated::parse(NO_READS.into()).unwrap();
    assert!(matches!(policies.bring(stated, "another", &mailbox), Change::Coming(_)));
    rig.pump();
    assert_eq!(mailbox.len(), 1, "behind the claim that is open in the last lane");
    claim.commit();
    rig.pump();
    assert!(mailbox.is_empty() && policies.in_force().bytes == NO_READS.as_bytes());
    (0..4).for_each(|lane| rig.reads(lane, 10..20));
    rig.end();
    let (reads, others) = story(&rig.dir(), 4);
    assert_eq!(reads, vec![dense(10); 4], "those behind the change are left out");
    let actions: Vec<_> = others.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["ProxyStartup", "auditring.Unreadable", "auditring.PolicyChanged", "ProxyCleanShutdown"]);
}

#[test]
fn what_was_dropped_in_any_lane_is_told_in_one_row() {
    let mut rig = Rig::new(4);
    let read = u32::from(code_of("Read"));
    for lane in 0..4 {
        rig.ring.edge().add(lane, read, 0, Kind::Dropped, 1 + u64::from(lane));
    }
    rig.end();
    let (_, others) = story(&rig.dir(), 4);
    let lost: Vec<_> = others.iter().filter(|(action, _)| action == "auditring.EventsLost").collect();
    assert_eq!(lost, [&("auditring.EventsLost".to_owned(), Some(10))]);
    assert_eq!(outside(&rig.folder.path().join("audit")).unwrap().0[0].terms["dropped"], 10);
}

#[test]
fn a_ring_that_is_replaced_goes_on_in_every_lane_with_every_count() {
    let mut rig = Rig::new(2);
    let read = u32::from(code_of("Read"));
    rig.reads(0, 0..10);
    rig.reads(1, 0..7);
    rig.ring.edge().add(1, read, 0, Kind::Dropped, 3);
    let old = rig.replace();
    // A caller that had found the old ring counts there after its counts were taken over.
    old.edge().add(1, read, 0, Kind::Dropped, 2);
    rig.reads(0, 10..15);
    rig.reads(1, 7..20);
    rig.pump();
    old.edge().add(0, read, 0, Kind::Dropped, 4);
    rig.ring.edge().add(0, read, 0, Kind::Dropped, 1);
    let lanes = rig.lanes();
    rig.end();
    let (reads, others) = story(&rig.dir(), lanes);
    assert_eq!(reads, [dense(15), dense(20)]);
    assert_eq!(others.iter().filter_map(|(_, lost)| *lost).sum::<i64>(), 10);
    assert_eq!(balanced(rig.folder.path()), 35);
    assert_eq!(outside(&rig.folder.path().join("audit")).unwrap().0[0].terms["dropped"], 10);
}

#[test]
fn recovery_and_its_preview_find_every_lane() {
    for lanes in [2, 4] {
        let mut rig = Rig::new(lanes);
        (0..lanes).for_each(|lane| rig.reads(lane, 0..10));
        rig.pump();
        for lane in 0..lanes {
            rig.reads(lane, 10..10 + 5 * i64::from(lane));
            // A caller that died in its claim.
            drop(rig.ring.lane(lane).claim(40, true).unwrap());
            rig.reads(lane, 10 + 5 * i64::from(lane)..40);
        }
        rig.ring.edge().bump(lanes - 1, code_of("Read").into(), 0, Kind::Dropped);
        let Rig { folder, ring, pump, held } = rig;
        let dir = held.path().to_owned();
        drop((ring, pump, held));
        let seen = || {
            let batches = Snapshot::open(&folder.path().join("audit")).unwrap().fresh(&[]).unwrap();
            let read = |batch: &auditring_flow::Batch| {
                batch.set.rows.iter().filter(|at| batch.set.row(at).unwrap().code() == code_of("Read")).count()
            };
            batches.iter().map(read).sum::<usize>()
        };
        assert_eq!(seen(), 40 * lanes as usize);
        let mut held = ProcessDir::adopt(&dir).unwrap();
        let expected = Salvage { rows: 30 * u64::from(lanes), torn: lanes.into(), dropped: 1, ..Salvage::default() };
        assert_eq!(recover(&mut held, "another", None).unwrap(), Recovery::Recovered(expected));
        let (reads, others) = story(&dir, lanes);
        assert_eq!(reads, vec![dense(40); lanes as usize]);
        assert_eq!(others.iter().filter_map(|(_, lost)| *lost).sum::<i64>(), 1);
        assert_eq!(balanced(folder.path()), 41 * u64::from(lanes));
        assert_eq!(seen(), 40 * lanes as usize);
    }
}

/// Writes over the header of the record behind so many that wait in a lane, as a stray pointer may.
fn scribble(ring: &Ring, lane: u32, behind: usize, over: impl Fn(u64) -> u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(ring.path()).unwrap();
    let bytes = u64::from(ring.geometry().lane_bytes);
    let data = file.metadata().unwrap().len() - bytes * u64::from(ring.geometry().lanes - lane);
    let word = |at: u64| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, data + at).unwrap();
        u64::from_le_bytes(word)
    };
    let mut at = (0..bytes).step_by(8).find(|at| word(*at) != 0).unwrap();
    for _ in 0..behind {
        at += u64::from(word(at) as u32).next_multiple_of(8);
    }
    file.write_all_at(&over(word(at)).to_le_bytes(), data + at).unwrap();
}

/// Another ordinal; a length that nothing has; one that leads beyond the tail; an open claim of no possible length.
const SCRIBBLES: [fn(u64) -> u64; 4] = [
    |header| header ^ 1 << 40,
    |header| header | 0x7000_0000,
    |header| header & !0xffff_ffff | 0x8000,
    |header| header & !0xffff_ffff | 0x8001_0000,
];

#[test]
fn a_header_that_was_written_over_stops_one_lane_until_another_ring_takes_its_place() {
    for over in SCRIBBLES {
        let mut rig = Rig::new(2);
        rig.reads(0, 0..10);
        rig.reads(1, 0..5);
        scribble(&rig.ring, 0, 4, over);
        while !rig.pump.is_damaged() {
            rig.pump.run(SOON).unwrap();
        }
        rig.reads(1, 5..9);
        rig.pump();
        let said = rig.pump.progress().journaled();
        assert_eq!(said.lanes, [4, 9], "all before it, and all of the other lane");
        assert!(said.damaged.unwrap().contains("lane 0"));
        rig.replace();
        rig.reads(0, 10..13);
        rig.reads(1, 9..12);
        while rig.pump.progress().journaled().generation == 0 {
            rig.pump.run(SOON).unwrap();
        }
        assert_eq!(rig.pump.progress().journaled().damaged, None);
        rig.end();
        let (reads, others) = story(&rig.dir(), 2);
        assert_eq!(reads, [vec![0, 1, 2, 3, 10, 11, 12], dense(12)]);
        let lost: Vec<_> =
            others.iter().filter_map(|(action, lost)| lost.map(|lost| (action.as_str(), lost))).collect();
        assert_eq!(lost, [("auditring.EventsLost", 6)]);
        assert!(others.iter().any(|(action, _)| action == "auditring.RingReplaced"));
        assert_eq!(balanced(rig.folder.path()), 25);
    }
}

#[test]
fn a_log_that_is_closed_with_a_header_written_over_ends_and_counts_what_is_behind_it() {
    let mut rig = Rig::new(2);
    rig.reads(0, 0..10);
    rig.reads(1, 0..5);
    scribble(&rig.ring, 0, 0, SCRIBBLES[0]);
    rig.end();
    let (reads, others) = story(&rig.dir(), 2);
    assert_eq!(reads, [vec![], dense(5)]);
    assert_eq!(others.iter().filter_map(|(_, lost)| *lost).collect::<Vec<_>>(), [10]);
    assert_eq!(others.last().unwrap().0, "ProxyCleanShutdown");
    assert_eq!(balanced(rig.folder.path()), 15);
}

#[test]
fn what_lies_where_nobody_has_claimed_yet_is_no_damage() {
    let mut rig = Rig::new(1);
    rig.reads(0, 0..1);
    scribble(&rig.ring, 0, 1, |_| 7);
    rig.pump();
    assert!(!rig.pump.is_damaged());
    rig.reads(0, 1..3);
    rig.end();
    assert_eq!(story(&rig.dir(), 1).0, [dense(3)]);
}
