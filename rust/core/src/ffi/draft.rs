//! Reads the arguments of the common call by the raw C API: exact `int`, and `str` whose UTF-8 is at hand.
//!
//! What must always hold: no Python runs here, and what is not understood leaves no exception behind and nothing claimed.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use auditring_event::{ACTIONS, ActionSpec, FieldSpec, Kind, MAX_FIELDS, droppable, spec_at};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::inside::Inside;

/// Which fields the arguments gave, and how many bytes of a body they make. By value, so that it stays in registers: a
/// bit that is set in memory is stored as a byte, and reading back the word around it stalls the processor.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) presence: u32,
    pub(super) body: usize,
}

impl Seen {
    pub(super) const NOTHING: Self = Self { presence: 0, body: 0 };

    #[inline(always)]
    const fn and(self, index: usize, bytes: usize) -> Self {
        Self { presence: self.presence | 1 << index, body: self.body + bytes }
    }
}

/// What the arguments said. Only what the presence names is written.
pub(super) struct Draft {
    pub(super) ints: [MaybeUninit<i64>; MAX_FIELDS],
    pub(super) strs: [MaybeUninit<(*const u8, usize)>; MAX_FIELDS],
}

impl Draft {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self { ints: [MaybeUninit::uninit(); MAX_FIELDS], strs: [MaybeUninit::uninit(); MAX_FIELDS] }
    }
}

/// Whether there is a NUL among the bytes: a word at a time, as names are short.
///
/// # Safety
/// `len` bytes must be readable at `text`.
#[inline(always)]
unsafe fn has_nul(text: *const u8, len: usize) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS != 0;
    if len < 4 {
        // SAFETY: `i < len`.
        return (0..len).any(|i| unsafe { *text.add(i) } == 0);
    }
    if len < 8 {
        // SAFETY: `len >= 4`; the two halves overlap.
        let (first, last) =
            unsafe { (text.cast::<u32>().read_unaligned(), text.add(len - 4).cast::<u32>().read_unaligned()) };
        return zero(u64::from(first) << 32 | u64::from(last));
    }
    let mut at = 0;
    while at + 8 <= len {
        // SAFETY: `at + 8 <= len`.
        if zero(unsafe { text.add(at).cast::<u64>().read_unaligned() }) {
            return true;
        }
        at += 8;
    }
    // SAFETY: `len >= 8`; the last word overlaps the one before.
    zero(unsafe { text.add(len - 8).cast::<u64>().read_unaligned() })
}

/// Reads one argument into the draft; `None` leaves it to the slow path.
///
/// # Safety
/// `object` must be alive for as long as the draft is used, `index` below `MAX_FIELDS`.
#[inline(always)]
unsafe fn take(
    inside: Inside,
    spec: &FieldSpec,
    index: usize,
    object: *mut PyObject,
    draft: &mut Draft,
    seen: Seen,
) -> Option<Seen> {
    // SAFETY: the address of a static of the interpreter.
    if ptr::eq(object, unsafe { ffi::Py_None() }) {
        return Some(seen);
    }
    match spec.kind {
        Kind::Int => {
            // SAFETY: `object` is alive. Only an exact int: no `__index__`, no bool.
            if !ptr::eq(unsafe { ffi::Py_TYPE(object) }, &raw const ffi::PyLong_Type) {
                return None;
            }
            // SAFETY: an exact int, alive; attached.
            let value = unsafe { inside.int(object) }?;
            if value < spec.min || value > spec.max {
                return None;
            }
            draft.ints[index] = MaybeUninit::new(value);
            Some(seen.and(index, 8))
        }
        // SAFETY: `object` is alive, the index in range.
        Kind::Str if spec.words.is_empty() => unsafe {
            take_text(inside, spec.cap as usize, index, object, draft, seen)
        },
        Kind::Str => None,
    }
}

/// Reads a string of at most `cap` bytes into the draft; `None` leaves it to the slow path.
///
/// # Safety
/// As for [`take`].
#[inline(always)]
pub(super) unsafe fn take_text(
    inside: Inside,
    cap: usize,
    index: usize,
    object: *mut PyObject,
    draft: &mut Draft,
    seen: Seen,
) -> Option<Seen> {
    // SAFETY: `object` is alive; attached.
    let (text, len) = unsafe { inside.utf8(object) }?;
    // SAFETY: the UTF-8 of a str is `len` bytes that live as long as the str.
    if len > cap || unsafe { has_nul(text, len) } {
        return None;
    }
    draft.strs[index] = MaybeUninit::new((text, len));
    Some(seen.and(index, 2 + len))
}

