//! Whose names a line gives to what happened.
//!
//! What must always hold: a dialect changes the action's name and nothing else, so a line is valid under the same upstream
//! schema, and process, seq and event id lead back to the row. The names stand in the catalog; what has none there is
//! package-qualified as ours, because one of upstream's plain names may mean another thing.

use crate::spec;
use std::borrow::Cow;

/// What the catalog says where an action goes by the name of the operation.
const BY_OPERATION: &str = "{operation}";

/// Whose names a line gives to actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Our own.
    #[default]
    Own,
    /// Those of the Kroxylicious proposal.
    KroxyliciousV1,
}

impl Dialect {
    /// The dialects that are not our own, by name.
    pub const NAMED: &'static [(&'static str, Self)] = &[("kroxylicious-v1", Self::KroxyliciousV1)];

    /// The dialect of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(of, _)| *of == name).map(|(_, dialect)| *dialect)
    }

    /// What an action is called in it.
    pub(super) fn action<'a>(self, name: &'a str, operation: Option<&str>) -> Cow<'a, str> {
        // Names that are not the catalog's are qualified by whoever they belong to; so are those of the log itself.
        let Some(spec) = spec::by_name(name).filter(|_| self == Self::KroxyliciousV1 && !name.contains('.')) else {
            return Cow::Borrowed(name);
        };
        match spec.kroxylicious {
            Some(BY_OPERATION) => match operation.and_then(camel) {
                Some(operation) => Cow::Owned(operation),
                None => Cow::Owned(format!("auditring.{name}")),
            },
            Some(theirs) => Cow::Borrowed(theirs),
            None => Cow::Owned(format!("auditring.{name}")),
        }
    }
}

/// `DESCRIBE_CONFIGS` → `DescribeConfigs`, and `Describe` as it is; none for what is no name.
fn camel(operation: &str) -> Option<String> {
    let word = |word: &str| -> Option<String> {
        let shouted = !word.contains(|c: char| c.is_ascii_lowercase());
        let mut letters = word.chars();
        let first = letters.next()?.to_ascii_uppercase();
        let rest = letters.map(|c| if shouted { c.to_ascii_lowercase() } else { c });
        Some(std::iter::once(first).chain(rest).collect())
    };
    let name = operation.split('_').map(word).collect::<Option<String>>()?;
    (name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric()))
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: Dialect = Dialect::KroxyliciousV1;

    #[test]
    fn our_own_names_are_as_they_are() {
        assert_eq!("ProxyStartup", Dialect::Own.action("ProxyStartup", None));
        assert_eq!("OperationDenied", Dialect::Own.action("OperationDenied", Some("READ")));
    }

    #[test]
    fn a_decision_goes_by_the_name_of_its_operation() {
        for (operation, name) in [
            ("READ", "Read"),
            ("read", "Read"),
            ("Describe", "Describe"),
            ("DESCRIBE_CONFIGS", "DescribeConfigs"),
            ("TwoPhaseCommit", "TwoPhaseCommit"),
        ] {
            assert_eq!(name, THEIRS.action("OperationAllowed", Some(operation)));
        }
        for operation in [None, Some(""), Some("_"), Some("READ__ALL"), Some("3D"), Some("läsen"), Some("a b")] {
            assert_eq!("auditring.OperationDenied", THEIRS.action("OperationDenied", operation));
        }
    }

    #[test]
    fn what_upstream_has_no_name_for_is_qualified_and_what_is_qualified_stays() {
        assert_eq!("ProxyStart", THEIRS.action("ProxyStartup", None));
        assert_eq!("auditring.Read", THEIRS.action("Read", Some("READ")));
        assert_eq!("auditring.EventsLost", THEIRS.action("auditring.EventsLost", None));
        assert_eq!("com.example.KeyUsed", THEIRS.action("com.example.KeyUsed", None));
    }
}
