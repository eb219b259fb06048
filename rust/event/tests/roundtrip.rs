//! What goes into a record comes out of the Arrow batch and of the JSON line.

mod common;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use auditring_event::event::{Cell, Event};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, RowView};
use auditring_event::{COLUMNS, Column, ColumnType, Context, RowSet, arrow, by_name, flat, json};
use proptest::prelude::*;

/// A value of the batch, as the event has it. Times come out in microseconds.
fn cell(column: &auditring_event::ColumnSpec, array: &ArrayRef, row: usize) -> Option<Cell> {
    if array.is_null(row) {
        return None;
    }
    let text = |array: &dyn Array, row: usize| array.as_string::<i32>().value(row).to_owned();
    Some(match column.kind {
        ColumnType::Timestamp => Cell::Int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        ColumnType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        ColumnType::Dict => {
            let dictionary = array.as_dictionary::<Int32Type>();
            Cell::Text(text(dictionary.values(), dictionary.keys().value(row) as usize))
        }
        ColumnType::Texts => {
            let list = array.as_list::<i32>().value(row);
            Cell::Texts((0..list.len()).map(|at| text(&list, at)).collect())
        }
        ColumnType::Text => match column.column {
            Column::ObjectRef | Column::Context => {
                Cell::Map(flat::context(&text(array, row)).expect("a flat JSON object"))
            }
            _ => Cell::Text(text(array, row)),
        },
    })
}

/// The event of one row of a batch, with times cut to microseconds.
fn from_batch(batch: &RecordBatch, row: usize) -> Event {
    let mut event = Event::default();
    for (spec, array) in COLUMNS.iter().zip(batch.columns()) {
        event.set(spec.column, cell(spec, array, row));
    }
    event
}

fn in_micros(mut event: Event) -> Event {
    for column in [Column::Time, Column::EndTime] {
        let micros = event.int(column).map(|ns| ns.div_euclid(1000));
        event.set(column, micros.map(Cell::Int));
    }
    event
}

fn events(set: &RowSet) -> Vec<Event> {
    set.rows.iter().map(|at| Event::of(set, at).expect("the row is fine")).collect()
}

fn lines(set: &RowSet) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    json::lines(set, &mut out).expect("the rows are fine");
    out.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_batch_says_what_the_records_said(set in common::sets(12)) {
        let batch = arrow::record_batch(&set).expect("the rows are fine");
        prop_assert_eq!(set.rows.len(), batch.num_rows());
        for (row, event) in events(&set).into_iter().enumerate() {
            prop_assert_eq!(in_micros(event), from_batch(&batch, row));
        }
    }

    #[test]
    fn a_batch_and_lines_made_in_pieces_are_those_made_at_once(
        set in common::sets(40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        enough in 0_usize..4000,
    ) {
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(set.rows.len() + 1)).chain([set.rows.len()]).collect();
        ends.sort_unstable();
        let mut table = arrow::Table::new(0);
        let mut part = RowSet { rows: Vec::new(), contexts: Vec::new(), ..set.clone() };
        let mut begin = 0;
        for end in ends {
            // The contexts that the rows so far name, and maybe further ones.
            let named = set.rows[..end].iter().filter_map(|at| set.row(at).ok()).map(|row| row.context());
            let known = named.filter(|context| *context != row::NO_CONTEXT).max().map_or(0, |most| most as usize + 1);
            part.contexts = set.contexts[..known].to_vec();
            part.rows = set.rows[begin..end].to_vec();
            table.append(&part).expect("the rows are fine");
            begin = end;
        }
        prop_assert_eq!(set.rows.len(), table.rows());
        let batch = table.finish(&part).expect("the rows are fine");
        for (row, event) in events(&set).into_iter().enumerate() {
            prop_assert_eq!(in_micros(event), from_batch(&batch, row));
        }

        let (mut pieces, mut piece) = (json::Lines::new(json::Dialect::Own, &set), Vec::new());
        let mut all = Vec::new();
        while pieces.fill(&mut piece, enough.max(1)).expect("the rows are fine") {
            prop_assert!(piece.len() >= enough.max(1) && piece.ends_with(b"\n"));
            all.append(&mut piece);
        }
        all.append(&mut piece);
        prop_assert_eq!(lines(&set).concat(), all);
    }

    #[test]
    fn a_line_tells_every_column(set in common::sets(12)) {
        let lines = lines(&set);
        prop_assert_eq!(set.rows.len(), lines.len());
        for (event, line) in events(&set).iter().zip(&lines) {
            let line = line.strip_suffix(b"\n").expect("a line has an end");
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(event, &json::parse(line).expect("our own line"));
        }
    }

    #[test]
    fn a_row_keeps_all_of_its_record(event in common::made(0), time in any::<i64>(), age in any::<i64>()) {
        let record = RecordView::parse(&event.record).expect("the encoder writes records");
        let mut data = vec![0xFF; 8];
        row::from_record(&record, 7, time, age, 1, &mut data);
        let row = RowView::at(&data, 8).expect("a row");
        prop_assert_eq!(Ok(()), row.validate());
        prop_assert_eq!(data.len() - 8, row.len());
        prop_assert_eq!((record.code(), record.presence(), record.bits()), (row.code(), row.presence(), row.bits()));
        prop_assert_eq!((record.flags() | 1, 7), (row.flags(), row.context()));
        prop_assert_eq!((time, age), (row.time_ns(), row.age_ns()));
        let strings = |body: auditring_event::record::Body<'_>| {
            body.strings().map(|(bit, text)| (bit, text.to_vec())).collect::<Vec<_>>()
        };
        prop_assert_eq!(strings(record.fields()), strings(row.fields()));
        for bit in 0..29 {
            prop_assert_eq!(record.fields().int(1 << bit), row.fields().int(1 << bit));
        }
    }

    #[test]
    fn a_context_comes_back(context in common::context()) {
        let mut bytes = Vec::new();
        context.encode(&mut bytes);
        prop_assert!(bytes.len() <= auditring_event::context::MAX_CONTEXT);
        prop_assert_eq!(Ok(context), Context::decode(&bytes));
    }
}

