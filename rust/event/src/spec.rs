//! What the catalog says about each action, as constants.
//!
//! Everything here is made from `catalog.toml` at build time and usable in const context. The numbers of the enums are
//! on disk and never change their meaning.

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// Version of the table, of the JSON and of the record layout. Raised by every change that a reader can see.
pub const SCHEMA_VERSION: u32 = 1;
/// Codes are below this: the stride of tables by code.
pub const CODES: usize = 1024;
/// Outcomes are below this: the stride of tables by outcome.
pub const OUTCOMES: usize = 8;
/// First code of events that a host declares; they end at [`CODES`].
pub const FIRST_DECLARED: u16 = 768;
/// The code of every free-form event; its name is in the record.
pub const FREEFORM: u16 = 767;
/// Most fields of an action: the low bits of the presence word.
pub const MAX_FIELDS: usize = 20;
/// Status of a failure whose action has no default of its own.
pub const FAILURE_STATUS: &str = "Failure";
/// Status of a denial whose action has no default of its own.
pub const DENIED_STATUS: &str = "Denied";

/// An enum whose numbers are on disk and whose words are in the table.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $number),* }

        impl $name {
            /// Every value, in order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in the table.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value of a number on disk.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

numbered!(
    /// How it ended.
    Outcome {
        /// It was done.
        Success = 0 "success",
        /// It failed.
        Failure = 1 "failure",
        /// It was refused.
        Denied = 2 "denied",
        /// It was allowed; not yet done.
        Allowed = 3 "allowed",
        /// It was passed on; there is no answer to see.
        Forwarded = 4 "forwarded",
    }
);
numbered!(
    /// Whether this process decided or saw it.
    Authority {
        /// Decided here.
        Decision = 1 "decision",
        /// Seen here, decided elsewhere.
        Witness = 2 "witness",
    }
);
numbered!(
    /// Who started it.
    Origin {
        /// The client.
        Client = 0 "client",
        /// A filter, on its own account.
        Filter = 1 "filter",
        /// The proxy.
        Proxy = 2 "proxy",
    }
);
numbered!(
    /// What kind of thing happened.
    Category {
        /// A process begins or ends.
        Lifecycle = 0 "lifecycle",
        /// A connection begins or ends.
        Connection = 1 "connection",
        /// Somebody proves who they are.
        Authentication = 2 "authentication",
        /// Somebody is allowed or denied something.
        Authorization = 3 "authorization",
        /// Something is created, changed or deleted.
        Administration = 4 "administration",
        /// Data is read or written.
        Data = 5 "data",
        /// A protocol request passes.
        Request = 6 "request",
        /// A plugin's own event.
        Plugin = 7 "plugin",
        /// The log speaks about itself.
        Audit = 8 "audit",
    }
);
numbered!(
    /// What an action belongs to.
    Scope {
        /// The process; there is no session.
        Process = 0 "process",
        /// One client's session.
        Session = 1 "session",
    }
);
numbered!(
    /// What users may build upon.
    Stability {
        /// Changes only by additions.
        Stable = 0 "stable",
        /// May change with a note.
        Evolving = 1 "evolving",
    }
);

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// Microseconds, UTC.
    Timestamp,
    /// 64-bit integer.
    Int64,
    /// 32-bit integer.
    Int32,
    /// Dictionary-encoded string.
    Dict,
    /// Plain string.
    Text,
    /// List of strings.
    Texts,
}

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Which.
    pub column: Column,
    /// Its name in the table.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it is never null.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

impl Column {
    /// What the catalog says about it.
    #[must_use]
    pub const fn spec(self) -> &'static ColumnSpec {
        &COLUMNS[self as usize]
    }

    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }
}

/// Type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8, at most `cap` bytes.
    Str,
    /// Whole number in `min..=max`.
    Int,
}

/// Where a field's value lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A column of its own.
    Column(Column),
    /// A key of `object_ref`.
    ObjectRef(&'static str),
    /// A key of `context`.
    Context(&'static str),
}

/// One field of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// The argument's name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Where it lands.
    pub target: Target,
    /// Whether a call must give it.
    pub required: bool,
    /// Most bytes of a string.
    pub cap: u16,
    /// Least number.
    pub min: i64,
    /// Greatest number.
    pub max: i64,
    /// All that a string may say, where the host itself chooses it; empty: anything.
    pub words: &'static [&'static str],
    /// With which field of a redaction it goes, where its column does not tell: `peer`, `principal`, or `principals` where
    /// it is a `Type:name`.
    pub redact: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
}

/// One action of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSpec {
    /// Stable for ever.
    pub code: u16,
    /// The action's name in the table.
    pub name: &'static str,
    /// The method's name.
    pub method: &'static str,
    /// What kind of thing happened.
    pub category: Category,
    /// What it belongs to.
    pub scope: Scope,
    /// The outcome when a call names none.
    pub outcome: Outcome,
    /// All that it may end with, where its name says how it ended; empty: anything.
    pub outcomes: &'static [Outcome],
    /// The status when a failure names none.
    pub failure_status: Option<&'static str>,
    /// The status when a denial names none.
    pub denied_status: Option<&'static str>,
    /// The authority when a call names none.
    pub authority: Option<Authority>,
    /// What users may build upon.
    pub stability: Stability,
    /// What it means.
    pub doc: &'static str,
    /// In order of the arguments.
    pub fields: &'static [FieldSpec],
    /// Columns that are the same in every event of this action.
    pub constants: &'static [(Column, &'static str)],
    /// Whether a host may emit it by a method; the library makes the others.
    pub emit: bool,
    /// Who starts it, where no filter is named.
    pub origin: Origin,
    /// Whether proxy and filters may do it on their own account, without a session.
    pub proxy: bool,
    /// Its name in that dialect; none: our own, package-qualified.
    pub kroxylicious: Option<&'static str>,
}

