//! The one writer of a journal: whole batches to the newest segment.
//!
//! What the writer knows changes only after a batch was written to its last byte. After a failed write the segment is
//! poisoned: nothing more goes into it, the same batch goes into the next one. The torn tail is cut if the disk lets us, and
//! skipped by every reader if not.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::{self, BatchMeta, MAX_HEADER, MAX_PAYLOAD};
use crate::bytes::{ZEROS, padded, padding};
use crate::error::{Error, Result};
use crate::files;
use crate::fold::batches_in;
use crate::head::SegmentHead;
use crate::segment::{SegmentName, segments};
use crate::state::State;
use crate::vanish::{What, vanished};

/// Writes the newest segment of one journal.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    path: PathBuf,
    file: Arc<File>,
    ordinal: u64,
    /// Bytes that the segment is known to hold.
    len: u64,
    begun: Instant,
    poisoned: bool,
    synced: Arc<Synced>,
    /// The batch header, kept for its room.
    header: Vec<u8>,
    state: State,
}

impl Writer {
    /// Begins a segment in a process's directory, with what `head` says as the state to go on from.
    ///
    /// # Errors
    /// If there is such a segment, or the system refuses; then no segment is left behind.
    pub fn create(dir: &Path, head: &SegmentHead) -> Result<Self> {
        let mut state = State::default();
        state.enter(head.clone());
        Self::begin(dir, head, state)
    }

    /// Takes up the journal of a process that has died: begins the segment behind all that are there, with `head`, which is
    /// mostly [`State::next_head`] of a fold of it. Never cuts what is there.
    ///
    /// # Errors
    /// If it cannot follow or the system refuses; then no segment is left behind.
    pub fn resume(dir: &Path, head: &SegmentHead, mut state: State) -> Result<Self> {
        if state.last_ordinal.is_some_and(|last| head.ordinal <= last) || head.batch_no != state.batch_no {
            let what = format!("segment {} from batch {} cannot follow", head.ordinal, head.batch_no);
            return Err(Error::Order { path: dir.to_owned(), what });
        }
        state.enter(head.clone());
        Self::begin(dir, head, state)
    }

    fn begin(dir: &Path, head: &SegmentHead, state: State) -> Result<Self> {
        let name = SegmentName { ordinal: head.ordinal, first_seq: head.first_seq };
        let path = dir.join(name.file_name());
        if !head.is_countable() {
            let what = "an ordinal, batch, seq or position is beyond what can be counted up to".to_owned();
            return Err(Error::Order { path, what });
        }
        let Some(bytes) = head.encode() else {
            return Err(Error::TooLarge { path, what: "the segment head".to_owned() });
        };
        let mut file = files::create_new(&path)?;
        if let Err(error) = file.write_all(&bytes) {
            // A headless segment would be skipped, but its name would be in the way of the next try. The first error tells more.
            let _ = files::remove(&path);
            return Err(Error::io("write", &path, error));
        }
        let file = Arc::new(file);
        Ok(Self {
            dir: dir.to_owned(),
            synced: Arc::new(Synced::new(Arc::clone(&file), false)),
            path,
            file,
            ordinal: head.ordinal,
            len: bytes.len() as u64,
            begun: Instant::now(),
            poisoned: false,
            header: Vec::new(),
            state,
        })
    }

    /// Appends a batch: all of it or, as far as any reader can tell, nothing.
    ///
    /// # Errors
    /// [`Error::Order`] and [`Error::TooLarge`] if it is not the batch that has to come next; nothing happens then.
    /// [`Error::Io`] if the write failed, and [`Error::Poisoned`] ever after: [`Writer::roll`] and append it again.
    pub fn append(&mut self, meta: &BatchMeta, contexts: &[u8], definitions: &[u8], rows: &[u8]) -> Result<()> {
        if self.poisoned {
            return Err(Error::Poisoned { path: self.path.clone() });
        }
        self.state.follows(meta).map_err(|what| Error::Order { path: self.path.clone(), what })?;
        let sections = [contexts, definitions, rows];
        let lens = sections.map(<[u8]>::len);
        let payload: u64 = lens.iter().map(|&len| padded(len as u64)).sum();
        if payload > MAX_PAYLOAD || batch::header_len(meta.lanes.len(), meta.cells.len()) > MAX_HEADER {
            return Err(Error::TooLarge { path: self.path.clone(), what: format!("batch {}", meta.batch_no) });
        }
        batch::encode_header(meta, self.ordinal, lens, batch::payload_crc(sections), &mut self.header);
        let [contexts_pad, definitions_pad, rows_pad] = lens.map(|len| &ZEROS[..padding(len)]);
        let mut pieces = [
            IoSlice::new(&self.header),
            IoSlice::new(contexts),
            IoSlice::new(contexts_pad),
            IoSlice::new(definitions),
            IoSlice::new(definitions_pad),
            IoSlice::new(rows),
            IoSlice::new(rows_pad),
        ];
        if let Err(error) = write_all(&self.file, &mut pieces) {
            self.poisoned = true;
            // Best effort: readers take a torn tail for what it is.
            let _ = self.file.set_len(self.len);
            return Err(Error::io("append to", &self.path, error));
        }
        self.len += self.header.len() as u64 + payload;
        self.state.apply(meta);
        Ok(())
    }

