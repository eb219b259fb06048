//! The body that records and rows share, and the bits that say what is in it.
//!
//! ```text
//! present Int fields in list order, 8 bytes each (i64)
//! END_TIME (i64), if present
//! present Str fields in list order, then common strings in bit order: u16 length, bytes
//! ```
//!
//! The presence word has bit `i` for field `i` of the action's list and the bits below for what any event may carry. So
//! a number is found by counting bits, and a string by walking those before it.

use crate::{Malformed, spec};

/// Presence of the status.
pub const STATUS: u32 = 1 << 20;
/// Presence of the reason.
pub const REASON: u32 = 1 << 21;
/// Presence of a tap that differs from the session's.
pub const TAP: u32 = 1 << 22;
/// Presence of a filter that differs from the session's.
pub const FILTER: u32 = 1 << 23;
/// Presence of `object_ref`: a JSON object of strings.
pub const OBJECT_REF: u32 = 1 << 24;
/// Presence of `context`: a flat JSON object.
pub const CONTEXT: u32 = 1 << 25;
/// Presence of the name of a free-form event.
pub const NAME: u32 = 1 << 26;
/// Presence of the session whose request was the cause of a filter's event.
pub const CAUSE_SESSION: u32 = 1 << 27;
/// Presence of the end time: nanoseconds since the epoch, a number.
pub const END_TIME: u32 = 1 << 28;
/// The strings that any event may carry, in the order in which they lie.
pub const COMMON_STRS: u32 = STATUS | REASON | TAP | FILTER | OBJECT_REF | CONTEXT | NAME | CAUSE_SESSION;
/// Bits of the fields.
pub const FIELDS: u32 = (1 << spec::MAX_FIELDS) - 1;

/// Which presence bits of a code are numbers, and which strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number fields and `END_TIME`.
    pub ints: u32,
    /// String fields and the common strings.
    pub strs: u32,
}

impl Layout {
    /// The layout of a code; none for a code of the catalog's range that this version does not know.
    ///
    /// All fields of a declared event are strings, so its definition is not needed to walk it.
    #[must_use]
    pub const fn of(code: u16) -> Option<Self> {
        match spec::spec(code) {
            Some(spec) => {
                let name = if code == spec::FREEFORM { 0 } else { NAME };
                Some(Self { ints: spec.int_mask() | END_TIME, strs: spec.str_mask() | (COMMON_STRS & !name) })
            }
            None if code >= spec::FIRST_DECLARED && (code as usize) < spec::CODES => {
                Some(Self { ints: END_TIME, strs: FIELDS | (COMMON_STRS & !NAME) })
            }
            None => None,
        }
    }

    /// The same out of a table; nothing for a code that is not known.
    #[inline]
    #[must_use]
    pub fn known(code: u16) -> Self {
        LAYOUTS.get(usize::from(code)).copied().unwrap_or(Self { ints: 0, strs: 0 })
    }
}

/// Layouts by code: a row is walked without looking at its spec.
static LAYOUTS: [Layout; spec::CODES] = {
    let mut table = [Layout { ints: 0, strs: 0 }; spec::CODES];
    let mut code = 0;
    while code < spec::CODES {
        if let Some(layout) = Layout::of(code as u16) {
            table[code] = layout;
        }
        code += 1;
    }
    table
};