#[test]
fn the_first_offset_of_a_read_is_where_a_reader_looks_for_it() {
    let mut encoder = Encoder::new(by_name("Read").unwrap());
    encoder.text("topic", "orders").int("partition", 3).int("first_offset", 1000).int("last_offset", 1099);
    encoder.int("client_correlation_id", 42);
    let record = encoder.to_vec();
    let mut set = common::row_set(Vec::new(), &[]);
    row::from_record(
        &RecordView::parse(&record).unwrap(),
        row::NO_CONTEXT,
        1_795_464_900_123_456_789,
        5,
        0,
        &mut set.data,
    );
    set.rows.push(auditring_event::RowRef { seq: 9, offset: 0, weight: 100, count: 1 });

    let view = RowView::parse(&set.data).unwrap();
    assert_eq!(Some("orders"), row::resource(&view));
    assert_eq!(None, row::tap(&view));
    let event = &events(&set)[0];
    assert_eq!(Some(1000), event.int(Column::FirstOffset));
    assert_eq!(Some("READ"), event.text(Column::Operation));
    let expected = concat!(
        r#"{"time":"2026-11-23T20:15:00.123456789Z","action":"Read","actor":{"type":"Client"},"#,
        r#""objectRef":{"topicName":"orders","partition":"3"},"correlation":{"clientCorrelationId":42},"#,
        r#""timeNanos":1795464900123456789,"ageNanos":5,"eventId":"018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60:9","#,
        r#""process":"018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60","seq":9,"instance":"proxy \"eu\" 1","host":"host-1","#,
        r#""category":"data","outcome":"success","authority":"witness","origin":"client","operation":"READ","#,
        r#""resourceType":"Topic","resource":"orders","partition":3,"offsets":{"first":1000,"last":1099},"#,
        r#""count":1,"weight":100}"#,
        "\n",
    );
    assert_eq!(expected, String::from_utf8(lines(&set).concat()).unwrap());
}

#[test]
fn the_schema_has_the_columns_of_the_catalog_in_order() {
    let schema = arrow::schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let expected: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(expected, names);
    assert_eq!("Timestamp(µs, \"UTC\")", schema.field(0).data_type().to_string());
    assert_eq!("Dictionary(Int32, Utf8)", schema.field_with_name("resource").unwrap().data_type().to_string());
}

#[test]
fn nothing_is_a_batch_and_no_line() {
    let set = RowSet::default();
    assert_eq!(0, arrow::record_batch(&set).unwrap().num_rows());
    assert!(lines(&set).is_empty());
}
