//! The tail against journals that are written, rolled and deleted before its eyes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auditring_event::json::{self, Dialect};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{NO_CONTEXT, from_record, int_field};
use auditring_event::{Outcome, RowSet, SCHEMA_VERSION, arrow, by_name};
use auditring_flow::{Declined, Filter, Follower, Form, Missed, Progress, Snapshot, Style, Tail, lines, lines_each};
use auditring_journal::{BatchFlags, BatchMeta, SegmentHead, Totals, Writer, segments};

const JSON: Style = Style::Json { dialect: Dialect::Own };
const PROCESS: [u8; 16] = [7; 16];
const UUID: &str = "07070707-0707-0707-0707-070707070707";
const POLICY: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;

/// A journal that is written by hand.
struct Rig {
    folder: tempfile::TempDir,
    writer: Writer,
    head: SegmentHead,
    next: BatchMeta,
}

fn rig() -> Rig {
    rig_of(SCHEMA_VERSION)
}

fn rig_of(schema_version: u32) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir(folder.path())).unwrap();
    let head = SegmentHead { process: PROCESS, policy: POLICY.into(), schema_version, ..SegmentHead::default() };
    let writer = Writer::create(&dir(folder.path()), &head).unwrap();
    let next = BatchMeta { flags: BatchFlags::BIRTH, process: PROCESS, ..BatchMeta::default() };
    Rig { folder, writer, head, next }
}

fn dir(root: &Path) -> PathBuf {
    root.join("journal").join(UUID)
}

impl Rig {
    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// One batch of Reads whose offsets are their seqs; their wall times too, in nanoseconds.
    fn batch(&mut self, rows: u32) {
        let mut bytes = Vec::new();
        for seq in self.next.first_seq..self.next.first_seq + i64::from(rows) {
            let mut read = Encoder::new(by_name("Read").unwrap());
            read.text("topic", "orders").int("partition", 0).int("first_offset", seq);
            if seq % 5 == 0 {
                read.outcome(Outcome::Failure);
            }
            from_record(&RecordView::parse(&read.to_vec()).unwrap(), NO_CONTEXT, seq, seq, 0, &mut bytes);
        }
        self.append(rows, &bytes);
    }

    /// One batch of rows as they are.
    fn append(&mut self, rows: u32, bytes: &[u8]) {
        let max_time_ns = self.next.first_seq + i64::from(rows) - 1;
        let meta = BatchMeta { rows, max_time_ns, ..self.next.clone() };
        self.writer.append(&meta, b"", b"", bytes).unwrap();
        self.next = BatchMeta {
            flags: BatchFlags::NONE,
            batch_no: self.next.batch_no + 1,
            first_seq: self.next.first_seq + i64::from(rows),
            ..self.next.clone()
        };
    }

    fn roll(&mut self) {
        self.head = SegmentHead {
            ordinal: self.head.ordinal + 1,
            batch_no: self.next.batch_no,
            first_seq: self.next.first_seq,
            ..self.head.clone()
        };
        self.writer = Writer::create(&dir(self.folder.path()), &self.head).unwrap();
    }

    /// Deletes the oldest segment.
    fn delete(&self) {
        let dir = dir(self.folder.path());
        fs::remove_file(dir.join(segments(&dir).unwrap()[0].file_name())).unwrap();
    }

    fn tail(&self, filter: Filter) -> Tail {
        Tail::open(self.root(), filter, false).unwrap()
    }
}

fn offsets(sets: &[RowSet]) -> Vec<i64> {
    let of = |set: &RowSet| -> Vec<i64> {
        set.rows.iter().map(|at| (at.seq, int_field(&set.row(at).unwrap(), 2).unwrap())).map(same).collect()
    };
    sets.iter().flat_map(of).collect()
}

fn same((seq, offset): (i64, i64)) -> i64 {
    assert_eq!(seq, offset);
    seq
}

