//! The hot call: `Session` as a raw heap type whose methods are `METH_FASTCALL | METH_KEYWORDS`.
//!
//! Owns the type, its instances and every unsafe block of this crate. `PyO3`'s argument extraction costs more than the
//! whole call (45.7 ns against 25.6), so the arguments of the common call are read here by the raw C API: exact `int`,
//! and `str` whose UTF-8 is at hand. Everything else (subclasses, odd values, statuses, a full ring, a mistake) is read
//! again from the start by [`crate::slow`], which is safe code and raises.
//!
//! What must always hold: between claim and commit nothing can run Python, allocate, panic or block; the bytes copied
//! there belong to arguments that the caller holds, or to a context that lives as long as its session; and whatever the
//! fast path does not understand it leaves untouched and unclaimed.
#![allow(unsafe_code, reason = "the raw C API; every block says why it holds")]
#![allow(clippy::inline_always, reason = "the hot call is one function, worked out for each action")]
#![allow(
    clippy::absurd_extreme_comparisons,
    reason = "a field's number is a constant here, and for the first one it is 0"
)]
#![allow(clippy::cast_ptr_alignment, reason = "a claim is 8-aligned; what lies behind the head is written unaligned")]

use std::ffi::{CString, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use auditring_event::record::{self, Head, STATUS};
use auditring_event::{
    ACTIONS, ActionSpec, Authority, Category, FieldSpec, Kind, MAX_FIELDS, Origin, droppable, spec_at,
};
use auditring_ring::{Kind as Edge, Lane, Ring};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::session::Session;
use crate::shared::{GATE_OFF, GATE_OPEN};
use crate::slow::{self, Call};

/// Actions that the fast path writes. Success of an authentication changes the session's context first, and the ends of
/// a session have methods of their own.
const fn is_fast(spec: &ActionSpec) -> bool {
    spec.emit && !matches!(spec.category, Category::Authentication | Category::Connection | Category::Lifecycle)
}

/// A lane that is kept beside the ring that it points into.
pub(crate) struct HotLane {
    // Declared before the ring: dropped first.
    lane: Lane<'static>,
    ring: Arc<Ring>,
}

impl HotLane {
    fn new(ring: Arc<Ring>) -> Self {
        // SAFETY: the Arc beside it keeps the ring for as long as this value; the lane is only handed out borrowed from it.
        let lane = unsafe { ring.lane(0).detached() };
        Self { lane, ring }
    }

    #[inline(always)]
    pub(crate) fn lane(&self) -> &Lane<'_> {
        &self.lane
    }

    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }
}

/// A value that is swapped by pointer under readers that take no lock. What was in force is kept as long as the cell,
/// because another thread may still be reading it; so a swap is for what changes seldom.
pub(crate) struct Swap<T> {
    now: AtomicPtr<T>,
    // Boxes that stay where they are: `now` points into one of them.
    #[allow(clippy::vec_box, reason = "the addresses must survive the vector's growth")]
    all: Mutex<Vec<Box<T>>>,
}

impl<T> Default for Swap<T> {
    fn default() -> Self {
        Self { now: AtomicPtr::default(), all: Mutex::default() }
    }
}

impl<T> Swap<T> {
    /// The value in force, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: null, or a pointer to a Box in `all`, which is only ever grown, and dropped with `self`.
        unsafe { self.now.load(Ordering::Acquire).as_ref() }
    }

    /// Whether there is a value in force, from a thread that may not look at it.
    pub(crate) fn is_set(&self) -> bool {
        !self.now.load(Ordering::Relaxed).is_null()
    }

    pub(crate) fn set(&self, value: T) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Box::new(value));
        if let Some(last) = all.last_mut() {
            self.now.store(ptr::from_mut(last.as_mut()), Ordering::Release);
        }
    }

    /// Takes the value out of force. Tells whether this call did it.
    pub(crate) fn clear(&self) -> bool {
        !self.now.swap(ptr::null_mut(), Ordering::AcqRel).is_null()
    }
}

/// The lane in use; none in a log that keeps nothing. Another one when the ring was replaced.
pub(crate) type Hot = Swap<HotLane>;

impl Hot {
    pub(crate) fn install(&self, ring: Arc<Ring>) {
        self.set(HotLane::new(ring));
    }
}

