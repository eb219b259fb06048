//! Recovery over what somebody has damaged, deleted or put in another's place: what is whole is kept, what is gone is
//! counted once, and what a sink has is not among it.

mod common;

use std::fs;
use std::sync::Arc;

use auditring_event::code_of;
use auditring_flow::{Error, Limits, Recovery, Salvage, Snapshot, adopt, outside};
use auditring_journal::{BatchMeta, Cursor, LaneRange, Owner, ProcessDir, Reader, Step, Writer, fold, segments};
use auditring_ring::{Identity, Kind, Ring};
use common::dead::{
    JUMP, Remains, SINK, actions, dense, rig, rig_of, ring_gone, with_ten_journaled_and_ten_in_the_ring,
};
use common::limits;

/// Ten Reads in each of three segments, and ten more in the ring.
fn with_three_segments() -> Remains {
    let mut rig = rig_of(Limits { segment_bytes: 1, ..limits() });
    for from in [0, 10, 20] {
        rig.reads(from..from + 10);
        rig.pump();
    }
    rig.reads(30..40);
    let remains = rig.die();
    assert_eq!(segments(&remains.dir).unwrap().len(), 4, "the birth has one of its own");
    remains
}

/// The sink's equation: all that was journaled is with it, or lost to it, once.
fn balanced_at_the_sink(remains: &Remains) {
    remains.deliver_all();
    let (all, _) = outside(&remains.root()).unwrap();
    let (one, sink) = (&all[0], &all[0].sinks[SINK]);
    assert_eq!(one.terms["journaled"], sink.totals.values().sum::<u64>(), "{one:?}");
    assert_eq!(sink.pending, 0);
}

fn offsets(remains: &Remains) -> Vec<i64> {
    remains.damaged_story().0.0.iter().map(|(_, offset)| *offset).collect()
}

#[test]
fn a_process_id_says_nothing_of_who_lives() {
    // The dead one's has been given to somebody else.
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let mut owner = Owner::load(&remains.dir).unwrap();
    owner.pid = std::process::id();
    let held = ProcessDir::adopt(&remains.dir).unwrap().unwrap();
    owner.store(&held).unwrap();
    drop(held);
    assert_eq!(remains.recover().rows, 10);
    // And one that lives has an id that nobody has here, as in another container.
    let rig = rig();
    let mut owner = Owner::load(rig.held.path()).unwrap();
    owner.pid = u32::MAX;
    owner.store(&rig.held).unwrap();
    assert!(adopt(rig.held.path()).unwrap().is_none());
}

#[test]
fn a_segment_that_is_missing_costs_what_it_held() {
    for missing in [1, 2] {
        let remains = with_three_segments();
        let name = segments(&remains.dir).unwrap()[missing];
        fs::remove_file(remains.dir.join(name.file_name())).unwrap();
        assert_eq!(remains.recover(), Salvage { rows: 10, ..Salvage::default() }, "without {missing}");
        let ((reads, _), lost) = remains.damaged_story();
        let from = 10 * (missing as i64 - 1);
        let expected: Vec<_> = dense(0..40).into_iter().filter(|(_, at)| !(from..from + 10).contains(at)).collect();
        assert_eq!((reads, lost), (expected, 10), "without {missing}");
        remains.balanced();
        balanced_at_the_sink(&remains);
    }
}

#[test]
fn the_newest_segment_that_is_missing_is_known_by_the_ring() {
    let remains = with_three_segments();
    fs::remove_file(remains.segment()).unwrap();
    assert_eq!(remains.recover(), Salvage { rows: 10, journal_gone: 10, ..Salvage::default() });
    let (reads, others) = remains.story();
    let expected: Vec<_> = dense(0..20).into_iter().chain((0..10).map(|i| (22 + JUMP + i, 30 + i))).collect();
    assert_eq!(reads, expected);
    assert_eq!((others[1].0, others[1].2), (21 + JUMP, Some(10)));
    remains.balanced();
    balanced_at_the_sink(&remains);
}

#[test]
fn of_a_journal_without_any_segment_the_ring_is_left() {
    let remains = with_three_segments();
    for name in segments(&remains.dir).unwrap() {
        fs::remove_file(remains.dir.join(name.file_name())).unwrap();
    }
    let salvage = remains.recover();
    assert_eq!((salvage.rows, salvage.ring_gone), (10, false));
    let (reads, others) = remains.story();
    assert_eq!(reads.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), (30..40).collect::<Vec<_>>());
    assert!(others[0].0 >= JUMP && others[0].3.as_ref().unwrap().contains("journal_gone"), "{others:?}");
    balanced_at_the_sink(&remains);
}

