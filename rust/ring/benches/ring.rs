//! What the ring costs: `cargo bench -p auditring-ring`.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(unsafe_code, reason = "the payload is written as the hot callers write it")]
#![cfg(not(loom))]

use std::hint::black_box;

use auditring_ring::{Clock, ClockKind, Geometry, Identity, Kind, Position, Ring};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn ring() -> Ring {
    let folder = tempfile::tempdir_in(if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." });
    let path = folder.as_ref().expect("a folder").path().join("ring");
    let identity = Identity { process: [1; 16], boot_id: [2; 16], generation: 0, pid: 0 };
    let clock = Clock::detect();
    Ring::create(&path, &Geometry::default(), &identity, clock.kind(), &clock.anchor()).expect("a ring")
}

/// Puts records until the ring is full.
fn fill(ring: &Ring, payload: &[u8]) -> u64 {
    let lane = ring.lane(0);
    let mut records = 0;
    while let Ok(mut claim) = lane.claim(payload.len(), false) {
        claim.write(|room| room.copy_from_slice(payload));
        claim.commit();
        records += 1;
    }
    records
}

/// Time of claim, copy and commit alone: batches that fit the ring, emptied outside of the clock.
fn claim_and_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("claim_and_commit");
    for len in [8_usize, 56, 120, 248, 1016] {
        let ring = ring();
        let mut consumer = ring.consumer().expect("alone");
        let payload = vec![7_u8; len];
        group.bench_function(format!("{len}_bytes"), |b| {
            b.iter_custom(|iterations| {
                let batch = 8192.min((12 << 20) / (len as u64 + 8));
                let mut spent = std::time::Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    let n = left.min(batch);
                    let lane = black_box(ring.lane(0));
                    let begin = std::time::Instant::now();
                    for _ in 0..n {
                        let Ok(mut claim) = lane.claim(black_box(len), true) else { unreachable!("room was made") };
                        // SAFETY: as much as was claimed.
                        unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), claim.as_mut_ptr(), len) };
                        claim.commit();
                    }
                    spent += begin.elapsed();
                    left -= n;
                    consumer.poll(0);
                    while consumer.next(0).is_some() {}
                    consumer.release(0);
                }
                spent
            });
        });
    }
    group.finish();
}

/// What it is to be refused: no room, and off.
fn refusals(c: &mut Criterion) {
    let ring = ring();
    fill(&ring, &[1; 120]);
    c.bench_function("refused_full", |b| b.iter(|| ring.lane(0).claim(black_box(120), true).is_err()));
    let edge = ring.edge();
    c.bench_function("edge/ordered", |b| b.iter(|| edge.bump_ordered(0, black_box(42), black_box(1), Kind::Off)));
    c.bench_function("edge/shared", |b| b.iter(|| edge.bump(0, black_box(42), black_box(1), Kind::Off)));
    c.bench_function("edge/visit", |b| b.iter(|| edge.visit(|count| _ = black_box(count))));
}

fn stamps(c: &mut Criterion) {
    for kind in [ClockKind::Tsc, ClockKind::Monotonic] {
        let clock = black_box(Clock::new(kind));
        c.bench_function(&format!("stamp/{kind:?}"), |b| b.iter(|| clock.stamp()));
        c.bench_function(&format!("anchor/{kind:?}"), |b| b.iter(|| clock.anchor()));
    }
}

/// The consumer over a quarter of a ring: reading alone, and reading with the zeroing and the release.
fn drain(c: &mut Criterion) {
    let mut group = c.benchmark_group("drain");
    for len in [56_usize, 120] {
        let ring = ring();
        let payload = vec![7_u8; len];
        let records = 32_768_u64;
        let refill = || {
            for _ in 0..records {
                let mut claim = ring.lane(0).claim(len, false).expect("room");
                claim.write(|room| room.copy_from_slice(&payload));
                claim.commit();
            }
        };
        group.throughput(Throughput::Elements(records));
        group.bench_function(format!("read_and_release/{len}_bytes"), |b| {
            b.iter_batched(
                refill,
                |()| {
                    let mut consumer = ring.consumer().expect("alone");
                    consumer.poll(0);
                    while let Some(record) = consumer.next(0) {
                        black_box(record);
                    }
                    consumer.release(0);
                },
                BatchSize::PerIteration,
            );
        });
        refill();
        group.bench_function(format!("read/{len}_bytes"), |b| {
            let mut consumer = ring.consumer().expect("alone");
            b.iter(|| {
                consumer.poll(0);
                while let Some(record) = consumer.next(0) {
                    black_box(record);
                }
                consumer.rewind(0);
            });
        });
    }
    group.finish();
    let ring = ring();
    fill(&ring, &[1; 120]);
    c.bench_function("scan/120_bytes_16_MiB", |b| {
        b.iter(|| {
            let mut scan = ring.scan(0, Position::default()).expect("alone");
            while let Some(found) = scan.step() {
                black_box(found);
            }
        });
    });
}

criterion_group!(benches, claim_and_commit, refusals, stamps, drain);
criterion_main!(benches);
