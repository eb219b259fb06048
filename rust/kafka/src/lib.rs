//! A tap for Kafka's protocol: it is shown what goes by between a client and a broker, and says what happened.
//!
//! ```text
//! bytes ─▶ frames ─┬─▶ produce, fetch (steps over records as they come)  ─┬─▶ facts ─▶ the ring
//!                  ├─▶ sasl                                               │
//!                  └─▶ exchanges (request beside answer): admin, groups … ┘
//! ```
//!
//! This room knows the events and nothing else of ours: no file, no thread, no Python. What must always hold: the bytes are
//! never changed, kept back or refused; no bytes, however crafted, make anything here panic, read what is not there, or
//! grow without bound; and no secret (password, proof, token, key or value of a record) goes into an event.

mod admin;
mod answers;
mod api;
mod asked;
mod attempt;
mod batches;
mod blind;
mod broker;
mod claim;
mod client;
mod cluster;
mod cursor;
mod denials;
mod errors;
mod exchange;
mod facts;
mod fetch;
mod frame;
mod groups;
mod guard;
mod inflight;
mod metadata;
mod named;
mod names;
mod offsets;
mod produce;
mod reads;
mod records;
mod requests;
mod rows;
mod sasl;
mod secret;
mod share_fetch;
mod table;
mod tags;
mod tap;
#[cfg(test)]
mod testing;
mod topics;
mod transactions;
mod whole;
mod wire;

pub use api::Api;
pub use facts::{DataOff, Fact, Facts, Item, Off};
pub use guard::Guard;
pub use table::{APIS, by_key};
pub use tap::Tap;
pub use topics::Topics;
