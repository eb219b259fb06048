//! Builds records field by field: for the log's own events, for free-form and declared ones, and for tests.
//!
//! The hot call writes the same bytes without this.

use crate::body::{self, put_text};
use crate::definition::{DECLARED_CAP, Definition};
use crate::record::{self, Head};
use crate::sanitize::{self, Marks};
use crate::spec::{self, ActionSpec, Kind};
use crate::{Authority, Origin, Outcome, context};
use serde_json::{Map, Value};

/// A record in the making. Values are made safe and cut to their caps as they come in.
#[derive(Clone, Debug)]
pub struct Encoder {
    code: u16,
    spec: Option<&'static ActionSpec>,
    stamp: u64,
    outcome: Outcome,
    authority: Option<Authority>,
    origin: Origin,
    flags: u8,
    context: (u64, Vec<u8>),
    ints: [Option<i64>; 21],
    texts: [Option<String>; 28],
}

impl Encoder {
    /// An event of the catalog, with the catalog's outcome, authority and origin.
    #[must_use]
    pub fn new(spec: &'static ActionSpec) -> Self {
        Self::empty(spec.code, Some(spec), spec.outcome, spec.authority, spec.origin)
    }

    /// A free-form event. The name must pass [`sanitize::action_name_ok`], or the record will not validate.
    #[must_use]
    pub fn freeform(name: &str) -> Self {
        let mut encoder = Self::new(spec::spec_at(const { spec::index_of(spec::FREEFORM) }));
        encoder.common(body::NAME, name, spec::NAME_CAP);
        encoder
    }

    /// A declared event.
    #[must_use]
    pub fn declared(definition: &Definition) -> Self {
        Self::empty(definition.code, None, definition.outcome, None, Origin::Client)
    }

    fn empty(
        code: u16,
        spec: Option<&'static ActionSpec>,
        outcome: Outcome,
        authority: Option<Authority>,
        origin: Origin,
    ) -> Self {
        Self {
            code,
            spec,
            stamp: 0,
            outcome,
            authority,
            origin,
            flags: 0,
            context: (0, Vec::new()),
            ints: [None; 21],
            texts: [const { None }; 28],
        }
    }

    /// Sets the raw clock stamp.
    pub fn stamp(&mut self, stamp: u64) -> &mut Self {
        self.stamp = stamp;
        self
    }

    /// Sets the outcome.
    pub fn outcome(&mut self, outcome: Outcome) -> &mut Self {
        self.outcome = outcome;
        self
    }

    /// Sets the authority.
    pub fn authority(&mut self, authority: Option<Authority>) -> &mut Self {
        self.authority = authority;
        self
    }

    /// Sets the origin.
    pub fn origin(&mut self, origin: Origin) -> &mut Self {
        self.origin = origin;
        self
    }

    /// Adds flags.
    pub fn flags(&mut self, flags: u8) -> &mut Self {
        self.flags |= flags;
        self
    }

    /// Sets the context: its id, which is not 0, and its bytes as [`crate::Context::encode`] makes them.
    pub fn context(&mut self, id: u64, bytes: &[u8]) -> &mut Self {
        self.context = (id, bytes.to_vec());
        self
    }

    /// Sets a number field by its name.
    ///
    /// # Panics
    /// If the action has no such number field.
    pub fn int(&mut self, name: &str, value: i64) -> &mut Self {
        let at = self.position(name, Kind::Int);
        self.ints[at] = Some(value);
        self
    }

