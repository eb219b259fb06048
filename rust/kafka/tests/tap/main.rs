//! What a tap says of messages that Kafka's own encoders (by the crate `kafka-protocol`) made, one file a room of the tap.

#[path = "../messages/mod.rs"]
mod messages;

mod fetch;
mod frames;
mod inflight;
mod produce;
mod requests;
mod rows;
mod sasl;
mod share_fetch;
