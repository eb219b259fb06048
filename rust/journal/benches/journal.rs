//! Append and read of batches, on the file system of the temporary directory. `TMPDIR=/dev/shm` shows the same without a disk.
//!
//! `cargo bench -p auditring-journal`

use std::hint::black_box;
use std::time::{Duration, Instant};

use auditring_journal::{BatchFlags, BatchMeta, LaneRange, Reader, SegmentHead, Step, Writer, counters};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
/// A Kafka read, as a row.
const ROW: usize = 80;
const SEGMENT: u64 = 64 << 20;

fn meta(writer: &Writer, rows: u32) -> BatchMeta {
    let state = writer.state();
    BatchMeta {
        flags: if state.batch_no == 0 { BatchFlags::BIRTH } else { BatchFlags::NONE },
        batch_no: state.batch_no,
        first_seq: state.next_seq,
        rows,
        lanes: vec![LaneRange::default(); 2],
        cells: (0..20).map(|code| (counters::journaled(code, 0, true), state.batch_no)).collect(),
        ..BatchMeta::default()
    }
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|byte| (byte as u32).wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect()
}

/// Time for `batches` appends. Rolling, and deleting what was rolled, is not counted: it happens once in 64 MiB.
fn append(batches: u64, rows: &[u8]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &SegmentHead::default()).unwrap();
    let mut spent = Duration::ZERO;
    for _ in 0..batches {
        let meta = meta(&writer, (rows.len() / ROW) as u32);
        let start = Instant::now();
        writer.append(&meta, &[], &[], rows).unwrap();
        spent += start.elapsed();
        if writer.len() > SEGMENT {
            std::fs::remove_file(writer.roll(&writer.next_head()).unwrap().path()).unwrap();
        }
    }
    spent
}

/// Time for `batches` reads, again and again through one segment.
fn read(batches: u64, rows: &[u8]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &SegmentHead::default()).unwrap();
    while writer.len() < SEGMENT / 2 {
        let meta = meta(&writer, (rows.len() / ROW) as u32);
        writer.append(&meta, &[], &[], rows).unwrap();
    }
    let mut buf = Vec::new();
    let mut spent = Duration::ZERO;
    let mut left = batches;
    while left > 0 {
        let mut reader = Reader::open(dir.path(), 0).unwrap();
        let start = Instant::now();
        while left > 0 {
            match reader.next(&mut buf).unwrap() {
                Step::Batch(meta, sections) => {
                    black_box((meta, &buf[sections.rows]));
                    left -= 1;
                }
                Step::NotYet => break,
                _ => {}
            }
        }
        spent += start.elapsed();
    }
    spent
}

fn journal(c: &mut Criterion) {
    for (name, run) in [("append", append as fn(u64, &[u8]) -> Duration), ("read", read)] {
        let mut group = c.benchmark_group(name);
        group.measurement_time(Duration::from_secs(3)).sample_size(20);
        for size in SIZES {
            let rows = payload(size);
            group.throughput(Throughput::Elements((size / ROW) as u64));
            group.bench_function(BenchmarkId::from_parameter(format!("{} KiB", size >> 10)), |b| {
                b.iter_custom(|batches| run(batches, &rows));
            });
        }
    }
    c.bench_function("not yet", |b| {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), &SegmentHead::default()).unwrap();
        let meta = meta(&writer, 1);
        writer.append(&meta, &[], &[], &[0; ROW]).unwrap();
        let mut reader = Reader::open(dir.path(), 0).unwrap();
        let mut buf = Vec::new();
        b.iter(|| matches!(reader.next(&mut buf).unwrap(), Step::NotYet));
    });
}

criterion_group!(benches, journal);
criterion_main!(benches);
