//! Declared events: what a host added to the catalog while it runs.
//!
//! ```text
//!  0  u32 length          whole, a multiple of 8
//!  4  u16 code            768..1024
//!  6  u8  category        7  u8 outcome
//!  8  u16 names of object_ref fields     10  u16 names of context fields
//! 12  name, then the fields' names, object_ref first: u16 length, bytes; zero-padded to 8
//! ```
//!
//! A definition is appended to the ring's definitions area before its code can be used, and repeated by every journal
//! segment. All fields of a declared event are strings, in the order of the definition.

use crate::body::{padded, put_text};
use crate::spec::{CODES, FIRST_DECLARED, MAX_FIELDS};
use crate::{Category, Malformed, Outcome, sanitize};

const HEAD: usize = 12;
/// Most bytes of a field's name.
pub const FIELD_NAME_CAP: usize = 256;
/// Most bytes of a declared event's field.
pub const DECLARED_CAP: usize = crate::spec::DECLARED_FIELD_CAP;

/// The action of a declared event whose definition is not there. Its fields stand in `context` by their position, as do
/// those that a definition does not know: a row that was accepted can always be shown.
pub const UNDECLARED: &str = "auditring.Undeclared";
/// Keys of fields without a name.
pub(crate) const NAMELESS: [&str; MAX_FIELDS] = [
    "field0", "field1", "field2", "field3", "field4", "field5", "field6", "field7", "field8", "field9", "field10",
    "field11", "field12", "field13", "field14", "field15", "field16", "field17", "field18", "field19",
];

/// One declared event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Its code in this process, 768..1024.
    pub code: u16,
    /// Its package-qualified name.
    pub name: String,
    /// What kind of thing happened.
    pub category: Category,
    /// The outcome when a call names none.
    pub outcome: Outcome,
    /// Keys of `object_ref`, the first fields.
    pub object_ref: Vec<String>,
    /// Keys of `context`, the fields behind them.
    pub context: Vec<String>,
}

impl Definition {
    /// Whether it may stand in a log: its code, name and number of fields.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let fields = || self.object_ref.iter().chain(&self.context);
        (FIRST_DECLARED..CODES as u16).contains(&self.code)
            && sanitize::action_name_ok(&self.name)
            && fields().count() <= MAX_FIELDS
            && fields().all(|name| !name.is_empty() && name.len() <= FIELD_NAME_CAP)
    }

    /// Appends the encoded definition.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.code.to_le_bytes());
        out.extend_from_slice(&[self.category as u8, self.outcome as u8]);
        out.extend_from_slice(&(self.object_ref.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.context.len() as u16).to_le_bytes());
        put_text(out, &self.name);
        for name in self.object_ref.iter().chain(&self.context) {
            put_text(out, name);
        }
        let length = padded(out.len() - at);
        out.resize(at + length, 0);
        out[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
    }

    /// Decodes the definition at the beginning of the bytes; returns it and what lies behind it.
    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let head = bytes.first_chunk::<HEAD>().ok_or(Malformed::Short)?;
        let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length < HEAD || !length.is_multiple_of(8) {
            return Err(Malformed::Length);
        }
        let mut rest = bytes.get(HEAD..length).ok_or(Malformed::Short)?;
        let mut next = || -> Result<String, Malformed> {
            let (length, behind) = rest.split_first_chunk::<2>().ok_or(Malformed::Short)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (text, behind) = behind.split_at_checked(length).ok_or(Malformed::Short)?;
            rest = behind;
            String::from_utf8(text.to_vec()).map_err(|_| Malformed::Text)
        };
        let name = next()?;
        let object_ref = (0..word(8)).map(|_| next()).collect::<Result<_, _>>()?;
        let context = (0..word(10)).map(|_| next()).collect::<Result<_, _>>()?;
        let definition = Self {
            code: word(4),
            name,
            category: Category::from_number(head[6]).ok_or(Malformed::UnknownWord(head[6]))?,
            outcome: Outcome::from_number(head[7]).ok_or(Malformed::UnknownWord(head[7]))?,
            object_ref,
            context,
        };
        if rest.len() >= 8 || rest.iter().any(|byte| *byte != 0) {
            return Err(Malformed::LeftOver);
        }
        if !definition.is_valid() {
            return Err(Malformed::UnknownCode(definition.code));
        }
        Ok((definition, &bytes[length..]))
    }
}

/// The declared events of one process, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions(Vec<Definition>);

impl Definitions {
    /// No declared event.
    pub const NONE: Self = Self(Vec::new());

    /// Decodes definitions that lie one behind the other. The same one twice is one.
    ///
    /// # Errors
    /// If the bytes are no definitions, or two differ under one code.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let mut all = Self::default();
        while !bytes.is_empty() {
            let (definition, rest) = Definition::decode(bytes)?;
            bytes = rest;
            let code = definition.code;
            if !all.insert(definition) {
                return Err(Malformed::UnknownCode(code));
            }
        }
        Ok(all)
    }

    /// Appends all, one behind the other.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for definition in &self.0 {
            definition.encode(out);
        }
    }

    /// Adds one. False if another one has its code.
    pub fn insert(&mut self, definition: Definition) -> bool {
        match self.0.binary_search_by_key(&definition.code, |known| known.code) {
            Ok(at) => self.0[at] == definition,
            Err(at) => {
                self.0.insert(at, definition);
                true
            }
        }
    }

    /// The definition of a code.
    #[must_use]
    pub fn get(&self, code: u16) -> Option<&Definition> {
        self.0.binary_search_by_key(&code, |known| known.code).ok().map(|at| &self.0[at])
    }

    /// All, by ascending code.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.0.iter()
    }
}
