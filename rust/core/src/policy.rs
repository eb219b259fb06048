//! Policies before a log has one: checked, and explained.

use std::path::PathBuf;

use auditring_event::{Authority, Category, Origin, Outcome, by_name, sanitize};
use auditring_policy::{By, Facts, Field, Keep, Key, Policy, PolicyError, Why};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

fn mistake(error: PolicyError) -> PyErr {
    PyValueError::new_err(match error {
        PolicyError::Syntax(error) => format!("the policy's JSON: {error}"),
        other => other.to_string(),
    })
}

fn read(policy: &[u8]) -> PyResult<Policy> {
    Policy::parse(policy).map_err(mistake)
}

/// Checks a policy as a host writes it.
#[pyfunction]
pub(crate) fn check_policy(policy: &[u8]) -> PyResult<()> {
    read(policy)?.check().map_err(mistake)
}

/// Checks that all windows of the log's policy and a sink's own divide the longest of both.
#[pyfunction]
pub(crate) fn check_windows(log: &[u8], own: &[u8]) -> PyResult<()> {
    read(log)?.check_windows(Some(&read(own)?)).map_err(mistake)
}

/// The policy of a log that redacts, or of one of its sinks, as it stands in the journal.
#[pyfunction]
#[pyo3(signature = (policy, redact, key=None))]
pub(crate) fn compile_policy(policy: &[u8], redact: &[u8], key: Option<&RedactionKey>) -> PyResult<Vec<u8>> {
    auditring_policy::compile(policy, redact, key.map(|key| &key.0)).map_err(mistake)
}

/// A key by which values are hashed. What goes in never comes out: no representation, no copy, no pickle.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct RedactionKey(pub(crate) Key);

#[pymethods]
impl RedactionKey {
    #[new]
    fn new(key: &[u8]) -> PyResult<Self> {
        Key::new(key).map(Self).ok_or_else(|| mistake(PolicyError::Key("has fewer than 16 bytes")))
    }

    /// What names the key in rows.
    #[getter]
    fn id(&self) -> &str {
        self.0.id()
    }

    /// What stands in rows for a value of a field that is hashed, the likeliest first.
    fn hash(&self, field: &str, value: &str) -> PyResult<Vec<String>> {
        let field = Field::parse(field).map_err(PyValueError::new_err)?;
        Ok(auditring_policy::hashes(&field, value, &self.0))
    }
}

/// Whether a path lies on tmpfs.
#[pyfunction]
pub(crate) fn in_memory(path: PathBuf) -> bool {
    auditring_journal::in_memory(&path)
}

/// What a sample may go by.
#[pyfunction]
pub(crate) fn sample_by() -> Vec<&'static str> {
    By::names().to_vec()
}

/// The pattern of exactly this text.
#[pyfunction]
pub(crate) fn literal(text: &str) -> String {
    auditring_policy::literal(text)
}

/// The words of an event that can be explained.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Event {
    action: String,
    category: Option<String>,
    outcome: Option<String>,
    authority: Option<String>,
    origin: Option<String>,
    status: bool,
    filter: Option<String>,
    tap: Option<String>,
    resource: Option<String>,
    principals: Vec<String>,
    virtual_cluster: Option<String>,
    peer: Option<String>,
}

fn word<T>(what: &str, word: Option<String>, of: fn(&str) -> Option<T>) -> PyResult<Option<T>> {
    let wrong = |word: &str| PyValueError::new_err(format!("there is no {what} {word:?}"));
    word.map(|word| of(&word).ok_or_else(|| wrong(&word))).transpose()
}

impl Event {
    /// The event with what the catalog says where nobody else does.
    fn facts(&self) -> PyResult<Facts<'_>> {
        let spec = by_name(&self.action);
        if spec.is_none() && !sanitize::action_name_ok(&self.action) {
            return Err(PyValueError::new_err(format!(
                "there is no action {:?}, and an event of your own has a package-qualified name",
                self.action
            )));
        }
        let category = word("category", self.category.clone(), Category::from_word)?;
        let outcome = word("outcome", self.outcome.clone(), Outcome::from_word)?;
        let status = self.status.then_some(Outcome::Failure);
        let authority = word("authority", self.authority.clone(), Authority::from_word)?;
        let origin = word("origin", self.origin.clone(), Origin::from_word)?;
        let peer = self.peer.as_deref().map(|text| {
            auditring_policy::address(text)
                .ok_or_else(|| PyValueError::new_err(format!("peer is {text:?}, which is no address")))
        });
        Ok(Facts {
            action: &self.action,
            category: category.or(spec.map(|spec| spec.category)).unwrap_or(Category::Plugin),
            outcome: outcome.or(status).or(spec.map(|spec| spec.outcome)).unwrap_or(Outcome::Success),
            authority: authority.or(spec.and_then(|spec| spec.authority)),
            origin: origin.or(spec.map(|spec| spec.origin)).unwrap_or(Origin::Client),
            status: self.status,
            filter: self.filter.as_deref(),
            tap: self.tap.as_deref(),
            resource: self.resource.as_deref(),
            principals: self.principals.iter().map(|one| one.as_str().into()).collect(),
            virtual_cluster: self.virtual_cluster.as_deref(),
            peer: peer.transpose()?,
            peer_hash: None,
        })
    }
}

