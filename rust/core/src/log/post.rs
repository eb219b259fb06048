//! The library's own events, which Python hands to the pump.
//!
//! What must always hold: they never go through the ring, and none of them changes what is in force.

use auditring_event::record::Encoder;
use auditring_event::{Kind, by_name};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::machine::Machine;
use crate::args;
use crate::shared::Shared;

/// What an event says beside its own fields.
pub(super) struct Said<'a, 'py> {
    pub(super) status: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) context: Option<Bound<'py, PyAny>>,
}

/// Hands one over; returns its number.
pub(super) fn post(
    machine: &Machine,
    shared: &Shared,
    action: &str,
    said: Said<'_, '_>,
    fields: Option<&Bound<'_, PyDict>>,
) -> PyResult<u64> {
    let Said { status, reason, context } = said;
    let spec = by_name(action)
        .filter(|spec| spec.name.starts_with("auditring."))
        .ok_or_else(|| PyValueError::new_err(format!("{action:?} is no event of the library's own")))?;
    if spec.name == "auditring.PolicyChanged" && fields.is_some_and(|fields| fields.contains("policy").unwrap_or(true))
    {
        return Err(PyValueError::new_err("what changes the policy is set_policy: the row alone would be no change"));
    }
    let mut event = Encoder::new(spec);
    if let Some(status) = status {
        event.status(status);
    }
    if let Some(reason) = reason {
        event.reason(reason);
    }
    if let Some(map) = context {
        let (text, marks) = args::context_map("context", &map, auditring_event::CONTEXT_CAP, &|_| false)?;
        event.flags(marks.flags());
        if let Some(text) = text {
            event.context_text(text);
        }
    }
    for (name, value) in fields.into_iter().flat_map(PyDictMethods::iter) {
        let name: String = name.extract()?;
        let Some(field) = spec.field(&name).map(|at| &spec.fields[at]) else {
            return Err(PyTypeError::new_err(format!("{action} has no field {name:?}")));
        };
        match field.kind {
            Kind::Int => event.int(field.name, args::int(field, &value)?),
            Kind::Str => {
                let (text, marks) = args::text(&name, &value, usize::from(field.cap))?;
                event.text(field.name, &text).flags(marks.flags())
            }
        };
    }
    let Some(number) = machine.mailbox.post_all(vec![event.to_vec()]) else {
        return Err(PyRuntimeError::new_err("too many events of the library's own are waiting for the pump"));
    };
    if let Some(ring) = shared.ring() {
        ring.wake();
    }
    Ok(number)
}
