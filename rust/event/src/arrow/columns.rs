//! Columns in the making: what rows say of their own, filled up from what their actions and contexts say.

use super::interner::Interner;
use crate::Malformed;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;

/// No value.
pub(super) const NULL: i32 = -1;

/// A column of strings as a dictionary.
#[derive(Default)]
pub(super) struct DictColumn {
    pub interner: Interner,
    /// The rows' own keys; empty until a row has one.
    rows: Vec<i32>,
}

impl DictColumn {
    /// Sets one row's own value.
    #[inline]
    pub(super) fn set(&mut self, row: usize, of: usize, text: &[u8]) -> Result<(), Malformed> {
        let key = self.interner.intern(text)?;
        if self.rows.is_empty() {
            self.rows = vec![NULL; of];
        }
        self.rows[row] = key;
        Ok(())
    }

    /// One row's own value.
    pub(super) fn own(&self, row: usize) -> Option<&[u8]> {
        self.rows.get(row).filter(|key| **key != NULL).map(|key| self.interner.get(*key))
    }

    /// Whether any row has a value of its own.
    pub(super) fn has_own(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The column: each row's own value, else what it inherits.
    pub(super) fn finish(self, inherited: &[Inherited<'_>]) -> Result<Option<ArrayRef>, ArrowError> {
        let mut keys = self.rows;
        for source in inherited.iter().filter(|source| source.values.iter().any(|key| *key != NULL)) {
            let values = source.values;
            let of = source.index.iter().map(|at| values[*at as usize]);
            if keys.is_empty() {
                keys = of.collect();
            } else {
                for (key, inherited) in keys.iter_mut().zip(of) {
                    *key = if *key == NULL { inherited } else { *key };
                }
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        dictionary(keys, Arc::new(self.interner.finish()?)).map(Some)
    }
}

/// Values that rows share: the value of row `i` is `values[index[i]]`.
#[derive(Clone, Copy)]
pub(super) struct Inherited<'a> {
    pub index: &'a [u32],
    pub values: &'a [i32],
}

/// An array of keys (negative: null) over a dictionary.
pub(super) fn dictionary(mut keys: Vec<i32>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let nulls = keys.iter().fold(0, |all, key| all | key) < 0;
    let nulls = nulls.then(|| validity(keys.iter().map(|key| *key >= 0), keys.len()));
    if nulls.is_some() {
        for key in &mut keys {
            *key = (*key).max(0);
        }
    }
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::try_new(keys.into(), nulls)?, values)?))
}

fn validity(valid: impl Iterator<Item = bool>, length: usize) -> NullBuffer {
    NullBuffer::new(valid.take(length).collect::<BooleanBuffer>())
}

/// A column of whole numbers.
#[derive(Default)]
pub(super) struct IntColumn {
    values: Vec<i64>,
    valid: Vec<u8>,
}

impl IntColumn {
    /// Sets one row's own value.
    #[inline]
    pub(super) fn set(&mut self, row: usize, of: usize, value: i64) {
        if self.values.is_empty() {
            self.values = vec![0; of];
            self.valid = vec![0; of.div_ceil(8)];
        }
        self.values[row] = value;
        self.valid[row >> 3] |= 1 << (row & 7);
    }

    /// Fills up from contexts: the value of row `i` is `values[index[i]]`.
    pub(super) fn inherit(&mut self, index: &[u32], values: &[Option<i32>]) {
        if values.iter().all(Option::is_none) {
            return;
        }
        for (row, at) in index.iter().enumerate() {
            let own = self.valid.get(row >> 3).is_some_and(|byte| byte & 1 << (row & 7) != 0);
            if let (false, Some(value)) = (own, values[*at as usize]) {
                self.set(row, index.len(), value.into());
            }
        }
    }

    fn nulls(&self, length: usize) -> Option<NullBuffer> {
        let bits = BooleanBuffer::new(self.valid.clone().into(), 0, length);
        Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0)
    }

    /// As 64-bit integers; none where no row has a value.
    pub(super) fn int64(self) -> Result<Option<Int64Array>, ArrowError> {
        if self.values.is_empty() {
            return Ok(None);
        }
        let nulls = self.nulls(self.values.len());
        Int64Array::try_new(self.values.into(), nulls).map(Some)
    }

    /// As 32-bit integers, which all values are; none where no row has a value.
    pub(super) fn int32(self) -> Result<Option<ArrayRef>, ArrowError> {
        if self.values.is_empty() {
            return Ok(None);
        }
        let nulls = self.nulls(self.values.len());
        let values: ScalarBuffer<i32> = self.values.iter().map(|value| *value as i32).collect::<Vec<_>>().into();
        Ok(Some(Arc::new(Int32Array::try_new(values, nulls)?)))
    }
}

/// A column of plain strings, of which few rows have one.
#[derive(Default)]
pub(super) struct TextColumn {
    pub bytes: Vec<u8>,
    /// Row, and where its string ends.
    ends: Vec<(u32, usize)>,
}

impl TextColumn {
    /// Makes what was appended to `bytes` since the last one the value of a row; rows come in order.
    pub(super) fn end(&mut self, row: usize) {
        self.ends.push((row as u32, self.bytes.len()));
    }

    /// The column; none where no row has a value.
    pub(super) fn finish(self, length: usize) -> Result<Option<ArrayRef>, ArrowError> {
        if self.ends.is_empty() {
            return Ok(None);
        }
        if i32::try_from(self.bytes.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(self.bytes.len()));
        }
        let mut offsets = Vec::with_capacity(length + 1);
        let mut valid = vec![false; length];
        let mut end = 0;
        for (row, next) in self.ends {
            offsets.resize(row as usize + 1, end);
            end = next as i32;
            valid[row as usize] = true;
        }
        offsets.resize(length + 1, end);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let nulls = validity(valid.into_iter(), length);
        Ok(Some(Arc::new(StringArray::try_new(offsets, self.bytes.into(), Some(nulls))?)))
    }
}
