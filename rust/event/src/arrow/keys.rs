//! Dictionary arrays: what rows say of their own, filled up from what their actions and contexts say.
//!
//! Many columns give every row the same key, or are keyed alike: one value in the whole batch, one value a context, one an
//! action. Such columns share one array of keys, which is then gathered and checked once.

use super::interner::Interner;
use super::walk::Has;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;

/// No value.
pub(super) const NULL: i32 = -1;

/// What rows inherit from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Action,
    Context,
    Bits,
}

/// Values that rows share: row `i` has key `keys[index[i]]`.
#[derive(Clone)]
pub(super) struct Inherited<'a> {
    pub source: Source,
    pub index: &'a [u32],
    pub keys: Vec<i32>,
}

impl Inherited<'_> {
    /// Whether anything is inherited at all.
    fn says_something(&self) -> bool {
        self.keys.iter().any(|key| *key != NULL)
    }
}

/// The keys of a batch's columns.
pub(super) struct Keys {
    rows: usize,
    shared: Vec<(Source, Vec<i32>, DictionaryArray<Int32Type>)>,
    /// Key 0 in every row.
    same: Option<DictionaryArray<Int32Type>>,
}

impl Keys {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows, shared: Vec::new(), same: None }
    }

    /// A column with one value.
    pub(super) fn constant(&mut self, value: &str) -> Result<ArrayRef, ArrowError> {
        self.all_zero(Arc::new(StringArray::from(vec![value])))
    }

    /// A column: each row's own key, else what it inherits, from the first source that says something. None where
    /// there is no value at all.
    pub(super) fn column(
        &mut self,
        own: &[i32],
        has: Has<'_>,
        interner: Interner,
        mut inherited: Vec<Inherited<'_>>,
    ) -> Result<Option<ArrayRef>, ArrowError> {
        inherited.retain(Inherited::says_something);
        if matches!(has, Has::Nobody) && inherited.is_empty() || self.rows == 0 {
            return Ok(None);
        }
        let values = Arc::new(interner.finish()?);
        if let (Has::Nobody, [one]) = (has, &inherited[..]) {
            return self.inherit(one, values).map(Some);
        }
        let key = |row: usize| {
            if has.row(row) {
                return own[row];
            }
            inherited.iter().map(|from| from.keys[from.index[row] as usize]).find(|key| *key != NULL).unwrap_or(NULL)
        };
        let keys = match has {
            Has::Everybody => own.to_vec(),
            _ => (0..self.rows).map(key).collect(),
        };
        Ok(Some(Arc::new(dictionary(keys, values)?)))
    }

    /// A column that rows inherit from one source.
    fn inherit(&mut self, from: &Inherited<'_>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        if from.keys.iter().all(|key| *key == 0) {
            return self.all_zero(values);
        }
        let known = self.shared.iter().find(|(source, keys, _)| *source == from.source && *keys == from.keys);
        // The same keys mean as many values.
        if let Some((_, _, array)) = known.filter(|(_, _, array)| array.values().len() <= values.len()) {
            return Ok(Arc::new(array.with_values(values)));
        }
        let keys = from.index.iter().map(|at| from.keys[*at as usize]).collect();
        let array = dictionary(keys, values)?;
        self.shared.push((from.source, from.keys.clone(), array.clone()));
        Ok(Arc::new(array))
    }

    fn all_zero(&mut self, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        if let Some(array) = &self.same {
            return Ok(Arc::new(array.with_values(values)));
        }
        let array = dictionary(vec![0; self.rows], Arc::new(StringArray::from(vec![""])))?;
        let column = Arc::new(array.with_values(values));
        self.same = Some(array);
        Ok(column)
    }
}

/// An array of keys, [`NULL`] among them, over a dictionary.
fn dictionary(mut keys: Vec<i32>, values: ArrayRef) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let mut nulls = None;
    if keys.iter().fold(0, |all, key| all | key) < 0 {
        nulls = Some(NullBuffer::new(BooleanBuffer::collect_bool(keys.len(), |row| keys[row] >= 0)));
        for key in &mut keys {
            *key = (*key).max(0);
        }
    }
    DictionaryArray::try_new(Int32Array::try_new(keys.into(), nulls)?, values)
}
