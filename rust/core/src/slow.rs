//! Every call that the fast path leaves alone: keywords beside the fields, odd values, mistakes, waiting.
//!
//! What must always hold: a mistake is raised before anything is claimed or changed.

use auditring_event::record::Encoder;
use auditring_event::sanitize::{self, Marks};
use auditring_event::{
    ActionSpec, Authority, Category, Definition, FREEFORM, Kind, Origin, Outcome, Scope, Target, code_of, snake,
    spec as limits,
};
use auditring_ring::Kind as Edge;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::args;
use crate::ffi::Hot;
use crate::handle::Handle;
use crate::session::{Facts, freeform, outcome_of};
use crate::shared::{GATE_OFF, Shared};

const SASL: u16 = code_of("ClientSaslAuthSuccess");
const TLS: u16 = code_of("ClientTlsAuthSuccess");
/// Keywords that every event takes beside its fields.
pub(crate) const COMMON: [&str; 7] = ["outcome", "status", "reason", "authority", "tap", "object_ref", "context"];

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
    pub(crate) fn known(&self, method: &str, names: &[&str]) -> PyResult<Vec<(String, &Bound<'py, PyAny>)>> {
        let mut keywords = self.keywords()?;
        if let Some((name, _)) = keywords.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            let takes = names.join(", ");
            return Err(PyTypeError::new_err(format!("{method}() has no argument {name:?}; it takes {takes}")));
        }
        keywords.retain(|(_, value)| !value.is_none());
        Ok(keywords)
    }

    /// Takes one keyword argument out, None as if it were not given.
    pub(crate) fn take(&mut self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(names) = &self.names else { return Ok(None) };
        let keys: Vec<_> = names.iter().collect();
        let Some(at) = keys.iter().position(|key| key.eq(name).unwrap_or(false)) else { return Ok(None) };
        let rest: Vec<_> = keys.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, key)| key).collect();
        self.names = Some(PyTuple::new(self.py, rest)?);
        let value = self.values.remove(self.given + at);
        Ok((!value.is_none()).then_some(value))
    }

    /// Refuses positional arguments.
    pub(crate) fn keyword_only(&self, method: &str) -> PyResult<()> {
        if self.given == 0 {
            return Ok(());
        }
        Err(PyTypeError::new_err(format!("{method}() takes keyword arguments alone, {} positional given", self.given)))
    }

    pub(crate) fn none(&self) -> Py<PyAny> {
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
            Kind::Str if !field.words.is_empty() => format!("one of {}", field.words.join(", ")),
            Kind::Str => format!("str, at most {} bytes of UTF-8 are kept", field.cap),
            Kind::Int => format!("int, {} to {}", field.min, field.max),
        };
        doc.extend(["\n", field.name, ": ", field.doc, " (", &bound, ")"]);
    }
    doc + "\n\nRaises TypeError and ValueError for a programmer's mistake, LogClosed and SessionClosed after a close, \
           AuditUnavailable where a full ring is configured to raise."
}

/// What `help()` says of a declared event; with a signature where all fields can stand in one.
pub(crate) fn declared_docstring(definition: &Definition) -> String {
    let fields: Vec<_> = definition.object_ref.iter().chain(&definition.context).collect();
    let plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let all: Vec<_> = fields.iter().map(|name| name.as_str()).collect();
    let mut doc = String::new();
    if all.iter().all(|name| plain(name)) {
        let none = |name: &&str| format!("{name}=None");
        let (fields, common): (Vec<_>, Vec<_>) = (all.iter().map(none).collect(), COMMON.iter().map(none).collect());
        let takes = [vec!["subject".to_owned(), "/".to_owned()], fields, vec!["*".to_owned()], common].concat();
        doc = format!("{}({})\n--\n\n", snake(&definition.name), takes.join(", "));
    }
    doc + &format!(
        "Action `{}` of a session, a broker or plugin of it, or the log.\n\nFields: {}.",
        definition.name,
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    )
}

/// What the keywords beside the fields said.
#[derive(Default)]
pub(crate) struct Common {
    outcome: Option<Outcome>,
    status: Option<String>,
    authority: Option<Authority>,
}

/// The keys of both maps that an event's own fields have.
#[derive(Clone, Copy)]
pub(crate) struct OwnKeys<'a> {
    pub(crate) object_ref: args::Own<'a>,
    pub(crate) context: args::Own<'a>,
}