/// A body and what is needed to walk it. Reading never panics: what does not lie within the bytes is not there.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    presence: u32,
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    /// The body of an event of this code; of an unknown code nothing can be read.
    #[inline]
    #[must_use]
    pub fn new(code: u16, presence: u32, bytes: &'a [u8]) -> Self {
        Self { presence, layout: Layout::known(code), bytes }
    }

    /// The number behind one presence bit.
    #[inline]
    #[must_use]
    pub fn int(&self, bit: u32) -> Option<i64> {
        let ints = self.presence & self.layout.ints;
        if ints & bit == 0 {
            return None;
        }
        let at = 8 * (ints & (bit - 1)).count_ones() as usize;
        Some(i64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// The strings that are there, each with its presence bit, until one does not lie within the bytes.
    #[inline]
    #[must_use]
    pub fn strings(&self) -> Strings<'a> {
        let ints = 8 * (self.presence & self.layout.ints).count_ones() as usize;
        Strings { left: self.presence & self.layout.strs, bytes: self.bytes.get(ints..).unwrap_or(&[]) }
    }

    /// Presence bits of the numbers that are there.
    #[inline]
    #[must_use]
    pub const fn ints(&self) -> u32 {
        self.presence & self.layout.ints
    }

    /// All strings as they lie, with the padding behind them: equal bytes are equal strings where the presence is equal.
    #[inline]
    #[must_use]
    pub fn text_bytes(&self) -> &'a [u8] {
        self.bytes.get(8 * self.ints().count_ones() as usize..).unwrap_or(&[])
    }

    /// The string behind one presence bit, if it is there and UTF-8.
    #[inline]
    #[must_use]
    pub fn text(&self, bit: u32) -> Option<&'a str> {
        if self.presence & self.layout.strs & bit == 0 {
            return None;
        }
        let (_, bytes) = self.strings().find(|(found, _)| *found == bit)?;
        std::str::from_utf8(bytes).ok()
    }

    /// Walks everything: every bit has a meaning, every value lies within the bytes, every string is UTF-8, maps are the
    /// JSON that they should be, numbers are in range, and nothing but padding is left: so many bytes of it.
    pub(crate) fn validate(&self, code: u16) -> Result<usize, Malformed> {
        let layout = Layout::of(code).ok_or(Malformed::UnknownCode(code))?;
        let unknown = self.presence & !(layout.ints | layout.strs);
        if unknown != 0 {
            return Err(Malformed::UnknownBits(unknown));
        }
        if code == spec::FREEFORM && self.presence & NAME == 0 {
            return Err(Malformed::Text);
        }
        let mut ints = self.presence & layout.ints;
        let (numbers, _) = self.bytes.as_chunks::<8>();
        if numbers.len() < ints.count_ones() as usize {
            return Err(Malformed::Short);
        }
        let fields = spec::spec(code).map_or(&[][..], |spec| spec.fields);
        for number in numbers {
            if ints == 0 {
                break;
            }
            let value = i64::from_le_bytes(*number);
            // Behind the fields lies the end time, which may be any.
            let field = fields.get(ints.trailing_zeros() as usize);
            if field.is_some_and(|field| value < field.min || value > field.max) {
                return Err(Malformed::Range);
            }
            ints &= ints - 1;
        }
        let mut strings = self.strings();
        for (bit, bytes) in strings.by_ref() {
            let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Text)?;
            let fine = match bit {
                OBJECT_REF => crate::flat::is_object_ref(text),
                CONTEXT => crate::flat::is_context(text),
                NAME => crate::sanitize::action_name_ok(text),
                STATUS => crate::sanitize::status(text) == text,
                _ => true,
            };
            if !fine {
                return Err(if bit & (NAME | STATUS) != 0 { Malformed::Text } else { Malformed::Json });
            }
        }
        if !strings.is_complete() {
            return Err(Malformed::Short);
        }
        if !strings.is_padding() {
            return Err(Malformed::LeftOver);
        }
        Ok(strings.bytes.len())
    }
}

/// The strings of a body, in the order in which they lie.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    left: u32,
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    pub(crate) const fn new(left: u32, bytes: &'a [u8]) -> Self {
        Self { left, bytes }
    }

    /// Whether nothing but padding lies behind those that were met.
    pub(crate) fn is_padding(&self) -> bool {
        self.bytes.len() < 8 && self.bytes.iter().all(|byte| *byte == 0)
    }

    /// Whether every string that should be there was met.
    #[inline]
    pub(crate) const fn is_complete(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = (u32, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let bit = self.left & self.left.wrapping_neg();
        let (length, rest) = self.bytes.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        self.left &= self.left - 1;
        self.bytes = rest;
        Some((bit, text))
    }
}

/// Appends a string as it lies in bodies and contexts. What is longer than its length word can say is a caller's error.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(u16::try_from(text.len()).is_ok());
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The next multiple of eight.
#[inline]
#[must_use]
pub const fn padded(length: usize) -> usize {
    (length + 7) & !7
}