/// A journal whose last batch, of seven Reads, can be damaged: `damage` is given the file and where that batch begins.
fn with_a_damaged_last_batch(passed: Option<i64>, damage: impl Fn(&mut Vec<u8>, usize)) -> Remains {
    let mut rig = rig();
    rig.reads(0..10);
    rig.pump();
    let kept = fs::metadata(rig.held.path().join(segments(rig.held.path()).unwrap()[0].file_name())).unwrap().len();
    rig.reads(10..17);
    rig.pump();
    rig.reads(17..20);
    let remains = rig.die();
    if let Some(passed) = passed {
        remains.deliver(passed);
    }
    let segment = remains.segment();
    let mut bytes = fs::read(&segment).unwrap();
    damage(&mut bytes, kept as usize);
    fs::write(&segment, bytes).unwrap();
    remains
}

#[test]
fn a_flipped_bit_in_a_header_costs_its_batch_and_in_a_payload_its_rows() {
    let remains = with_a_damaged_last_batch(None, |bytes, at| bytes[at + 60] ^= 4);
    assert_eq!(remains.recover(), Salvage { rows: 3, journal_gone: 7, ..Salvage::default() });
    assert_eq!(offsets(&remains), (0..10).chain(17..20).collect::<Vec<_>>());
    remains.balanced();
    balanced_at_the_sink(&remains);

    let remains = with_a_damaged_last_batch(None, |bytes, _| *bytes.last_mut().unwrap() ^= 4);
    assert_eq!(remains.recover(), Salvage { rows: 3, ..Salvage::default() }, "its state is in its header");
    let ((reads, _), lost) = remains.damaged_story();
    let whole: Vec<_> = dense(0..20).into_iter().filter(|(_, at)| !(10..17).contains(at)).collect();
    assert_eq!((reads, lost), (whole, 7));
    remains.balanced();
    balanced_at_the_sink(&remains);
}

#[test]
fn what_a_sink_has_of_a_damaged_journal_is_not_lost() {
    // Seqs 11 to 17 are gone from the journal; the sink is past some of them, or all.
    for (passed, lost) in [(11, 7), (12, 6), (15, 3), (18, 0)] {
        let remains = with_a_damaged_last_batch(Some(passed), |bytes, at| bytes.truncate(at + 100));
        let before = remains.photograph();
        let expected = Salvage { rows: 3, journal_gone: lost, ..Salvage::default() };
        assert_eq!(remains.recover(), expected, "past {passed}");
        let written = remains.segment();
        let whole = fs::read(&written).unwrap();
        // And however often that is killed.
        let head = whole.windows(4).position(|four| four == b"arBT").unwrap();
        for cut in [0, 10, head, head + 20, whole.len() - 1, whole.len()] {
            remains.restore(&before);
            fs::write(&written, &whole[..cut]).unwrap();
            remains.try_recover();
            let (reads, others) = remains.story();
            let seqs: Vec<_> = reads.iter().map(|(seq, _)| *seq).collect();
            assert_eq!(reads.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), [17, 18, 19], "{cut} {passed}");
            assert!(seqs.iter().all(|seq| *seq >= passed + JUMP), "cut at {cut}, past {passed}: {seqs:?}");
            let told: i64 = others.iter().filter_map(|(_, _, lost, _)| *lost).sum();
            assert_eq!(told, lost as i64, "cut at {cut}, past {passed}");
            remains.balanced();
            balanced_at_the_sink(&remains);
        }
    }
}

#[test]
fn what_a_sink_has_of_a_journal_that_is_gone_was_journaled() {
    let remains = with_three_segments();
    remains.deliver(31);
    fs::remove_file(remains.segment()).unwrap();
    assert!(segments(&remains.dir).unwrap().is_empty(), "the sink is past the others");
    let salvage = remains.recover();
    assert_eq!((salvage.rows, salvage.journal_gone), (10, 0));
    remains.balanced();
    balanced_at_the_sink(&remains);
}

#[test]
fn a_damaged_batch_behind_a_jump_is_counted_by_its_rows_and_not_by_the_gap() {
    // Recovery jumps; then the payload of its first batch is damaged.
    let remains = with_a_damaged_last_batch(None, |bytes, at| bytes.truncate(at + 100));
    remains.recover();
    let written = remains.segment();
    let mut bytes = fs::read(&written).unwrap();
    *bytes.last_mut().unwrap() ^= 4;
    fs::write(&written, bytes).unwrap();
    let ((reads, others), lost) = remains.damaged_story();
    assert_eq!((reads, actions(&others)), (dense(0..10), vec!["ProxyStartup"]));
    assert_eq!(lost, 5, "three Reads, what was lost, and that it was recovered");
    remains.balanced();
    balanced_at_the_sink(&remains);
}

