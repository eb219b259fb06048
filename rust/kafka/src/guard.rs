//! The loop guard: what an auditor writes to its own topic is not audited, or every row would make another.
//!
//! What must always hold: only a Produce passes, to a topic and under a client id that stand in one rule; whatever else comes
//! under such an id is audited, or the guard would be a way round the audit. What passes is counted, and the first of a
//! connection to a topic has a row.

use auditring_event::{ActionSpec, named};

use crate::facts::Facts;
use crate::topics::Topics;

/// The row of the first.
pub(crate) const EXEMPTED: &ActionSpec = named("auditring.Exempted");
const TOPIC: usize = EXEMPTED.position("topic");
/// Topics of one connection that have a row; what goes to further ones is counted alone.
const ROWS: usize = 64;

/// Whose messages pass.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Text, with any text between two of these.
    topic: Vec<Vec<u8>>,
    client: Vec<u8>,
    /// Whether more may follow.
    prefix: bool,
}

impl Guard {
    /// A Produce passes to this topic, where `*` is any text, under this client id, or one that begins as it does before `*`.
    pub fn add(&mut self, topic: &str, client: &str) {
        let (client, prefix) = client.strip_suffix('*').map_or((client, false), |begin| (begin, true));
        let topic = topic.split('*').map(|part| part.as_bytes().to_vec()).collect();
        self.rules.push(Rule { topic, client: client.as_bytes().to_vec(), prefix });
    }

    /// Whether any rule is about this client.
    pub(crate) fn knows(&self, client: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.is_of(client))
    }

    pub(crate) fn lets_pass(&self, client: &[u8], topic: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.is_of(client) && matches(&rule.topic, topic))
    }
}

impl Rule {
    fn is_of(&self, client: &[u8]) -> bool {
        if self.prefix { client.starts_with(&self.client) } else { client == self.client }
    }
}

/// Whether a text is these parts in their order, with any text between two.
fn matches(parts: &[Vec<u8>], text: &[u8]) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(&first[..]) else { return false };
    for part in middle {
        // The earliest place leaves most for what follows.
        let at = (0..=rest.len()).find(|at| rest[*at..].starts_with(part));
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Topics of one connection that have had their row.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<Vec<u8>>);

impl Told {
    /// Lays down the row of a topic that has none.
    pub(crate) fn tell(&mut self, topic: &[u8], tap: Option<&str>, facts: &mut Facts) {
        if self.0.len() < ROWS && !self.0.iter().any(|known| known == topic) {
            self.0.push(topic.to_vec());
            facts.draft(EXEMPTED).tap(tap).text_at(TOPIC, topic).finish();
        }
    }
}

/// What a topic is called that goes by its name, or by its id.
pub(crate) fn name_of(topic: &[u8], by_id: bool, topics: &Topics) -> Option<Vec<u8>> {
    if by_id { topics.name(topic.try_into().ok()?).map(|name| name.to_vec()) } else { Some(topic.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(rules: &[(&str, &str)]) -> Guard {
        let mut guard = Guard::default();
        for (topic, client) in rules {
            guard.add(topic, client);
        }
        guard
    }

    #[test]
    fn topic_and_client_belong_together() {
        let guard = guard(&[("audit", "auditring-1"), ("other", "auditring-2*")]);
        for (client, topic, passes) in [
            ("auditring-1", "audit", true),
            ("auditring-1", "other", false),
            ("auditring-12", "audit", false),
            ("auditring-2", "other", true),
            ("auditring-2-of-them", "other", true),
            ("auditring-2-of-them", "audit", false),
            ("", "audit", false),
        ] {
            assert_eq!(passes, guard.lets_pass(client.as_bytes(), topic.as_bytes()), "{client} to {topic}");
        }
        assert!(guard.knows(b"auditring-23") && !guard.knows(b"auditring-") && !Guard::default().knows(b""));
    }

    #[test]
    fn a_star_in_a_topic_is_any_text_and_all_else_is_itself() {
        for (rule, topic, passes) in [
            ("audit.*", "audit.payments", true),
            ("audit.*", "audit.", true),
            ("audit.*", "audit", false),
            ("audit.*", "my-audit.x", false),
            ("*.audit.*", "eu.audit.payments", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("aa*aa", "aaa", false),
            ("audit", "audit.payments", false),
        ] {
            assert_eq!(passes, guard(&[(rule, "x")]).lets_pass(b"x", topic.as_bytes()), "{rule} and {topic}");
        }
    }
}
