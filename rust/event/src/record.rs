//! A record: one event as it lies in the ring.
//!
//! ```text
//!  0  u64 stamp            raw clock stamp
//!  8  u32 presence         which fields are there (`body`)
//! 12  u16 code             which action
//! 14  u8  bits             outcome 0..2, authority 3..4, origin 5..6
//! 15  u8  flags            1 FIRST_TOUCH  2 ALTERED  4 CUT  8 EPOCH
//! 16  u64 context id       0 = none
//! 24  u32 context length   bytes, not padded
//! 28  u32 body length      bytes, not padded
//! 32  context bytes, zero-padded to 8
//!  …  body, zero-padded to 8
//! ```
//!
//! Every record is whole: it can be understood with no other. Little-endian throughout.

pub use crate::body::{
    Body, CAUSE_SESSION, COMMON_STRS, CONTEXT, END_TIME, FIELDS, FILTER, Layout, NAME, OBJECT_REF, REASON, STATUS, TAP,
    padded,
};
pub use crate::encoder::Encoder;
use crate::{Authority, Malformed, Origin, Outcome};

/// Offset of the stamp.
pub const STAMP_AT: usize = 0;
/// Offset of the presence word.
pub const PRESENCE_AT: usize = 8;
/// Offset of the code.
pub const CODE_AT: usize = 12;
/// Offset of the bits.
pub const BITS_AT: usize = 14;
/// Offset of the flags.
pub const FLAGS_AT: usize = 15;
/// Offset of the context's id.
pub const CONTEXT_ID_AT: usize = 16;
/// Offset of the context's length.
pub const CONTEXT_LEN_AT: usize = 24;
/// Offset of the body's length.
pub const BODY_LEN_AT: usize = 28;
/// Length of the head: the context begins here.
pub const HEAD: usize = 32;

/// Flag: the first Read or Write of its session on its resource at its tap.
pub const FIRST_TOUCH: u8 = 1;
/// Flag: a value was made safe.
pub const ALTERED: u8 = 2;
/// Flag: a value was cut.
pub const CUT: u8 = 4;
/// Flag: a new clock epoch has begun (`auditring.ClockRestarted`).
pub const EPOCH: u8 = 8;

/// Outcome, authority and origin in one byte.
#[inline]
#[must_use]
pub const fn bits(outcome: Outcome, authority: Option<Authority>, origin: Origin) -> u8 {
    let authority = match authority {
        Some(authority) => authority as u8,
        None => 0,
    };
    outcome as u8 | authority << 3 | (origin as u8) << 5
}

/// The number of the outcome in the bits; below [`crate::OUTCOMES`].
#[inline]
#[must_use]
pub const fn outcome_number(bits: u8) -> u8 {
    bits & 7
}

/// The outcome in the bits, if it is one.
#[inline]
#[must_use]
pub const fn outcome(bits: u8) -> Option<Outcome> {
    Outcome::from_number(bits & 7)
}

/// The authority in the bits.
#[inline]
#[must_use]
pub const fn authority(bits: u8) -> Option<Authority> {
    Authority::from_number(bits >> 3 & 3)
}

/// The origin in the bits, if it is one.
#[inline]
#[must_use]
pub const fn origin(bits: u8) -> Option<Origin> {
    Origin::from_number(bits >> 5 & 3)
}

/// Whether the bits are an outcome, an authority and an origin.
pub(crate) fn check_bits(bits: u8) -> Result<(), Malformed> {
    let fine = outcome(bits).is_some() && bits >> 3 & 3 != 3 && origin(bits).is_some() && bits >> 7 == 0;
    if fine { Ok(()) } else { Err(Malformed::UnknownWord(bits)) }
}

/// The bytes that a record takes in the ring.
#[inline]
#[must_use]
pub const fn length(context: usize, body: usize) -> usize {
    HEAD + padded(context) + padded(body)
}

/// The head of a record, to be written in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Raw clock stamp.
    pub stamp: u64,
    /// Which fields are there.
    pub presence: u32,
    /// Which action.
    pub code: u16,
    /// Made by [`bits`].
    pub bits: u8,
    /// `FIRST_TOUCH | ALTERED | CUT | EPOCH`.
    pub flags: u8,
    /// 0 = none.
    pub context_id: u64,
    /// Bytes of the context, not padded.
    pub context_len: u32,
    /// Bytes of the body, not padded.
    pub body_len: u32,
}

