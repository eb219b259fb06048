//! A line read back: every column of the event that it tells of.

use super::time;
use crate::event::{Cell, Event};
use crate::spec::Column;
use serde_json::{Map, Value};

/// Why a line is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of this log: {0}")]
pub struct NotOurs(String);

/// Members that are columns as they are: text.
const TEXTS: &[(&str, Column)] = &[
    ("action", Column::Action),
    ("status", Column::Status),
    ("reason", Column::Reason),
    ("process", Column::Process),
    ("instance", Column::Instance),
    ("host", Column::Host),
    ("category", Column::Category),
    ("outcome", Column::Outcome),
    ("authority", Column::Authority),
    ("origin", Column::Origin),
    ("filter", Column::Filter),
    ("tap", Column::Tap),
    ("initiator", Column::Initiator),
    ("session", Column::Session),
    ("virtualCluster", Column::VirtualCluster),
    ("clientId", Column::ClientId),
    ("listener", Column::Listener),
    ("peerIp", Column::PeerIp),
    ("server", Column::Server),
    ("serverLocal", Column::ServerLocal),
    ("attemptedPrincipal", Column::AttemptedPrincipal),
    ("mechanism", Column::Mechanism),
    ("operation", Column::Operation),
    ("resourceType", Column::ResourceType),
    ("resource", Column::Resource),
    ("api", Column::Api),
];

/// Members that are columns as they are: numbers.
const INTS: &[(&str, Column)] = &[
    ("timeNanos", Column::TimeNs),
    ("ageNanos", Column::AgeNs),
    ("seq", Column::Seq),
    ("peerPort", Column::PeerPort),
    ("nodeId", Column::NodeId),
    ("partition", Column::Partition),
    ("records", Column::Records),
    ("bytes", Column::Bytes),
    ("durationNanos", Column::DurationNs),
    ("count", Column::Count),
    ("weight", Column::Weight),
    ("lost", Column::Lost),
];

/// The event of a line.
///
/// # Errors
/// If it is not a line that [`super::lines`] wrote: also if it says one thing twice and differently, or has a member that
/// nobody here writes.
pub fn parse(line: &[u8]) -> Result<Event, NotOurs> {
    let object: Map<String, Value> = serde_json::from_slice(line).map_err(|why| NotOurs(why.to_string()))?;
    let mut line = Line { object, event: Event::default() };
    for (name, column) in TEXTS {
        let text = line.text(name)?;
        line.event.set(*column, text.map(Cell::Text));
    }
    for (name, column) in INTS {
        let number = line.int(name)?;
        line.event.set(*column, number.map(Cell::Int));
    }
    line.times()?;
    line.actor()?;
    line.numbers_of(
        "correlation",
        &[("clientCorrelationId", Column::ClientCorrelationId), ("serverCorrelationId", Column::ServerCorrelationId)],
    )?;
    line.numbers_of("offsets", &[("first", Column::FirstOffset), ("last", Column::LastOffset)])?;
    line.maps()?;
    match line.object.keys().next() {
        None => Ok(line.event),
        Some(unknown) => Err(NotOurs(format!("unknown member `{unknown}`"))),
    }
}

/// What is left of a line, and the event so far.
struct Line {
    object: Map<String, Value>,
    event: Event,
}

impl Line {
    fn text(&mut self, name: &str) -> Result<Option<String>, NotOurs> {
        match self.object.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name)),
        }
    }

    fn int(&mut self, name: &str) -> Result<Option<i64>, NotOurs> {
        self.object.remove(name).map(|value| value.as_i64().ok_or_else(|| wrong(name))).transpose()
    }

    fn map(&mut self, name: &str) -> Result<Option<Map<String, Value>>, NotOurs> {
        match self.object.remove(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(wrong(name)),
        }
    }

    fn numbers_of(&mut self, name: &str, members: &[(&str, Column)]) -> Result<(), NotOurs> {
        let Some(map) = self.map(name)? else { return Ok(()) };
        for (member, column) in members {
            if let Some(number) = map.get(*member) {
                let number = number.as_i64().ok_or_else(|| wrong(name))?;
                self.event.set(*column, Some(Cell::Int(number)));
            }
        }
        Ok(())
    }

    fn times(&mut self) -> Result<(), NotOurs> {
        let read = |text: Option<String>, name| match text {
            Some(text) => time::parse(&text).map(Some).ok_or_else(|| wrong(name)),
            None => Ok(None),
        };
        let time = read(self.text("time")?, "time")?;
        if time.is_none() || time != self.event.int(Column::TimeNs) {
            return Err(wrong("time"));
        }
        self.event.set(Column::Time, time.map(Cell::Int));
        let end = read(self.text("endTime")?, "endTime")?;
        self.event.set(Column::EndTime, end.map(Cell::Int));
        let (process, seq) = (self.event.text(Column::Process), self.event.int(Column::Seq));
        let id = process.zip(seq).map(|(process, seq)| format!("{process}:{seq}"));
        if id.is_none() || self.text("eventId")? != id { Err(wrong("eventId")) } else { Ok(()) }
    }

    fn actor(&mut self) -> Result<(), NotOurs> {
        let actor = self.map("actor")?.ok_or_else(|| wrong("actor"))?;
        let ip = actor.get("srcAddr").and_then(Value::as_str).map(str::to_owned).map(Cell::Text);
        if ip.is_some() {
            self.event.set(Column::PeerIp, ip);
        }
        let own = self.object.remove("principals");
        let list = own.as_ref().or(actor.get("principals")).and_then(Value::as_array).cloned().unwrap_or_default();
        let principals: Vec<String> = list.iter().filter_map(principal).collect();
        let first = principals.first().map(|first| crate::context::principal_name(first).to_owned());
        let name = self.text("principal")?.or(first);
        self.event.set(Column::Principal, name.map(Cell::Text));
        self.event.set(Column::Principals, Some(Cell::Texts(principals)));
        Ok(())
    }

    fn maps(&mut self) -> Result<(), NotOurs> {
        let context = self.map("context")?;
        self.event.set(Column::Context, context.map(Cell::Map));
        let given = match self.object.remove("objectRefGiven") {
            Some(Value::Array(names)) => names,
            None => Vec::new(),
            Some(_) => return Err(wrong("objectRefGiven")),
        };
        let mut own = self.map("objectRef")?.unwrap_or_default();
        for key in self.event.derived_object_ref().keys().filter(|key| !given.iter().any(|name| name == key.as_str())) {
            own.remove(key);
        }
        self.event.set(Column::ObjectRef, Some(Cell::Map(own)));
        Ok(())
    }
}

/// `Type:name` of a principal, as the actor or as the line has it.
fn principal(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let name = value.get("name")?.as_str()?;
    Some(match value.get("type").and_then(Value::as_str) {
        Some(kind) => format!("{kind}:{name}"),
        None => name.to_owned(),
    })
}

fn wrong(name: &str) -> NotOurs {
    NotOurs(format!("`{name}` is not what it should be"))
}
