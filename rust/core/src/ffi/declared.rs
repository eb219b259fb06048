//! The callable of a declared event: a builtin of its own, as fast as a method of the catalog's.
//!
//! A builtin over `METH_FASTCALL | METH_KEYWORDS` keeps vectorcall under the limited API, which a callable object of a heap
//! type does not; what it is bound to is an object that holds the declaration.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use auditring_event::Origin;
use auditring_event::definition::DECLARED_CAP;
use auditring_event::record::{self, CAUSE_SESSION, Head, STATUS};
use auditring_ring::Kind as Edge;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::attached;
use super::draft::{Draft, Seen, each_field, take_text};
use super::emit::{none, slow_call, string};
use super::inside::Inside;
use super::types::{is_handle, state_of};
use crate::declare::Declaration;
use crate::handle::{Handle, Role};
use crate::shared::GATE_OPEN;

/// What the builtin is bound to.
#[repr(C)]
struct Instance {
    base: PyObject,
    /// Owned (`Box::into_raw`).
    event: *mut Event,
}

struct Event {
    declaration: Declaration,
    fields: usize,
    /// The fields' interned names: keywords come as the same objects.
    names: Vec<Py<PyString>>,
    /// The builtin's own, which lives as long as what it is bound to.
    method: ffi::PyMethodDef,
    _texts: [CString; 2],
}

/// Claims, writes and commits; `false` when anything is not as usual, with nothing changed.
#[inline(always)]
fn put(event: &Event, handle: &Handle, draft: &Draft, seen: Seen) -> bool {
    let declaration = &event.declaration;
    // SAFETY: called by the interpreter, attached; nothing here lets go of it or runs Python.
    let (Some(context), Some(bound)) = (unsafe { handle.current.get() }, declaration.bound.get()) else { return false };
    if !bound.is_of(&handle.shared) {
        return false;
    }
    let (code, outcome) = (bound.code, declaration.definition.outcome);
    if handle.shared.gate(code, outcome) != GATE_OPEN {
        return false;
    }
    // A plugin's names are looked at.
    if let Role::Plugin(plugin) = &handle.role
        && !plugin.owns(&declaration.definition.name)
    {
        return false;
    }
    let Some(hot) = handle.lane.get() else {
        handle.count(code, outcome, Edge::Off);
        return true;
    };
    let Seen { mut presence, mut body } = seen;
    if let Some(status) = declaration.status {
        presence |= STATUS;
        body += 2 + status.len();
    }
    let cause = if context.origin == Origin::Client { None } else { handle.session_id() };
    if let Some(session) = cause {
        presence |= CAUSE_SESSION;
        body += 2 + session.len();
    }
    let head = Head {
        stamp: handle.shared.clock.stamp(),
        presence,
        code,
        bits: record::bits(outcome, context.authority, context.origin),
        flags: 0,
        context_id: context.id,
        context_len: context.len,
        body_len: body as u32,
    };
    let length = record::HEAD + context.bytes.len() + record::padded(body);
    let Ok(mut claim) = hot.lane().claim(length, declaration.droppable) else { return false };
    let record = claim.as_mut_ptr();
    // SAFETY: `length` bytes are claimed at `record`, 8-aligned. The head takes 32, the context its padded length, and
    // the body what was counted: 2 and its length a string.
    unsafe {
        for (at, word) in head.words().into_iter().enumerate() {
            record.cast::<u64>().add(at).write(word.to_le());
        }
        ptr::copy_nonoverlapping(context.bytes.as_ptr(), record.add(record::HEAD), context.bytes.len());
        let mut at = record.add(record::HEAD + context.bytes.len());
        'strs: {
            each_field!(N => {
                if seen.presence >> N == 0 {
                    break 'strs;
                }
                if seen.presence & (1 << N) != 0 {
                    let (text, len) = draft.strs[N].assume_init();
                    at = string(at, text, len);
                }
            });
        }
        if let Some(status) = declaration.status {
            at = string(at, status.as_ptr(), status.len());
        }
        if let Some(session) = cause {
            string(at, session.as_ptr(), session.len());
        }
    }
    claim.commit();
    true
}

