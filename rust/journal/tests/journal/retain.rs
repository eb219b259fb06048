//! Deletion and the budget.

use std::fs;

use auditring_journal::{Deleted, Writer, bytes_held, delete_oldest, delete_passed, fold, free_bytes, segments};

use crate::common::{append, head, roll};

/// Segments that begin at 0, 10, 20, 30 (which is empty).
fn journal(dir: &std::path::Path) -> Writer {
    let mut writer = Writer::create(dir, &head()).unwrap();
    for _ in 0..3 {
        append(&mut writer, 10);
        roll(&mut writer);
    }
    writer
}

fn starts(dir: &std::path::Path) -> Vec<i64> {
    segments(dir).unwrap().iter().map(|name| name.first_seq).collect()
}

#[test]
fn only_segments_that_all_have_passed_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let writer = journal(dir.path());
    for (cursor, left) in [(0, [0, 10, 20, 30].as_slice()), (9, &[0, 10, 20, 30]), (10, &[10, 20, 30]), (29, &[20, 30])]
    {
        delete_passed(dir.path(), cursor, 1).unwrap();
        assert_eq!(starts(dir.path()), left, "cursor {cursor}");
    }
    let deleted = delete_passed(dir.path(), i64::MAX, 0).unwrap();
    assert_eq!(deleted.segments, 1);
    assert_eq!(starts(dir.path()), [30], "the newest one holds the state");
    assert_eq!(fold(dir.path()).unwrap().next_seq, writer.state().next_seq);
}

#[test]
fn the_newest_are_kept_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    delete_passed(dir.path(), i64::MAX, 3).unwrap();
    assert_eq!(starts(dir.path()), [10, 20, 30]);
}

#[test]
fn the_last_readable_segment_is_never_deleted() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    fs::write(dir.path().join("0000000000000004-0000000000000030.journal"), b"").unwrap();
    delete_passed(dir.path(), i64::MAX, 1).unwrap();
    assert_eq!(starts(dir.path()), [30, 30]);
    assert_eq!(delete_oldest(dir.path()).unwrap(), None);
    assert_eq!(fold(dir.path()).unwrap().next_seq, 30);
}

#[test]
fn the_oldest_goes_with_the_number_of_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let before = bytes_held(dir.path()).unwrap();
    let deleted = delete_oldest(dir.path()).unwrap().unwrap();
    assert_eq!(deleted, Deleted { segments: 1, bytes: deleted.bytes, first_seq: 0, rows: 10 });
    assert_eq!(bytes_held(dir.path()).unwrap(), before - deleted.bytes);
    for _ in 0..2 {
        delete_oldest(dir.path()).unwrap().unwrap();
    }
    assert_eq!(delete_oldest(dir.path()).unwrap(), None);
}

#[test]
fn all_files_count_against_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(bytes_held(&dir.path().join("none")).unwrap(), 0);
    fs::write(dir.path().join("a"), [0; 10]).unwrap();
    fs::write(dir.path().join(".b.tmp"), [0; 5]).unwrap();
    assert_eq!(bytes_held(dir.path()).unwrap(), 15);
    assert!(free_bytes(dir.path()).unwrap() > 0);
}
