//! Small files that a person can read and no flipped bit gets past: followers, cursors, totals.
//!
//! ```text
//! auditring <kind> 1 <CRC of the body, 8 hex digits> <length of the body>\n
//! <body: JSON>
//! ```
//! The first line has one spelling only, so it is compared and not parsed.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::files;

/// Longer than any of these files gets; bounds what a damaged directory can make us read.
const MOST: u64 = 64 << 20;

/// Replaces the file at `path`.
pub(crate) fn store(path: &Path, kind: &str, value: &impl Serialize) -> Result<()> {
    files::replace(path, &encode(path, kind, value)?)
}

/// As [`store`], but for the name.
pub(crate) fn place(path: &Path, kind: &str, value: &impl Serialize) -> Result<()> {
    files::place(path, &encode(path, kind, value)?)
}

fn encode(path: &Path, kind: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    let body = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::damaged(path, format!("it cannot be written as JSON: {error}")))?;
    let mut bytes = first_line(kind, &body).into_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads the file at `path`; `None` if there is none.
pub(crate) fn load<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<Option<T>> {
    let Some(bytes) = files::read(path, MOST)? else { return Ok(None) };
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return Err(Error::damaged(path, "it has no first line"));
    };
    let (line, body) = bytes.split_at(end + 1);
    let expected = first_line(kind, body);
    if line != expected.as_bytes() {
        return Err(Error::damaged(path, format!("its first line should be {:?}", expected.trim_end())));
    }
    serde_json::from_slice(body).map(Some).map_err(|error| Error::damaged(path, error.to_string()))
}

fn first_line(kind: &str, body: &[u8]) -> String {
    format!("auditring {kind} 1 {:08x} {}\n", crc32fast::hash(body), body.len())
}

/// Opaque bytes within JSON: as hex digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        to.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let nibble = |byte: u8| char::from(byte).to_digit(16).map(|nibble| nibble as u8);
        text.as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| de::Error::custom("not a string of hex digits"))
    }
}
