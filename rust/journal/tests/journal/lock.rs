//! Locks against another process, which a second opening in this one cannot stand for.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use auditring_journal::Lock;

const PATH: &str = "AUDITRING_TEST_LOCK";

/// Run as a child by the tests below: takes the lock, says so, holds it until its input ends.
#[test]
#[ignore = "the other half of the tests below"]
fn holder() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let lock = Lock::try_take(Path::new(&path), true).unwrap();
    println!("\nholds: {}", lock.is_some());
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A process that has tried to take the lock, and whether it could.
fn other(path: &Path) -> (Child, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock::holder", "--ignored", "--nocapture"])
        .env(PATH, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let said = lines.find_map(|line| line.unwrap().strip_prefix("holds: ").map(str::to_owned));
    (child, said.expect("the child says") == "true")
}

#[test]
fn two_processes_exclude_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let (mut child, holds) = other(&path);
    assert!(holds);
    assert!(Lock::is_held(&path).unwrap());
    assert!(Lock::try_take(&path, false).unwrap().is_none());
    drop(child.stdin.take());
    child.wait().unwrap();
    let ours = Lock::try_take(&path, false).unwrap();
    assert!(ours.is_some());
    let (mut child, holds) = other(&path);
    assert!(!holds);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_killed_owner_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let (mut child, holds) = other(&path);
    assert!(holds);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!Lock::is_held(&path).unwrap());
    assert!(Lock::try_take(&path, false).unwrap().is_some());
}

#[test]
fn a_lock_is_not_handed_to_a_program_that_its_holder_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::try_take(&path, true).unwrap().unwrap();
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(lock);
    // What another test starts at this moment has the descriptor until it has become its program; `cat` never has.
    let deadline = Instant::now() + Duration::from_secs(30);
    while Lock::is_held(&path).unwrap() {
        assert!(Instant::now() < deadline, "the program that was started holds the lock");
        std::thread::yield_now();
    }
    drop(cat.stdin.take());
    cat.wait().unwrap();
}

#[test]
fn a_lock_on_a_file_that_was_replaced_is_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let old = Lock::try_take(&path, true).unwrap().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!Lock::is_held(&path).unwrap());
    assert!(Lock::try_take(&path, false).unwrap().is_none(), "and is not made unasked");
    let new = Lock::try_take(&path, true).unwrap();
    assert!(new.is_some());
    drop(old);
    assert!(Lock::is_held(&path).unwrap());
}

#[test]
fn closing_in_a_child_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::try_take(&path, true).unwrap().unwrap();
    lock.close_in_child();
    lock.close_in_child();
    assert!(!Lock::is_held(&path).unwrap(), "there was no parent to keep it");
}

#[test]
fn a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(Lock::try_take(&path, true).is_err());
}
