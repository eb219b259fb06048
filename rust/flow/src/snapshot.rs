//! A reader from outside: every journal of an audit directory as it stands at one moment, without any lock.
//!
//! What must always hold (the order is what makes it exact): segments are opened first, then the Parquet cursors are
//! read, then the caller lists sealed files; a journal row shows if it is at or beyond the cursor and in no listed file,
//! so each row is seen once, whatever pump and followers do meanwhile. Cursors and sealed ranges begin and end at cuts, so what
//! was merged comes out as it will stand in a file, but for the window that is not over yet.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use auditring_event::SCHEMA_VERSION;
use auditring_event::row::RowView;
use auditring_journal::{BatchFlags, Cursor, Followers, Reader, Step, fold, list, process_text};

use crate::Error;
use crate::follower::{Batch, illegible};
use crate::recovery::{is_dead, preview};
use crate::select::{Chosen, Declined, Selector};

/// The sink whose files are the table.
pub(crate) const PARQUET: &str = "parquet";
/// A batch ends at so many bytes of rows.
const BATCH_BYTES: usize = 64 << 20;

/// A sealed file: (process, first seq, last seq inclusive).
pub type Sealed = (String, i64, i64);

/// One process's journal, held open.
#[derive(Debug)]
struct Held {
    process: String,
    reader: Reader,
    /// The Parquet sink's own policy: a row shows as it will stand in a file.
    policy: Vec<u8>,
    cursor: i64,
    /// Whether it has such a sink at all.
    tabled: bool,
    /// Rows from here on came after the snapshot; under a flood reading would never end otherwise.
    until: i64,
    /// What a dead process's ring holds behind that, and its end: a window may begin in one and end in the other.
    ring: Option<(Reader, i64)>,
}

/// All journals of a directory.
#[derive(Debug)]
pub struct Snapshot {
    held: Vec<Held>,
    parquet: bool,
    primary_taps: BTreeMap<String, String>,
    unknown: u64,
    gone: u64,
}

impl Snapshot {
    /// Opens every segment that is there, then reads the cursors.
    ///
    /// # Errors
    /// If the directory or a segment cannot be read.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let mut held = Vec::new();
        let mut parquet = false;
        for (process, dir) in list(root)? {
            let reader = Reader::open(&dir, 0).and_then(|mut reader| reader.hold().map(|()| reader));
            let rest = reader.and_then(|reader| {
                let entry = Followers::load(&dir)?.get(PARQUET).cloned();
                let tabled = entry.is_some();
                parquet |= tabled;
                let policy = entry.unwrap_or_default().policy;
                let cursor = Cursor::load(&dir, PARQUET)?.map_or(0, |cursor| cursor.seq);
                let until = fold(&dir)?.next_seq;
                Ok(Held { process: process_text(&process), reader, policy, cursor, tabled, until, ring: None })
            });
            match rest {
                Ok(mut one) => {
                    one.ring = dead(&dir, one.until)?;
                    held.push(one);
                }
                // Closed and removed between listing and opening: its rows are in sealed files, which are listed later.
                Err(_) if !dir.exists() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { held, parquet, primary_taps: BTreeMap::new(), unknown: 0, gone: 0 })
    }

    /// Whether any process whose journal is there has a Parquet sink.
    #[must_use]
    pub fn parquet(&self) -> bool {
        self.parquet
    }

    /// The primary tap of each process that has one; known once [`Snapshot::fresh`] has read the journals.
    #[must_use]
    pub fn primary_taps(&self) -> &BTreeMap<String, String> {
        &self.primary_taps
    }