/// Everything until nothing comes for now.
fn all(tail: &mut Tail) -> Vec<i64> {
    let mut found = Vec::new();
    loop {
        let sets = tail.fresh().unwrap();
        if sets.is_empty() {
            return found;
        }
        found.extend(offsets(&sets));
    }
}

#[test]
fn rows_come_once_whether_their_segment_is_still_there_or_not() {
    let mut rig = rig();
    rig.batch(3);
    rig.roll();
    rig.batch(4);
    let mut tail = rig.tail(Filter::default());
    rig.delete();
    assert_eq!((0..7).collect::<Vec<_>>(), all(&mut tail));
    rig.batch(2);
    assert_eq!(vec![7, 8], all(&mut tail));
    rig.roll();
    rig.batch(1);
    assert_eq!(vec![9], all(&mut tail));
    assert!(tail.take_missed().is_empty());
}

#[test]
fn what_went_unseen_is_told_of_by_its_range() {
    let mut rig = rig();
    rig.batch(3);
    rig.roll();
    rig.batch(4);
    rig.delete();
    let mut tail = rig.tail(Filter::default());
    let process = UUID.to_owned();
    assert_eq!(vec![Missed { process: process.clone(), first_seq: 0, last_seq: 2 }], tail.take_missed());
    assert_eq!((3..7).collect::<Vec<_>>(), all(&mut tail));
    for rows in [5, 1] {
        rig.roll();
        rig.batch(rows);
    }
    rig.delete();
    rig.delete();
    assert_eq!(vec![12], all(&mut tail));
    assert_eq!(vec![Missed { process, first_seq: 7, last_seq: 11 }], tail.take_missed());
}

#[test]
fn a_directory_that_goes_takes_the_rest_with_it_and_that_is_told() {
    let mut rig = rig();
    rig.batch(3);
    let mut tail = rig.tail(Filter::default());
    rig.batch(2);
    Totals::default().store(rig.root(), &PROCESS).unwrap();
    fs::remove_dir_all(dir(rig.root())).unwrap();
    assert_eq!((0..5).collect::<Vec<_>>(), all(&mut tail));
    let missed = tail.take_missed();
    assert_eq!(vec![Missed { process: UUID.into(), first_seq: 5, last_seq: i64::MAX }], missed);
    assert!(all(&mut tail).is_empty() && tail.take_missed().is_empty());
    fs::remove_dir_all(rig.root()).unwrap();
    std::iter::repeat_with(|| tail.fresh()).find(Result::is_err).unwrap().unwrap_err();
}

#[test]
fn the_last_rows_are_those_of_the_moment_and_the_rest_follows() {
    let mut rig = rig();
    rig.batch(9);
    rig.roll();
    rig.batch(3);
    let failures = Filter { outcomes: vec![Outcome::Failure], ..Filter::default() };
    let (mut tail, mut failed) = (rig.tail(Filter::default()), rig.tail(failures));
    rig.batch(4);
    assert_eq!(vec![7, 8, 9, 10, 11], offsets(&tail.last(5).unwrap()));
    assert_eq!(vec![12, 13, 14, 15], all(&mut tail));
    assert_eq!(vec![5, 10], offsets(&failed.last(2).unwrap()));
    assert_eq!(vec![15], all(&mut failed));
}

#[test]
fn from_now_on_and_since_a_moment() {
    let mut rig = rig();
    rig.batch(9);
    let mut now = Tail::open(rig.root(), Filter::default(), true).unwrap();
    let mut since = rig.tail(Filter { since_ns: Some(7), ..Filter::default() });
    rig.batch(2);
    assert_eq!(vec![9, 10], all(&mut now));
    assert_eq!(vec![7, 8, 9, 10], all(&mut since));
    assert!(now.take_missed().is_empty());
}

