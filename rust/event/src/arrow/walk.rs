//! The walk over the rows: what each says of its own, by column, a set of rows after the other.

use super::interner::Interner;
use super::text::TextColumn;
use crate::details::{Details, SessionDetails};
use crate::plan::{Detail, Place, Plans, Visitor};
use crate::row::NO_CONTEXT;
use crate::spec::{CODES, COLUMNS, Column};
use crate::{Context, Malformed, RowSet, record};
use std::sync::Arc;

const _: () = assert!(COLUMNS.len() <= 64, "the columns of a row are a set of 64 bits");

/// A column's values by row, up to the last row that has one. What stands at rows that have none means nothing.
#[derive(Default)]
pub(super) struct Own {
    pub ints: Vec<i64>,
    pub keys: Vec<i32>,
    pub interner: Interner,
}

/// What the visitor fills.
struct Filling<'a, 'b> {
    row: usize,
    /// Rows that are expected altogether.
    rows: usize,
    /// Which columns the row has, a bit each.
    there: u64,
    own: &'b mut [Own],
    reason: &'b mut TextColumn,
    details: Details<'a>,
}

impl<'a> Visitor<'a> for Filling<'a, '_> {
    #[inline]
    fn int(&mut self, column: Column, value: i64) {
        self.there |= 1 << column as u8;
        let Some(own) = self.own.get_mut(column as usize) else { return };
        put(&mut own.ints, self.row, self.rows, value);
    }

    #[inline]
    fn text(&mut self, column: Column, value: &'a [u8]) -> Result<(), Malformed> {
        self.there |= 1 << column as u8;
        if column == Column::Reason {
            self.reason.bytes.extend_from_slice(std::str::from_utf8(value).map_err(|_| Malformed::Text)?.as_bytes());
            self.reason.end(self.row);
            return Ok(());
        }
        let Some(own) = self.own.get_mut(column as usize) else { return Ok(()) };
        let key = own.interner.intern(value)?;
        put(&mut own.keys, self.row, self.rows, key);
        Ok(())
    }

    fn detail(&mut self, place: Place<'a>, value: Detail<'a>) {
        self.details.add(place, value);
    }
}

/// Sets a row's value. Mostly it is the next one.
#[inline]
fn put<T: Clone + Default>(values: &mut Vec<T>, row: usize, rows: usize, value: T) {
    if values.len() == row && row < values.capacity() {
        values.push(value);
    } else {
        put_apart(values, row, rows, value);
    }
}

/// A column's first value (until then it takes no memory), one behind rows that have none, or one once more.
#[cold]
fn put_apart<T: Clone + Default>(values: &mut Vec<T>, row: usize, rows: usize, value: T) {
    if values.len() <= row {
        values.reserve(rows.saturating_sub(values.len()));
        values.resize(row + 1, T::default());
    }
    values[row] = value;
}

/// A row stands for several events.
#[cold]
fn merged(counts: &mut Vec<i64>, row: usize, count: u32) {
    counts.resize(row, 1);
    counts.push(count.into());
}

/// All that the rows say.
pub(super) struct Walk {
    /// Rows that are expected.
    rows: usize,
    pub own: Vec<Own>,
    /// Which columns each row has, which all have, and which any has.
    pub there: Vec<u64>,
    pub all: u64,
    pub any: u64,
    pub seq: Vec<i64>,
    pub weight: Vec<i64>,
    /// Up to the last row that stands for several events; behind it every row stands for one.
    pub count: Vec<i64>,
    pub time_ns: Vec<i64>,
    pub age_ns: Vec<i64>,
    /// The codes met, in order of appearance, and each row's position among them.
    pub codes: Vec<u16>,
    pub code: Vec<u32>,
    code_at: Vec<u16>,
    /// Position of each row's context, counted from 1; 0 for none.
    pub context: Vec<u32>,
    /// Outcome, authority and origin of each row.
    pub bits: Vec<u32>,
    pub contexts_used: Vec<bool>,
    pub bits_used: [bool; 256],
    pub reason: TextColumn,
    pub object_ref: TextColumn,
    pub details: TextColumn,
    /// What the contexts say under `context`, by their position.
    sessions: Vec<SessionDetails>,
    /// Bytes of each context's principals as a list, and of all rows' so far.
    principals: Vec<usize>,
    listed: usize,
}