impl ActionSpec {
    /// Presence bits of the number fields.
    #[must_use]
    pub const fn int_mask(&self) -> u32 {
        let mut mask = 0;
        let mut i = 0;
        while i < self.fields.len() {
            if matches!(self.fields[i].kind, Kind::Int) {
                mask |= 1 << i;
            }
            i += 1;
        }
        mask
    }

    /// Presence bits of the string fields.
    #[must_use]
    pub const fn str_mask(&self) -> u32 {
        ((1u32 << self.fields.len()) - 1) & !self.int_mask()
    }

    /// The status of an event whose call named none; null means success.
    #[must_use]
    pub const fn default_status(&self, outcome: Outcome) -> Option<&'static str> {
        match (outcome, self.failure_status, self.denied_status) {
            (Outcome::Failure, Some(status), _) | (Outcome::Denied, _, Some(status)) => Some(status),
            (Outcome::Failure, None, _) => Some(FAILURE_STATUS),
            (Outcome::Denied, _, None) => Some(DENIED_STATUS),
            _ => None,
        }
    }

    /// The position of the field that names the filter, if it has one.
    #[must_use]
    pub const fn filter_field(&self) -> Option<usize> {
        let mut i = 0;
        while i < self.fields.len() {
            if matches!(self.fields[i].target, Target::Column(Column::Filter)) {
                return Some(i);
            }
            i += 1;
        }
        None
    }

    /// The position of a field by its name.
    ///
    /// # Panics
    /// Where there is none; in const context that is a build error.
    #[must_use]
    pub const fn position(&self, name: &str) -> usize {
        let mut i = 0;
        while i < self.fields.len() {
            if same(self.fields[i].name.as_bytes(), name.as_bytes()) {
                return i;
            }
            i += 1;
        }
        panic!("the action has no such field")
    }

    /// The position of a field by its name, where there is one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

/// Whether a full ring may refuse it before its last part is used up. Everything else is protected.
#[must_use]
pub const fn droppable(category: Category, outcome: Outcome) -> bool {
    matches!(category, Category::Data | Category::Request | Category::Plugin)
        && matches!(outcome, Outcome::Success | Outcome::Allowed | Outcome::Forwarded)
}

/// Positions in [`ACTIONS`] by code; 255 where there is none.
const BY_CODE: [u8; FIRST_DECLARED as usize] = {
    assert!(ACTIONS.len() < 255);
    let mut table = [u8::MAX; FIRST_DECLARED as usize];
    let mut i = 0;
    while i < ACTIONS.len() {
        table[ACTIONS[i].code as usize] = i as u8;
        i += 1;
    }
    table
};

/// The action at a position of [`ACTIONS`].
///
/// # Panics
/// Where there is none; in const context that is a build error.
#[must_use]
pub const fn spec_at(index: usize) -> &'static ActionSpec {
    &ACTIONS[index]
}

/// The action of a code; none for declared events and for codes that this version does not know.
#[must_use]
pub const fn spec(code: u16) -> Option<&'static ActionSpec> {
    if code >= FIRST_DECLARED || BY_CODE[code as usize] == u8::MAX {
        return None;
    }
    Some(&ACTIONS[BY_CODE[code as usize] as usize])
}

/// The position in [`ACTIONS`] of the action with this code.
///
/// # Panics
/// Where there is none; in const context that is a build error.
#[must_use]
pub const fn index_of(code: u16) -> usize {
    assert!(code < FIRST_DECLARED && BY_CODE[code as usize] != u8::MAX, "no action has this code");
    BY_CODE[code as usize] as usize
}

/// The code of a name, in const context.
///
/// # Panics
/// Where no action has the name; in const context that is a build error.
#[must_use]
pub const fn code_of(name: &str) -> u16 {
    let mut i = 0;
    while i < ACTIONS.len() {
        if same(ACTIONS[i].name.as_bytes(), name.as_bytes()) {
            return ACTIONS[i].code;
        }
        i += 1;
    }
    panic!("no action has this name")
}

/// What is known of the action with a name; meant for const context, where it costs nothing.
///
/// # Panics
/// Where no action has the name; in const context that is a build error.
#[must_use]
pub const fn named(name: &str) -> &'static ActionSpec {
    spec_at(index_of(code_of(name)))
}

/// `a == b`, in const context.
const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// `com.example.kms.KeyUsed` → `key_used`: what a method or a callable is called.
#[must_use]
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.rsplit('.').next().unwrap_or(name).chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The action of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static ActionSpec> {
    ACTIONS.iter().find(|spec| spec.name == name)
}
