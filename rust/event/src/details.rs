//! The open maps of one row, `object_ref` and `context`, put together from everything that contributes to them.
//!
//! `context` is the session's, then the action's own keys, then the caller's map, then the marks; what comes later wins.
//! The common case, a few keys that do not collide, is written straight as text; anything else by way of a map.

use crate::context::mark;
use crate::flat::{self, RESERVED, quote};
use crate::plan::{Detail, Place};
use crate::record::{ALTERED, CUT};
use crate::sanitize::Marks;
use crate::{Context, Malformed};
use serde_json::{Map, Value};

/// What one row contributes.
#[derive(Default)]
pub(crate) struct Details<'a> {
    object_ref: Vec<(&'a str, Detail<'a>)>,
    context: Vec<(&'a str, Detail<'a>)>,
    object_ref_map: Option<&'a str>,
    context_map: Option<&'a str>,
    any: bool,
}

impl<'a> Details<'a> {
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.any {
            self.object_ref.clear();
            self.context.clear();
            self.object_ref_map = None;
            self.context_map = None;
            self.any = false;
        }
    }

    pub(crate) fn add(&mut self, place: Place<'a>, value: Detail<'a>) {
        self.any = true;
        match (place, value) {
            (Place::ObjectRef(key), value) => self.object_ref.push((key, value)),
            (Place::Context(key), value) => self.context.push((key, value)),
            (Place::ObjectRefMap, Detail::Text(text)) => self.object_ref_map = Some(text),
            (Place::ContextMap, Detail::Text(text)) => self.context_map = Some(text),
            _ => {}
        }
    }

    /// Whether the row has an `object_ref` of its own.
    #[inline]
    pub(crate) fn has_object_ref(&self) -> bool {
        self.any && (self.object_ref_map.is_some() || !self.object_ref.is_empty())
    }

    /// The row's `object_ref`.
    pub(crate) fn object_ref(&self) -> Result<Map<String, Value>, Malformed> {
        let mut map = match self.object_ref_map {
            Some(text) => flat::object_ref(text).ok_or(Malformed::Json)?,
            None => Map::new(),
        };
        for (key, value) in &self.object_ref {
            let text = match value {
                Detail::Text(text) => (*text).to_owned(),
                Detail::Int(number) => number.to_string(),
            };
            map.insert((*key).to_owned(), Value::String(text));
        }
        Ok(map)
    }

    /// A value of the row's own `context`.
    pub(crate) fn context_value(&self, key: &str) -> Option<Value> {
        let given = self.context_map.filter(|text| text.contains(key)).and_then(flat::context);
        if let Some(value) = given.and_then(|mut map| map.remove(key)) {
            return Some(value);
        }
        self.context.iter().rfind(|(of, _)| *of == key).map(|(_, value)| match value {
            Detail::Int(number) => Value::from(*number),
            Detail::Text(text) => Value::from(*text),
        })
    }

    /// Appends the row's `object_ref` as JSON; nothing where it is empty. Says whether there was something.
    pub(crate) fn write_object_ref(&self, out: &mut Vec<u8>) -> Result<bool, Malformed> {
        if !self.has_object_ref() {
            return Ok(false);
        }
        let map = self.object_ref()?;
        if map.is_empty() {
            return Ok(false);
        }
        write_map(out, &map);
        Ok(true)
    }

    /// Whether the row has a `context` at all.
    #[inline]
    pub(crate) fn has_context(&self, flags: u8, session: &SessionDetails) -> bool {
        !session.text.is_empty()
            || flags & (ALTERED | CUT) != 0
            || self.any && (self.context_map.is_some() || !self.context.is_empty())
    }

    /// Appends the row's `context` as JSON; nothing where it is empty. Says whether there was something.
    pub(crate) fn write_context(
        &self,
        flags: u8,
        context: Option<&Context>,
        session: &SessionDetails,
        out: &mut Vec<u8>,
    ) -> Result<bool, Malformed> {
        if !self.has_context(flags, session) {
            return Ok(false);
        }
        let map = context.and_then(|context| context.context.as_ref());
        let collides = map.is_some_and(|map| {
            flags & (ALTERED | CUT) != 0 || self.context.iter().any(|(key, _)| map.contains_key(*key))
        });
        if self.context_map.is_some() || collides {
            return self.write_merged(flags, map, out);
        }
        let begin = out.len();
        out.push(b'{');
        out.extend_from_slice(&session.text);
        for (key, value) in &self.context {
            comma(out, begin);
            quote(out, key);
            out.push(b':');
            write_detail(out, value);
        }
        for (flag, name) in [(ALTERED, "altered"), (CUT, "cut")] {
            if flags & flag != 0 {
                comma(out, begin);
                out.push(b'"');
                out.extend_from_slice(RESERVED.as_bytes());
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":true");
            }
        }
        out.push(b'}');
        Ok(true)
    }

    #[cold]
    fn write_merged(
        &self,
        flags: u8,
        session: Option<&Map<String, Value>>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Malformed> {
        let mut map = session.cloned().unwrap_or_default();
        for (key, value) in &self.context {
            let value = match value {
                Detail::Text(text) => Value::from(*text),
                Detail::Int(number) => Value::from(*number),
            };
            map.insert((*key).to_owned(), value);
        }
        if let Some(text) = self.context_map {
            map.extend(flat::context(text).ok_or(Malformed::Json)?);
        }
        mark(&mut map, Marks { altered: flags & ALTERED != 0, cut: flags & CUT != 0 });
        if map.is_empty() {
            return Ok(false);
        }
        write_map(out, &map);
        Ok(true)
    }
}

/// A session's context map as text without its braces, made once a batch.
#[derive(Default)]
pub(crate) struct SessionDetails {
    text: Vec<u8>,
}

impl SessionDetails {
    pub(crate) fn new(context: &Context) -> Self {
        let mut text = Vec::new();
        if let Some(map) = context.context.as_ref().filter(|map| !map.is_empty()) {
            write_map(&mut text, map);
            text.pop();
            text.remove(0);
        }
        Self { text }
    }
}

pub(crate) fn write_map(out: &mut Vec<u8>, map: &Map<String, Value>) {
    // Writing a map of plain values into memory cannot fail.
    let _written = serde_json::to_writer(out, map);
}

fn write_detail(out: &mut Vec<u8>, value: &Detail<'_>) {
    match value {
        Detail::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        Detail::Text(text) => quote(out, text),
    }
}

/// A comma, unless nothing was written since the opening brace at `begin`.
#[inline]
fn comma(out: &mut Vec<u8>, begin: usize) {
    if out.len() > begin + 1 {
        out.push(b',');
    }
}
