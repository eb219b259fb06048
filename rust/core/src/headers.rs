//! What `auditring.asgi` looks for among a message's headers. In Python it took longer than the record.
//!
//! What must always hold: whatever a client or an application puts there, nothing is raised: what is no pair of bytes is
//! no header.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

/// Length of a `traceparent` of version 00, <https://www.w3.org/TR/trace-context/>: version, trace id, parent id, flags.
const TRACEPARENT: usize = 55;

/// The request's id, as text where it is ASCII and as bytes otherwise, and the trace id of a valid `traceparent`.
///
/// The last of each name that is not empty counts: the nearest proxy adds its own behind those before it.
#[pyfunction]
pub(crate) fn request_ids<'py>(
    py: Python<'py>,
    headers: &Bound<'py, PyAny>,
) -> (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyString>>) {
    let (mut request, mut trace) = (None, None);
    each(headers, true, |name, value| {
        let place = match name {
            b"x-request-id" => &mut request,
            b"traceparent" => &mut trace,
            _ => return false,
        };
        if place.is_none() && !value.as_bytes().is_empty() {
            *place = Some(value.clone());
        }
        request.is_some() && trace.is_some()
    });
    let request = request.map(|id| match std::str::from_utf8(id.as_bytes()) {
        Ok(text) if text.is_ascii() => PyString::new(py, text).into_any(),
        // What is no text goes as it is, and the log makes it safe.
        _ => id.into_any(),
    });
    (request, trace.and_then(|header| trace_id(header.as_bytes()).map(|id| PyString::new(py, id))))
}

/// The `content-length` that a response begins with; none where it is not said, or is no number that fits.
#[pyfunction]
pub(crate) fn content_length(headers: &Bound<'_, PyAny>) -> Option<i64> {
    let mut length = None;
    each(headers, false, |name, value| {
        let found = name == b"content-length";
        if found {
            let digits = std::str::from_utf8(value.as_bytes()).ok();
            length =
                digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
        }
        found
    });
    length
}

/// Shows names and values until `enough`, from the end or from the beginning.
fn each<'py>(
    headers: &Bound<'py, PyAny>,
    backwards: bool,
    mut enough: impl FnMut(&[u8], &Bound<'py, PyBytes>) -> bool,
) {
    // Servers give lists; who gives something else pays for a copy.
    let list = match headers.cast::<PyList>() {
        Ok(list) => list.clone(),
        Err(_) => match copied(headers) {
            Some(list) => list,
            None => return,
        },
    };
    let length = list.len();
    for at in 0..length {
        let Ok(pair) = list.get_item(if backwards { length - 1 - at } else { at }) else { return };
        let Some([name, value]) = parts(&pair) else { continue };
        let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) else { continue };
        if enough(name.as_bytes(), value) {
            return;
        }
    }
}

/// Name and value of a pair, which some servers make otherwise than as a tuple.
fn parts<'py>(pair: &Bound<'py, PyAny>) -> Option<[Bound<'py, PyAny>; 2]> {
    match pair.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => Some([pair.get_item(0).ok()?, pair.get_item(1).ok()?]),
        Ok(_) => None,
        Err(_) => {
            let pair = copied(pair).filter(|pair| pair.len() == 2)?;
            Some([pair.get_item(0).ok()?, pair.get_item(1).ok()?])
        }
    }
}

/// What an iterable has; none where it can be walked over but once, which is for whoever it was meant for.
fn copied<'py>(iterable: &Bound<'py, PyAny>) -> Option<Bound<'py, PyList>> {
    let walk = iterable.try_iter().ok().filter(|walk| !walk.is(iterable))?;
    let items = walk.collect::<PyResult<Vec<_>>>().ok()?;
    PyList::new(iterable.py(), items).ok()
}

/// The trace id of a valid `traceparent`.
fn trace_id(header: &[u8]) -> Option<&str> {
    let head = header.get(..TRACEPARENT)?;
    // Later versions may go on after a dash; version 00 may not.
    let whole = header.len() == TRACEPARENT || (header[TRACEPARENT] == b'-' && &head[..2] != b"00");
    let formed = head.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let said = |id: &[u8]| id.iter().any(|byte| *byte != b'0');
    let valid = whole && formed && &head[..2] != b"ff" && said(&head[3..35]) && said(&head[36..52]);
    std::str::from_utf8(&head[3..35]).ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_id_is_that_of_a_valid_header() {
        for header in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later",
        ] {
            assert_eq!(trace_id(header.as_bytes()), Some(ID), "{header}");
        }
        for header in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736+00f067aa0ba902b7-01",
            "0-04bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-\u{e9}bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(header.as_bytes()), None, "{header}");
        }
    }
}
