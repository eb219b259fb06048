//! Counting rows by kind while a batch is filled: one add per row, and no search.

use crate::counters::{CODES, Counters, journaled, scoped};

/// Counts of journaled rows by code, outcome and primary tap, since the last [`Tally::drain`].
#[derive(Debug)]
pub struct Tally {
    /// By `code << 4 | outcome << 1 | primary`.
    counts: Vec<u32>,
    touched: Vec<u16>,
    scoped: Scoped,
}

/// No place has been given to a kind of event yet.
const NOWHERE: u16 = u16::MAX;

/// The same by scope. Few kinds of events ever come, so each is given a place when it first does, and a scope's counts are as
/// long as there are places: nothing is hashed or searched for a row.
#[derive(Debug, Default)]
struct Scoped {
    /// The place of `code << 3 | outcome`; empty until a row has a scope.
    places: Vec<u16>,
    /// The kind at each place.
    kinds: Vec<u16>,
    /// By scope, then place.
    counts: Vec<Vec<u32>>,
    touched: Vec<(u16, u16)>,
}

impl Scoped {
    #[inline]
    fn row(&mut self, code: u16, outcome: u8, scope: u16) {
        let kind = (code & 0xfff) << 3 | u16::from(outcome & 7);
        let place = self.places.get(usize::from(kind)).copied().unwrap_or(NOWHERE);
        let count = self.counts.get_mut(usize::from(scope)).and_then(|counts| counts.get_mut(usize::from(place)));
        let Some(count) = count else { return self.first(kind, scope) };
        if *count == 0 {
            self.touched.push((scope, place));
        }
        *count += 1;
    }

    /// The first row of a kind, or of a kind in a scope.
    #[cold]
    fn first(&mut self, kind: u16, scope: u16) {
        if self.places.is_empty() {
            self.places = vec![NOWHERE; CODES as usize * 8];
        }
        let place = &mut self.places[usize::from(kind)];
        if *place == NOWHERE {
            *place = self.kinds.len() as u16;
            self.kinds.push(kind);
        }
        let place = *place;
        if self.counts.len() <= usize::from(scope) {
            self.counts.resize_with(usize::from(scope) + 1, Vec::new);
        }
        let counts = &mut self.counts[usize::from(scope)];
        // What is there may have been counted already: it only grows.
        counts.resize(counts.len().max(self.kinds.len()), 0);
        if counts[usize::from(place)] == 0 {
            self.touched.push((scope, place));
        }
        counts[usize::from(place)] += 1;
    }

    fn take(&mut self, mut each: impl FnMut(u16, u16, u32)) {
        for (scope, place) in self.touched.drain(..) {
            let count = std::mem::take(&mut self.counts[usize::from(scope)][usize::from(place)]);
            each(self.kinds[usize::from(place)], scope, count);
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: vec![0; CODES as usize * 16], touched: Vec::new(), scoped: Scoped::default() }
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

    /// Counts it also as one of a scope.
    #[inline]
    pub fn in_scope(&mut self, code: u16, outcome: u8, scope: u16) {
        self.scoped.row(code, outcome, scope);
    }

    /// Adds what was counted to `counters` and begins anew.
    pub fn drain(&mut self, counters: &mut Counters) {
        for index in self.touched.drain(..) {
            let count = std::mem::take(&mut self.counts[usize::from(index)]);
            let cell = journaled(index >> 4, (index >> 1 & 7) as u8, index & 1 != 0);
            counters.add(cell, u64::from(count));
        }
        self.scoped.take(|kind, scope, count| {
            counters.add(scoped(kind >> 3, (kind & 7) as u8, scope), u64::from(count));
        });
    }

    /// Forgets what was counted: its batch was not written.
    pub fn clear(&mut self) {
        for index in self.touched.drain(..) {
            self.counts[usize::from(index)] = 0;
        }
        self.scoped.take(|_, _, _| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_once_in_all_and_once_in_its_scope() {
        let (mut tally, mut counters) = (Tally::default(), Counters::default());
        for (code, scope) in [(7, 3), (7, 3), (9, 3), (7, 0), (4095, 8191)] {
            tally.row(code, 2, true);
            tally.in_scope(code, 2, scope);
        }
        tally.drain(&mut counters);
        let counted = |counters: &Counters, code, scope| counters.get(scoped(code, 2, scope));
        let each = [(7, 3), (9, 3), (7, 0), (4095, 8191)].map(|(code, scope)| counted(&counters, code, scope));
        assert_eq!(each, [2, 1, 1, 1]);
        assert_eq!(counters.get(journaled(7, 2, true)), 3);
        tally.row(7, 2, true);
        tally.in_scope(7, 2, 3);
        tally.clear();
        tally.drain(&mut counters);
        assert_eq!((counted(&counters, 7, 3), counters.get(journaled(7, 2, true))), (2, 3));
    }
}
