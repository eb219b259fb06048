//! The journaled form: one small JSON object, parsed once, never reinterpreted.
//!
//! ```text
//! version 1  {"version":1,"seed":7,"read":{"keep":"sample","one_in":100},"write":{"keep":"all"},"request":{"keep":"off"}}
//! version 2  {"version":2,"seed":7,"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"off"}, …]}
//! version 3  the same; rules may say {"keep":"coalesce","window_ns":1000000000} and {"keep":"first","window_ns":…,"by":[…]},
//!            and "redact":[{"field":"principal","how":"hash","key_id":"9cf2b563"}, …] stands where something is redacted
//! ```
//!
//! Version 1 is read as the rules that it stands for. What needs nothing of version 3 is written as version 2, so that
//! older readers go on. A key is never in it, nor where it lies.

use auditring_event::{ACTIONS, Authority, Category, Origin, Outcome, by_name};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::protected::protected;
use crate::redact::{Form as Redact, Redaction, read_all, refuse};
use crate::rule::{Form, Keep, Names, Rule};
use crate::sample::By;
use crate::window;

/// Rules, the first that matches decides; what no rule matches is kept, but for category request.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Seeds the sampling hash. No secret.
    pub seed: u64,
    /// Rules apply to protected events, too.
    pub allow_blind_spots: bool,
    /// In order.
    pub rules: Vec<Rule>,
    /// What of an event never reaches the disk; of a value that several are of, the first decides.
    pub redact: Vec<Redaction>,
}

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the JSON of a policy.
    #[error("not a policy: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("policy version {0} is not known here (1 to 3 are); read it with a newer auditring")]
    Version(u32),
    /// A rule that cannot be. Counted from 1.
    #[error("rule {at}: {why}")]
    Rule {
        /// Which.
        at: usize,
        /// Why.
        why: String,
    },
    /// A redaction that cannot be. Counted from 1.
    #[error("redact {at}: {why}")]
    Redact {
        /// Which.
        at: usize,
        /// Why.
        why: String,
    },
    /// The key of the hashes.
    #[error("the key {0}")]
    Key(&'static str),
}

/// More is no policy that anybody reads; and a rule's number has 16 bits.
const MOST_RULES: usize = 10_000;

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Default, Deserialize)]
#[serde(tag = "keep", rename_all = "snake_case", deny_unknown_fields)]
enum First {
    #[default]
    All,
    Off,
    Sample {
        one_in: u32,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionOne {
    #[serde(rename = "version")]
    _version: u32,
    seed: u64,
    #[serde(default)]
    read: First,
    #[serde(default)]
    write: First,
    request: Option<First>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    #[serde(rename = "version")]
    _version: u32,
    seed: u64,
    allow_blind_spots: bool,
    rules: Vec<Form>,
    #[serde(default)]
    redact: Vec<Redact>,
}

impl Policy {
    /// The policy without a rule.
    #[must_use]
    pub fn everything(seed: u64) -> Self {
        Self { seed, allow_blind_spots: false, rules: Vec::new(), redact: Vec::new() }
    }

    /// Reads the journaled form.
    ///
    /// # Errors
    /// [`PolicyError`] when the bytes are no policy that this version understands.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        match serde_json::from_slice::<Versioned>(bytes)?.version {
            1 => Self::version_one(serde_json::from_slice(bytes)?),
            version @ (2 | 3) => Self::later(version, serde_json::from_slice(bytes)?),
            version => Err(PolicyError::Version(version)),
        }
    }

    fn version_one(form: VersionOne) -> Result<Self, PolicyError> {
        let keep = |at, first| match first {
            First::All => Ok(Keep::All),
            First::Off => Ok(Keep::Off),
            First::Sample { one_in: 0 } => Err(PolicyError::Rule { at, why: "one_in is at least 1".to_owned() }),
            First::Sample { one_in } => Ok(Keep::Sample { one_in, by: By::STORY }),
        };
        Ok(Self {
            seed: form.seed,
            allow_blind_spots: false,
            rules: vec![
                Rule::of_action("Read", keep(1, form.read)?),
                Rule::of_action("Write", keep(2, form.write)?),
                Rule::of_category(Category::Request, keep(3, form.request.unwrap_or(First::Off))?),
            ],
            redact: Vec::new(),
        })
    }

