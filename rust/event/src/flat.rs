//! Flat JSON maps: `object_ref` (strings only) and `context` (strings, numbers, booleans, and lists of them).

use crate::sanitize::{self, Marks};
use serde_json::{Map, Value};

/// Keys that begin with this are ours: what was done to a value stands under them.
pub const RESERVED: &str = "auditring.";

/// The key under which the session that was the cause stands in `context`. Ours too.
pub const CAUSE_SESSION_KEY: &str = "causeSession";

/// A map as it is held in memory.
pub type FlatMap = Map<String, Value>;

/// Whether a value may stand in a context.
#[must_use]
pub fn is_flat(value: &Value) -> bool {
    let scalar = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    scalar(value) || value.as_array().is_some_and(|list| list.iter().all(scalar))
}

/// The text of a map, cut to a cap.
#[must_use]
pub fn text(map: &FlatMap, cap: usize) -> (String, Marks) {
    crate::context::map_text(map, cap)
}

/// The map in a text, if it is a JSON object of strings.
#[must_use]
pub fn object_ref(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str::<Map<String, Value>>(text).ok().filter(|map| map.values().all(Value::is_string))
}

/// The map in a text, if it is a flat JSON object.
#[must_use]
pub fn context(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str::<Map<String, Value>>(text).ok().filter(|map| map.values().all(is_flat))
}

pub(crate) fn is_object_ref(text: &str) -> bool {
    object_ref(text).is_some()
}

pub(crate) fn is_context(text: &str) -> bool {
    context(text).is_some()
}

/// A scalar of a flat map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Text off the wire.
    Text(&'a [u8]),
    /// A whole number.
    Int(i64),
    /// A number; one that JSON cannot say becomes text.
    Float(f64),
    /// A truth.
    Bool(bool),
}

/// Writes a flat map as JSON text of at most `cap` bytes: values are made safe, text that does not fit is cut, entries
/// that do not fit are left out, and marks tell.
#[derive(Clone, Debug)]
pub struct FlatText {
    out: Vec<u8>,
    cap: usize,
    marks: Marks,
}

impl FlatText {
    /// An empty map.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { out: vec![b'{'], cap, marks: Marks::default() }
    }

    /// Adds a scalar.
    pub fn put(&mut self, key: &[u8], value: Scalar<'_>) {
        let begin = self.out.len();
        if self.key(key) && self.scalar(value, 1) {
            return;
        }
        self.out.truncate(begin);
        self.marks.cut = true;
    }

    /// Adds a list of scalars; what does not fit is left out from its end.
    pub fn put_list(&mut self, key: &[u8], values: &[Scalar<'_>]) {
        let begin = self.out.len();
        if !self.key(key) || self.room(2) == 0 {
            self.out.truncate(begin);
            self.marks.cut = true;
            return;
        }
        self.out.push(b'[');
        for (i, value) in values.iter().enumerate() {
            let before = self.out.len();
            if i > 0 {
                self.out.push(b',');
            }
            if !self.scalar(*value, 2) {
                self.out.truncate(before);
                self.marks.cut = true;
                break;
            }
        }
        self.out.push(b']');
    }

    /// Tells what was done to a key or value before it came here.
    pub fn mark(&mut self, marks: Marks) {
        self.marks |= marks;
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.len() == 1
    }

    /// The text, and what was done to get it.
    #[must_use]
    pub fn finish(mut self) -> (String, Marks) {
        self.out.push(b'}');
        (String::from_utf8(self.out).unwrap_or_else(|_| String::from("{}")), self.marks)
    }

    /// Bytes that may still be written if `after` more must follow.
    fn room(&self, after: usize) -> usize {
        self.cap.saturating_sub(self.out.len() + after)
    }

    fn key(&mut self, key: &[u8]) -> bool {
        let (key, marks) = sanitize::text(key, self.cap);
        if !self.is_empty() {
            self.out.push(b',');
        }
        quote(&mut self.out, &key);
        self.out.push(b':');
        self.marks |= marks;
        self.room(1) > 0
    }

    fn scalar(&mut self, value: Scalar<'_>, after: usize) -> bool {
        let begin = self.out.len();
        match value {
            Scalar::Text(bytes) => return self.text(bytes, after),
            Scalar::Int(value) => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Scalar::Bool(value) => self.out.extend_from_slice(if value { b"true" } else { b"false" }),
            Scalar::Float(value) => {
                if let Some(number) = serde_json::Number::from_f64(value) {
                    self.out.extend_from_slice(number.to_string().as_bytes());
                } else {
                    let name = if value.is_nan() { "NaN" } else { ["Infinity", "-Infinity"][usize::from(value < 0.0)] };
                    self.marks.altered = true;
                    quote(&mut self.out, name);
                }
            }
        }
        if self.out.len() + after <= self.cap {
            return true;
        }
        self.out.truncate(begin);
        false
    }

    fn text(&mut self, bytes: &[u8], after: usize) -> bool {
        let Some(room) = self.room(after).checked_sub(2) else { return false };
        let begin = self.out.len();
        let (text, marks) = sanitize::text(bytes, room);
        self.marks |= marks;
        quote(&mut self.out, &text);
        if self.out.len() + after > self.cap {
            // Escapes made it longer than its bytes: keep what fits, at most six bytes for one.
            self.out.truncate(begin);
            self.marks.cut = true;
            let (text, _) = sanitize::text(text.as_bytes(), room / 6);
            quote(&mut self.out, &text);
        }
        true
    }
}

/// Whether none of eight bytes must be escaped in a JSON string: control characters, `"` and `\`.
///
/// A byte is found where subtracting borrows from its highest bit; what a borrow does to the bytes above it can only
/// find more where something was found already.
#[inline]
const fn is_plain(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(bytes);
    let quotes = word ^ (ONES * b'"' as u64);
    let slashes = word ^ (ONES * b'\\' as u64);
    let found = (word.wrapping_sub(ONES * 0x20) & !word)
        | (quotes.wrapping_sub(ONES) & !quotes)
        | (slashes.wrapping_sub(ONES) & !slashes);
    found & (ONES * 0x80) == 0
}

/// Appends a JSON string with its quotes.
#[inline]
pub(crate) fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
#[inline]
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    if words.iter().all(|word| is_plain(*word)) && is_plain(last) {
        out.extend_from_slice(bytes);
    } else {
        escape_slowly(out, bytes);
    }
}

#[cold]
fn escape_slowly(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_wherever_it_stands() {
        for byte in 0..0x80_u8 {
            for at in 0..19 {
                let mut text = "abcdefghijklmnopqrs".to_owned();
                text.replace_range(at..=at, &char::from(byte).to_string());
                let mut out = Vec::new();
                quote(&mut out, &text);
                assert_eq!(text, serde_json::from_slice::<String>(&out).unwrap());
            }
        }
    }

    #[test]
    fn a_map_never_exceeds_its_cap_and_stays_json() {
        for cap in 2..80 {
            let mut map = FlatText::new(cap);
            map.put(b"int", Scalar::Int(i64::MIN));
            map.put(b"text", Scalar::Text("\"\u{1}é".repeat(9).as_bytes()));
            map.put_list(b"list", &[Scalar::Bool(true), Scalar::Float(f64::NAN), Scalar::Text(b"a\xFF")]);
            let (text, marks) = map.finish();
            assert!(text.len() <= cap && is_context(&text), "{cap}: {text}");
            assert!(marks.cut || text.contains("NaN"), "{cap}: {text}");
        }
    }
}
