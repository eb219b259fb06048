//! Bytes that must not outlive the call that reads them.

use std::fmt;

/// Reserved at once, so that a proof that comes in pieces leaves none behind where it grew.
const USUAL: usize = 4096;
/// What an empty buffer may keep for its next use.
const SPARE: usize = 64 * 1024;

/// Gathers a proof, and is wiped once it is read.
#[derive(Default)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    /// The buffer to gather up to so many bytes in.
    pub(crate) fn buffer(&mut self, len: usize) -> &mut Vec<u8> {
        self.0.reserve(len.min(USUAL));
        &mut self.0
    }

    pub(crate) fn wipe(&mut self) {
        wipe(&mut self.0);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Overwrites and empties a buffer.
pub(crate) fn wipe(bytes: &mut Vec<u8>) {
    bytes.fill(0);
    // The zeros are written, although nobody will read them.
    std::hint::black_box(&*bytes);
    bytes.clear();
    bytes.shrink_to(SPARE);
}