#[test]
fn a_cursor_from_the_future_gets_no_seq_twice_and_a_row_tells() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    remains.deliver(11);
    let cursor = Cursor::load(&remains.dir, SINK).unwrap().unwrap();
    Cursor { seq: 5_000, ..cursor }.store(&remains.dir, SINK).unwrap();
    assert_eq!(remains.recover().rows, 10);
    let (reads, others) = remains.story();
    assert_eq!(reads, (0..10).map(|i| (5_001 + JUMP + i, 10 + i)).collect::<Vec<_>>());
    assert_eq!(actions(&others), ["auditring.EventsLost", "auditring.Recovered"]);
    assert!(others[0].3.as_ref().unwrap().contains("journal_gone"));
}

#[test]
fn a_cursor_that_is_lost_is_begun_anew() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    remains.deliver(5);
    fs::remove_file(remains.dir.join(format!("{SINK}.cursor"))).unwrap();
    assert_eq!(remains.recover(), Salvage { rows: 10, ..Salvage::default() });
    assert_eq!(remains.story().0, dense(0..20));
    balanced_at_the_sink(&remains);
}

#[test]
fn an_earlier_copy_of_the_ring_is_not_taken_for_it() {
    let mut rig = rig();
    rig.reads(0..5);
    let earlier = fs::read(rig.ring.path()).unwrap();
    rig.reads(5..10);
    rig.pump();
    let remains = rig.die();
    fs::write(&remains.ring, earlier).unwrap();
    ring_gone(&remains, 10);
}

#[test]
fn a_ring_that_took_the_place_of_a_deleted_one_has_the_rest() {
    for drained in [true, false] {
        let mut rig = rig();
        rig.reads(0..10);
        rig.pump();
        // Then the file is deleted: the log goes on in another of the same name.
        rig.reads(10..12);
        let old = Arc::clone(&rig.ring);
        fs::remove_file(old.path()).unwrap();
        let identity = Identity { generation: 1, ..*old.identity() };
        let next = Ring::create(old.path(), old.geometry(), &identity, old.clock(), old.birth()).unwrap();
        old.close();
        rig.ring = Arc::new(next);
        let carry = auditring_flow::Carry::begin(old, &rig.ring);
        rig.pump.replace(Arc::clone(&rig.ring), carry, None);
        rig.reads(12..14);
        if drained {
            // To the end of the old one, then from the beginning of the new one.
            rig.pump();
            rig.pump();
        }
        rig.reads(14..20);
        let remains = rig.die();
        let salvage = remains.recover();
        // What was in the deleted one goes with the process; that it is not known how much is told.
        assert_eq!((salvage.rows, salvage.ring_gone), if drained { (6, false) } else { (8, true) });
        let expected: Vec<_> = (0..20).filter(|at| drained || !(10..12).contains(at)).collect();
        assert_eq!(offsets(&remains), expected);
        remains.balanced();
        balanced_at_the_sink(&remains);
    }
}

#[test]
fn counters_that_say_more_than_a_number_holds_stay_at_the_most() {
    let rig = rig();
    rig.reads(0..10);
    for action in ["Read", "Write"] {
        rig.ring.edge().add(0, code_of(action).into(), 0, Kind::Dropped, u64::MAX);
    }
    let remains = rig.die();
    assert_eq!(remains.recover(), Salvage { rows: 10, dropped: u64::MAX, ..Salvage::default() });
}

#[test]
fn without_its_lock_file_a_directory_is_named_and_not_touched() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    fs::remove_file(remains.dir.join("lock")).unwrap();
    let before = remains.photograph();
    let error = adopt(&remains.dir).unwrap_err();
    assert!(matches!(error, Error::NoLock { .. }) && error.to_string().contains("touch"), "{error}");
    // Nor is it called dead by who only looks: its ring may be written to at this moment.
    let rows: usize = Snapshot::open(&remains.root()).unwrap().fresh(&[]).unwrap().iter().map(|batch| batch.rows).sum();
    assert_eq!(rows, 11);
    let (all, unreadable) = outside(&remains.root()).unwrap();
    assert!(all[0].lockless && !all[0].alive && unreadable.is_empty());
    assert_eq!(remains.photograph(), before);
    // As the error says.
    fs::write(remains.dir.join("lock"), b"").unwrap();
    assert_eq!(remains.recover(), Salvage { rows: 10, ..Salvage::default() });
}

