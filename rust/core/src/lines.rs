//! JSON lines straight from rows to a file.
//!
//! Lines are ten times as long as rows: what they cost is moving them. So they are made and written a piece at a time, in
//! one buffer that stays in the processor's cache; and a helper has the disk begin with what is written, so that little is
//! left to wait for when the caller syncs. What must always hold: whatever a write leaves behind ends with a line; and it is
//! the caller's own sync, on a descriptor of its own, that says whether lines are safe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use auditring_event::RowSet;
use auditring_event::json::Lines;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::arrow::RowBatch;

/// A piece ends past so many bytes: small beside a core's cache, large beside a system call.
const PIECE: usize = 128 << 10;

/// The disk begins with lines when there are so many bytes of them.
const EARLY: u64 = 8 << 20;

/// Pieces that there are at a time.
const PIECES: usize = 3;
/// Fewer rows than this are not worth a thread.
const MANY: usize = 2048;

/// What a write needs.
struct Open {
    file: File,
    /// Where the next piece goes.
    at: u64,
    /// Buffers that are not in use.
    spare: Vec<Vec<u8>>,
    /// Bytes that the disk has not been told to begin with.
    since: u64,
    /// Wakes the helper, which ends when this is dropped; made when there is work for it.
    early: Option<SyncSender<()>>,
}

/// Writes the lines of batches into one file.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct LineWriter(Mutex<Option<Open>>);

#[pymethods]
impl LineWriter {
    /// Opens the file that the caller has open as `inode`; another one at its path is an error.
    #[new]
    fn new(path: PathBuf, inode: u64) -> PyResult<Self> {
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        if file.metadata()?.ino() != inode {
            return Err(io::Error::from_raw_os_error(libc::ESTALE).into());
        }
        Ok(Self(Mutex::new(Some(Open { file, at: 0, spare: Vec::new(), since: 0, early: None }))))
    }

    /// Writes the lines of a batch at `offset`, without the GIL, and returns their bytes.
    fn write(&self, py: Python<'_>, batch: &RowBatch, offset: u64) -> PyResult<u64> {
        let set = batch.set()?;
        py.detach(|| {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match open.as_mut() {
                Some(open) => Ok(open.write(set, offset)?),
                None => Err(PyRuntimeError::new_err("this file is closed")),
            }
        })
    }

    /// Lets go of the file.
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Open {
    fn write(&mut self, set: &RowSet, offset: u64) -> io::Result<u64> {
        self.at = offset;
        if set.rows.len() < MANY { self.in_turns(set) } else { self.side_by_side(set) }?;
        Ok(self.at - offset)
    }

    /// Makes a piece, writes it, makes the next.
    fn in_turns(&mut self, set: &RowSet) -> io::Result<()> {
        let mut lines = Lines::new(set);
        let mut piece = std::mem::take(&mut self.spare).pop().unwrap_or_default();
        let mut more = true;
        while more {
            more = fill(&mut lines, &mut piece)?;
            self.put(&piece)?;
        }
        self.spare.push(piece);
        Ok(())
    }

    /// Makes pieces in a thread of their own while others are written: both take about as long.
    fn side_by_side(&mut self, set: &RowSet) -> io::Result<()> {
        let (full, pieces) = sync_channel(PIECES);
        let (empty, spare) = sync_channel::<Vec<u8>>(PIECES);
        for _ in 0..PIECES {
            let _ = empty.send(self.spare.pop().unwrap_or_default());
        }
        std::thread::scope(|scope| {
            // Whichever side fails hangs up, and the other one ends; so our end must go before the scope waits for it.
            let empty = empty;
            scope.spawn(move || {
                let mut lines = Lines::new(set);
                for mut piece in &spare {
                    let more = fill(&mut lines, &mut piece);
                    let last = !matches!(more, Ok(true));
                    if full.send(more.map(|_| piece)).is_err() || last {
                        break;
                    }
                }
            });
            for piece in pieces {
                let piece = piece?;
                self.put(&piece)?;
                if let Err(unsent) = empty.try_send(piece) {
                    let (TrySendError::Full(piece) | TrySendError::Disconnected(piece)) = unsent;
                    self.spare.push(piece);
                }
            }
            Ok(())
        })
    }

    /// Has the disk begin with what is written.
    fn begin_early(&mut self) -> io::Result<()> {
        if self.early.is_none() {
            let file = self.file.try_clone()?;
            let (early, asked) = sync_channel(1);
            let work = move || asked.iter().for_each(|()| drop(file.sync_data()));
            std::thread::Builder::new().name("auditring-early".to_owned()).spawn(work)?;
            self.early = Some(early);
        }
        if let Some(early) = &self.early {
            // It is at work, and has been asked to go on: that will do. An error of the disk is for the caller's own sync: the
            // system tells of it once on each descriptor.
            let _ = early.try_send(());
        }
        Ok(())
    }

    /// Writes a piece; on an error what of it lies in the file is cut to whole lines, so that a tailer never sees half a one.
    fn put(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < piece.len() {
            let error = match self.file.write_at(&piece[done..], self.at + done as u64) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(some) => {
                    done += some;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let whole = piece[..done].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if whole < done {
                // A disk that refuses this too leaves half a line, which the next attempt completes or cuts.
                let _ = self.file.set_len(self.at + whole as u64);
            }
            return Err(error);
        }
        self.at += piece.len() as u64;
        self.since += piece.len() as u64;
        if self.since >= EARLY {
            self.since = 0;
            self.begin_early()?;
        }
        Ok(())
    }
}

/// Makes a piece of the next lines; `false` if it is the last.
fn fill(lines: &mut Lines<'_>, piece: &mut Vec<u8>) -> io::Result<bool> {
    piece.clear();
    piece.reserve(2 * PIECE);
    lines.fill(piece, PIECE).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed.to_string()))
}
