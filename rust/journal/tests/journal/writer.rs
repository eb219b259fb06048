//! Writing segments.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use auditring_journal::{BatchFlags, BatchMeta, Error, Writer, segments};

use crate::common::{Seen, append, finish, follow, head, read_from, roll, segment};

#[test]
fn a_segment_is_named_by_ordinal_and_first_seq_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 12);
    roll(&mut writer);
    let names: Vec<_> = segments(dir.path()).unwrap().iter().map(auditring_journal::SegmentName::file_name).collect();
    assert_eq!(names, ["0000000000000000-0000000000000000.journal", "0000000000000001-0000000000000012.journal"]);
    assert_eq!(fs::metadata(writer.path()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_the_writer_says_it_holds_is_what_the_file_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    for rows in [1, 0, 1000] {
        append(&mut writer, rows);
        assert_eq!(writer.len(), fs::metadata(writer.path()).unwrap().len());
        assert_eq!(writer.len() % 8, 0);
    }
    assert_eq!(writer.state().next_seq, 1001);
}

#[test]
fn a_segment_is_not_begun_twice() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Writer::create(dir.path(), &head()).unwrap();
    assert_eq!(Writer::create(dir.path(), &head()).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn a_batch_that_does_not_follow_is_refused_and_nothing_happens() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let (len, good) = (writer.len(), follow(&writer, 1, 8));
    let wrong: [fn(&mut BatchMeta); 5] = [
        |meta| meta.batch_no += 1,
        |meta| meta.batch_no -= 1,
        |meta| meta.first_seq += 1,
        |meta| meta.first_seq -= 1,
        |meta| meta.process = [0; 16],
    ];
    for change in wrong {
        let mut bad = good.clone();
        change(&mut bad.meta);
        assert!(matches!(bad.append(&mut writer), Err(Error::Order { .. })));
    }
    assert_eq!(writer.len(), len);
    let mut jump = good;
    jump.meta.first_seq += 1 << 32;
    jump.meta.flags = BatchFlags::SEQ_JUMP;
    jump.append(&mut writer).unwrap();
    assert_eq!(writer.state().next_seq, (1 << 32) + 4);
}

#[test]
fn nothing_follows_the_final_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    finish(&mut writer);
    assert!(matches!(follow(&writer, 1, 8).append(&mut writer), Err(Error::Order { .. })));
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let sample = follow(&writer, 1, auditring_journal::MAX_PAYLOAD as usize);
    assert!(matches!(sample.append(&mut writer), Err(Error::TooLarge { .. })));
    append(&mut writer, 1);
}

#[test]
fn a_roll_has_to_follow_and_else_the_segment_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let mut stale = writer.next_head();
    stale.first_seq = 2;
    assert!(matches!(writer.roll(&stale), Err(Error::Order { .. })));
    append(&mut writer, 1);
    assert_eq!(segments(dir.path()).unwrap().len(), 1);
}

#[test]
fn a_next_head_carries_the_state_and_what_was_changed_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    append(&mut writer, 4);
    let mut next = writer.next_head();
    assert_eq!((next.ordinal, next.first_seq, next.batch_no, next.born), (1, 7, 2, true));
    assert_eq!((next.lanes[0].pos, next.lanes[0].claims), (7 * 64, 7));
    assert_eq!(next.cells, writer.state().cells.all());
    assert_eq!(next.instance, head().instance);
    next.policy = b"another".to_vec();
    writer.roll(&next).unwrap();
    assert_eq!(writer.next_head().policy, b"another");
}

#[test]
fn a_segment_is_made_durable_from_another_thread_and_after_its_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let live = writer.sync_handle();
    let rolled = writer.roll(&writer.next_head()).unwrap();
    std::thread::spawn(move || live.sync().unwrap()).join().unwrap();
    fs::remove_file(rolled.path()).unwrap();
    rolled.sync().unwrap();
}

#[test]
fn a_segment_written_again_is_another_file_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let rolled = writer.roll(&writer.next_head()).unwrap();
    append(&mut writer, 2);
    let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
    let (before, bytes, inode) =
        (names(), fs::read(rolled.path()).unwrap(), fs::metadata(rolled.path()).unwrap().ino());
    assert_eq!(rolled.write_again().unwrap(), Some(1));
    assert_eq!(bytes, fs::read(rolled.path()).unwrap());
    assert_ne!(inode, fs::metadata(rolled.path()).unwrap().ino());
    assert_eq!(before, names());
}

/// A full disk, by a file size limit that only the child has.
#[test]
fn a_failed_write_poisons_the_segment_and_the_next_one_goes_on() {
    if std::env::var_os("AUDITRING_TEST_LIMIT").is_none() {
        let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact \"$1\" --nocapture";
        let status = std::process::Command::new("bash")
            .args(["-c", limited])
            .arg(std::env::current_exe().unwrap())
            .arg("writer::a_failed_write_poisons_the_segment_and_the_next_one_goes_on")
            .env("AUDITRING_TEST_LIMIT", "1")
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let first = append(&mut writer, 3);
    let len = writer.len();
    let before = writer.state().clone();
    let big = follow(&writer, 30, 48); // does not fit the 1 KiB that a file may have
    let error = big.append(&mut writer).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(writer.is_poisoned());
    assert_eq!(*writer.state(), before, "the state changes only with a whole write");
    assert!(matches!(big.append(&mut writer), Err(Error::Poisoned { .. })));
    assert_eq!(fs::metadata(writer.path()).unwrap().len(), len, "the torn tail was cut");
    roll(&mut writer);
    let mut again = big;
    again.meta.rows = 2;
    again.rows.truncate(96);
    again.append(&mut writer).unwrap();
    let expected = [Seen::Segment(0), Seen::Batch(first), Seen::Segment(1), Seen::Batch(again), Seen::NotYet];
    assert_eq!(read_from(dir.path(), 0), expected);
}

#[test]
fn a_first_segment_needs_no_tail_to_be_found() {
    let dir = tempfile::tempdir().unwrap();
    Writer::create(dir.path(), &head()).unwrap();
    assert_eq!(read_from(dir.path(), 0), [Seen::Segment(0), Seen::NotYet]);
    assert_eq!(segment(dir.path(), 0), dir.path().join("0000000000000000-0000000000000000.journal"));
}
