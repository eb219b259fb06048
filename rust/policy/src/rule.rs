//! One rule: its conditions, and what becomes of the rows that meet them all.

use auditring_event::{Authority, Category, Origin, Outcome};
use ipnet::IpNet;
use serde::Deserialize;

use crate::facts::Facts;
use crate::pattern::Pattern;
use crate::redact::key_id_of;
use crate::sample::By;
use crate::window::{self, MOST_COALESCE, MOST_FIRST};

/// What becomes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every row is kept.
    All,
    /// No row is kept.
    Off,
    /// Rows that stand for `one_in` of their kind, which is their weight; first touches are kept with weight 1.
    Sample {
        /// Keep one in so many; at least 1.
        one_in: u32,
        /// What is kept or left out together.
        by: By,
    },
    /// Reads and Writes whose offsets follow each other become one row, without loss.
    Coalesce {
        /// How long a row may wait for more, in nanoseconds.
        window_ns: i64,
    },
    /// The first of a kind in each window as it is, the others as one row with their count.
    First {
        /// How long, in nanoseconds.
        window_ns: i64,
        /// What makes a kind, beside action, outcome, authority and origin.
        by: By,
    },
}

impl Keep {
    /// The window, where it has one.
    #[must_use]
    pub const fn window_ns(self) -> Option<i64> {
        match self {
            Self::Coalesce { window_ns } | Self::First { window_ns, .. } => Some(window_ns),
            Self::All | Self::Off | Self::Sample { .. } => None,
        }
    }
}

/// As a rule stands in the journal.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Form {
    action: Option<Vec<String>>,
    category: Option<Vec<String>>,
    outcome: Option<Vec<String>>,
    authority: Option<Vec<String>>,
    origin: Option<Vec<String>>,
    filter: Option<Vec<String>>,
    tap: Option<Vec<String>>,
    resource: Option<Vec<String>>,
    principal: Option<Vec<String>>,
    virtual_cluster: Option<Vec<String>>,
    peer: Option<Vec<String>>,
    keep: String,
    one_in: Option<u32>,
    by: Option<By>,
    window_ns: Option<i64>,
}

/// Any of several names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Names(pub(crate) Vec<Pattern>);

impl Names {
    pub(crate) fn matches(&self, value: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(value))
    }
}

/// A peer that a rule names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Peer {
    Within(IpNet),
    /// By its keyed hash.
    Hashed(String),
}

/// A rule: a row that meets all conditions is kept as it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(crate) action: Option<Names>,
    pub(crate) category: Option<Names>,
    pub(crate) outcome: Option<Names>,
    pub(crate) authority: Option<Names>,
    pub(crate) origin: Option<Names>,
    pub(crate) filter: Option<Names>,
    pub(crate) tap: Option<Names>,
    pub(crate) resource: Option<Names>,
    pub(crate) principal: Option<Names>,
    pub(crate) virtual_cluster: Option<Names>,
    pub(crate) peer: Option<Vec<Peer>>,
    /// What becomes of the rows.
    pub keep: Keep,
}

/// What every rule can know of a row without looking at it: what its code and outcome say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<'a> {
    /// None where the name is in the row.
    pub(crate) action: Option<&'a str>,
    pub(crate) category: Category,
    pub(crate) outcome: Outcome,
}

impl Rule {
    /// A rule without a condition.
    pub(crate) fn of(keep: Keep) -> Self {
        Self {
            action: None,
            category: None,
            outcome: None,
            authority: None,
            origin: None,
            filter: None,
            tap: None,
            resource: None,
            principal: None,
            virtual_cluster: None,
            peer: None,
            keep,
        }
    }

    /// A rule for one action.
    pub(crate) fn of_action(action: &str, keep: Keep) -> Self {
        Self { action: Some(Names(vec![Pattern::new(action)])), ..Self::of(keep) }
    }

    /// A rule for one category.
    pub(crate) fn of_category(category: Category, keep: Keep) -> Self {
        Self { category: Some(Names(vec![Pattern::new(category.word())])), ..Self::of(keep) }
    }

