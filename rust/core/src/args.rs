//! Reading Python values, safely and slowly.
//!
//! What must always hold: only `str`, `bytes`, numbers and plain containers are read, never a user's `__str__`; a
//! programmer's mistake raises; a value off the wire never does, it is made safe and marked.

use auditring_event::flat::{CAUSE_SESSION_KEY, FlatText, RESERVED, Scalar};
use auditring_event::sanitize::{self, Marks};
use auditring_event::{Authority, FieldSpec, Outcome};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};

/// A text and what was done to it.
pub(crate) type Safe = (String, Marks);

/// A map's text, none where it is empty, and what was done to it: a map that is empty because nothing of it fitted says so.
pub(crate) type SafeMap = (Option<String>, Marks);

/// The type's name, for messages.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| String::from("?"), |name| name.to_string())
}

/// The bytes of a `str` or `bytes`, made safe within `cap`. Lone surrogates of a `str` are replaced and marked.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>, cap: usize) -> PyResult<Safe> {
    if let Ok(text) = value.cast::<PyString>() {
        let Ok(plain) = text.to_str() else {
            let lossy = text.to_string_lossy();
            let (safe, mut marks) = sanitize::text(lossy.as_bytes(), cap);
            marks.altered = true;
            return Ok((safe.into_owned(), marks));
        };
        let (safe, marks) = sanitize::text(plain.as_bytes(), cap);
        return Ok((safe.into_owned(), marks));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        let (safe, marks) = sanitize::text(bytes.as_bytes(), cap);
        return Ok((safe.into_owned(), marks));
    }
    Err(PyTypeError::new_err(format!("{name} must be str or bytes, not {}", type_name(value))))
}

/// A whole number within the field's range; a bool is a mistake.
pub(crate) fn int(field: &FieldSpec, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let name = field.name;
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err(format!("{name} must be int, not {}", type_name(value))));
    }
    let number: Option<i64> = value.extract().ok();
    number
        .filter(|n| (field.min..=field.max).contains(n))
        .ok_or_else(|| PyValueError::new_err(format!("{name} must be between {} and {}", field.min, field.max)))
}

/// One of the words that the catalog knows for a field.
pub(crate) fn one_of(field: &FieldSpec, value: &Bound<'_, PyAny>) -> PyResult<String> {
    word(field.name, value, field.words, |word| field.words.contains(&word).then(|| word.to_owned()))
}

fn word<T>(name: &str, value: &Bound<'_, PyAny>, known: &[&str], parse: impl Fn(&str) -> Option<T>) -> PyResult<T> {
    let Ok(word) = value.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!("{name} must be str, not {}", type_name(value))));
    };
    let word = word.to_string_lossy();
    parse(&word)
        .ok_or_else(|| PyValueError::new_err(format!("{name} is {word:?}, must be one of {}", known.join(", "))))
}

pub(crate) fn outcome(value: &Bound<'_, PyAny>) -> PyResult<Outcome> {
    let known: Vec<_> = Outcome::ALL.iter().map(|o| o.word()).collect();
    word("outcome", value, &known, Outcome::from_word)
}

pub(crate) fn authority(value: &Bound<'_, PyAny>) -> PyResult<Authority> {
    let known: Vec<_> = Authority::ALL.iter().map(|a| a.word()).collect();
    word("authority", value, &known, Authority::from_word)
}

/// One value of a context map, held long enough to be written.
enum Held {
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Held {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Text(bytes) => Scalar::Text(bytes),
            Self::Int(value) => Scalar::Int(*value),
            Self::Float(value) => Scalar::Float(*value),
            Self::Bool(value) => Scalar::Bool(*value),
        }
    }
}

/// The bytes of a `str` or `bytes`, to be made safe by the map's writer; lone surrogates are replaced here, and marked.
fn raw(value: &Bound<'_, PyAny>) -> Option<(Vec<u8>, Marks)> {
    if let Ok(text) = value.cast::<PyString>() {
        let (text, marks) = unlone(text);
        return Some((text.into_bytes(), marks));
    }
    value.cast::<PyBytes>().ok().map(|bytes| (bytes.as_bytes().to_vec(), Marks::default()))
}

/// A `str` with its lone surrogates replaced.
fn unlone(text: &Bound<'_, PyString>) -> Safe {
    match text.to_str() {
        Ok(plain) => (plain.to_owned(), Marks::default()),
        Err(_) => (text.to_string_lossy().into_owned(), Marks { altered: true, cut: false }),
    }
}

/// The digits of a number beyond 64 bits; of one that Python will not write out, how large it is.
fn digits(value: &Bound<'_, PyAny>) -> PyResult<String> {
    // The type's own way: a subclass may have a `__repr__` of its own.
    let int = value.py().get_type::<PyInt>();
    match int.call_method1("__repr__", (value,)) {
        Ok(digits) => Ok(digits.cast::<PyString>()?.to_string_lossy().into_owned()),
        Err(_) => Ok(format!("a number of {} bits", int.call_method1("bit_length", (value,))?)),
    }
}

fn held(name: &str, value: &Bound<'_, PyAny>, marks: &mut Marks) -> PyResult<Held> {
    if let Some((text, done)) = raw(value) {
        *marks |= done;
        return Ok(Held::Text(text));
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Held::Bool(value.is_truthy()?));
    }
    if value.is_instance_of::<PyInt>() {
        // Beyond 64 bits a number is kept as its digits.
        return Ok(match value.extract() {
            Ok(number) => Held::Int(number),
            Err(_) => Held::Text(digits(value)?.into_bytes()),
        });
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(Held::Float(float.value()));
    }
    let kind = type_name(value);
    Err(PyTypeError::new_err(format!("{name} must be str, bytes, int, float or bool (or a list of these), not {kind}")))
}

