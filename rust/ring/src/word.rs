//! The bits of the two kinds of 64-bit words: positions (tail, head) and record headers.
//!
//! ```text
//!            63   62                          32 31                              0
//! position  ┌────┬──────────────────────────────┬─────────────────────────────────┐
//!           │clsd│ claims modulo 2³¹            │ position ÷ 8, modulo 2³²        │
//!           └────┴──────────────────────────────┴─────────────────────────────────┘
//! header    ┌────┬──────────────────────────────┬─────────────────────────────────┐
//!           │ 0  │ ordinal = claims at the CAS  │ i32: −length claimed, +length   │
//!           └────┴──────────────────────────────┴─────────────────────────────────┘ committed
//! ```
//! A header's length counts the header itself, so it is at least 8 and **a header is never zero**, also not that of an
//! empty record with ordinal 0. All comparisons are modulo: a lane never holds more than 2³⁰ bytes.

/// `closed` in a tail: no further claim.
pub(crate) const CLOSED: u64 = 1 << 63;
/// Ordinals and claims are counted modulo 2³¹.
pub(crate) const CLAIMS: u32 = (1 << 31) - 1;
/// Bytes of a record header.
pub(crate) const HEADER: usize = 8;

/// How far something has come in a lane, counted without wrapping since the ring was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Bytes, headers and padding included; a multiple of 8.
    pub pos: u64,
    /// Claims.
    pub claims: u64,
}

impl Position {
    /// The position in words, as far as a position word holds it.
    #[inline(always)]
    pub(crate) const fn units(self) -> u32 {
        (self.pos >> 3) as u32
    }

    /// The ordinal that the next record has.
    #[inline(always)]
    pub(crate) const fn ordinal(self) -> u32 {
        self.claims as u32 & CLAIMS
    }

    pub(crate) const fn word(self) -> u64 {
        (self.ordinal() as u64) << 32 | self.units() as u64
    }

    /// The unwrapped form of a position word that lies at or behind this position.
    pub(crate) const fn unwrapped(self, word: u64) -> Self {
        // Modulo, here and below: where somebody begins may come out of a file that says what it likes.
        Self {
            pos: self.pos.wrapping_add(8 * units(word).wrapping_sub(self.units()) as u64),
            claims: self.claims.wrapping_add((claims(word).wrapping_sub(self.ordinal()) & CLAIMS) as u64),
        }
    }

    /// One claim of so many words further.
    #[inline(always)]
    pub(crate) const fn after(self, words: u32) -> Self {
        Self { pos: self.pos.wrapping_add(8 * words as u64), claims: self.claims.wrapping_add(1) }
    }
}

#[inline(always)]
pub(crate) const fn units(word: u64) -> u32 {
    word as u32
}

#[inline(always)]
pub(crate) const fn claims(word: u64) -> u32 {
    (word >> 32) as u32 & CLAIMS
}

/// The tail after one more claim of so many words. Neither field may carry into its neighbour.
#[inline(always)]
pub(crate) const fn claimed(tail: u64, words: u32) -> u64 {
    let next = claims(tail).wrapping_add(1) & CLAIMS;
    (next as u64) << 32 | units(tail).wrapping_add(words) as u64
}

/// Words that a record of `len` payload bytes takes, its header included.
#[inline(always)]
pub(crate) const fn record_words(len: usize) -> u32 {
    ((len + HEADER + 7) >> 3) as u32
}

/// The header of a committed record of `len` payload bytes.
#[inline(always)]
pub(crate) const fn committed(ordinal: u32, len: usize) -> u64 {
    (ordinal as u64) << 32 | (len + HEADER) as u64
}

/// The same header while the record is being written: the length negated.
#[inline(always)]
pub(crate) const fn open(committed: u64) -> u64 {
    committed & !0xffff_ffff | (committed as u32).wrapping_neg() as u64
}

/// The length in a header: negative while the claim is open.
#[inline(always)]
pub(crate) const fn length(header: u64) -> i32 {
    header as i32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn neither_field_carries_into_its_neighbour() {
        let last = Position { pos: 8 * 0xffff_ffff, claims: u64::from(CLAIMS) };
        let next = claimed(last.word(), 3);
        assert_eq!((units(next), claims(next), next & CLOSED), (2, 0, 0));
    }

    #[test]
    fn a_position_unwraps_across_both_limits() {
        let before = Position { pos: 8 * 0x1_ffff_fffe, claims: 3 * (u64::from(CLAIMS) + 1) - 1 };
        let after = before.after(5);
        assert_eq!(before.unwrapped(claimed(before.word(), 5)), after);
        assert_eq!(after.ordinal(), 0);
    }

    #[test]
    fn a_header_is_never_zero() {
        let header = committed(0, 0);
        assert_eq!((length(header), length(open(header))), (8, -8));
        assert_ne!(open(header), 0);
    }

    #[test]
    fn an_open_header_keeps_its_ordinal() {
        let header = committed(CLAIMS, 65_528);
        assert_eq!(claims(open(header)), CLAIMS);
        assert_eq!(open(open(header)), header);
    }

    #[test]
    fn records_are_rounded_up_to_words() {
        assert_eq!([0, 1, 8, 9].map(record_words), [1, 2, 2, 3]);
    }
}