#[test]
fn a_row_that_cannot_be_read_costs_its_own_line() {
    let mut rig = rig();
    rig.batch(3);
    let mut sets = rig.tail(Filter::default()).fresh().unwrap();
    // The second row's topic is no UTF-8.
    let at = sets[0].data.windows(6).enumerate().filter(|(_, bytes)| *bytes == b"orders").nth(1).unwrap().0;
    sets[0].data[at] = 0xff;
    for style in [JSON, Style::People { colour: false }] {
        let text = lines(sets.clone(), style);
        let (each, unreadable) = lines_each(sets.clone(), style);
        assert_eq!((1, 1), (text.unreadable, unreadable));
        assert_eq!(2, String::from_utf8_lossy(&text.text).lines().count());
        assert_eq!(vec![0, 2], each.iter().map(|line| line.seq).collect::<Vec<_>>());
        assert_eq!(text.text, each.into_iter().flat_map(|line| line.text).collect::<Vec<_>>());
    }
}

#[test]
fn rows_of_a_later_version_are_told_of_by_their_number_alone_and_wait_for_who_knows_them() {
    let mut rig = rig_of(SCHEMA_VERSION + 1);
    rig.batch(2);
    let mut bytes = Vec::new();
    for name in ["Peek", "Read"] {
        let mut event = event_next::record::Encoder::new(event_next::by_name(name).unwrap());
        event.text("topic", "orders").text("rack", "r1");
        if name == "Read" {
            event.int("partition", 0);
        }
        from_record(&RecordView::parse(&event.to_vec()).unwrap(), NO_CONTEXT, 3, 3, 0, &mut bytes);
    }
    rig.append(2, &bytes);
    rig.batch(2);

    let (told, unreadable) = lines_each(rig.tail(Filter::default()).fresh().unwrap(), JSON);
    assert_eq!((vec![0, 1, 4, 5], 2), (told.iter().map(|line| line.seq).collect(), unreadable));

    let mut snapshot = Snapshot::open(rig.root()).unwrap();
    let fresh = snapshot.fresh(&[]).unwrap();
    assert_eq!(vec![0, 1, 4, 5], fresh.iter().flat_map(|batch| &batch.set.rows).map(|at| at.seq).collect::<Vec<_>>());
    assert_eq!((4, 2), (arrow::record_batch(&fresh[0].set).unwrap().num_rows(), snapshot.unknown()));

    // A sink that would pass them by loses them for good: it fails instead, as often as it tries, and its cursor stands.
    for form in [Form::Rows, Form::Table] {
        let progress = Arc::<Progress>::default();
        let mut follower = Follower::open(&dir(rig.root()), "sink", Declined::default(), form, progress).unwrap();
        for _ in 0..2 {
            let next = follower.next(6, Duration::ZERO, true);
            let failed = match form {
                Form::Rows => json::lines(&next.unwrap().unwrap().set, &mut Vec::new()).unwrap_err().to_string(),
                Form::Table => next.unwrap_err().to_string(),
            };
            assert!(failed.ends_with("unknown code 67"), "{failed}");
            follower.rewind().unwrap();
        }
        assert_eq!(0, follower.cursor().seq);
    }
}

#[test]
fn lines_of_several_processes_are_merged_by_time_and_each_keeps_its_order() {
    let rig = |times: &[i64]| {
        let mut rig = rig();
        rig.batch(times.len() as u32);
        let mut set = rig.tail(Filter::default()).fresh().unwrap().remove(0);
        for (at, time) in set.rows.iter().zip(times) {
            let begin = at.offset as usize + auditring_event::row::TIME_AT;
            set.data[begin..begin + 8].copy_from_slice(&time.to_le_bytes());
        }
        set
    };
    let merged = lines(vec![rig(&[10, 5, 30]), rig(&[20, 20])], JSON).text;
    let times: Vec<i64> = merged.split_inclusive(|byte| *byte == b'\n').map(time_of).collect();
    assert_eq!(vec![10, 5, 20, 20, 30], times);
}

fn time_of(line: &[u8]) -> i64 {
    let text = std::str::from_utf8(line).unwrap();
    let (_, rest) = text.split_once("\"timeNanos\":").unwrap();
    rest.split_once(',').unwrap().0.parse().unwrap()
}
