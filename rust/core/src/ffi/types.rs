//! The handles as Python types, made from the catalog: which methods each has, and what an instance holds.
//!
//! All types share one layout and the same functions, so an event costs the same by whichever handle it is emitted.

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, OnceLock};

use auditring_event::ACTIONS;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use super::emit::{emit, none, other};
use super::{attached, draft, inside};
use crate::handle::{Handle, PROPERTIES};
use crate::methods::{METHODS, TYPES};
use crate::slow;

/// One handle object.
#[repr(C)]
struct Instance {
    base: PyObject,
    /// A reference of its own (`Arc::into_raw`).
    state: *const Handle,
    /// The session object that the handle belongs to: it ends when nobody holds it. A reference of its own, or null.
    owner: *mut PyObject,
}

/// # Safety
/// `slf` must be an instance of one of the types, alive for `'a`.
#[inline(always)]
pub(super) unsafe fn state_of<'a>(slf: *mut PyObject) -> &'a Handle {
    // SAFETY: `state` is set before an instance is handed out and dropped with it.
    unsafe { &*(*slf.cast::<Instance>()).state }
}

/// # Safety
/// `slf` must be an instance of one of the types, alive for as long as what is returned.
pub(super) unsafe fn arc_of(slf: *mut PyObject) -> ManuallyDrop<Arc<Handle>> {
    // SAFETY: `state` comes from `Arc::into_raw`, and the instance keeps its reference: this one is never dropped.
    ManuallyDrop::new(unsafe { Arc::from_raw((*slf.cast::<Instance>()).state) })
}

/// Whether the object is an instance of one of the types.
#[inline(always)]
pub(super) fn is_handle(object: *mut PyObject) -> bool {
    // SAFETY: an object that the interpreter handed in.
    let kind = unsafe { ffi::Py_TYPE(object) } as usize;
    MADE.get().is_some_and(|made| made.contains(&kind))
}

/// The handle behind an object, if it is one.
pub(crate) fn handle_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Handle> {
    // SAFETY: an instance, which lives as long as the reference to it.
    is_handle(object.as_ptr()).then(|| unsafe { state_of(object.as_ptr()) })
}

/// The handle behind an object, to be kept, if it is one.
pub(crate) fn shared_handle_of(object: &Bound<'_, PyAny>) -> Option<Arc<Handle>> {
    // SAFETY: an instance, which the reference to it keeps alive while its own reference is counted once more.
    is_handle(object.as_ptr()).then(|| unsafe { Arc::clone(&arc_of(object.as_ptr())) })
}

/// # Safety
/// Called by the interpreter on an instance whose last reference has gone.
unsafe extern "C" fn dealloc(slf: *mut PyObject) {
    // SAFETY: the last reference: nobody else looks at the instance. A heap type's instance holds a reference to it.
    unsafe {
        let kind = ffi::Py_TYPE(slf);
        let Instance { state, owner, .. } = *slf.cast::<Instance>();
        if !state.is_null() {
            _ = attached(|py| Arc::from_raw(state).abandon(py));
        }
        ffi::Py_XDECREF(owner);
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// # Safety
/// Called by the interpreter: the types themselves make no instances.
unsafe extern "C" fn refuse(_: *mut ffi::PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    let why = "a session is made by AuditLog.session(…), other handles by a session or the log";
    // SAFETY: called by the interpreter.
    _ = unsafe { attached(|py| PyTypeError::new_err(why).restore(py)) };
    ptr::null_mut()
}

/// # Safety
/// Called by the interpreter with an instance; the closure is a property's position.
unsafe extern "C" fn get(slf: *mut PyObject, closure: *mut c_void) -> *mut PyObject {
    let Some(property) = PROPERTIES.get(closure as usize) else { return none() };
    // SAFETY: an instance, alive for the call; called by the interpreter.
    let value = unsafe { attached(|py| (property.get)(state_of(slf), py).into_ptr()) };
    value.unwrap_or_else(none)
}

/// The types, in the order of `TYPES`, made once a process.
static MADE: OnceLock<[usize; TYPES.len()]> = OnceLock::new();

/// Makes an instance around a handle; `owner` lives as long as it.
pub(crate) fn instance(py: Python<'_>, handle: Arc<Handle>, owner: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    let made = MADE.get().ok_or_else(|| PyRuntimeError::new_err("auditring._core is not initialised"))?;
    let kind = made[handle.kind()];
    // SAFETY: `kind` is a type object made by `make`, which is never freed; a new instance of it has room for an
    // `Instance`, whose parts are set before anybody sees it.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(kind as *mut ffi::PyTypeObject, 0);
        if slf.is_null() {
            return Err(PyErr::fetch(py));
        }
        let instance = slf.cast::<Instance>();
        (*instance).owner = owner.map_or(ptr::null_mut(), |owner| owner.clone().into_ptr());
        (*instance).state = Arc::into_raw(handle);
        Ok(Bound::from_owned_ptr(py, slf).unbind())
    }
}

/// A C string that lives for ever: method tables are kept by the interpreter.
pub(super) fn forever(text: &str) -> *const c_char {
    CString::new(text.replace('\0', "")).unwrap_or_default().into_raw()
}

pub(super) type FastCall =
    unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, Py_ssize_t, *mut PyObject) -> *mut PyObject;

