//! What an int and a str of `CPython` look like inside, read in place where that is known.
//!
//! The stable ABI has a function for each value, and five such calls are a third of a hot call. In the versions named here
//! an int of up to two digits and a compact ASCII str lie the same way in every build with a GIL, so they are read as the
//! interpreter's own macros read them, and all other values by the stable ABI's functions.
//!
//! What must always hold: nothing is read in place unless the running interpreter's version is one of those, and what is
//! read so from values made at import was the same as what its functions say of them; where either fails every value goes
//! by the functions, which costs time and nothing else. What is read lies within every object of its exact type.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

/// How values lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Inside(u8);

/// As `probe` found it.
static KNOWN: AtomicU8 = AtomicU8::new(Inside::UNKNOWN.0);

/// Words of an object before what is its type's own: the count of its references, and its type.
const HEAD: usize = 2;
/// Bits of a digit of an int (`PyLong_SHIFT`; `sys.int_info.bits_per_digit`).
const SHIFT: u32 = 30;
/// Where the digits of an int begin, in 32-bit units: behind the head and its size.
const DIGITS: usize = 2 * (HEAD + 1);
/// Where the state of a str lies, in 32-bit units: behind the head, its length and its hash.
const STATE: usize = 2 * (HEAD + 2);
/// Bits of the state (`PyASCIIObject.state`: interned 2, kind 3, compact, ascii; in 3.11 ready).
const COMPACT_ASCII: u32 = 0b0110_0000;
const READY: u32 = 0b1000_0000;

impl Inside {
    /// Every value goes by the interpreter's functions.
    const UNKNOWN: Self = Self(0);
    /// 3.11: an int has a signed size; a str a pointer before its characters; None is counted.
    const COUNTED: Self = Self(1);
    /// 3.12 to 3.14: an int's size is beside its sign (`lv_tag`); None is immortal.
    const TAGGED: Self = Self(2);

    #[inline(always)]
    pub(super) fn known() -> Self {
        // What it says is the same from import on.
        Self(KNOWN.load(Ordering::Relaxed))
    }

    fn of_version(version: (u8, u8)) -> Self {
        // Without a GIL objects have another head; elsewhere the order of the halves or the size of a word is another.
        if cfg!(any(Py_GIL_DISABLED, not(target_pointer_width = "64"), not(target_endian = "little"))) {
            return Self::UNKNOWN;
        }
        match version {
            (3, 11) => Self::COUNTED,
            (3, 12..=14) => Self::TAGGED,
            _ => Self::UNKNOWN,
        }
    }

    /// The value of an int of at most two digits that is not negative.
    ///
    /// # Safety
    /// `int` must be alive and of exactly the type int, and `self` how values lie.
    #[inline(always)]
    unsafe fn small(self, int: *mut PyObject) -> Option<i64> {
        // SAFETY: an int has a size of a word behind its head.
        let size = unsafe { int.cast::<u64>().add(HEAD).read() };
        let digits = match self {
            // A negative size is a great one here.
            Self::COUNTED => size,
            // Two bits of sign (0 positive, 1 zero, 2 negative), one that is the interpreter's.
            Self::TAGGED if size & 0b10 == 0 => size >> 3,
            _ => return None,
        };
        // SAFETY: it has as many digits as it says.
        unsafe {
            let digit = |at: usize| i64::from(int.cast::<u32>().add(DIGITS + at).read());
            match digits {
                1 => Some(digit(0)),
                2 => Some(digit(0) | digit(1) << SHIFT),
                0 => Some(0),
                _ => None,
            }
        }
    }

    /// The characters of a compact ASCII str, which are its UTF-8.
    ///
    /// # Safety
    /// `object` must be alive, and `self` how values lie.
    #[inline(always)]
    unsafe fn ascii(self, object: *mut PyObject) -> Option<(*const u8, usize)> {
        let (wanted, data) = match self {
            Self::COUNTED => (COMPACT_ASCII | READY, 48),
            Self::TAGGED => (COMPACT_ASCII, 40),
            _ => return None,
        };
        // SAFETY: `object` is alive; a str of whatever form has a length, a hash and a state behind its head, and the
        // characters of a compact ASCII one begin right behind the rest of those fields.
        unsafe {
            if !ptr::eq(ffi::Py_TYPE(object), &raw const ffi::PyUnicode_Type)
                || object.cast::<u32>().add(STATE).read() & wanted != wanted
            {
                return None;
            }
            let len = object.cast::<usize>().add(HEAD).read();
            Some((object.cast::<u8>().add(data), len))
        }
    }

