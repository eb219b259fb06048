//! Reading what a dead process left in its ring.
//!
//! ```text
//!   from                                                                        tail
//!    │ head ahead of us? that much was released, and is gone                     │
//!    ▼                                                                           ▼
//!   [hdr +len payload][hdr −len ???????][0 0 0 0 0 0 0 0 0][hdr +len payload][0 0]
//!     Record            Torn, 1           Torn: its length is unknown, but the ordinal of the next header
//!                                         (at the end: the tail's claims) says how many they were
//! ```
//! What must always hold: every claim between `from` and the tail is in exactly one of what is found, also where
//! somebody has scribbled over the file; what is found and where we are is a function of the file alone, so a scan that
//! was cut short goes on from [`Scan::position`].

use core::sync::atomic::Ordering;

use crate::lane::Parts;
use crate::ring::Ring;
use crate::word::{self, CLAIMS, HEADER, Position};

/// What lies at one place of a dead process's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A committed record's payload.
    Record(&'a [u8]),
    /// So many claims that were never committed: their callers never returned.
    Torn(u64),
    /// The ring's consumer had given these claims back before they were where the scan began: they are in neither.
    Gone(u64),
    /// So many claims, up to the tail, behind something that no producer can have left.
    Unreadable(u64),
}

/// Steps through one lane of a ring that nobody writes to any more. It takes the consumer's place while it lives.
pub struct Scan<'a> {
    ring: &'a Ring,
    parts: &'a Parts,
    at: Position,
    tail: Position,
}

impl Ring {
    /// Scans a lane from a position on, where all before is known to be safe elsewhere. Nothing while somebody
    /// consumes.
    ///
    /// # Panics
    /// There is no such lane.
    #[must_use]
    pub fn scan(&self, lane: u32, from: Position) -> Option<Scan<'_>> {
        let parts = &self.parts()[lane as usize];
        if self.consumed.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(Scan { ring: self, parts, at: from, tail: parts.tail_from(from) })
    }
}

impl Scan<'_> {
    /// How far the scan has come: everything before was found.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.at
    }

    /// The next thing found, up to the tail.
    pub fn step(&mut self) -> Option<Found<'_>> {
        if self.at == self.tail {
            return None;
        }
        let head = self.at.unwrapped(self.parts.head().load(Ordering::Acquire));
        let (ahead, claims) = (head.pos.wrapping_sub(self.at.pos), head.claims.wrapping_sub(self.at.claims));
        if ahead > 0 && ahead < 8 << 31 {
            let within = ahead <= 8 * u64::from(self.left()) && claims <= self.claims_left();
            // Nobody can have given back what was never claimed.
            return Some(if within { Found::Gone(self.move_to(head)) } else { self.give_up() });
        }
        if self.left() > self.parts.words.count() {
            return Some(self.give_up());
        }
        let header = self.header(0);
        if header == 0 { Some(self.over_zeroes()) } else { Some(self.over_record(header)) }
    }

    fn left(&self) -> u32 {
        u32::try_from(self.tail.pos.wrapping_sub(self.at.pos) / 8).unwrap_or(u32::MAX)
    }

    const fn claims_left(&self) -> u64 {
        self.tail.claims.wrapping_sub(self.at.claims)
    }

    fn header(&self, words_ahead: u32) -> u64 {
        self.parts.word(self.at.units().wrapping_add(words_ahead)).load(Ordering::Acquire)
    }

    /// Claims that did not get as far as a header: up to the next one's ordinal.
    fn over_zeroes(&mut self) -> Found<'static> {
        let next = (1..self.left()).find(|&ahead| self.header(ahead) != 0);
        let Some(ahead) = next else { return Found::Torn(self.move_to(self.tail)) };
        let claims = u64::from(word::claims(self.header(ahead)).wrapping_sub(self.at.ordinal()) & CLAIMS);
        // Each claim took a word at least, and those behind it are still to come.
        if claims == 0 || claims > u64::from(ahead) || claims >= self.claims_left() {
            return self.give_up();
        }
        let there = Position {
            pos: self.at.pos.wrapping_add(8 * u64::from(ahead)),
            claims: self.at.claims.wrapping_add(claims),
        };
        Found::Torn(self.move_to(there))
    }

    fn over_record(&mut self, header: u64) -> Found<'_> {
        let length = word::length(header).unsigned_abs() as usize;
        let payload = length.wrapping_sub(HEADER);
        let words = word::record_words(payload.min(self.parts.max_payload as usize));
        if payload > self.parts.max_payload as usize
            || words > self.left()
            || header >> 32 != u64::from(self.at.ordinal())
            || self.at.claims == self.tail.claims
        {
            return self.give_up();
        }
        let first = self.parts.words.at(self.at.units().wrapping_add(1));
        self.at = self.at.after(words);
        if word::length(header) < 0 {
            return Found::Torn(1);
        }
        // SAFETY: committed; nobody can release it while we have the consumer's place and are borrowed; bounds as in
        // the consumer.
        Found::Record(unsafe { core::slice::from_raw_parts(first.cast(), payload) })
    }

    fn give_up(&mut self) -> Found<'static> {
        Found::Unreadable(self.move_to(self.tail))
    }

    /// Moves on, and says over how many claims.
    const fn move_to(&mut self, there: Position) -> u64 {
        let claims = there.claims.wrapping_sub(self.at.claims);
        self.at = there;
        claims
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.ring.consumed.store(false, Ordering::Release);
    }
}
