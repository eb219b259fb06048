//! The pipe without Python: records into the ring, pump, journal, followers, readers from outside.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditring_event::record::Encoder;
use auditring_event::{Category, Context, Definition, Outcome, code_of, index_of, row, spec_at};
use auditring_flow::{Batch, Born, Declined, Follower, Form, Limits, Progress, Pump, Settings, Snapshot, outside};
use auditring_journal::{ProcessDir, segments};
use auditring_ring::Ring;
use common::{emit, limits, settings};

const SOON: Duration = Duration::from_millis(20);

struct Rig {
    folder: tempfile::TempDir,
    ring: Arc<Ring>,
    pump: Pump,
    _dir: ProcessDir,
}

fn rig(policy: &str, sinks: &[&str], limits: Limits) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let sinks: Vec<_> = sinks.iter().map(|sink| (*sink, "")).collect();
    let settings =
        Settings { startup: vec![("python".into(), "CPython 3".into())], ..settings(folder.path(), policy, &sinks) };
    let born = Born::new(&settings).unwrap();
    let ring = Arc::clone(&born.ring);
    let (pump, dir) = Pump::new(born, limits, !sinks.is_empty()).unwrap();
    Rig { folder, ring, pump, _dir: dir }
}

const ALL: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;
const SAMPLED: &str = r#"{"read":{"keep":"sample","one_in":4},"seed":1,"version":1,"write":{"keep":"all"}}"#;

fn context(session: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Context { session: Some(session.into()), ..Context::default() }.encode(&mut bytes);
    bytes
}

impl Rig {
    fn read(&self, session: u64, topic: &str, offset: i64) {
        let mut event = Encoder::new(spec_at(index_of(code_of("Read"))));
        event.text("topic", topic).int("partition", 0).int("first_offset", offset);
        event.context(session, &context(&format!("session-{session}")));
        emit(&self.ring, &mut event);
    }

    /// Declares an event and puts one of it into the ring.
    fn declared(&self, code: u16, name: &str) {
        let definition = Definition {
            code,
            name: name.into(),
            category: Category::Plugin,
            outcome: Outcome::Success,
            object_ref: vec!["ref".into()],
            context: Vec::new(),
        };
        let mut bytes = Vec::new();
        definition.encode(&mut bytes);
        self.ring.definitions_append(&bytes).expect("the ring has room");
        let mut event = Encoder::declared(&definition);
        emit(&self.ring, event.declared_text(0, name));
    }

    fn pump(&mut self) {
        self.pump.run(Duration::ZERO).unwrap();
    }

    fn end(&mut self) {
        self.ring.close();
        while !self.pump.run(SOON).unwrap() {}
    }

    fn dir(&self) -> &Path {
        self.pump.dir()
    }

    fn follow(&self, sink: &str) -> Follower {
        Follower::open(self.dir(), sink, Declined::default(), Form::Rows, self.pump.progress()).unwrap()
    }
}

/// (seq, first offset, weight) of the Reads.
fn reads(batch: &Batch) -> Vec<(i64, i64, u32)> {
    let read = |at: &auditring_event::RowRef| {
        let view = batch.set.row(at).unwrap();
        (view.code() == code_of("Read")).then(|| (at.seq, row::int_field(&view, 2).unwrap(), at.weight))
    };
    batch.set.rows.iter().filter_map(read).collect()
}

#[test]
fn the_name_of_a_segment_that_could_not_be_begun_is_in_nobodys_way() {
    let mut rig = rig(ALL, &["parquet"], Limits { segment_bytes: 1, ..limits() });
    // A try that failed and could not remove what it had made.
    std::fs::write(rig.dir().join("0000000000000001-0000000000000001.journal"), b"").unwrap();
    for i in 0..10 {
        rig.read(1, "orders", i);
        rig.pump();
    }
    rig.end();
    assert_eq!(segments(rig.dir()).unwrap().iter().filter(|name| name.ordinal == 2).count(), 1);
    let mut follower = rig.follow("parquet");
    let batch = follower.next(1000, SOON, true).unwrap().unwrap();
    assert_eq!(reads(&batch), (0..10).map(|i| (i + 1, i, 1)).collect::<Vec<_>>());
    assert_eq!((batch.lost, follower.ended()), (0, true));
}

#[test]
fn every_record_comes_out_once_in_order_with_its_context() {
    let mut rig = rig(ALL, &["parquet"], limits());
    for i in 0..100 {
        rig.read(1 + i as u64 % 3, "orders", i);
    }
    rig.end();
    let mut follower = rig.follow("parquet");
    let batch = follower.next(1000, SOON, true).unwrap().unwrap();
    assert_eq!((batch.first_seq, batch.last_seq, batch.set.rows.len()), (0, 101, 102));
    assert_eq!(reads(&batch), (0..100).map(|i| (i + 1, i, 1)).collect::<Vec<_>>());
    for at in &batch.set.rows[1..=100] {
        let view = batch.set.row(at).unwrap();
        let session = batch.set.context(&view).unwrap().session.clone().unwrap();
        let offset = row::int_field(&view, 2).unwrap();
        assert_eq!(session, format!("session-{}", 1 + offset % 3));
        assert!(view.time_ns() > 0 && view.age_ns() >= 0);
    }
    assert!(follower.next(1000, SOON, true).unwrap().is_none());
    assert!(follower.ended());
}

