//! Bytes of Python's, looked at in place.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

/// Any contiguous buffer of bytes, kept where it is for as long as this lives.
pub(crate) struct View(PyBuffer<u8>);

impl View {
    /// Raises `TypeError` for what is no contiguous buffer of bytes.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let complaint = |_| {
            let kind = object.get_type();
            PyTypeError::new_err(format!("data is of type {kind}: a contiguous buffer of bytes is needed"))
        };
        let buffer = PyBuffer::get(object).map_err(complaint)?;
        if buffer.is_c_contiguous() { Ok(Self(buffer)) } else { Err(complaint(PyTypeError::new_err(()))) }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len_bytes()
    }

    /// Shows what lies from `at` on. Nothing may be kept of it: another thread may write to a mutable buffer as soon as
    /// the GIL is let go.
    pub(crate) fn show<R>(&self, _: Python<'_>, at: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        let len = self.len();
        if len == 0 {
            return look(&[]);
        }
        // SAFETY: the buffer is contiguous and holds `len` bytes for as long as `self` lives; an exporter neither moves nor
        // frees them meanwhile. `look` has no interpreter at hand, so the GIL stays with this thread, and no Python runs
        // that could write to them.
        let bytes = unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), len) };
        look(&bytes[at.min(len)..])
    }
}
