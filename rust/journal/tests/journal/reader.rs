//! Reading journals, whole, torn, damaged and while they are written.

use std::fs;
use std::time::{Duration, Instant};

use auditring_journal::{BatchFlags, Error, Reader, Step, Writer};

use crate::common::{Sample, Seen, append, finish, flip, follow, head, len, read_from, roll, segment, step, steps};

/// A journal of two segments of two batches, the second one final; with the batches, and where each begins.
fn journal(dir: &std::path::Path) -> (Vec<Sample>, Vec<usize>) {
    let mut writer = Writer::create(dir, &head()).unwrap();
    let mut batches = Vec::new();
    let mut starts = vec![writer.len() as usize];
    batches.push(append(&mut writer, 3));
    starts.push(writer.len() as usize);
    batches.push(append(&mut writer, 4));
    roll(&mut writer);
    starts.push(writer.len() as usize);
    batches.push(append(&mut writer, 5));
    starts.push(writer.len() as usize);
    batches.push(finish(&mut writer));
    (batches, starts)
}

#[test]
fn batches_come_back_in_order_and_then_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, _) = journal(dir.path());
    let [a, b, c, d] = <[Sample; 4]>::try_from(batches).unwrap().map(Seen::Batch);
    let expected = [Seen::Segment(0), a, b, Seen::Segment(1), c, d, Seen::End];
    assert_eq!(read_from(dir.path(), 0), expected);
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    steps(&mut reader);
    assert_eq!(steps(&mut reader), [Seen::End]);
    assert_eq!(reader.next_seq(), 13);
}

#[test]
fn a_reader_begins_at_the_segment_that_holds_its_seq() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    for (seq, ordinal) in [(0, 0), (6, 0), (7, 1), (12, 1), (1 << 50, 1)] {
        assert_eq!(read_from(dir.path(), seq)[0], Seen::Segment(ordinal), "from {seq}");
    }
}

#[test]
fn a_reader_stops_at_its_limit_and_goes_on_when_that_moves() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, _) = journal(dir.path());
    let [a, b, c, d] = <[Sample; 4]>::try_from(batches).unwrap().map(Seen::Batch);
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    reader.limit(0);
    assert_eq!(steps(&mut reader), [Seen::NotYet]);
    reader.limit(1);
    assert_eq!(steps(&mut reader), [Seen::Segment(0), a, Seen::NotYet]);
    reader.limit(2);
    assert_eq!(steps(&mut reader), [b, Seen::NotYet]);
    reader.limit(3);
    assert_eq!(steps(&mut reader), [Seen::Segment(1), c, Seen::NotYet]);
    assert_eq!(reader.next_seq(), 12);
    reader.limit(u64::MAX);
    assert_eq!(steps(&mut reader), [d, Seen::End]);
}

#[test]
fn the_head_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    let next = writer.next_head();
    writer.roll(&next).unwrap();
    let mut reader = Reader::open(dir.path(), 3).unwrap();
    let Step::Segment(read) = reader.next(&mut Vec::new()).unwrap() else { panic!("a head comes first") };
    assert_eq!(*read, next);
}

#[test]
fn a_live_reader_sees_each_batch_and_each_roll_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut buf = Vec::new();
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    assert_eq!(step(&mut reader, &mut buf), Seen::NotYet, "no segment yet");
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    assert_eq!(step(&mut reader, &mut buf), Seen::Segment(0));
    for ordinal in 1..50 {
        assert_eq!(step(&mut reader, &mut buf), Seen::NotYet);
        let batch = append(&mut writer, ordinal);
        assert_eq!(step(&mut reader, &mut buf), Seen::Batch(batch));
        assert_eq!(step(&mut reader, &mut buf), Seen::NotYet);
        let batch = append(&mut writer, 1);
        roll(&mut writer); // the batch before it must not be missed
        assert_eq!(step(&mut reader, &mut buf), Seen::Batch(batch));
        assert_eq!(step(&mut reader, &mut buf), Seen::Segment(u64::from(ordinal)));
    }
}

#[test]
fn a_reader_beside_a_writer_reads_all_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    let (read, written) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut writer = Writer::create(dir.path(), &head()).unwrap();
            let mut batches = Vec::new();
            for n in 0..400 {
                batches.push(append(&mut writer, n % 37 * 20));
                if n % 11 == 0 {
                    roll(&mut writer);
                }
            }
            batches.push(finish(&mut writer));
            batches
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut buf = Vec::new();
        let mut read = Vec::new();
        loop {
            match step(&mut reader, &mut buf) {
                Seen::Batch(batch) => read.push(batch),
                Seen::Segment(_) => {}
                Seen::NotYet => {
                    assert!(deadline > Instant::now(), "the writer is stuck");
                    std::thread::yield_now();
                }
                Seen::End => break,
                other => panic!("{other:?}"),
            }
        }
        (read, writing.join().unwrap())
    });
    assert!(read == written);
}

