//! A session's context: who, where, on which connection. Encoded once when it changes, copied whole into each record.
//!
//! ```text
//!  0  u32 presence      bit 0 peer_port, 1 node_id, 2 session, 3 virtual_cluster, 4 client_id, 5 listener, 6 peer_ip,
//!                       7 server, 8 server_local, 9 principal, 10 mechanism, 11 tap, 12 filter, 13 principals, 14 context
//!  4  present numbers in bit order (i64), then present strings in bit order: u16 length, bytes
//! ```
//!
//! `principals` is a JSON array of `Type:name`, `context` a flat JSON object. The authority is not here: it is resolved at
//! each emit and stands in the record's bits.

use crate::body::put_text;
use crate::flat::{self, FlatText, Scalar};
use crate::sanitize::{self, Marks};
use crate::spec;
use crate::{Malformed, flat::RESERVED};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Presence bits of the numbers.
const NUMBERS: u32 = 0b11;
/// All presence bits.
const KNOWN: u32 = (1 << 15) - 1;
const FIRST_STRING: u32 = 2;
const PRINCIPALS: u32 = 13;
const CONTEXT: u32 = 14;
/// Caps of the strings, by bit from [`FIRST_STRING`] on.
const CAPS: [usize; 11] = [
    spec::SESSION_SESSION_CAP,
    spec::SESSION_VIRTUAL_CLUSTER_CAP,
    spec::SESSION_CLIENT_ID_CAP,
    spec::SESSION_LISTENER_CAP,
    spec::SESSION_PEER_IP_CAP,
    spec::SESSION_SERVER_CAP,
    spec::SESSION_SERVER_LOCAL_CAP,
    spec::SESSION_PRINCIPAL_CAP,
    spec::SESSION_MECHANISM_CAP,
    spec::SESSION_TAP_CAP,
    spec::SESSION_FILTER_CAP,
];

/// The most bytes that an encoded context takes.
pub const MAX_CONTEXT: usize = {
    let mut sum = 4 + 16 + 2 + spec::SESSION_PRINCIPALS_CAP + 2 + spec::SESSION_CONTEXT_CAP;
    let mut i = 0;
    while i < CAPS.len() {
        sum += 2 + CAPS[i];
        i += 1;
    }
    sum
};

/// A session's context. What is none is null in the table, unless the event itself says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The session's id.
    pub session: Option<String>,
    /// The virtual cluster that the client sees.
    pub virtual_cluster: Option<String>,
    /// What the client calls itself.
    pub client_id: Option<String>,
    /// The proxy's end of the client's connection.
    pub listener: Option<String>,
    /// The client's address.
    pub peer_ip: Option<String>,
    /// The client's port.
    pub peer_port: Option<i32>,
    /// The broker or upstream.
    pub server: Option<String>,
    /// The proxy's own end of the connection to `server`.
    pub server_local: Option<String>,
    /// The broker's node id.
    pub node_id: Option<i32>,
    /// Name of the first authenticated principal.
    pub principal: Option<String>,
    /// How the client authenticates.
    pub mechanism: Option<String>,
    /// Where in the chain.
    pub tap: Option<String>,
    /// Which filter.
    pub filter: Option<String>,
    /// All authenticated principals as `Type:name`.
    pub principals: Vec<String>,
    /// Details, flat.
    pub context: Option<Map<String, Value>>,
}

impl Context {
    fn strings(&self) -> [&Option<String>; 11] {
        [
            &self.session,
            &self.virtual_cluster,
            &self.client_id,
            &self.listener,
            &self.peer_ip,
            &self.server,
            &self.server_local,
            &self.principal,
            &self.mechanism,
            &self.tap,
            &self.filter,
        ]
    }

    fn strings_mut(&mut self) -> [&mut Option<String>; 11] {
        [
            &mut self.session,
            &mut self.virtual_cluster,
            &mut self.client_id,
            &mut self.listener,
            &mut self.peer_ip,
            &mut self.server,
            &mut self.server_local,
            &mut self.principal,
            &mut self.mechanism,
            &mut self.tap,
            &mut self.filter,
        ]
    }