/// What `policy` says of an event, and which rule: `category`, `outcome`, `authority`, `origin` as they are taken; `rules`,
/// why each rule up to the one that decides does not; `rule`, its number from 0, or none; `keep`, `one_in`, `by`, `window_ns`; and
/// `refused`, whether nothing of the event is ever recorded, `protected`, why no rule leaves it out.
#[pyfunction]
pub(crate) fn explain<'py>(py: Python<'py>, policy: &[u8], event: Event) -> PyResult<Bound<'py, PyDict>> {
    let policy = read(policy)?;
    let facts = event.facts()?;
    let explained = policy.explain(&facts);
    let said = PyDict::new(py);
    said.set_item("category", facts.category.word())?;
    said.set_item("outcome", facts.outcome.word())?;
    said.set_item("authority", facts.authority.map(Authority::word))?;
    said.set_item("origin", facts.origin.word())?;
    let rules = PyList::empty(py);
    for why in explained.passed {
        let (kind, text) = match why {
            Why::Misses(what) => ("misses", what),
            Why::Protected(why) => ("protected", why),
            Why::Request => ("request", ""),
            Why::Apart => ("apart", ""),
        };
        rules.append((kind, text))?;
    }
    said.set_item("rules", rules)?;
    said.set_item("rule", explained.rule)?;
    let keep = explained.keep.unwrap_or_else(|| auditring_policy::otherwise(&facts));
    let (name, one_in, by) = match keep {
        Keep::All => ("all", None, None),
        Keep::Off => ("off", None, None),
        Keep::Sample { one_in, by } => ("sample", Some(one_in), Some(by.iter().collect::<Vec<_>>())),
        Keep::Coalesce { .. } => ("coalesce", None, None),
        Keep::First { by, .. } => ("first", None, Some(by.iter().collect())),
    };
    said.set_item("keep", name)?;
    said.set_item("one_in", one_in)?;
    said.set_item("by", by)?;
    said.set_item("window_ns", keep.window_ns())?;
    said.set_item("protected", auditring_policy::protected(facts.category, facts.outcome, facts.status))?;
    let refused = by_name(facts.action).is_some_and(|spec| {
        auditring_event::droppable(facts.category, facts.outcome)
            && !facts.status
            && policy.is_off(spec.code, Some(spec.name), spec.category, facts.outcome)
    });
    said.set_item("refused", refused)?;
    Ok(said)
}

/// A kind of recorded events, as their rows have it: action, category, outcome, authority, origin, whether there is a
/// status; filter, tap, resource, principals, virtual cluster, peer.
type Kind = (
    (String, String, String, Option<String>, Option<String>, bool),
    (Option<String>, Option<String>, Option<String>, Option<Vec<String>>, Option<String>, Option<String>),
);

/// What becomes of a kind: whether the sink's rule says so, which rule, `keep`, and one in how many.
type Judgement = (bool, Option<usize>, &'static str, u32);

/// What the log's policy and a sink's make of kinds of recorded events. What only a later version knows is kept.
#[pyfunction]
#[pyo3(signature = (policy, own, kinds))]
pub(crate) fn judge(py: Python<'_>, policy: &[u8], own: Option<&[u8]>, kinds: Vec<Kind>) -> PyResult<Vec<Judgement>> {
    let (policy, own) = (read(policy)?, own.map(read).transpose()?);
    let of = |kind: &Kind| {
        let Some(facts) = facts(kind) else { return (false, None, "all", 1) };
        let judged = auditring_policy::judge(&policy, own.as_ref(), &facts);
        let (keep, one_in) = match judged.keep {
            Keep::All => ("all", 1),
            Keep::Off => ("off", 1),
            Keep::Sample { one_in, .. } => ("sample", one_in),
            Keep::Coalesce { .. } => ("coalesce", 1),
            Keep::First { .. } => ("first", 1),
        };
        (judged.own, judged.rule, keep, one_in)
    };
    Ok(py.detach(|| kinds.iter().map(of).collect()))
}

/// What rules may look at of a kind; none where it has words that this version does not know.
fn facts(kind: &Kind) -> Option<Facts<'_>> {
    let ((action, category, outcome, authority, origin, status), (filter, tap, resource, principals, cluster, peer)) =
        kind;
    Some(Facts {
        action,
        category: Category::from_word(category)?,
        outcome: Outcome::from_word(outcome)?,
        authority: authority.as_deref().and_then(Authority::from_word),
        origin: origin.as_deref().and_then(Origin::from_word).unwrap_or(Origin::Client),
        status: *status,
        filter: filter.as_deref(),
        tap: tap.as_deref(),
        resource: resource.as_deref(),
        principals: principals.iter().flatten().map(|one| one.as_str().into()).collect(),
        virtual_cluster: cluster.as_deref(),
        peer: peer.as_deref().and_then(auditring_policy::address),
        peer_hash: peer.as_deref().filter(|peer| auditring_policy::key_id_of(peer).is_some()),
    })
}