#[test]
fn a_batch_cut_at_any_byte_is_not_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let first = append(&mut writer, 3);
    let start = writer.len() as usize;
    let second = append(&mut writer, 4);
    let path = segment(dir.path(), 0);
    let whole = fs::read(&path).unwrap();
    for cut in start..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut reader = Reader::open(dir.path(), 0).unwrap();
        assert_eq!(steps(&mut reader), [Seen::Segment(0), Seen::Batch(first.clone()), Seen::NotYet], "cut at {cut}");
        fs::write(&path, &whole).unwrap(); // and the same reader goes on when the rest has come
        assert_eq!(steps(&mut reader), [Seen::Batch(second.clone()), Seen::NotYet], "cut at {cut}");
    }
}

#[test]
fn a_batch_cut_at_any_byte_is_the_end_of_a_segment_that_has_a_successor() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let first = append(&mut writer, 3);
    let (start, state) = (writer.len() as usize, writer.next_head());
    append(&mut writer, 4);
    let whole = fs::read(segment(dir.path(), 0)).unwrap();
    let mut successor = Writer::create(dir.path(), &state).unwrap();
    let again = append(&mut successor, 2); // the failed batch, encoded anew
    for cut in start..whole.len() {
        fs::write(segment(dir.path(), 0), &whole[..cut]).unwrap();
        let expected =
            [Seen::Segment(0), Seen::Batch(first.clone()), Seen::Segment(1), Seen::Batch(again.clone()), Seen::NotYet];
        assert_eq!(read_from(dir.path(), 0), expected, "cut at {cut}");
    }
}

#[test]
fn a_segment_cut_within_its_head_is_not_yet_or_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, starts) = journal(dir.path());
    let path = segment(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    let [a, b, c, d] = <[Sample; 4]>::try_from(batches).unwrap().map(Seen::Batch);
    for cut in 0..starts[2] {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut reader = Reader::open(dir.path(), 0).unwrap();
        assert_eq!(steps(&mut reader), [Seen::Segment(0), a.clone(), b.clone(), Seen::NotYet], "cut at {cut}");
        fs::write(&path, &whole).unwrap();
        assert_eq!(steps(&mut reader), [Seen::Segment(1), c.clone(), d.clone(), Seen::End]);
    }
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    let torn = dir.path().join("0000000000000001-0000000000000006.journal"); // sorts before the good one
    fs::write(&torn, &whole[..100]).unwrap();
    assert_eq!(steps(&mut reader).len(), 7, "a headless segment with a successor is nothing");
}

#[test]
fn every_flipped_bit_of_a_header_ends_the_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, starts) = journal(dir.path());
    let [a, _, c, d] = <[Sample; 4]>::try_from(batches).unwrap().map(Seen::Batch);
    let path = segment(dir.path(), 0);
    let header_len = len(&path) - starts[1] - 8 * (25_usize.div_ceil(8) + 4 * 6);
    assert_eq!(header_len % 8, 0);
    for byte in starts[1]..starts[1] + header_len {
        for bit in 0..8 {
            flip(&path, byte, bit);
            let expected =
                [Seen::Segment(0), a.clone(), Seen::Corrupt(3, 4), Seen::Segment(1), c.clone(), d.clone(), Seen::End];
            assert_eq!(read_from(dir.path(), 0), expected, "byte {byte} bit {bit}");
            flip(&path, byte, bit);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_header_in_the_newest_segment_is_not_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let start = writer.len() as usize;
    let mut sample = follow(&writer, 0, 0);
    (sample.contexts, sample.definitions) = (vec![], vec![]);
    sample.append(&mut writer).unwrap(); // a header and nothing else
    let path = segment(dir.path(), 0);
    for byte in start..len(&path) {
        for bit in 0..8 {
            flip(&path, byte, bit);
            assert_eq!(read_from(dir.path(), 0), [Seen::Segment(0), Seen::NotYet], "byte {byte} bit {bit}");
            flip(&path, byte, bit);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_payload_is_corrupt_by_its_exact_range_and_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, starts) = journal(dir.path());
    let [a, b, _, d] = <[Sample; 4]>::try_from(batches).unwrap().map(Seen::Batch);
    let path = segment(dir.path(), 1);
    let payload = 32 + 5 * 48; // one context, no definitions, five rows
    for byte in starts[3] - payload..starts[3] {
        for bit in [0, 7] {
            flip(&path, byte, bit);
            let expected =
                [Seen::Segment(0), a.clone(), b.clone(), Seen::Segment(1), Seen::Corrupt(7, 5), d.clone(), Seen::End];
            assert_eq!(read_from(dir.path(), 0), expected, "byte {byte} bit {bit}");
            flip(&path, byte, bit);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_head_costs_its_segment_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, starts) = journal(dir.path());
    let path = segment(dir.path(), 1);
    for byte in 0..starts[2] {
        flip(&path, byte, 3);
        let seen = read_from(dir.path(), 0);
        assert_eq!(seen.len(), 4, "byte {byte}");
        assert_eq!(seen[3], Seen::NotYet);
        flip(&path, byte, 3);
    }
    flip(&segment(dir.path(), 0), 50, 0);
    let [_, _, c, d] = <[Sample; 4]>::try_from(batches).unwrap().map(Seen::Batch);
    assert_eq!(read_from(dir.path(), 2), [Seen::Corrupt(2, 5), Seen::Segment(1), c, d, Seen::End]);
}

#[test]
fn corrupt_rows_before_the_readers_seq_are_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (_, starts) = journal(dir.path());
    flip(&segment(dir.path(), 0), starts[1] - 1, 0);
    for (from, first_seq, rows) in [(0, 0, 3), (2, 2, 1), (3, 3, 0), (6, 6, 0)] {
        assert_eq!(read_from(dir.path(), from)[1], Seen::Corrupt(first_seq, rows), "from {from}");
    }
}

#[test]
fn a_final_batch_that_is_corrupt_is_still_the_end() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let path = segment(dir.path(), 1);
    flip(&path, len(&path) - 1, 0);
    assert_eq!(read_from(dir.path(), 7)[2..], [Seen::Corrupt(12, 1), Seen::End]);
}

#[test]
fn a_batch_written_twice_is_given_once_and_its_contexts_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    let first = append(&mut writer, 3);
    let state = writer.next_head();
    let second = append(&mut writer, 4);
    // Written back badly, says fdatasync: all since the last good state again, elsewhere.
    let mut elsewhere = Writer::create(dir.path(), &state).unwrap();
    second.append(&mut elsewhere).unwrap();
    let third = append(&mut elsewhere, 5);
    let mut passed = second.clone();
    passed.rows = vec![];
    passed.meta.rows = 0;
    passed.meta.first_seq = 7;
    passed.meta.flags = passed.meta.flags | BatchFlags::PASSED;
    let expected = [
        Seen::Segment(0),
        Seen::Batch(first),
        Seen::Batch(second),
        Seen::Segment(1),
        Seen::Batch(passed),
        Seen::Batch(third),
        Seen::NotYet,
    ];
    assert_eq!(read_from(dir.path(), 0), expected);
}

