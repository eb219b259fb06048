//! Every call that the fast path leaves alone: keywords beside the fields, odd values, mistakes, waiting.
//!
//! What must always hold: a mistake is raised before anything is claimed or changed.

use auditring_event::record::Encoder;
use auditring_event::sanitize::{self, Marks};
use auditring_event::{ActionSpec, Authority, Category, FREEFORM, Kind, Outcome, Scope, code_of, spec as limits};
use auditring_ring::Kind as Edge;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::args;
use crate::errors;
use crate::session::{Close, Session, freeform, outcome_of};
use crate::shared::{GATE_OFF, Shared};

pub(crate) const SESSION_DOC: &str = "One client connection: every event of it carries who and where.\n\n\
    Made by `AuditLog.session`. A context manager, plain or async. Safe from any thread.";

const AUTH_SUCCESS: u16 = code_of("ClientSaslAuthSuccess");
/// Keywords that every event takes beside its fields.
const COMMON: [&str; 7] = ["outcome", "status", "reason", "authority", "tap", "object_ref", "context"];

/// The arguments of one call.
pub(crate) struct Call<'py> {
    pub(crate) py: Python<'py>,
    pub(crate) values: Vec<Bound<'py, PyAny>>,
    pub(crate) given: usize,
    pub(crate) names: Option<Bound<'py, PyTuple>>,
}

impl<'py> Call<'py> {
    /// The keyword arguments by name.
    pub(crate) fn keywords(&self) -> PyResult<Vec<(String, &Bound<'py, PyAny>)>> {
        let Some(names) = &self.names else { return Ok(Vec::new()) };
        names
            .iter()
            .zip(&self.values[self.given..])
            .map(|(name, value)| Ok((name.cast::<PyString>()?.to_string_lossy().into_owned(), value)))
            .collect()
    }

    /// The keyword arguments that are not None, of a method that takes these.
    fn known(&self, method: &str, names: &[&str]) -> PyResult<Vec<(String, &Bound<'py, PyAny>)>> {
        let mut keywords = self.keywords()?;
        if let Some((name, _)) = keywords.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            let takes = names.join(", ");
            return Err(PyTypeError::new_err(format!("{method}() has no argument {name:?}; it takes {takes}")));
        }
        keywords.retain(|(_, value)| !value.is_none());
        Ok(keywords)
    }

    /// Refuses positional arguments.
    fn keyword_only(&self, method: &str) -> PyResult<()> {
        if self.given == 0 {
            return Ok(());
        }
        Err(PyTypeError::new_err(format!("{method}() takes keyword arguments alone, {} positional given", self.given)))
    }

    fn none(&self) -> Py<PyAny> {
        self.py.None()
    }
}

/// Whether the catalog's action is a method of a session.
pub(crate) fn is_method(spec: &ActionSpec) -> bool {
    spec.emit && spec.scope == Scope::Session && spec.category != Category::Connection && spec.code != FREEFORM
}

/// What `help()` says, with the signature where `inspect` looks for it.
pub(crate) fn docstring(spec: &ActionSpec) -> String {
    let fields: Vec<_> = spec
        .fields
        .iter()
        .map(|field| if field.required { field.name.to_owned() } else { format!("{}=None", field.name) })
        .collect();
    let common = COMMON.map(|name| format!("{name}=None")).join(", ");
    let mut doc = format!("{}($self, /, {}, *, {common})\n--\n\n", spec.method, fields.join(", "));
    doc.extend([spec.doc, " Action `", spec.name, "`, ", spec.category.word(), ".\n"]);
    for field in spec.fields {
        let bound = match field.kind {
            Kind::Str => format!("str, at most {} bytes of UTF-8 are kept", field.cap),
            Kind::Int => format!("int, {} to {}", field.min, field.max),
        };
        doc.extend(["\n", field.name, ": ", field.doc, " (", &bound, ")"]);
    }
    doc + "\n\nRaises TypeError and ValueError for a programmer's mistake, LogClosed and SessionClosed after a close, \
           AuditUnavailable where a full ring is configured to raise."
}

/// What the keywords beside the fields said.
#[derive(Default)]
struct Common {
    outcome: Option<Outcome>,
    status: Option<String>,
    authority: Option<Authority>,
}

