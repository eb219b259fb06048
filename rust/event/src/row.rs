//! A row: one event as it lies in the journal, numbered and timed.
//!
//! ```text
//!  0  u32 row length      whole, a multiple of 8
//!  4  u32 presence        which fields are there (`body`)
//!  8  u16 code            10  u8 bits     11  u8 flags    as in the record
//! 12  u32 context index   local to the segment; u32::MAX none
//! 16  i64 time_ns         wall time, since the epoch
//! 24  i64 age_ns          since `ProxyStartup`
//! 32  body, zero-padded to 8
//! ```
//!
//! The body is the record's, byte for byte.

use crate::record::{self, Body, RecordView, check_bits, padded};
use crate::spec::{ACTIONS, Column, Target};
use crate::{Malformed, Outcome, index_of, spec};

/// Offset of the row's length.
pub const LEN_AT: usize = 0;
/// Offset of the presence word.
pub const PRESENCE_AT: usize = 4;
/// Offset of the code.
pub const CODE_AT: usize = 8;
/// Offset of the bits.
pub const BITS_AT: usize = 10;
/// Offset of the flags.
pub const FLAGS_AT: usize = 11;
/// Offset of the context's index.
pub const CONTEXT_AT: usize = 12;
/// Offset of the wall time.
pub const TIME_AT: usize = 16;
/// Offset of the age.
pub const AGE_AT: usize = 24;
/// Length of the head: the body begins here.
pub const HEAD: usize = 32;
/// The context's index of a row without one.
pub const NO_CONTEXT: u32 = u32::MAX;

/// Appends the row of a record; `flags` are added to the record's own.
pub fn from_record(record: &RecordView<'_>, context: u32, time_ns: i64, age_ns: i64, flags: u8, out: &mut Vec<u8>) {
    let head = record.head();
    let body = record.body();
    let length = HEAD + padded(body.len());
    let words = [
        length as u64 | u64::from(head.presence) << 32,
        u64::from(head.code)
            | u64::from(head.bits) << 16
            | u64::from(head.flags | flags) << 24
            | u64::from(context) << 32,
        time_ns as u64,
        age_ns as u64,
    ];
    let mut bytes = [0; HEAD];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let end = out.len() + length;
    out.reserve(length);
    out.extend_from_slice(&bytes);
    out.extend_from_slice(body);
    out.resize(end, 0);
}

/// Sets the context's index of the row that begins at `offset`. No effect where there is no row.
pub fn set_context(data: &mut [u8], offset: usize, context: u32) {
    let at = offset.saturating_add(CONTEXT_AT);
    if let Some(place) = data.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = context.to_le_bytes();
    }
}

/// Appends a row that is `view` without the fields in `without`, with these numbers in place of its own, and with an end:
/// what several rows have become. A number that the row does not have is not added.
pub fn merged(view: &RowView<'_>, without: u32, numbers: &[(u32, i64)], end_time_ns: i64, out: &mut Vec<u8>) {
    let fields = view.fields();
    let begin = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let mut left = fields.ints() & !without & !record::END_TIME;
    let mut presence = left | record::END_TIME;
    while left != 0 {
        let bit = left & left.wrapping_neg();
        let own = || fields.int(bit).unwrap_or_default();
        let value = numbers.iter().find(|(of, _)| *of == bit).map_or_else(own, |(_, value)| *value);
        out.extend_from_slice(&value.to_le_bytes());
        left &= left - 1;
    }
    out.extend_from_slice(&end_time_ns.to_le_bytes());
    for (bit, text) in fields.strings().filter(|(bit, _)| without & bit == 0) {
        presence |= bit;
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    }
    let length = padded(out.len() - begin);
    out.resize(begin + length, 0);
    let mut head = view.head;
    head[0] = length as u64 | u64::from(presence) << 32;
    for (place, word) in out[begin..begin + HEAD].chunks_exact_mut(8).zip(head) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// A row's bytes, with the length checked.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    head: [u64; 4],
    body: &'a [u8],
}

