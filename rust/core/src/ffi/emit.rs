//! The hot call of each action, and what leads from it into safe code.

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use auditring_event::record::{self, CAUSE_SESSION, Head, STATUS};
use auditring_event::{ActionSpec, Category, Kind, Origin, spec_at};
use auditring_ring::Kind as Edge;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::attached;
use super::draft::{Action, Draft, Seen, each_field, keywords, positional};
use super::inside::Inside;
use super::swap::Blob;
use super::types::{arc_of, state_of};
use crate::handle::Handle;
use crate::methods;
use crate::shared::{GATE_OFF, GATE_OPEN};
use crate::slow::{self, Call};

/// Actions that the fast path writes: those that come with every request. Administration is rare and goes the other way;
/// the success of an authentication changes the session's context first; the ends of a session have methods of their own.
const fn is_fast(spec: &ActionSpec) -> bool {
    spec.emit && matches!(spec.category, Category::Authorization | Category::Data | Category::Request)
}

/// Who starts an event of this action.
#[inline(always)]
fn origin<const A: usize>(context: &Blob, seen: Seen) -> Origin {
    let spec = Action::<A>::SPEC;
    match spec.origin {
        Origin::Client if matches!(spec.category, Category::Authorization) => context.attempts,
        Origin::Client => context.origin,
        _ if seen.presence & Action::<A>::FILTER != 0 => Origin::Filter,
        origin => origin,
    }
}

/// Claims, writes and commits; `false` when there is no room or no context, with nothing changed.
#[inline(always)]
fn put<const A: usize>(handle: &Handle, draft: &Draft, seen: Seen) -> bool {
    // SAFETY: called by the interpreter, attached; nothing here lets go of it or runs Python.
    let Some(context) = (unsafe { handle.current.get() }) else { return false };
    let Some(hot) = handle.lane.get() else {
        handle.count(Action::<A>::SPEC.code, Action::<A>::SPEC.outcome, Edge::Off);
        return true;
    };
    let spec = Action::<A>::SPEC;
    let authority = if spec.authority.is_some() { spec.authority } else { context.authority };
    let Seen { mut presence, mut body } = seen;
    if let Some(status) = Action::<A>::STATUS {
        presence |= STATUS;
        body += 2 + status.len();
    }
    // What is not the client's own names the session whose request was the cause.
    let cause = if matches!(spec.origin, Origin::Client) { None } else { handle.session_id() };
    if let Some(session) = cause {
        presence |= CAUSE_SESSION;
        body += 2 + session.len();
    }
    let head = Head {
        stamp: handle.shared.clock.stamp(),
        presence,
        code: spec.code,
        bits: record::bits(spec.outcome, authority, origin::<A>(&context, seen)),
        flags: 0,
        context_id: context.id,
        context_len: context.len,
        body_len: body as u32,
    };
    let length = record::HEAD + context.bytes.len() + record::padded(body);
    let Ok(mut claim) = hot.lane().claim(length, Action::<A>::DROPPABLE) else { return false };
    let record = claim.as_mut_ptr();
    // SAFETY: `length` bytes are claimed at `record`, 8-aligned. The head takes 32, the context its padded length, and
    // the body what was counted while its fields were read: 8 bytes a number, 2 and its length a string.
    unsafe {
        for (at, word) in head.words().into_iter().enumerate() {
            record.cast::<u64>().add(at).write(word.to_le());
        }
        ptr::copy_nonoverlapping(context.bytes.as_ptr(), record.add(record::HEAD), context.bytes.len());
        let mut at = record.add(record::HEAD + context.bytes.len());
        // Most calls give the first few fields: behind the last one that is there nothing is asked any more.
        'ints: {
            each_field!(N => {
                if N < Action::<A>::FIELDS {
                    if seen.presence >> N == 0 {
                        break 'ints;
                    }
                    if matches!(Action::<A>::SPEC.fields[N].kind, Kind::Int) && seen.presence & (1 << N) != 0 {
                        at.cast::<i64>().write_unaligned(draft.ints[N].assume_init().to_le());
                        at = at.add(8);
                    }
                }
            });
        }
        'strs: {
            each_field!(N => {
                if N < Action::<A>::FIELDS {
                    if seen.presence >> N == 0 {
                        break 'strs;
                    }
                    if matches!(Action::<A>::SPEC.fields[N].kind, Kind::Str) && seen.presence & (1 << N) != 0 {
                        let (text, len) = draft.strs[N].assume_init();
                        at = string(at, text, len);
                    }
                }
            });
        }
        if let Some(status) = Action::<A>::STATUS {
            at = string(at, status.as_ptr(), status.len());
        }
        if let Some(session) = cause {
            string(at, session.as_ptr(), session.len());
        }
    }
    claim.commit();
    true
}

