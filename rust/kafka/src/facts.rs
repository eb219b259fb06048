//! What a tap has seen and not yet handed over: bodies of events, one behind the other, and what changes the session.
//!
//! What must always hold: a body is as `auditring_event` reads it; whoever feeds a tap takes the facts out before they are
//! many, so that no chunk of bytes, however crafted, makes them grow without bound.

use auditring_event::record::{Layout, STATUS, TAP};
use auditring_event::sanitize::{self, Marks};
use auditring_event::{ActionSpec, Kind, MAX_FIELDS, Outcome, STATUS_CAP};

use crate::frame::Room;

/// Bytes of bodies from which on a tap waits to be relieved.
const FULL: usize = 64 * 1024;
/// Items likewise: what changes the session has no body.
const MANY: usize = 4096;
/// Bytes of bodies that an exchange may lay down at once: each page reads its messages anew.
const PAGE: usize = 8 * 1024 * 1024;
/// Presence bits of strings are below this.
const STRINGS: usize = 28;

/// One event, without its head and the session's context.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// Which action.
    pub spec: &'static ActionSpec,
    /// Which fields are there.
    pub presence: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What was done to its values.
    pub flags: u8,
    begin: u32,
    end: u32,
}

/// One thing that a tap has seen.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event.
    Event(Fact),
    /// The event of a client that has proved who it is, which every later row then says; the principal is not known to
    /// every mechanism.
    Proved {
        /// Its row.
        event: Fact,
        /// Whom it proved to be.
        principal: Option<String>,
        /// By which mechanism.
        mechanism: String,
    },
    /// What the client calls itself.
    ClientId(String, Marks),
}

/// What was seen, in order.
#[derive(Debug, Default)]
pub struct Facts {
    items: Vec<Item>,
    bodies: Vec<u8>,
    /// The draft in hand: numbers by the field's position; strings, each behind its length, and where each lies. What the
    /// draft's presence bits do not name is left from another.
    ints: [i64; MAX_FIELDS],
    texts: Vec<u8>,
    places: [(u16, u16); STRINGS],
    /// Whether events of category `request` are wanted; where not, they are counted alone.
    pub requests: bool,
    /// Requests that were not wanted.
    pub ingress_off: u32,
    /// Responses that were not wanted.
    pub egress_off: u32,
    /// What of the data path is turned off: it is counted, and not built.
    pub off: Off,
    /// So much was.
    pub data_off: DataOff,
    /// Events of an auditor's own messages, which are left out.
    pub exempt: u32,
}

/// Events of the data path that are not wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Off {
    /// Reads that succeeded.
    pub reads: bool,
    /// Writes that succeeded.
    pub writes: bool,
    /// Writes of which no answer tells.
    pub forwarded: bool,
}

/// How many of them there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataOff {
    /// Reads that succeeded.
    pub reads: u32,
    /// Writes that succeeded.
    pub writes: u32,
    /// Writes of which no answer tells.
    pub forwarded: u32,
}

impl Facts {
    /// What was seen.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The body of an event.
    #[must_use]
    pub fn body(&self, fact: &Fact) -> &[u8] {
        &self.bodies[fact.begin as usize..fact.end as usize]
    }

    /// Forgets what was taken out.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bodies.clear();
        // One message may have said much more than is usual.
        self.bodies.shrink_to(4 * FULL);
        (self.ingress_off, self.egress_off, self.data_off, self.exempt) = (0, 0, DataOff::default(), 0);
    }

    /// Whether they should be taken out before more is read.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bodies.len() >= FULL || self.items.len() >= MANY
    }

    pub(crate) fn is_page(&self) -> bool {
        self.bodies.len() >= PAGE
    }

    /// An event of an auditor's own is left out.
    pub(crate) fn let_pass(&mut self) {
        self.exempt = self.exempt.saturating_add(1);
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Lays an event down whose body is made.
    #[inline]
    pub(crate) fn lay(
        &mut self,
        spec: &'static ActionSpec,
        outcome: Outcome,
        (presence, flags): (u32, u8),
        parts: [&[u8]; 2],
    ) {
        let begin = self.bodies.len();
        for part in parts {
            self.bodies.extend_from_slice(part);
        }
        let (begin, end) = (begin as u32, self.bodies.len() as u32);
        self.items.push(Item::Event(Fact { spec, presence, outcome, flags, begin, end }));
    }

    /// Begins an event.
    pub(crate) fn draft(&mut self, spec: &'static ActionSpec) -> Draft<'_> {
        self.texts.clear();
        Draft { facts: self, spec, presence: 0, outcome: spec.outcome, flags: 0, muted: false }
    }
}

impl Room for Facts {
    #[inline]
    fn is_full(&self) -> bool {
        Self::is_full(self)
    }
}

/// An event in the making. Fields come in any order; text is made safe and cut to its cap.
pub(crate) struct Draft<'f> {
    facts: &'f mut Facts,
    spec: &'static ActionSpec,
    presence: u32,
    outcome: Outcome,
    flags: u8,
    /// Nothing of it is laid down.
    muted: bool,
}

