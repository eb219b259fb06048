//! What redactions find in the events of one code, made once.

use auditring_event::record::{self, CAUSE_SESSION, CONTEXT, OBJECT_REF, REASON};
use auditring_event::{ActionSpec, Category, Column, Definition, Kind, Target, flat};

use super::field::{At, Field, Sort};
use super::{How, Redaction};

/// One redaction of one value of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) bit: u32,
    pub(super) rule: u8,
    pub(super) sort: Sort,
    /// Only where the resource is a user.
    pub(super) of_user: bool,
}

/// The events of one code.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order of the rules: the first that is of a value decides.
    pub(super) strings: Vec<Place>,
    /// Numbers that go, and by which rule.
    pub(super) ints: Vec<(u32, u8)>,
    /// Presence bits of all that may have to be changed.
    pub(super) touched: u32,
    /// The string that says what kind of resource it is.
    pub(super) resource_type: u32,
    pub(super) category: Category,
    /// What it has is not known: nothing of it may stay.
    pub(super) hidden: bool,
}

impl Plan {
    /// Of a code that nobody has said anything about.
    pub(super) const HIDDEN: Self = Self {
        strings: Vec::new(),
        ints: Vec::new(),
        touched: u32::MAX,
        resource_type: 0,
        category: Category::Plugin,
        hidden: true,
    };

    fn new(category: Category, rules: &[Redaction]) -> Self {
        let mut plan = Self { strings: Vec::new(), touched: 0, category, hidden: false, ..Self::HIDDEN };
        plan.text(rules, REASON, At::Column(Column::Reason), None, false);
        plan.text(rules, CAUSE_SESSION, At::Context(flat::CAUSE_SESSION_KEY), None, false);
        for bit in [CONTEXT, OBJECT_REF] {
            plan.touched |= if plan.of_map(bit, rules) == 0 { 0 } else { bit };
        }
        plan
    }

    /// The rules that may be of keys of a map.
    pub(super) fn of_map(&self, bit: u32, rules: &[Redaction]) -> u64 {
        let of = |field: &Field| match field {
            Field::Peer | Field::Principal | Field::Context(_) => bit == CONTEXT,
            Field::Resource | Field::ObjectRef(_) => bit == OBJECT_REF,
            Field::ClientId | Field::Reason => false,
        };
        let mine = rules.iter().enumerate().filter(|(_, rule)| of(&rule.field) && rule.field.is_in(self.category));
        mine.fold(0, |all, (at, _)| all | 1 << at)
    }

    pub(super) fn of_spec(spec: &'static ActionSpec, rules: &[Redaction]) -> Self {
        let mut plan = Self::new(spec.category, rules);
        let kind = spec.fields.iter().position(|field| field.target == Target::Column(Column::ResourceType));
        plan.resource_type = kind.map_or(0, |at| 1 << at);
        for (position, field) in spec.fields.iter().enumerate() {
            let at = match field.target {
                Target::Column(column) => At::Column(column),
                Target::Context(key) => At::Context(key),
                Target::ObjectRef(key) => At::ObjectRef(key),
            };
            if field.kind == Kind::Str {
                let may_be_user = field.target == Target::Column(Column::Resource) && plan.resource_type != 0;
                plan.text(rules, 1 << position, at, field.redact, may_be_user);
            } else {
                plan.int(rules, 1 << position, at);
            }
        }
        plan
    }

    pub(super) fn of_definition(definition: &Definition, rules: &[Redaction]) -> Self {
        let mut plan = Self::new(definition.category, rules);
        let objects = definition.object_ref.iter().map(|key| At::ObjectRef(key));
        let fields = objects.chain(definition.context.iter().map(|key| At::Context(key)));
        for (position, at) in fields.enumerate() {
            plan.text(rules, 1 << position, at, None, false);
        }
        plan
    }

    fn text(&mut self, rules: &[Redaction], bit: u32, at: At<'_>, hint: Option<&str>, may_be_user: bool) {
        for (rule, redaction) in rules.iter().enumerate().filter(|(_, rule)| rule.field.is_in(self.category)) {
            let of_user = may_be_user && redaction.field == Field::Principal;
            let sort = redaction.field.covers(at, if of_user { Some("principal") } else { hint });
            if let Some(sort) = sort {
                self.touched |= bit;
                self.strings.push(Place { bit, rule: rule as u8, sort, of_user });
            }
        }
    }

    fn int(&mut self, rules: &[Redaction], bit: u32, at: At<'_>) {
        let covers = |rule: &Redaction| rule.field.is_in(self.category) && rule.field.covers(at, None).is_some();
        if let Some(rule) = rules.iter().position(covers) {
            self.touched |= bit;
            self.ints.push((bit, rule as u8));
        }
    }

    /// The redaction that decides about a string.
    pub(super) fn place(&self, bit: u32, is_user: impl Fn() -> bool) -> Option<Place> {
        self.strings.iter().find(|place| place.bit == bit && (!place.of_user || is_user())).copied()
    }

    /// Bits of the strings that any code may carry and that say nothing of anybody.
    pub(super) const HARMLESS: u32 = record::STATUS | record::TAP | record::FILTER | record::NAME;
}

/// The first redaction of a key of a map.
pub(super) fn of_key<'r>(rules: &'r [Redaction], category: Category, at: At<'_>) -> Option<(u8, &'r How, Sort)> {
    rules.iter().enumerate().find_map(|(number, rule)| {
        let sort = rule.field.covers(at, None).filter(|_| rule.field.is_in(category))?;
        Some((number as u8, &rule.how, sort))
    })
}
