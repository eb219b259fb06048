//! The list of followers.

use std::collections::BTreeMap;
use std::fs;

use auditring_journal::{Cursor, Error, Follower, Followers};

fn entry(name: &str, since_seq: i64) -> Follower {
    Follower { name: name.to_owned(), since_seq, policy: vec![0, 255], policy_since: 3, required: true, by_agent: true }
}

#[test]
fn a_list_comes_back_as_it_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Followers::load(dir.path()).unwrap(), Followers::default());
    let mut list = Followers { entries: vec![entry("parquet", 0), entry("kafka", 5)] };
    list.store(dir.path()).unwrap();
    assert_eq!(Followers::load(dir.path()).unwrap(), list);
    assert!(list.forget("kafka") && !list.forget("kafka"));
    list.store(dir.path()).unwrap();
    assert_eq!(Followers::load(dir.path()).unwrap().get("kafka"), None);
}

#[test]
fn the_slowest_follower_says_how_far_all_have_passed() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Followers::default().passed(dir.path()).unwrap(), None);
    let list = Followers { entries: vec![entry("parquet", 0), entry("kafka", 50)] };
    assert_eq!(list.passed(dir.path()).unwrap(), Some(0), "no cursor yet: owed from its since-seq");
    Cursor { seq: 100, ..Cursor::default() }.store(dir.path(), "parquet").unwrap();
    assert_eq!(list.passed(dir.path()).unwrap(), Some(50));
    Cursor { seq: 99, state: vec![], totals: BTreeMap::new() }.store(dir.path(), "kafka").unwrap();
    assert_eq!(list.passed(dir.path()).unwrap(), Some(99));
}

#[test]
fn a_damaged_cursor_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("parquet.cursor"), b"").unwrap();
    let list = Followers { entries: vec![entry("parquet", 7)] };
    assert!(matches!(list.passed(dir.path()), Err(Error::Damaged { .. })));
}

#[test]
fn a_damaged_list_is_an_error_and_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    Followers { entries: vec![entry("parquet", 0)] }.store(dir.path()).unwrap();
    let path = dir.path().join("followers");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(Followers::load(dir.path()), Err(Error::Damaged { .. })));
}

#[test]
fn a_name_that_is_no_file_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let list = Followers { entries: vec![entry("../x", 0)] };
    assert!(matches!(list.store(dir.path()), Err(Error::SinkName { .. })));
}

#[test]
fn a_change_waits_for_another_one_and_loses_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for one in 0..25 {
                    let add = |list: &mut Followers| (true, list.entries.push(entry(&format!("s{writer}-{one}"), 0)));
                    Followers::change(path, add).unwrap();
                }
            });
        }
    });
    assert_eq!(Followers::load(path).unwrap().entries.len(), 100);
    let hold = Followers::hold(path).unwrap();
    assert!(hold.is_some() && Followers::hold(path).unwrap().is_none());
    drop(hold);
    assert!(Followers::hold(path).unwrap().is_some());
}

#[test]
fn a_list_that_was_taken_away_is_not_made_anew_by_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let add = |list: &mut Followers| (true, list.entries.push(entry("agents", 0)));
    assert!(Followers::amend(dir.path(), add).is_err());
    assert!(!Followers::is_there(dir.path()));
    Followers { entries: vec![entry("own", 7)] }.store(dir.path()).unwrap();
    Followers::amend(dir.path(), add).unwrap();
    let names: Vec<_> = Followers::load(dir.path()).unwrap().entries.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["own", "agents"]);
}
