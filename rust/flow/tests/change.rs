//! A change of the policy lies at one seq, for whoever reads the journal, from wherever, and however often.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditring_event::record::Encoder;
use auditring_event::{RowSet, by_name, code_of, row};
use auditring_flow::{
    Born, Change, Declined, Filter, Follower, Form, Limits, Pump, Snapshot, Stated, Tail, Withdrawn, outside,
};
use auditring_journal::counters::journaled;
use auditring_journal::{ProcessDir, Reader, Step, fold, segments};
use auditring_policy::Policy;
use auditring_ring::Ring;
use common::{emit, limits, settings};

const SOON: Duration = Duration::from_millis(20);
const ALL: &str = r#"{"allow_blind_spots":false,"rules":[],"seed":1,"version":2}"#;
const NO_READS: &str = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"off"}],"seed":1,"version":2}"#;
const BLIND: &str = r#"{"allow_blind_spots":true,"rules":[{"keep":"off"}],"seed":1,"version":2}"#;

struct Rig {
    _folder: tempfile::TempDir,
    root: std::path::PathBuf,
    ring: Arc<Ring>,
    pump: Pump,
    _dir: ProcessDir,
}

impl Rig {
    fn new(segment_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ALL, &[("parquet", "")]);
        let born = Born::new(&settings).unwrap();
        let ring = Arc::clone(&born.ring);
        let limits = Limits { segment_bytes, ..limits() };
        let (pump, dir) = Pump::new(born, limits, true).unwrap();
        Self { _folder: folder, root: settings.root, ring, pump, _dir: dir }
    }

    fn reads(&mut self, count: i64) {
        for offset in 0..count {
            let mut event = Encoder::new(by_name("Read").unwrap());
            event.text("topic", "orders").int("partition", 0).int("first_offset", offset);
            emit(&self.ring, &mut event);
        }
        self.pump.run(Duration::ZERO).unwrap();
    }

    fn change(&mut self, policy: &str) {
        let stated = Stated::parse(policy.into()).unwrap();
        let change = self.pump.policies().bring(stated, "another", &self.pump.mailbox());
        assert!(matches!(change, Change::Coming(_)));
        self.pump.run(Duration::ZERO).unwrap();
        assert!(self.pump.policies().wait(None, Duration::ZERO));
    }

    fn end(&mut self) {
        self.ring.close();
        while !self.pump.run(SOON).unwrap() {}
    }

    fn dir(&self) -> &Path {
        self.pump.dir()
    }

    fn follow(&self) -> Follower {
        Follower::open(self.dir(), "parquet", Declined::default(), Form::Rows, self.pump.progress()).unwrap()
    }
}

/// What is shown, by seq: Reads, changes, and the rest.
fn shown(set: &RowSet) -> Vec<(i64, char)> {
    let kind = |code| match code {
        code if code == code_of("Read") => 'r',
        code if code == code_of("auditring.PolicyChanged") => 'c',
        _ => '-',
    };
    set.rows.iter().map(|at| (at.seq, kind(set.row(at).unwrap().code()))).collect()
}

/// Startup, ten Reads, no Reads from seq 11 on, ten of them, all again from 22 on, five Reads, blind from 28, five, the end.
fn story(rig: &mut Rig) -> Vec<(i64, char)> {
    rig.reads(10);
    rig.change(NO_READS);
    rig.reads(10);
    rig.change(ALL);
    rig.reads(5);
    rig.change(BLIND);
    rig.reads(5);
    rig.end();
    let mut expected = vec![(0, '-')];
    expected.extend((1..11).map(|seq| (seq, 'r')));
    expected.extend([(11, 'c'), (22, 'c')]);
    expected.extend((23..28).map(|seq| (seq, 'r')));
    // Behind a change for a policy that may be blind stands the row that says so.
    expected.extend([(28, 'c'), (29, '-')]);
    expected
}

fn followed(follower: &mut Follower, most: usize) -> Vec<(i64, char)> {
    let (mut rows, mut passed) = (Vec::new(), 0);
    while let Some(batch) = follower.next(most, SOON, true).unwrap() {
        passed += batch.set.rows.len() as u64 + batch.sampled_out + batch.filtered_out + batch.lost;
        rows.extend(shown(&batch.set));
    }
    assert_eq!(passed, (follower.position() - follower.cursor().seq) as u64);
    rows
}