    fn later(version: u32, form: Later) -> Result<Self, PolicyError> {
        if version < 3 && !form.redact.is_empty() {
            return Err(PolicyError::Redact { at: 1, why: "a policy that redacts has version 3".to_owned() });
        }
        if form.rules.len() > MOST_RULES {
            return Err(PolicyError::Rule { at: MOST_RULES + 1, why: format!("a policy has at most {MOST_RULES}") });
        }
        let read = |(at, form)| Rule::read(form).map_err(|why| PolicyError::Rule { at: at + 1, why });
        Ok(Self {
            seed: form.seed,
            allow_blind_spots: form.allow_blind_spots,
            rules: form.rules.into_iter().enumerate().map(read).collect::<Result<_, _>>()?,
            redact: read_all(form.redact)?,
        })
    }

    /// What a host's own policy must stand up to beside its syntax: names that there are, and no rule that says of a
    /// protected kind of event by name what it does not do, and none that asks for a value that is redacted. A journal's policy may name what came with a later version.
    ///
    /// # Errors
    /// [`PolicyError::Rule`].
    pub fn check(&self) -> Result<(), PolicyError> {
        for (at, rule) in self.rules.iter().enumerate() {
            let fine = words(rule).and_then(|()| if self.allow_blind_spots { Ok(()) } else { blind(rule) });
            fine.and_then(|()| mergeable(rule)).map_err(|why| PolicyError::Rule { at: at + 1, why })?;
        }
        self.check_windows(None)?;
        refuse(&self.rules, &self.redact)
    }

    /// Whether every window, also of a sink's own policy, divides the longest, so that they all end together.
    ///
    /// # Errors
    /// [`PolicyError::Rule`] names the rule, and a window that would do.
    pub fn check_windows(&self, own: Option<&Self>) -> Result<(), PolicyError> {
        let longest = windows(self, own).last().copied().unwrap_or_default();
        for policy in [Some(self), own].into_iter().flatten() {
            for (at, rule) in policy.rules.iter().enumerate() {
                if let Some(window_ns) = rule.keep.window_ns() {
                    window::divides(window_ns, longest).map_err(|why| PolicyError::Rule { at: at + 1, why })?;
                }
            }
        }
        Ok(())
    }

    /// SHA-256 over the journaled form: names a policy in segment heads.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }
}

/// Whether the names of a rule can be.
fn words(rule: &Rule) -> Result<(), String> {
    fn all<T: Copy>(values: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
        values.iter().map(|value| word(*value)).collect()
    }
    for (what, names, known) in [
        ("category", &rule.category, all(Category::ALL, Category::word)),
        ("outcome", &rule.outcome, all(Outcome::ALL, Outcome::word)),
        ("authority", &rule.authority, all(Authority::ALL, Authority::word)),
        ("origin", &rule.origin, all(Origin::ALL, Origin::word)),
    ] {
        for pattern in names.iter().flat_map(|names| &names.0) {
            if !known.iter().any(|word| pattern.matches(word)) {
                return Err(format!("there is no {what} {:?}; {}", pattern.text, nearest(&pattern.text, &known)));
            }
        }
    }
    let actions: Vec<_> = ACTIONS.iter().map(|spec| spec.name).collect();
    for pattern in rule.action.iter().flat_map(|names| &names.0) {
        let own = pattern.exact().is_none_or(|name| name.contains('.') && !name.starts_with("auditring."));
        if !own && !actions.iter().any(|name| pattern.matches(name)) {
            return Err(format!("there is no action {:?}; {}", pattern.text, nearest(&pattern.text, &actions)));
        }
    }
    Ok(())
}