/// Reads one of the keywords that every event takes; false where it is none of them.
pub(crate) fn common(
    encoder: &mut Encoder,
    common: &mut Common,
    name: &str,
    value: &Bound<'_, PyAny>,
    own: OwnKeys<'_>,
) -> PyResult<bool> {
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
            let (text, done) = args::object_ref(value, limits::OBJECT_REF_CAP, own.object_ref)?;
            text.map(|text| encoder.object_ref_text(text));
            marks = done;
        }
        "context" => {
            let (text, done) = args::context_map(name, value, limits::CONTEXT_CAP, own.context)?;
            text.map(|text| encoder.context_text(text));
            marks = done;
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
        Kind::Str if !field.words.is_empty() => _ = encoder.text(field.name, &args::one_of(field, value)?),
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
pub(crate) fn read(
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
    // Whether or not the call gives the field: a key has one meaning.
    let own = OwnKeys {
        object_ref: &|key| spec.fields.iter().any(|field| matches!(field.target, Target::ObjectRef(own) if own == key)),
        context: &|key| spec.fields.iter().any(|field| matches!(field.target, Target::Context(own) if own == key)),
    };
    for (name, value) in call.keywords()? {
        match spec.field(&name) {
            Some(index) if index < positional.len() => {
                return Err(PyTypeError::new_err(format!("{method}() got {name:?} twice")));
            }
            Some(index) => {
                field(encoder, spec, index, value)?;
                present[index] = !value.is_none();
            }
            None if common(encoder, &mut said, &name, value, own)? => {}
            None => return Err(unknown(spec, method, &name)),
        }
    }
    if let Some((field, _)) = spec.fields.iter().zip(present).find(|(field, present)| field.required && !present) {
        return Err(PyTypeError::new_err(format!("{method}() needs {:?}: {}", field.name, field.doc)));
    }
    Ok(said)
}

/// An action of the catalog.
pub(crate) fn emit(handle: &Handle, spec: &'static ActionSpec, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    handle.check_open(call.py)?;
    let mut encoder = Encoder::new(spec);
    let said = read(&mut encoder, spec, spec.method, call, 0)?;
    let event = Event::of(spec);
    let Some(outcome) = finish(Whose::of(handle), &mut encoder, event, said)? else {
        return Ok(call.none());
    };
    if matches!(spec.code, SASL | TLS) && outcome == Outcome::Success {
        authenticate(handle, spec, call, &mut encoder)?;
        return Ok(call.none());
    }
    start(handle, &mut encoder, spec.category, own_origin(spec, call));
    handle.put(call.py, &mut encoder, (spec.code, spec.category), outcome)?;
    Ok(call.none())
}

/// Who starts an event that is not the client's in any case: proxy, or filter where the call names one.
fn own_origin(spec: &ActionSpec, call: &Call<'_>) -> Option<Origin> {
    let filter = spec.filter_field().is_some_and(|at| {
        let name = spec.fields[at].name;
        let keywords = call.keywords().unwrap_or_default();
        let value = call.values[..call.given].get(at);
        let value = value.or_else(|| keywords.iter().find(|(key, _)| key == name).map(|(_, value)| *value));
        value.is_some_and(|value| !value.is_none())
    });
    match spec.origin {
        Origin::Client => None,
        _ if filter => Some(Origin::Filter),
        origin => Some(origin),
    }
}

/// Says who starts the event, and where that is not the client, whose request was the cause.
pub(crate) fn start(handle: &Handle, encoder: &mut Encoder, category: Category, own: Option<Origin>) {
    let origin = own.unwrap_or_else(|| handle.origin(category));
    encoder.origin(origin);
    if let Some(session) = handle.session_id().filter(|_| origin != Origin::Client) {
        encoder.cause_session(session);
    }
}

/// What an event is by its code, of the catalog or declared.
#[derive(Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) code: u16,
    pub(crate) name: &'a str,
    pub(crate) category: Category,
    pub(crate) outcome: Outcome,
    /// All that it may end with; empty: anything.
    pub(crate) outcomes: &'static [Outcome],
    pub(crate) authority: Option<Authority>,
}

impl Event<'static> {
    pub(crate) fn of(spec: &'static ActionSpec) -> Self {
        let ActionSpec { code, name, category, outcome, outcomes, authority, .. } = *spec;
        Self { code, name, category, outcome, outcomes, authority }
    }
}

