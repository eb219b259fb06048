//! The fold: the same state from outside as the writer has.

use std::fs;

use auditring_journal::{BatchFlags, Ending, Gap, State, Writer, counters, fold, fold_checked};

use crate::common::{append, cut, finish, flip, follow, head, len, roll, segment};

#[test]
fn a_journal_without_segments_has_no_state() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(fold(dir.path()).unwrap(), State::default());
    assert_eq!(fold(&dir.path().join("none")).unwrap(), State::default());
}

#[test]
fn the_fold_is_the_writers_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    assert!(!fold(dir.path()).unwrap().born);
    for n in 0..20 {
        append(&mut writer, n);
        if n % 6 == 5 {
            roll(&mut writer);
        }
        assert_eq!(fold(dir.path()).unwrap(), *writer.state());
    }
    let state = fold(dir.path()).unwrap();
    assert_eq!((state.born, state.ending, state.next_seq, state.batch_no), (true, None, 190, 20));
    assert_eq!(state.cells.get(counters::JOURNALED), 190);
    finish(&mut writer);
    assert_eq!(fold(dir.path()).unwrap().ending, Some(Ending::Clean));
}

#[test]
fn the_newest_segment_is_enough_for_the_fold() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 30);
    append(&mut writer, 5);
    roll(&mut writer);
    fs::remove_file(segment(dir.path(), 0)).unwrap();
    let state = fold(dir.path()).unwrap();
    assert_eq!(State { max_time_ns: 35, max_age_ns: 35, ..state }, *writer.state());
}

#[test]
fn a_torn_tail_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let before = writer.state().clone();
    let start = writer.len() as usize;
    append(&mut writer, 4);
    let path = segment(dir.path(), 0);
    for at in (start..len(&path)).rev() {
        cut(&path, at);
        assert_eq!(fold(dir.path()).unwrap(), before, "cut at {at}");
    }
}

#[test]
fn recovery_goes_on_in_the_next_ordinal_from_the_fold() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    drop(writer);
    fs::write(dir.path().join("0000000000000001-0000000000000003.journal"), b"died here").unwrap();
    let state = fold(dir.path()).unwrap();
    let mut heir = Writer::create(dir.path(), &state.next_head().unwrap()).unwrap();
    let mut last = follow(&heir, 2, 48);
    last.meta.flags = BatchFlags::FINAL_RECOVERED;
    last.append(&mut heir).unwrap();
    assert_eq!(heir.state().last_ordinal, Some(2));
    let state = fold(dir.path()).unwrap();
    assert_eq!((state.ending, state.next_seq, state.gaps), (Some(Ending::Recovered), 5, vec![]));
}

#[test]
fn a_batch_written_twice_is_folded_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let old = writer.next_head();
    let again = append(&mut writer, 4);
    let mut elsewhere = Writer::create(dir.path(), &old).unwrap();
    again.append(&mut elsewhere).unwrap();
    append(&mut elsewhere, 1);
    let state = fold(dir.path()).unwrap();
    assert_eq!((state.next_seq, state.batch_no, state.gaps), (8, 3, vec![]));
    assert_eq!(state.cells.get(counters::JOURNALED), 8);
}

#[test]
fn a_new_ring_begins_its_positions_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let mut fresh = follow(&writer, 1, 8);
    fresh.meta.generation = 1;
    fresh.meta.lanes[0].to_pos = 64;
    fresh.append(&mut writer).unwrap();
    let state = fold(dir.path()).unwrap();
    assert_eq!((state.generation, state.lanes[0].pos), (1, 64));
}

#[test]
fn damage_is_in_the_state_by_its_range() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let second = writer.len() as usize;
    append(&mut writer, 4);
    roll(&mut writer);
    append(&mut writer, 5);
    let expected = writer.state().clone();
    flip(&segment(dir.path(), 0), second + 20, 1); // a header
    let newest = segment(dir.path(), 1);
    flip(&newest, len(&newest) - 1, 1); // a payload
    let header = Gap { first_seq: 3, rows: 4 };
    let payload = Gap { first_seq: 7, rows: 5 };
    let state = fold(dir.path()).unwrap();
    assert_eq!(state.gaps, [header]);
    assert_eq!(fold_checked(dir.path()).unwrap().gaps, [header, payload]);
    assert_eq!(State { gaps: vec![], ..state }, expected, "the state itself survives both");
}
