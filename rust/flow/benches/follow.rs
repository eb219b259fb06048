//! What a follower costs an event, from the journal's bytes to what is kept of them: by policy.
//!
//! The rows are a Kafka proxy's: Reads of 200 sessions on 50 topics, in batches of 512 KiB, read from the page cache.
//!
//! `cargo bench -p auditring-flow`

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

#[path = "../../policy/benches/fifty/mod.rs"]
mod fifty;

mod traffic;

use auditring_event::by_name;
use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::from_record;
use auditring_flow::{Declined, Follower, Form, Progress};
use auditring_journal::{BatchFlags, BatchMeta, SegmentHead, Writer, contexts};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use traffic::{SESSIONS, TOPICS, context};

const ROWS: usize = 500_000;
const A_BATCH: usize = 5_000;

/// Who reads what.
#[derive(Clone, Copy)]
enum Readers {
    /// Everybody anything: no Read follows another.
    AtRandom,
    /// Each its own partition, on and on: 50 Reads a second.
    InOrder,
}

fn rows(from: usize, readers: Readers) -> Vec<u8> {
    let read = by_name("Read").expect("the catalog has Read");
    let mut data = Vec::new();
    for at in from..from + A_BATCH {
        let mut encoder = Encoder::new(read);
        let (session, topic, partition, offset) = match readers {
            Readers::AtRandom => (at * 7 % SESSIONS, at * at % TOPICS, at % 12, at),
            Readers::InOrder => (at % SESSIONS, at % SESSIONS % TOPICS, at % SESSIONS % 12, at / SESSIONS),
        };
        encoder.text("topic", &format!("orders-{topic:02}")).int("partition", partition as i64);
        encoder.int("first_offset", offset as i64).int("last_offset", offset as i64);
        encoder.int("client_correlation_id", at as i64);
        let record = encoder.to_vec();
        let record = RecordView::parse(&record).expect("the encoder writes records");
        let age_ns = at as i64 * 100_000;
        from_record(&record, session as u32, age_ns, age_ns, 0, &mut data);
    }
    data
}

fn journal(dir: &Path, policy: &str, readers: Readers) {
    let head = SegmentHead { process: [7; 16], policy: policy.into(), ..SegmentHead::default() };
    let mut writer = Writer::create(dir, &head).expect("a journal");
    let mut told = Vec::new();
    for at in 0..SESSIONS {
        contexts::push(&mut told, at as u32, at as u64 + 1, &context(at));
    }
    for batch in 0..ROWS / A_BATCH {
        let flags = match batch {
            0 => BatchFlags::BIRTH,
            _ if batch + 1 == ROWS / A_BATCH => BatchFlags::FINAL_CLEAN,
            _ => BatchFlags::NONE,
        };
        let meta = BatchMeta {
            flags,
            process: [7; 16],
            batch_no: batch as u64,
            first_seq: (batch * A_BATCH) as i64,
            rows: A_BATCH as u32,
            ..BatchMeta::default()
        };
        writer.append(&meta, &told, b"", &rows(batch * A_BATCH, readers)).expect("the disk has room");
        told.clear();
    }
}

/// Rows that are kept, and events that are not a row.
fn drain(dir: &Path, form: Form) -> (usize, u64) {
    let progress = Arc::new(Progress::default());
    let mut follower = Follower::open(dir, "sink", Declined::default(), form, progress).expect("nobody else");
    let (mut kept, mut left_out) = (0, 0);
    while let Some(batch) = follower.next(122_880, Duration::ZERO, true).expect("the journal is whole") {
        kept += batch.rows;
        left_out += batch.filtered_out + batch.sampled_out + batch.merged;
        black_box(&batch);
    }
    (kept, left_out)
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("follow");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    let coalesce = r#"{"action":["Read"],"keep":"coalesce","window_ns":1000000000}"#;
    let first = r#"{"action":["Read"],"keep":"first","window_ns":10000000000,"by":["resource"]}"#;
    let (random, ordered) = (Readers::AtRandom, Readers::InOrder);
    for (name, rules, form, kept, readers) in [
        ("keep all, rows", String::new(), Form::Rows, Some(ROWS), random),
        ("keep all, tables", String::new(), Form::Table, Some(ROWS), random),
        ("off by action", r#"{"action":["Read"],"keep":"off"}"#.to_owned(), Form::Rows, Some(0), random),
        ("off by the last of fifty rules", fifty::rules(), Form::Rows, Some(0), random),
        ("sample of stories", r#"{"keep":"sample","one_in":1000}"#.to_owned(), Form::Rows, None, random),
        ("sample of events", r#"{"keep":"sample","one_in":1000,"by":[]}"#.to_owned(), Form::Rows, None, random),
        ("coalesce, all in order", coalesce.to_owned(), Form::Rows, Some(ROWS / 50), ordered),
        ("coalesce, none in order", coalesce.to_owned(), Form::Rows, Some(ROWS), random),
        ("first of a topic", first.to_owned(), Form::Rows, None, random),
    ] {
        let folder = tempfile::tempdir().expect("a place");
        let policy = format!(r#"{{"version":3,"seed":7,"allow_blind_spots":false,"rules":[{rules}]}}"#);
        journal(folder.path(), &policy, readers);
        let (rows, left_out) = drain(folder.path(), form);
        assert_eq!(rows as u64 + left_out, ROWS as u64);
        assert!(kept.is_none_or(|kept| kept == rows), "{name} kept {rows}");
        group.bench_function(name, |b| b.iter(|| drain(folder.path(), form)));
    }
    group.finish();
}

criterion_group!(follow, benches);
criterion_main!(follow);
