//! Declared events: what a host adds to the catalog while it runs.
//!
//! What must always hold: a definition is in the ring's definitions area before its code is given out; the same event
//! declared twice is one, whoever declares it; a callable works with every log, also with the one that a forked child
//! opens, because a log that does not know its event yet is told of it then.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use auditring_event::definition::{DECLARED_CAP, FIELD_NAME_CAP};
use auditring_event::flat::{CAUSE_SESSION_KEY, RESERVED};
use auditring_event::record::Encoder;
use auditring_event::{
    CODES, Category, DENIED_STATUS, Definition, FAILURE_STATUS, FIRST_DECLARED, MAX_FIELDS, Origin, Outcome, droppable,
    sanitize,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::args;
use crate::errors;
use crate::ffi::{Swap, handle_of};
use crate::handle::Handle;
use crate::log::Log;
use crate::shared::{Put, Shared, Via};
use crate::slow::{self, COMMON, Call, Common, Event, OwnKeys, Whose};

/// The declared events of one log.
#[derive(Default)]
pub(crate) struct Declared {
    by_name: HashMap<String, Definition>,
}

/// Why an event could not be declared.
pub(crate) enum Refused {
    /// Another event has the name.
    Conflict(Box<Definition>),
    /// All codes, or all room for definitions, are given out.
    Full,
    /// The log takes nothing any more.
    Closed,
}

impl Declared {
    /// The code of an event; `append` puts a new definition where every reader of the ring finds it.
    pub(crate) fn code(
        &mut self,
        wanted: &Definition,
        append: impl FnOnce(&[u8]) -> Result<(), Refused>,
    ) -> Result<u16, Refused> {
        if let Some(known) = self.by_name.get(&wanted.name) {
            let same = *known == Definition { code: known.code, ..wanted.clone() };
            return if same { Ok(known.code) } else { Err(Refused::Conflict(Box::new(known.clone()))) };
        }
        let code = usize::from(FIRST_DECLARED) + self.by_name.len();
        if code >= CODES {
            return Err(Refused::Full);
        }
        let definition = Definition { code: code as u16, ..wanted.clone() };
        let mut bytes = Vec::new();
        definition.encode(&mut bytes);
        append(&bytes)?;
        self.by_name.insert(definition.name.clone(), definition);
        Ok(code as u16)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.by_name.values()
    }

    /// The names by code.
    pub(crate) fn names(&self) -> HashMap<u16, String> {
        self.by_name.values().map(|one| (one.code, one.name.clone())).collect()
    }
}

/// One declared event, of no log in particular.
pub(crate) struct Declaration {
    /// Its code is that of no log.
    pub(crate) definition: Definition,
    /// The status where the event's own outcome needs one.
    pub(crate) status: Option<&'static str>,
    pub(crate) droppable: bool,
    /// The log that last declared it, and its code there.
    pub(crate) bound: Swap<Bound>,
}

/// A declaration's place in a log.
pub(crate) struct Bound {
    /// Weak: a callable keeps no log alive, and the address is not given to another one meanwhile.
    shared: Weak<Shared>,
    /// That address.
    address: usize,
    pub(crate) code: u16,
}

impl Bound {
    /// Whether it is the place in this log.
    #[inline]
    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        self.address == Arc::as_ptr(shared).addr()
    }
}

impl Declaration {
    /// Checks a definition as a host writes it.
    pub(crate) fn new(name: String, outcome: Outcome, object_ref: Vec<String>, context: Vec<String>) -> PyResult<Self> {
        if !sanitize::action_name_ok(&name) {
            return Err(PyValueError::new_err(format!(
                "name is {name:?}: an event of your own has a package-qualified name like \"com.example.kms.KeyUsed\" \
                 (lower-case package, then CamelCase; \"auditring.\" is ours)"
            )));
        }
        let mut seen: Vec<&str> = Vec::new();
        for field in object_ref.iter().chain(&context) {
            if field.is_empty() || field.len() > FIELD_NAME_CAP || field.contains('\0') {
                return Err(PyValueError::new_err(format!("{name}: {field:?} cannot name a field")));
            }
            if COMMON.contains(&field.as_str()) || field == CAUSE_SESSION_KEY || field.starts_with(RESERVED) {
                return Err(PyValueError::new_err(format!("{name}: every event has {field:?} already")));
            }
            if seen.contains(&field.as_str()) {
                return Err(PyValueError::new_err(format!("{name}: the field {field:?} is given twice")));
            }
            seen.push(field);
        }
        if seen.len() > MAX_FIELDS {
            return Err(PyValueError::new_err(format!("{name}: {} fields, at most {MAX_FIELDS}", seen.len())));
        }
        let status = match outcome {
            Outcome::Failure => Some(FAILURE_STATUS),
            Outcome::Denied => Some(DENIED_STATUS),
            _ => None,
        };
        let definition = Definition { code: 0, name, category: Category::Plugin, outcome, object_ref, context };
        let droppable = droppable(definition.category, outcome);
        Ok(Self { definition, status, droppable, bound: Swap::default() })
    }

    /// How many fields it has.
    pub(crate) fn fields(&self) -> usize {
        self.definition.object_ref.len() + self.definition.context.len()
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.definition.object_ref.iter().chain(&self.definition.context)
    }

