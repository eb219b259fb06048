//! The contexts section of a batch: each session context once per segment, before the first row that refers to it.
//!
//! ```text
//!  0  u32 index        dense in the segment, from 0: what rows refer to
//!  4  u32 length       of the bytes, without padding
//!  8  u64 id           the ring's id of the context
//! 16  bytes, zero-padded to a multiple of 8
//! ```

use crate::bytes::{Put, Take, ZEROS, padding};

/// One context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// What rows of this segment refer to it by.
    pub index: u32,
    /// What ring records refer to it by.
    pub id: u64,
    /// The encoded context; opaque here.
    pub bytes: &'a [u8],
}

/// Appends one entry to a contexts section.
pub fn push(out: &mut Vec<u8>, index: u32, id: u64, bytes: &[u8]) {
    out.put_u32(index);
    out.put_u32(bytes.len() as u32);
    out.put_u64(id);
    out.put(bytes);
    out.put(&ZEROS[..padding(bytes.len())]);
}

/// The entries of a contexts section. A section that does not add up ends with one `None`.
pub fn iter(section: &[u8]) -> impl Iterator<Item = Option<Context<'_>>> {
    let mut from = Take::new(section);
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || from.remaining() == 0 {
            return None;
        }
        let entry = entry(&mut from);
        broken = entry.is_none();
        Some(entry)
    })
}

fn entry<'a>(from: &mut Take<'a>) -> Option<Context<'a>> {
    let index = from.u32()?;
    let len = from.u32()? as usize;
    let id = from.u64()?;
    let bytes = from.bytes(len)?;
    from.bytes(padding(len))?;
    Some(Context { index, id, bytes })
}
