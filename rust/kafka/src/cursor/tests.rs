//! Lengths as Kafka's own readers take them.

use super::{Cursor, Stop};

#[test]
fn any_negative_length_is_null() {
    for len in [-1i16, -2, i16::MIN] {
        assert_eq!(Ok(None), Cursor::new(&len.to_be_bytes(), false).nullable_string());
    }
    for len in [-1i32, -2, i32::MIN] {
        assert_eq!(Ok(None), Cursor::new(&len.to_be_bytes(), false).count());
        assert_eq!(Ok(None), Cursor::new(&len.to_be_bytes(), false).nullable_bytes());
    }
    // Zero, and all from 0x8000_0001 on.
    for len in [&[0][..], &[0x80, 0], &[0x81, 0x80, 0x80, 0x80, 0x08], &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]] {
        assert_eq!(Ok(None), Cursor::new(len, true).nullable_string());
        assert_eq!(Ok(None), Cursor::new(len, true).count());
    }
    // To Kafka this is the greatest of all lengths.
    let least = [0x80, 0x80, 0x80, 0x80, 0x08];
    assert_eq!(Ok(Some(i32::MAX as usize)), Cursor::new(&least, true).count());
    assert_eq!(Err(Stop::Short), Cursor::new(&least, true).nullable_string());
}

#[test]
fn of_a_fifth_byte_what_does_not_fit_is_dropped() {
    for fifth in [0x00, 0x10, 0x70] {
        assert_eq!(Ok(Some(&b"a"[..])), Cursor::new(&[0x82, 0x80, 0x80, 0x80, fifth, b'a'], true).nullable_string());
    }
    assert_eq!(Err(Stop::Malformed), Cursor::new(&[0x82, 0x80, 0x80, 0x80, 0x80, 0], true).varint());
}

#[test]
fn a_negative_count_of_tagged_fields_is_none() {
    let mut cursor = Cursor::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 9], true);
    assert_eq!((Ok(()), Ok(9)), (cursor.tags(), cursor.i8()));
}
