//! Events of proxy or filters on their own account, which no session has.
//!
//! What must always hold: they never look like a client's doing. Their origin is the proxy's, or the filter's where one is
//! named, and a session is only ever named as the cause.

use std::sync::Arc;

use auditring_event::record::Encoder;
use auditring_event::sanitize::Marks;
use auditring_event::{ActionSpec, Origin, Scope, by_name, droppable, spec as limits};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::args::{self, Safe};
use crate::ffi::handle_of;
use crate::session::freeform;
use crate::shared::{Shared, Via};
use crate::slow::{self, Call, Event, Whose};

/// Whether an action is a method of the log: what no session has, and what proxy and filters do on their own account.
pub(crate) fn is_log_method(spec: &ActionSpec) -> bool {
    spec.emit && (spec.scope == Scope::Process || spec.proxy)
}

fn keyword_call<'py>(
    py: Python<'py>,
    positional: Vec<Bound<'py, PyAny>>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Call<'py>> {
    let given = positional.len();
    let mut values = positional;
    let mut names = Vec::new();
    for (name, value) in kwargs.into_iter().flat_map(PyDictMethods::iter) {
        names.push(name);
        values.push(value);
    }
    Ok(Call { py, values, given, names: Some(PyTuple::new(py, names)?) })
}

/// The session whose request was the cause, by a handle of it or by its id.
fn cause(call: &mut Call<'_>) -> PyResult<Option<Safe>> {
    let Some(cause) = call.take("cause")? else { return Ok(None) };
    match handle_of(&cause).map(|handle| handle.session_id()) {
        Some(Some(id)) => Ok(Some((id.to_owned(), Marks::default()))),
        Some(None) => Err(PyValueError::new_err("cause: this plugin belongs to no session")),
        None => Ok(Some(args::text("cause", &cause, limits::CAUSE_SESSION_CAP)?)),
    }
}

/// Records an action of the catalog by its name, then its fields, or a package-qualified one.
pub(crate) fn record<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    action: Bound<'py, PyAny>,
    fields: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<()> {
    let name = action.cast::<PyString>().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned());
    let spec = by_name(&name).filter(|spec| is_log_method(spec));
    let mut positional: Vec<_> = fields.iter().collect();
    if spec.is_none() {
        positional.insert(0, action);
    }
    let mut call = keyword_call(py, positional, kwargs)?;
    let cause = cause(&mut call)?;
    let filter = match call.take("filter")? {
        Some(filter) => Some(args::text("filter", &filter, limits::FILTER_CAP)?),
        None => None,
    };
    let event = Event::of(spec.unwrap_or(freeform()));
    let (mut encoder, outcome) = if let Some(spec) = spec {
        let mut encoder = Encoder::new(spec);
        let said = slow::read(&mut encoder, spec, spec.method, &call, 0)?;
        let Some(outcome) = slow::finish(Whose::of_log(shared), &mut encoder, event, said)? else { return Ok(()) };
        (encoder, outcome)
    } else {
        let Some(read) = slow::read_freeform(shared, None, &call)? else { return Ok(()) };
        read
    };
    encoder.stamp(shared.clock.stamp()).origin(Origin::Proxy);
    if let Some((filter, marks)) = filter.filter(|(filter, _)| !filter.is_empty()) {
        encoder.origin(Origin::Filter).filter(&filter).flags(marks.flags());
    }
    if let Some((cause, marks)) = cause {
        encoder.cause_session(&cause).flags(marks.flags());
    }
    let droppable = droppable(event.category, outcome);
    let via = Via { lane: shared.lane(), of: None, code: event.code, outcome, droppable };
    shared.put(py, &encoder.to_vec(), via).map(|_| ())
}