/// A session's context as it lies in its records. Immutable.
pub(crate) struct Blob {
    pub(crate) id: u64,
    /// The session's authority, for actions that have none of their own.
    pub(crate) authority: Option<Authority>,
    /// Unpadded length; `bytes` is zero-padded to 8.
    pub(crate) len: u32,
    pub(crate) bytes: Box<[u8]>,
}

/// The context in force; none once the session is closed. Swapped whole, so that no record mixes two.
pub(crate) type Current = Swap<Blob>;

/// Which fields the arguments gave, and how many bytes of a body they make. By value, so that it stays in registers: a
/// bit that is set in memory is stored as a byte, and reading back the word around it stalls the processor.
#[derive(Clone, Copy)]
struct Seen {
    presence: u32,
    body: usize,
}

impl Seen {
    const NOTHING: Self = Self { presence: 0, body: 0 };

    #[inline(always)]
    const fn and(self, index: usize, bytes: usize) -> Self {
        Self { presence: self.presence | 1 << index, body: self.body + bytes }
    }
}

/// What the arguments said. Only what the presence names is written.
struct Draft {
    ints: [MaybeUninit<i64>; MAX_FIELDS],
    strs: [MaybeUninit<(*const u8, usize)>; MAX_FIELDS],
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
unsafe fn take(spec: &FieldSpec, index: usize, object: *mut PyObject, draft: &mut Draft, seen: Seen) -> Option<Seen> {
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
            let mut overflow: c_int = 0;
            // SAFETY: an exact int; runs no Python and sets no exception for one.
            let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow) };
            if overflow != 0 || value < spec.min || value > spec.max {
                return None;
            }
            draft.ints[index] = MaybeUninit::new(value);
            Some(seen.and(index, 8))
        }
        Kind::Str => {
            let mut len: Py_ssize_t = 0;
            // SAFETY: `object` is alive; anything but a str gives null and an exception.
            let text = unsafe { ffi::PyUnicode_AsUTF8AndSize(object, &raw mut len) }.cast::<u8>();
            if text.is_null() {
                // SAFETY: the interpreter is attached.
                unsafe { ffi::PyErr_Clear() };
                return None;
            }
            let len = len as usize;
            // SAFETY: the UTF-8 of a str is `len` bytes that live as long as the str.
            if len > spec.cap as usize || unsafe { has_nul(text, len) } {
                return None;
            }
            draft.strs[index] = MaybeUninit::new((text, len));
            Some(seen.and(index, 2 + len))
        }
    }
}

/// The action at position `A` of the catalog, worked out at compile time.
struct Action<const A: usize>;

impl<const A: usize> Action<A> {
    const SPEC: &'static ActionSpec = spec_at(A);
    const FIELDS: usize = Self::SPEC.fields.len();
    const STATUS: Option<&'static str> = Self::SPEC.default_status(Self::SPEC.outcome);
    const DROPPABLE: bool = droppable(Self::SPEC.category, Self::SPEC.outcome);
    const REQUIRED: u32 = {
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

/// Reads the positional arguments.
///
/// # Safety
/// `args` must point to `given` live objects.
#[inline(always)]
unsafe fn positional<const A: usize>(args: *const *mut PyObject, given: usize, draft: &mut Draft) -> Option<Seen> {
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
            seen = unsafe { take(&Action::<A>::SPEC.fields[N], N, *args.add(N), draft, seen) }?;
        }
    });
    Some(seen)
}

/// The interned names of every action's fields: keywords come as the same objects.
static NAMES: OnceLock<Vec<[usize; MAX_FIELDS]>> = OnceLock::new();

/// Reads the keyword arguments that are fields.
///
/// # Safety
/// `values` must point to as many live objects as `names`, a tuple, has.
unsafe fn keywords(
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
        seen = unsafe { take(&fields[index], index, *values.add(i as usize), draft, seen) }?;
    }
    Some(seen)
}

