//! Segments: cut, flipped, spliced and forged, then folded and read.

use std::fs;
use std::path::{Path, PathBuf};

use auditring_event::row::RowView;
use auditring_journal::{BatchFlags, Error, Reader, Step, contexts, fold, fold_checked};
use fastrand::Rng;

use super::Seen;
use crate::blocks::{Block, apart, together};
use crate::corpus::World;
use crate::{Failure, harm, oracle};

/// Fields of a batch header, and of a segment's head: where they are, and how wide.
const BATCH_FIELDS: [(usize, usize); 19] = [
    (4, 2),
    (6, 2),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 4),
    (28, 4),
    (48, 8),
    (56, 8),
    (64, 4),
    (68, 4),
    (72, 4),
    (76, 4),
    (80, 8),
    (88, 8),
    (96, 8),
    (104, 8),
    (120, 8),
    (136, 8),
];
const HEAD_FIELDS: [(usize, usize); 18] = [
    (8, 4),
    (12, 4),
    (16, 8),
    (24, 8),
    (32, 8),
    (72, 4),
    (76, 4),
    (88, 8),
    (96, 8),
    (104, 8),
    (112, 8),
    (168, 4),
    (176, 4),
    (180, 4),
    (184, 4),
    (188, 4),
    (192, 4),
    (196, 4),
];
/// A directory of so many files is read in at most so many steps for each of its bytes.
const STEPS_A_BYTE: usize = 1;

/// The segments of a world, harmed.
pub(crate) struct Harmed {
    pub(crate) segments: Vec<(String, Vec<u8>)>,
    pub(crate) forged: bool,
    /// Whole batches or files are elsewhere, or gone: what they alone had counted is not known.
    pub(crate) spliced: bool,
}

/// Harms one of a world's segments, or their names.
pub(crate) fn harmed(rng: &mut Rng, world: &World, worlds: &[World]) -> Harmed {
    let mut segments = world.segments.clone();
    let (mut forged, mut spliced) = (false, false);
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..segments.len());
        match rng.u8(..16) {
            // Bytes, wherever they are.
            0..4 => {
                let donor = worlds[rng.usize(..worlds.len())].segments[0].1.clone();
                harm::one(rng, &mut segments[at].1, &donor);
            }
            4 => {
                let len = segments[at].1.len();
                segments[at].1.truncate(rng.usize(..=len));
            }
            // Blocks, whole.
            5..9 => {
                spliced = true;
                splice(rng, &mut segments, at, worlds);
            }
            // One of the files.
            9 => {
                spliced = true;
                if segments.len() > 1 {
                    segments.remove(at);
                }
            }
            10 => {
                spliced = true;
                let other = rng.usize(..segments.len());
                let bytes = segments[other].1.clone();
                segments[at].1 = bytes;
            }
            // A number in a header, or bytes in what it covers, under a checksum that is right.
            _ => forged |= forge(rng, &mut segments[at].1, worlds),
        }
    }
    Harmed { segments, forged, spliced }
}

fn splice(rng: &mut Rng, segments: &mut [(String, Vec<u8>)], at: usize, worlds: &[World]) {
    let mut blocks = apart(&segments[at].1);
    let other = match rng.u8(..4) {
        // Another process's.
        0 => {
            let other = &worlds[rng.usize(..worlds.len())];
            other.segments[rng.usize(..other.segments.len())].1.clone()
        }
        _ => segments[rng.usize(..segments.len())].1.clone(),
    };
    let donor = apart(&other);
    if blocks.is_empty() || donor.is_empty() {
        return;
    }
    let (one, two) = (rng.usize(..blocks.len()), rng.usize(..blocks.len()));
    match rng.u8(..4) {
        0 => drop(blocks.remove(one)),
        1 => blocks.swap(one, two),
        2 => blocks.insert(one, blocks[two].clone()),
        _ => blocks.insert(one, donor[rng.usize(..donor.len())].clone()),
    }
    segments[at].1 = together(&blocks);
}

fn forge(rng: &mut Rng, bytes: &mut Vec<u8>, worlds: &[World]) -> bool {
    let mut blocks = apart(bytes);
    if blocks.is_empty() {
        return false;
    }
    let at = rng.usize(..blocks.len());
    let donor = worlds[rng.usize(..worlds.len())].segments[0].1.clone();
    let careful = rng.bool();
    match &mut blocks[at] {
        Block::Head(head) => {
            if rng.u8(..3) == 0 {
                harm::one(rng, head, &donor);
            } else {
                let (at, width) = HEAD_FIELDS[rng.usize(..HEAD_FIELDS.len())];
                harm::number_at(rng, head, at, width);
            }
        }
        Block::Batch { header, payload } => match rng.u8(..6) {
            0 => harm::one(rng, header, &donor),
            1 | 2 => harm::some(rng, payload, &donor),
            _ => {
                let (at, width) = BATCH_FIELDS[rng.usize(..BATCH_FIELDS.len())];
                harm::number_at(rng, header, at, width);
            }
        },
        Block::Rest(_) => return false,
    }
    if careful {
        blocks[at].measure();
    }
    blocks[at].seal();
    *bytes = together(&blocks);
    true
}

