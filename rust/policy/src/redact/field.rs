//! What can be redacted, by name, and where of an event it stands.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use auditring_event::{ACTIONS, Category, Column, Target};

use crate::policy::nearest;

/// What can be redacted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The client's address and port, and hosts that ACLs name.
    Peer,
    /// Who: the principals, whom a failed authentication claimed to be, whom ACLs, tokens and credentials are about, and
    /// what of a client's certificate tells whose it is.
    Principal,
    /// What the client calls itself.
    ClientId,
    /// What was touched, and the names of topics, groups and transactions beside it.
    Resource,
    /// The text for people.
    Reason,
    /// A key of `context`.
    Context(String),
    /// A key of `object_ref`.
    ObjectRef(String),
}

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    Column(Column),
    /// A key of `context`.
    Context(&'a str),
    /// A key of `object_ref`.
    ObjectRef(&'a str),
}

/// What a value is: what is hashed or truncated of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sort {
    /// An address, in its canonical form.
    Address,
    /// A text as it is.
    Text,
    /// `Type:name`, of which the name is redacted.
    Typed,
}

const NAMES: [&str; 7] = ["peer", "principal", "client_id", "resource", "reason", "context.<key>", "object_ref.<key>"];
/// Names of `object_ref` that a resource has elsewhere.
const RESOURCES: [&str; 4] = ["topicName", "topicId", "groupId", "transactionalId"];
/// More would leave too little of a row's context for what else it says.
const LONGEST_KEY: usize = 128;

/// Keys of `context` whose values the catalog says to name somebody.
static NAMING: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    let fields = ACTIONS.iter().flat_map(|spec| spec.fields);
    let naming = fields.filter_map(|field| match (field.target, field.redact) {
        (Target::Context(key), Some(redact)) => Some((key, redact)),
        _ => None,
    });
    naming.collect()
});

impl Field {
    /// The field of a name.
    ///
    /// # Errors
    /// That there is none, and which was probably meant.
    pub fn parse(name: &str) -> Result<Self, String> {
        let key = |key: &str| match key {
            "" => Err(format!("field {name:?}: which key?")),
            _ if key.len() > LONGEST_KEY => Err(format!("field {name:?}: a key has at most {LONGEST_KEY} bytes")),
            _ if key.starts_with("auditring.") => {
                Err(format!("field {name:?}: what begins with auditring. is not the host's"))
            }
            _ => Ok(key.to_owned()),
        };
        Ok(match name {
            "peer" => Self::Peer,
            "principal" => Self::Principal,
            "client_id" => Self::ClientId,
            "resource" => Self::Resource,
            "reason" => Self::Reason,
            _ => match name.split_once('.') {
                Some(("context", rest)) => Self::Context(key(rest)?),
                Some(("object_ref", rest)) => Self::ObjectRef(key(rest)?),
                _ => return Err(format!("there is no field {name:?} to redact; {}", meant(name))),
            },
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Peer => "peer".to_owned(),
            Self::Principal => "principal".to_owned(),
            Self::ClientId => "client_id".to_owned(),
            Self::Resource => "resource".to_owned(),
            Self::Reason => "reason".to_owned(),
            Self::Context(key) => format!("context.{key}"),
            Self::ObjectRef(key) => format!("object_ref.{key}"),
        }
    }

    /// What a value is to a redaction of this field; none where it does not go by it. `hint` is the catalog's.
    pub(super) fn covers(&self, at: At<'_>, hint: Option<&str>) -> Option<Sort> {
        let hint = match at {
            At::Context(key) => hint.or_else(|| NAMING.get(key).copied()),
            _ => hint,
        };
        match (self, at) {
            (Self::Peer, At::Column(Column::PeerIp)) => Some(Sort::Address),
            (Self::Peer, _) if hint == Some("peer") => Some(Sort::Address),
            (Self::Principal, _) if hint == Some("principal") => Some(Sort::Text),
            (Self::Principal, At::Column(Column::Principals)) => Some(Sort::Typed),
            (Self::Principal, _) if hint == Some("principals") => Some(Sort::Typed),
            (Self::Principal, At::Column(Column::Principal | Column::AttemptedPrincipal))
            | (Self::ClientId, At::Column(Column::ClientId))
            | (Self::Resource, At::Column(Column::Resource))
            | (Self::Reason, At::Column(Column::Reason)) => Some(Sort::Text),
            (Self::Resource, At::ObjectRef(key)) if RESOURCES.contains(&key) => Some(Sort::Text),
            (Self::Context(of), At::Context(key)) | (Self::ObjectRef(of), At::ObjectRef(key)) if of == key => {
                Some(Sort::Text)
            }
            _ => None,
        }
    }

    /// Whether it is looked for in events of a category. What the log says of itself names no client, and must stay
    /// readable: a policy, a sink's name.
    pub(super) fn is_in(&self, category: Category) -> bool {
        category != Category::Audit || *self == Self::Reason
    }
}

fn meant(name: &str) -> String {
    // What the columns are called of which one name stands for several.
    match name {
        "peer_ip" | "peer_port" => "did you mean \"peer\"?".to_owned(),
        "principals" | "attempted_principal" | "user" => "did you mean \"principal\"?".to_owned(),
        _ if NAMING.contains_key(name) => format!("did you mean \"context.{name}\"?"),
        _ => nearest(name, &NAMES),
    }
}
