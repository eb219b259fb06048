//! What is read is what was written, whatever was done in between.

use auditring_journal::{Cursor, Reader, State, Writer, delete_passed, fold, fold_checked};
use proptest::prelude::*;

use crate::common::{Sample, Seen, follow, head, roll, step};

#[derive(Clone, Debug)]
enum Operation {
    /// So many rows of such a length, with or without contexts and definitions.
    Append(u32, usize, bool),
    /// A write that failed after so many bytes (in thousandths of the batch).
    Fail(u32, usize),
    Roll,
    /// The writer dies; another goes on from the fold.
    Reopen,
    /// The live reader reads all there is.
    Read,
    /// The live reader dies; another goes on from where it was.
    ReopenReader,
    /// All segments that the reader has passed go.
    Delete,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (0_u32..40, 0_usize..200, any::<bool>()).prop_map(|(rows, len, extras)| Operation::Append(rows, len, extras)),
        1 => (0_u32..40, 0_usize..1000).prop_map(|(rows, cut)| Operation::Fail(rows, cut)),
        1 => Just(Operation::Roll),
        1 => Just(Operation::Reopen),
        2 => Just(Operation::Read),
        1 => Just(Operation::ReopenReader),
        1 => Just(Operation::Delete),
    ]
}

struct Journal {
    dir: tempfile::TempDir,
    writer: Writer,
    written: Vec<Sample>,
    reader: Reader,
    buf: Vec<u8>,
    read: usize,
}

impl Journal {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::open(dir.path(), 0).unwrap();
        let writer = Writer::create(dir.path(), &head()).unwrap();
        Self { dir, writer, written: Vec::new(), reader, buf: Vec::new(), read: 0 }
    }

    fn sample(&self, rows: u32, row_len: usize, extras: bool) -> Sample {
        let mut sample = follow(&self.writer, rows, row_len);
        if !extras {
            (sample.contexts, sample.definitions) = (vec![], vec![]);
        }
        sample
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Append(rows, row_len, extras) => {
                let sample = self.sample(rows, row_len, extras);
                sample.append(&mut self.writer).unwrap();
                self.written.push(sample);
            }
            Operation::Fail(rows, cut) => self.fail(rows, cut),
            Operation::Roll => roll(&mut self.writer),
            Operation::Reopen => {
                let state = fold(self.dir.path()).unwrap();
                self.writer = Writer::create(self.dir.path(), &state.next_head().unwrap()).unwrap();
            }
            Operation::Read => self.read(),
            Operation::ReopenReader => self.reader = Reader::open(self.dir.path(), self.reader.next_seq()).unwrap(),
            Operation::Delete => {
                delete_passed(self.dir.path(), self.reader.next_seq(), 1).unwrap();
            }
        }
        let state = fold_checked(self.dir.path()).unwrap();
        let seen = |state: &State| State { max_time_ns: 0, max_age_ns: 0, ..state.clone() }; // of segments still there
        assert_eq!(seen(&state), seen(self.writer.state()));
    }

    /// The bytes of a batch that follows, cut, behind the segment's end; then the next segment, as after a failed write.
    fn fail(&mut self, rows: u32, cut: usize) {
        let path = self.writer.path().to_owned();
        let (len, next) = (self.writer.len() as usize, self.writer.next_head());
        self.sample(rows, 30, true).append(&mut self.writer).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let kept = len + (whole.len() - len) * cut / 1000;
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(kept as u64).unwrap();
        self.writer = Writer::create(self.dir.path(), &next).unwrap();
    }

    /// A reader that begins after batches without rows does not see them.
    fn nothing_in(&self, batches: std::ops::Range<usize>) -> bool {
        self.written[batches.start.min(batches.end)..batches.end].iter().all(|sample| sample.meta.rows == 0)
    }

    /// A batch that a reader was given before may come again after it was reopened: it begins at the segment's start.
    fn read(&mut self) {
        loop {
            match step(&mut self.reader, &mut self.buf) {
                Seen::Segment(_) => {}
                Seen::NotYet => break,
                Seen::Batch(sample) => {
                    let no = sample.meta.batch_no as usize;
                    assert!(self.nothing_in(self.read..no), "no row is left out");
                    assert_eq!(sample, self.written[no]);
                    self.read = self.read.max(no + 1);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(self.nothing_in(self.read..self.written.len()));
        assert_eq!(self.reader.next_seq(), self.writer.state().next_seq);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_read_is_what_was_written(operations in prop::collection::vec(operation(), 1..60)) {
        let mut journal = Journal::new();
        for operation in &operations {
            journal.apply(operation);
        }
        journal.read();
    }

    #[test]
    fn a_cursor_comes_back(seq in 0..=1_i64 << 62, state in prop::collection::vec(any::<u8>(), 0..4096),
                           totals in prop::collection::btree_map(".*", any::<u64>(), 0..10)) {
        let dir = tempfile::tempdir().unwrap();
        let cursor = Cursor { seq, state, totals };
        cursor.store(dir.path(), "sink").unwrap();
        prop_assert_eq!(Cursor::load(dir.path(), "sink").unwrap(), Some(cursor));
    }
}
