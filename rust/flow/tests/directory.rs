//! What a directory adds up to, also where most of it is totals of processes that have gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use auditring_flow::{Directory, Reading};
use auditring_journal::{Sample, Sums, Totals, counters, process_text};

fn totals(root: &Path, number: u16, rows: u64) -> [u8; 16] {
    let mut process = [7; 16];
    process[..2].copy_from_slice(&number.to_be_bytes());
    let cells = [(counters::JOURNALED, rows), (counters::journaled(768, 1, true), rows)];
    let declared = BTreeMap::from([(768, "com.example.Thing".to_owned())]);
    let sinks = BTreeMap::from([("lines".to_owned(), BTreeMap::from([("delivered".to_owned(), rows)]))]);
    Totals { next_seq: rows as i64, cells: cells.into(), declared, sinks, ..Totals::default() }
        .store(root, &process)
        .unwrap();
    process
}

fn sum(reading: &Reading, name: &str, labels: &[(&str, &str)]) -> u64 {
    let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
    reading.samples.get(&Sample { name: name.to_owned(), labels }).copied().unwrap_or(0)
}

#[test]
fn processes_that_have_gone_are_counted_once_and_by_name() {
    let root = tempfile::tempdir().unwrap();
    (0..3).for_each(|number| _ = totals(root.path(), number, 10));
    let mut directory = Directory::new(root.path().to_owned());
    for _ in 0..3 {
        let reading = directory.read().unwrap();
        let thing = [("action", "com.example.Thing"), ("outcome", "failure")];
        assert_eq!((sum(&reading, "journaled", &[]), sum(&reading, "events", &thing)), (30, 30));
        assert_eq!(sum(&reading, "sink_delivered", &[("sink", "lines")]), 30);
        assert_eq!((reading.processes.gone, reading.unreadable.len()), (3, 0));
    }
    totals(root.path(), 3, 12);
    assert_eq!(sum(&directory.read().unwrap(), "journaled", &[]), 42);
}

#[test]
fn many_of_them_are_summed_in_a_file_and_stay_counted_where_totals_are_deleted() {
    let root = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..256).map(|number| totals(root.path(), number, 1)).collect();
    assert_eq!(sum(&Directory::new(root.path().to_owned()).read().unwrap(), "journaled", &[]), 256);
    assert_eq!(Sums::load(root.path()).unwrap().processes.len(), 256);
    fs::remove_file(root.path().join("totals").join(process_text(&all[0]))).unwrap();
    totals(root.path(), 256, 1);
    let mut another = Directory::new(root.path().to_owned());
    let reading = another.read().unwrap();
    assert_eq!((sum(&reading, "journaled", &[]), reading.processes.gone), (257, 257));
    // Sums that were damaged are made anew, and it is told of; nobody's are counted twice.
    fs::write(root.path().join("totals/.sums"), b"nonsense").unwrap();
    let mut third = Directory::new(root.path().to_owned());
    let reading = third.read().unwrap();
    assert_eq!((sum(&reading, "journaled", &[]), reading.unreadable.len()), (256, 1));
    assert_eq!(third.read().unwrap().unreadable.len(), 0);
}

#[test]
fn totals_that_cannot_be_read_fail_a_look_that_has_nothing_to_stand_in_for_them() {
    let root = tempfile::tempdir().unwrap();
    let process = totals(root.path(), 0, 5);
    fs::write(root.path().join("totals").join(process_text(&process)), b"nonsense").unwrap();
    let mut directory = Directory::new(root.path().to_owned());
    assert!(directory.read().is_err());
    totals(root.path(), 0, 5);
    assert_eq!(sum(&directory.read().unwrap(), "journaled", &[]), 5);
}

#[test]
fn a_directory_that_is_not_there_is_no_empty_one() {
    let root = tempfile::tempdir().unwrap();
    assert!(Directory::new(root.path().join("nothing")).read().is_err());
    let empty = Directory::new(root.path().to_owned()).read().unwrap();
    assert_eq!((empty.samples.len(), empty.processes.gone), (0, 0));
}