fn common(encoder: &mut Encoder, common: &mut Common, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_none() {
        return Ok(COMMON.contains(&name));
    }
    let mut marks = Marks::default();
    match name {
        "outcome" => common.outcome = Some(args::outcome(value)?),
        "authority" => common.authority = Some(args::authority(value)?),
        "status" => {
            let (status, _) = args::text(name, value, usize::MAX)?;
            common.status = Some(sanitize::status(&status).into_owned());
        }
        "reason" => {
            let (reason, done) = args::text(name, value, limits::REASON_CAP)?;
            encoder.reason(&reason);
            marks = done;
        }
        "tap" => {
            let (tap, done) = args::text(name, value, limits::TAP_CAP)?;
            encoder.tap(&tap);
            marks = done;
        }
        "object_ref" => {
            if let Some((text, done)) = args::object_ref(value, limits::OBJECT_REF_CAP)? {
                encoder.object_ref_text(text);
                marks = done;
            }
        }
        "context" => {
            if let Some((text, done)) = args::context_map(name, value, limits::CONTEXT_CAP)? {
                encoder.context_text(text);
                marks = done;
            }
        }
        _ => return Ok(false),
    }
    encoder.flags(marks.flags());
    Ok(true)
}

fn field(encoder: &mut Encoder, spec: &ActionSpec, index: usize, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let field = &spec.fields[index];
    if value.is_none() {
        return Ok(());
    }
    match field.kind {
        Kind::Int => _ = encoder.int(field.name, args::int(field, value)?),
        Kind::Str => {
            let (text, marks) = args::text(field.name, value, usize::from(field.cap))?;
            encoder.text(field.name, &text).flags(marks.flags());
        }
    }
    Ok(())
}

fn unknown(spec: &ActionSpec, method: &str, name: &str) -> PyErr {
    let mut known: Vec<_> = spec.fields.iter().map(|field| field.name).collect();
    known.extend(COMMON);
    PyTypeError::new_err(format!("{method}() has no argument {name:?}; it takes {}", known.join(", ")))
}

/// Reads all arguments of an action's method; the first `skip` positional ones are not fields.
fn read(
    encoder: &mut Encoder,
    spec: &'static ActionSpec,
    method: &str,
    call: &Call<'_>,
    skip: usize,
) -> PyResult<Common> {
    let positional = &call.values[skip.min(call.given)..call.given];
    let open = if spec.code == FREEFORM { 0 } else { spec.fields.len() };
    if positional.len() > open {
        let (takes, given) = (open + skip, call.given);
        return Err(PyTypeError::new_err(format!("{method}() takes {takes} positional arguments, {given} given")));
    }
    let mut present = [false; auditring_event::MAX_FIELDS];
    for (index, value) in positional.iter().enumerate() {
        field(encoder, spec, index, value)?;
        present[index] = !value.is_none();
    }
    let mut said = Common::default();
    for (name, value) in call.keywords()? {
        match spec.field(&name) {
            Some(index) if index < positional.len() => {
                return Err(PyTypeError::new_err(format!("{method}() got {name:?} twice")));
            }
            Some(index) => {
                field(encoder, spec, index, value)?;
                present[index] = !value.is_none();
            }
            None if common(encoder, &mut said, &name, value)? => {}
            None => return Err(unknown(spec, method, &name)),
        }
    }
    if let Some((field, _)) = spec.fields.iter().zip(present).find(|(field, present)| field.required && !present) {
        return Err(PyTypeError::new_err(format!("{method}() needs {:?}: {}", field.name, field.doc)));
    }
    Ok(said)
}

/// An action of the catalog.
pub(crate) fn emit(session: &Session, spec: &'static ActionSpec, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    session.check_open(call.py)?;
    let mut encoder = Encoder::new(spec);
    let said = read(&mut encoder, spec, spec.method, call, 0)?;
    let Some(outcome) = finish(&session.shared, &mut encoder, spec, said, session.authority())? else {
        return Ok(call.none());
    };
    if spec.code == AUTH_SUCCESS && outcome == Outcome::Success {
        authenticate(session, spec, call, &mut encoder)?;
        return Ok(call.none());
    }
    session.put(call.py, &mut encoder, spec, outcome)?;
    Ok(call.none())
}