#[test]
fn every_follower_changes_at_the_same_seq_however_segments_and_batches_lie() {
    for segment_bytes in [1, 1 << 10, 64 << 20] {
        for most in [1, 3, 1000] {
            let mut rig = Rig::new(segment_bytes);
            let expected = story(&mut rig);
            let mut follower = rig.follow();
            assert_eq!(followed(&mut follower, most), expected);
            // Again from the beginning, and from any cursor in the middle.
            follower.rewind().unwrap();
            assert_eq!(followed(&mut follower, most), expected);
            follower.rewind().unwrap();
            while let Some(_batch) = follower.next(most, SOON, true).unwrap() {
                follower.commit(Vec::new()).unwrap();
                let cursor = follower.position();
                follower.rewind().unwrap();
                let rest: Vec<_> = expected.iter().copied().filter(|(seq, _)| *seq >= cursor).collect();
                assert_eq!(followed(&mut follower, most), rest);
                follower.rewind().unwrap();
            }
        }
    }
}

#[test]
fn a_tail_sees_what_the_table_will_have_also_where_it_looks_at_few_rows() {
    let mut rig = Rig::new(1);
    let expected = story(&mut rig);
    let all = |filter| {
        let mut tail = Tail::open(&rig.root, filter, false).unwrap();
        let mut rows = Vec::new();
        loop {
            let sets = tail.fresh().unwrap();
            if sets.is_empty() {
                return rows;
            }
            rows.extend(sets.iter().flat_map(shown));
        }
    };
    assert_eq!(all(Filter::default()), expected);
    let reads: Vec<_> = expected.iter().copied().filter(|(_, kind)| *kind == 'r').collect();
    assert_eq!(all(Filter { actions: vec!["Read".into()], ..Filter::default() }), reads);
}

#[test]
fn a_tail_that_begins_late_goes_by_what_was_changed_before() {
    let mut rig = Rig::new(64 << 20);
    rig.reads(3);
    rig.change(NO_READS);
    rig.reads(3);
    let mut tail = Tail::open(&rig.root, Filter::default(), true).unwrap();
    rig.reads(3);
    assert_eq!(tail.fresh().unwrap().iter().flat_map(shown).collect::<Vec<_>>(), []);
    // By time: the change lies in a batch that is too old to be looked at.
    let now = auditring_ring::Clock::new(rig.ring.clock()).anchor().real_ns;
    let mut late = Tail::open(&rig.root, Filter { since_ns: Some(now), ..Filter::default() }, false).unwrap();
    rig.reads(3);
    assert_eq!(late.fresh().unwrap().iter().flat_map(shown).collect::<Vec<_>>(), []);
}

#[test]
fn a_snapshot_behind_sealed_rows_goes_by_the_change_among_them() {
    let mut rig = Rig::new(64 << 20);
    let expected = story(&mut rig);
    let process = auditring_journal::process_text(&rig.ring.identity().process);
    let fresh = |sealed: &[(String, i64, i64)]| {
        let mut snapshot = Snapshot::open(&rig.root).unwrap();
        snapshot.fresh(sealed).unwrap().iter().flat_map(|batch| shown(&batch.set)).collect::<Vec<_>>()
    };
    assert_eq!(fresh(&[]), expected);
    assert_eq!(fresh(&[(process, 0, 15)]), [&[(22, 'c')], &expected[13..]].concat());
}

