//! Messages as they go over the wire, and what a tap says of them as lines of text.

use std::fmt::Write;
use std::sync::Arc;

use auditring_event::record::{Head, RecordView, STATUS, TAP, bits};
use auditring_event::{Kind, Origin};
use auditring_kafka::{Fact, Facts, Item, Tap, by_key};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};
use uuid::Uuid;

/// Topics by name, each with what is said of its partitions.
pub(crate) type Topics<'a, T> = [(&'a str, &'a [T])];

/// The id of every topic here, and how Kafka writes it.
pub(crate) const ID: Uuid = Uuid::from_u128(0x9770_a24e_a5aa_414a_a65f_b896_d03f_4071);
pub(crate) const ID_TEXT: &str = "l3CiTqWqQUqmX7iW0D9AcQ";

/// A connection with a tap, and all that it has said.
pub(crate) struct Connection {
    pub(crate) tap: Tap,
    pub(crate) topics: Arc<auditring_kafka::Topics>,
    pub(crate) facts: Facts,
    pub(crate) said: Vec<String>,
}

impl Default for Connection {
    fn default() -> Self {
        let topics = Arc::new(auditring_kafka::Topics::new(1000));
        let tap = Tap::new(None, Arc::clone(&topics));
        Self { tap, topics, facts: Facts::default(), said: Vec::new() }
    }
}

impl Connection {
    pub(crate) fn client(&mut self, mut bytes: &[u8]) -> &mut Self {
        loop {
            bytes = &bytes[self.tap.from_client(bytes, &mut self.facts)..];
            self.take_out();
            if bytes.is_empty() {
                return self;
            }
        }
    }

    pub(crate) fn broker(&mut self, mut bytes: &[u8]) -> &mut Self {
        loop {
            bytes = &bytes[self.tap.from_broker(bytes, &mut self.facts)..];
            self.take_out();
            if bytes.is_empty() {
                return self;
            }
        }
    }

    pub(crate) fn close(&mut self) -> &mut Self {
        while !self.tap.close(&mut self.facts) {
            self.take_out();
        }
        self.take_out();
        self
    }

    fn take_out(&mut self) {
        self.said.extend(self.facts.items().iter().map(|item| text(&self.facts, item)));
        self.facts.clear();
    }

    /// What was said since this was last asked, without what clients call themselves.
    pub(crate) fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said).into_iter().filter(|line| !line.starts_with("ClientId")).collect()
    }
}

/// One item as a line: `Write success topic=orders partition=3 …`; times differ from run to run, so they are only named.
pub(crate) fn text(facts: &Facts, item: &Item) -> String {
    match item {
        Item::Event(fact) => event(facts, fact),
        Item::Proved { event: fact, principal, mechanism } => {
            format!("{} ⇒ {} by {mechanism}", event(facts, fact), principal.as_deref().unwrap_or("?"))
        }
        Item::ClientId(name, _) => format!("ClientId {name}"),
    }
}

fn event(facts: &Facts, fact: &Fact) -> String {
    let body = facts.body(fact);
    let head = Head {
        stamp: 0,
        presence: fact.presence,
        code: fact.spec.code,
        bits: bits(fact.outcome, fact.spec.authority, Origin::Client),
        flags: fact.flags,
        context_id: 0,
        context_len: 0,
        body_len: body.len() as u32,
    };
    let mut record = vec![0; 32];
    head.write(&mut record);
    record.extend_from_slice(body);
    let view = RecordView::parse(&record).expect("a record");
    view.validate().expect("a record that can be read");
    let fields = view.fields();
    let mut out = format!("{} {}", fact.spec.name, fact.outcome.word());
    for (at, field) in fact.spec.fields.iter().enumerate() {
        match field.kind {
            _ if fact.presence & 1 << at == 0 => {}
            Kind::Int if field.name == "duration_ns" => out.push_str(" timed"),
            Kind::Int => write!(out, " {}={}", field.name, fields.int(1 << at).expect("it is there")).expect("text"),
            Kind::Str => write!(out, " {}={}", field.name, fields.text(1 << at).expect("it is there")).expect("text"),
        }
    }
    for (bit, name) in [(STATUS, "status"), (TAP, "tap")] {
        if let Some(value) = fields.text(bit) {
            write!(out, " {name}={value}").expect("text");
        }
    }
    out
}

/// A frame around bytes.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// A request of the client "app".
pub(crate) fn request<R: Request>(correlation_id: i32, version: i16, message: &R) -> Vec<u8> {
    request_of("app", correlation_id, version, message)
}

pub(crate) fn request_of<R: Request>(client: &str, correlation_id: i32, version: i16, message: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client.to_owned())));
    let mut out = Vec::new();
    header.encode(&mut out, R::header_version(version)).expect("a header");
    message.encode(&mut out, version).expect("a message");
    frame(&out)
}

/// An answer.
pub(crate) fn answer<R: Encodable + HeaderVersion>(correlation_id: i32, version: i16, message: &R) -> Vec<u8> {
    let mut out = Vec::new();
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut out, R::header_version(version)).expect("a header");
    message.encode(&mut out, version).expect("a message");
    frame(&out)
}

/// A request of which nothing but the header means anything.
pub(crate) fn header(key: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&correlation_id.to_be_bytes());
    out.extend_from_slice(b"\0\x03app");
    frame(&out)
}

/// A batch of the present format, whose records are so many bytes that mean nothing.
pub(crate) fn batch(base: i64, last_delta: i32, records: i32, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&base.to_be_bytes());
    out.extend_from_slice(&(49 + bytes as i32).to_be_bytes());
    out.extend_from_slice(&7i32.to_be_bytes());
    out.push(2);
    out.extend_from_slice(&[0xCC; 4]);
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&last_delta.to_be_bytes());
    out.extend_from_slice(&[0; 30]);
    out.extend_from_slice(&records.to_be_bytes());
    out.resize(out.len() + bytes, 0xAB);
    out
}

/// A message of an old format.
pub(crate) fn message(magic: u8, offset: i64, compressed: bool, bytes: usize) -> Vec<u8> {
    let rest = if magic == 1 { 22 } else { 14 };
    let mut out = Vec::new();
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&(rest + bytes as i32).to_be_bytes());
    out.extend_from_slice(&[0xCC; 4]);
    out.extend_from_slice(&[magic, u8::from(compressed)]);
    out.resize(12 + rest as usize + bytes, 0xAB);
    out
}

/// The versions of an API that the table has.
pub(crate) fn versions(key: i16) -> std::ops::RangeInclusive<i16> {
    let api = by_key(key).expect("in the table");
    api.first..=api.last
}

pub(crate) fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