/// The action at position `A` of the catalog, worked out at compile time.
pub(super) struct Action<const A: usize>;

impl<const A: usize> Action<A> {
    pub(super) const SPEC: &'static ActionSpec = spec_at(A);
    pub(super) const FIELDS: usize = Self::SPEC.fields.len();
    pub(super) const STATUS: Option<&'static str> = Self::SPEC.default_status(Self::SPEC.outcome);
    pub(super) const DROPPABLE: bool = droppable(Self::SPEC.category, Self::SPEC.outcome);
    /// The presence of the field that names a filter; none has no bit.
    pub(super) const FILTER: u32 = match Self::SPEC.filter_field() {
        Some(field) => 1 << field,
        None => 0,
    };
    pub(super) const REQUIRED: u32 = {
        let (mut mask, mut i) = (0, 0);
        while i < Self::FIELDS {
            if Self::SPEC.fields[i].required {
                mask |= 1 << i;
            }
            i += 1;
        }
        mask
    };
}

/// Calls a macro body for each possible field, so that the loop is unrolled against the constants of the action.
macro_rules! each_field {
    ($n:ident => $body:block) => { each_field!(@ $n $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19) };
    (@ $n:ident $body:block $($i:literal)*) => { $({ const $n: usize = $i; $body })* };
}
pub(super) use each_field;

/// Reads the positional arguments.
///
/// # Safety
/// `args` must point to `given` live objects.
#[inline(always)]
pub(super) unsafe fn positional<const A: usize>(
    inside: Inside,
    args: *const *mut PyObject,
    given: usize,
    draft: &mut Draft,
) -> Option<Seen> {
    if given > Action::<A>::FIELDS {
        return None;
    }
    let mut seen = Seen::NOTHING;
    each_field!(N => {
        if N < Action::<A>::FIELDS {
            if given <= N {
                return Some(seen);
            }
            // SAFETY: `N < given`; the arguments live as long as the call.
            seen = unsafe { take(inside, &Action::<A>::SPEC.fields[N], N, *args.add(N), draft, seen) }?;
        }
    });
    Some(seen)
}

/// The interned names of every action's fields: keywords come as the same objects.
static NAMES: OnceLock<Vec<[usize; MAX_FIELDS]>> = OnceLock::new();

/// Interns the names, once a process.
pub(super) fn intern(py: Python<'_>) {
    NAMES.get_or_init(|| {
        let interned = |field: &FieldSpec| PyString::intern(py, field.name).into_ptr() as usize;
        let names = |spec: &ActionSpec| {
            let mut known = [0; MAX_FIELDS];
            spec.fields.iter().zip(&mut known).for_each(|(field, name)| *name = interned(field));
            known
        };
        ACTIONS.iter().map(names).collect()
    });
}

/// Reads the keyword arguments that are fields.
///
/// # Safety
/// `values` must point to as many live objects as `names`, a tuple, has.
pub(super) unsafe fn keywords(
    inside: Inside,
    action: usize,
    given: usize,
    values: *const *mut PyObject,
    names: *mut PyObject,
    draft: &mut Draft,
    mut seen: Seen,
) -> Option<Seen> {
    let (Some(known), fields) = (NAMES.get().and_then(|all| all.get(action)), ACTIONS[action].fields) else {
        return None;
    };
    // SAFETY: `names` is a tuple.
    let count = unsafe { ffi::PyTuple_Size(names) };
    for i in 0..count {
        // SAFETY: `i` is below its size; the reference is borrowed.
        let name = unsafe { ffi::PyTuple_GetItem(names, i) } as usize;
        let index = (given..fields.len()).find(|f| known[*f] == name)?;
        if seen.presence & (1 << index) != 0 {
            return None;
        }
        // SAFETY: there is a value for each name; it lives as long as the call.
        seen = unsafe { take(inside, &fields[index], index, *values.add(i as usize), draft, seen) }?;
    }
    Some(seen)
}
