//! What a tap costs: bytes a second where batches are large, and time an event where they are small.
//!
//! Facts are taken out after each call, as a host does, but go nowhere.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

mod messages;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use messages::{Messages, Seen, fetch, produce};

/// What a proxy reads at once.
const CHUNK: usize = 64 * 1024;
const LARGE: usize = 100 * 1024;

/// Measures an exchange that makes so many events, a byte or an event at a time.
fn measure(c: &mut Criterion, name: &str, bytes: &Messages, chunk: usize, per: Throughput, events: usize) {
    let mut seen = Seen::new();
    assert_eq!(events, seen.exchange(bytes, chunk), "{name}");
    let mut group = c.benchmark_group("tap");
    group.throughput(per);
    group.bench_function(name, |b| b.iter(|| seen.exchange(black_box(bytes), chunk)));
    group.finish();
}

fn bench(c: &mut Criterion) {
    for (name, messages) in [("fetch", fetch(10, LARGE)), ("produce", produce(10, LARGE))] {
        let bytes = Throughput::BytesDecimal((messages.0.len() + messages.1.len()) as u64);
        measure(c, &format!("{name}, batches of 100 KiB, whole"), &messages, usize::MAX, bytes.clone(), 10);
        measure(c, &format!("{name}, batches of 100 KiB, chunks of 64 KiB"), &messages, CHUNK, bytes, 10);
    }
    for (name, messages) in [("fetch", fetch(500, 100)), ("produce", produce(500, 100))] {
        measure(c, &format!("{name}, an event a partition"), &messages, CHUNK, Throughput::Elements(500), 500);
    }
    for (name, messages) in [("fetch", fetch(1, 100)), ("produce", produce(1, 100))] {
        measure(c, &format!("{name}, a small request with one event"), &messages, CHUNK, Throughput::Elements(1), 1);
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
