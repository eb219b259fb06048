//! What a process shows to those outside.

use std::fs;

use auditring_journal::{Error, Show, Shown};

const FIRST: Shown = Shown { batches: 0, let_go: 0, journal_bytes: 1 << 32, over_budget: false };

#[test]
fn what_is_shown_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Shown::load(dir.path()).unwrap(), None);
    let show = Show::begin(dir.path(), FIRST).unwrap();
    assert_eq!(Shown::load(dir.path()).unwrap(), Some(FIRST));
    let next = Shown { batches: u64::MAX, let_go: 7, over_budget: true, ..FIRST };
    show.show(next).unwrap();
    assert_eq!(Shown::load(dir.path()).unwrap(), Some(next));
}

#[test]
fn one_that_is_taken_away_or_replaced_is_shown_anew() {
    let dir = tempfile::tempdir().unwrap();
    let show = Show::begin(dir.path(), FIRST).unwrap();
    fs::remove_file(dir.path().join(".shown")).unwrap();
    show.show(FIRST).unwrap();
    assert_eq!(Shown::load(dir.path()).unwrap(), Some(FIRST));
    fs::remove_file(dir.path().join(".shown")).unwrap();
    fs::write(dir.path().join(".shown"), b"another's").unwrap();
    assert!(matches!(Shown::load(dir.path()), Err(Error::Damaged { .. })));
    show.show(FIRST).unwrap();
    assert_eq!(Shown::load(dir.path()).unwrap(), Some(FIRST));
}

#[test]
fn no_flipped_bit_opens_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    Show::begin(dir.path(), FIRST).unwrap();
    let path = dir.path().join(".shown");
    let whole = fs::read(&path).unwrap();
    for at in 0..48 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Shown::load(dir.path()), Err(Error::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn who_looks_while_it_is_written_sees_what_was_or_what_is() {
    let dir = tempfile::tempdir().unwrap();
    let show = Show::begin(dir.path(), FIRST).unwrap();
    let path = dir.path();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for batches in 0..20_000 {
                show.show(Shown { batches, let_go: batches.cast_signed(), ..FIRST }).unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = Shown::load(path).unwrap().unwrap();
            assert_eq!(seen.batches.cast_signed(), seen.let_go);
        }
    });
}