impl Head {
    /// The head as it lies in the ring.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::inline_always, reason = "the hot call stores the four words straight into the ring")]
    pub const fn words(&self) -> [u64; 4] {
        [
            self.stamp,
            self.presence as u64 | (self.code as u64) << 32 | (self.bits as u64) << 48 | (self.flags as u64) << 56,
            self.context_id,
            self.context_len as u64 | (self.body_len as u64) << 32,
        ]
    }

    /// The same as bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> [[u8; 8]; 4] {
        self.words().map(u64::to_le_bytes)
    }

    /// Writes the head.
    ///
    /// # Panics
    /// If `dst` is shorter than [`HEAD`].
    #[inline]
    pub fn write(&self, dst: &mut [u8]) {
        for (at, word) in self.words().iter().enumerate() {
            dst[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// A record's bytes, with the lengths checked.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    head: Head,
    context: &'a [u8],
    body: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Reads the head and checks that context and body lie within the bytes. The body itself is checked by
    /// [`RecordView::validate`].
    ///
    /// # Errors
    /// If the lengths do not add up.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (words, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Malformed::Short)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&words[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let (what, lengths) = (word(PRESENCE_AT), word(CONTEXT_LEN_AT));
        let head = Head {
            stamp: word(STAMP_AT),
            presence: what as u32,
            code: (what >> 32) as u16,
            bits: (what >> 48) as u8,
            flags: (what >> 56) as u8,
            context_id: word(CONTEXT_ID_AT),
            context_len: lengths as u32,
            body_len: (lengths >> 32) as u32,
        };
        let (context, body) = (head.context_len as usize, head.body_len as usize);
        let body_at = padded(context);
        if rest.len() < body_at || rest.len() - body_at < body {
            return Err(Malformed::Short);
        }
        if rest.len() - body_at > padded(body) {
            return Err(Malformed::LeftOver);
        }
        Ok(Self { head, context: &rest[..context], body: &rest[body_at..body_at + body] })
    }

    /// The same event with another body, as [`crate::rewrite::rewrite`] makes it, and without its context; `flags` are
    /// added to its own.
    #[must_use]
    pub const fn with<'b>(&self, presence: u32, flags: u8, body: &'b [u8]) -> RecordView<'b> {
        let flags = self.head.flags | flags;
        let head = Head { presence, flags, context_len: 0, body_len: body.len() as u32, ..self.head };
        RecordView { head, context: &[], body }
    }

    /// The head.
    #[inline]
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Raw clock stamp.
    #[inline]
    #[must_use]
    pub const fn stamp(&self) -> u64 {
        self.head.stamp
    }

    /// Which fields are there.
    #[inline]
    #[must_use]
    pub const fn presence(&self) -> u32 {
        self.head.presence
    }

    /// Which action.
    #[inline]
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.head.code
    }

    /// Outcome, authority and origin.
    #[inline]
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.head.bits
    }

    /// The outcome; of a record that is not valid the nearest one can say is `Failure`.
    #[inline]
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        outcome(self.head.bits).unwrap_or(Outcome::Failure)
    }

    /// The flags.
    #[inline]
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.head.flags
    }

    /// Which context; 0 = none.
    #[inline]
    #[must_use]
    pub const fn context_id(&self) -> u64 {
        self.head.context_id
    }

    /// The session's context, as [`crate::Context::decode`] reads it.
    #[inline]
    #[must_use]
    pub const fn context_bytes(&self) -> &'a [u8] {
        self.context
    }

    /// The body, without padding.
    #[inline]
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The body, to be walked.
    #[inline]
    #[must_use]
    pub fn fields(&self) -> Body<'a> {
        Body::new(self.head.code, self.head.presence, self.body)
    }

    /// Walks the body: every field in bounds, every string UTF-8, every word known. The context is not looked at: it is
    /// checked once, when it is decoded.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub fn validate(&self) -> Result<(), Malformed> {
        check_bits(self.head.bits)?;
        if (self.head.context_id == 0) != self.context.is_empty() {
            return Err(Malformed::NoContext(0));
        }
        let left = self.fields().validate(self.head.code)?;
        // A row of it has its own padding behind the body, and that may not become too long either.
        if padded(self.body.len()) - self.body.len() + left < 8 { Ok(()) } else { Err(Malformed::LeftOver) }
    }
}