#[test]
fn a_segments_head_has_the_policy_in_force_at_its_first_row() {
    let mut rig = Rig::new(1);
    story(&mut rig);
    assert!(segments(rig.dir()).unwrap().len() > 4);
    let mut reader = Reader::open(rig.dir(), 0).unwrap();
    let (mut buf, mut policy) = (Vec::new(), ALL.to_owned());
    loop {
        match reader.next(&mut buf).unwrap() {
            Step::Segment(head) => {
                assert_eq!(std::str::from_utf8(&head.policy).unwrap(), policy);
                assert_eq!(head.policy_digest, Policy::digest(policy.as_bytes()));
            }
            Step::Batch(_, sections) => {
                let mut rows = &buf[sections.rows];
                while let Ok(view) = row::RowView::parse(rows) {
                    if view.code() == code_of("auditring.PolicyChanged") {
                        policy = view.fields().text(1 << 2).unwrap().to_owned();
                    }
                    rows = &rows[view.len()..];
                }
            }
            Step::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(policy, BLIND);
}

#[test]
fn a_policy_that_no_version_knows_stops_the_follower_at_its_row() {
    let mut rig = Rig::new(64 << 20);
    rig.reads(3);
    let mut later = Encoder::new(by_name("auditring.PolicyChanged").unwrap());
    later.text("policy", r#"{"version":99}"#);
    assert!(rig.pump.mailbox().post(later.to_vec()));
    rig.reads(3);
    rig.end();
    let mut follower = rig.follow();
    let first = follower.next(3, SOON, true).unwrap().unwrap();
    assert_eq!(shown(&first.set), [(0, '-'), (1, 'r'), (2, 'r')]);
    follower.commit(Vec::new()).unwrap();
    for _ in 0..2 {
        let error = follower.next(1000, SOON, true).unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
        follower.rewind().unwrap();
    }
    assert_eq!(follower.cursor().seq, 3);
}

#[test]
fn bits_are_set_after_the_row_is_written_and_what_comes_in_between_is_left_out_by_the_followers() {
    let mut rig = Rig::new(64 << 20);
    let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, dir, policies) = (Arc::clone(&turns), rig.dir().to_owned(), rig.pump.policies());
    let asked = Arc::downgrade(&policies);
    policies.on_turn(move || {
        let read = by_name("Read").unwrap();
        let off = asked.upgrade().unwrap().leave_out(read.code, Some("Read"), read.category, read.outcome);
        let written = fold(&dir).unwrap().cells.get(journaled(code_of("auditring.PolicyChanged"), 0, true));
        seen.lock().unwrap().push((written, off));
    });
    rig.change(NO_READS);
    rig.reads(2);
    rig.change(ALL);
    // Nothing is refused before the first row is written, and nothing any more when the second one is.
    assert_eq!(*turns.lock().unwrap(), [(0, false), (1, true), (1, false), (2, false)]);
    rig.end();
    let mut follower = rig.follow();
    assert_eq!(followed(&mut follower, 1000), [(0, '-'), (1, 'c'), (4, 'c'), (5, '-')]);
    follower.commit(Vec::new()).unwrap();
    assert_eq!(outside(&rig.root).unwrap().0[0].sinks["parquet"].totals["filtered_out"], 2);
}

#[test]
fn a_change_that_is_not_written_yet_can_be_taken_back() {
    let mut rig = Rig::new(64 << 20);
    rig.reads(3);
    let (policies, mailbox) = (rig.pump.policies(), rig.pump.mailbox());
    let change = |policy: &str| policies.bring(Stated::parse(policy.into()).unwrap(), "", &mailbox);
    assert_eq!(change(NO_READS), Change::Coming(1));
    assert_eq!((change(ALL), policies.in_force().bytes.as_slice()), (Change::Busy, ALL.as_bytes()));
    rig.pump.run(Duration::ZERO).unwrap();
    assert!(policies.wait(None, Duration::ZERO));
    assert_eq!(policies.withdraw(1, &mailbox), Withdrawn::TooLate);
    assert_eq!(change(ALL), Change::Coming(2));
    assert_eq!(
        (policies.withdraw(2, &mailbox), policies.in_force().bytes.as_slice()),
        (Withdrawn::Yes, NO_READS.as_bytes())
    );
    rig.reads(3);
    rig.end();
    let mut follower = rig.follow();
    let rows = followed(&mut follower, 1000);
    assert_eq!(rows.iter().filter(|(_, kind)| *kind == 'r').count(), 3);
    assert_eq!(rows.iter().filter(|(_, kind)| *kind == 'c').count(), 1);
}

/// Reads are coalesced, in the shortest window that there is.
const WINDOW: &str = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"coalesce","window_ns":1000000}],"seed":1,"version":3}"#;

