//! Bytes that nobody here wrote: no panic, and no allocation beyond what the file holds.

use std::fs;
use std::path::Path;

use auditring_journal::{Cursor, Error, Reader, Step, Writer, fold, fold_checked};
use proptest::prelude::*;

use crate::common::{append, head, segment};

/// Reads all there is; an error is as good as an end.
fn read(dir: &Path, file_len: usize) {
    let mut reader = Reader::open(dir, 0).unwrap();
    let mut buf = Vec::new();
    let mut before = None;
    for _ in 0..=file_len {
        match reader.next(&mut buf) {
            Ok(Step::NotYet | Step::End) | Err(_) => break,
            Ok(Step::Batch(..) | Step::Corrupt { .. } | Step::Gone { .. } | Step::Segment(_)) => {}
        }
        assert!(buf.capacity() <= 2 * file_len.max(8), "{} bytes for a file of {file_len}", buf.capacity());
        assert!(before <= Some(reader.next_seq()), "seqs go up");
        before = Some(reader.next_seq());
    }
    let _ = fold(dir);
    let _ = fold_checked(dir);
}

fn good() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    for rows in [3, 0, 5] {
        append(&mut writer, rows);
    }
    fs::read(segment(dir.path(), 0)).unwrap()
}

fn try_bytes(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("0000000000000000-0000000000000000.journal"), bytes).unwrap();
    read(dir.path(), bytes.len());
}

/// Sets the checksum of what claims to be a head or a batch header at `at`, so that what is behind the checksum is tried too.
fn reseal(bytes: &mut [u8], at: usize, length_at: usize) {
    let Some(length) = bytes.get(at + length_at..at + length_at + 4) else { return };
    let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
    if length >= 8 && at.checked_add(length).is_some_and(|end| end <= bytes.len()) {
        let crc = crc32fast::hash(&bytes[at..at + length - 4]);
        bytes[at + length - 4..at + length].copy_from_slice(&crc.to_le_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_as_a_segment(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        try_bytes(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_good_segment(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut all = good();
        all.extend_from_slice(b"arBT\x01\x00");
        all.extend(bytes);
        try_bytes(&all);
    }

    #[test]
    fn any_word_of_a_sealed_head(at in 0_usize..50, word in prop_oneof![any::<u32>(), 0_u32..300, Just(u32::MAX)]) {
        let mut bytes = good();
        bytes[at * 4 + 8..at * 4 + 12].copy_from_slice(&word.to_le_bytes());
        reseal(&mut bytes, 0, 12);
        try_bytes(&bytes);
    }

    #[test]
    fn any_word_of_a_sealed_batch_header(at in 0_usize..60, word in prop_oneof![any::<u32>(), 0_u32..300, Just(u32::MAX)]) {
        let mut bytes = good();
        let batch = bytes.windows(4).position(|four| four == b"arBT").unwrap();
        bytes[batch + at * 4 + 4..batch + at * 4 + 8].copy_from_slice(&word.to_le_bytes());
        reseal(&mut bytes, batch, 8);
        try_bytes(&bytes);
    }
}

#[test]
fn a_length_of_everything_allocates_nothing() {
    let mut bytes = good();
    let batch = bytes.windows(4).position(|four| four == b"arBT").unwrap();
    for field in [8, 12, 16, 20, 68, 72] {
        let mut bytes = bytes.clone();
        bytes[batch + field..batch + field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        reseal(&mut bytes, batch, 8);
        try_bytes(&bytes);
    }
    bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    try_bytes(&bytes);
}

#[test]
fn other_files_are_no_segments() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "1-1.journal",
        "0000000000000000-0000000000000000.journal.bak",
        "0000000000000000--000000000000001.journal",
        "99999999999999999999-0000000000000000.journal",
        "0000000000000000_0000000000000000.journal",
        "x.cursor",
    ] {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    assert_eq!(auditring_journal::segments(dir.path()).unwrap(), []);
}

/// Numbers that only count up are not believed beyond what anybody can count up to, so that nothing overflows behind them.
#[test]
fn a_count_that_nobody_came_to_is_no_header() {
    let whole = good();
    let batch = whole.windows(4).position(|four| four == b"arBT").unwrap();
    for (at, length_at, field) in [(0, 12, 32), (batch, 8, 48), (batch, 8, 56), (batch, 8, 136), (batch, 8, 160)] {
        for value in [u64::MAX, i64::MAX as u64, (1 << 62) + 1] {
            let mut bytes = whole.clone();
            bytes[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
            reseal(&mut bytes, at, length_at);
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("0000000000000000-0000000000000000.journal"), &bytes).unwrap();
            let state = fold(dir.path()).unwrap();
            assert_eq!((state.next_seq, state.batch_no), (0, 0), "{field} {value:x}");
            try_bytes(&bytes);
        }
    }
}

#[test]
fn a_cursor_of_what_is_no_seq_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    for seq in [-1, i64::MIN, i64::MAX] {
        let cursor = Cursor { seq, ..Cursor::default() };
        cursor.store(dir.path(), "rows").unwrap();
        assert!(matches!(Cursor::load(dir.path(), "rows"), Err(Error::Damaged { .. })), "{seq}");
    }
}