fn method(name: &str, doc: &str, function: FastCall) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: forever(name),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: forever(doc),
    }
}

/// The functions by position in the catalog: one instance of the hot call for each.
const EMITS: [FastCall; 64] = {
    macro_rules! table { ($($i:literal)*) => { [$(emit::<{ if $i < ACTIONS.len() { $i } else { 0 } }>),*] } }
    assert!(ACTIONS.len() <= 64);
    table!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63)
};

/// The functions by position in `METHODS`.
const OTHERS: [FastCall; METHODS.len()] =
    [other::<0>, other::<1>, other::<2>, other::<3>, other::<4>, other::<5>, other::<6>];

/// A type and its name.
pub(crate) type Made<'py> = (&'static str, Bound<'py, PyAny>);

/// Makes the types from the catalog.
pub(crate) fn make(py: Python<'_>) -> PyResult<Vec<Made<'_>>> {
    draft::intern(py);
    inside::probe(py);
    let mut all = Vec::new();
    for (position, kind) in TYPES.iter().enumerate() {
        all.push((kind.name, one(py, position)?));
    }
    let mut addresses = [0; TYPES.len()];
    for (address, (_, made)) in addresses.iter_mut().zip(&all) {
        *address = made.clone().into_ptr() as usize;
    }
    MADE.get_or_init(|| addresses);
    Ok(all)
}

fn one(py: Python<'_>, position: usize) -> PyResult<Bound<'_, PyAny>> {
    let kind = &TYPES[position];
    let mut methods: Vec<ffi::PyMethodDef> = ACTIONS
        .iter()
        .enumerate()
        .filter(|(_, spec)| (kind.has)(spec))
        .map(|(at, spec)| method(spec.method, &slow::docstring(spec), EMITS[at]))
        .collect();
    let others = METHODS.iter().zip(OTHERS).filter(|(other, _)| kind.others.contains(&other.name));
    methods.extend(others.map(|(other, function)| method(other.name, other.doc, function)));
    methods.push(ffi::PyMethodDef::zeroed());
    let mut properties: Vec<_> = PROPERTIES
        .iter()
        .enumerate()
        .filter(|(_, property)| kind.properties.contains(&property.name))
        .map(|(at, property)| ffi::PyGetSetDef {
            name: forever(property.name),
            get: Some(get),
            set: None,
            doc: forever(property.doc),
            closure: ptr::without_provenance_mut(at),
        })
        .collect();
    properties.push(ffi::PyGetSetDef::default());
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_new, refuse as *mut c_void),
        slot(ffi::Py_tp_methods, methods.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, properties.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_doc, forever(kind.doc).cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: forever(&format!("auditring._core.{}", kind.name)),
        basicsize: size_of::<Instance>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the tables live for ever, the spec as long as the call; the new reference is owned by what is returned.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
}