#[test]
fn a_change_that_waits_behind_an_open_claim_survives_the_end_of_a_window() {
    let mut rig = Rig::new(64 << 20);
    rig.change(WINDOW);
    rig.reads(3);
    let ring = Arc::clone(&rig.ring);
    let mut event = Encoder::new(by_name("Read").unwrap());
    let bytes = event.text("topic", "orders").int("partition", 0).int("first_offset", 3).to_vec();
    let mut claim = ring.lane(0).claim(bytes.len(), true).expect("the ring has room");
    let (policies, mailbox) = (rig.pump.policies(), rig.pump.mailbox());
    let stated = Stated::parse(ALL.into()).unwrap();
    assert!(matches!(policies.bring(stated, "another", &mailbox), Change::Coming(_)));
    let before = fold(rig.dir()).unwrap().batch_no;
    while fold(rig.dir()).unwrap().batch_no == before {
        rig.pump.run(SOON).unwrap();
    }
    assert_eq!(mailbox.len(), 1, "the window is told of as over, and the change still waits");
    claim.write(|room| room[..bytes.len()].copy_from_slice(&bytes));
    claim.commit();
    rig.pump.run(SOON).unwrap();
    assert!(policies.wait(None, Duration::ZERO) && policies.in_force().bytes == ALL.as_bytes());
    assert_eq!(fold(rig.dir()).unwrap().cells.get(journaled(code_of("auditring.PolicyChanged"), 0, true)), 2);
    rig.end();
}

#[test]
fn a_change_that_waits_behind_an_open_claim_can_be_taken_back() {
    let mut rig = Rig::new(64 << 20);
    rig.reads(3);
    let ring = Arc::clone(&rig.ring);
    let claim = ring.lane(0).claim(64, true).expect("the ring has room");
    let (policies, mailbox) = (rig.pump.policies(), rig.pump.mailbox());
    let Change::Coming(number) = policies.bring(Stated::parse(NO_READS.into()).unwrap(), "another", &mailbox) else {
        panic!("nothing else is on its way");
    };
    rig.pump.run(Duration::ZERO).unwrap();
    assert_eq!(policies.withdraw(number, &mailbox), Withdrawn::Yes);
    assert_eq!((mailbox.len(), policies.in_force().bytes.as_slice()), (0, ALL.as_bytes()));
    drop(claim);
}

#[test]
fn a_window_that_began_in_the_journal_and_goes_on_in_a_dead_ring_is_shown_as_recovery_will_write_it() {
    let long =
        WINDOW.replace(r#""coalesce","window_ns":1000000}"#, r#""first","window_ns":60000000000,"by":["session"]}"#);
    let mut rig = Rig::new(64 << 20);
    rig.change(&long);
    let put = |rig: &Rig, offset| {
        let mut event = Encoder::new(by_name("Read").unwrap());
        event.text("topic", "orders").int("partition", 0).int("first_offset", offset).int("last_offset", offset);
        emit(&rig.ring, &mut event);
    };
    (0..5).for_each(|offset| put(&rig, offset));
    rig.pump.run(Duration::ZERO).unwrap();
    (5..9).for_each(|offset| put(&rig, offset));
    let Rig { _folder, root, ring, pump, _dir: held } = rig;
    let dir = pump.dir().to_owned();
    drop((pump, held, ring));
    let seen = || {
        let batches = Snapshot::open(&root).unwrap().fresh(&[]).unwrap();
        let reads = |set: &RowSet| {
            let reads = set.rows.iter().filter(|at| set.row(at).unwrap().code() == code_of("Read"));
            reads.map(|at| (at.seq, at.count)).collect::<Vec<_>>()
        };
        let mut seen = batches.iter().flat_map(|batch| reads(&batch.set)).collect::<Vec<_>>();
        seen.sort_unstable();
        seen
    };
    // Behind startup and change: the first, all others, and what the ring's recovery marks as a first touch again.
    assert_eq!(seen(), [(2, 1), (3, 7), (7, 1)]);
    let mut held = ProcessDir::adopt(&dir).unwrap();
    auditring_flow::recover(&mut held, "another", None).unwrap();
    assert_eq!(seen(), [(2, 1), (3, 7), (7, 1)]);
}

#[test]
fn what_was_first_touched_while_reads_were_left_out_is_first_touched_again_under_a_sample() {
    let off = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"resource":["orders"],"keep":"off"}],"seed":1,"version":2}"#;
    let few = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"sample","one_in":1000000}],"seed":1,"version":2}"#;
    let mut rig = Rig::new(64 << 20);
    rig.change(off);
    rig.reads(5);
    rig.change(few);
    rig.reads(5);
    rig.end();
    let rows = followed(&mut rig.follow(), 1000);
    assert_eq!(rows.iter().filter(|(_, kind)| *kind == 'r').map(|(seq, _)| *seq).collect::<Vec<_>>(), [8]);
}
