//! A reader from outside: every journal of an audit directory as it stands at one moment, without any lock.
//!
//! What must always hold (the order is what makes it exact): segments are opened first, then the Parquet cursors are
//! read, then the caller lists sealed files; a journal row shows if it is at or beyond the cursor and in no listed file,
//! so each row is seen once, whatever pump and followers do meanwhile.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use auditring_event::SCHEMA_VERSION;
use auditring_event::row::RowView;
use auditring_journal::{Cursor, Followers, Reader, Step, fold, is_held, list, process_text};

use crate::Error;
use crate::follower::Batch;
use crate::recovery::preview;
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
    /// Rows from here on came after the snapshot; under a flood reading would never end otherwise.
    until: i64,
}

/// All journals of a directory.
#[derive(Debug)]
pub struct Snapshot {
    held: Vec<Held>,
    parquet: bool,
    primary_taps: BTreeMap<String, String>,
    unknown: u64,
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
                parquet |= entry.is_some();
                let policy = entry.unwrap_or_default().policy;
                let cursor = Cursor::load(&dir, PARQUET)?.map_or(0, |cursor| cursor.seq);
                let until = fold(&dir)?.next_seq;
                Ok(Held { process: process_text(&process), reader, policy, cursor, until })
            });
            match rest {
                Ok(one) => {
                    let ring = dead(&dir, &one)?;
                    held.push(one);
                    held.extend(ring);
                }
                // Closed and removed between listing and opening: its rows are in sealed files, which are listed later.
                Err(_) if !dir.exists() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { held, parquet, primary_taps: BTreeMap::new(), unknown: 0 })
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
            match held.reader.next(&mut buf)? {
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
                    if meta.first_seq >= held.until {
                        break;
                    }
                    let mut rows = &buf[sections.rows];
                    let mut seq = meta.first_seq;
                    while let Ok(view) = RowView::parse(rows) {
                        let (bytes, rest) = rows.split_at(view.len());
                        if !sealed.iter().any(|(first, last)| (*first..=*last).contains(&seq)) {
                            if later && view.validate().is_err() {
                                self.unknown += 1;
                            } else {
                                chosen.next_seq = seq;
                                selector.row(&view, bytes, &mut chosen);
                            }
                        }
                        rows = rest;
                        seq += 1;
                    }
                    if chosen.set.data.len() >= BATCH_BYTES {
                        take(&mut selector, &mut chosen, batches);
                    }
                }
                Step::Corrupt { rows, .. } => chosen.lost += rows,
                // Deleted because every sink has passed it: its rows are in sealed files.
                Step::Gone { .. } => {}
                Step::NotYet | Step::End => break,
            }
        }
        take(&mut selector, &mut chosen, batches);
        Ok(())
    }
}

/// What a dead process's ring still holds, as its recovery would journal it.
fn dead(dir: &Path, of: &Held) -> Result<Option<Held>, Error> {
    if is_held(dir)? {
        return Ok(None);
    }
    let folder = Folder::new()?;
    // Whoever may not look into the ring, or comes while somebody recovers it, sees what is journaled.
    if !preview(dir, folder.path()).unwrap_or(false) {
        return Ok(None);
    }
    let mut reader = Reader::open(folder.path(), 0)?;
    reader.hold()?;
    let state = fold(folder.path())?;
    // Only if nobody has recovered it meanwhile: its rows would come twice.
    let untouched = !is_held(dir)? && dir.exists() && fold(dir)?.next_seq == of.until;
    let held = Held {
        process: of.process.clone(),
        reader,
        policy: of.policy.clone(),
        cursor: of.cursor.max(of.until),
        until: state.next_seq,
    };
    Ok(untouched.then_some(held))
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
