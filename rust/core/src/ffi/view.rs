//! Bytes of Python's, looked at in place.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Any contiguous buffer of bytes, kept where it is for as long as this lives.
pub(crate) enum View<'a> {
    /// What sockets give. Asking such an object for its buffer would cost more than a tap's look at most chunks.
    Bytes(&'a [u8]),
    Buffer(PyBuffer<u8>),
    /// A buffer that another thread may write to at any time, as it was at one.
    Copy(Vec<u8>),
}

impl<'a> View<'a> {
    /// Raises `TypeError` for what is no contiguous buffer of bytes.
    #[inline]
    pub(crate) fn of(object: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        match object.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes.as_bytes())),
            Err(_) => Self::buffer(object),
        }
    }

    fn buffer(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let complaint = |_| {
            let kind = object.get_type();
            PyTypeError::new_err(format!("data is of type {kind}: a contiguous buffer of bytes is needed"))
        };
        let buffer = PyBuffer::get(object).map_err(complaint)?;
        if !buffer.is_c_contiguous() {
            return Err(complaint(PyTypeError::new_err(())));
        }
        // Without a GIL nobody keeps others from writing while the bytes are looked at: the interpreter copies them.
        if cfg!(Py_GIL_DISABLED) {
            return buffer.to_vec(object.py()).map(Self::Copy);
        }
        Ok(Self::Buffer(buffer))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Buffer(buffer) => buffer.len_bytes(),
            Self::Copy(bytes) => bytes.len(),
        }
    }

    /// Shows what lies from `at` on. Nothing may be kept of it: another thread may write to a mutable buffer as soon as
    /// the GIL is let go.
    #[inline]
    pub(crate) fn show<R>(&self, _: Python<'_>, at: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        let bytes = match self {
            Self::Bytes(bytes) => *bytes,
            Self::Copy(bytes) => bytes,
            Self::Buffer(buffer) if buffer.len_bytes() == 0 => &[],
            // SAFETY: the buffer is contiguous and holds `len_bytes` bytes for as long as `self` lives; an exporter neither
            // moves nor frees them meanwhile. `look` has no interpreter at hand, so the GIL stays with this thread, and no
            // Python runs that could write to them.
            Self::Buffer(buffer) => unsafe {
                std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
            },
        };
        look(&bytes[at.min(bytes.len())..])
    }
}
