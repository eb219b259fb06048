//! What redacts: a session's context, and a record.

use auditring_event::record::{CONTEXT, OBJECT_REF, RecordView};
use auditring_event::rewrite::{self, Edit};
use auditring_event::{ACTIONS, CODES, Category, Column, Context, Definitions, flat};
use serde_json::{Map, Value};

use super::field::{At, Field};
use super::plan::{Plan, of_key};
use super::value::Hasher;
use super::{How, Key, Redaction, read_all};
use crate::{Policy, PolicyError};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redacted {
    /// No redaction is of anything that it says.
    Untouched,
    /// Another body takes the place of its own: [`Redactor::body`].
    Body {
        /// The presence bits of the other body.
        presence: u32,
        /// Flags that are added to the record's own.
        flags: u8,
        /// Which redactions found something, a bit each.
        marks: u64,
    },
    /// It cannot be read, so nobody knows what it says.
    Unreadable,
}

/// The redactions of a log and their key.
#[derive(Debug)]
pub struct Redactor {
    rules: Vec<Redaction>,
    hasher: Hasher,
    plans: Box<[Plan]>,
    body: Vec<u8>,
}

impl Redactor {
    /// For a log's policy; none where it redacts nothing, or hashes with another key, or with one that is not given.
    #[must_use]
    pub fn new(policy: &Policy, key: Option<Key>) -> Option<Self> {
        (fits(&policy.redact, key.as_ref()) && !policy.redact.is_empty()).then(|| Self::of(policy.redact.clone(), key))
    }

    /// For whoever ends another's journal: [`super::redactions`] says what that one redacted. Without its key what would be
    /// hashed is left out, and marked.
    ///
    /// # Errors
    /// [`PolicyError`] where that cannot be read: then nobody knows what may be written.
    pub fn of_another(redact: &str, key: Option<&Key>) -> Result<Option<Self>, PolicyError> {
        if redact.is_empty() {
            return Ok(None);
        }
        let rules = read_all(serde_json::from_str(redact)?)?;
        let key = key.filter(|key| fits(&rules, Some(key))).cloned();
        Ok(Some(Self::of(rules, key)))
    }

    /// Whether a process that redacted so, as [`super::redactions`] says it, hashed by this key, or by none.
    ///
    /// # Errors
    /// As [`Redactor::of_another`].
    pub fn hashes_by(redact: &str, key: &Key) -> Result<bool, PolicyError> {
        Ok(redact.is_empty() || fits(&read_all(serde_json::from_str(redact)?)?, Some(key)))
    }

    fn of(rules: Vec<Redaction>, key: Option<Key>) -> Self {
        let mut plans = vec![Plan::HIDDEN; CODES].into_boxed_slice();
        for spec in ACTIONS {
            plans[usize::from(spec.code)] = Plan::of_spec(spec, &rules);
        }
        Self { rules, hasher: Hasher::new(key), plans, body: Vec::new() }
    }

    /// Definitions, before the first record that uses them: until then nothing of their events is shown.
    pub fn define(&mut self, definitions: &Definitions) {
        for one in definitions.iter() {
            if let Some(plan) = self.plans.get_mut(usize::from(one.code)).filter(|plan| plan.hidden) {
                *plan = Plan::of_definition(one, &self.rules);
            }
        }
    }

    /// Whether redactions, a bit each, left a value out that only wants its key to be hashed.
    #[must_use]
    pub fn wants_key(&self, marks: u64) -> bool {
        let hashes = |(at, rule): (usize, &Redaction)| marks >> at & 1 == 1 && rule.how == How::Hash;
        marks != 0 && self.hasher.key_id().is_none() && self.rules.iter().enumerate().any(hashes)
    }

    /// The body of the last record that was given another one.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Redacts what a record itself says.
    #[inline]
    pub fn record(&mut self, record: &RecordView<'_>) -> Redacted {
        let Some(plan) = self.plans.get(usize::from(record.code())) else { return Redacted::Unreadable };
        if record.presence() & plan.touched == 0 {
            let sound = rewrite::adds_up(record.code(), record.presence(), record.body());
            return if sound { Redacted::Untouched } else { Redacted::Unreadable };
        }
        self.rewrite(record)
    }

    fn rewrite(&mut self, record: &RecordView<'_>) -> Redacted {
        let Self { rules, hasher, plans, body } = self;
        let plan = &plans[usize::from(record.code())];
        let all = (1 << rules.len()) - 1;
        let (mut marks, mut flags, mut drop) = (0, 0, 0);
        for (bit, rule) in plan.ints.iter().filter(|(bit, _)| record.presence() & bit != 0) {
            drop |= bit;
            marks |= 1 << rule;
        }
        let is_user = || record.fields().text(plan.resource_type).is_some_and(|kind| kind.eq_ignore_ascii_case("user"));
        let done = rewrite::rewrite(record.code(), record.presence(), record.body(), drop, body, |bit, bytes, out| {
            if plan.hidden && bit & Plan::HARMLESS == 0 {
                marks |= all;
                return Edit::Drop;
            }
            if plan.touched & bit == 0 {
                return Edit::Keep;
            }
            if bit & (CONTEXT | OBJECT_REF) != 0 {
                let (edit, done, cut) = map(rules, hasher, plan, bit, bytes, out);
                marks |= done;
                flags |= cut;
                return edit;
            }
            let Some(place) = plan.place(bit, is_user) else { return Edit::Keep };
            marks |= 1 << place.rule;
            let how = &rules[usize::from(place.rule)].how;
            let text = std::str::from_utf8(bytes);
            if text.is_ok_and(|text| hasher.text(how, place.sort, text, out)) { Edit::Put } else { Edit::Drop }
        });
        match done {
            Ok(presence) if marks != 0 => Redacted::Body { presence, flags, marks },
            Ok(_) => Redacted::Untouched,
            Err(_) => Redacted::Unreadable,
        }
    }

