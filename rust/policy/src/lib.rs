//! What a log keeps, decided as a pure function of the journal.
//!
//! Owns: the journaled form of a policy, its digest, the decision for one row, and what is redacted before there is one.
//!
//! ```text
//! JSON ─▶ Policy (rules: conditions and a keep) ─┬─▶ Chooser: by code and outcome, then by cached questions ─▶ Decision
//!                                                └─▶ explain: the same conditions, one after the other
//! ```
//!
//! Knows fields and codes, no file, no thread, no clock. What must always hold: the same policy bytes and the same row give
//! the same decision in every process and every version, so that two sinks, or one that was killed and started again, come
//! to the same rows; what is protected is kept, with weight 1, unless the policy itself says that it may be blind.

mod cache;
mod chooser;
mod explain;
mod facts;
mod first_touch;
mod merge;
mod merger;
mod pattern;
mod policy;
mod protected;
mod redact;
mod rule;
mod sample;
mod table;
mod whose;
mod window;

pub use chooser::{Chooser, Decision, Who};
pub use explain::{Explained, Judged, Why, judge, otherwise};
pub use facts::{Facts, address};
pub use first_touch::{FirstTouch, session_hash, touch_key};
pub use merger::{Closed, Event, Merger};
pub use pattern::literal;
pub use policy::{Policy, PolicyError, windows};
pub use protected::protected;
pub use redact::{Field, How, Key, LEAST_KEY, Redacted, Redaction, Redactor, compile, hashes, key_id_of, redactions};
pub use rule::{Keep, Rule};
pub use sample::By;
pub use whose::Whose;
pub use window::{Windows, next_multiple};
