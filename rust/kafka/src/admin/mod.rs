//! The APIs of administration: an event per resource that a request names.

pub(crate) mod acls;
pub(crate) mod configs;
pub(crate) mod scram;
pub(crate) mod tokens;
pub(crate) mod topics;