/// Resolves outcome, status and authority; none when the action is off and was counted.
fn finish(
    shared: &Shared,
    encoder: &mut Encoder,
    spec: &'static ActionSpec,
    said: Common,
    authority: Option<Authority>,
) -> PyResult<Option<Outcome>> {
    let outcome = outcome_of(spec, said.outcome, said.status.is_some());
    // A call that carries a status is never off.
    if said.status.is_none() && shared.gate(spec.code, outcome) == GATE_OFF {
        shared.count_ordered(spec.code, outcome, Edge::Off);
        return Ok(None);
    }
    let authority = said.authority.or(spec.authority).or(authority);
    if authority.is_none() && spec.category == Category::Authentication {
        return Err(PyValueError::new_err(format!(
            "{} needs an authority: \"decision\" where this process checks the credentials, \"witness\" where it sees \
             them checked; give it to session(authority=…) or to the call",
            spec.name
        )));
    }
    encoder.outcome(outcome).authority(authority);
    if let Some(status) = said.status {
        encoder.status(&status);
    }
    Ok(Some(outcome))
}

/// The principal of a successful authentication is in every later row of the session, this one included; but only once
/// this one is in the ring, or a refused authentication would be in force.
fn authenticate(session: &Session, spec: &ActionSpec, call: &Call<'_>, encoder: &mut Encoder) -> PyResult<()> {
    let keywords = call.keywords()?;
    let value = |name: &str| {
        let index = spec.field(name)?;
        let positional = call.values[..call.given].get(index);
        let value = positional.or_else(|| keywords.iter().find(|(key, _)| key == name).map(|(_, value)| *value))?;
        (!value.is_none()).then_some((index, value))
    };
    let read = |name: &str| -> PyResult<Option<String>> {
        let Some((index, value)) = value(name) else { return Ok(None) };
        Ok(Some(args::text(name, value, usize::from(spec.fields[index].cap))?.0))
    };
    let (principal, mechanism) = (read("principal")?, read("mechanism")?);
    let change = |context: &mut auditring_event::Context| {
        if let Some(principal) = &principal {
            context.principals = vec![format!("User:{principal}")];
            context.principal = Some(principal.clone());
        }
        if mechanism.is_some() {
            context.mechanism.clone_from(&mechanism);
        }
    };
    let preview = session.preview(change);
    session.put_with(call.py, encoder, &preview, spec, Outcome::Success)?;
    // Closed by another thread meanwhile: then there is no later row.
    session.change(change);
    Ok(())
}

/// A free-form event, of a session or of the process.
pub(crate) fn read_freeform(
    shared: &Shared,
    call: &Call<'_>,
    authority: Option<Authority>,
) -> PyResult<Option<(Encoder, Outcome)>> {
    if call.given > 1 {
        return Err(PyTypeError::new_err(format!("emit() takes 1 positional argument, {} given", call.given)));
    }
    let Some(action) = call.values[..call.given].first() else {
        return Err(PyTypeError::new_err("emit() needs \"action\" as its first argument"));
    };
    let (name, marks) = args::text("action", action, limits::NAME_CAP)?;
    if marks.any() || !sanitize::action_name_ok(&name) {
        return Err(PyValueError::new_err(format!(
            "action is {name:?}: an event of your own has a package-qualified name like \"com.example.kms.KeyUsed\" \
             (lower-case package, then CamelCase; \"auditring.\" is ours)"
        )));
    }
    let mut encoder = Encoder::freeform(&name);
    let said = read(&mut encoder, freeform(), "emit", call, 1)?;
    let outcome = finish(shared, &mut encoder, freeform(), said, authority)?;
    Ok(outcome.map(|outcome| (encoder, outcome)))
}

/// A method that is not an action's.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) run: for<'py> fn(&Session, Bound<'py, PyAny>, &Call<'py>) -> PyResult<Py<PyAny>>,
}