    /// Redacts a session's context, and tells in it what was done, to it and by `also` to a record of it. An empty one, as
    /// of a record without a session, tells of the record alone. Returns what was done to the context.
    pub fn context(&mut self, bytes: &[u8], also: u64, out: &mut Vec<u8>) -> u64 {
        let (mut context, mut marks) = match Context::decode(bytes) {
            Ok(context) => (context, 0),
            Err(_) if bytes.is_empty() => (Context::default(), 0),
            // Whatever it said: every redaction may have been of it.
            Err(_) => (Context::default(), (1 << self.rules.len()) - 1),
        };
        self.columns(&mut context, &mut marks);
        if let Some(map) = &mut context.context {
            let rules = &self.rules;
            marks |= self.hasher.map(map, |key| of_key(rules, Category::Connection, At::Context(key)));
        }
        if marks | also != 0 {
            context.note(self.notes(marks | also));
        }
        context.encode(out);
        marks
    }

    fn columns(&mut self, context: &mut Context, marks: &mut u64) {
        let Self { rules, hasher, .. } = self;
        let rule = |field: &Field| rules.iter().position(|one| one.field == *field);
        let mut text = |column, place: &mut Option<String>| {
            let Some((rule, how, sort)) = of_key(rules, Category::Connection, At::Column(column)) else { return };
            if let Some(value) = place.take() {
                *marks |= 1 << rule;
                let mut out = String::new();
                *place = hasher.text(how, sort, &value, &mut out).then_some(out);
            }
        };
        text(Column::PeerIp, &mut context.peer_ip);
        text(Column::ClientId, &mut context.client_id);
        text(Column::Principal, &mut context.principal);
        let principals = std::mem::take(&mut context.principals).into_iter().filter_map(|one| {
            let mut one = Some(one);
            text(Column::Principals, &mut one);
            one
        });
        context.principals = principals.collect();
        if let Some(rule) = rule(&Field::Peer)
            && context.peer_port.take().is_some()
        {
            // Beside its address a port tells nearly the moment at which the client came.
            *marks |= 1 << rule;
        }
    }

    /// What stands in the context of a row about these redactions.
    fn notes(&self, marks: u64) -> Map<String, Value> {
        let found = || self.rules.iter().enumerate().filter(|(at, _)| marks >> at & 1 == 1).map(|(_, rule)| rule);
        let mut notes = Map::new();
        notes.insert("auditring.redacted".to_owned(), found().map(|rule| Value::from(rule.field.name())).collect());
        if let Some(id) = self.hasher.key_id().filter(|_| found().any(|rule| rule.how == How::Hash)) {
            notes.insert("auditring.key_id".to_owned(), id.into());
        }
        notes
    }
}

/// Whether values can be hashed by a key: it is the one that the policy was compiled with.
fn fits(rules: &[Redaction], key: Option<&Key>) -> bool {
    let mut hashes = rules.iter().filter(|one| one.how == How::Hash).map(|one| one.key_id.as_deref());
    hashes.all(|id| id.is_some() && id == key.map(Key::id))
}

/// Redacts one of a record's maps.
fn map(
    rules: &[Redaction],
    hasher: &mut Hasher,
    plan: &Plan,
    bit: u32,
    bytes: &[u8],
    out: &mut String,
) -> (Edit, u64, u8) {
    let (parse, cap): (fn(&str) -> Option<flat::FlatMap>, usize) = if bit == CONTEXT {
        (flat::context, auditring_event::CONTEXT_CAP)
    } else {
        (flat::object_ref, auditring_event::OBJECT_REF_CAP)
    };
    let Some(mut map) = std::str::from_utf8(bytes).ok().and_then(parse) else {
        return (Edit::Drop, plan.of_map(bit, rules), 0);
    };
    let marks = hasher.map(&mut map, |key| {
        of_key(rules, plan.category, if bit == CONTEXT { At::Context(key) } else { At::ObjectRef(key) })
    });
    if marks == 0 {
        return (Edit::Keep, 0, 0);
    }
    if map.is_empty() {
        return (Edit::Drop, marks, 0);
    }
    let (text, done) = flat::text(&map, cap);
    out.push_str(&text);
    (Edit::Put, marks, done.flags())
}
