//! One line after the other.

use super::session::{Session, actor_principals, member, number, plain_principals};
use super::time::Clock;
use crate::details::Details;
use crate::flat::quote;
use crate::plan::{Detail, Place, Plan, Plans, Visitor};
use crate::row::RowView;
use crate::spec::{COLUMNS, Category, Column, Origin};
use crate::{Malformed, RowSet, record, sanitize};
use serde_json::{Map, Value};
use std::borrow::Cow;

const fn set_of(columns: &[Column]) -> u64 {
    let mut set = 0;
    let mut i = 0;
    while i < columns.len() {
        set |= 1 << columns[i] as u8;
        i += 1;
    }
    set
}

/// Columns that a row may say otherwise than its context.
const OVERRIDES: u64 = set_of(&[
    Column::Filter,
    Column::Tap,
    Column::Server,
    Column::ServerLocal,
    Column::NodeId,
    Column::Mechanism,
    Column::Principal,
]);
const _: () = assert!(COLUMNS.len() <= 64);

/// What one row says of its own.
struct Values<'a> {
    there: u64,
    ints: [i64; 64],
    texts: [&'a str; 64],
    details: Details<'a>,
}

impl<'a> Visitor<'a> for Values<'a> {
    #[inline]
    fn int(&mut self, column: Column, value: i64) {
        self.there |= 1 << column as u8;
        self.ints[column as usize & 63] = value;
    }

    #[inline]
    fn text(&mut self, column: Column, value: &'a [u8]) -> Result<(), Malformed> {
        self.texts[column as usize & 63] = std::str::from_utf8(value).map_err(|_| Malformed::Text)?;
        self.there |= 1 << column as u8;
        Ok(())
    }

    fn detail(&mut self, place: Place<'a>, value: Detail<'a>) {
        self.details.add(place, value);
    }
}

impl<'a> Values<'a> {
    #[inline]
    fn has(&self, column: Column) -> bool {
        self.there & 1 << column as u8 != 0
    }

    #[inline]
    fn int(&self, column: Column) -> Option<i64> {
        self.has(column).then(|| self.ints[column as usize & 63])
    }

    #[inline]
    fn text(&self, column: Column) -> Option<&'a str> {
        self.has(column).then(|| self.texts[column as usize & 63])
    }

    /// Appends `key` and the column's number, if it is there.
    #[inline]
    fn put_int(&self, out: &mut Vec<u8>, column: Column, key: &str) {
        if self.has(column) {
            number(out, key, self.ints[column as usize & 63]);
        }
    }

    /// Appends `key` and the column's text, if it is there.
    #[inline]
    fn put_text(&self, out: &mut Vec<u8>, column: Column, key: &str) {
        if self.has(column) {
            out.extend_from_slice(key.as_bytes());
            quote(out, self.texts[column as usize & 63]);
        }
    }

    /// Appends the row's own member, else the context's fragment.
    fn put_or(&self, out: &mut Vec<u8>, column: Column, key: &str, inherited: &[u8]) {
        if self.has(column) { self.put_text(out, column, key) } else { out.extend_from_slice(inherited) }
    }
}

