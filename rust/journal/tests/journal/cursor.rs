//! Cursors and the locks of sinks.

use std::collections::BTreeMap;
use std::fs;

use auditring_journal::{Cursor, Error, MAX_STATE, SinkLock};

use crate::common::{cut, flip, len};

fn sample() -> Cursor {
    Cursor {
        seq: 1 << 40,
        state: (0..=255).collect(),
        totals: BTreeMap::from([("delivered".to_owned(), u64::MAX), ("merged".to_owned(), 0)]),
    }
}

#[test]
fn a_cursor_comes_back_as_it_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Cursor::load(dir.path(), "parquet").unwrap(), None);
    sample().store(dir.path(), "parquet").unwrap();
    assert_eq!(Cursor::load(dir.path(), "parquet").unwrap(), Some(sample()));
    let next = Cursor { seq: 7, state: vec![0; MAX_STATE], totals: BTreeMap::new() };
    next.store(dir.path(), "parquet").unwrap();
    assert_eq!(Cursor::load(dir.path(), "parquet").unwrap(), Some(next));
    Cursor::remove(dir.path(), "parquet").unwrap();
    assert_eq!(Cursor::load(dir.path(), "parquet").unwrap(), None);
}

#[test]
fn a_state_that_is_too_long_leaves_the_old_cursor() {
    let dir = tempfile::tempdir().unwrap();
    sample().store(dir.path(), "kafka").unwrap();
    let long = Cursor { state: vec![0; MAX_STATE + 1], ..sample() };
    assert!(matches!(long.store(dir.path(), "kafka"), Err(Error::TooLarge { .. })));
    assert_eq!(Cursor::load(dir.path(), "kafka").unwrap(), Some(sample()));
}

#[test]
fn a_cut_cursor_is_damage_and_never_another_cursor() {
    let dir = tempfile::tempdir().unwrap();
    sample().store(dir.path(), "jsonl").unwrap();
    let path = dir.path().join("jsonl.cursor");
    for at in (0..len(&path)).rev() {
        cut(&path, at);
        let error = Cursor::load(dir.path(), "jsonl").unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "cut at {at}: {error}");
    }
}

#[test]
fn every_flipped_bit_of_a_cursor_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    sample().store(dir.path(), "jsonl").unwrap();
    let path = dir.path().join("jsonl.cursor");
    for bit in 0..len(&path) * 8 {
        flip(&path, bit / 8, (bit % 8) as u8);
        let error = Cursor::load(dir.path(), "jsonl").unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "bit {bit}: {error}");
        flip(&path, bit / 8, (bit % 8) as u8);
    }
}

#[test]
fn what_a_killed_store_left_behind_is_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".jsonl.cursor.tmp"), b"half").unwrap();
    assert_eq!(Cursor::load(dir.path(), "jsonl").unwrap(), None);
    sample().store(dir.path(), "jsonl").unwrap();
    assert!(!dir.path().join(".jsonl.cursor.tmp").exists());
}

#[test]
fn a_name_that_would_lead_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", ".hidden", "a/b", "../up", "nul\0", "ü", &"x".repeat(65)] {
        assert!(matches!(Cursor::load(dir.path(), name), Err(Error::SinkName { .. })), "{name:?}");
        assert!(matches!(SinkLock::try_take(dir.path(), name), Err(Error::SinkName { .. })), "{name:?}");
    }
    assert_eq!(Cursor::load(dir.path(), "My-sink_1.eu").unwrap(), None);
}

#[test]
fn a_sink_is_driven_by_one_follower_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!SinkLock::is_held(dir.path(), "parquet").unwrap());
    let lock = SinkLock::try_take(dir.path(), "parquet").unwrap().expect("nobody has it");
    assert!(SinkLock::is_held(dir.path(), "parquet").unwrap());
    assert!(SinkLock::try_take(dir.path(), "parquet").unwrap().is_none());
    assert!(SinkLock::try_take(dir.path(), "jsonl").unwrap().is_some());
    drop(lock);
    assert!(SinkLock::try_take(dir.path(), "parquet").unwrap().is_some());
}
