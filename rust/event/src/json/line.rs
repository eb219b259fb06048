//! One line after the other.

use super::dialect::Dialect;
use super::object_ref::object_ref;
use super::session::{Part, Session, actor_principals, member, number, plain_principals};
use super::time::Clock;
use super::values::Values;
use crate::flat::quote;
use crate::plan::{Plan, Plans};
use crate::row::RowView;
use crate::spec::{Column, Origin};
use crate::{Context, Malformed, RowRef, RowSet, record, sanitize};
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
    Column::VirtualCluster,
    Column::Listener,
]);

/// What a destination that addresses rows one by one wants to know of each, beside its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where its line ends, the newline included.
    pub end: usize,
    /// Its number.
    pub seq: i64,
    /// Wall time, nanoseconds since the epoch.
    pub time_ns: i64,
    /// The catalog's name of the action, whatever the dialect of the line.
    pub action: &'a str,
    /// Its category.
    pub category: &'static str,
    /// How it ended.
    pub outcome: &'static str,
    /// The host's id of the session; none for events of the process.
    pub session: Option<&'a str>,
    /// The virtual cluster; none where no one is concerned.
    pub virtual_cluster: Option<&'a str>,
}

pub(super) struct Writer<'a> {
    dialect: Dialect,
    set: &'a RowSet,
    plans: Plans<'a>,
    clock: Clock,
    sessions: Vec<Option<Session>>,
    nobody: Session,
    /// `,"eventId":"<process>:` and `","process":…,"seq":`.
    process: [Vec<u8>; 2],
    /// `,"instance":…,"host":…,"category":…,"outcome":…[,"authority":…],"origin":…` by plan and bits.
    words: Vec<Vec<u8>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(dialect: Dialect, set: &'a RowSet) -> Self {
        let identity = &set.identity;
        let mut process = [Vec::new(), Vec::new()];
        member(&mut process[0], "eventId", &format!("{}:", identity.process));
        process[0].pop();
        process[1].push(b'"');
        member(&mut process[1], "process", &identity.process);
        process[1].extend_from_slice(b",\"seq\":");
        Self {
            dialect,
            set,
            plans: Plans::new(set),
            clock: Clock::new(),
            sessions: set.contexts.iter().map(|_| None).collect(),
            nobody: Session::new(&Context::default()),
            process,
            words: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.set.rows.len()
    }

    /// Appends lines from row `first` on until `out` has `enough` bytes; returns the row that is next.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, first: usize, enough: usize) -> Result<usize, Malformed> {
        self.write_each(out, first, enough, |_| ())
    }

    /// The same; `each` is told of every row behind its line.
    pub(super) fn write_each(
        &mut self,
        out: &mut Vec<u8>,
        first: usize,
        enough: usize,
        mut each: impl FnMut(Record<'a>),
    ) -> Result<usize, Malformed> {
        let mut values = Values::new();
        for (number, at) in self.set.rows.iter().enumerate().skip(first) {
            if out.len() >= enough {
                return Ok(number);
            }
            let row = self.set.row(at)?;
            record::check_bits(row.bits())?;
            let plan = self.plans.position(row.code())?;
            values.clear();
            self.plans.get(plan).follow(&row, &mut values)?;
            self.line(out, &row, plan, at, &values)?;
            each(self.record(&row, plan, at, &values, out.len()));
        }
        Ok(self.rows())
    }

    /// What is known of a row whose line ends at `end`.
    #[inline]
    fn record(&self, row: &RowView<'a>, plan: u16, at: &RowRef, values: &Values<'a>, end: usize) -> Record<'a> {
        let plan = self.plans.get(plan);
        let context = self.set.context(row);
        let inherited = context.and_then(|context| context.virtual_cluster.as_deref());
        Record {
            end,
            seq: at.seq,
            time_ns: row.time_ns(),
            action: plan.action.or(values.text(Column::Action)).unwrap_or_default(),
            category: plan.category.word(),
            outcome: row.outcome().word(),
            session: context.and_then(|context| context.session.as_deref()),
            virtual_cluster: values.text(Column::VirtualCluster).or(inherited),
        }
    }

    #[inline]
    fn line(
        &mut self,
        out: &mut Vec<u8>,
        row: &RowView<'a>,
        plan: u16,
        at: &RowRef,
        values: &Values<'a>,
    ) -> Result<(), Malformed> {
        out.reserve(1024);
        let words = self.words(plan, row.bits());
        let context = self.set.context(row);
        if let (Some(place), Some(context)) = (self.sessions.get_mut(row.context() as usize), context)
            && place.is_none()
        {
            *place = Some(Session::new(context));
        }
        let session = self.sessions.get(row.context() as usize).and_then(Option::as_ref).unwrap_or(&self.nobody);
        let plan = self.plans.get(plan);
        let is_client = record::origin(row.bits()) == Some(Origin::Client);

        out.extend_from_slice(b"{\"time\":");
        self.clock.write(out, row.time_ns());
        out.extend_from_slice(b",\"action\":");
        let name = plan.action.or(values.text(Column::Action)).unwrap_or_default();
        if self.dialect == Dialect::Own {
            quote(out, name);
        } else {
            quote(out, &self.dialect.action(name, values.text(Column::Operation)));
        }
        values.put_text(out, Column::Status, ",\"status\":");
        values.put_text(out, Column::Reason, ",\"reason\":");
        let filter = || values.text(Column::Filter).or(context.and_then(|context| context.filter.as_deref()));
        if is_client && !values.has(Column::Principal) {
            out.extend_from_slice(session.parts(Part::Client, Part::ActorEnd));
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

        out.extend_from_slice(b",\"timeNanos\":");
        self.clock.write_nanos(out, row.time_ns());
        number(out, ",\"ageNanos\":", row.age_ns());
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(at.seq).as_bytes();
        for part in [&self.process[0][..], digits, &self.process[1], digits, &self.words[words]] {
            out.extend_from_slice(part);
        }
        if is_client && values.there & OVERRIDES == 0 && plan.constant(Column::Mechanism).is_none() {
            out.extend_from_slice(session.parts(Part::Principal, Part::Mechanism));
        } else {
            beside(out, is_client, values, session, plan);
        }
        fields(out, values, plan);
        if (at.count, at.weight) == (1, 1) {
            out.extend_from_slice(b",\"count\":1,\"weight\":1");
        } else {
            number(out, ",\"count\":", at.count.into());
            number(out, ",\"weight\":", at.weight.into());
        }
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
        member(words, "instance", &self.set.identity.instance);
        member(words, "host", &self.set.identity.host);
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
        out.extend_from_slice(session.part(Part::Client));
        match values.text(Column::Principal) {
            Some(name) => actor_principals(out, &own_principal(name)),
            None => out.extend_from_slice(session.part(Part::ActorPrincipals)),
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
pub(super) fn is_class(name: &str) -> bool {
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
fn beside(out: &mut Vec<u8>, is_client: bool, values: &Values<'_>, session: &Session, plan: &Plan<'_>) {
    let own = values.text(Column::Principal);
    if !is_client {
        match own {
            Some(name) => plain_principals(out, &own_principal(name)),
            None => out.extend_from_slice(session.part(Part::PlainPrincipals)),
        }
        out.extend_from_slice(session.part(Part::PeerIp));
    }
    if own.is_none() {
        out.extend_from_slice(session.part(Part::Principal));
    }
    values.put_or(out, Column::Filter, ",\"filter\":", session.part(Part::Filter));
    values.put_or(out, Column::Tap, ",\"tap\":", session.part(Part::Tap));
    out.extend_from_slice(session.part(Part::Id));
    values.put_or(out, Column::VirtualCluster, ",\"virtualCluster\":", session.part(Part::VirtualCluster));
    out.extend_from_slice(session.part(Part::ClientId));
    values.put_or(out, Column::Listener, ",\"listener\":", session.part(Part::Listener));
    out.extend_from_slice(session.part(Part::PeerPort));
    values.put_or(out, Column::Server, ",\"server\":", session.part(Part::Server));
    values.put_or(out, Column::ServerLocal, ",\"serverLocal\":", session.part(Part::ServerLocal));
    match values.int(Column::NodeId) {
        Some(id) => number(out, ",\"nodeId\":", id),
        None => out.extend_from_slice(session.part(Part::NodeId)),
    }
    // What the action itself says is among its constants.
    if plan.constant(Column::Mechanism).is_none() {
        values.put_or(out, Column::Mechanism, ",\"mechanism\":", session.part(Part::Mechanism));
    }
}

/// What only the row says.
#[inline]
fn fields(out: &mut Vec<u8>, values: &Values<'_>, plan: &Plan<'_>) {
    values.put_text(out, Column::Initiator, ",\"initiator\":");
    values.put_text(out, Column::AttemptedPrincipal, ",\"attemptedPrincipal\":");
    out.extend_from_slice(&plan.constant_members);
    values.put_text(out, Column::Operation, ",\"operation\":");
    values.put_text(out, Column::ResourceType, ",\"resourceType\":");
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
