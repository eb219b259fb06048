//! Two versions of the catalog read each other's rows: the later one has a column, an action and a field of `Read` more.
//!
//! What must always hold: a later version reads all that an earlier one wrote, to the byte; an earlier version never guesses:
//! a row of a later one that it cannot read is an error of that row, and the rows around it are as they were.

mod common;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Malformed, RowRef, RowSet, arrow, by_name, json, row};
use event_next as next;
use proptest::prelude::*;
use std::sync::Arc;

/// Rows of this version as the next one has them in its hands: the same bytes.
fn in_next(set: &RowSet) -> next::RowSet {
    let context = |one: &auditring_event::Context| {
        let mut bytes = Vec::new();
        one.encode(&mut bytes);
        Arc::new(next::Context::decode(&bytes).expect("a context of this version"))
    };
    let mut definitions = Vec::new();
    set.definitions.encode(&mut definitions);
    next::RowSet {
        identity: Arc::new(next::Identity {
            process: set.identity.process.clone(),
            instance: set.identity.instance.clone(),
            host: set.identity.host.clone(),
        }),
        contexts: set.contexts.iter().map(|one| context(one)).collect(),
        data: set.data.clone(),
        rows: set
            .rows
            .iter()
            .map(|at| next::RowRef { seq: at.seq, offset: at.offset, weight: at.weight, count: at.count })
            .collect(),
        definitions: Arc::new(next::Definitions::decode(&definitions).expect("definitions of this version")),
    }
}

fn lines(set: &RowSet) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    json::lines(set, &mut out).map(|()| out)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_later_version_reads_every_row_as_it_was(set in common::sets(12)) {
        let later = in_next(&set);
        let mut out = Vec::new();
        next::json::lines(&later, &mut out).expect("rows of an earlier version");
        prop_assert_eq!(lines(&set).expect("the rows are fine"), out);

        let (old, new) = (arrow::record_batch(&set).expect("fine"), next::arrow::record_batch(&later).expect("fine"));
        prop_assert_eq!(old.num_columns() + 1, new.num_columns());
        for (column, field) in old.columns().iter().zip(old.schema().fields()) {
            prop_assert_eq!(column, new.column_by_name(field.name()).expect("no column ever goes"));
        }
        prop_assert_eq!(new.num_rows(), new.column(old.num_columns()).null_count());
    }
}

#[test]
fn columns_are_added_at_the_end_and_codes_keep_their_meaning() {
    let (old, new) = (arrow::schema(), next::arrow::schema());
    assert_eq!(
        old.fields().iter().collect::<Vec<_>>(),
        new.fields().iter().take(old.fields().len()).collect::<Vec<_>>()
    );
    for spec in auditring_event::ACTIONS {
        let later = next::spec(spec.code).expect("no code ever goes");
        assert_eq!((spec.name, spec.outcome as u8), (later.name, later.outcome as u8));
        let names: Vec<_> = later.fields.iter().take(spec.fields.len()).map(|field| field.name).collect();
        assert_eq!(names, spec.fields.iter().map(|field| field.name).collect::<Vec<_>>());
    }
}

/// A record of the later version, as a row of a journal.
fn push(set: &mut RowSet, record: &[u8]) {
    let record = RecordView::parse(record).expect("the head of a record is the same in every version");
    let offset = set.data.len() as u32;
    row::from_record(&record, row::NO_CONTEXT, 1_795_464_900_123_456_789, 5, 0, &mut set.data);
    set.rows.push(RowRef { seq: set.rows.len() as i64, offset, weight: 1, count: 1 });
}

#[test]
fn an_earlier_version_never_guesses_and_loses_no_other_row() {
    let mut set = common::row_set(Vec::new(), &[]);
    let ours = Encoder::new(by_name("Read").unwrap()).text("topic", "orders").int("partition", 3).to_vec();
    let theirs = |name: &str, topic: &str| {
        let mut encoder = next::record::Encoder::new(next::by_name(name).unwrap());
        encoder.text("topic", topic);
        encoder
    };
    push(&mut set, &ours);
    push(&mut set, &theirs("Peek", "orders").text("rack", "r1").to_vec());
    push(&mut set, &theirs("Read", "orders").int("partition", 3).text("rack", "r1").to_vec());
    push(&mut set, &theirs("Read", "orders").int("partition", 3).to_vec());
    assert_eq!(Err(Malformed::UnknownCode(67)), lines(&set));

    let each: Vec<_> = set
        .rows
        .clone()
        .into_iter()
        .map(|at| {
            set.rows = vec![at];
            assert_eq!(arrow::record_batch(&set).is_ok(), lines(&set).is_ok());
            lines(&set)
        })
        .collect();
    let bit = 1 << by_name("Read").unwrap().fields.len();
    assert_eq!([Err(Malformed::UnknownCode(67)), Err(Malformed::UnknownBits(bit))], each[1..3]);
    // What the later version has not changed is written by it as it always was.
    let [first, last] = [&each[0], &each[3]].map(|line| String::from_utf8(line.clone().unwrap()).unwrap());
    assert_eq!(first, last.replace("\"seq\":3", "\"seq\":0").replace(":3\",\"process", ":0\",\"process"));
}
