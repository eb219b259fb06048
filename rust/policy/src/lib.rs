//! What a log keeps, decided as a pure function of the journal.
//!
//! Owns: the journaled form of a policy, its digest, and the decision for one row. Knows fields and codes, no file, no
//! thread, no clock. What must always hold: the same policy bytes and the same row give the same decision in every
//! process and every version, so that two sinks, or one that was killed and started again, come to the same rows; and
//! nothing but a droppable Read or Write is ever left out.

mod decide;
mod first_touch;
mod policy;

pub use decide::{Decision, Row, decide};
pub use first_touch::{FirstTouch, session_hash, touch_key};
pub use policy::{Keep, Policy, PolicyError};
