//! Counting rows by kind while a batch is filled: one add per row, and no search.

use crate::counters::{CODES, Counters, journaled};

/// Counts of journaled rows by code, outcome and primary tap, since the last [`Tally::drain`].
#[derive(Debug)]
pub struct Tally {
    /// By `code << 4 | outcome << 1 | primary`.
    counts: Vec<u32>,
    touched: Vec<u16>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: vec![0; CODES as usize * 16], touched: Vec::new() }
    }
}

impl Tally {
    /// Counts one row.
    #[inline]
    pub fn row(&mut self, code: u16, outcome: u8, primary: bool) {
        let index = (code & 0xfff) << 4 | u16::from(outcome & 7) << 1 | u16::from(primary);
        let count = &mut self.counts[usize::from(index)];
        if *count == 0 {
            self.touched.push(index);
        }
        *count += 1;
    }

    /// Adds what was counted to `counters` and begins anew.
    pub fn drain(&mut self, counters: &mut Counters) {
        for index in self.touched.drain(..) {
            let count = std::mem::take(&mut self.counts[usize::from(index)]);
            let cell = journaled(index >> 4, (index >> 1 & 7) as u8, index & 1 != 0);
            counters.add(cell, u64::from(count));
        }
    }

    /// Forgets what was counted: its batch was not written.
    pub fn clear(&mut self) {
        for index in self.touched.drain(..) {
            self.counts[usize::from(index)] = 0;
        }
    }
}