    /// Whether `other` says the same wherever this one says anything.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        let text = |(one, other): (&Option<String>, &Option<String>)| one.is_none() || one == other;
        (self.peer_port.is_none() || self.peer_port == other.peer_port)
            && (self.node_id.is_none() || self.node_id == other.node_id)
            && self.strings().into_iter().zip(other.strings()).all(text)
            && (self.principals.is_empty() || self.principals == other.principals)
            && (self.context.is_none() || self.context == other.context)
    }

    /// What both say.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut common = self.clone();
        common.peer_port = common.peer_port.filter(|one| Some(*one) == other.peer_port);
        common.node_id = common.node_id.filter(|one| Some(*one) == other.node_id);
        for (one, other) in common.strings_mut().into_iter().zip(other.strings()) {
            if one != other {
                *one = None;
            }
        }
        if common.principals != other.principals {
            common.principals.clear();
        }
        if common.context != other.context {
            common.context = None;
        }
        common
    }

    /// Appends the encoded context. Values are made to fit first, as [`Context::fit`] does.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut fitted = self.clone();
        fitted.fit();
        let at = out.len();
        let mut presence = 0;
        out.extend_from_slice(&[0; 4]);
        for (bit, number) in [fitted.peer_port, fitted.node_id].into_iter().enumerate() {
            if let Some(number) = number {
                presence |= 1 << bit;
                out.extend_from_slice(&i64::from(number).to_le_bytes());
            }
        }
        for (bit, text) in (FIRST_STRING..).zip(fitted.strings()) {
            if let Some(text) = text {
                presence |= 1 << bit;
                put_text(out, text);
            }
        }
        if !fitted.principals.is_empty() {
            presence |= 1 << PRINCIPALS;
            put_text(out, &principals_text(&fitted.principals));
        }
        if let Some(map) = fitted.context.filter(|map| !map.is_empty()) {
            presence |= 1 << CONTEXT;
            put_text(out, &map_text(&map, spec::SESSION_CONTEXT_CAP).0);
        }
        out[at..at + 4].copy_from_slice(&u32::to_le_bytes(presence));
    }

    /// Decodes what [`Context::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// If the bytes are no context.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (presence, mut rest) = bytes.split_first_chunk::<4>().ok_or(Malformed::Short)?;
        let presence = u32::from_le_bytes(*presence);
        if presence & !KNOWN != 0 {
            return Err(Malformed::UnknownBits(presence & !KNOWN));
        }
        let mut context = Self::default();
        for (bit, place) in [&mut context.peer_port, &mut context.node_id].into_iter().enumerate() {
            if presence & NUMBERS & 1 << bit != 0 {
                let (number, behind) = rest.split_first_chunk::<8>().ok_or(Malformed::Short)?;
                rest = behind;
                *place = Some(i32::try_from(i64::from_le_bytes(*number)).map_err(|_| Malformed::Range)?);
            }
        }
        let mut next = |bit: u32| -> Result<Option<&str>, Malformed> {
            if presence & 1 << bit == 0 {
                return Ok(None);
            }
            let (length, behind) = rest.split_first_chunk::<2>().ok_or(Malformed::Short)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (text, behind) = behind.split_at_checked(length).ok_or(Malformed::Short)?;
            rest = behind;
            std::str::from_utf8(text).map(Some).map_err(|_| Malformed::Text)
        };
        for (bit, place) in (FIRST_STRING..).zip(context.strings_mut()) {
            *place = next(bit)?.map(str::to_owned);
        }
        if let Some(text) = next(PRINCIPALS)? {
            context.principals = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
        }
        if let Some(text) = next(CONTEXT)? {
            context.context = Some(flat::context(text).ok_or(Malformed::Json)?);
        }
        if !rest.is_empty() {
            return Err(Malformed::LeftOver);
        }
        Ok(context)
    }

    /// Tells readers what was done to values before they came here.
    pub fn mark(&mut self, marks: Marks) {
        if marks.any() {
            mark(self.context.get_or_insert_default(), marks);
        }
    }

    /// Puts entries of ours into `context`. What of the caller's then finds no room is left out, and that is marked.
    pub fn note(&mut self, notes: Map<String, Value>) {
        let room = serde_json::to_string(&notes).map_or(0, |text| text.len());
        let map = self.context.get_or_insert_default();
        let (text, done) = map_text(map, spec::SESSION_CONTEXT_CAP.saturating_sub(2 * MARKS_ROOM + room));
        if done.any() {
            *map = flat::context(&text).unwrap_or_default();
            mark(map, done);
        }
        map.extend(notes);
    }

    /// Name of the first principal: the one set, else that of the list's first.
    #[must_use]
    pub fn first_principal(&self) -> Option<&str> {
        self.principal.as_deref().or_else(|| self.principals.first().map(|first| principal_name(first)))
    }

    /// All principals as `Type:name`: the list, else the one set as a `User`.
    #[must_use]
    pub fn all_principals(&self) -> Vec<Cow<'_, str>> {
        if self.principals.is_empty() {
            self.principal.iter().map(|name| Cow::Owned(format!("User:{name}"))).collect()
        } else {
            self.principals.iter().map(|principal| Cow::Borrowed(principal.as_str())).collect()
        }
    }

    /// Makes every value safe and no longer than its cap, and leaves a mark in `context` where that changed one.
    /// A context that fits already stays as it is.
    pub fn fit(&mut self) -> Marks {
        let mut marks = Marks::default();
        for (value, cap) in self.strings_mut().into_iter().zip(CAPS) {
            if let Some(text) = value {
                marks |= fit_text(text, cap);
            }
        }
        for name in &mut self.principals {
            marks |= fit_text(name, spec::SESSION_PRINCIPAL_CAP);
        }
        while principals_text(&self.principals).len() > spec::SESSION_PRINCIPALS_CAP {
            self.principals.pop();
            marks.cut = true;
        }
        if let Some(map) = &self.context {
            // Room for the marks is kept back, so that they can always be told.
            let (text, done) = map_text(map, spec::SESSION_CONTEXT_CAP - MARKS_ROOM);
            if done.any() || map.values().any(|value| !flat::is_flat(value)) {
                marks |= done;
                self.context = flat::context(&text);
            }
        }
        if marks.any() {
            let map = self.context.get_or_insert_default();
            mark(map, marks);
        }
        marks
    }
}

