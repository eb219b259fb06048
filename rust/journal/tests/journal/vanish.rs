//! What is taken away of a journal, and is put back.

use std::fs;
use std::path::Path;

use auditring_journal::{Lock, Owner, ProcessDir, Reader, What, Writer, is_held, process_text, segments, vanished};

use crate::common::{Seen, append, finish, head, read_from, roll, segment, step, steps};

fn owner() -> Owner {
    Owner { process: process_text(&[1; 16]), ..Owner::default() }
}

#[test]
fn a_name_that_means_another_file_or_none_is_told_apart_from_one_that_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = fs::File::create(&path).unwrap();
    assert_eq!(vanished(&file, &path).unwrap(), None);
    fs::rename(&path, dir.path().join("other")).unwrap();
    assert_eq!(vanished(&file, &path).unwrap(), Some(What::Moved));
    fs::write(&path, b"not ours").unwrap();
    assert_eq!(vanished(&file, &path).unwrap(), Some(What::Replaced));
    fs::remove_file(&path).unwrap();
    fs::remove_file(dir.path().join("other")).unwrap();
    assert_eq!(vanished(&file, &path).unwrap(), Some(What::Deleted));
    assert_eq!(vanished(&file, &dir.path().join("gone/file")).unwrap(), Some(What::Deleted));
}

#[test]
fn a_lock_whose_file_was_deleted_is_held_again_and_one_that_somebody_else_has_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::try_take(&path, true).unwrap().unwrap();
    assert!(lock.is_named() && lock.renew().unwrap());
    fs::remove_file(&path).unwrap();
    assert!(!lock.is_named());
    assert!(lock.renew().unwrap() && lock.is_named());
    assert!(Lock::is_held(&path).unwrap());
    fs::remove_file(&path).unwrap();
    let other = Lock::try_take(&path, true).unwrap().unwrap();
    assert!(!lock.renew().unwrap());
    drop(other);
    assert!(lock.renew().unwrap());
    drop(lock);
    assert!(!Lock::is_held(&path).unwrap());
}

#[test]
fn a_directory_is_made_anew_with_its_lock_and_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("audit");
    fs::create_dir(&root).unwrap();
    let dir = ProcessDir::create(&root, &owner()).unwrap();
    assert!(dir.restore(&owner()).unwrap().is_empty());
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(dir.restore(&owner()).unwrap(), ["", "lock", "owner"]);
    assert!(is_held(dir.path()).unwrap());
    assert_eq!(Owner::load(dir.path()).unwrap(), owner());
    fs::remove_file(dir.path().join("lock")).unwrap();
    assert_eq!(dir.restore(&owner()).unwrap(), ["lock"]);
}

/// A journal of three segments, a batch of three rows in each.
fn three(dir: &Path) -> Writer {
    let mut writer = Writer::create(dir, &head()).unwrap();
    append(&mut writer, 3);
    for _ in 0..2 {
        roll(&mut writer);
        append(&mut writer, 3);
    }
    writer
}

#[test]
fn a_segment_that_was_deleted_is_written_again_from_what_is_open_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let handle = writer.sync_handle();
    roll(&mut writer);
    finish(&mut writer);
    let before = read_from(dir.path(), 0);
    fs::remove_file(segment(dir.path(), 0)).unwrap();
    assert_eq!(handle.vanished().unwrap(), Some(What::Deleted));
    assert_ne!(read_from(dir.path(), 0), before);
    handle.restore().unwrap();
    assert_eq!(handle.vanished().unwrap(), None);
    assert_eq!(read_from(dir.path(), 0), before);
}

#[test]
fn a_patient_reader_waits_for_a_segment_that_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = three(dir.path());
    let path = segment(dir.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let (mut reader, mut buf) = (Reader::open(dir.path(), 0).unwrap().patient(), Vec::new());
    assert_eq!(step(&mut reader, &mut buf), Seen::Segment(0));
    fs::remove_file(&path).unwrap();
    assert!(matches!(step(&mut reader, &mut buf), Seen::Batch(_)));
    assert_eq!(step(&mut reader, &mut buf), Seen::NotYet);
    fs::write(&path, bytes).unwrap();
    assert_eq!(steps(&mut reader).iter().filter(|seen| matches!(seen, Seen::Batch(_))).count(), 2);
    assert_eq!(reader.next_seq(), 9);
}

#[test]
fn a_patient_reader_does_not_wait_for_what_was_let_go_and_one_that_is_not_tells_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = three(dir.path());
    fs::remove_file(segment(dir.path(), 0)).unwrap();
    let mut patient = Reader::open(dir.path(), 0).unwrap().patient();
    patient.let_go(3);
    for mut reader in [patient, Reader::open(dir.path(), 0).unwrap()] {
        assert_eq!(step(&mut reader, &mut Vec::new()), Seen::Gone(0, 3));
    }
}

#[test]
fn a_patient_reader_follows_a_directory_that_was_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("journal");
    fs::create_dir(&dir).unwrap();
    let mut writer = Writer::create(&dir, &head()).unwrap();
    append(&mut writer, 3);
    let mut reader = Reader::open(&dir, 0).unwrap().patient();
    assert_eq!(steps(&mut reader).len(), 3);
    fs::rename(&dir, folder.path().join("moved")).unwrap();
    fs::create_dir(&dir).unwrap();
    writer.poison();
    roll(&mut writer);
    append(&mut writer, 3);
    assert_eq!(segments(&dir).unwrap().len(), 1);
    assert_eq!(steps(&mut reader).iter().filter(|seen| matches!(seen, Seen::Batch(_))).count(), 1);
    assert_eq!(reader.next_seq(), 6);
}

#[test]
fn a_segment_that_one_writes_again_is_no_other_file_to_who_else_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let (syncs, keeps) = (writer.sync_handle(), writer.sync_handle());
    roll(&mut writer);
    finish(&mut writer);
    let before = read_from(dir.path(), 0);
    for _ in 0..20 {
        fs::remove_file(segment(dir.path(), 0)).unwrap();
        // At once, as it comes about where a disk refuses and files vanish: no half of it is ever under the name.
        std::thread::scope(|scope| {
            let written = scope.spawn(|| syncs.write_again().unwrap());
            keeps.restore().unwrap();
            assert_eq!(written.join().unwrap(), Some(1));
        });
        assert_eq!((keeps.vanished().unwrap(), syncs.vanished().unwrap()), (None, None));
        assert_eq!(read_from(dir.path(), 0), before);
    }
}