#[test]
fn a_jump_in_seq_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 3);
    roll(&mut writer);
    let mut jump = follow(&writer, 1, 8);
    jump.meta.first_seq += 1 << 32;
    jump.meta.flags = BatchFlags::SEQ_JUMP | BatchFlags::FINAL_RECOVERED;
    jump.append(&mut writer).unwrap();
    let seen = read_from(dir.path(), 0);
    assert_eq!(seen[2..], [Seen::Segment(1), Seen::Batch(jump), Seen::End]);
}

#[test]
fn rows_whose_segment_was_deleted_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    for _ in 0..4 {
        append(&mut writer, 10);
        roll(&mut writer);
    }
    let mut reader = Reader::open(dir.path(), 5).unwrap();
    assert_eq!(step(&mut reader, &mut Vec::new()), Seen::Segment(0));
    for _ in 0..3 {
        fs::remove_file(segment(dir.path(), 0)).unwrap();
    }
    let seen = steps(&mut reader);
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert_eq!(seen[1..3], [Seen::Gone(10, 20), Seen::Segment(3)]);
    assert_eq!(read_from(dir.path(), 5)[..2], [Seen::Gone(5, 25), Seen::Segment(3)]);
}

#[test]
fn a_reader_that_holds_segments_reads_them_after_their_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, _) = journal(dir.path());
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    reader.hold().unwrap();
    fs::remove_file(segment(dir.path(), 0)).unwrap();
    fs::remove_file(segment(dir.path(), 0)).unwrap();
    let seen = steps(&mut reader);
    assert_eq!(seen.last(), Some(&Seen::End));
    assert_eq!(seen.iter().filter(|seen| matches!(seen, Seen::Batch(_))).count(), batches.len());
}

#[test]
fn a_later_format_is_an_error_and_not_an_empty_journal() {
    let dir = tempfile::tempdir().unwrap();
    Writer::create(dir.path(), &head()).unwrap();
    let path = segment(dir.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = Reader::open(dir.path(), 0).unwrap().next(&mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Version { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn another_processs_segment_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &head()).unwrap();
    append(&mut writer, 1);
    let foreign = auditring_journal::SegmentHead { process: [1; 16], ..writer.next_head() };
    Writer::create(dir.path(), &foreign).unwrap();
    let mut reader = Reader::open(dir.path(), 0).unwrap();
    let mut buf = Vec::new();
    step(&mut reader, &mut buf);
    step(&mut reader, &mut buf);
    assert!(matches!(reader.next(&mut buf), Err(Error::Damaged { .. })));
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(&dir.path().join("none"), 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
