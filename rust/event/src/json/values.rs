//! What one row says of its own.

use super::session::number;
use crate::Malformed;
use crate::details::Details;
use crate::flat::quote;
use crate::plan::{Detail, Place, Visitor};
use crate::spec::{COLUMNS, Column};

const _: () = assert!(COLUMNS.len() <= 64, "the columns of a row are a set of 64 bits");

/// What one row says of its own.
pub(crate) struct Values<'a> {
    pub there: u64,
    ints: [i64; 64],
    texts: [&'a str; 64],
    pub details: Details<'a>,
}

impl<'a> Visitor<'a> for Values<'a> {
    #[inline]
    fn int(&mut self, column: Column, value: i64) {
        self.there |= 1 << column as u8;
        self.ints[column as usize & 63] = value;
    }

    #[inline]
    fn text(&mut self, column: Column, value: &'a [u8]) -> Result<(), Malformed> {
        self.texts[column as usize & 63] = std::str::from_utf8(value).map_err(|_| Malformed::Text)?;
        self.there |= 1 << column as u8;
        Ok(())
    }

    fn detail(&mut self, place: Place<'a>, value: Detail<'a>) {
        self.details.add(place, value);
    }
}

impl<'a> Values<'a> {
    pub(crate) fn new() -> Self {
        Self { there: 0, ints: [0; 64], texts: [""; 64], details: Details::default() }
    }

    /// Makes room for the next row.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.there = 0;
        self.details.clear();
    }

    #[inline]
    pub(super) fn has(&self, column: Column) -> bool {
        self.there & 1 << column as u8 != 0
    }

    #[inline]
    pub(crate) fn int(&self, column: Column) -> Option<i64> {
        self.has(column).then(|| self.ints[column as usize & 63])
    }

    #[inline]
    pub(crate) fn text(&self, column: Column) -> Option<&'a str> {
        self.has(column).then(|| self.texts[column as usize & 63])
    }

    /// Appends `key` and the column's number, if it is there.
    #[inline]
    pub(super) fn put_int(&self, out: &mut Vec<u8>, column: Column, key: &str) {
        if self.has(column) {
            number(out, key, self.ints[column as usize & 63]);
        }
    }

    /// Appends `key` and the column's text, if it is there.
    #[inline]
    pub(super) fn put_text(&self, out: &mut Vec<u8>, column: Column, key: &str) {
        if self.has(column) {
            out.extend_from_slice(key.as_bytes());
            quote(out, self.texts[column as usize & 63]);
        }
    }

    /// Appends the row's own member, else the context's fragment.
    pub(super) fn put_or(&self, out: &mut Vec<u8>, column: Column, key: &str, inherited: &[u8]) {
        if self.has(column) { self.put_text(out, column, key) } else { out.extend_from_slice(inherited) }
    }
}