#[test]
fn without_its_lock_file_a_process_of_another_boot_is_certainly_dead() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let mut owner = Owner::load(&remains.dir).unwrap();
    assert!(!owner.machine_id.is_empty(), "a machine without an id cannot tell that it is the same");
    owner.boot_id = "00000000-1111-2222-3333-444444444444".into();
    let held = ProcessDir::adopt(&remains.dir).unwrap().unwrap();
    owner.store(&held).unwrap();
    drop(held);
    fs::remove_file(remains.dir.join("lock")).unwrap();
    ring_gone(&remains, 10);
    assert!(remains.dir.join("lock").exists());
    // Of another machine nobody knows.
    let other = with_ten_journaled_and_ten_in_the_ring();
    owner.machine_id = "another".into();
    owner.process = other.dir.file_name().unwrap().to_string_lossy().into();
    let held = ProcessDir::adopt(&other.dir).unwrap().unwrap();
    owner.store(&held).unwrap();
    drop(held);
    fs::remove_file(other.dir.join("lock")).unwrap();
    assert!(matches!(adopt(&other.dir).unwrap_err(), Error::NoLock { .. }));
}

#[test]
fn a_directory_that_has_gone_is_nobodys() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    fs::remove_dir_all(&remains.dir).unwrap();
    assert!(adopt(&remains.dir).unwrap().is_none());
}

#[test]
fn one_damaged_journal_hides_no_other_ones_counters() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let damaged = with_ten_journaled_and_ten_in_the_ring();
    let moved = remains.root().join("journal").join(damaged.dir.file_name().unwrap());
    fs::rename(&damaged.dir, &moved).unwrap();
    fs::write(moved.join("followers"), b"{").unwrap();
    let (all, unreadable) = outside(&remains.root()).unwrap();
    assert_eq!((all.len(), all[0].terms["journaled"]), (1, 11));
    assert_eq!(unreadable.len(), 1);
    assert!(unreadable[0].0 == moved && unreadable[0].1.to_string().contains("followers"), "{unreadable:?}");
}

#[test]
fn a_recovery_that_ended_ends_once() {
    let remains = with_three_segments();
    remains.recover();
    let state = fold(&remains.dir).unwrap();
    assert_eq!(remains.try_recover(), Recovery::Ended);
    assert_eq!(fold(&remains.dir).unwrap(), state);
}

/// A batch of a writer of another mind, whose checksums hold: the rows of the last one again, and a count that is off.
fn with_a_batch_that_says(off: i32) -> (Remains, u32) {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let state = fold(&remains.dir).unwrap();
    let (mut reader, mut buf, mut last) = (Reader::open(&remains.dir, 0).unwrap(), Vec::new(), None);
    loop {
        match reader.next(&mut buf).unwrap() {
            Step::Batch(meta, sections) => {
                last = Some((meta, buf[sections.contexts].to_vec(), buf[sections.rows].to_vec()));
            }
            Step::Segment(_) => {}
            _ => break,
        }
    }
    let (meta, contexts, rows) = last.unwrap();
    let lanes = meta.lanes.iter().map(|lane| LaneRange { from_pos: lane.to_pos, from_claims: lane.to_claims, ..*lane });
    let (first_seq, batch_no, said) = (state.next_seq, state.batch_no, meta.rows.saturating_add_signed(off));
    let forged = BatchMeta { first_seq, batch_no, rows: said, lanes: lanes.collect(), ..meta };
    let head = state.next_head().unwrap();
    let mut writer = Writer::resume(&remains.dir, &head, state).unwrap();
    writer.append(&forged, &contexts, &[], &rows).unwrap();
    (remains, said)
}

#[test]
fn a_batch_that_holds_fewer_rows_than_it_says_is_damaged_by_the_rest_and_one_that_holds_more_by_none() {
    for (off, lost) in [(3, 3), (-3, 0)] {
        let (remains, said) = with_a_batch_that_says(off);
        assert_eq!(remains.recover().rows, 10);
        let ((reads, _), told) = remains.damaged_story();
        assert_eq!(told, lost);
        let seqs: Vec<_> = reads.iter().map(|(seq, _)| *seq).collect();
        assert!(seqs.is_sorted_by(|before, after| before < after), "no seq is given twice: {seqs:?}");
        assert_eq!(reads.len(), 20 + said as usize - lost as usize);
        assert_eq!(
            reads[reads.len() - 10..].iter().map(|(_, offset)| *offset).collect::<Vec<_>>(),
            (10..20).collect::<Vec<_>>()
        );
    }
}
