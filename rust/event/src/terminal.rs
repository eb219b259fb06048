//! One event as a line for people.
//!
//! ```text
//! 2026-11-23T20:15:00.123456Z denied    OperationDenied        alice        WRITE Topic salaries status=… peer=10.1.2.3:50412 …
//! ```
//!
//! When, with what outcome, what, who, on which object; then details by name. What must always hold: a line is one line,
//! nothing in it acts on the terminal but our own colours, and a value with a space in it is quoted, so that none can
//! pass for a field that it is not.

use crate::event::{Cell, Event};
use crate::json::Clock;
use crate::spec::{Category, Column, Origin, Outcome};
use crate::visible::visible;
use serde_json::Value;

/// Widths of the columns that everybody reads first.
const OUTCOME: usize = 9;
const ACTION: usize = 22;
const WHO: usize = 12;

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const OFF: &str = "\x1b[0m";

/// Details by name, behind what every line has.
const DETAILS: &[(&str, Column)] = &[
    ("status", Column::Status),
    ("reason", Column::Reason),
    ("attempted", Column::AttemptedPrincipal),
    ("initiator", Column::Initiator),
    ("records", Column::Records),
    ("lost", Column::Lost),
    ("server", Column::Server),
    ("cluster", Column::VirtualCluster),
    ("client", Column::ClientId),
    ("tap", Column::Tap),
];

/// Appends the line of an event, ended by `\n`.
pub fn line(event: &Event, colour: bool, out: &mut Vec<u8>) {
    let mut line = Line { out, colour };
    line.time(event.int(Column::TimeNs).unwrap_or_default());
    let outcome = event.text(Column::Outcome).unwrap_or_default();
    let bad = [Outcome::Failure.word(), Outcome::Denied.word()].contains(&outcome);
    line.field(if bad { RED } else { GREEN }, OUTCOME, |out| quoted(out, outcome));
    let ours = event.text(Column::Category) == Some(Category::Audit.word());
    let action = event.text(Column::Action).unwrap_or_default();
    line.field(if ours { YELLOW } else { "" }, ACTION, |out| quoted(out, action));
    line.field(CYAN, WHO, |out| quoted(out, event.text(Column::Principal).unwrap_or("-")));
    line.object(event);
    line.details(event);
    line.out.push(b'\n');
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    colour: bool,
}

impl Line<'_> {
    /// One field in its colour, filled up to a width, with a space behind it.
    fn field(&mut self, colour: &str, width: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let coloured = self.colour && !colour.is_empty();
        if coloured {
            self.out.extend_from_slice(colour.as_bytes());
        }
        let begin = self.out.len();
        write(self.out);
        let chars = String::from_utf8_lossy(&self.out[begin..]).chars().count();
        if coloured {
            self.out.extend_from_slice(OFF.as_bytes());
        }
        self.out.resize(self.out.len() + width.saturating_sub(chars), b' ');
        self.out.push(b' ');
    }

    /// The wall time, to the microsecond.
    fn time(&mut self, time_ns: i64) {
        self.field(DIM, 0, |out| {
            let begin = out.len();
            Clock::new().write(out, time_ns);
            out.remove(begin);
            out.truncate(begin + "2026-11-23T20:15:00.123456".len());
            out.push(b'Z');
        });
    }

    /// What was done to which object.
    fn object(&mut self, event: &Event) {
        for column in [Column::Operation, Column::ResourceType] {
            if let Some(text) = event.text(column) {
                self.field("", 0, |out| quoted(out, text));
            }
        }
        let partition = event.int(Column::Partition);
        if event.text(Column::Resource).is_some() || partition.is_some() {
            self.field("", 0, |out| {
                quoted(out, event.text(Column::Resource).unwrap_or("-"));
                if let Some(partition) = partition {
                    out.extend_from_slice(format!("[{partition}]").as_bytes());
                }
            });
        }
        if let Some(first) = event.int(Column::FirstOffset) {
            let last = event.int(Column::LastOffset).unwrap_or(first);
            self.field("", 0, |out| out.extend_from_slice(format!("{first}..{last}").as_bytes()));
        }
    }

    fn details(&mut self, event: &Event) {
        for (name, column) in DETAILS {
            match event.get(*column) {
                Some(Cell::Text(text)) => self.detail(name, |out| quoted(out, text)),
                Some(Cell::Int(number)) => {
                    self.detail(name, |out| out.extend_from_slice(number.to_string().as_bytes()))
                }
                _ => {}
            }
        }
        if let Some(mechanism) = event.text(Column::Mechanism)
            && event.text(Column::Category) == Some(Category::Authentication.word())
        {
            self.detail("mechanism", |out| quoted(out, mechanism));
        }
        if event.text(Column::Origin) != Some(Origin::Client.word()) {
            let by = event.text(Column::Filter).or(event.text(Column::Origin)).unwrap_or_default();
            self.detail("by", |out| quoted(out, by));
        }
        if let Some(Cell::Map(map)) = event.get(Column::ObjectRef) {
            for (key, value) in map {
                self.detail("", |out| {
                    quoted(out, key);
                    out.push(b'=');
                    quoted(out, value.as_str().unwrap_or_default());
                });
            }
        }
        if let Some(Value::Number(status)) = context(event, "http.response.status_code") {
            self.detail("http", |out| out.extend_from_slice(status.to_string().as_bytes()));
        }
        let stands_for = event.int(Column::Count).unwrap_or(1) * event.int(Column::Weight).unwrap_or(1);
        if stands_for != 1 {
            self.detail("events", |out| out.extend_from_slice(stands_for.to_string().as_bytes()));
        }
        if let Some(ip) = event.text(Column::PeerIp) {
            self.detail("peer", |out| match event.int(Column::PeerPort) {
                Some(port) if ip.contains(':') => quoted(out, &format!("[{ip}]:{port}")),
                Some(port) => quoted(out, &format!("{ip}:{port}")),
                None => quoted(out, ip),
            });
        }
        for (name, column) in [("session", Column::Session), ("instance", Column::Instance)] {
            if let Some(text) = event.text(column) {
                self.detail(name, |out| quoted(out, text));
            }
        }
        self.out.pop();
    }

    fn detail(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !name.is_empty() {
            if self.colour {
                self.out.extend_from_slice(DIM.as_bytes());
            }
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b'=');
            if self.colour {
                self.out.extend_from_slice(OFF.as_bytes());
            }
        }
        write(self.out);
        self.out.push(b' ');
    }
}

fn context<'a>(event: &'a Event, key: &str) -> Option<&'a Value> {
    match event.get(Column::Context) {
        Some(Cell::Map(map)) => map.get(key),
        _ => None,
    }
}

/// A value as one word: quoted where it is none.
fn quoted(out: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && !text.contains([' ', '"', '=']) {
        visible(out, text);
        return;
    }
    out.push(b'"');
    for (i, part) in text.split('"').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\\\"");
        }
        visible(out, part);
    }
    out.push(b'"');
}
