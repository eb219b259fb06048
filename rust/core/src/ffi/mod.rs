//! The hot call: handles as raw heap types whose methods are `METH_FASTCALL | METH_KEYWORDS`.
//!
//! Owns the types, their instances and every unsafe block of this crate. `PyO3`'s argument extraction costs more than the
//! whole call (45.7 ns against 25.6), so the arguments of the common call are read here by the raw C API: exact `int`,
//! and `str` whose UTF-8 is at hand. Everything else (subclasses, odd values, statuses, a full ring, a mistake) is read
//! again from the start by [`crate::slow`], which is safe code and raises.
//!
//! What must always hold: between claim and commit nothing can run Python, allocate, panic or block; the bytes copied
//! there belong to arguments that the caller holds, or to a context that is kept in force meanwhile, by the GIL or without
//! one by a count of its readers; and whatever the fast path does not understand it leaves untouched and unclaimed.
#![allow(unsafe_code, reason = "the raw C API; every block says why it holds")]
#![allow(clippy::inline_always, reason = "the hot call is one function, worked out for each action")]
#![allow(
    clippy::absurd_extreme_comparisons,
    reason = "a field's number is a constant here, and for the first one it is 0"
)]
#![allow(clippy::cast_ptr_alignment, reason = "a claim is 8-aligned; what lies behind the head is written unaligned")]

mod declared;
mod draft;
mod emit;
mod inside;
mod shown;
mod swap;
mod types;
mod view;

use pyo3::Python;

pub(crate) use declared::callable;
pub(crate) use shown::install as install_shown;
pub(crate) use swap::{Blob, Current, Hot, HotLane, Swap};
pub(crate) use types::{handle_of, instance, make, shared_handle_of};
pub(crate) use view::View;

/// Runs a body with the interpreter attached by `PyO3`'s own account, not merely assumed to be: only then does it know
/// that it may let go of objects at once, instead of putting them into a pool that nobody empties.
///
/// # Safety
/// The thread must be attached, as in every call by the interpreter.
unsafe fn attached<R>(body: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let mut body = Some(body);
    if let Some(done) = Python::try_attach(|py| body.take().map(|body| body(py))).flatten() {
        return Some(done);
    }
    // The interpreter ends: it takes no new account, but it is attached all the same.
    // SAFETY: the caller's promise.
    body.map(|body| body(unsafe { Python::assume_attached() }))
}
