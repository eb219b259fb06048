//! Little-endian integers in and out of byte strings; every read is checked against the end.

/// The greatest count that is believed, whoever has sealed it: what is added to it afterwards cannot overflow.
pub(crate) const MOST: u64 = 1 << 62;

/// Reads from the front of a slice. `None` as soon as something is asked for that is not there.
pub(crate) struct Take<'a> {
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number that only ever counts up: ordinals, batches, seqs, positions. One beyond [`MOST`] was never counted up to.
    pub(crate) fn count(&mut self) -> Option<u64> {
        self.u64().filter(|&count| count <= MOST)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

/// Appends to a byte string.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// How many zero bytes follow `len` bytes so that the next thing starts at a multiple of 8.
pub(crate) const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 7
}

/// `len` and its padding.
pub(crate) const fn padded(len: u64) -> u64 {
    len.next_multiple_of(8)
}

/// Seven zero bytes are the most that padding needs.
pub(crate) const ZEROS: [u8; 8] = [0; 8];