/// A directory for segments that no process owns.
pub(crate) struct Scratch {
    dir: PathBuf,
}

/// Empties a directory.
pub(crate) fn clear(dir: &Path) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|error| error.to_string())?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

pub(crate) fn write(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<usize, String> {
    let mut size = 0;
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).map_err(|error| format!("{name}: {error}"))?;
        size += bytes.len();
    }
    Ok(size)
}

impl Scratch {
    pub(crate) fn new(folder: &Path) -> Result<Self, Failure> {
        let dir = folder.join("segments");
        fs::create_dir(&dir)?;
        Ok(Self { dir })
    }

    pub(crate) fn one(&self, rng: &mut Rng, worlds: &[World]) -> Result<Seen, String> {
        let world = &worlds[rng.usize(..worlds.len())];
        let Harmed { segments, forged, .. } = harmed(rng, world, worlds);
        clear(&self.dir)?;
        let size = write(&self.dir, &segments)?;
        let mut seen = Seen { size, forged, ..Seen::default() };
        let (state, checked) = (fold(&self.dir), fold_checked(&self.dir));
        seen.refused = state.is_err() || checked.is_err();
        if let Ok(state) = state {
            let _head = state.next_head();
            let _off = state.cells.edge_total(0, false);
            if let Ok(checked) = checked
                && (checked.next_seq, checked.batch_no) != (state.next_seq, state.batch_no)
            {
                return Err("the two folds come to different places".into());
            }
        }
        let from = if rng.bool() { 0 } else { harm::edge(rng, 20) as i64 };
        match self.read(from, rng.bool(), worlds, &mut seen) {
            Ok(()) => Ok(seen),
            Err(Stopped::Broken(why)) => Err(why),
            Err(Stopped::Refused) => Ok(Seen { refused: true, ..seen }),
        }
    }

    fn read(&self, from: i64, hold: bool, worlds: &[World], seen: &mut Seen) -> Result<(), Stopped> {
        let mut reader = Reader::open(&self.dir, from)?;
        if hold {
            reader.hold()?;
        }
        let (mut buf, mut known) = (Vec::new(), Vec::<Option<Vec<u8>>>::new());
        let (mut next, mut of) = (from, None);
        for _ in 0..64 + seen.size * STEPS_A_BYTE {
            match reader.next(&mut buf)? {
                Step::Segment(head) => {
                    known.clear();
                    // Harm may have put another process's journal in this one's place, from its head on. Then its rows are what
                    // comes, under its name.
                    of = worlds.iter().find(|world| world.process == head.process);
                }
                Step::Batch(meta, sections) => {
                    for entry in contexts::iter(&buf[sections.contexts]).flatten() {
                        let at = entry.index as usize;
                        if at < 1 << 12 {
                            known.resize(known.len().max(at + 1), None);
                            known[at] = Some(entry.bytes.to_vec());
                        }
                    }
                    let (mut left, mut seq) = (&buf[sections.rows], meta.first_seq);
                    let jump = meta.flags.contains(BatchFlags::SEQ_JUMP);
                    if !meta.flags.contains(BatchFlags::PASSED) && (seq < next || (seq > next && !jump)) && seq > from {
                        return Err(Stopped::Broken(format!("a batch of seq {seq}, and {next} is next")));
                    }
                    while let Ok(view) = RowView::parse(left) {
                        let (row, rest) = left.split_at(view.len());
                        if !seen.forged {
                            let context = oracle::context_at(&known, &view);
                            let world = of.ok_or_else(|| Stopped::Broken("a process that never was".into()))?;
                            oracle::row_of(world, seq, row, context).map_err(Stopped::Broken)?;
                        }
                        seen.rows += 1;
                        (left, seq) = (rest, seq.saturating_add(1));
                    }
                    next = next.max(meta.end_seq());
                }
                Step::Corrupt { first_seq, rows } | Step::Gone { first_seq, rows } => {
                    next = next.max(first_seq.saturating_add_unsigned(rows));
                }
                Step::NotYet | Step::End => return Ok(()),
            }
        }
        Err(Stopped::Broken("reading does not end".into()))
    }
}

/// Why a journal was not read to its end.
enum Stopped {
    /// What reads it said why.
    Refused,
    /// What must hold does not.
    Broken(String),
}

impl From<Error> for Stopped {
    fn from(_: Error) -> Self {
        Self::Refused
    }
}