/// Writes one string of a body and returns where the next begins.
///
/// # Safety
/// `len` bytes must be readable at `text` and `2 + len` writable at `at`.
#[inline(always)]
pub(super) unsafe fn string(at: *mut u8, text: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's promise; a record of our own and an argument never overlap.
    unsafe {
        at.cast::<u16>().write_unaligned((len as u16).to_le());
        let to = at.add(2);
        // Names are short: two words that overlap cost less than a call.
        if (8..=16).contains(&len) {
            let (first, last) = (text.cast::<u64>().read_unaligned(), text.add(len - 8).cast::<u64>().read_unaligned());
            to.cast::<u64>().write_unaligned(first);
            to.add(len - 8).cast::<u64>().write_unaligned(last);
        } else if (4..8).contains(&len) {
            let (first, last) = (text.cast::<u32>().read_unaligned(), text.add(len - 4).cast::<u32>().read_unaligned());
            to.cast::<u32>().write_unaligned(first);
            to.add(len - 4).cast::<u32>().write_unaligned(last);
        } else {
            ptr::copy_nonoverlapping(text, to, len);
        }
        to.add(len)
    }
}

/// `session.read(…)` and its like, of whichever handle.
///
/// # Safety
/// Called by the interpreter with an instance of one of the types and its own argument vector.
pub(super) unsafe extern "C" fn emit<const A: usize>(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the method belongs to the type, so `slf` is an instance, alive for the call.
    let handle = unsafe { state_of(slf) };
    let spec = Action::<A>::SPEC;
    let inside = Inside::known();
    let mut gate = handle.shared.gate(spec.code, spec.outcome);
    if const { is_fast(spec_at(A)) } && !(names.is_null() && gate != GATE_OPEN) {
        let mut draft = Draft::new();
        let given = given as usize;
        // SAFETY: the interpreter's vector: `given` positional values, then one for each name.
        let read = unsafe {
            match positional::<A>(inside, args, given, &mut draft) {
                Some(seen) if !names.is_null() => keywords(inside, A, given, args.add(given), names, &mut draft, seen),
                seen => seen,
            }
        };
        if let Some(seen) = read {
            if gate == GATE_OPEN
                && seen.presence & Action::<A>::REQUIRED == Action::<A>::REQUIRED
                && put::<A>(handle, &draft, seen)
            {
                return inside.none();
            }
        } else if gate == GATE_OFF {
            // Not plain fields: a status or an outcome may be among them, so the slow path decides.
            gate = GATE_OPEN;
        }
    }
    // What is off needs an open handle all the same: the slow path says which is not.
    if gate == GATE_OFF && handle.current.is_set() {
        handle.count(spec.code, spec.outcome, Edge::Off);
        return inside.none();
    }
    // SAFETY: as above.
    unsafe { slow_call(args, given, names, |call| slow::emit(handle, spec, call)) }
}

pub(super) fn none() -> *mut PyObject {
    Inside::known().none()
}

/// Runs a safe body over the arguments, with its error raised.
///
/// # Safety
/// `args` and `names` must be the interpreter's vector.
#[cold]
pub(super) unsafe fn slow_call(
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
    body: impl FnOnce(&Call<'_>) -> PyResult<Py<PyAny>>,
) -> *mut PyObject {
    // SAFETY: called by the interpreter with its own vector.
    let done = unsafe { attached(|py| slow_body(py, args, given, names, body)) };
    done.unwrap_or(ptr::null_mut())
}

/// # Safety
/// As for [`slow_call`].
unsafe fn slow_body(
    py: Python<'_>,
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
    body: impl FnOnce(&Call<'_>) -> PyResult<Py<PyAny>>,
) -> *mut PyObject {
    let guarded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: null, or a tuple that lives as long as the call.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) }.and_then(|n| n.cast_into::<PyTuple>().ok());
        let total = given as usize + names.as_ref().map_or(0, PyTupleMethods::len);
        // SAFETY: `total` live objects.
        let values = (0..total).map(|i| unsafe { Bound::from_borrowed_ptr(py, *args.add(i)) }).collect();
        body(&Call { py, values, given: given as usize, names })
    }));
    match guarded {
        Ok(Ok(value)) => value.into_ptr(),
        Ok(Err(error)) => {
            error.restore(py);
            ptr::null_mut()
        }
        Err(_) => {
            PyRuntimeError::new_err("auditring: internal error in a slow call; nothing was recorded by it").restore(py);
            ptr::null_mut()
        }
    }
}

/// A method that is not an action's: `close`, `update`, `emit`, `__enter__` …
///
/// # Safety
/// Called by the interpreter with an instance of one of the types.
pub(super) unsafe extern "C" fn other<const M: usize>(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as for `emit`.
    let handle: ManuallyDrop<Arc<Handle>> = unsafe { arc_of(slf) };
    // SAFETY: as for `emit`; `slf` is alive for the call.
    unsafe {
        slow_call(args, given, names, |call| {
            let this = Bound::from_borrowed_ptr(call.py, slf);
            (methods::METHODS[M].run)(&handle, this, call)
        })
    }
}