/// The keys of a map that are the event's own fields: no caller replaces the evidence under them.
pub(crate) type Own<'a> = &'a dyn Fn(&str) -> bool;

fn items<'py>(
    name: &str,
    value: &Bound<'py, PyAny>,
    own: Own<'_>,
    marks: &mut Marks,
) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let Ok(mapping) = value.cast::<PyMapping>() else {
        return Err(PyTypeError::new_err(format!("{name} must be a mapping, not {}", type_name(value))));
    };
    let mut items = Vec::new();
    for item in mapping.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let Ok(key) = key.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!("keys of {name} must be str, not {}", type_name(&key))));
        };
        let (key, done) = unlone(key);
        *marks |= done;
        if key.is_empty() || key.starts_with(RESERVED) || key == CAUSE_SESSION_KEY {
            return Err(PyValueError::new_err(format!(
                "{name} has the key {key:?}: keys are not empty, and {CAUSE_SESSION_KEY:?} and those that begin with \
                 {RESERVED:?} are ours"
            )));
        }
        if own(&key) {
            return Err(PyValueError::new_err(format!(
                "{name} has the key {key:?}: it is a field of the event's own; give it as that"
            )));
        }
        items.push((key, value));
    }
    Ok(items)
}

/// A flat map as JSON text within `cap`; none when it is empty.
pub(crate) fn context_map(name: &str, value: &Bound<'_, PyAny>, cap: usize, own: Own<'_>) -> PyResult<SafeMap> {
    let mut out = FlatText::new(cap);
    let mut marks = Marks::default();
    for (key, value) in items(name, value, own, &mut marks)? {
        let label = format!("{name}[{key:?}]");
        let list = value.cast::<PyList>().map(|list| list.iter().collect::<Vec<_>>());
        let list = list.or_else(|_| value.cast::<PyTuple>().map(|tuple| tuple.iter().collect()));
        match list {
            Ok(values) => {
                let values =
                    values.iter().map(|value| held(&label, value, &mut marks)).collect::<PyResult<Vec<_>>>()?;
                let scalars: Vec<_> = values.iter().map(Held::scalar).collect();
                out.put_list(key.as_bytes(), &scalars);
            }
            Err(_) => out.put(key.as_bytes(), held(&label, &value, &mut marks)?.scalar()),
        }
    }
    Ok(finished(out, marks))
}

fn finished(mut out: FlatText, marks: Marks) -> SafeMap {
    out.mark(marks);
    let empty = out.is_empty();
    let (text, marks) = out.finish();
    ((!empty).then_some(text), marks)
}

/// A map of strings as JSON text within `cap`; none when it is empty.
pub(crate) fn object_ref(value: &Bound<'_, PyAny>, cap: usize, own: Own<'_>) -> PyResult<SafeMap> {
    let mut out = FlatText::new(cap);
    let mut marks = Marks::default();
    for (key, value) in items("object_ref", value, own, &mut marks)? {
        let label = format!("object_ref[{key:?}]");
        let Some((text, done)) = raw(&value) else {
            return Err(PyTypeError::new_err(format!("{label} must be str or bytes, not {}", type_name(&value))));
        };
        marks |= done;
        out.put(key.as_bytes(), Scalar::Text(&text));
    }
    Ok(finished(out, marks))
}

/// The host of an address, and its port.
type Address = (Option<String>, Option<u16>);

/// An address: `"10.0.0.1:9092"`, `"[::1]:9092"`, `"10.0.0.1"` or what `getpeername` gives, `(host, port, …)`.
pub(crate) fn address(name: &str, value: &Bound<'_, PyAny>, cap: usize, marks: &mut Marks) -> PyResult<Address> {
    if let Ok(tuple) = value.cast::<PyTuple>() {
        let wrong =
            || PyTypeError::new_err(format!("{name} must be (host, port, …) as a socket gives it, or \"host:port\""));
        if tuple.len() < 2 {
            return Err(wrong());
        }
        let (host, done) = text(name, &tuple.get_item(0)?, cap)?;
        *marks |= done;
        let port = tuple.get_item(1)?;
        if port.is_none() {
            return Ok((Some(host), None));
        }
        if !port.is_instance_of::<PyInt>() || port.is_instance_of::<PyBool>() {
            return Err(wrong());
        }
        let port = port.extract().map_err(|_| PyValueError::new_err(format!("{name}'s port must be in 0..=65535")))?;
        return Ok((Some(host), Some(port)));
    }
    // A unix socket's peer has the empty name.
    let (text, done) = text(name, value, cap)?;
    *marks |= done;
    if text.is_empty() {
        return Ok((None, None));
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Ok((Some(address.ip().to_string()), Some(address.port())));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => {
            Ok((Some(host.to_owned()), port.parse().ok()))
        }
        _ => Ok((Some(text), None)),
    }
}

/// `host:port` of an address within its cap, for columns that hold both.
pub(crate) fn endpoint(
    name: &str,
    value: &Bound<'_, PyAny>,
    cap: usize,
    marks: &mut Marks,
) -> PyResult<Option<String>> {
    let text = match address(name, value, cap, marks)? {
        (Some(host), Some(port)) if host.contains(':') => format!("[{host}]:{port}"),
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host,
        (None, _) => return Ok(None),
    };
    let (text, done) = sanitize::text(text.as_bytes(), cap);
    *marks |= done;
    Ok(Some(text.into_owned()))
}
