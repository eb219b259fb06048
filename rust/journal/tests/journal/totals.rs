//! Totals of processes that have gone.

use std::collections::BTreeMap;

use auditring_journal::{Scopes, Totals, process_text};

#[test]
fn totals_come_back_by_process() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(Totals::load_all(root.path()).unwrap(), []);
    let totals = |n: u64| Totals {
        instance: "proxy".to_owned(),
        host: "h".to_owned(),
        next_seq: n as i64,
        cells: BTreeMap::from([(5, n), (u32::MAX, u64::MAX)]),
        sinks: BTreeMap::from([("parquet".to_owned(), BTreeMap::from([("delivered".to_owned(), n)]))]),
        declared: BTreeMap::from([(768, "com.example.Thing".to_owned())]),
        scopes: Some(Scopes {
            labels: vec![("vc".to_owned(), "virtual_cluster".to_owned())],
            values: vec![vec!["payments".to_owned()]],
        }),
    };
    totals(2).store(root.path(), &[2; 16]).unwrap();
    totals(1).store(root.path(), &[1; 16]).unwrap();
    totals(1).store(root.path(), &[1; 16]).unwrap();
    assert_eq!(Totals::load_all(root.path()).unwrap(), [([1; 16], totals(1)), ([2; 16], totals(2))]);
    assert!(root.path().join("totals").join(process_text(&[1; 16])).is_file());
}
