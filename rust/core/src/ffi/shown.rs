//! `Tap.from_client` and `Tap.from_broker`: what a proxy calls for every chunk of every connection.
//!
//! As `#[pymethods]` the way in and out is a third of what such a call costs, and more where the caches are cold, as they are
//! between two chunks of a socket. What must always hold: nothing here lets go of an object; an error's leftovers alone wait
//! in `PyO3`'s pool, until a thread is attached next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::{Borrowed, PyTypeInfo};

use super::emit::none;
use super::types::forever;
use crate::kafka::{Side, Tap};

/// Gives the type its two methods.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let kind = Tap::type_object(py);
    let methods: [(_, _, ffi::PyCFunction); 2] = [
        ("from_client", "from_client($self, data, /)\n--\n\nBytes that the client sent.", from_client),
        ("from_broker", "from_broker($self, data, /)\n--\n\nBytes that the broker answered.", from_broker),
    ];
    for (name, doc, function) in methods {
        let method = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: forever(name),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
            ml_flags: ffi::METH_O,
            ml_doc: forever(doc),
        }));
        // SAFETY: a type, and a table entry that lives for ever; the new reference is owned by what is returned.
        let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(kind.as_type_ptr(), method)) }?;
        kind.setattr(name, made)?;
    }
    Ok(())
}

/// # Safety
/// Called by the interpreter with an instance of the type.
unsafe extern "C" fn from_client(slf: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { shown(slf, data, Side::Client) }
}

/// # Safety
/// Called by the interpreter with an instance of the type.
unsafe extern "C" fn from_broker(slf: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { shown(slf, data, Side::Broker) }
}

/// # Safety
/// Called by the interpreter, whose descriptor has made sure that `slf` is a `Tap`.
#[inline(always)]
unsafe fn shown(slf: *mut PyObject, data: *mut PyObject, side: Side) -> *mut PyObject {
    // SAFETY: called by the interpreter, so this thread is attached; both objects live as long as the call.
    let (py, tap, data) = unsafe {
        let py = Python::assume_attached();
        (py, Borrowed::from_ptr(py, slf), Borrowed::from_ptr(py, data))
    };
    // SAFETY: the caller's promise.
    let tap = unsafe { tap.cast_unchecked::<Tap>() };
    match catch_unwind(AssertUnwindSafe(|| tap.get().show(py, side, &data))) {
        Ok(Ok(())) => none(),
        Ok(Err(error)) => failed(py, error),
        Err(_) => {
            failed(py, PyRuntimeError::new_err("auditring: internal error in a tap; the chunk was looked at in part"))
        }
    }
}

#[cold]
fn failed(py: Python<'_>, error: PyErr) -> *mut PyObject {
    error.restore(py);
    ptr::null_mut()
}