#[test]
fn segments_roll_and_go_when_every_follower_has_passed_them() {
    let mut rig = rig(ALL, &["parquet", "jsonl"], Limits { segment_bytes: 4096, ..limits() });
    for i in 0..300 {
        rig.read(1, "orders", i);
        rig.pump();
    }
    let before = segments(rig.dir()).unwrap().len();
    assert!(before > 5, "{before} segments");
    let (mut parquet, mut jsonl) = (rig.follow("parquet"), rig.follow("jsonl"));
    let drain = |follower: &mut Follower| {
        let mut seen = Vec::new();
        while let Some(batch) = follower.next(17, SOON, true).unwrap() {
            seen.extend(reads(&batch));
        }
        follower.commit(b"state".to_vec()).unwrap();
        seen
    };
    let seen = drain(&mut parquet);
    assert_eq!(segments(rig.dir()).unwrap().len(), before, "the other sink still needs them");
    assert_eq!(seen, drain(&mut jsonl));
    assert_eq!(segments(rig.dir()).unwrap().len(), 1);
    assert_eq!(seen.len(), 300);
}

#[test]
fn a_follower_that_starts_again_comes_to_the_same_rows() {
    let mut rig = rig(SAMPLED, &["parquet"], Limits { segment_bytes: 8192, ..limits() });
    for i in 0..500 {
        rig.read(i as u64 % 40, ["a", "b", "c"][i as usize % 3], i);
        rig.pump();
    }
    rig.end();
    let mut whole = Vec::new();
    let mut follower = rig.follow("parquet");
    while let Some(batch) = follower.next(1 << 20, SOON, true).unwrap() {
        whole.extend(reads(&batch));
    }
    drop(follower);
    let mut pieces = Vec::new();
    loop {
        // Every round is a new follower that hands out twice, commits once, and is rewound in between.
        let mut follower = rig.follow("parquet");
        follower.next(7, SOON, true).unwrap();
        follower.rewind().unwrap();
        let Some(batch) = follower.next(23, SOON, true).unwrap() else { break };
        pieces.extend(reads(&batch));
        follower.commit(Vec::new()).unwrap();
    }
    assert_eq!(pieces, whole);
    assert!(whole.iter().any(|row| row.2 == 4) && whole.iter().any(|row| row.2 == 1));
}