impl<'a> RowView<'a> {
    /// Reads the row at the beginning of the bytes; what lies behind it is not looked at.
    ///
    /// # Errors
    /// If the row does not lie within the bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let head = bytes.first_chunk::<HEAD>().ok_or(Malformed::Short)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let head = [word(0), word(8), word(16), word(24)];
        let length = head[0] as u32 as usize;
        if length < HEAD || !length.is_multiple_of(8) {
            return Err(Malformed::Length);
        }
        let body = bytes.get(HEAD..length).ok_or(Malformed::Short)?;
        Ok(Self { head, body })
    }

    /// Reads the row at an offset.
    ///
    /// # Errors
    /// If the row does not lie within the bytes.
    #[inline]
    pub fn at(data: &'a [u8], offset: u32) -> Result<Self, Malformed> {
        Self::parse(data.get(offset as usize..).ok_or(Malformed::Short)?)
    }

    /// The bytes of the whole row: the next one begins behind them.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a row has a head at least")]
    pub const fn len(&self) -> usize {
        self.head[0] as u32 as usize
    }

    /// Which fields are there.
    #[inline]
    #[must_use]
    pub const fn presence(&self) -> u32 {
        (self.head[0] >> 32) as u32
    }

    /// Which action.
    #[inline]
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.head[1] as u16
    }

    /// Outcome, authority and origin.
    #[inline]
    #[must_use]
    pub const fn bits(&self) -> u8 {
        (self.head[1] >> 16) as u8
    }

    /// The outcome; of a row that is not valid the nearest one can say is `Failure`.
    #[inline]
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        record::outcome(self.bits()).unwrap_or(Outcome::Failure)
    }

    /// The flags.
    #[inline]
    #[must_use]
    pub const fn flags(&self) -> u8 {
        (self.head[1] >> 24) as u8
    }

    /// Index of the context; [`NO_CONTEXT`] where there is none.
    #[inline]
    #[must_use]
    pub const fn context(&self) -> u32 {
        (self.head[1] >> 32) as u32
    }

    /// Wall time, nanoseconds since the epoch.
    #[inline]
    #[must_use]
    pub const fn time_ns(&self) -> i64 {
        self.head[2] as i64
    }

    /// Nanoseconds since `ProxyStartup`.
    #[inline]
    #[must_use]
    pub const fn age_ns(&self) -> i64 {
        self.head[3] as i64
    }

    /// The body's bytes, with their padding.
    #[inline]
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The body, to be walked.
    #[inline]
    #[must_use]
    pub fn fields(&self) -> Body<'a> {
        Body::new(self.code(), self.presence(), self.body)
    }

    /// Walks the body, as [`RecordView::validate`] does.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub fn validate(&self) -> Result<(), Malformed> {
        check_bits(self.bits())?;
        self.fields().validate(self.code()).map(|_padding| ())
    }
}

/// Position of the field that lands in `resource`, by position of the action; 255 where there is none.
static RESOURCE: [u8; ACTIONS.len()] = {
    let mut table = [u8::MAX; ACTIONS.len()];
    let mut action = 0;
    while action < ACTIONS.len() {
        let fields = ACTIONS[action].fields;
        let mut field = 0;
        while field < fields.len() {
            if matches!(fields[field].target, Target::Column(Column::Resource)) {
                table[action] = field as u8;
            }
            field += 1;
        }
        action += 1;
    }
    table
};

/// The string in a field of the action's list.
#[inline]
#[must_use]
pub fn str_field<'a>(row: &RowView<'a>, index: usize) -> Option<&'a str> {
    if index < crate::MAX_FIELDS { row.fields().text(1 << index) } else { None }
}

/// The number in a field of the action's list.
#[inline]
#[must_use]
pub fn int_field(row: &RowView<'_>, index: usize) -> Option<i64> {
    if index < crate::MAX_FIELDS { row.fields().int(1 << index) } else { None }
}

/// The resource that the event touched.
#[inline]
#[must_use]
pub fn resource<'a>(row: &RowView<'a>) -> Option<&'a str> {
    spec(row.code())?;
    let field = RESOURCE[index_of(row.code())];
    if field == u8::MAX { None } else { str_field(row, usize::from(field)) }
}

/// The row's own tap; none means the session's.
#[inline]
#[must_use]
pub fn tap<'a>(row: &RowView<'a>) -> Option<&'a str> {
    row.fields().text(record::TAP)
}
