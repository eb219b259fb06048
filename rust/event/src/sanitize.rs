//! Values off the wire, made safe.
//!
//! Nothing here fails: a value is kept as far as possible, and marks say what was done to it.

use crate::record::{ALTERED, CUT};
use crate::spec::{NAME_CAP, STATUS_CAP};
use std::borrow::Cow;

/// What was done to a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Something that cannot be text was replaced.
    pub altered: bool,
    /// The end was cut off.
    pub cut: bool,
}

impl Marks {
    /// The flags of a record.
    #[must_use]
    pub const fn flags(self) -> u8 {
        (if self.altered { ALTERED } else { 0 }) | (if self.cut { CUT } else { 0 })
    }

    /// Whether anything was done.
    #[must_use]
    pub const fn any(self) -> bool {
        self.altered || self.cut
    }
}

impl std::ops::BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        self.altered |= other.altered;
        self.cut |= other.cut;
    }
}

/// Text of at most `cap` bytes. NUL, lone surrogates (as WTF-8 has them) and bytes that are no UTF-8 become U+FFFD each;
/// what is too long is cut between characters.
#[must_use]
pub fn text(bytes: &[u8], cap: usize) -> (Cow<'_, str>, Marks) {
    // Cut first: a megabyte off the wire costs no more than its first `cap` bytes.
    let mut marks = Marks { altered: false, cut: bytes.len() > cap };
    let bytes = if marks.cut { &bytes[..char_start(bytes, cap)] } else { bytes };
    if let Ok(text) = std::str::from_utf8(bytes)
        && !bytes.contains(&0)
    {
        return (Cow::Borrowed(text), marks);
    }
    marks.altered = true;
    let mut out = String::with_capacity(bytes.len() + 8);
    let mut rest = bytes;
    while !rest.is_empty() {
        let fine = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        out.extend(fine.chars().map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }));
        rest = &rest[fine.len()..];
        let bad = match rest {
            [] => break,
            [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..] => 3,
            _ => rest.utf8_chunks().next().map_or(1, |chunk| chunk.invalid().len().max(1)),
        };
        out.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[bad..];
    }
    if out.len() > cap {
        marks.cut = true;
        out.truncate(char_start(out.as_bytes(), cap));
    }
    (Cow::Owned(out), marks)
}

/// The greatest position up to `at` at which a character begins; `at` itself where the bytes are no UTF-8.
fn char_start(bytes: &[u8], at: usize) -> usize {
    let begin = at.saturating_sub(3);
    (begin..=at).rev().find(|i| bytes.get(*i).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(at)
}

/// A status as the schema wants it, `^([a-zA-Z0-9_]+[.])*[a-zA-Z0-9_]+$`: other characters, and nothing where something
/// must be, become `_`.
#[must_use]
pub fn status(status: &str) -> Cow<'_, str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let segments = |text: &str| text.split('.').all(|s| !s.is_empty() && s.bytes().all(word));
    if status.len() <= STATUS_CAP && segments(status) {
        return Cow::Borrowed(status);
    }
    let mut out = String::with_capacity(status.len().min(STATUS_CAP));
    let mut in_segment = false;
    for c in status.chars() {
        if out.len() + 2 > STATUS_CAP {
            break;
        }
        if c == '.' {
            if !in_segment {
                out.push('_');
            }
            out.push('.');
            in_segment = false;
        } else {
            out.push(if c.is_ascii_alphanumeric() { c } else { '_' });
            in_segment = true;
        }
    }
    if !in_segment {
        out.push('_');
    }
    Cow::Owned(out)
}

/// Whether a host may give an event this name: `^([a-z0-9_]+[.])+[A-Z][a-zA-Z0-9_]*$`, with a package that is not ours.
#[must_use]
pub fn action_name_ok(name: &str) -> bool {
    let Some((package, last)) = name.rsplit_once('.') else { return false };
    let segment =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    name.len() <= NAME_CAP
        && package.split('.').all(segment)
        && package.split('.').next() != Some("auditring")
        && last.starts_with(|c: char| c.is_ascii_uppercase())
        && last.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
