//! What the pump takes for an event, from the ring to the page cache: by what is redacted.
//!
//! The events are a Kafka proxy's: Reads of 200 sessions on 50 topics, 20,000 at a time.
//!
//! `cargo bench -p auditring-flow --bench pump`

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

mod traffic;

use auditring_event::by_name;
use auditring_event::record::Encoder;
use auditring_flow::{Born, Limits, Pump, Settings};
use auditring_policy::{Key, compile};
use auditring_ring::{Clock, Ring};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{SESSIONS, TOPICS, context};

const EVENTS: usize = 20_000;

fn records(ring: &Ring) -> Vec<Vec<u8>> {
    let read = by_name("Read").expect("the catalog has Read");
    let clock = Clock::new(ring.clock());
    let contexts: Vec<_> = (0..SESSIONS).map(context).collect();
    let record = |at: usize| {
        let mut encoder = Encoder::new(read);
        encoder.text("topic", &format!("orders-{:02}", at * at % TOPICS)).int("partition", (at % 12) as i64);
        encoder.int("first_offset", at as i64).int("last_offset", at as i64).int("client_correlation_id", at as i64);
        let session = at / 7 % SESSIONS;
        encoder.context(1 + session as u64, &contexts[session]).stamp(clock.stamp());
        encoder.to_vec()
    };
    (0..EVENTS).map(record).collect()
}

fn pump(c: &mut Criterion) {
    let mut group = c.benchmark_group("pump");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20).measurement_time(Duration::from_secs(5));
    let hash = |fields: &[&str]| {
        let all: Vec<_> = fields.iter().map(|field| format!(r#"{{"field":"{field}","how":"hash"}}"#)).collect();
        format!("[{}]", all.join(","))
    };
    for (name, redact) in [
        ("nothing redacted", None),
        ("peer and principal hashed", Some(hash(&["peer", "principal"]))),
        ("peer, principal and resource hashed", Some(hash(&["peer", "principal", "resource"]))),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Key::new(b"a key that is long enough").expect("it is");
        let policy = match &redact {
            None => br#"{"version":2,"seed":1,"allow_blind_spots":false,"rules":[]}"#.to_vec(),
            Some(redact) => {
                let form =
                    format!(r#"{{"version":3,"seed":1,"allow_blind_spots":false,"rules":[],"redact":{redact}}}"#);
                compile(form.as_bytes(), redact.as_bytes(), Some(&key)).expect("a policy")
            }
        };
        let settings = Settings {
            root: folder.path().join("audit"),
            instance: "proxy-1".into(),
            host: "host-1".into(),
            policy,
            sinks: Vec::new(),
            required: Vec::new(),
            by_agent: Vec::new(),
            primary_tap: None,
            ring_dir: Some("/dev/shm".into()),
            ring_bytes: 16 << 20,
            lanes: 1,
            startup: Vec::new(),
            key: Some(key),
        };
        let born = Born::new(&settings).expect("a log");
        let ring = Arc::clone(&born.ring);
        let limits = Limits { segment_bytes: 64 << 20, segment_age: Duration::from_secs(10), journal_bytes: 256 << 20 };
        let (mut pump, _held) = Pump::new(born, limits, false).expect("a pump");
        let records = records(&ring);
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    for record in &records {
                        let mut claim = ring.lane(0).claim(record.len(), false).expect("the ring has room");
                        claim.write(|room| room[..record.len()].copy_from_slice(record));
                        claim.commit();
                    }
                    let begin = Instant::now();
                    while ring.lane(0).used() > 0 {
                        pump.run(Duration::ZERO).expect("a disk");
                    }
                    took += begin.elapsed();
                }
                took
            });
        });
        let _ = ring.unlink();
    }
    group.finish();
}

criterion_group!(benches, pump);
criterion_main!(benches);
