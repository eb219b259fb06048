//! Messages as Kafka's own encoders (by the crate `kafka-protocol`) make them, for all tests of the tap.

#![allow(dead_code, reason = "not every test needs each of them")]

pub(crate) mod fetch;
pub(crate) mod produce;
pub(crate) mod share_fetch;
pub(crate) mod stretch;
pub(crate) mod wire;
