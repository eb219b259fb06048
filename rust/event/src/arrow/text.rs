//! Columns of plain strings.

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;

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
    pub(super) fn finish(self, rows: usize) -> Result<Option<ArrayRef>, ArrowError> {
        if self.ends.is_empty() {
            return Ok(None);
        }
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut valid = vec![false; rows];
        let mut end = 0;
        for (row, next) in self.ends {
            offsets.resize(row as usize + 1, end);
            end = offset(next)?;
            valid[row as usize] = true;
        }
        offsets.resize(rows + 1, end);
        let nulls = NullBuffer::new(BooleanBuffer::from(valid));
        strings(offsets, self.bytes, Some(nulls)).map(|array| Some(Arc::new(array) as ArrayRef))
    }
}

/// A position in a column's bytes as Arrow counts them.
pub(super) fn offset(at: usize) -> Result<i32, ArrowError> {
    i32::try_from(at).map_err(|_| ArrowError::OffsetOverflowError(at))
}

/// An array of strings; that they are UTF-8 is checked here once more, and together.
pub(super) fn strings(offsets: Vec<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
    StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), bytes.into(), nulls)
}
