//! Where the values of a row land: one plan a code, made once a batch, then followed for each of its rows.
//!
//! A column's value is the row's own, else the action's constant, else the context's. Both Arrow and JSON go by this.

use crate::body::{self, Layout};
use crate::definition::{Definition, NAMELESS, UNDECLARED};
use crate::flat::CAUSE_SESSION_KEY;
use crate::row::RowView;
use crate::spec::{self, ActionSpec, Category, Column, ColumnType, Target};
use crate::{Malformed, RowSet};

/// Where the value behind one presence bit lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// Nowhere: the bit has no meaning for this code.
    Nowhere,
    /// In a column.
    Column(Column),
    /// In a column of 32-bit integers.
    Column32(Column),
    /// Under a key of `object_ref`.
    ObjectRef(&'a str),
    /// Under a key of `context`.
    Context(&'a str),
    /// It is the map for `object_ref`.
    ObjectRefMap,
    /// It is the map for `context`.
    ContextMap,
}

/// A value that lands in `object_ref` or `context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail<'a> {
    Int(i64),
    Text(&'a str),
}

/// The plan of one code.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    /// None where the name is in the row.
    pub action: Option<&'a str>,
    pub category: Category,
    pub constants: &'static [(Column, &'static str)],
    /// The constants as members of a line, which no row says otherwise.
    pub constant_members: Vec<u8>,
    places: [Place<'a>; 32],
    layout: Layout,
}

/// What follows a plan.
pub(crate) trait Visitor<'a> {
    fn int(&mut self, column: Column, value: i64);
    fn text(&mut self, column: Column, value: &'a [u8]) -> Result<(), Malformed>;
    fn detail(&mut self, place: Place<'a>, value: Detail<'a>);
}

impl<'a> Plan<'a> {
    fn new(code: u16, set: &'a RowSet) -> Result<Self, Malformed> {
        let layout = Layout::of(code).ok_or(Malformed::UnknownCode(code))?;
        let mut places = [Place::Nowhere; 32];
        for (bit, place) in [
            (body::STATUS, Place::Column(Column::Status)),
            (body::REASON, Place::Column(Column::Reason)),
            (body::TAP, Place::Column(Column::Tap)),
            (body::FILTER, Place::Column(Column::Filter)),
            (body::OBJECT_REF, Place::ObjectRefMap),
            (body::CONTEXT, Place::ContextMap),
            (body::CAUSE_SESSION, Place::Context(CAUSE_SESSION_KEY)),
            (body::END_TIME, Place::Column(Column::EndTime)),
        ] {
            places[bit.trailing_zeros() as usize] = place;
        }
        Ok(match spec::spec(code) {
            Some(spec) => Self::of_spec(spec, places, layout),
            None => Self::of_definition(set.definitions.get(code), places, layout),
        })
    }

    fn of_spec(spec: &'static ActionSpec, mut places: [Place<'a>; 32], layout: Layout) -> Self {
        let free = spec.code == spec::FREEFORM;
        if free {
            places[body::NAME.trailing_zeros() as usize] = Place::Column(Column::Action);
        }
        for (place, field) in places.iter_mut().zip(spec.fields) {
            *place = match field.target {
                Target::Column(column) if column.spec().kind == ColumnType::Int32 => Place::Column32(column),
                Target::Column(column) => Place::Column(column),
                Target::ObjectRef(key) => Place::ObjectRef(key),
                Target::Context(key) => Place::Context(key),
            };
        }
        let action = (!free).then_some(spec.name);
        let mut constant_members = Vec::new();
        for (column, value) in spec.constants {
            crate::json::member(&mut constant_members, &crate::json::name(*column), value);
        }
        Self { constant_members, action, category: spec.category, constants: spec.constants, places, layout }
    }

    fn of_definition(definition: Option<&'a Definition>, mut places: [Place<'a>; 32], layout: Layout) -> Self {
        let named = definition.map(|of| (&of.object_ref[..], &of.context[..]));
        let (object_ref, context) = named.unwrap_or_default();
        let object_ref = object_ref.iter().map(|key| Place::ObjectRef(key));
        let context = context.iter().map(|key| Place::Context(key));
        for (place, nameless) in places.iter_mut().zip(NAMELESS) {
            *place = Place::Context(nameless);
        }
        for (place, field) in places.iter_mut().zip(object_ref.chain(context)) {
            *place = field;
        }
        Self {
            action: Some(definition.map_or(UNDECLARED, |of| &of.name)),
            category: definition.map_or(Category::Plugin, |of| of.category),
            constants: &[],
            constant_members: Vec::new(),
            places,
            layout,
        }
    }

    /// The value of a column that all rows of the action share.
    #[inline]
    pub(crate) fn constant(&self, column: Column) -> Option<&'static str> {
        self.constants.iter().find(|(of, _)| *of == column).map(|(_, value)| *value)
    }

    /// Hands each value of the row to the visitor.
    #[inline]
    pub(crate) fn follow(&self, row: &RowView<'a>, visitor: &mut impl Visitor<'a>) -> Result<(), Malformed> {
        let presence = row.presence();
        let known = self.layout.ints | self.layout.strs;
        if presence & !known != 0 {
            return Err(Malformed::UnknownBits(presence & !known));
        }
        if self.action.is_none() && presence & body::NAME == 0 {
            return Err(Malformed::Text);
        }
        let mut ints = presence & self.layout.ints;
        let (numbers, _) = row.body().as_chunks::<8>();
        if numbers.len() < ints.count_ones() as usize {
            return Err(Malformed::Short);
        }
        for number in numbers {
            if ints == 0 {
                break;
            }
            let value = i64::from_le_bytes(*number);
            match self.places[ints.trailing_zeros() as usize & 31] {
                Place::Column32(column) => {
                    visitor.int(column, i32::try_from(value).map_err(|_| Malformed::Range)?.into());
                }
                Place::Column(column) => visitor.int(column, value),
                place => visitor.detail(place, Detail::Int(value)),
            }
            ints &= ints - 1;
        }
        let mut strings = row.fields().strings();
        for (bit, bytes) in strings.by_ref() {
            match self.places[bit.trailing_zeros() as usize & 31] {
                Place::Column(column) => visitor.text(column, bytes)?,
                Place::Nowhere => return Err(Malformed::UnknownBits(bit)),
                place => {
                    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Text)?;
                    visitor.detail(place, Detail::Text(text));
                }
            }
        }
        if strings.is_complete() { Ok(()) } else { Err(Malformed::Short) }
    }
}

/// The plans of a batch's codes, each made when its first row is met.
pub(crate) struct Plans<'a> {
    set: &'a RowSet,
    by_code: Vec<u16>,
    made: Vec<Plan<'a>>,
}

impl<'a> Plans<'a> {
    pub(crate) fn new(set: &'a RowSet) -> Self {
        Self { set, by_code: vec![u16::MAX; spec::CODES], made: Vec::new() }
    }

    /// Position of the plan of a code.
    #[inline]
    pub(crate) fn position(&mut self, code: u16) -> Result<u16, Malformed> {
        match self.by_code.get(usize::from(code)) {
            Some(&position) if position != u16::MAX => Ok(position),
            Some(_) => {
                let position = self.made.len() as u16;
                self.made.push(Plan::new(code, self.set)?);
                self.by_code[usize::from(code)] = position;
                Ok(position)
            }
            None => Err(Malformed::UnknownCode(code)),
        }
    }

    #[inline]
    pub(crate) fn get(&self, position: u16) -> &Plan<'a> {
        &self.made[usize::from(position)]
    }

    pub(crate) fn all(&self) -> &[Plan<'a>] {
        &self.made
    }
}
