//! One event as a line for people.
//!
//! ```text
//! 2026-11-23T20:15:00.123456Z denied    OperationDenied        alice        WRITE Topic salaries status=… peer=10.1.2.3:50412 …
//! ```
//!
//! When, with what outcome, what, who, on which object; then details by name. What must always hold: a line is one line,
//! nothing in it acts on the terminal but our own colours, a value with a space in it is quoted, and a name that somebody
//! else has given stands behind `ref.`, so that nothing can pass for a field that it is not, or for one that is missing.

use crate::event::{Cell, Event};
use crate::flat::CAUSE_SESSION_KEY;
use crate::json::{Clock, Values};
use crate::plan::{Plan, Plans};
use crate::row::RowView;
use crate::spec::{Authority, Category, Column, ColumnType, Origin, Outcome};
use crate::visible::visible;
use crate::{Context, Malformed, RowRef, RowSet, record};
use serde_json::{Map, Value};
use std::borrow::Cow;

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

/// What a line is made of, wherever it comes from.
trait Fields {
    fn text(&self, column: Column) -> Option<&str>;
    fn int(&self, column: Column) -> Option<i64>;
    fn object_ref(&self) -> Option<Cow<'_, Map<String, Value>>>;
    fn context_value(&self, key: &str) -> Option<Cow<'_, Value>>;
}

impl Fields for Event {
    fn text(&self, column: Column) -> Option<&str> {
        self.text(column)
    }

    fn int(&self, column: Column) -> Option<i64> {
        self.int(column)
    }

    fn object_ref(&self) -> Option<Cow<'_, Map<String, Value>>> {
        match self.get(Column::ObjectRef) {
            Some(Cell::Map(map)) => Some(Cow::Borrowed(map)),
            _ => None,
        }
    }

    fn context_value(&self, key: &str) -> Option<Cow<'_, Value>> {
        match self.get(Column::Context) {
            Some(Cell::Map(map)) => map.get(key).map(Cow::Borrowed),
            _ => None,
        }
    }
}

/// A row of a set, of which nothing is copied.
struct Row<'a> {
    set: &'a RowSet,
    at: &'a RowRef,
    view: RowView<'a>,
    plan: &'a Plan<'a>,
    values: &'a Values<'a>,
    context: Option<&'a Context>,
}

impl Fields for Row<'_> {
    fn text(&self, column: Column) -> Option<&str> {
        match column {
            Column::Instance => return Some(&self.set.identity.instance),
            Column::Outcome => return Some(self.view.outcome().word()),
            Column::Origin => return record::origin(self.view.bits()).map(Origin::word),
            Column::Authority => return record::authority(self.view.bits()).map(Authority::word),
            Column::Category => return Some(self.plan.category.word()),
            Column::Action => return self.plan.action.or(self.values.text(column)),
            _ => {}
        }
        let inherited = || {
            let context = self.context?;
            match column {
                Column::Principal => context.first_principal(),
                Column::Mechanism => context.mechanism.as_deref(),
                Column::Server => context.server.as_deref(),
                Column::VirtualCluster => context.virtual_cluster.as_deref(),
                Column::ClientId => context.client_id.as_deref(),
                Column::Tap => context.tap.as_deref(),
                Column::Filter => context.filter.as_deref(),
                Column::PeerIp => context.peer_ip.as_deref(),
                Column::Session => context.session.as_deref(),
                _ => None,
            }
        };
        self.values.text(column).or(self.plan.constant(column)).or_else(inherited)
    }

    fn int(&self, column: Column) -> Option<i64> {
        match column {
            Column::TimeNs => Some(self.view.time_ns()),
            Column::Count => Some(self.at.count.into()),
            Column::Weight => Some(self.at.weight.into()),
            Column::PeerPort => self.context?.peer_port.map(i64::from),
            _ => self.values.int(column),
        }
    }

    fn object_ref(&self) -> Option<Cow<'_, Map<String, Value>>> {
        self.values.details.has_object_ref().then(|| self.values.details.object_ref().ok().map(Cow::Owned))?
    }

    fn context_value(&self, key: &str) -> Option<Cow<'_, Value>> {
        let inherited = || self.context?.context.as_ref()?.get(key).map(Cow::Borrowed);
        self.values.details.context_value(key).map(Cow::Owned).or_else(inherited)
    }
}

/// Appends the line of an event, ended by `\n`.
pub fn line(event: &Event, colour: bool, out: &mut Vec<u8>) {
    write(event, colour, &mut Clock::new(), out);
}

/// Appends each row as a line.
///
/// # Errors
/// If a row is malformed; then nothing is appended.
pub fn lines(set: &RowSet, colour: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let begin = out.len();
    let written = rows(set, colour, out);
    if written.is_err() {
        out.truncate(begin);
    }
    written
}

fn rows(set: &RowSet, colour: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut plans = Plans::new(set);
    let mut values = Values::new();
    let mut clock = Clock::new();
    for at in &set.rows {
        let view = set.row(at)?;
        record::check_bits(view.bits())?;
        let plan = plans.position(view.code())?;
        values.clear();
        plans.get(plan).follow(&view, &mut values)?;
        if values.details.has_object_ref() {
            values.details.object_ref()?;
        }
        let row = Row { set, at, view, plan: plans.get(plan), values: &values, context: set.context(&view) };
        write(&row, colour, &mut clock, out);
    }
    Ok(())
}