    /// Goes on in a new segment, whose head is mostly [`Writer::next_head`]. Returns what makes the old one durable.
    ///
    /// # Errors
    /// If the new segment cannot be begun or does not follow; the old one stays in use then.
    pub fn roll(&mut self, head: &SegmentHead) -> Result<SyncHandle> {
        let state = &self.state;
        let follows = state.last_ordinal.is_none_or(|last| head.ordinal > last)
            && head.batch_no == state.batch_no
            && head.first_seq == state.next_seq;
        if !follows {
            let what = format!(
                "segment {} from batch {} and seq {} cannot follow: batch {} and seq {} are next",
                head.ordinal, head.batch_no, head.first_seq, state.batch_no, state.next_seq
            );
            return Err(Error::Order { path: self.path.clone(), what });
        }
        let sync = self.sync_handle();
        let mut state = self.state.clone();
        state.enter(head.clone());
        let mut next = Self::begin(&self.dir, head, state)?;
        next.header = std::mem::take(&mut self.header);
        *self = next;
        Ok(sync)
    }

    /// The head of the next segment: the state after the last batch, and policy, definitions and identity of this head. A
    /// caller whose policy or definitions have changed puts them in.
    #[must_use]
    pub fn next_head(&self) -> SegmentHead {
        self.state.next_head().unwrap_or_default()
    }

    /// The state after the last batch.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes in the segment.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a segment has a head, so it is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Time since the segment was begun.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether a write failed and only a roll can go on.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Ends the segment: its name does not mean it any more, so the next batch goes into another.
    pub fn poison(&mut self) {
        self.poisoned = true;
    }

    /// The segment.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What makes this segment, as written until then, durable; for another thread.
    #[must_use]
    pub fn sync_handle(&self) -> SyncHandle {
        SyncHandle { path: self.path.clone(), synced: Arc::clone(&self.synced) }
    }
}

/// Writes all pieces, however many calls it takes.
fn write_all(mut file: &File, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut pieces, 0); // drops empty ones at the front
    while !pieces.is_empty() {
        match file.write_vectored(pieces) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut pieces, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What all handles of a segment know of it: where one writes it again, the others mean the new file from then on.
#[derive(Debug)]
struct Synced {
    /// What its name means; and whether that name is durable.
    file: Mutex<(Arc<File>, bool)>,
    /// Held by whoever writes it again.
    writing: Mutex<()>,
}

impl Synced {
    fn new(file: Arc<File>, named: bool) -> Self {
        Self { file: Mutex::new((file, named)), writing: Mutex::new(()) }
    }

    fn file(&self) -> MutexGuard<'_, (Arc<File>, bool)> {
        // Replaced as a whole.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // The file on disk is replaced as a whole, too.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a segment durable, from any thread, also when the segment has been rolled or deleted meanwhile.
#[derive(Debug)]
pub struct SyncHandle {
    path: PathBuf,
    synced: Arc<Synced>,
}

impl SyncHandle {
    /// Waits until everything written to the segment before the call is on the disk, and the segment's name with it.
    ///
    /// # Errors
    /// If the system says that it is not. What was written since the last success then has to be written again elsewhere: the
    /// kernel tells of a failed write-back once.
    pub fn sync(&self) -> Result<()> {
        let (file, named) = self.synced.file().clone();
        file.sync_data().map_err(|e| Error::io("sync", &self.path, e))?;
        if !named {
            self.path.parent().map_or(Ok(()), files::sync_dir)?;
            self.synced.file().1 = true;
        }
        Ok(())
    }

    /// Writes a rolled segment again, elsewhere on the disk, under its own name; for one that could not be synced, or whose
    /// name was deleted. What the system still holds of it is copied as it is. Readers that have the old one open read on in
    /// it; all handles of it mean the new one. Returns the number behind the last batch that is whole in the copy, with all
    /// before it: what the system no longer had, a reader takes for damaged by its checksums.
    ///
    /// # Errors
    /// If the system refuses; the old one is in its place then.
    pub fn write_again(&self) -> Result<Option<u64>> {
        let writing = self.synced.writing();
        self.copy(&writing)?;
        batches_in(&self.path)
    }

    fn copy(&self, _writing: &MutexGuard<'_, ()>) -> Result<()> {
        let file = Arc::clone(&self.synced.file().0);
        let len = file.metadata().map_err(|e| Error::io("look at", &self.path, e))?.len();
        // What one process wrote of a segment is bounded by its limits, not by what a file may claim.
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0).map_err(|e| Error::io("read", &self.path, e))?;
        files::replace(&self.path, &bytes)?;
        *self.synced.file() = (Arc::new(files::open(&self.path)?), true);
        Ok(())
    }

    /// What became of the segment's name; none: it still means this segment.
    ///
    /// # Errors
    /// If the system refuses to say.
    pub fn vanished(&self) -> Result<Option<What>> {
        if self.look()?.is_none() {
            return Ok(None);
        }
        // Whoever writes it again is between the new file and its becoming known.
        let _writing = self.synced.writing();
        self.look()
    }

    fn look(&self) -> Result<Option<What>> {
        let file = Arc::clone(&self.synced.file().0);
        vanished(&file, &self.path)
    }

    /// Puts a segment that was taken away back under its name, durably, from what is still open of it. Nobody may be writing
    /// to it, and nobody may afterwards: who has the old one open does not see the new one grow.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn restore(&self) -> Result<()> {
        let writing = self.synced.writing();
        // Whoever could not sync it may have been faster.
        if self.look()?.is_some() { self.copy(&writing) } else { Ok(()) }
    }

    /// The segment.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes all segments in a directory durable, whoever wrote them; one that cannot be synced is written again. Only whoever
/// holds the directory may.
///
/// # Errors
/// If the system refuses that, too.
pub fn make_durable(dir: &Path) -> Result<()> {
    for name in segments(dir)? {
        let path = dir.join(name.file_name());
        let file = Arc::new(files::open(&path)?);
        // The directory is synced once, below.
        let handle = SyncHandle { path, synced: Arc::new(Synced::new(file, true)) };
        if handle.sync().is_err() {
            handle.write_again()?;
        }
    }
    files::sync_dir(dir)
}
