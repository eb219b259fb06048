//! The tagged fields that a flexible structure ends with, stepped over one by one.

use crate::cursor::{Cursor, Step};
use crate::frame::Next;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Tags {
    /// How many there are comes next.
    #[default]
    Count,
    /// So many are left.
    Left(u32),
}

impl Tags {
    /// Steps over the next one; none where all are behind us. Structures that are not flexible have none.
    #[inline]
    pub(crate) fn step(&mut self, cursor: &mut Cursor<'_>) -> Step<Option<Next>> {
        if !cursor.is_flexible() {
            return Ok(None);
        }
        match *self {
            // A count beyond Kafka's numbers is negative to it, and then there are none.
            Self::Count => match cursor.varint()? as i32 {
                ..=0 => Ok(None),
                count => {
                    *self = Self::Left(count as u32);
                    Ok(Some(Next::Unit))
                }
            },
            Self::Left(0) => Ok(None),
            Self::Left(left) => {
                let _tag = cursor.varint()?;
                let len = cursor.varint()? as usize;
                *self = Self::Left(left - 1);
                Ok(Some(Next::Skip(len)))
            }
        }
    }
}