fn write(event: &impl Fields, colour: bool, clock: &mut Clock, out: &mut Vec<u8>) {
    let mut line = Line { out, colour };
    line.time(clock, event.int(Column::TimeNs).unwrap_or_default());
    let outcome = event.text(Column::Outcome).unwrap_or_default();
    let bad = [Outcome::Failure.word(), Outcome::Denied.word()].contains(&outcome);
    line.field(if bad { RED } else { GREEN }, OUTCOME, |out| quoted(out, outcome));
    let ours = event.text(Column::Category) == Some(Category::Audit.word());
    let action = event.text(Column::Action).unwrap_or_default();
    line.field(if ours { YELLOW } else { "" }, ACTION, |out| quoted(out, action));
    line.field(CYAN, WHO, |out| or_none(out, event.text(Column::Principal)));
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
        // Of UTF-8 every character has one byte that is no continuation.
        let chars = self.out[begin..].iter().filter(|byte| *byte & 0xC0 != 0x80).count();
        if coloured {
            self.out.extend_from_slice(OFF.as_bytes());
        }
        self.out.resize(self.out.len() + width.saturating_sub(chars), b' ');
        self.out.push(b' ');
    }

    /// The wall time, to the microsecond.
    fn time(&mut self, clock: &mut Clock, time_ns: i64) {
        self.field(DIM, 0, |out| {
            // In quotes and with nanoseconds, of which the first six digits are kept.
            let mut text = Vec::with_capacity(32);
            clock.write(&mut text, time_ns);
            out.extend_from_slice(&text[1..27]);
            out.push(b'Z');
        });
    }

    /// What was done to which object.
    fn object(&mut self, event: &impl Fields) {
        for column in [Column::Operation, Column::ResourceType] {
            if let Some(text) = event.text(column) {
                self.field("", 0, |out| quoted(out, text));
            }
        }
        let partition = event.int(Column::Partition);
        if event.text(Column::Resource).is_some() || partition.is_some() {
            self.field("", 0, |out| {
                or_none(out, event.text(Column::Resource));
                if let Some(partition) = partition {
                    out.push(b'[');
                    number(out, partition);
                    out.push(b']');
                }
            });
        }
        if let Some(first) = event.int(Column::FirstOffset) {
            let last = event.int(Column::LastOffset).unwrap_or(first);
            self.field("", 0, |out| {
                number(out, first);
                out.extend_from_slice(b"..");
                number(out, last);
            });
        }
    }

    fn details(&mut self, event: &impl Fields) {
        for (name, column) in DETAILS {
            if matches!(column.spec().kind, ColumnType::Int64 | ColumnType::Int32) {
                if let Some(value) = event.int(*column) {
                    self.detail(name, |out| number(out, value));
                }
            } else if let Some(text) = event.text(*column) {
                self.detail(name, |out| quoted(out, text));
            }
        }
        let category = event.text(Column::Category);
        let authentication = category == Some(Category::Authentication.word());
        if let Some(mechanism) = event.text(Column::Mechanism).filter(|_| authentication) {
            self.detail("mechanism", |out| quoted(out, mechanism));
        }
        let judged = authentication || category == Some(Category::Authorization.word());
        if let Some(authority) = event.text(Column::Authority).filter(|_| judged) {
            self.detail("authority", |out| quoted(out, authority));
        }
        if event.text(Column::Origin) != Some(Origin::Client.word()) {
            let by = event.text(Column::Filter).or(event.text(Column::Origin)).unwrap_or_default();
            self.detail("by", |out| quoted(out, by));
        }
        if let Some(cause) = event.context_value(CAUSE_SESSION_KEY).as_deref().and_then(Value::as_str) {
            self.detail("cause", |out| quoted(out, cause));
        }
        if let Some(map) = event.object_ref() {
            for (key, value) in map.iter() {
                let name = |out: &mut Vec<u8>| {
                    out.extend_from_slice(b"ref.");
                    quoted(out, key);
                };
                self.named(name, |out| quoted(out, value.as_str().unwrap_or_default()));
            }
        }
        if let Some(status) = event.context_value("http.response.status_code").as_deref().and_then(Value::as_i64) {
            self.detail("http", |out| number(out, status));
        }
        let stands_for = event.int(Column::Count).unwrap_or(1) * event.int(Column::Weight).unwrap_or(1);
        if stands_for != 1 {
            self.detail("events", |out| number(out, stands_for));
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
        self.named(|out| out.extend_from_slice(name.as_bytes()), write);
    }

    fn named(&mut self, name: impl FnOnce(&mut Vec<u8>), write: impl FnOnce(&mut Vec<u8>)) {
        if self.colour {
            self.out.extend_from_slice(DIM.as_bytes());
        }
        name(self.out);
        self.out.push(b'=');
        if self.colour {
            self.out.extend_from_slice(OFF.as_bytes());
        }
        write(self.out);
        self.out.push(b' ');
    }
}

fn number(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A value as one word, or the sign that there is none.
fn or_none(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => quoted(out, text),
        None => out.push(b'-'),
    }
}

/// A value as one word: quoted where it is none, or where it is the sign of an absent one.
fn quoted(out: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && text != "-" && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '=')) {
        visible(out, text);
        return;
    }
    out.push(b'"');
    // Backslashes too, or one before a quote would let the quote end the value.
    visible(out, &text.replace('\\', r"\\").replace('"', r#"\""#));
    out.push(b'"');
}