/// Reads the fields; `None` leaves it to the slow path.
///
/// # Safety
/// `args` must be the interpreter's vector: `given` live objects, then one for each name of the tuple, if there is one.
#[inline(always)]
unsafe fn read(
    event: &Event,
    args: *const *mut PyObject,
    given: usize,
    names: *mut PyObject,
    draft: &mut Draft,
) -> Option<Seen> {
    if given > event.fields + 1 {
        return None;
    }
    // SAFETY: the address of a static of the interpreter.
    let nothing = unsafe { ffi::Py_None() };
    let inside = Inside::known();
    let mut seen = Seen::NOTHING;
    let mut take = |at: usize, object: *mut PyObject, seen: Seen| {
        if ptr::eq(object, nothing) {
            return Some(seen);
        }
        // SAFETY: a live argument; `at` is below the number of fields, which is at most `MAX_FIELDS`.
        unsafe { take_text(inside, DECLARED_CAP, at, object, draft, seen) }
    };
    'positional: {
        each_field!(N => {
            if given <= N + 1 {
                break 'positional;
            }
            // SAFETY: `N + 1 < given`.
            seen = take(N, unsafe { *args.add(N + 1) }, seen)?;
        });
    }
    if names.is_null() {
        return Some(seen);
    }
    // SAFETY: `names` is a tuple.
    let count = unsafe { ffi::PyTuple_Size(names) };
    for i in 0..count {
        // SAFETY: `i` is below its size; the reference is borrowed.
        let name = unsafe { ffi::PyTuple_GetItem(names, i) };
        let at = (given - 1..event.fields).find(|at| ptr::eq(event.names[*at].as_ptr(), name))?;
        if seen.presence & (1 << at) != 0 {
            return None;
        }
        // SAFETY: there is a value for each name.
        seen = take(at, unsafe { *args.add(given + i as usize) }, seen)?;
    }
    Some(seen)
}

/// `key_used(session, …)`.
///
/// # Safety
/// Called by the interpreter with what the builtin is bound to, and its own argument vector.
unsafe extern "C" fn call(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the builtin is bound to an instance, alive for the call, whose event goes with it.
    let event = unsafe { &*(*slf.cast::<Instance>()).event };
    // SAFETY: `given` live objects.
    if given > 0 && is_handle(unsafe { *args }) {
        // SAFETY: an instance of one of the handles' types, alive for the call.
        let handle = unsafe { state_of(*args) };
        let mut draft = Draft::new();
        // SAFETY: the interpreter's vector.
        let seen = unsafe { read(event, args, given as usize, names, &mut draft) };
        if seen.is_some_and(|seen| put(event, handle, &draft, seen)) {
            return none();
        }
    }
    // SAFETY: the interpreter's vector.
    unsafe { slow_call(args, given, names, |call| event.declaration.emit(call)) }
}

/// # Safety
/// Called by the interpreter on an instance whose last reference has gone.
unsafe extern "C" fn dealloc(slf: *mut PyObject) {
    // SAFETY: the last reference: the builtin has let go of it, and does not look at its method any more. A heap type's
    // instance holds a reference to it.
    unsafe {
        let kind = ffi::Py_TYPE(slf);
        let event = (*slf.cast::<Instance>()).event;
        if !event.is_null() {
            _ = attached(|_| drop(Box::from_raw(event)));
        }
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// The type of what builtins are bound to, made once a process.
static TYPE: OnceLock<usize> = OnceLock::new();

fn bound_type(py: Python<'_>) -> PyResult<usize> {
    if let Some(kind) = TYPE.get() {
        return Ok(*kind);
    }
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [slot(ffi::Py_tp_dealloc, dealloc as *mut c_void), slot(0, ptr::null_mut())];
    let mut spec = ffi::PyType_Spec {
        name: c"auditring._core.DeclaredEvent".as_ptr(),
        basicsize: size_of::<Instance>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the name lives for ever, the spec as long as the call; the type is never freed.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))? };
    Ok(*TYPE.get_or_init(|| made.into_ptr() as usize))
}

/// Makes the callable of a declaration.
pub(crate) fn callable(py: Python<'_>, declaration: Declaration, name: &str, doc: &str) -> PyResult<Py<PyAny>> {
    let kind = bound_type(py)?;
    let c_string = |text: &str| CString::new(text).map_err(|_| PyRuntimeError::new_err("a NUL in a name"));
    let texts = [c_string(name)?, c_string(doc)?];
    let method = ffi::PyMethodDef {
        ml_name: texts[0].as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: texts[1].as_ptr(),
    };
    let names = declaration.names().map(|name| PyString::intern(py, name).unbind()).collect();
    let fields = declaration.fields();
    let event = Box::into_raw(Box::new(Event { declaration, fields, names, method, _texts: texts }));
    // SAFETY: `kind` is the type made above; a new instance of it has room for an `Instance`, whose event is set before
    // anybody sees it. The builtin holds a reference to the instance, and so its method lives as long as it.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(kind as *mut ffi::PyTypeObject, 0);
        if slf.is_null() {
            drop(Box::from_raw(event));
            return Err(PyErr::fetch(py));
        }
        (*slf.cast::<Instance>()).event = event;
        let bound = Bound::from_owned_ptr(py, slf);
        let made = ffi::PyCFunction_NewEx(&raw mut (*event).method, bound.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, made).map(Bound::unbind)
    }
}
