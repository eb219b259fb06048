//! A body written anew: some of its strings otherwise, or without some of its values.
//!
//! What must always hold: a body of which not every byte is accounted for is not copied, for nobody knows what it says.

use crate::body::{Layout, Strings};
use crate::{Malformed, sanitize};

/// What becomes of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// What was written for it takes its place; what is longer than a string can be is cut.
    Put,
}

/// Writes the body of an event anew, to be read with the presence bits that are returned. `drop` are bits of numbers that
/// go; `edit` is asked for each string, with its bit, and writes into the empty text what is to stand instead.
///
/// # Errors
/// If the body is not what its presence bits say; `out` then means nothing.
pub fn rewrite(
    code: u16,
    presence: u32,
    body: &[u8],
    drop: u32,
    out: &mut Vec<u8>,
    mut edit: impl FnMut(u32, &[u8], &mut String) -> Edit,
) -> Result<u32, Malformed> {
    out.clear();
    let layout = Layout::of(code).ok_or(Malformed::UnknownCode(code))?;
    let unknown = presence & !(layout.ints | layout.strs);
    if unknown != 0 {
        return Err(Malformed::UnknownBits(unknown));
    }
    let mut there = presence;
    let mut ints = presence & layout.ints;
    let (numbers, _) = body.as_chunks::<8>();
    let (numbers, rest) = (numbers.get(..ints.count_ones() as usize).ok_or(Malformed::Short)?, ints.count_ones() * 8);
    for number in numbers {
        let bit = ints & ints.wrapping_neg();
        ints &= ints - 1;
        if drop & bit == 0 {
            out.extend_from_slice(number);
        } else {
            there &= !bit;
        }
    }
    let mut strings = Strings::new(presence & layout.strs, &body[rest as usize..]);
    let mut text = String::new();
    for (bit, bytes) in strings.by_ref() {
        text.clear();
        match edit(bit, bytes, &mut text) {
            Edit::Keep => put(out, bytes),
            Edit::Drop => there &= !bit,
            Edit::Put => put(out, sanitize::text(text.as_bytes(), u16::MAX.into()).0.as_bytes()),
        }
    }
    if !strings.is_complete() {
        return Err(Malformed::Short);
    }
    if !strings.is_padding() {
        return Err(Malformed::LeftOver);
    }
    Ok(there)
}

/// Whether a body is what its presence bits say, to the last byte.
#[must_use]
pub fn adds_up(code: u16, presence: u32, body: &[u8]) -> bool {
    let Some(layout) = Layout::of(code).filter(|of| presence & !(of.ints | of.strs) == 0) else { return false };
    let Some(rest) = body.get(8 * (presence & layout.ints).count_ones() as usize..) else { return false };
    let mut strings = Strings::new(presence & layout.strs, rest);
    strings.by_ref().for_each(drop);
    strings.is_complete() && strings.is_padding()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Encoder, RecordView};
    use crate::{by_name, row};

    fn read() -> Vec<u8> {
        let mut event = Encoder::new(by_name("Read").unwrap());
        event.text("topic", "orders").int("partition", 3).int("first_offset", 7).text("api", "FETCH").reason("why");
        event.to_vec()
    }

    #[test]
    fn what_is_not_edited_stays_byte_for_byte() {
        let bytes = read();
        let record = RecordView::parse(&bytes).unwrap();
        let mut out = Vec::new();
        let same = rewrite(record.code(), record.presence(), record.body(), 0, &mut out, |_, _, _| Edit::Keep);
        assert_eq!((Ok(record.presence()), record.body()), (same, &out[..]));
    }

    #[test]
    fn strings_are_replaced_and_values_go() {
        let bytes = read();
        let record = RecordView::parse(&bytes).unwrap();
        let mut out = Vec::new();
        let offset = 1 << by_name("Read").unwrap().position("first_offset");
        let there = rewrite(record.code(), record.presence(), record.body(), offset, &mut out, |bit, bytes, text| {
            assert!(text.is_empty());
            match bit {
                1 => {
                    text.push_str(&std::str::from_utf8(bytes).unwrap().repeat(2));
                    Edit::Put
                }
                crate::record::REASON => Edit::Drop,
                _ => Edit::Keep,
            }
        });
        let record = record.with(there.unwrap(), 0, &out);
        let mut data = Vec::new();
        row::from_record(&record, row::NO_CONTEXT, 1, 1, 0, &mut data);
        let row = row::RowView::parse(&data).unwrap();
        row.validate().unwrap();
        assert_eq!(Some("ordersorders"), row::resource(&row));
        assert_eq!((Some(3), None), (row::int_field(&row, 1), row.fields().int(offset)));
        assert_eq!((None, 2), (row.fields().text(crate::record::REASON), row.fields().strings().count()));
    }

    #[test]
    fn a_body_that_does_not_add_up_is_not_copied() {
        let bytes = read();
        let record = RecordView::parse(&bytes).unwrap();
        let (code, there, body) = (record.code(), record.presence(), record.body());
        let more = [body, b"12345678"].concat();
        let other = [body, b"x"].concat();
        for (presence, body) in [
            (there, &body[..body.len() - 1]),
            (there, &more),
            (there, &other),
            (there & !crate::record::REASON, body),
            (there | 1 << 31, body),
            (there, &[]),
        ] {
            assert!(rewrite(code, presence, body, 0, &mut Vec::new(), |_, _, _| Edit::Keep).is_err());
            assert!(!adds_up(code, presence, body));
        }
        assert!(adds_up(code, there, body));
        assert!(rewrite(700, 0, &[], 0, &mut Vec::new(), |_, _, _| Edit::Keep).is_err());
    }
}