    /// The value of an exact int; none of one that an `i64` cannot hold. Runs no Python and leaves no exception.
    ///
    /// # Safety
    /// `int` must be alive and of exactly the type int, and the interpreter attached.
    #[inline(always)]
    pub(super) unsafe fn int(self, int: *mut PyObject) -> Option<i64> {
        if self != Self::UNKNOWN {
            // SAFETY: the caller's promise; `known` is how values lie.
            if let Some(value) = unsafe { self.small(int) } {
                return Some(value);
            }
        }
        let mut overflow: c_int = 0;
        // SAFETY: an exact int; runs no Python and sets no exception for one.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(int, &raw mut overflow) };
        (overflow == 0).then_some(value)
    }

    /// The UTF-8 of a str, which lives as long as it; none of anything else, and of a str that has none (a lone surrogate).
    ///
    /// # Safety
    /// `object` must be alive, and the interpreter attached.
    #[inline(always)]
    pub(super) unsafe fn utf8(self, object: *mut PyObject) -> Option<(*const u8, usize)> {
        // SAFETY: the caller's promise; `known` is how values lie.
        if let Some(text) = unsafe { self.ascii(object) } {
            return Some(text);
        }
        let mut len: Py_ssize_t = 0;
        // SAFETY: `object` is alive; anything but a str gives null and an exception.
        let text = unsafe { ffi::PyUnicode_AsUTF8AndSize(object, &raw mut len) }.cast::<u8>();
        if text.is_null() {
            // SAFETY: the interpreter is attached.
            unsafe { ffi::PyErr_Clear() };
            return None;
        }
        Some((text, len as usize))
    }

    /// A new reference to None, which the caller owns.
    #[inline(always)]
    pub(super) fn none(self) -> *mut PyObject {
        // SAFETY: None lives for ever. Where it is counted its count is the first word of it, and the GIL, which every
        // call by the interpreter has, orders those who change it; where it is immortal nobody counts.
        unsafe {
            let none = ffi::Py_None();
            match self {
                Self::TAGGED => none,
                Self::COUNTED => {
                    let count = none.cast::<Py_ssize_t>();
                    count.write(count.read() + 1);
                    none
                }
                _ => ffi::Py_NewRef(none),
            }
        }
    }
}

/// Ints on both sides of every limit that reading in place knows.
const INTS: [i64; 22] = [
    0,
    1,
    2,
    -1,
    -5,
    -6,
    255,
    256,
    257,
    1_000,
    -1_000,
    (1 << 30) - 1,
    1 << 30,
    (1 << 30) + 1,
    -(1 << 30),
    (1 << 59) + 12_345,
    (1 << 60) - 1,
    1 << 60,
    -(1 << 60),
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
];
/// Strings of every kind that one can be of.
const TEXTS: [&str; 9] =
    ["", "a", "orders", "a text that is longer than any buffer of a word or of two", "é", "naïve", "Ω", "€ 5", "🦀"];

/// Looks once, at import, whether values lie as they do in the versions that are known.
pub(super) fn probe(py: Python<'_>) {
    let version = py.version_info();
    let inside = Inside::of_version((version.major, version.minor));
    let found = if inside != Inside::UNKNOWN && agrees(py, inside) { inside } else { Inside::UNKNOWN };
    KNOWN.store(found.0, Ordering::Relaxed);
}

/// Whether what is read in place is what the interpreter's functions say, and whether it is read in place at all where
/// it should be.
fn agrees(py: Python<'_>, inside: Inside) -> bool {
    let bits = py.import("sys").and_then(|sys| sys.getattr("int_info")?.getattr("bits_per_digit")?.extract::<u32>());
    if !bits.is_ok_and(|bits| bits == SHIFT) {
        return false;
    }
    let ints = INTS.iter().all(|value| {
        let int = PyInt::new(py, *value);
        // SAFETY: a new int, alive here, attached.
        let (read, said) = unsafe { (inside.small(int.as_ptr()), Inside::UNKNOWN.int(int.as_ptr())) };
        said == Some(*value) && read == (0..1 << (2 * SHIFT)).contains(value).then_some(*value)
    });
    let texts = TEXTS.iter().all(|text| {
        // As made now, and as the interpreter keeps the one of its own.
        [PyString::new(py, text), PyString::intern(py, text)].iter().all(|made| {
            // SAFETY: a str, alive here.
            let read = unsafe { inside.ascii(made.as_ptr()) };
            // SAFETY: no more bytes than the text has.
            let read = read.map(|(at, len)| (unsafe { std::slice::from_raw_parts(at, len.min(text.len())) }, len));
            read == text.is_ascii().then_some((text.as_bytes(), text.len()))
        })
    });
    // SAFETY: alive, attached: no str at all.
    ints && texts && unsafe { inside.ascii(PyInt::new(py, 7).as_ptr()) }.is_none()
}
