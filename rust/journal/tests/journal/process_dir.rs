//! Directories of processes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use auditring_journal::{
    Cursor, Error, Lock, Owner, ProcessDir, Totals, fold, is_held, list, process_text, purge, strangers,
};

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

/// Puts something that is no directory of ours under each name that one could have.
fn planted(root: &Path, elsewhere: &Path) -> Vec<String> {
    let names = [process_text(&[7; 16]), format!(".dead-{}", process_text(&[8; 16])), ".tmp-x.0".to_owned()];
    for name in &names {
        symlink(elsewhere, root.join("journal").join(name)).unwrap();
    }
    fs::write(root.join("journal").join(process_text(&[9; 16])), b"a file").unwrap();
    names.into_iter().chain([process_text(&[9; 16])]).collect()
}

#[test]
fn links_are_neither_adopted_nor_purged_and_are_told_of() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = ProcessDir::create(root.path(), &owner(1)).unwrap();
    fs::write(elsewhere.path().join("precious"), b"theirs").unwrap();
    let mut names = planted(root.path(), elsewhere.path());
    assert_eq!(list(root.path()).unwrap(), [([1; 16], ours.path().to_owned())]);
    assert_eq!(purge(root.path()).unwrap(), 0);
    let link = root.path().join("journal").join(process_text(&[7; 16]));
    assert!(matches!(ProcessDir::adopt(&link), Err(Error::Foreign { .. })));
    let mut told: Vec<_> = strangers(root.path())
        .unwrap()
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    told.sort();
    names.sort();
    assert_eq!(told, names);
    let left: Vec<_> = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["precious"], "no lock was made in there either");
}

#[test]
fn a_link_in_the_place_of_all_journals_is_refused() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["journal", "totals"] {
        symlink(elsewhere.path(), root.path().join(name)).unwrap();
    }
    assert!(matches!(ProcessDir::create(root.path(), &owner(1)), Err(Error::Foreign { .. })));
    assert!(matches!(list(root.path()), Err(Error::Foreign { .. })));
    assert!(matches!(Totals::default().store(root.path(), &[1; 16]), Err(Error::Foreign { .. })));
    assert_eq!(Totals::load_all(root.path()).unwrap(), []);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

/// Whoever opened a pipe to read from it would wait for ever.
#[test]
fn what_is_no_plain_file_is_an_error_and_nobody_waits() {
    let root = tempfile::tempdir().unwrap();
    let dir = ProcessDir::create(root.path(), &owner(1)).unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["rows.cursor", "0000000000000000-0000000000000000.journal", "rows.lock"] {
        nix::unistd::mkfifo(&path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    fs::create_dir(path("other.cursor")).unwrap();
    symlink(path("owner"), path("linked.cursor")).unwrap();
    for sink in ["rows", "other", "linked"] {
        assert!(matches!(Cursor::load(dir.path(), sink), Err(Error::Foreign { .. })), "{sink}");
    }
    assert!(matches!(fold(dir.path()), Err(Error::Foreign { .. })));
    assert!(matches!(Lock::try_take(&path("rows.lock"), true), Err(Error::Foreign { .. })));
    fs::create_dir(root.path().join("totals")).unwrap();
    nix::unistd::mkfifo(&root.path().join("totals").join(process_text(&[1; 16])), nix::sys::stat::Mode::S_IRWXU)
        .unwrap();
    assert_eq!(Totals::load_all(root.path()).unwrap(), [], "it says nothing, and hides no others");
}

/// A file that is replaced is made anew: what stood under its temporary name is not written to, whatever else it is called.
#[test]
fn replacing_a_file_writes_through_no_other_name() {
    let root = tempfile::tempdir().unwrap();
    let dir = ProcessDir::create(root.path(), &owner(1)).unwrap();
    let precious = root.path().join("precious");
    fs::write(&precious, b"theirs").unwrap();
    let temporary = dir.path().join(".rows.cursor.tmp");
    for plant in [|from: &Path, to: &Path| fs::hard_link(from, to), |from: &Path, to: &Path| symlink(from, to)] {
        plant(&precious, &temporary).unwrap();
        Cursor::default().store(dir.path(), "rows").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"theirs");
        assert!(!temporary.exists() && Cursor::load(dir.path(), "rows").unwrap().is_some());
    }
}