    /// Rows that only a later version can read; known once [`Snapshot::fresh`] has read the journals.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Rows that no file has and no journal any more: let go at a journal's budget, or damaged. Known once
    /// [`Snapshot::fresh`] has read the journals.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.gone
    }

    /// The rows that are in no sealed file. Segments are read here, once: a second call gives nothing.
    ///
    /// # Errors
    /// If a journal cannot be read.
    pub fn fresh(&mut self, sealed: &[Sealed]) -> Result<Vec<Batch>, Error> {
        let mut batches = Vec::new();
        for held in std::mem::take(&mut self.held) {
            let mut ranges: Vec<(i64, i64)> = sealed
                .iter()
                .filter(|(process, ..)| *process == held.process)
                .map(|(_, first, last)| (*first, *last))
                .collect();
            ranges.push((i64::MIN, held.cursor - 1));
            self.read(held, &ranges, &mut batches)?;
        }
        Ok(batches)
    }

    fn read(&mut self, mut held: Held, sealed: &[(i64, i64)], batches: &mut Vec<Batch>) -> Result<(), Error> {
        let mut selector = Selector::new(Declined::default(), &held.policy)?;
        let mut chosen = Chosen::default();
        let mut buf = Vec::new();
        // What a later version has written may be of actions, or have fields, that came after this one.
        let mut later = false;
        loop {
            let step = held.reader.next(&mut buf)?;
            let over = match &step {
                // An empty one at the end may tell that a window is over.
                Step::Batch(meta, _) => meta.first_seq + i64::from(meta.rows.min(1)) > held.until,
                Step::NotYet | Step::End => true,
                _ => false,
            };
            if over {
                let Some((reader, until)) = held.ring.take() else { break };
                (held.reader, held.until) = (reader, until);
                continue;
            }
            match step {
                Step::Segment(head) => {
                    if let Some(tap) = &head.primary_tap {
                        self.primary_taps.insert(held.process.clone(), tap.clone());
                    }
                    later = head.schema_version > SCHEMA_VERSION;
                    selector.segment(&head, &mut chosen)?;
                    selector.begin(&mut chosen);
                }
                Step::Batch(meta, sections) => {
                    selector.contexts(&buf[sections.contexts]);
                    selector.definitions(&buf[sections.definitions], &mut chosen);
                    let mut rows = &buf[sections.rows];
                    let mut seq = meta.first_seq;
                    while let Ok(view) = RowView::parse(rows) {
                        let (bytes, rest) = rows.split_at(view.len());
                        if sealed.iter().any(|(first, last)| (*first..=*last).contains(&seq)) {
                            // What is sealed begins and ends at cuts.
                            selector.cut(&mut chosen);
                            selector.pass(&view)?;
                        } else if later && view.validate().is_err() {
                            self.unknown += 1;
                            selector.pass(&view)?;
                        } else if illegible(&view) {
                            self.gone += 1;
                            selector.pass(&view)?;
                        } else {
                            chosen.next_seq = seq;
                            selector.row(&view, bytes, &mut chosen)?;
                        }
                        rows = rest;
                        seq += 1;
                    }
                    if meta.rows == 0 && !meta.flags.contains(BatchFlags::PASSED) {
                        selector.elapse(&meta, &mut chosen);
                    }
                    if chosen.set.data.len() >= BATCH_BYTES {
                        take(&mut selector, &mut chosen, batches);
                    }
                }
                Step::Corrupt { first_seq, rows } => {
                    selector.cut(&mut chosen);
                    chosen.lost += rows;
                    self.gone += bare(first_seq, rows, sealed);
                }
                // Deleted because every sink has passed it, so that its rows are in sealed files; or at the budget.
                Step::Gone { first_seq, rows } => {
                    selector.cut(&mut chosen);
                    if held.tabled {
                        self.gone += bare(first_seq, rows, sealed);
                    }
                }
                Step::NotYet | Step::End => {}
            }
        }
        // The window that is not over shows as it stands.
        selector.cut(&mut chosen);
        take(&mut selector, &mut chosen, batches);
        Ok(())
    }
}

/// How many of these rows are in none of the ranges.
fn bare(first_seq: i64, rows: u64, sealed: &[(i64, i64)]) -> u64 {
    let end = first_seq.saturating_add_unsigned(rows);
    let mut ranges = sealed.to_vec();
    ranges.sort_unstable();
    let (mut from, mut bare) = (first_seq, 0);
    for (first, last) in ranges {
        if first > from {
            bare += from.abs_diff(first.min(end));
        }
        from = from.max(last.saturating_add(1));
        if from >= end {
            return bare;
        }
    }
    bare + from.abs_diff(end)
}

/// What a dead process's ring still holds behind a seq, as its recovery would journal it, and where that ends.
fn dead(dir: &Path, from: i64) -> Result<Option<(Reader, i64)>, Error> {
    // Whoever cannot be told to be dead may live, and write to its ring.
    if !is_dead(dir).unwrap_or(false) {
        return Ok(None);
    }
    let folder = Folder::new()?;
    // Whoever may not look into the ring, or comes while somebody recovers it, sees what is journaled.
    if !preview(dir, folder.path()).unwrap_or(false) {
        return Ok(None);
    }
    let mut reader = Reader::open(folder.path(), from)?;
    reader.hold()?;
    let state = fold(folder.path())?;
    // Only if nobody has recovered it meanwhile: its rows would come twice.
    let untouched = dir.exists() && is_dead(dir)? && fold(dir)?.next_seq == from;
    Ok(untouched.then_some((reader, state.next_seq)))
}

/// A folder for our own eyes, that goes when it is dropped; what is open in it stays readable.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("auditring-{}", uuid::Uuid::new_v4()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::Io {
            what: "make a folder for what a dead process left",
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the system's own place for what nobody needs any more.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn take(selector: &mut Selector, chosen: &mut Chosen, batches: &mut Vec<Batch>) {
    let done = std::mem::take(chosen);
    selector.begin(chosen);
    if let Some(first) = done.set.rows.first().map(|row| row.seq) {
        batches.push(Batch { first_seq: first, ..done.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn rows_are_bare_where_no_range_covers_them() {
        assert_eq!(bare(0, 10, &[(i64::MIN, -1)]), 10);
        assert_eq!(bare(0, 10, &[(8, 20), (i64::MIN, 3), (2, 5)]), 2);
        assert_eq!(bare(0, 10, &[(i64::MIN, 3), (20, 30)]), 6);
        assert_eq!(bare(0, 10, &[(i64::MIN, 9)]), 0);
    }
}