/// Bytes that the marks need in a map.
const MARKS_ROOM: usize = 64;

/// Puts the marks where readers look for them.
pub(crate) fn mark(map: &mut Map<String, Value>, marks: Marks) {
    for (is, key) in [(marks.altered, "altered"), (marks.cut, "cut")] {
        if is {
            map.insert(format!("{RESERVED}{key}"), Value::Bool(true));
        }
    }
}

fn fit_text(text: &mut String, cap: usize) -> Marks {
    let (fitted, marks) = sanitize::text(text.as_bytes(), cap);
    if marks.any() {
        *text = fitted.into_owned();
    }
    marks
}

/// The name in `Type:name`.
pub(crate) fn principal_name(principal: &str) -> &str {
    principal.split_once(':').map_or(principal, |(_, name)| name)
}

fn principals_text(principals: &[String]) -> String {
    serde_json::to_string(principals).unwrap_or_default()
}

/// The text of a map, cut to a cap. What is not flat becomes the text of its JSON; null is left out.
pub(crate) fn map_text(map: &Map<String, Value>, cap: usize) -> (String, Marks) {
    let mut out = FlatText::new(cap);
    let mut altered = false;
    for (key, value) in map {
        match value {
            Value::Null => {}
            Value::Array(list) if flat::is_flat(value) => {
                let numbers: Vec<_> = list.iter().map(scalar).collect();
                let scalars: Option<Vec<_>> = numbers.into_iter().collect();
                match scalars {
                    Some(scalars) => out.put_list(key.as_bytes(), &scalars),
                    None => out.put(key.as_bytes(), Scalar::Text(value.to_string().as_bytes())),
                }
            }
            _ => {
                if let Some(scalar) = scalar(value) {
                    out.put(key.as_bytes(), scalar);
                } else {
                    altered = true;
                    out.put(key.as_bytes(), Scalar::Text(value.to_string().as_bytes()));
                }
            }
        }
    }
    let (text, mut marks) = out.finish();
    marks.altered |= altered;
    (text, marks)
}

fn scalar(value: &Value) -> Option<Scalar<'_>> {
    match value {
        Value::String(text) => Some(Scalar::Text(text.as_bytes())),
        Value::Bool(value) => Some(Scalar::Bool(*value)),
        Value::Number(number) => number.as_i64().map(Scalar::Int).or_else(|| number.as_f64().map(Scalar::Float)),
        _ => None,
    }
}