    /// Its code in a log, which from now on knows it.
    pub(crate) fn bind(&self, py: Python<'_>, shared: &Arc<Shared>) -> PyResult<u16> {
        let code = shared.declare(&self.definition).map_err(|refused| {
            let name = &self.definition.name;
            match refused {
                Refused::Conflict(known) => errors::conflict(py, &known, &self.definition),
                Refused::Full => errors::table_full(py, name),
                Refused::Closed => errors::closed(shared.is_forked()),
            }
        })?;
        // A log that still lives keeps its fast way.
        let lives = self.bound.get().and_then(|bound| bound.shared.upgrade()).is_some_and(|known| !known.is_shut());
        if !lives {
            self.bound.set(Bound { shared: Arc::downgrade(shared), address: Arc::as_ptr(shared).addr(), code });
        }
        Ok(code)
    }

    /// The call, with everything that it may bring. The first argument is whose event it is.
    pub(crate) fn emit(&self, call: &Call<'_>) -> PyResult<Py<PyAny>> {
        let name = self.definition.name.as_str();
        let Some(subject) = call.values[..call.given].first() else {
            return Err(PyTypeError::new_err(format!(
                "{name}: whose event is it? A session comes first, then the fields"
            )));
        };
        if let Some(handle) = handle_of(subject) {
            handle.check_open(call.py)?;
            if let Some(plugin) = handle.plugin().filter(|plugin| !plugin.owns(name)) {
                return Err(plugin.foreign(name));
            }
            self.record(call, &handle.shared, Some(handle))?;
        } else if let Some(log) = log_of(subject)? {
            self.record(call, log.get().live()?, None)?;
        } else {
            let kind = args::type_name(subject);
            return Err(PyTypeError::new_err(format!(
                "{name}: first comes a session, a broker or plugin of it, or the log, not {kind}"
            )));
        }
        Ok(call.none())
    }

    fn record(&self, call: &Call<'_>, shared: &Arc<Shared>, handle: Option<&Handle>) -> PyResult<()> {
        // Before anything else is looked at: a mistake in the arguments does not undo a declaration.
        let code = self.bind(call.py, shared)?;
        let Definition { name, category, outcome, .. } = &self.definition;
        let definition = Definition { code, ..self.definition.clone() };
        let mut encoder = Encoder::declared(&definition);
        let said = self.read(&mut encoder, call)?;
        let event = Event { code, name, category: *category, outcome: *outcome, outcomes: &[], authority: None };
        let whose = handle.map_or_else(|| Whose::of_log(shared), Whose::of);
        let Some(outcome) = slow::finish(whose, &mut encoder, event, said)? else {
            return Ok(());
        };
        if let Some(handle) = handle {
            slow::start(handle, &mut encoder, *category, None);
            return handle.put(call.py, &mut encoder, (code, *category), outcome);
        }
        encoder.stamp(shared.clock.stamp()).origin(Origin::Proxy);
        let via = Via { lane: shared.lane(), of: None, code, outcome, droppable: droppable(*category, outcome) };
        match shared.put(call.py, &encoder.to_vec(), via)? {
            Put::Done | Put::Withdrawn => Ok(()),
        }
    }

    fn read(&self, encoder: &mut Encoder, call: &Call<'_>) -> PyResult<Common> {
        let (name, fields) = (self.definition.name.as_str(), self.fields());
        let positional = &call.values[1..call.given];
        if positional.len() > fields {
            let given = positional.len();
            return Err(PyTypeError::new_err(format!("{name} has {fields} fields, {given} given")));
        }
        let mut put = |at: usize, field: &str, value: &pyo3::Bound<'_, PyAny>| -> PyResult<()> {
            if !value.is_none() {
                let (text, marks) = args::text(field, value, DECLARED_CAP)?;
                encoder.declared_text(at, &text).flags(marks.flags());
            }
            Ok(())
        };
        for ((at, field), value) in self.names().enumerate().zip(positional) {
            put(at, field, value)?;
        }
        let mut common = Vec::new();
        for (keyword, value) in call.keywords()? {
            match self.names().position(|field| *field == keyword) {
                Some(at) if at < positional.len() => {
                    return Err(PyTypeError::new_err(format!("{name} got {keyword:?} twice")));
                }
                Some(at) => put(at, &keyword, value)?,
                None => common.push((keyword, value)),
            }
        }
        let mut said = Common::default();
        let Definition { object_ref, context, .. } = &self.definition;
        let has = |fields: &[String], key: &str| fields.iter().any(|field| field == key);
        let own = OwnKeys { object_ref: &|key| has(object_ref, key), context: &|key| has(context, key) };
        for (keyword, value) in common {
            if !slow::common(encoder, &mut said, &keyword, value, own)? {
                let known: Vec<_> = self.names().map(String::as_str).chain(COMMON).collect();
                let takes = known.join(", ");
                return Err(PyTypeError::new_err(format!("{name} has no argument {keyword:?}; it takes {takes}")));
            }
        }
        Ok(said)
    }
}

/// The core of a log as Python holds it; none for anything else. Raises `LogClosed` where it is closed.
fn log_of<'py>(subject: &pyo3::Bound<'py, PyAny>) -> PyResult<Option<pyo3::Bound<'py, Log>>> {
    if let Ok(log) = subject.cast::<Log>() {
        return Ok(Some(log.clone()));
    }
    let py = subject.py();
    let class = py.import("auditring.log")?.getattr("AuditLog")?;
    if !subject.is_instance(&class)? {
        return Ok(None);
    }
    // In a forked child this opens the child's own.
    Ok(subject.call_method0("_live")?.getattr("core")?.cast_into::<Log>().ok())
}
