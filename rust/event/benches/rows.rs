//! What one row costs on its way out: into the journal's row, the Arrow batch, the JSON line.
//!
//! The rows are a Kafka proxy's: Reads of 200 sessions on 50 topics, a row group of them.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, NO_CONTEXT};
use auditring_event::{Context, Identity, RowRef, RowSet, arrow, by_name, json};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const ROWS: usize = 122_880;
const SESSIONS: usize = 200;
const TOPICS: usize = 50;

fn context(at: usize) -> Context {
    Context {
        session: Some(format!("018f4e6a-7c1d-7b3e-9d52-{at:012x}")),
        virtual_cluster: Some("payments".into()),
        client_id: Some(format!("consumer-{}", at % 20)),
        listener: Some("10.0.0.1:9092".into()),
        peer_ip: Some(format!("10.1.{}.{}", at / 250, at % 250)),
        peer_port: Some(40_000 + at as i32),
        server: Some(format!("broker-{}:9092", at % 3)),
        server_local: Some(format!("10.0.0.9:{}", 50_000 + at)),
        node_id: Some((at % 3) as i32),
        principal: Some(format!("user-{}", at % 40)),
        principals: vec![format!("User:user-{}", at % 40)],
        mechanism: Some("SCRAM-SHA-256".into()),
        tap: Some("edge".into()),
        ..Context::default()
    }
}

fn records() -> Vec<Vec<u8>> {
    let read = by_name("Read").expect("the catalog has Read");
    let record = |at: usize| {
        let mut encoder = Encoder::new(read);
        encoder.text("topic", &format!("orders-{:02}", at * at % TOPICS)).int("partition", (at % 12) as i64);
        encoder.int("first_offset", 1000 * at as i64).int("last_offset", 1000 * at as i64 + 99);
        encoder.int("client_correlation_id", at as i64).to_vec()
    };
    (0..ROWS).map(record).collect()
}

fn rows(records: &[Vec<u8>]) -> RowSet {
    let mut set = RowSet {
        identity: Arc::new(Identity {
            process: "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60".into(),
            instance: "proxy-eu-1".into(),
            host: "host-1".into(),
        }),
        contexts: (0..SESSIONS).map(|at| Arc::new(context(at))).collect(),
        ..RowSet::default()
    };
    for (at, record) in records.iter().enumerate() {
        let record = RecordView::parse(record).expect("the encoder writes records");
        let time = 1_795_464_900_000_000_000 + at as i64 * 250;
        set.rows.push(RowRef { seq: at as i64, offset: set.data.len() as u32, weight: 1, count: 1 });
        row::from_record(&record, (at * 7 % SESSIONS) as u32, time, at as i64 * 250, 0, &mut set.data);
    }
    set
}

fn benches(criterion: &mut Criterion) {
    let records = records();
    let set = rows(&records);
    let mut lines = Vec::new();
    json::lines(&set, &mut lines).expect("the rows are fine");
    assert_eq!(ROWS, lines.split_inclusive(|byte| *byte == b'\n').count());
    assert_eq!(ROWS, arrow::record_batch(&set).expect("the rows are fine").num_rows());
    println!("{} bytes a line; the first:\n{}", lines.len() / ROWS, String::from_utf8_lossy(&lines[..900]));

    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("record to row", |b| {
        let mut out = Vec::with_capacity(set.data.len());
        b.iter(|| {
            out.clear();
            for record in &records {
                let record = RecordView::parse(record).expect("the encoder writes records");
                row::from_record(&record, NO_CONTEXT, 1, 2, 0, &mut out);
            }
            black_box(out.len())
        });
    });
    group.bench_function("validate", |b| {
        b.iter(|| {
            for record in &records {
                RecordView::parse(record).and_then(|record| record.validate()).expect("the records are fine");
            }
        });
    });
    group.bench_function("arrow", |b| b.iter_batched(|| (), |()| arrow::record_batch(&set), BatchSize::PerIteration));
    let batch = arrow::record_batch(&set).expect("the rows are fine");
    assert!(arrow::touched(&batch).expect("it is of the schema").is_some());
    group.bench_function("touched", |b| b.iter(|| arrow::touched(&batch)));
    group.bench_function("json", |b| {
        let mut out = Vec::with_capacity(lines.len());
        b.iter(|| {
            out.clear();
            json::lines(&set, &mut out).expect("the rows are fine");
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(rows_out, benches);
criterion_main!(rows_out);
