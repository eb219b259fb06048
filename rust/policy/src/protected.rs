//! What no rule leaves out, unless the policy says that it may be blind.

use auditring_event::{Category, Outcome};

/// Why an event is protected; none where a rule may leave it out.
///
/// This is not the ring's class: what is droppable there may be refused by a full ring. Connections, and what an authorizer
/// allowed, are kept back for in the ring, but a rule may leave them out.
#[must_use]
pub fn protected(category: Category, outcome: Outcome, status: bool) -> Option<&'static str> {
    match (category, outcome) {
        (_, Outcome::Denied) => Some("denials are always kept"),
        (_, Outcome::Failure) => Some("failures are always kept"),
        (Category::Authentication, _) => Some("authentication is always kept"),
        (Category::Administration, _) => Some("administration is always kept"),
        (Category::Lifecycle, _) => Some("lifecycle is always kept"),
        (Category::Audit, _) => Some("what the log says of itself is always kept"),
        _ if status => Some("a call that carries a status is always kept"),
        _ => None,
    }
}
