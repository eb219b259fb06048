//! Rows of the data path: one for each partition of a message, of which most differ in numbers alone.
//!
//! What must always hold: a row is to the byte the one that a draft would have made of the same fields. The texts are made
//! safe and laid down once for a topic, and copied for each of its partitions.

use auditring_event::{ActionSpec, Kind, Outcome};

use crate::facts::{Draft, Facts};

/// Most numbers of a row.
const MOST: usize = 16;

/// The texts that rows share, as they lie in a body.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) presence: u32,
    pub(crate) flags: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Texts {
    /// They are to be laid down anew.
    pub(crate) fn clear(&mut self) {
        (self.presence, self.flags) = (0, 0);
        self.bytes.clear();
    }

    /// Whether they have not been laid down. Every row has some.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.presence == 0
    }
}

/// The numbers of a row, by ascending position of their fields.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) presence: u32,
    len: usize,
    values: [[u8; 8]; MOST],
}

impl Numbers {
    /// The next one.
    #[inline]
    pub(crate) fn put(&mut self, at: usize, value: i64) {
        debug_assert!(self.presence >> at == 0, "numbers come by ascending position");
        // Never more than a row has: the mask does nothing but spare a check.
        self.values[self.len % MOST] = value.to_le_bytes();
        self.len += 1;
        self.presence |= 1 << at;
    }

    /// The next one, if it is known.
    #[inline]
    pub(crate) fn put_known(&mut self, at: usize, value: Option<i64>) {
        if let Some(value) = value {
            self.put(at, value);
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.values[..self.len.min(MOST)].as_flattened()
    }
}

impl Facts {
    /// A row that has no status: it succeeded, or was forwarded.
    #[inline]
    pub(crate) fn row(&mut self, spec: &'static ActionSpec, outcome: Outcome, numbers: &Numbers, texts: &Texts) {
        debug_assert!(spec.default_status(outcome).is_none());
        debug_assert!(numbers.presence & !spec.int_mask() == 0, "{} has such numbers", spec.name);
        debug_assert!(spec.fields.iter().filter(|field| matches!(field.kind, Kind::Int)).count() <= MOST);
        self.lay(spec, outcome, (numbers.presence | texts.presence, texts.flags), [numbers.bytes(), &texts.bytes]);
    }
}

impl Draft<'_> {
    /// Lays its texts down for rows that share them.
    pub(crate) fn share(&mut self, texts: &mut Texts) {
        texts.clear();
        (texts.presence, texts.flags) = self.texts_into(&mut texts.bytes);
    }
}
