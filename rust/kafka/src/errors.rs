//! Kafka's error codes by their names.

/// Whether the broker's authorizer has refused.
pub(crate) const fn is_denial(code: i16) -> bool {
    matches!(code, 29 | 30 | 31 | 53 | 65)
}

/// The name of a code, as a status.
pub(crate) fn name(code: i16) -> &'static str {
    match code {
        29 => "TopicAuthorizationFailed",
        _ => "UnknownServerError",
    }
}