    /// Sets a string field by its name.
    ///
    /// # Panics
    /// If the action has no such string field.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        let at = self.position(name, Kind::Str);
        let cap = self.spec.map_or(DECLARED_CAP, |spec| usize::from(spec.fields[at].cap));
        self.put(at, value, cap)
    }

    /// Sets a declared event's field by its position.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn declared_text(&mut self, at: usize, value: &str) -> &mut Self {
        assert!(self.spec.is_none() && at < spec::MAX_FIELDS, "no such field");
        self.put(at, value, DECLARED_CAP)
    }

    /// Sets the status, normalised.
    pub fn status(&mut self, status: &str) -> &mut Self {
        let status = sanitize::status(status);
        self.common(body::STATUS, &status, spec::STATUS_CAP)
    }

    /// Sets the reason.
    pub fn reason(&mut self, reason: &str) -> &mut Self {
        self.common(body::REASON, reason, spec::REASON_CAP)
    }

    /// Sets the tap.
    pub fn tap(&mut self, tap: &str) -> &mut Self {
        self.common(body::TAP, tap, spec::TAP_CAP)
    }

    /// Sets the filter.
    pub fn filter(&mut self, filter: &str) -> &mut Self {
        self.common(body::FILTER, filter, spec::FILTER_CAP)
    }

    /// Sets the session that was the cause.
    pub fn cause_session(&mut self, session: &str) -> &mut Self {
        self.common(body::CAUSE_SESSION, session, spec::CAUSE_SESSION_CAP)
    }

    /// Sets the end time, nanoseconds since the epoch.
    pub fn end_time(&mut self, time_ns: i64) -> &mut Self {
        self.ints[20] = Some(time_ns);
        self
    }

    /// Sets `object_ref`; values are strings. An empty map is none.
    pub fn object_ref(&mut self, map: &Map<String, Value>) -> &mut Self {
        self.map(body::OBJECT_REF, map, spec::OBJECT_REF_CAP)
    }

    /// Sets `context`. An empty map is none.
    pub fn context_map(&mut self, map: &Map<String, Value>) -> &mut Self {
        self.map(body::CONTEXT, map, spec::CONTEXT_CAP)
    }

    /// Sets `object_ref` to a text that [`crate::flat::FlatText`] made.
    pub fn object_ref_text(&mut self, text: String) -> &mut Self {
        self.texts[body::OBJECT_REF.trailing_zeros() as usize] = Some(text);
        self
    }

    /// Sets `context` to a text that [`crate::flat::FlatText`] made.
    pub fn context_text(&mut self, text: String) -> &mut Self {
        self.texts[body::CONTEXT.trailing_zeros() as usize] = Some(text);
        self
    }

    /// Appends the record. A failure or denial without a status gets its default here, so that every row carries one.
    pub fn finish(&self, out: &mut Vec<u8>) {
        let default = match self.spec {
            Some(spec) => spec.default_status(self.outcome),
            None if self.outcome == Outcome::Failure => Some(spec::FAILURE_STATUS),
            None if self.outcome == Outcome::Denied => Some(spec::DENIED_STATUS),
            None => None,
        };
        let mut presence = 0;
        let mut bytes = Vec::new();
        for (at, value) in self.ints.iter().enumerate() {
            if let Some(value) = value {
                presence |= if at == 20 { body::END_TIME } else { 1 << at };
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        for (bit, value) in self.texts.iter().enumerate() {
            let value = value.as_deref().or(default.filter(|_| 1 << bit == body::STATUS));
            if let Some(value) = value {
                presence |= 1 << bit;
                put_text(&mut bytes, value);
            }
        }
        let head = Head {
            stamp: self.stamp,
            presence,
            code: self.code,
            bits: record::bits(self.outcome, self.authority, self.origin),
            flags: self.flags,
            context_id: self.context.0,
            context_len: self.context.1.len() as u32,
            body_len: bytes.len() as u32,
        };
        let at = out.len();
        out.resize(at + record::HEAD, 0);
        head.write(&mut out[at..]);
        for part in [&self.context.1, &bytes] {
            out.extend_from_slice(part);
            out.resize(at + body::padded(out.len() - at), 0);
        }
    }

    /// The record alone.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.finish(&mut out);
        out
    }

    fn position(&self, name: &str, kind: Kind) -> usize {
        let at = self.spec.and_then(|spec| spec.field(name).filter(|at| spec.fields[*at].kind == kind));
        at.unwrap_or_else(|| panic!("event {} has no {kind:?} field `{name}`", self.code))
    }

    fn put(&mut self, bit: usize, value: &str, cap: usize) -> &mut Self {
        let (text, marks) = sanitize::text(value.as_bytes(), cap);
        self.flags |= marks.flags();
        self.texts[bit] = Some(text.into_owned());
        self
    }

    fn common(&mut self, bit: u32, value: &str, cap: usize) -> &mut Self {
        self.put(bit.trailing_zeros() as usize, value, cap)
    }

    fn map(&mut self, bit: u32, map: &Map<String, Value>, cap: usize) -> &mut Self {
        let (text, marks): (String, Marks) = context::map_text(map, cap);
        self.flags |= marks.flags();
        self.texts[bit.trailing_zeros() as usize] = (text != "{}").then_some(text);
        self
    }
}
