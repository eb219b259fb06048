//! Who touched what: the rows of a batch added up by resource, principal and deed.
//!
//! A file of a million rows has some thousands of such sums, so whoever asks about one resource need not read its rows.
//! What must always hold: the sums of a batch are what the rows say, all of those that name a resource and no others; where
//! they would be many, or one does not fit 64 bits, there are none, and the rows are read.

use super::schema;
use crate::spec::Column;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array as _, ArrayRef, DictionaryArray, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Most sums of a batch: past it, in one of some 100,000 rows, they say little that the rows do not say at much the same
/// length, and cost more than they save.
pub const MOST_GROUPS: usize = 16_384;

/// What rows are told apart by.
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

/// No group.
const NONE: u32 = u32::MAX;
/// Most combinations of a group and a word that are looked up in a table; beyond, in a map.
const DENSE: usize = 1 << 18;

static SUMS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let keys = KEYS.iter().map(|key| Field::new(key.spec().name, DataType::Utf8, *key != Column::Resource));
    let sums = [
        Field::new("events", DataType::Int64, false),
        Field::new("records", DataType::Int64, true),
        Field::new("bytes", DataType::Int64, true),
        Field::new("first_seen", time(), false),
        Field::new("last_seen", time(), false),
    ];
    Arc::new(Schema::new(keys.chain(sums).collect::<Vec<_>>()))
});

/// The sums over a batch of [`schema`]: a row for each resource, principal, action, operation, outcome, authority, origin
/// and tap that are met together, with `events`, `records` and `bytes` (weighted sums, the latter two null where no row
/// has one) and `first_seen` and `last_seen`. None where there are more than [`MOST_GROUPS`], or a sum is beyond 64 bits.
///
/// # Errors
/// If the batch has another schema.
pub fn touched(batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
    if batch.schema_ref().fields() != schema().fields() {
        return Err(ArrowError::SchemaError("these are no rows of ours".to_owned()));
    }
    let words = |key: Column| batch.column(key as usize).as_dictionary();
    let mut groups = Groups::new(words(Column::Resource));
    for key in KEYS {
        groups.split(words(key));
        if groups.rows.len() > MOST_GROUPS {
            return Ok(None);
        }
    }
    let Some(sums) = Sums::over(batch, &groups) else { return Ok(None) };
    let keys = KEYS.iter().map(|key| groups.words(words(*key)));
    RecordBatch::try_new(SUMS.clone(), keys.chain(sums.finish()).collect()).map(Some)
}

/// Rows told apart: of each its group, of each group its first row.
struct Groups {
    of: Vec<u32>,
    rows: Vec<u32>,
}

impl Groups {
    /// Those that have something in a column, all in one.
    fn new(column: &DictionaryArray<Int32Type>) -> Self {
        let of: Vec<_> = (0..column.len()).map(|row| if column.is_valid(row) { 0 } else { NONE }).collect();
        let rows = of.iter().position(|group| *group == 0).map(|row| row as u32).into_iter().collect();
        Self { of, rows }
    }

    /// Splits each group by what its rows have in a column.
    fn split(&mut self, column: &DictionaryArray<Int32Type>) {
        let (values, nulls) = (column.values().len(), column.null_count());
        if nulls == column.len() || nulls == 0 && values == 1 {
            return;
        }
        let width = values + 1;
        let mut dense = match self.rows.len() * width {
            places @ 0..=DENSE => vec![NONE; places],
            _ => Vec::new(),
        };
        let mut sparse = HashMap::new();
        let keys = column.keys();
        self.rows.clear();
        for (row, group) in self.of.iter_mut().enumerate().filter(|(_, group)| **group != NONE) {
            let key = if keys.is_valid(row) { keys.value(row) as usize } else { values };
            let at = *group as usize * width + key;
            let known = if dense.is_empty() { sparse.entry(at).or_insert(NONE) } else { &mut dense[at] };
            if *known == NONE {
                *known = self.rows.len() as u32;
                self.rows.push(row as u32);
            }
            *group = *known;
        }
    }

    /// What each group has in a column.
    fn words(&self, column: &DictionaryArray<Int32Type>) -> ArrayRef {
        let values = column.values().as_string::<i32>();
        let word = |row: &u32| column.key(*row as usize).map(|key| values.value(key));
        Arc::new(self.rows.iter().map(word).collect::<StringArray>())
    }
}

/// What the rows of one group come to.
#[derive(Clone)]
struct Sum {
    events: i64,
    records: Option<i64>,
    bytes: Option<i64>,
    first: i64,
    last: i64,
}

struct Sums(Vec<Sum>);

impl Sums {
    /// Adds up; none where a sum is beyond 64 bits.
    fn over(batch: &RecordBatch, groups: &Groups) -> Option<Self> {
        let ints = |column| primitive::<Int64Type>(batch, column);
        let times = |column| primitive::<TimestampMicrosecondType>(batch, column);
        let (count, weight) = (ints(Column::Count), ints(Column::Weight));
        let (records, bytes) = (ints(Column::Records), ints(Column::Bytes));
        let (time, end) = (times(Column::Time), times(Column::EndTime));
        let none = Sum { events: 0, records: None, bytes: None, first: i64::MAX, last: i64::MIN };
        let mut sums = vec![none; groups.rows.len()];
        for (row, group) in groups.of.iter().enumerate() {
            let Some(sum) = sums.get_mut(*group as usize) else { continue };
            let weight = weight.value(row);
            sum.events = sum.events.checked_add(count.value(row).checked_mul(weight)?)?;
            add(&mut sum.records, records, row, weight)?;
            add(&mut sum.bytes, bytes, row, weight)?;
            let time = time.value(row);
            sum.first = sum.first.min(time);
            // As the question says it: the end of a row is never before its time.
            sum.last = sum.last.max(if end.is_valid(row) { time.max(end.value(row)) } else { time });
        }
        Some(Self(sums))
    }

    /// The columns.
    fn finish(self) -> [ArrayRef; 5] {
        let times = |of: fn(&Sum) -> i64| {
            let micros = self.0.iter().map(|sum| Some(of(sum))).collect::<TimestampMicrosecondArray>();
            Arc::new(micros.with_timezone("UTC")) as ArrayRef
        };
        [
            Arc::new(self.0.iter().map(|sum| sum.events).collect::<Int64Array>()),
            Arc::new(self.0.iter().map(|sum| sum.records).collect::<Int64Array>()),
            Arc::new(self.0.iter().map(|sum| sum.bytes).collect::<Int64Array>()),
            times(|sum| sum.first),
            times(|sum| sum.last),
        ]
    }
}

fn primitive<T: ArrowPrimitiveType>(batch: &RecordBatch, column: Column) -> &PrimitiveArray<T> {
    batch.column(column as usize).as_primitive()
}

/// Adds what a row has; none where the sum is beyond 64 bits.
#[inline]
fn add(sum: &mut Option<i64>, values: &Int64Array, row: usize, weight: i64) -> Option<()> {
    if values.is_valid(row) {
        *sum = Some(sum.unwrap_or(0).checked_add(values.value(row).checked_mul(weight)?)?);
    }
    Some(())
}