impl Draft<'_> {
    /// A number, by the field's position.
    #[inline]
    pub(crate) fn int_at(&mut self, at: usize, value: i64) -> &mut Self {
        debug_assert!(matches!(self.spec.fields[at].kind, Kind::Int), "{}", self.spec.fields[at].name);
        self.facts.ints[at] = value;
        self.presence |= 1 << at;
        self
    }

    /// A text, by the field's position.
    #[inline]
    pub(crate) fn text_at(&mut self, at: usize, value: &[u8]) -> &mut Self {
        debug_assert!(matches!(self.spec.fields[at].kind, Kind::Str), "{}", self.spec.fields[at].name);
        self.put(at, value, usize::from(self.spec.fields[at].cap))
    }

    /// A number, by the field's name.
    pub(crate) fn int(&mut self, name: &str, value: i64) -> &mut Self {
        let at = self.position(name);
        self.int_at(at, value)
    }

    /// A text, by the field's name.
    pub(crate) fn text(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let at = self.position(name);
        self.text_at(at, value)
    }

    /// How it ended.
    pub(crate) fn outcome(&mut self, outcome: Outcome) -> &mut Self {
        self.outcome = outcome;
        self
    }

    /// Why it failed or was refused, as `sanitize::status` has it.
    pub(crate) fn status(&mut self, status: &str) -> &mut Self {
        debug_assert_eq!(status, sanitize::status(status));
        debug_assert!(status.len() <= STATUS_CAP);
        self.lay(STATUS.trailing_zeros() as usize, status)
    }

    /// A text that was made safe before, and cut to its cap; and what was done to it then.
    #[inline]
    pub(crate) fn safe_at(&mut self, at: usize, value: &str, marks: Marks) -> &mut Self {
        self.flags |= marks.flags();
        self.lay(at, value)
    }

    /// The point at which it was seen; safe already.
    pub(crate) fn tap(&mut self, tap: Option<&str>) -> &mut Self {
        match tap {
            Some(tap) => self.safe_at(TAP.trailing_zeros() as usize, tap, Marks::default()),
            None => self,
        }
    }

    fn position(&self, name: &str) -> usize {
        let at = self.spec.field(name);
        at.unwrap_or_else(|| panic!("{} has no field `{name}`", self.spec.name))
    }

    #[inline]
    fn put(&mut self, bit: usize, value: &[u8], cap: usize) -> &mut Self {
        if self.muted {
            return self;
        }
        let (text, marks) = sanitize::text(value, cap);
        self.flags |= marks.flags();
        self.lay(bit, &text)
    }

    #[inline]
    fn lay(&mut self, bit: usize, text: &str) -> &mut Self {
        let begin = self.facts.texts.len();
        self.facts.texts.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.facts.texts.extend_from_slice(text.as_bytes());
        // All strings of an event together are shorter than a record.
        self.facts.places[bit] = (begin as u16, self.facts.texts.len() as u16);
        self.presence |= 1 << bit;
        self
    }

    /// The event is whole.
    pub(crate) fn finish(&mut self) {
        if !self.muted {
            let fact = self.fact();
            self.facts.items.push(Item::Event(fact));
        }
    }

    /// Its texts, in the order of the bits; their presence, and what was done to them.
    pub(crate) fn texts_into(&mut self, out: &mut Vec<u8>) -> (u32, u8) {
        let strings = self.presence & !Layout::known(self.spec.code).ints;
        gather(strings, &self.facts.texts, &self.facts.places, out);
        (strings, self.flags)
    }

    /// It is told another time.
    pub(crate) fn mute(&mut self) {
        self.muted = true;
    }

    /// The same for the event that proves a client.
    pub(crate) fn proved(&mut self, principal: Option<String>, mechanism: String) {
        let event = self.fact();
        self.facts.items.push(Item::Proved { event, principal, mechanism });
    }

    /// Lays the body down as `auditring_event::record` has it: numbers first, each kind in the order of the bits.
    fn fact(&mut self) -> Fact {
        // A failure or denial never goes without a status.
        if self.presence & STATUS == 0
            && let Some(status) = self.spec.default_status(self.outcome)
        {
            self.status(status);
        }
        let Facts { bodies, ints: numbers, texts, places, .. } = &mut *self.facts;
        let begin = bodies.len();
        let ints = Layout::known(self.spec.code).ints;
        let mut left = self.presence & ints;
        while left != 0 {
            bodies.extend_from_slice(&numbers[left.trailing_zeros() as usize].to_le_bytes());
            left &= left - 1;
        }
        gather(self.presence & !ints, texts, places, bodies);
        Fact {
            spec: self.spec,
            presence: self.presence,
            outcome: self.outcome,
            flags: self.flags,
            begin: begin as u32,
            end: bodies.len() as u32,
        }
    }
}

/// Appends the texts of these bits, in their order.
fn gather(mut bits: u32, texts: &[u8], places: &[(u16, u16); STRINGS], out: &mut Vec<u8>) {
    while bits != 0 {
        let (from, to) = places[bits.trailing_zeros() as usize];
        out.extend_from_slice(&texts[from as usize..to as usize]);
        bits &= bits - 1;
    }
}