impl Walk {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            rows,
            own: COLUMNS.iter().map(|_| Own::default()).collect(),
            there: Vec::with_capacity(rows),
            all: u64::MAX,
            any: 0,
            seq: Vec::with_capacity(rows),
            weight: Vec::with_capacity(rows),
            count: Vec::new(),
            time_ns: Vec::with_capacity(rows),
            age_ns: Vec::with_capacity(rows),
            codes: Vec::new(),
            code: Vec::with_capacity(rows),
            code_at: vec![u16::MAX; CODES],
            context: Vec::with_capacity(rows),
            bits: Vec::with_capacity(rows),
            contexts_used: vec![false],
            bits_used: [false; 256],
            reason: TextColumn::default(),
            object_ref: TextColumn::default(),
            details: TextColumn::default(),
            sessions: vec![SessionDetails::default()],
            principals: vec![0],
            listed: 0,
        }
    }

    /// Bytes of what is not a number or a key.
    pub(super) fn bytes(&self) -> usize {
        self.reason.bytes.len() + self.object_ref.bytes.len() + self.details.bytes.len() + self.listed
    }

    /// Rows walked over.
    pub(super) fn len(&self) -> usize {
        self.there.len()
    }

    /// Takes what the rows of a set say. Its contexts are those of the sets before it, and further ones.
    pub(super) fn over(&mut self, set: &RowSet) -> Result<(), Malformed> {
        let known = self.sessions.len() - 1;
        self.sessions.extend(set.contexts.iter().skip(known).map(|context| SessionDetails::new(context)));
        let listed = |context: &Arc<Context>| context.all_principals().iter().map(|one| one.len() + 4).sum::<usize>();
        self.principals.extend(set.contexts.iter().skip(known).map(listed));
        self.contexts_used.resize(self.sessions.len(), false);
        let mut plans = Plans::new(set);
        let mut filling = Filling {
            row: 0,
            rows: self.rows,
            there: 0,
            own: &mut self.own,
            reason: &mut self.reason,
            details: Details::default(),
        };
        let before = self.there.len();
        for (i, at) in set.rows.iter().enumerate() {
            let row = set.row(at)?;
            record::check_bits(row.bits())?;
            let plan = plans.position(row.code())?;
            filling.row = before + i;
            filling.there = 0;
            filling.details.clear();
            plans.get(plan).follow(&row, &mut filling)?;
            self.there.push(filling.there);
            self.all &= filling.there;
            self.any |= filling.there;
            let context = if row.context() == NO_CONTEXT { 0 } else { row.context() + 1 };
            self.contexts_used[context as usize] = true;
            self.listed += self.principals[context as usize];
            self.bits_used[usize::from(row.bits())] = true;
            self.seq.push(at.seq);
            self.weight.push(at.weight.into());
            if at.count != 1 {
                merged(&mut self.count, before + i, at.count);
            }
            self.time_ns.push(row.time_ns());
            self.age_ns.push(row.age_ns());
            let code = &mut self.code_at[usize::from(row.code())];
            if *code == u16::MAX {
                *code = self.codes.len() as u16;
                self.codes.push(row.code());
            }
            self.code.push((*code).into());
            self.context.push(context);
            self.bits.push(row.bits().into());

            let details = &filling.details;
            let session = &self.sessions[context as usize];
            if details.has_object_ref() && details.write_object_ref(&mut self.object_ref.bytes)? {
                self.object_ref.end(before + i);
            }
            if details.has_context(row.flags(), session)
                && details.write_context(row.flags(), set.context(&row), session, &mut self.details.bytes)?
            {
                self.details.end(before + i);
            }
        }
        Ok(())
    }

    /// Ends the walk: every column that some row has is as long as the rows are many.
    pub(super) fn end(&mut self) {
        let rows = self.len();
        self.count.resize(rows, 1);
        for own in &mut self.own {
            if !own.ints.is_empty() {
                own.ints.resize(rows, 0);
            }
            if !own.keys.is_empty() {
                own.keys.resize(rows, 0);
            }
        }
    }

    /// Whether no row, or every row, has a value of its own in a column.
    pub(super) fn has(&self, column: Column) -> Has<'_> {
        let bit = 1 << column as u8;
        match (self.any & bit != 0, self.all & bit != 0) {
            (false, _) => Has::Nobody,
            (true, true) => Has::Everybody,
            (true, false) => Has::Some { there: &self.there, bit },
        }
    }
}

/// Which rows have a value of their own.
#[derive(Clone, Copy)]
pub(super) enum Has<'a> {
    Nobody,
    Everybody,
    Some { there: &'a [u64], bit: u64 },
}

impl Has<'_> {
    #[inline]
    pub(super) fn row(&self, row: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Some { there, bit } => there.get(row).is_some_and(|there| there & bit != 0),
        }
    }
}
