//! The walk over the rows: what each says of its own, by column.

use super::interner::Interner;
use super::text::TextColumn;
use crate::details::{Details, SessionDetails};
use crate::plan::{Detail, Place, Plans, Visitor};
use crate::row::NO_CONTEXT;
use crate::spec::{COLUMNS, Column};
use crate::{Malformed, RowSet, record};

const _: () = assert!(COLUMNS.len() <= 64, "the columns of a row are a set of 64 bits");

/// A column's values by row. What stands at rows that have none means nothing.
#[derive(Default)]
pub(super) struct Own {
    pub ints: Vec<i64>,
    pub keys: Vec<i32>,
    pub interner: Interner,
}

/// What the visitor fills.
struct Filling<'a> {
    row: usize,
    rows: usize,
    /// Which columns the row has, a bit each.
    there: u64,
    own: Vec<Own>,
    reason: TextColumn,
    details: Details<'a>,
}

impl<'a> Visitor<'a> for Filling<'a> {
    #[inline]
    fn int(&mut self, column: Column, value: i64) {
        self.there |= 1 << column as u8;
        let Some(own) = self.own.get_mut(column as usize) else { return };
        match own.ints.get_mut(self.row) {
            Some(place) => *place = value,
            None => first(&mut own.ints, self.row, self.rows, value),
        }
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
        match own.keys.get_mut(self.row) {
            Some(place) => *place = key,
            None => first(&mut own.keys, self.row, self.rows, key),
        }
        Ok(())
    }

    fn detail(&mut self, place: Place<'a>, value: Detail<'a>) {
        self.details.add(place, value);
    }
}

/// The first value of a column: until then it takes no memory.
#[cold]
fn first<T: Clone + Default>(values: &mut Vec<T>, row: usize, rows: usize, value: T) {
    values.resize(rows, T::default());
    values[row] = value;
}

/// All that the rows say.
pub(super) struct Walk<'a> {
    pub set: &'a RowSet,
    pub plans: Plans<'a>,
    pub own: Vec<Own>,
    /// Which columns each row has, which all have, and which any has.
    pub there: Vec<u64>,
    pub all: u64,
    pub any: u64,
    pub time_ns: Vec<i64>,
    pub age_ns: Vec<i64>,
    /// Position of each row's plan.
    pub plan: Vec<u32>,
    /// Position of each row's context; behind the last one: none.
    pub context: Vec<u32>,
    /// Outcome, authority and origin of each row.
    pub bits: Vec<u32>,
    pub contexts_used: Vec<bool>,
    pub bits_used: [bool; 256],
    pub reason: TextColumn,
    pub object_ref: TextColumn,
    pub details: TextColumn,
}

impl<'a> Walk<'a> {
    pub(super) fn over(set: &'a RowSet) -> Result<Self, Malformed> {
        let rows = set.rows.len();
        let mut walk = Self {
            set,
            plans: Plans::new(set),
            own: Vec::new(),
            there: Vec::with_capacity(rows),
            all: u64::MAX,
            any: 0,
            time_ns: Vec::with_capacity(rows),
            age_ns: Vec::with_capacity(rows),
            plan: Vec::with_capacity(rows),
            context: Vec::with_capacity(rows),
            bits: Vec::with_capacity(rows),
            contexts_used: vec![false; set.contexts.len() + 1],
            bits_used: [false; 256],
            reason: TextColumn::default(),
            object_ref: TextColumn::default(),
            details: TextColumn::default(),
        };
        let mut filling = Filling {
            row: 0,
            rows,
            there: 0,
            own: COLUMNS.iter().map(|_| Own::default()).collect(),
            reason: TextColumn::default(),
            details: Details::default(),
        };
        walk.read(&mut filling)?;
        walk.own = filling.own;
        walk.reason = filling.reason;
        Ok(walk)
    }

    fn read(&mut self, filling: &mut Filling<'a>) -> Result<(), Malformed> {
        let set = self.set;
        let none = set.contexts.len() as u32;
        let sessions: Vec<_> = set.contexts.iter().map(|context| SessionDetails::new(context)).collect();
        let nobody = SessionDetails::default();
        for (i, at) in set.rows.iter().enumerate() {
            let row = set.row(at)?;
            record::check_bits(row.bits())?;
            let plan = self.plans.position(row.code())?;
            filling.row = i;
            filling.there = 0;
            filling.details.clear();
            self.plans.get(plan).follow(&row, filling)?;
            self.there.push(filling.there);
            self.all &= filling.there;
            self.any |= filling.there;
            let context = if row.context() == NO_CONTEXT { none } else { row.context() };
            self.contexts_used[context as usize] = true;
            self.bits_used[usize::from(row.bits())] = true;
            self.time_ns.push(row.time_ns());
            self.age_ns.push(row.age_ns());
            self.plan.push(plan.into());
            self.context.push(context);
            self.bits.push(row.bits().into());

            let details = &filling.details;
            let session = sessions.get(context as usize).unwrap_or(&nobody);
            if details.has_object_ref() && details.write_object_ref(&mut self.object_ref.bytes)? {
                self.object_ref.end(i);
            }
            if details.has_context(row.flags(), session)
                && details.write_context(row.flags(), set.context(&row), session, &mut self.details.bytes)?
            {
                self.details.end(i);
            }
        }
        Ok(())
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