pub(super) struct Writer<'a> {
    set: &'a RowSet,
    plans: Plans<'a>,
    clock: Clock,
    sessions: Vec<Option<Box<Session>>>,
    nobody: Session,
    /// `,"eventId":"<process>:` and `","process":…,"seq":` and `,"instance":…,"host":…`.
    process: [Vec<u8>; 3],
    /// `,"category":…,"outcome":…[,"authority":…],"origin":…` by plan and bits.
    words: Vec<Vec<u8>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(set: &'a RowSet) -> Self {
        let identity = &set.identity;
        let mut process = [Vec::new(), Vec::new(), Vec::new()];
        member(&mut process[0], "eventId", &format!("{}:", identity.process));
        process[0].pop();
        process[1].push(b'"');
        member(&mut process[1], "process", &identity.process);
        process[1].extend_from_slice(b",\"seq\":");
        member(&mut process[2], "instance", &identity.instance);
        member(&mut process[2], "host", &identity.host);
        Self {
            set,
            plans: Plans::new(set),
            clock: Clock::new(),
            sessions: set.contexts.iter().map(|_| None).collect(),
            nobody: Session::default(),
            process,
            words: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut values = Values { there: 0, ints: [0; 64], texts: [""; 64], details: Details::default() };
        for at in &self.set.rows {
            let row = self.set.row(at)?;
            record::check_bits(row.bits())?;
            let plan = self.plans.position(row.code())?;
            values.there = 0;
            values.details.clear();
            self.plans.get(plan).follow(&row, &mut values)?;
            self.line(out, &row, plan, at.seq, at.weight, &values)?;
        }
        Ok(())
    }

    #[inline]
    fn line(
        &mut self,
        out: &mut Vec<u8>,
        row: &RowView<'a>,
        plan: u16,
        seq: i64,
        weight: u32,
        values: &Values<'a>,
    ) -> Result<(), Malformed> {
        out.reserve(1024);
        let words = self.words(plan, row.bits());
        let context = self.set.context(row);
        if let (Some(place), Some(context)) = (self.sessions.get_mut(row.context() as usize), context)
            && place.is_none()
        {
            *place = Some(Box::new(Session::new(context)));
        }
        let session = self.sessions.get(row.context() as usize).and_then(Option::as_deref).unwrap_or(&self.nobody);
        let plan = self.plans.get(plan);
        let is_client = record::origin(row.bits()) == Some(Origin::Client);

        out.extend_from_slice(b"{\"time\":");
        self.clock.write(out, row.time_ns());
        out.extend_from_slice(b",\"action\":");
        quote(out, plan.action.or(values.text(Column::Action)).unwrap_or_default());
        values.put_text(out, Column::Status, ",\"status\":");
        values.put_text(out, Column::Reason, ",\"reason\":");
        let filter = || values.text(Column::Filter).or(context.and_then(|context| context.filter.as_deref()));
        if is_client && !values.has(Column::Principal) {
            out.extend_from_slice(if session.actor_client.is_empty() { NOBODY } else { &session.actor_client });
        } else {
            actor(out, is_client, values, session, filter(), &self.set.identity.process);
        }
        let given = object_ref(out, values, plan, session, context)?;
        correlation(out, values);
        // The key is written first and taken back where nothing follows it.
        let before = out.len();
        out.extend_from_slice(b",\"context\":");
        if !values.details.write_context(row.flags(), context, &session.details, out)? {
            out.truncate(before);
        }

        number(out, ",\"timeNanos\":", row.time_ns());
        number(out, ",\"ageNanos\":", row.age_ns());
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(seq).as_bytes();
        for part in [&self.process[0][..], digits, &self.process[1], digits, &self.process[2], &self.words[words]] {
            out.extend_from_slice(part);
        }
        if is_client && values.there & OVERRIDES == 0 {
            out.extend_from_slice(&session.beside_client);
        } else {
            beside(out, is_client, values, session);
        }
        fields(out, values, plan);
        out.extend_from_slice(b",\"count\":1");
        number(out, ",\"weight\":", weight.into());
        if let Some(end) = values.int(Column::EndTime) {
            out.extend_from_slice(b",\"endTime\":");
            self.clock.write(out, end);
        }
        values.put_int(out, Column::Lost, ",\"lost\":");
        if let Some(given) = given {
            out.extend_from_slice(b",\"objectRefGiven\":");
            out.extend_from_slice(given.to_string().as_bytes());
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    /// Position of the words of a plan and bits.
    #[inline]
    fn words(&mut self, plan: u16, bits: u8) -> usize {
        let at = usize::from(plan) * 256 + usize::from(bits);
        if self.words.get(at).is_none_or(Vec::is_empty) {
            self.render_words(at, plan, bits);
        }
        at
    }

    #[cold]
    fn render_words(&mut self, at: usize, plan: u16, bits: u8) {
        if self.words.len() <= at {
            self.words.resize_with(at + 1, Vec::new);
        }
        let words = &mut self.words[at];
        member(words, "category", self.plans.get(plan).category.word());
        if let Some(outcome) = record::outcome(bits) {
            member(words, "outcome", outcome.word());
        }
        if let Some(authority) = record::authority(bits) {
            member(words, "authority", authority.word());
        }
        if let Some(origin) = record::origin(bits) {
            member(words, "origin", origin.word());
        }
    }
}

/// The actor of a client's row without a context.
const NOBODY: &[u8] = b",\"actor\":{\"type\":\"Client\"}";

/// The row's own principal, as all principals.
fn own_principal(name: &str) -> [Cow<'_, str>; 1] {
    [Cow::Owned(format!("User:{name}"))]
}

/// The actor, where it is not simply the session's client.
#[cold]
fn actor(
    out: &mut Vec<u8>,
    is_client: bool,
    values: &Values<'_>,
    session: &Session,
    filter: Option<&str>,
    process: &str,
) {
    if is_client {
        out.extend_from_slice(&NOBODY[..NOBODY.len() - 1]);
        out.extend_from_slice(&session.client);
        match values.text(Column::Principal) {
            Some(name) => out.extend_from_slice(&actor_principals(&own_principal(name))),
            None => out.extend_from_slice(&session.actor_principals),
        }
    } else {
        out.extend_from_slice(b",\"actor\":{\"type\":");
        if let Some(class) = filter.filter(|name| is_class(name)) {
            quote(out, class);
        } else {
            out.extend_from_slice(b"\"Proxy\"");
            member(out, "executionId", process);
        }
    }
    out.push(b'}');
}

/// Whether a filter's name is a package-qualified class that upstream's schema takes for an actor's type.
fn is_class(name: &str) -> bool {
    sanitize::action_name_ok(name)
        && !name.contains('_')
        && name.split('.').rev().skip(1).all(|part| part.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// `correlation`: join keys to the client's and the server's log.
#[inline]
fn correlation(out: &mut Vec<u8>, values: &Values<'_>) {
    let (client, server) = (Column::ClientCorrelationId, Column::ServerCorrelationId);
    match (values.has(client), values.has(server)) {
        (false, false) => return,
        (true, _) => {
            values.put_int(out, client, ",\"correlation\":{\"clientCorrelationId\":");
            values.put_int(out, server, ",\"serverCorrelationId\":");
        }
        (false, true) => values.put_int(out, server, ",\"correlation\":{\"serverCorrelationId\":"),
    }
    out.push(b'}');
}

/// What the session says beside the actor, where the row says something otherwise or the actor is no client.
#[cold]
fn beside(out: &mut Vec<u8>, is_client: bool, values: &Values<'_>, session: &Session) {
    let own = values.text(Column::Principal);
    if !is_client {
        match own {
            Some(name) => out.extend_from_slice(&plain_principals(&own_principal(name))),
            None => out.extend_from_slice(&session.plain_principals),
        }
        out.extend_from_slice(&session.peer_ip);
    }
    if own.is_none() {
        out.extend_from_slice(&session.principal);
    }
    values.put_or(out, Column::Filter, ",\"filter\":", &session.filter);
    values.put_or(out, Column::Tap, ",\"tap\":", &session.tap);
    out.extend_from_slice(&session.fixed);
    values.put_or(out, Column::Server, ",\"server\":", &session.server);
    values.put_or(out, Column::ServerLocal, ",\"serverLocal\":", &session.server_local);
    match values.int(Column::NodeId) {
        Some(id) => number(out, ",\"nodeId\":", id),
        None => out.extend_from_slice(&session.node_id),
    }
    values.put_or(out, Column::Mechanism, ",\"mechanism\":", &session.mechanism);
}

/// What only the row says.
#[inline]
fn fields(out: &mut Vec<u8>, values: &Values<'_>, plan: &Plan<'_>) {
    values.put_text(out, Column::Initiator, ",\"initiator\":");
    values.put_text(out, Column::AttemptedPrincipal, ",\"attemptedPrincipal\":");
    for (column, name) in [(Column::Operation, "operation"), (Column::ResourceType, "resourceType")] {
        if let Some(value) = values.text(column).or(plan.constant(column)) {
            member(out, name, value);
        }
    }
    values.put_text(out, Column::Resource, ",\"resource\":");
    values.put_int(out, Column::Partition, ",\"partition\":");
    let (first, last) = (Column::FirstOffset, Column::LastOffset);
    if values.has(first) || values.has(last) {
        values.put_int(out, first, ",\"offsets\":{\"first\":");
        let key = if values.has(first) { ",\"last\":" } else { ",\"offsets\":{\"last\":" };
        values.put_int(out, last, key);
        out.push(b'}');
    }
    values.put_int(out, Column::Records, ",\"records\":");
    values.put_int(out, Column::Bytes, ",\"bytes\":");
    values.put_int(out, Column::DurationNs, ",\"durationNanos\":");
    values.put_text(out, Column::Api, ",\"api\":");
}

/// Upstream's name for a resource of this type.
pub(super) fn resource_key(resource_type: &str) -> Option<&'static str> {
    match resource_type {
        "Topic" => Some("topicName"),
        "Group" => Some("groupId"),
        "TransactionalId" => Some("transactionalId"),
        _ => None,
    }
}

/// `objectRef`; the names of the caller's that upstream has too are returned.
#[inline]
fn object_ref(
    out: &mut Vec<u8>,
    values: &Values<'_>,
    plan: &Plan<'_>,
    session: &Session,
    context: Option<&crate::Context>,
) -> Result<Option<Value>, Malformed> {
    let before = out.len();
    out.extend_from_slice(b",\"objectRef\":{");
    let empty = out.len();
    let own = if values.details.has_object_ref() { values.details.object_ref()? } else { Map::new() };
    let mut given = Vec::new();
    // Whether the derived member may be written; and the comma before it.
    let mut begin = |out: &mut Vec<u8>, key: &str| {
        if !own.is_empty() && own.contains_key(key) {
            given.push(Value::from(key));
            return false;
        }
        if out.len() > empty {
            out.push(b',');
        }
        true
    };
    if !session.vc.is_empty() && begin(out, "vc") {
        out.extend_from_slice(&session.vc);
    }
    if let Some(resource) = values.text(Column::Resource)
        && let Some(key) =
            values.text(Column::ResourceType).or(plan.constant(Column::ResourceType)).and_then(resource_key)
        && begin(out, key)
    {
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        quote(out, resource);
    }
    if let Some(partition) = values.int(Column::Partition)
        && begin(out, "partition")
    {
        number(out, "\"partition\":\"", partition);
        out.push(b'"');
    }
    if plan.category == Category::Connection {
        let server = values.text(Column::Server).or(context.and_then(|context| context.server.as_deref()));
        if let Some(server) = server
            && begin(out, "addr")
        {
            out.extend_from_slice(b"\"addr\":");
            quote(out, server);
        }
        let node = values.int(Column::NodeId).or(context.and_then(|context| context.node_id).map(i64::from));
        if let Some(node) = node
            && begin(out, "nodeId")
        {
            number(out, "\"nodeId\":\"", node);
            out.push(b'"');
        }
    }
    if !own.is_empty() {
        if out.len() > empty {
            out.push(b',');
        }
        let at = out.len();
        crate::details::write_map(out, &own);
        out.pop();
        out.remove(at);
    }
    if out.len() == empty {
        out.truncate(before);
    } else {
        out.push(b'}');
    }
    Ok(Some(given).filter(|given| !given.is_empty()).map(Value::from))
}
