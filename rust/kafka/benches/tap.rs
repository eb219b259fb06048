//! What a tap costs: bytes a second where batches are large, and time an event where they are small.
//!
//! The messages are those of `kafka-protocol`; facts are taken out after each call, as a host does, but go nowhere.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::sync::Arc;

use auditring_kafka::{Facts, Tap, Topics};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};

const PRODUCE: i16 = 12;
const FETCH: i16 = 12;
/// What a proxy reads at once.
const CHUNK: usize = 64 * 1024;
const LARGE: usize = 100 * 1024;

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn request<R: Request>(version: i16, message: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut out = Vec::new();
    header.encode(&mut out, R::header_version(version)).expect("a header");
    message.encode(&mut out, version).expect("a message");
    frame(&out)
}

fn answer<R: Encodable + HeaderVersion>(version: i16, message: &R) -> Vec<u8> {
    let mut out = Vec::new();
    let header = ResponseHeader::default().with_correlation_id(7);
    header.encode(&mut out, R::header_version(version)).expect("a header");
    message.encode(&mut out, version).expect("a message");
    frame(&out)
}

/// A batch of ten records of so many bytes in all.
fn batch(bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&1000i64.to_be_bytes());
    out.extend_from_slice(&(49 + bytes as i32).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&9i32.to_be_bytes());
    out.extend_from_slice(&[0; 30]);
    out.extend_from_slice(&10i32.to_be_bytes());
    out.resize(out.len() + bytes, 0xAB);
    out
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

fn fetch(partitions: i32, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let partition =
        |index| PartitionData::default().with_partition_index(index).with_records(Some(batch(bytes).into()));
    let topic =
        FetchableTopicResponse::default().with_topic(topic()).with_partitions((0..partitions).map(partition).collect());
    let told = FetchResponse::default().with_responses(vec![topic]);
    (request(FETCH, &FetchRequest::default()), answer(FETCH, &told))
}

fn produce(partitions: i32, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let partition = |index| PartitionProduceData::default().with_index(index).with_records(Some(batch(bytes).into()));
    let data =
        TopicProduceData::default().with_name(topic()).with_partition_data((0..partitions).map(partition).collect());
    let asked = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
    let partition = |index| PartitionProduceResponse::default().with_index(index).with_base_offset(5);
    let told = TopicProduceResponse::default().with_name(topic());
    let told = told.with_partition_responses((0..partitions).map(partition).collect());
    (request(PRODUCE, &asked), answer(PRODUCE, &ProduceResponse::default().with_responses(vec![told])))
}

struct Seen {
    tap: Tap,
    facts: Facts,
    events: usize,
}

impl Seen {
    fn new() -> Self {
        Self { tap: Tap::new(Some("edge"), Arc::new(Topics::new(1000))), facts: Facts::default(), events: 0 }
    }

    fn client(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.tap.from_client(bytes, &mut self.facts)..];
            self.take_out();
        }
    }

    fn broker(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.tap.from_broker(bytes, &mut self.facts)..];
            self.take_out();
        }
    }

    fn take_out(&mut self) {
        self.events += black_box(self.facts.items()).len();
        self.facts.clear();
    }

    /// One exchange, in chunks, and how many events came of it.
    fn exchange(&mut self, (client, broker): &(Vec<u8>, Vec<u8>), chunk: usize) -> usize {
        self.events = 0;
        for bytes in client.chunks(chunk) {
            self.client(bytes);
        }
        for bytes in broker.chunks(chunk) {
            self.broker(bytes);
        }
        self.events
    }
}

/// Measures an exchange that makes so many events, a byte or an event at a time.
fn measure(c: &mut Criterion, name: &str, bytes: &(Vec<u8>, Vec<u8>), chunk: usize, per: Throughput, events: usize) {
    let mut seen = Seen::new();
    // The first one says what the client calls itself too.
    seen.exchange(bytes, chunk);
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
