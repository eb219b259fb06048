//! What a batch's sums say is what its rows say, added up one by one.

mod common;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array as _, ArrayRef, DictionaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use auditring_event::event::Event;
use auditring_event::{COLUMNS, Column, ColumnType, RowSet, arrow};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: [Column; 8] = [
    Column::Resource,
    Column::Principal,
    Column::Action,
    Column::Operation,
    Column::Outcome,
    Column::Authority,
    Column::Origin,
    Column::Tap,
];

type Key = Vec<Option<String>>;
/// Events, records, bytes, first and last time.
type Sums = (i64, Option<i64>, Option<i64>, i64, i64);

/// Adds up event by event; none where a sum is beyond 64 bits.
fn by_hand(set: &RowSet) -> Option<BTreeMap<Key, Sums>> {
    let mut sums = BTreeMap::<Key, Sums>::new();
    for at in &set.rows {
        let event = Event::of(set, at).expect("the row is fine");
        let key: Key = KEYS.iter().map(|key| event.text(*key).map(str::to_owned)).collect();
        if key[0].is_none() {
            continue;
        }
        let weight = i64::from(at.weight);
        let time = event.int(Column::Time).expect("every row has a time").div_euclid(1000);
        let last = event.int(Column::EndTime).map_or(time, |end| time.max(end.div_euclid(1000)));
        let sum = sums.entry(key).or_insert((0, None, None, i64::MAX, i64::MIN));
        sum.0 = sum.0.checked_add(i64::from(at.count).checked_mul(weight)?)?;
        for (sum, column) in [(&mut sum.1, Column::Records), (&mut sum.2, Column::Bytes)] {
            if let Some(value) = event.int(column) {
                *sum = Some(sum.unwrap_or(0).checked_add(value.checked_mul(weight)?)?);
            }
        }
        (sum.3, sum.4) = (sum.3.min(time), sum.4.max(last));
    }
    Some(sums)
}

fn of_batch(batch: &RecordBatch) -> BTreeMap<Key, Sums> {
    let text = |at: usize, row: usize| {
        let column = batch.column(at).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let int = |at: usize, row: usize| {
        let column = batch.column(at).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let time = |at: usize, row: usize| batch.column(at).as_primitive::<TimestampMicrosecondType>().value(row);
    let sums: BTreeMap<_, _> = (0..batch.num_rows())
        .map(|row| {
            let key = (0..8).map(|at| text(at, row)).collect();
            (key, (int(8, row).expect("never null"), int(9, row), int(10, row), time(11, row), time(12, row)))
        })
        .collect();
    assert_eq!(sums.len(), batch.num_rows(), "a key is there once");
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn the_sums_are_what_the_rows_say(mut set in common::sets(24), again in 0_usize..4) {
        // Sums of several rows want rows that are alike.
        for _ in 0..again {
            set.rows.extend_from_within(..set.rows.len().min(24));
        }
        let batch = arrow::record_batch(&set).expect("the rows are fine");
        let sums = arrow::touched(&batch).expect("they are rows of ours");
        prop_assert_eq!(sums.as_ref().map(of_batch), by_hand(&set));
    }
}

/// So many rows, each of a principal of its own; the resources are taken in turns.
fn rows(rows: usize, resources: usize) -> RecordBatch {
    let words = |name: &'static str, among: usize| -> ArrayRef {
        let words: Vec<_> = (0..rows).map(|row| format!("{name}-{}", row % among)).collect();
        Arc::new(words.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())
    };
    let schema = arrow::schema();
    let columns = COLUMNS.iter().zip(schema.fields()).map(|(column, field)| match column.column {
        Column::Resource => words("topic", resources),
        Column::Principal => words("principal", rows),
        _ if field.is_nullable() => new_null_array(field.data_type(), rows),
        _ => match column.kind {
            ColumnType::Dict => words("word", 1),
            ColumnType::Timestamp => Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC")),
            _ => Arc::new(Int64Array::from(vec![1; rows])) as ArrayRef,
        },
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).expect("the columns are those of the schema")
}

#[test]
fn many_words_that_meet_few_others_are_told_apart() {
    // Each of 5,000 groups could have any of 5,000 principals.
    let sums = of_batch(&arrow::touched(&rows(5_000, 5_000)).expect("they are ours").expect("they are few enough"));
    assert_eq!(sums.len(), 5_000);
    for key in sums.keys() {
        let number =
            |at: usize| key[at].as_deref().and_then(|word: &str| word.rsplit_once('-')).map(|(_, number)| number);
        assert_eq!(number(0), number(1));
    }
    assert!(sums.values().all(|sum| *sum == (1, None, None, 0, 0)));
}

#[test]
fn too_many_sums_are_none() {
    let most = arrow::touched(&rows(arrow::MOST_GROUPS, 3)).expect("they are ours");
    assert_eq!(most.expect("they are just few enough").num_rows(), arrow::MOST_GROUPS);
    assert!(arrow::touched(&rows(arrow::MOST_GROUPS + 1, 3)).expect("they are ours").is_none());
}

#[test]
fn what_are_no_rows_of_ours_is_refused() {
    let other = RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty()));
    assert!(arrow::touched(&other).is_err());
}