    /// Reads a rule's form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(form: Form) -> Result<Self, String> {
        let names = |what: &str, list: Option<Vec<String>>| match list {
            Some(list) if list.is_empty() => Err(format!("{what}: no name at all, which nothing can match")),
            Some(list) => Ok(Some(Names(list.iter().map(|text| Pattern::new(text)).collect()))),
            None => Ok(None),
        };
        let keep = keep(&form)?;
        let peer = match form.peer {
            Some(list) if list.is_empty() => return Err("peer: no network at all, which nothing can match".to_owned()),
            Some(list) => Some(list.iter().map(|text| named_peer(text)).collect::<Result<_, _>>()?),
            None => None,
        };
        Ok(Self {
            action: names("action", form.action)?,
            category: names("category", form.category)?,
            outcome: names("outcome", form.outcome)?,
            authority: names("authority", form.authority)?,
            origin: names("origin", form.origin)?,
            filter: names("filter", form.filter)?,
            tap: names("tap", form.tap)?,
            resource: names("resource", form.resource)?,
            principal: names("principal", form.principal)?,
            virtual_cluster: names("virtual_cluster", form.virtual_cluster)?,
            peer,
            keep,
        })
    }

    /// Whether it names the kind of event that it is about: its action, or its category.
    pub(crate) fn names_kind(&self) -> bool {
        self.action.is_some() || self.category.is_some()
    }

    /// Whether it asks for more than code and outcome tell; `named` where the code tells the action's name.
    pub(crate) fn asks(&self, named: bool) -> bool {
        (!named && self.action.is_some()) || self.asks_row()
    }

    fn asks_row(&self) -> bool {
        self.authority.is_some()
            || self.origin.is_some()
            || self.filter.is_some()
            || self.tap.is_some()
            || self.resource.is_some()
            || self.principal.is_some()
            || self.virtual_cluster.is_some()
            || self.peer.is_some()
    }

    /// The first condition that no row of this kind can meet.
    pub(crate) fn misses_kind(&self, kind: &Kind<'_>) -> Option<&'static str> {
        let misses = |names: &Option<Names>, value| names.as_ref().is_some_and(|names| !names.matches(value));
        if kind.action.is_some_and(|action| misses(&self.action, action)) {
            return Some("action");
        }
        if misses(&self.category, kind.category.word()) {
            return Some("category");
        }
        misses(&self.outcome, kind.outcome.word()).then_some("outcome")
    }

    /// The first condition that an event does not meet.
    pub(crate) fn misses(&self, event: &Facts<'_>) -> Option<&'static str> {
        let misses = |names: &Option<Names>, value: Option<&str>| {
            names.as_ref().is_some_and(|names| !value.is_some_and(|value| names.matches(value)))
        };
        if let Some(what) = self.misses_kind(&event.kind()) {
            return Some(what);
        }
        for (what, names, value) in [
            ("authority", &self.authority, event.authority.map(Authority::word)),
            ("origin", &self.origin, Some(Origin::word(event.origin))),
            ("filter", &self.filter, event.filter),
            ("tap", &self.tap, event.tap),
            ("resource", &self.resource, event.resource),
            ("virtual_cluster", &self.virtual_cluster, event.virtual_cluster),
        ] {
            if misses(names, value) {
                return Some(what);
            }
        }
        if self.principal.as_ref().is_some_and(|names| !event.principals.iter().any(|one| is_of(names, one))) {
            return Some("principal");
        }
        let is = |peer: &Peer| match peer {
            Peer::Within(net) => event.peer.is_some_and(|peer| net.contains(&peer)),
            Peer::Hashed(hash) => event.peer_hash == Some(hash),
        };
        self.peer.as_ref().is_some_and(|peers| !peers.iter().any(is)).then_some("peer")
    }
}

/// What a form says of the rows, and nothing that does not belong to it.
fn keep(form: &Form) -> Result<Keep, String> {
    let none = |what: &str, is: bool| if is { Ok(()) } else { Err(format!("keep {:?} has no {what}", form.keep)) };
    let word = form.keep.as_str();
    none("one_in", form.one_in.is_none() || word == "sample")?;
    none("by", form.by.is_none() || matches!(word, "sample" | "first"))?;
    none("window", form.window_ns.is_none() || matches!(word, "coalesce" | "first"))?;
    Ok(match (word, form.one_in, form.window_ns) {
        ("all", ..) => Keep::All,
        ("off", ..) => Keep::Off,
        ("sample", Some(0), _) => {
            return Err("SAMPLE(one_in=0) keeps nothing and says so of nothing; use OFF, or one_in >= 1".to_owned());
        }
        ("sample", Some(one_in), _) => Keep::Sample { one_in, by: form.by.unwrap_or(By::STORY) },
        ("sample", None, _) => return Err("keep \"sample\" needs one_in".to_owned()),
        ("coalesce", _, Some(window_ns)) => Keep::Coalesce { window_ns: window::within(window_ns, MOST_COALESCE)? },
        ("first", _, Some(window_ns)) => {
            Keep::First { window_ns: window::within(window_ns, MOST_FIRST)?, by: form.by.unwrap_or(By::STORY) }
        }
        ("coalesce" | "first", _, None) => return Err(format!("keep {word:?} needs a window")),
        _ => return Err(format!("keep is \"all\", \"off\", \"sample\", \"coalesce\" or \"first\", not {word:?}")),
    })
}

/// Whether the names are of a principal: by its name alone, or as `Type:name`.
fn is_of(names: &Names, principal: &str) -> bool {
    let name = principal.split_once(':').map_or(principal, |(_, name)| name);
    names.matches(principal) || names.matches(name)
}

fn named_peer(text: &str) -> Result<Peer, String> {
    if key_id_of(text).is_some() { Ok(Peer::Hashed(text.to_owned())) } else { network(text).map(Peer::Within) }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => text.parse::<std::net::IpAddr>().map(|one| IpNet::from(one.to_canonical())).map_err(|_| {
            format!("peer is {text:?}: a network like \"10.0.0.0/8\" or \"2001:db8::/32\", or one address")
        })?,
    };
    if net != net.trunc() {
        return Err(format!("peer is {text:?}, an address within a network; the network is \"{}\"", net.trunc()));
    }
    Ok(net)
}
