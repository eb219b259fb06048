//! One event with every column by name: for readers that want a row at a time, and as the plain statement of what a row
//! means, against which Arrow and JSON are tested.

use crate::context::mark;
use crate::definition::{NAMELESS, UNDECLARED};
use crate::flat::CAUSE_SESSION_KEY;
use crate::row::RowView;
use crate::sanitize::Marks;
use crate::spec::{COLUMNS, Column, Kind, Target};
use crate::{Category, Definition, Malformed, Origin, RowRef, RowSet, flat, record, spec};
use serde_json::{Map, Value};

/// A value of the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number; times are nanoseconds since the epoch.
    Int(i64),
    /// A string.
    Text(String),
    /// A list of strings.
    Texts(Vec<String>),
    /// A map.
    Map(Map<String, Value>),
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    cells: Vec<Option<Cell>>,
}

impl Default for Event {
    fn default() -> Self {
        Self { cells: vec![None; COLUMNS.len()] }
    }
}

impl Event {
    /// The value of a column; none is null.
    #[must_use]
    pub fn get(&self, column: Column) -> Option<&Cell> {
        self.cells[column as usize].as_ref()
    }

    /// The string of a column.
    #[must_use]
    pub fn text(&self, column: Column) -> Option<&str> {
        match self.get(column) {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The number of a column.
    #[must_use]
    pub fn int(&self, column: Column) -> Option<i64> {
        match self.get(column) {
            Some(Cell::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Sets the value of a column. Empty maps and lists are null.
    pub fn set(&mut self, column: Column, cell: Option<Cell>) {
        self.cells[column as usize] = cell.filter(|cell| match cell {
            Cell::Map(map) => !map.is_empty(),
            Cell::Texts(list) => !list.is_empty(),
            _ => true,
        });
    }

    fn set_text(&mut self, column: Column, text: Option<&str>) {
        self.set(column, text.map(|text| Cell::Text(text.to_owned())));
    }

    fn set_int(&mut self, column: Column, number: Option<i64>) {
        self.set(column, number.map(Cell::Int));
    }

    /// The event behind a reference.
    ///
    /// # Errors
    /// If the row is malformed.
    pub fn of(set: &RowSet, at: &RowRef) -> Result<Self, Malformed> {
        let row = set.row(at)?;
        row.validate()?;
        let mut event = Self::default();
        event.set_int(Column::Time, Some(row.time_ns()));
        event.set_int(Column::TimeNs, Some(row.time_ns()));
        event.set_int(Column::AgeNs, Some(row.age_ns()));
        event.set_int(Column::Seq, Some(at.seq));
        event.set_int(Column::Count, Some(at.count.into()));
        event.set_int(Column::Weight, Some(at.weight.into()));
        event.set_text(Column::Process, Some(&set.identity.process));
        event.set_text(Column::Instance, Some(&set.identity.instance));
        event.set_text(Column::Host, Some(&set.identity.host));
        event.set_text(Column::Outcome, Some(row.outcome().word()));
        event.set_text(Column::Authority, record::authority(row.bits()).map(spec::Authority::word));
        event.set_text(Column::Origin, record::origin(row.bits()).map(Origin::word));
        let mut details = Map::new();
        event.take_context(set, &row, &mut details);
        match spec::spec(row.code()) {
            Some(spec) => event.take_fields(spec, &row, &mut details),
            None => event.take_declared(set.definitions.get(row.code()), &row, &mut details),
        }
        event.take_common(&row, &mut details)?;
        mark(&mut details, Marks { altered: row.flags() & record::ALTERED != 0, cut: row.flags() & record::CUT != 0 });
        event.set(Column::Context, Some(Cell::Map(details)));
        Ok(event)
    }

    fn take_context(&mut self, set: &RowSet, row: &RowView<'_>, details: &mut Map<String, Value>) {
        let Some(context) = set.context(row) else { return };
        for (column, value) in [
            (Column::Session, &context.session),
            (Column::VirtualCluster, &context.virtual_cluster),
            (Column::ClientId, &context.client_id),
            (Column::Listener, &context.listener),
            (Column::PeerIp, &context.peer_ip),
            (Column::Server, &context.server),
            (Column::ServerLocal, &context.server_local),
            (Column::Mechanism, &context.mechanism),
            (Column::Tap, &context.tap),
            (Column::Filter, &context.filter),
        ] {
            self.set_text(column, value.as_deref());
        }
        self.set_int(Column::PeerPort, context.peer_port.map(i64::from));
        self.set_int(Column::NodeId, context.node_id.map(i64::from));
        self.set_text(Column::Principal, context.first_principal());
        let principals = context.all_principals().into_iter().map(std::borrow::Cow::into_owned).collect();
        self.set(Column::Principals, Some(Cell::Texts(principals)));
        details.extend(context.context.clone().unwrap_or_default());
    }

    fn take_fields(&mut self, spec: &'static spec::ActionSpec, row: &RowView<'_>, details: &mut Map<String, Value>) {
        self.set_text(Column::Action, Some(spec.name));
        self.set_text(Column::Category, Some(spec.category.word()));
        for (column, value) in spec.constants {
            self.set_text(*column, Some(value));
        }
        let mut object_ref = Map::new();
        for (at, field) in spec.fields.iter().enumerate() {
            let body = row.fields();
            let cell = match field.kind {
                Kind::Int => body.int(1 << at).map(Cell::Int),
                Kind::Str => body.text(1 << at).map(|text| Cell::Text(text.to_owned())),
            };
            let Some(cell) = cell else { continue };
            match field.target {
                Target::Column(column) => self.set(column, Some(cell)),
                Target::ObjectRef(key) => drop(object_ref.insert(key.to_owned(), value(cell))),
                Target::Context(key) => drop(details.insert(key.to_owned(), value(cell))),
            }
            if field.target == Target::Column(Column::Principal) {
                let name = self.text(Column::Principal).unwrap_or_default();
                self.set(Column::Principals, Some(Cell::Texts(vec![format!("User:{name}")])));
            }
        }
        self.set(Column::ObjectRef, Some(Cell::Map(object_ref)));
    }

    fn take_declared(&mut self, definition: Option<&Definition>, row: &RowView<'_>, details: &mut Map<String, Value>) {
        self.set_text(Column::Action, Some(definition.map_or(UNDECLARED, |of| &of.name)));
        self.set_text(Column::Category, Some(definition.map_or(Category::Plugin, |of| of.category).word()));
        let (objects, contexts) = definition.map(|of| (&of.object_ref[..], &of.context[..])).unwrap_or_default();
        let mut object_ref = Map::new();
        for (at, nameless) in NAMELESS.iter().enumerate() {
            let Some(text) = row.fields().text(1 << at) else { continue };
            if let Some(name) = objects.get(at) {
                object_ref.insert(name.clone(), text.into());
            } else {
                let name = contexts.get(at - objects.len()).map_or(*nameless, String::as_str);
                details.insert(name.to_owned(), text.into());
            }
        }
        self.set(Column::ObjectRef, Some(Cell::Map(object_ref)));
    }

    fn take_common(&mut self, row: &RowView<'_>, details: &mut Map<String, Value>) -> Result<(), Malformed> {
        let body = row.fields();
        for (bit, column) in [
            (record::STATUS, Column::Status),
            (record::REASON, Column::Reason),
            (record::TAP, Column::Tap),
            (record::FILTER, Column::Filter),
            (record::NAME, Column::Action),
        ] {
            if let Some(text) = body.text(bit) {
                self.set_text(column, Some(text));
            }
        }
        self.set_int(Column::EndTime, body.int(record::END_TIME));
        if let Some(text) = body.text(record::OBJECT_REF) {
            let mut map = flat::object_ref(text).ok_or(Malformed::Json)?;
            if let Some(Cell::Map(fields)) = self.get(Column::ObjectRef) {
                map.extend(fields.clone());
            }
            self.set(Column::ObjectRef, Some(Cell::Map(map)));
        }
        if let Some(session) = body.text(record::CAUSE_SESSION) {
            details.insert(CAUSE_SESSION_KEY.to_owned(), session.into());
        }
        if let Some(text) = body.text(record::CONTEXT) {
            details.extend(flat::context(text).ok_or(Malformed::Json)?);
        }
        Ok(())
    }

    /// What JSON's `objectRef` derives from the columns, by upstream's names.
    #[must_use]
    pub fn derived_object_ref(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value.into());
            }
        };
        put("vc", self.text(Column::VirtualCluster).map(str::to_owned));
        let resource = match self.text(Column::ResourceType) {
            Some("Topic") => "topicName",
            Some("Group") => "groupId",
            Some("TransactionalId") => "transactionalId",
            _ => "",
        };
        if !resource.is_empty() {
            put(resource, self.text(Column::Resource).map(str::to_owned));
        }
        put("partition", self.int(Column::Partition).map(|number| number.to_string()));
        if self.text(Column::Category) == Some(Category::Connection.word()) {
            put("addr", self.text(Column::Server).map(str::to_owned));
            put("nodeId", self.int(Column::NodeId).map(|number| number.to_string()));
        }
        map
    }
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Int(number) => number.into(),
        Cell::Text(text) => text.into(),
        Cell::Texts(list) => list.into(),
        Cell::Map(map) => map.into(),
    }
}