#[test]
fn sampling_balances_and_keeps_the_first_touch_of_each_story() {
    let mut rig = rig(SAMPLED, &["parquet"], limits());
    for i in 0..2000 {
        rig.read(1 + i as u64 % 100, "orders", i);
        if i % 100 == 0 {
            rig.pump();
        }
    }
    rig.end();
    let mut follower = rig.follow("parquet");
    let batch = follower.next(1 << 20, SOON, true).unwrap().unwrap();
    let rows = batch.set.rows.len() as u64;
    assert_eq!(rows + batch.sampled_out + batch.filtered_out, (batch.last_seq - batch.first_seq + 1) as u64);
    let firsts: Vec<_> = reads(&batch).into_iter().filter(|row| row.2 == 1).map(|row| row.1).collect();
    assert_eq!(firsts, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_shows_each_row_once_whatever_the_followers_do() {
    let mut rig = rig(ALL, &["parquet"], limits());
    for i in 0..50 {
        rig.read(1, "orders", i);
    }
    rig.pump();
    let mut follower = rig.follow("parquet");
    follower.next(20, SOON, true).unwrap();
    follower.commit(Vec::new()).unwrap();
    let process = rig.dir().file_name().unwrap().to_str().unwrap().to_owned();
    let mut snapshot = Snapshot::open(&rig.folder.path().join("audit")).unwrap();
    // Sealed after the cursor was read: rows 20 to 29 are in a file that the cursor does not know of.
    let fresh = snapshot.fresh(&[(process, 20, 29)]).unwrap();
    let seqs: Vec<i64> = fresh.iter().flat_map(|batch| batch.set.rows.iter().map(|row| row.seq)).collect();
    assert_eq!(seqs, (30..51).collect::<Vec<_>>());
    assert!(snapshot.parquet());
}

#[test]
fn the_balance_can_be_read_from_outside() {
    let mut rig = rig(ALL, &["parquet"], limits());
    for i in 0..10 {
        rig.read(1, "orders", i);
    }
    rig.ring.edge().bump(0, u32::from(code_of("Read")), 0, auditring_ring::Kind::Dropped);
    rig.end();
    let (all, _) = outside(&rig.folder.path().join("audit")).unwrap();
    let one = &all[0];
    assert!(one.alive && one.instance == "proxy-1");
    // ProxyStartup, EventsLost and ProxyCleanShutdown are born in the pump.
    let expected = [("claimed", 10), ("accepted", 10), ("born", 3), ("journaled", 13), ("dropped", 1), ("offered", 11)];
    for (term, value) in expected {
        assert_eq!(one.terms[term], value, "{term}");
    }
    assert_eq!(one.sinks["parquet"].pending, 13);
}

#[test]
fn a_sink_that_declines_an_outcome_counts_it_as_filtered() {
    let mut rig = rig(ALL, &["parquet"], limits());
    for i in 0..10 {
        rig.read(1, "orders", i);
    }
    rig.end();
    let mut declined = Declined::default();
    declined.add(code_of("Read"), auditring_event::Outcome::Success);
    let mut follower = Follower::open(rig.dir(), "parquet", declined, Form::Rows, Arc::<Progress>::default()).unwrap();
    let batch = follower.next(100, SOON, true).unwrap().unwrap();
    assert_eq!((batch.filtered_out, batch.set.rows.len()), (10, 2));
}

#[test]
fn a_torn_claim_holds_back_what_is_behind_it_and_nothing_else() {
    let mut rig = rig(ALL, &["parquet"], limits());
    rig.read(1, "orders", 0);
    drop(rig.ring.lane(0).claim(64, true).unwrap());
    rig.read(1, "orders", 1);
    rig.pump();
    assert_eq!(rig.pump.progress().journaled().accepted, 1);
}

#[test]
fn without_a_follower_the_oldest_segments_go_at_the_budget_and_a_row_tells() {
    let mut rig = rig(ALL, &[], Limits { segment_bytes: 4096, journal_bytes: 32 << 10, ..limits() });
    for i in 0..2000 {
        rig.read(1, "orders", i);
        rig.pump();
    }
    assert!(auditring_journal::bytes_held(rig.dir()).unwrap() < 48 << 10);
    rig.end();
    assert_eq!(rig.pump.progress().journaled().accepted, 2000);
}

#[test]
fn with_a_follower_the_pump_waits_at_the_budget_and_goes_on_behind_it() {
    let mut rig = rig(ALL, &["parquet"], Limits { segment_bytes: 4096, journal_bytes: 16 << 10, ..limits() });
    for i in 0..2000 {
        rig.read(1, "orders", i);
        rig.pump();
    }
    let stopped = rig.pump.progress().journaled();
    assert!(stopped.over_budget && stopped.accepted < 2000);
    let mut follower = rig.follow("parquet");
    let mut seen = 0;
    for _ in 0..1000 {
        while let Some(batch) = follower.next(100, Duration::ZERO, true).unwrap() {
            seen += reads(&batch).len();
        }
        follower.commit(Vec::new()).unwrap();
        rig.pump();
        if seen == 2000 {
            break;
        }
    }
    assert_eq!(seen, 2000);
}

/// The names of a batch's declared events, as its definitions say.
fn names(batch: &Batch) -> Vec<String> {
    let code = |at: &auditring_event::RowRef| batch.set.row(at).unwrap().code();
    let declared = batch.set.rows.iter().map(code).filter(|code| *code >= auditring_event::FIRST_DECLARED);
    declared.map(|code| batch.set.definitions.get(code).map_or("?", |of| of.name.as_str()).to_owned()).collect()
}

#[test]
fn a_set_knows_what_was_declared_while_it_was_gathered() {
    let mut rig = rig(ALL, &["parquet"], limits());
    rig.read(1, "orders", 0);
    rig.pump();
    let mut follower = rig.follow("parquet");
    // Begins the set, without any definition, and waits for more rows.
    assert!(follower.next(100, SOON, false).unwrap().is_none());
    rig.declared(768, "com.example.One");
    rig.pump();
    rig.declared(769, "com.example.Two");
    rig.end();
    let batch = follower.next(100, SOON, true).unwrap().unwrap();
    assert_eq!(names(&batch), ["com.example.One", "com.example.Two"]);
    assert_eq!(reads(&batch).len(), 1);
}

#[test]
fn every_segment_repeats_the_definitions() {
    let mut rig = rig(ALL, &["parquet"], Limits { segment_bytes: 1, ..limits() });
    rig.declared(768, "com.example.One");
    rig.pump();
    rig.declared(769, "com.example.Two");
    rig.pump();
    rig.declared(770, "com.example.Three");
    rig.end();
    let wanted = ["com.example.One", "com.example.Two", "com.example.Three"];
    let all = segments(rig.dir()).unwrap();
    assert!(all.len() > 2, "{} segments", all.len());
    let seen: Vec<_> =
        Snapshot::open(&rig.folder.path().join("audit")).unwrap().fresh(&[]).unwrap().iter().flat_map(names).collect();
    assert_eq!(seen, wanted);
    // A follower that begins behind the first segments has only the heads of later ones.
    let mut follower = rig.follow("parquet");
    let first = follower.next(2, SOON, true).unwrap().unwrap();
    assert_eq!(names(&first), ["com.example.One"]);
    follower.commit(Vec::new()).unwrap();
    drop(follower);
    let mut follower = rig.follow("parquet");
    let rest = follower.next(100, SOON, true).unwrap().unwrap();
    assert_eq!(names(&rest), wanted[1..]);
}