/// In the order of `ffi::OTHERS`.
pub(crate) const METHODS: [Method; 5] = [
    Method {
        name: "emit",
        doc: "emit($self, action, /, *, outcome=None, status=None, reason=None, operation=None, resource_type=None, \
              resource=None, authority=None, tap=None, object_ref=None, context=None)\n--\n\n\
              Records an event of your own under its package-qualified name.",
        run: |session, _, call| {
            session.check_open(call.py)?;
            if let Some((mut encoder, outcome)) = read_freeform(&session.shared, call, session.authority())? {
                session.put(call.py, &mut encoder, freeform(), outcome)?;
            }
            Ok(call.none())
        },
    },
    Method {
        name: "update",
        doc: "update($self, /, *, client_id=None, virtual_cluster=None, local=None, context=None)\n--\n\n\
              Adds what is learnt late; every later row of the session carries it. `context` is merged in.",
        run: update,
    },
    Method {
        name: "close",
        doc: "close($self, /, *, initiator=None, status=None, reason=None)\n--\n\n\
              Ends the session with `ClientClose`. A second close does nothing.",
        run: |session, _, call| {
            close(session, call)?;
            Ok(call.none())
        },
    },
    Method { name: "__enter__", doc: "__enter__($self, /)\n--\n\n", run: |_, this, _| Ok(this.unbind()) },
    Method {
        name: "__exit__",
        doc: "__exit__($self, kind, error, trace, /)\n--\n\nCloses; an exception's class is the status, cancellation is none.",
        run: exit,
    },
];

fn update(session: &Session, _: Bound<'_, PyAny>, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    session.check_open(call.py)?;
    call.keyword_only("update")?;
    let mut new = auditring_event::Context::default();
    let mut marks = Marks::default();
    for (name, value) in call.known("update", &["client_id", "virtual_cluster", "local", "context"])? {
        let mut text = |cap| -> PyResult<Option<String>> {
            let (text, done) = args::text(&name, value, cap)?;
            marks |= done;
            Ok(Some(text))
        };
        match name.as_str() {
            "client_id" => new.client_id = text(limits::SESSION_CLIENT_ID_CAP)?,
            "virtual_cluster" => new.virtual_cluster = text(limits::SESSION_VIRTUAL_CLUSTER_CAP)?,
            "local" => new.listener = args::endpoint("local", value)?,
            _ => new.context = session_map(value, &mut marks)?,
        }
    }
    let changed = session.change(|context| {
        let replace = |old: &mut Option<String>, new: Option<String>| {
            if new.is_some() {
                *old = new;
            }
        };
        replace(&mut context.client_id, new.client_id);
        replace(&mut context.virtual_cluster, new.virtual_cluster);
        replace(&mut context.listener, new.listener);
        if let Some(map) = new.context {
            context.context.get_or_insert_default().extend(map);
        }
        context.mark(marks);
    });
    if changed { Ok(call.none()) } else { Err(errors::session_closed(call.py, &session.id)) }
}

/// A session's own `context` map.
pub(crate) fn session_map(
    value: &Bound<'_, PyAny>,
    marks: &mut Marks,
) -> PyResult<Option<auditring_event::flat::FlatMap>> {
    let Some((text, done)) = args::context_map("context", value, limits::SESSION_CONTEXT_CAP)? else { return Ok(None) };
    *marks |= done;
    Ok(auditring_event::flat::context(&text))
}

fn close(session: &Session, call: &Call<'_>) -> PyResult<()> {
    call.keyword_only("close")?;
    let (mut initiator, mut status, mut reason) = (None, None, None);
    for (name, value) in call.known("close", &["initiator", "status", "reason"])? {
        match name.as_str() {
            "initiator" => initiator = Some(args::text("initiator", value, 64)?.0),
            "status" => status = Some(args::text("status", value, usize::MAX)?.0),
            _ => reason = Some(args::text("reason", value, limits::REASON_CAP)?.0),
        }
    }
    let (initiator, status, reason) = (initiator.as_deref(), status.as_deref(), reason.as_deref());
    session.close(call.py, Close { initiator, status, reason })
}

fn exit(session: &Session, _: Bound<'_, PyAny>, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    let status = match call.values.first() {
        Some(kind) if !kind.is_none() && !is_cancellation(kind)? => {
            let name = kind.cast::<PyType>()?.name();
            Some(name.map_or_else(|_| "Exception".to_owned(), |name| name.to_string_lossy().into_owned()))
        }
        _ => None,
    };
    session.close(call.py, Close { status: status.as_deref(), ..Close::default() })?;
    Ok(false.into_pyobject(call.py)?.to_owned().into_any().unbind())
}

/// `asyncio.CancelledError` and `GeneratorExit`: the host stopped on purpose.
fn is_cancellation(kind: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = kind.py();
    let kind = kind.cast::<PyType>()?;
    if kind.is_subclass_of::<pyo3::exceptions::PyGeneratorExit>()? {
        return Ok(true);
    }
    kind.is_subclass(&py.import("asyncio")?.getattr("CancelledError")?)
}
