//! Directories of processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use auditring_journal::{Owner, ProcessDir, is_held, list, process_text, purge};

fn owner(n: u8) -> Owner {
    Owner {
        process: process_text(&[n; 16]),
        instance: "proxy".to_owned(),
        host: "h".to_owned(),
        pid: 1,
        boot_id: "b".to_owned(),
        machine_id: "m".to_owned(),
        ring_path: "/dev/shm/ring".into(),
        redact: String::new(),
        dir: std::path::PathBuf::new(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_directory_is_whole_and_held() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(list(root.path()).unwrap(), []);
    let dir = ProcessDir::create(root.path(), &owner(1)).unwrap();
    assert_eq!(list(root.path()).unwrap(), [([1; 16], dir.path().to_owned())]);
    assert_eq!(Owner::load(dir.path()).unwrap(), owner(1));
    assert!(is_held(dir.path()).unwrap());
    assert!(ProcessDir::adopt(dir.path()).unwrap().is_none());
    for (path, expected) in [(dir.path().to_owned(), 0o700), (dir.path().join("owner"), 0o600)] {
        assert_eq!(mode(&path), expected);
    }
    assert_eq!(mode(&dir.path().join("lock")), 0o600);
    assert_eq!(mode(&root.path().join("journal")), 0o700);
}

#[test]
fn an_orphan_is_adopted_once() {
    let root = tempfile::tempdir().unwrap();
    let path = ProcessDir::create(root.path(), &owner(1)).unwrap().path().to_owned();
    assert!(!is_held(&path).unwrap());
    let heir = ProcessDir::adopt(&path).unwrap().expect("its owner is gone");
    assert!(ProcessDir::adopt(&path).unwrap().is_none());
    heir.remove().unwrap();
    assert!(ProcessDir::adopt(&path).unwrap().is_none());
    assert_eq!(fs::read_dir(root.path().join("journal")).unwrap().count(), 0);
}

#[test]
fn a_process_has_one_directory() {
    let root = tempfile::tempdir().unwrap();
    let _dir = ProcessDir::create(root.path(), &owner(1)).unwrap();
    let error = ProcessDir::create(root.path(), &owner(1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    let nobody = Owner { process: "../../etc".to_owned(), ..owner(1) };
    assert!(ProcessDir::create(root.path(), &nobody).is_err());
}

#[test]
fn purge_takes_what_the_dead_left_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let living = ProcessDir::create(root.path(), &owner(1)).unwrap();
    let journal = root.path().join("journal");
    for name in [".dead-x", ".tmp-unlocked", ".tmp-orphan", ".tmp-held", "foreign"] {
        fs::create_dir(journal.join(name)).unwrap();
    }
    fs::write(journal.join(".dead-x/0-0.journal"), b"rows").unwrap();
    fs::write(journal.join(".tmp-orphan/lock"), b"").unwrap();
    let _held = auditring_journal::Lock::try_take(&journal.join(".tmp-held/lock"), true).unwrap().unwrap();
    assert_eq!(purge(root.path()).unwrap(), 3);
    let mut left: Vec<_> = fs::read_dir(&journal).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".tmp-held", "01010101-0101-0101-0101-010101010101", "foreign"]);
    assert!(is_held(living.path()).unwrap());
}

#[test]
fn purging_and_making_at_the_same_time_do_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let made = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !made.load(Ordering::Relaxed) && Instant::now() < deadline {
                purge(root.path()).unwrap();
            }
        });
        for n in 0..100 {
            let dir = ProcessDir::create(root.path(), &owner(n)).unwrap();
            assert!(is_held(dir.path()).unwrap());
            assert_eq!(Owner::load(dir.path()).unwrap(), owner(n));
        }
        made.store(true, Ordering::Relaxed);
        purging.join().unwrap();
    });
}