/// Claims, writes and commits; `false` when there is no room or no context, with nothing changed.
#[inline(always)]
fn put<const A: usize>(session: &Session, draft: &Draft, seen: Seen) -> bool {
    let Some(context) = session.current.get() else { return false };
    let Some(hot) = session.shared.hot.get() else {
        session.shared.count_ordered(Action::<A>::SPEC.code, Action::<A>::SPEC.outcome, Edge::Off);
        return true;
    };
    let spec = Action::<A>::SPEC;
    let authority = if spec.authority.is_some() { spec.authority } else { context.authority };
    let Seen { mut presence, mut body } = seen;
    if let Some(status) = Action::<A>::STATUS {
        presence |= STATUS;
        body += 2 + status.len();
    }
    let head = Head {
        stamp: session.shared.clock.stamp(),
        presence,
        code: spec.code,
        bits: record::bits(spec.outcome, authority, Origin::Client),
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
            string(at, status.as_ptr(), status.len());
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
unsafe fn string(at: *mut u8, text: *const u8, len: usize) -> *mut u8 {
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

/// `session.read(…)` and its like.
///
/// # Safety
/// Called by the interpreter with an instance of the type and its own argument vector.
unsafe extern "C" fn emit<const A: usize>(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the method belongs to the type, so `slf` is an instance, alive for the call.
    let session = unsafe { session_of(slf) };
    let spec = Action::<A>::SPEC;
    let mut gate = session.shared.gate(spec.code, spec.outcome);
    if const { is_fast(spec_at(A)) } && !(names.is_null() && gate != GATE_OPEN) {
        let mut draft = Draft { ints: [MaybeUninit::uninit(); MAX_FIELDS], strs: [MaybeUninit::uninit(); MAX_FIELDS] };
        let given = given as usize;
        // SAFETY: the interpreter's vector: `given` positional values, then one for each name.
        let read = unsafe {
            match positional::<A>(args, given, &mut draft) {
                Some(seen) if !names.is_null() => keywords(A, given, args.add(given), names, &mut draft, seen),
                seen => seen,
            }
        };
        if let Some(seen) = read {
            if gate == GATE_OPEN
                && seen.presence & Action::<A>::REQUIRED == Action::<A>::REQUIRED
                && put::<A>(session, &draft, seen)
            {
                return none();
            }
        } else if gate == GATE_OFF {
            // Not plain fields: a status or an outcome may be among them, so the slow path decides.
            gate = GATE_OPEN;
        }
    }
    if gate == GATE_OFF {
        session.shared.count_ordered(spec.code, spec.outcome, Edge::Off);
        return none();
    }
    // SAFETY: as above.
    unsafe { slow_call(args, given, names, |call| slow::emit(session, spec, call)) }
}

fn none() -> *mut PyObject {
    // SAFETY: a new reference to None, which the caller owns.
    unsafe { ffi::Py_NewRef(ffi::Py_None()) }
}

/// # Safety
/// `slf` must be an instance of the session type, alive for `'a`.
#[inline(always)]
unsafe fn session_of<'a>(slf: *mut PyObject) -> &'a Session {
    // SAFETY: `state` is set before an instance is handed out and dropped with it.
    unsafe { &*(*slf.cast::<Instance>()).state }
}

/// Runs a safe body over the arguments, with its error raised.
///
/// # Safety
/// `args` and `names` must be the interpreter's vector.
#[cold]
unsafe fn slow_call(
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
    body: impl FnOnce(&Call<'_>) -> PyResult<Py<PyAny>>,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, so it is attached.
    let py = unsafe { Python::assume_attached() };
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

/// A method that is not an event: `close`, `update`, `emit`, `__enter__` …
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn other<const M: usize>(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    given: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as for `emit`.
    let session = unsafe { session_of(slf) };
    // SAFETY: as for `emit`; `slf` is alive for the call.
    unsafe {
        slow_call(args, given, names, |call| {
            let this = Bound::from_borrowed_ptr(call.py, slf);
            (slow::METHODS[M].run)(session, this, call)
        })
    }
}

/// One session object.
#[repr(C)]
struct Instance {
    base: PyObject,
    /// A reference of its own (`Arc::into_raw`).
    state: *const Session,
}

/// # Safety
/// Called by the interpreter on an instance whose last reference has gone.
unsafe extern "C" fn dealloc(slf: *mut PyObject) {
    // SAFETY: the last reference: nobody else looks at the instance. A heap type's instance holds a reference to it.
    unsafe {
        let kind = ffi::Py_TYPE(slf);
        let state = (*slf.cast::<Instance>()).state;
        if !state.is_null() {
            Arc::from_raw(state).abandon();
        }
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// # Safety
/// Called by the interpreter: `Session()` itself is refused.
unsafe extern "C" fn refuse(_: *mut ffi::PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    pyo3::exceptions::PyTypeError::new_err("a session is made by AuditLog.session(…)").restore(py);
    ptr::null_mut()
}

/// # Safety
/// Called by the interpreter with an instance.
unsafe extern "C" fn get_id(slf: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: an instance; attached.
    let (session, py) = unsafe { (session_of(slf), Python::assume_attached()) };
    pyo3::types::PyString::new(py, &session.id).into_any().into_ptr()
}

/// # Safety
/// Called by the interpreter with an instance.
unsafe extern "C" fn get_closed(slf: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: an instance.
    let closed = unsafe { session_of(slf) }.current.get().is_none();
    // SAFETY: attached.
    unsafe { ffi::PyBool_FromLong(closed.into()) }
}

/// The type, made once a process.
static TYPE: OnceLock<usize> = OnceLock::new();

/// Makes an instance around a session.
pub(crate) fn instance(py: Python<'_>, session: Arc<Session>) -> PyResult<Py<PyAny>> {
    let kind = *TYPE.get().ok_or_else(|| PyRuntimeError::new_err("auditring._core is not initialised"))?;
    // SAFETY: `kind` is the type object made by `session_type`, which is never freed; a new instance of it has room for
    // an `Instance`, whose state is set before anybody sees it.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(kind as *mut ffi::PyTypeObject, 0);
        if slf.is_null() {
            return Err(PyErr::fetch(py));
        }
        (*slf.cast::<Instance>()).state = Arc::into_raw(session);
        Ok(Bound::from_owned_ptr(py, slf).unbind())
    }
}

/// A C string that lives for ever: method tables are kept by the interpreter.
fn forever(text: &str) -> *const std::ffi::c_char {
    CString::new(text.replace('\0', "")).unwrap_or_default().into_raw()
}

type FastCall = unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, Py_ssize_t, *mut PyObject) -> *mut PyObject;

fn method(name: &str, doc: &str, function: FastCall) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: forever(name),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: forever(doc),
    }
}

/// The functions by position in the catalog: one instance of the hot call for each.
const EMITS: [FastCall; 32] = {
    macro_rules! table { ($($i:literal)*) => { [$(emit::<{ if $i < ACTIONS.len() { $i } else { 0 } }>),*] } }
    assert!(ACTIONS.len() <= 32);
    table!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
};

const OTHERS: [FastCall; slow::METHODS.len()] = [other::<0>, other::<1>, other::<2>, other::<3>, other::<4>];

/// Makes the type from the catalog.
pub(crate) fn session_type(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let interned = |field: &FieldSpec| pyo3::types::PyString::intern(py, field.name).into_ptr() as usize;
    let names = ACTIONS.iter().map(|spec| {
        let mut known = [0; MAX_FIELDS];
        spec.fields.iter().zip(&mut known).for_each(|(field, name)| *name = interned(field));
        known
    });
    NAMES.get_or_init(|| names.collect());
    let mut methods: Vec<ffi::PyMethodDef> = ACTIONS
        .iter()
        .enumerate()
        .filter(|(_, spec)| slow::is_method(spec))
        .map(|(at, spec)| method(spec.method, &slow::docstring(spec), EMITS[at]))
        .collect();
    methods.extend(slow::METHODS.iter().zip(OTHERS).map(|(m, function)| method(m.name, m.doc, function)));
    methods.push(ffi::PyMethodDef::zeroed());
    let property = |name: &str, doc: &str, get: ffi::getter| ffi::PyGetSetDef {
        name: forever(name),
        get: Some(get),
        set: None,
        doc: forever(doc),
        closure: ptr::null_mut(),
    };
    let properties = vec![
        property("id", "The host's id for the connection, or the UUID made here.", get_id),
        property("closed", "Whether the session was closed.", get_closed),
        ffi::PyGetSetDef::default(),
    ];
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_new, refuse as *mut c_void),
        slot(ffi::Py_tp_methods, methods.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, properties.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_doc, forever(slow::SESSION_DOC).cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: forever("auditring._core.Session"),
        basicsize: size_of::<Instance>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the tables live for ever, the spec as long as the call; the new reference is owned by `made`.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))? };
    TYPE.get_or_init(|| made.clone().into_ptr() as usize);
    Ok(made)
}
