//! Journals made to order.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use auditring_journal::{
    Anchor, Batch, BatchFlags, BatchMeta, LaneRange, Reader, SegmentHead, Step, Writer, counters, segments,
};

pub const PROCESS: [u8; 16] = *b"0123456789abcdef";

/// The head of a first segment.
pub fn head() -> SegmentHead {
    let anchor = Anchor { stamp: 10, mono_ns: 20, real_ns: 30 };
    SegmentHead {
        process: PROCESS,
        boot_id: [7; 16],
        schema_version: 1,
        instance: "proxy-eu-1".to_owned(),
        host: "höst".to_owned(),
        pid: 42,
        clock: 1,
        birth: anchor,
        anchor,
        policy: b"{\"keep\":\"all\"}".to_vec(),
        policy_digest: [9; 32],
        primary_tap: Some("broker".to_owned()),
        definitions: vec![1, 2, 3],
        ..SegmentHead::default()
    }
}

/// One batch and all that goes with it; owned, so that it can be compared with what is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub meta: BatchMeta,
    pub contexts: Vec<u8>,
    pub definitions: Vec<u8>,
    pub rows: Vec<u8>,
}

impl Sample {
    pub fn append(&self, writer: &mut Writer) -> auditring_journal::Result<()> {
        writer.append(&self.meta, &self.contexts, &self.definitions, &self.rows)
    }
}

/// The batch that follows `writer`'s state: `rows` rows of `row_len` bytes, with a context and some moved counters.
pub fn follow(writer: &Writer, rows: u32, row_len: usize) -> Sample {
    let state = writer.state();
    let from = state.lanes.first().copied().unwrap_or_default();
    let no = state.batch_no;
    let mut contexts = Vec::new();
    auditring_journal::contexts::push(&mut contexts, no as u32, no + 100, b"a context");
    let first_seq = state.next_seq;
    Sample {
        meta: BatchMeta {
            flags: if no == 0 { BatchFlags::BIRTH } else { BatchFlags::NONE },
            process: PROCESS,
            batch_no: no,
            generation: 0,
            lanes: vec![LaneRange {
                from_pos: from.pos,
                from_claims: from.claims,
                to_pos: from.pos + u64::from(rows) * 64,
                to_claims: from.claims + u64::from(rows),
            }],
            first_seq,
            rows,
            anchor: Anchor { stamp: no, mono_ns: no as i64, real_ns: no as i64 },
            min_time_ns: first_seq,
            max_time_ns: first_seq + i64::from(rows),
            min_age_ns: first_seq,
            max_age_ns: first_seq + i64::from(rows),
            cells: vec![
                (counters::JOURNALED, first_seq as u64 + u64::from(rows)),
                (counters::journaled(3, 0, true), first_seq as u64 + u64::from(rows)),
            ],
        },
        contexts,
        definitions: if no.is_multiple_of(3) { b"odd".to_vec() } else { Vec::new() },
        rows: (0..rows).flat_map(|row| vec![(first_seq as u8).wrapping_add(row as u8); row_len]).collect(),
    }
}

/// Appends the batch that follows and returns it.
pub fn append(writer: &mut Writer, rows: u32) -> Sample {
    let sample = follow(writer, rows, 48);
    sample.append(writer).unwrap();
    sample
}

/// Appends a clean end.
pub fn finish(writer: &mut Writer) -> Sample {
    let mut sample = follow(writer, 1, 48);
    sample.meta.flags = sample.meta.flags | BatchFlags::FINAL_CLEAN;
    sample.append(writer).unwrap();
    sample
}

/// Rolls to the next segment as a pump does.
pub fn roll(writer: &mut Writer) {
    writer.roll(&writer.next_head()).unwrap();
}

/// A step that owns what it holds.
#[allow(clippy::large_enum_variant, reason = "a few, and compared with what was written as it is")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Segment(u64),
    Batch(Sample),
    Corrupt(i64, u64),
    Gone(i64, u64),
    NotYet,
    End,
}

/// One step.
pub fn step(reader: &mut Reader, buf: &mut Vec<u8>) -> Seen {
    match reader.next(buf).unwrap() {
        Step::Segment(head) => Seen::Segment(head.ordinal),
        Step::Batch(meta, sections) => {
            let batch = Batch::new(meta, &sections, buf);
            Seen::Batch(Sample {
                contexts: batch.contexts.to_vec(),
                definitions: batch.definitions.to_vec(),
                rows: batch.rows.to_vec(),
                meta: batch.meta,
            })
        }
        Step::Corrupt { first_seq, rows } => Seen::Corrupt(first_seq, rows),
        Step::Gone { first_seq, rows } => Seen::Gone(first_seq, rows),
        Step::NotYet => Seen::NotYet,
        Step::End => Seen::End,
    }
}

/// All steps up to and with the first that says there is no more.
pub fn steps(reader: &mut Reader) -> Vec<Seen> {
    let mut buf = Vec::new();
    let mut seen = Vec::new();
    loop {
        seen.push(step(reader, &mut buf));
        if matches!(seen.last(), Some(Seen::NotYet | Seen::End)) {
            return seen;
        }
    }
}

/// All steps from `seq` on.
pub fn read_from(dir: &Path, seq: i64) -> Vec<Seen> {
    steps(&mut Reader::open(dir, seq).unwrap())
}

/// The path of the `n`th segment that is there.
pub fn segment(dir: &Path, n: usize) -> PathBuf {
    dir.join(segments(dir).unwrap()[n].file_name())
}

/// Flips one bit, in place.
pub fn flip(path: &Path, byte: usize, bit: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut one = [0];
    file.read_exact_at(&mut one, byte as u64).unwrap();
    file.write_all_at(&[one[0] ^ 1 << bit], byte as u64).unwrap();
}

/// Cuts the file to so many bytes, in place.
pub fn cut(path: &Path, len: usize) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len as u64).unwrap();
}

/// The length of a file.
pub fn len(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}