/// An outcome never contradicts the action's name, nor a status the outcome.
fn consistent(event: &Event<'_>, said: &Common, outcome: Outcome) -> PyResult<()> {
    if !event.outcomes.is_empty() && !event.outcomes.contains(&outcome) {
        let may: Vec<_> = event.outcomes.iter().map(|outcome| outcome.word()).collect();
        let why = if said.outcome.is_none() { " (a status without an outcome means failure)" } else { "" };
        return Err(PyValueError::new_err(format!(
            "{} cannot have the outcome {:?}{why}: its outcome is {}",
            event.name,
            outcome.word(),
            may.join(" or "),
        )));
    }
    match (&said.status, outcome) {
        (Some(status), Outcome::Success | Outcome::Allowed | Outcome::Forwarded) => {
            Err(PyValueError::new_err(format!(
                "{} has the outcome {:?} and the status {status:?}: a status is a failure's or a denial's, null status means \
             success",
                event.name,
                outcome.word(),
            )))
        }
        _ => Ok(()),
    }
}

/// Who emits: a handle, or the log itself in the lane of the calling thread.
pub(crate) struct Whose<'a> {
    shared: &'a Shared,
    lane: &'a Hot,
    authority: Option<Authority>,
}

impl<'a> Whose<'a> {
    pub(crate) fn of(handle: &'a Handle) -> Self {
        Self { shared: &handle.shared, lane: &handle.lane, authority: handle.authority() }
    }

    pub(crate) fn of_log(shared: &'a Shared) -> Self {
        Self { shared, lane: shared.lane(), authority: None }
    }
}

/// Resolves outcome, status and authority; none when the action is off and was counted.
pub(crate) fn finish(
    whose: Whose<'_>,
    encoder: &mut Encoder,
    event: Event<'_>,
    said: Common,
) -> PyResult<Option<Outcome>> {
    let outcome = outcome_of(event.outcome, said.outcome, said.status.is_some());
    consistent(&event, &said, outcome)?;
    // A call that carries a status is never off.
    if said.status.is_none() && whose.shared.gate(event.code, outcome) == GATE_OFF {
        whose.shared.count(whose.lane, event.code, outcome, Edge::Off, 1);
        return Ok(None);
    }
    let authority = said.authority.or(event.authority).or(whose.authority);
    if authority.is_none() && event.category == Category::Authentication {
        return Err(PyValueError::new_err(format!(
            "{} needs an authority: \"decision\" where this process checks the credentials, \"witness\" where it sees \
             them checked; give it to session(authority=…) or to the call",
            event.name
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
fn authenticate(handle: &Handle, spec: &ActionSpec, call: &Call<'_>, encoder: &mut Encoder) -> PyResult<()> {
    let keywords = call.keywords()?;
    let mut marks = Marks::default();
    let mut read = |name: &str| -> PyResult<Option<String>> {
        let Some(index) = spec.field(name) else { return Ok(None) };
        let positional = call.values[..call.given].get(index);
        let value = positional.or_else(|| keywords.iter().find(|(key, _)| key == name).map(|(_, value)| *value));
        let Some(value) = value.filter(|value| !value.is_none()) else { return Ok(None) };
        let (text, done) = args::text(name, value, usize::from(spec.fields[index].cap))?;
        marks |= done;
        Ok(Some(text))
    };
    let (principal, mechanism) = (read("principal")?.unwrap_or_default(), read("mechanism")?);
    let change = |facts: &mut Facts| {
        // A certificate is how the client authenticates as long as nothing else is.
        let tls = (spec.code == TLS && facts.context.mechanism.is_none()).then_some("TLS");
        facts.prove(spec.code, &principal, mechanism.as_deref().or(tls));
        facts.context.mark(marks);
    };
    // Closed by another thread meanwhile: then there is no later row.
    let Some(preview) = handle.preview(change) else { return Ok(()) };
    handle.put_with(call.py, encoder, &preview, (spec.code, spec.category), Outcome::Success)?;
    handle.change(call.py, change);
    Ok(())
}

/// A free-form event, of a session or of the process.
pub(crate) fn read_freeform(
    shared: &Shared,
    handle: Option<&Handle>,
    call: &Call<'_>,
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
    if let Some(plugin) = handle.and_then(Handle::plugin).filter(|plugin| !plugin.owns(&name)) {
        return Err(plugin.foreign(&name));
    }
    let mut encoder = Encoder::freeform(&name);
    let said = read(&mut encoder, freeform(), "emit", call, 1)?;
    let whose = handle.map_or_else(|| Whose::of_log(shared), Whose::of);
    let outcome = finish(whose, &mut encoder, Event::of(freeform()), said)?;
    Ok(outcome.map(|outcome| (encoder, outcome)))
}
