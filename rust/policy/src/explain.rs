//! Which rule decides, and why: the plain reading of a policy, one rule after the other.
//!
//! The chooser comes to the same decisions by tables and a cache; it asks here what its tables do not say.

use auditring_event::{Category, Outcome};

use crate::facts::Facts;
use crate::policy::{Policy, is_data};
use crate::protected::protected;
use crate::rule::{Keep, Kind, Rule};

/// What tells that a policy may be blind, and which policy it is.
const TOLD: [(&str, &str); 2] = [
    ("auditring.BlindSpots", "the row that tells of blind spots is always kept"),
    ("auditring.PolicyChanged", "the row that tells of another policy is always kept"),
];

/// Why a rule does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The event does not meet this condition.
    Misses(&'static str),
    /// The event is protected.
    Protected(&'static str),
    /// The rule coalesces, which only Read and Write can be.
    Apart,
    /// The event is of category request, and the rule names neither action nor category.
    Request,
}

/// What a policy says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Why each rule up to the one that decides does not.
    pub passed: Vec<Why>,
    /// The rule that decides; none: no rule matches.
    pub rule: Option<usize>,
    /// What becomes of the event; none: no rule matches.
    pub keep: Option<Keep>,
}

impl Policy {
    /// Asks the rules, one after the other.
    #[must_use]
    pub fn explain(&self, event: &Facts<'_>) -> Explained {
        let mut passed = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            match rule.misses(event).map(Why::Misses).or_else(|| self.spares(rule, &event.kind(), event.status)) {
                Some(why) => passed.push(why),
                None => return Explained { passed, rule: Some(at), keep: Some(rule.keep) },
            }
        }
        Explained { passed, rule: None, keep: None }
    }

    /// What the first rule that matches says.
    pub(crate) fn first(&self, event: &Facts<'_>) -> Option<(usize, Keep)> {
        self.rules
            .iter()
            .position(|rule| rule.misses(event).is_none() && self.spares(rule, &event.kind(), event.status).is_none())
            .map(|at| (at, self.rules[at].keep))
    }

    /// Why a rule does not apply to a kind of event, although it may match.
    pub(crate) fn spares(&self, rule: &Rule, kind: &Kind<'_>, status: bool) -> Option<Why> {
        if kind.category == Category::Request && !rule.names_kind() {
            return Some(Why::Request);
        }
        if rule.keep == Keep::All {
            return None;
        }
        if matches!(rule.keep, Keep::Coalesce { .. }) && !kind.action.is_some_and(is_data) {
            return Some(Why::Apart);
        }
        if let Some((_, why)) = TOLD.iter().find(|(action, _)| kind.action == Some(action)) {
            return Some(Why::Protected(why));
        }
        if self.allow_blind_spots {
            return None;
        }
        protected(kind.category, kind.outcome, status).map(Why::Protected)
    }
}

/// What two policies make of an event, and whose rule says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The sink's policy, not the log's.
    pub own: bool,
    /// The rule that decides; none: no rule matches.
    pub rule: Option<usize>,
    /// What becomes of the event.
    pub keep: Keep,
}

/// What becomes of an event at a sink with a policy of its own, or none.
#[must_use]
pub fn judge(log: &Policy, own: Option<&Policy>, event: &Facts<'_>) -> Judged {
    let (of_log, otherwise) = (log.first(event), otherwise(event));
    let of_own = own.and_then(|own| own.first(event));
    let keep = both(of_log.map(|(_, keep)| keep), of_own.map(|(_, keep)| keep), otherwise);
    let off = of_log.map_or(otherwise, |(_, keep)| keep) == Keep::Off;
    match of_own.filter(|_| !off) {
        Some((at, _)) => Judged { own: true, rule: Some(at), keep },
        None => Judged { own: false, rule: of_log.map(|(at, _)| at), keep },
    }
}

/// What becomes of an event that no rule of the log's policy matches.
#[must_use]
pub fn otherwise(event: &Facts<'_>) -> Keep {
    default(event.category, event.outcome, event.status)
}

/// The same by kind: everything but requests is kept.
#[must_use]
pub(crate) fn default(category: Category, outcome: Outcome, status: bool) -> Keep {
    if category == Category::Request && protected(category, outcome, status).is_none() { Keep::Off } else { Keep::All }
}

/// What the log's policy and the sink's make of an event: the log's OFF, else the first match in the sink's, then the log's.
#[must_use]
pub(crate) fn both(log: Option<Keep>, own: Option<Keep>, otherwise: Keep) -> Keep {
    match (log.unwrap_or(otherwise), own) {
        (Keep::Off, _) => Keep::Off,
        (log, own) => own.unwrap_or(log),
    }
}
