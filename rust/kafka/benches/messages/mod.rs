//! Exchanges as `kafka-protocol` writes them, and a host that shows them to a tap and takes the facts out after each call.

use std::hint::black_box;
use std::sync::Arc;

use auditring_kafka::{Facts, Tap, Topics};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};
use uuid::Uuid;

/// The versions of today's clients: topics go by their ids.
const PRODUCE: i16 = 13;
const FETCH: i16 = 17;
const METADATA: i16 = 12;
const TOPIC_ID: Uuid = Uuid::from_u128(0x0123_4567_89AB_4DEF_8123_4567_89AB_CDEF);

/// A request and its answer.
pub type Messages = (Vec<u8>, Vec<u8>);

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

/// A Fetch that brings a batch of so many bytes from each of so many partitions; of none, nothing.
pub fn fetch(partitions: i32, bytes: usize) -> Messages {
    let partition =
        |index| PartitionData::default().with_partition_index(index).with_records(Some(batch(bytes).into()));
    let topic = FetchableTopicResponse::default()
        .with_topic_id(TOPIC_ID)
        .with_partitions((0..partitions).map(partition).collect());
    let told = FetchResponse::default().with_responses(Some(topic).filter(|_| partitions > 0).into_iter().collect());
    (request(FETCH, &FetchRequest::default()), answer(FETCH, &told))
}

/// A Produce likewise.
pub fn produce(partitions: i32, bytes: usize) -> Messages {
    let partition = |index| PartitionProduceData::default().with_index(index).with_records(Some(batch(bytes).into()));
    let data = TopicProduceData::default()
        .with_topic_id(TOPIC_ID)
        .with_partition_data((0..partitions).map(partition).collect());
    let asked = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
    let partition = |index| PartitionProduceResponse::default().with_index(index).with_base_offset(5);
    let told = TopicProduceResponse::default().with_topic_id(TOPIC_ID);
    let told = told.with_partition_responses((0..partitions).map(partition).collect());
    (request(PRODUCE, &asked), answer(PRODUCE, &ProduceResponse::default().with_responses(vec![told])))
}

/// What tells the name of the topic.
fn metadata() -> Messages {
    let name = TopicName(StrBytes::from_static_str("orders"));
    let topic = MetadataResponseTopic::default().with_name(Some(name)).with_topic_id(TOPIC_ID);
    let told = MetadataResponse::default().with_topics(vec![topic]);
    (request(METADATA, &MetadataRequest::default()), answer(METADATA, &told))
}

/// A host.
pub struct Seen {
    tap: Tap,
    facts: Facts,
    events: usize,
}

impl Seen {
    /// Has seen what topics are called, and what the client calls itself.
    pub fn new() -> Self {
        let tap = Tap::new(Some("edge"), Arc::new(Topics::new(1000)));
        let mut seen = Self { tap, facts: Facts::default(), events: 0 };
        seen.exchange(&metadata(), usize::MAX);
        seen
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
    pub fn exchange(&mut self, (client, broker): &Messages, chunk: usize) -> usize {
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
