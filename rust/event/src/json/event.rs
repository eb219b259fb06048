//! One event as its line, from its columns alone: for rows that come back out of the table.

use super::dialect::Dialect;
use super::line::is_class;
use super::session::{actor_principals, member, number, plain_principals, session_uuid};
use super::time::Clock;
use crate::context::principal_name;
use crate::event::{Cell, Event};
use crate::flat::quote;
use crate::spec::{Column, Origin};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Members of texts and numbers, in the order in which they lie; the name is the column's.
const PLAIN: &[&[Column]] = &[
    &[Column::Process, Column::Seq, Column::Instance, Column::Host, Column::Category, Column::Outcome],
    &[Column::Authority, Column::Origin],
    &[Column::Filter, Column::Tap, Column::Session, Column::VirtualCluster, Column::ClientId, Column::Listener],
    &[Column::PeerPort, Column::Server, Column::ServerLocal, Column::NodeId, Column::Mechanism, Column::Initiator],
    &[Column::AttemptedPrincipal, Column::Operation, Column::ResourceType, Column::Resource, Column::Partition],
];

/// Appends the line of an event, ended by `\n`: what [`super::lines`] writes of its row.
///
/// Times of the table are microseconds, so `endTime` can be coarser than in the row's own line.
pub fn line(dialect: Dialect, event: &Event, out: &mut Vec<u8>) {
    let is_client = event.text(Column::Origin) == Some(Origin::Client.word());
    let principals: Vec<Cow<'_, str>> = match event.get(Column::Principals) {
        Some(Cell::Texts(list)) => list.iter().map(|one| Cow::Borrowed(one.as_str())).collect(),
        _ => Vec::new(),
    };
    let mut clock = Clock::new();
    out.extend_from_slice(b"{\"time\":");
    clock.write(out, event.int(Column::TimeNs).unwrap_or_default());
    let action = event.text(Column::Action).map(|name| dialect.action(name, event.text(Column::Operation)));
    text(out, "action", action.as_deref());
    for (name, column) in [("status", Column::Status), ("reason", Column::Reason)] {
        text(out, name, event.text(column));
    }
    actor(out, event, is_client, &principals);
    let given = object_ref(out, event);
    pair(
        out,
        "correlation",
        [
            ("clientCorrelationId", event.int(Column::ClientCorrelationId)),
            ("serverCorrelationId", event.int(Column::ServerCorrelationId)),
        ],
    );
    if let Some(Cell::Map(map)) = event.get(Column::Context) {
        value(out, "context", &Value::Object(map.clone()));
    }
    int(out, "timeNanos", event.int(Column::TimeNs));
    int(out, "ageNanos", event.int(Column::AgeNs));
    let (process, seq) = (event.text(Column::Process).unwrap_or_default(), event.int(Column::Seq).unwrap_or_default());
    member(out, "eventId", &format!("{process}:{seq}"));
    for column in PLAIN[..2].concat() {
        plain(out, event, column);
    }
    if !is_client {
        plain_principals(out, &principals);
        text(out, "peerIp", event.text(Column::PeerIp));
    }
    let first = principals.first().map(|first| principal_name(first));
    text(out, "principal", event.text(Column::Principal).filter(|name| Some(*name) != first));
    for column in PLAIN[2..].concat() {
        plain(out, event, column);
    }
    pair(out, "offsets", [("first", event.int(Column::FirstOffset)), ("last", event.int(Column::LastOffset))]);
    int(out, "records", event.int(Column::Records));
    int(out, "bytes", event.int(Column::Bytes));
    int(out, "durationNanos", event.int(Column::DurationNs));
    text(out, "api", event.text(Column::Api));
    int(out, "count", event.int(Column::Count));
    int(out, "weight", event.int(Column::Weight));
    if let Some(end) = event.int(Column::EndTime) {
        out.extend_from_slice(b",\"endTime\":");
        clock.write(out, end);
    }
    int(out, "lost", event.int(Column::Lost));
    if !given.is_empty() {
        value(out, "objectRefGiven", &Value::Array(given));
    }
    out.extend_from_slice(b"}\n");
}

/// Who acts: the client, the filter by its class, or the proxy.
fn actor(out: &mut Vec<u8>, event: &Event, is_client: bool, principals: &[Cow<'_, str>]) {
    out.extend_from_slice(b",\"actor\":{\"type\":");
    if is_client {
        quote(out, "Client");
        text(out, "srcAddr", event.text(Column::PeerIp));
        text(out, "session", event.text(Column::Session).map(session_uuid).as_deref());
        actor_principals(out, principals);
    } else if let Some(class) = event.text(Column::Filter).filter(|name| is_class(name)) {
        quote(out, class);
    } else {
        quote(out, "Proxy");
        text(out, "executionId", event.text(Column::Process));
    }
    out.push(b'}');
}

/// Upstream's names, in the order in which a row's own line comes to them.
const DERIVED: [&str; 7] = ["vc", "topicName", "groupId", "transactionalId", "partition", "addr", "nodeId"];

/// The object by upstream's names and the caller's own; returns which of the names the caller has given.
fn object_ref(out: &mut Vec<u8>, event: &Event) -> Vec<Value> {
    let mut all: Map<String, Value> = event.derived_object_ref();
    let mut given = Vec::new();
    if let Some(Cell::Map(own)) = event.get(Column::ObjectRef) {
        given.extend(
            DERIVED.into_iter().filter(|key| own.contains_key(*key) && all.contains_key(*key)).map(Value::from),
        );
        all.extend(own.clone());
    }
    if !all.is_empty() {
        value(out, "objectRef", &Value::Object(all));
    }
    given
}

fn plain(out: &mut Vec<u8>, event: &Event, column: Column) {
    let name = super::name(column);
    match event.get(column) {
        Some(Cell::Text(text)) => member(out, &name, text),
        Some(Cell::Int(number)) => int(out, &name, Some(*number)),
        _ => {}
    }
}

fn text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        member(out, name, value);
    }
}

fn int(out: &mut Vec<u8>, name: &str, value: Option<i64>) {
    if let Some(value) = value {
        number(out, &format!(",\"{name}\":"), value);
    }
}

fn value(out: &mut Vec<u8>, name: &str, value: &Value) {
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

/// An object of at most two numbers.
fn pair(out: &mut Vec<u8>, name: &str, members: [(&str, Option<i64>); 2]) {
    let map: Map<_, _> =
        members.into_iter().filter_map(|(key, number)| Some((key.to_owned(), Value::from(number?)))).collect();
    if !map.is_empty() {
        value(out, name, &Value::Object(map));
    }
}