/// The known word that was probably meant, or all that there are.
pub(crate) fn nearest(word: &str, known: &[&str]) -> String {
    let distance = |one: &str| edits(&word.to_lowercase(), &one.to_lowercase());
    let near = known.iter().min_by_key(|one| distance(one)).filter(|one| distance(one) * 3 <= one.len() + 2);
    near.map_or_else(|| format!("known: {}", known.join(", ")), |near| format!("did you mean {near:?}?"))
}

/// How many characters must change, come or go, to make one word of the other.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let up = row[j + 1];
            row[j + 1] = (diagonal + usize::from(left != right)).min(up + 1).min(row[j] + 1);
            diagonal = up;
        }
    }
    row[row.len() - 1]
}

/// Whether a rule that coalesces names only what can be. A wide one just does not apply to the rest.
fn mergeable(rule: &Rule) -> Result<(), String> {
    if !matches!(rule.keep, Keep::Coalesce { .. }) {
        return Ok(());
    }
    let exact = |names: &'static str, of: &Option<Names>, fine: &dyn Fn(&str) -> bool| {
        let mut named = of.iter().flat_map(|names| &names.0).filter_map(|pattern| pattern.exact());
        named.find(|name| !fine(name)).map(|name| format!("{names} {name:?}"))
    };
    let found = exact("action", &rule.action, &is_data)
        .or_else(|| exact("category", &rule.category, &|name| name == Category::Data.word()));
    match found {
        Some(found) => {
            Err(format!("it coalesces {found}, but only Read and Write have offsets that follow each other"))
        }
        None => Ok(()),
    }
}

/// Whether events of this name can be coalesced.
pub(crate) fn is_data(action: &str) -> bool {
    matches!(action, "Read" | "Write")
}

/// The windows of the log's policy and a sink's own, each once, the longest last.
#[must_use]
pub fn windows(log: &Policy, own: Option<&Policy>) -> Vec<i64> {
    let rules = [Some(log), own].into_iter().flatten().flat_map(|policy| &policy.rules);
    let mut windows: Vec<_> = rules.filter_map(|rule| rule.keep.window_ns()).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// Whether a rule would leave out, by name, what is protected. A wide rule just does not apply to it.
fn blind(rule: &Rule) -> Result<(), String> {
    if rule.keep == Keep::All {
        return Ok(());
    }
    let merges = rule.keep.window_ns().is_some();
    let advice = if merges { "rules that merge it" } else { "rules that leave it out" };
    let named = |names: &Option<Names>, is: &dyn Fn(&str) -> Option<&'static str>, all: &[&'static str]| {
        names.iter().flat_map(|names| &names.0).find_map(|pattern| {
            if let Some(name) = pattern.exact() {
                return is(name).map(|why| (pattern.text.clone(), why));
            }
            // A glob names what is protected where it matches nothing else.
            let mut matched = all.iter().filter(|name| pattern.matches(name)).map(|name| is(name)).peekable();
            matched.peek()?;
            matched.collect::<Option<Vec<_>>>().map(|whys| (pattern.text.clone(), whys[0]))
        })
    };
    let of_category = |word: &str| Category::from_word(word).and_then(|one| protected(one, Outcome::Success, false));
    let of_outcome = |word: &str| Outcome::from_word(word).and_then(|one| protected(Category::Data, one, false));
    let of_action = |name: &str| {
        by_name(name).and_then(|spec| {
            let may = if spec.outcomes.is_empty() { Outcome::ALL } else { spec.outcomes };
            may.iter()
                .map(|outcome| protected(spec.category, *outcome, false))
                .collect::<Option<Vec<_>>>()
                .map(|whys| whys[0])
        })
    };
    let actions: Vec<_> = ACTIONS.iter().map(|spec| spec.name).collect();
    let categories: Vec<_> = Category::ALL.iter().map(|one| one.word()).collect();
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|one| one.word()).collect();
    let found = named(&rule.action, &of_action, &actions)
        .or_else(|| named(&rule.category, &of_category, &categories))
        .or_else(|| named(&rule.outcome, &of_outcome, &outcomes));
    match found {
        Some((name, why)) => Err(format!("it names {name:?}, but {why}; {advice} need allow_blind_spots=True")),
        None => Ok(()),
    }
}
