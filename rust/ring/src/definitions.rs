//! The definitions area: what declared events mean, for whoever reads the ring without the process that declared them.
//!
//! What must always hold: bytes are only ever appended, and are in place before the published length covers them; a
//! definition is here before its code is used.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{DEFINITIONS, DEFINITIONS_BYTES, DEFINITIONS_LENGTH};
use crate::ring::Ring;

/// The definitions area has no room for that much more. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring has no room for another definition")]
pub struct Full;

impl Ring {
    /// Appends to the definitions; all of the bytes or none.
    ///
    /// # Errors
    /// There is no room; the area is 64 KiB.
    pub fn definitions_append(&self, bytes: &[u8]) -> Result<(), Full> {
        let _appending = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.definitions_length();
        if bytes.len() > DEFINITIONS_BYTES - length {
            return Err(Full);
        }
        // SAFETY: within the area, behind what is published, and the lock is ours.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.byte(DEFINITIONS + length), bytes.len());
        }
        // Release: who reads the length reads the bytes.
        self.published().store((length + bytes.len()) as u64, Ordering::Release);
        Ok(())
    }

    /// All definitions so far, as they were appended.
    #[must_use]
    pub fn definitions(&self) -> Vec<u8> {
        self.definitions_since(0)
    }

    /// What was appended behind the first `length` bytes.
    #[must_use]
    pub fn definitions_since(&self, length: usize) -> Vec<u8> {
        let bytes = self.definitions_length().saturating_sub(length);
        if bytes == 0 {
            return Vec::new();
        }
        // SAFETY: within the area, and published bytes never change.
        unsafe { core::slice::from_raw_parts(self.map.byte(DEFINITIONS + length), bytes) }.to_vec()
    }

    /// Never more than the area, whatever a damaged file says.
    fn definitions_length(&self) -> usize {
        (self.published().load(Ordering::Acquire) as usize).min(DEFINITIONS_BYTES)
    }

    fn published(&self) -> &AtomicU64 {
        // SAFETY: an aligned word of the mapping, which lives as long as the ring.
        unsafe { &*self.map.word(DEFINITIONS_LENGTH) }
    }
}
