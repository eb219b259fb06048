//! What a reader wants to see of a journal, asked of the bytes of a row: what is not wanted is never decoded.
//!
//! A row is first held against its time, code and outcome, then against what its context is known to be, and only then, and
//! only where the filter names sessions or principals, against strings of its own.

use auditring_event::record::{CAUSE_SESSION, NAME, outcome_number};
use auditring_event::row::RowView;
use auditring_event::{
    CODES, Category, Column, Context, Definitions, FREEFORM, OUTCOMES, Outcome, Target, definition, spec,
};
use auditring_journal::contexts;

use crate::select::is_near;

/// What to show. An empty list asks for nothing in particular.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Names of actions.
    pub actions: Vec<String>,
    /// Categories of actions.
    pub categories: Vec<Category>,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// Principals, as `Type:name` or by name alone: authenticated ones, and those that a failed authentication claimed.
    pub principals: Vec<String>,
    /// Ids of sessions; what a filter did because of a session's request belongs to it.
    pub sessions: Vec<String>,
    /// Wall time from which on, nanoseconds since the epoch.
    pub since_ns: Option<i64>,
}

/// What the filter says of one code.
#[derive(Clone, Copy, Debug, Default)]
struct Code {
    ask: Ask,
    /// Presence bit of the row's own principal, and of the one that was claimed; 0 where there is none.
    principal: u32,
    attempted: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ask {
    #[default]
    No,
    Yes,
    /// The name is in the row.
    Name,
}

/// What the filter says of one context.
#[derive(Clone, Copy, Debug)]
struct Known {
    session: bool,
    principal: bool,
}

/// A filter, ready for the rows of one segment.
#[derive(Debug)]
pub(crate) struct Sieve {
    filter: Filter,
    since_ns: i64,
    outcomes: [bool; OUTCOMES],
    codes: Vec<Code>,
    known: Vec<Known>,
    /// How many of them there are for certain.
    present: usize,
}

impl Sieve {
    pub(crate) fn new(filter: Filter) -> Self {
        let mut outcomes = [filter.outcomes.is_empty(); OUTCOMES];
        for outcome in &filter.outcomes {
            outcomes[*outcome as usize] = true;
        }
        let since_ns = filter.since_ns.unwrap_or(i64::MIN);
        Self { filter, since_ns, outcomes, codes: vec![Code::default(); CODES], known: Vec::new(), present: 0 }
    }

    /// A segment begins: codes may mean other events, and contexts will come anew.
    pub(crate) fn segment(&mut self, definitions: &Definitions) {
        self.known.clear();
        self.present = 0;
        for code in 0..CODES as u16 {
            self.codes[usize::from(code)] = self.code(code, definitions);
        }
    }

    /// Definitions that a batch brings, before its rows.
    pub(crate) fn define(&mut self, definitions: &Definitions) {
        for one in definitions.iter() {
            self.codes[usize::from(one.code)] = self.code(one.code, definitions);
        }
    }

    fn code(&self, code: u16, definitions: &Definitions) -> Code {
        let wanted = |name: &str| self.filter.actions.is_empty() || self.filter.actions.iter().any(|one| one == name);
        let kind = |category| self.filter.categories.is_empty() || self.filter.categories.contains(&category);
        let ask = |yes| if yes { Ask::Yes } else { Ask::No };
        let Some(spec) = spec(code) else {
            let of = definitions.get(code);
            let name = of.map_or(definition::UNDECLARED, |of| &of.name);
            let category = of.map_or(Category::Plugin, |of| of.category);
            return Code { ask: ask(wanted(name) && kind(category)), ..Code::default() };
        };
        let bit = |column| {
            let lands = |field: &auditring_event::FieldSpec| field.target == Target::Column(column);
            spec.fields.iter().position(lands).map_or(0, |at| 1 << at)
        };
        let ask = match ask(kind(spec.category)) {
            Ask::Yes if code == FREEFORM && !self.filter.actions.is_empty() => Ask::Name,
            Ask::Yes if code != FREEFORM => ask(wanted(spec.name)),
            other => other,
        };
        Code { ask, principal: bit(Column::Principal), attempted: bit(Column::AttemptedPrincipal) }
    }

    /// The contexts of a batch, before its rows. Decoded only where the filter asks for who.
    pub(crate) fn contexts(&mut self, section: &[u8]) {
        if self.filter.sessions.is_empty() && self.filter.principals.is_empty() {
            return;
        }
        for entry in contexts::iter(section).flatten() {
            let index = entry.index as usize;
            if !is_near(index, self.present) {
                continue;
            }
            self.present += 1;
            let context = Context::decode(entry.bytes).unwrap_or_default();
            let known = Known {
                session: context.session.as_deref().is_some_and(|id| self.filter.sessions.iter().any(|one| one == id)),
                principal: context.principal.as_deref().is_some_and(|name| self.is_user(name))
                    || context.principals.iter().any(|one| self.names(one)),
            };
            if self.known.len() <= index {
                self.known.resize(index + 1, Known { session: false, principal: false });
            }
            self.known[index] = known;
        }
    }

    /// Whether the filter names a principal: `Type:name`, or a name.
    fn names(&self, principal: &str) -> bool {
        let name = principal.split_once(':').map_or(principal, |(_, name)| name);
        self.filter.principals.iter().any(|one| one == principal || one == name)
    }

    /// Whether anything up to this wall time can be wanted.
    pub(crate) fn reaches(&self, max_time_ns: i64) -> bool {
        max_time_ns >= self.since_ns
    }

    /// Whether a row is wanted.
    #[inline]
    pub(crate) fn wants(&self, row: &RowView<'_>) -> bool {
        let Some(code) = self.codes.get(usize::from(row.code())) else { return false };
        row.time_ns() >= self.since_ns
            && self.outcomes[usize::from(outcome_number(row.bits())) & (OUTCOMES - 1)]
            && code.ask != Ask::No
            && (code.ask == Ask::Yes || self.asks_for(row))
            && (self.filter.sessions.is_empty() || self.of_session(row))
            && (self.filter.principals.is_empty() || self.of_principal(row, *code))
    }

    fn asks_for(&self, row: &RowView<'_>) -> bool {
        row.fields().text(NAME).is_some_and(|name| self.filter.actions.iter().any(|one| one == name))
    }

    fn known(&self, row: &RowView<'_>) -> Known {
        self.known.get(row.context() as usize).copied().unwrap_or(Known { session: false, principal: false })
    }

    fn of_session(&self, row: &RowView<'_>) -> bool {
        let cause = || row.fields().text(CAUSE_SESSION);
        self.known(row).session || cause().is_some_and(|id| self.filter.sessions.iter().any(|one| one == id))
    }

    fn of_principal(&self, row: &RowView<'_>, code: Code) -> bool {
        let own = |bit| if bit == 0 { None } else { row.fields().text(bit) };
        if own(code.attempted).is_some_and(|name| self.is_user(name)) {
            return true;
        }
        // Where the row says who, it does not matter what its session says.
        own(code.principal).map_or_else(|| self.known(row).principal, |name| self.is_user(name))
    }

    /// Whether the filter names the user of this name.
    fn is_user(&self, name: &str) -> bool {
        self.filter.principals.iter().any(|one| one == name || one.strip_prefix("User:") == Some(name))
    }
}
