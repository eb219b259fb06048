//! The bytes on disk: where the drawings say, and the same as ever. A journal outlives the release that wrote it.

use std::fs;

use auditring_journal::{BatchFlags, SegmentName, Writer};

use crate::common::{PROCESS, append, finish, head, len, roll, segment};

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn a_head_is_as_it_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 6);
    roll(&mut writer);
    let bytes = fs::read(segment(dir.path(), 1)).unwrap();
    assert_eq!(&bytes[..8], b"auditjnl");
    assert_eq!((u32_at(&bytes, 8), u32_at(&bytes, 12) as usize), (1, bytes.len()));
    assert_eq!([16, 24, 32].map(|at| u64_at(&bytes, at)), [1, 6, 1], "ordinal, first seq, batch number");
    assert_eq!((&bytes[40..56], &bytes[56..72]), (&PROCESS[..], &[7; 16][..]));
    assert_eq!([72, 76, 80, 84].map(|at| u32_at(&bytes, at)), [1, 0, 42, 1], "schema, generation, pid, clock");
    assert_eq!([88, 96, 104].map(|at| u64_at(&bytes, at)), [10, 20, 30], "birth");
    assert_eq!(&bytes[136..168], &[9; 32]);
    let lengths = [168, 172, 176, 180, 184].map(|at| u32_at(&bytes, at));
    assert_eq!(lengths, [10, 5, 6, 14, 3], "instance, host, tap, policy, definitions");
    assert_eq!([188, 192, 196].map(|at| u32_at(&bytes, at)), [1, 2, 1], "lanes, cells, born");
    assert_eq!(&bytes[200..210], b"proxy-eu-1");
    assert_eq!(u64_at(&bytes, 240), 6 * 64, "the lane's position, behind 38 bytes of text and two of padding");
    let crc = crc32fast::hash(&bytes[..bytes.len() - 4]);
    assert_eq!(u32_at(&bytes, bytes.len() - 4), crc);
}

#[test]
fn a_batch_is_as_it_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let start = writer.len() as usize;
    let sample = append(&mut writer, 2);
    let bytes = fs::read(segment(dir.path(), 0)).unwrap();
    let batch = &bytes[start..];
    assert_eq!(&batch[..4], b"arBT");
    assert_eq!((batch[4], batch[5], batch[6], batch[7]), (1, 0, 1, 0), "version, birth");
    let header = 136 + 32 + 2 * 16 + 8;
    assert_eq!([8, 12, 16, 20].map(|at| u32_at(batch, at)), [header as u32, 32, 3, 96]);
    assert_eq!(u32_at(batch, 24), crc32fast::hash(&batch[header..]));
    assert_eq!((u32_at(batch, 28), &batch[32..48]), (2, &PROCESS[..]));
    assert_eq!([68, 72, 76].map(|at| u32_at(batch, at)), [1, 2, 1], "lanes, cells, the segment's ordinal and one");
    assert_eq!([136, 144, 152, 160].map(|at| u64_at(batch, at)), [0, 0, 128, 2], "the lane");
    assert_eq!(u32_at(batch, 168), sample.meta.cells[0].0);
    assert_eq!(u64_at(batch, 176), sample.meta.cells[0].1);
    assert_eq!(u32_at(batch, header - 4), crc32fast::hash(&batch[..header - 4]));
    assert_eq!(batch[header + 32..header + 40], *b"odd\0\0\0\0\0");
    assert_eq!(batch[header + 40..], sample.rows);
}

/// If this fails, journals of earlier releases can no longer be read: raise the version and keep reading the old one.
#[test]
fn the_format_has_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    append(&mut writer, 0);
    roll(&mut writer);
    finish(&mut writer);
    let hashes = [0, 1].map(|n| fnv(&fs::read(segment(dir.path(), n)).unwrap()));
    assert_eq!(len(&segment(dir.path(), 0)) + len(&segment(dir.path(), 1)), 1464);
    assert_eq!(hashes, [0x3464_fb20_a79b_1e6a, 0x5530_ec85_9a63_fb37]);
}

/// Not a CRC: over bytes that end with their own CRC that is always the same.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn a_flag_of_the_reader_is_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let start = writer.len() as usize;
    let mut sample = crate::common::follow(&writer, 1, 8);
    sample.meta.flags = sample.meta.flags | BatchFlags::PASSED;
    sample.append(&mut writer).unwrap();
    let bytes = fs::read(segment(dir.path(), 0)).unwrap();
    assert_eq!(bytes[start + 6..start + 8], [1, 0]);
}

#[test]
fn names_sort_as_segments_follow() {
    let name = |ordinal, first_seq| SegmentName { ordinal, first_seq };
    let largest = name(1 << 62, 1 << 62);
    for name in [name(0, 0), name(1, 1 << 32), largest] {
        assert_eq!(SegmentName::parse(&name.file_name()), Some(name));
    }
    for beyond in [name((1 << 62) + 1, 0), name(0, i64::MAX), name(u64::MAX, 0)] {
        assert_eq!(SegmentName::parse(&beyond.file_name()), None, "nobody counts so far");
    }
    assert!(name(1, 5) < name(2, 0) && name(1, 5) < name(1, 6));
}
