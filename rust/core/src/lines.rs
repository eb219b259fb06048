//! JSON lines straight from rows to a file.
//!
//! Lines are ten times as long as rows: what they cost is moving them. So they are made and written a piece at a time, in
//! buffers that stay in the processor's cache; and the disk begins early with what is written, so that little is left to
//! wait for when the caller syncs. What must always hold: whatever a write leaves behind ends with a line; whether lines are
//! safe is for the caller's own sync to find out, so no error of the disk may be asked for, and so forgotten, here; and a
//! forked child lets go of the file without a lock, which its parent's thread may have held at that moment.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use auditring_event::RowSet;
use auditring_event::json::{Dialect, Lines};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::arrow::{RowBatch, dialect};

/// A piece ends past so many bytes: small beside a core's cache, large beside a system call.
const PIECE: usize = 128 << 10;

/// The disk begins with lines when there are so many bytes of them.
const EARLY: u64 = 8 << 20;

/// Pieces that there are at a time.
const PIECES: usize = 3;
/// Fewer rows than this are not worth a thread.
const MANY: usize = 2048;

const CLOSED: RawFd = -1;

/// What a write needs.
struct Open {
    /// Closed by whoever takes its number out of the writer's `fd`.
    file: ManuallyDrop<File>,
    /// Where the next piece goes.
    at: u64,
    /// Buffers that are not in use.
    spare: Vec<Vec<u8>>,
    /// Bytes that the disk has not been told to begin with.
    since: u64,
    dialect: Dialect,
}

/// Writes the lines of batches into one file.
#[pyclass(frozen, module = "auditring._core")]
pub(crate) struct LineWriter {
    fd: AtomicI32,
    open: Mutex<Option<Open>>,
}

impl LineWriter {
    fn release(&self, open: Option<Open>) {
        if let Some(open) = open
            && self.fd.swap(CLOSED, Ordering::Relaxed) != CLOSED
        {
            drop(ManuallyDrop::into_inner(open.file));
        }
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.release(open);
    }
}

#[pymethods]
impl LineWriter {
    /// Opens the file that the caller has open as `inode`; another one at its path is an error.
    #[new]
    #[pyo3(signature = (path, inode, dialect=None))]
    fn new(path: PathBuf, inode: u64, dialect: Option<&str>) -> PyResult<Self> {
        let dialect = self::dialect(dialect)?;
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        if file.metadata()?.ino() != inode {
            return Err(io::Error::from_raw_os_error(libc::ESTALE).into());
        }
        let fd = AtomicI32::new(file.as_raw_fd());
        let open = Open { file: ManuallyDrop::new(file), at: 0, spare: Vec::new(), since: 0, dialect };
        Ok(Self { fd, open: Mutex::new(Some(open)) })
    }

    /// Writes the lines of a batch at `offset`, without the GIL, and returns their bytes.
    fn write(&self, py: Python<'_>, batch: &RowBatch, offset: u64) -> PyResult<u64> {
        let set = batch.set()?;
        py.detach(|| {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            match open.as_mut() {
                Some(open) => Ok(open.write(set, offset)?),
                None => Err(PyRuntimeError::new_err("this file is closed")),
            }
        })
    }

    /// Lets go of the file.
    fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.release(open);
    }

    /// In a forked child: closes the inherited descriptor; the file goes on being the parent's.
    fn forked(&self) {
        let fd = self.fd.swap(CLOSED, Ordering::Relaxed);
        if fd != CLOSED {
            // Whatever close says, the descriptor is gone.
            let _ = nix::unistd::close(fd);
        }
    }
}

impl Open {
    fn write(&mut self, set: &RowSet, offset: u64) -> io::Result<u64> {
        self.at = offset;
        if set.rows.len() < MANY || !self.side_by_side(set)? {
            self.in_turns(set)?;
        }
        Ok(self.at - offset)
    }

    /// Makes a piece, writes it, makes the next.
    fn in_turns(&mut self, set: &RowSet) -> io::Result<()> {
        let mut lines = Lines::new(self.dialect, set);
        let mut piece = std::mem::take(&mut self.spare).pop().unwrap_or_default();
        let mut more = true;
        while more {
            more = fill(&mut lines, &mut piece)?;
            self.put(&piece)?;
        }
        self.spare.push(piece);
        Ok(())
    }

    /// Makes pieces in a thread of their own while others are written: both take about as long. `false`, and nothing done,
    /// where there is no thread to be had.
    fn side_by_side(&mut self, set: &RowSet) -> io::Result<bool> {
        let (full, pieces) = sync_channel(PIECES);
        let dialect = self.dialect;
        let (empty, spare) = sync_channel::<Vec<u8>>(PIECES);
        for _ in 0..PIECES {
            let _ = empty.send(self.spare.pop().unwrap_or_default());
        }
        thread::scope(|scope| {
            // Whichever side fails hangs up, and the other one ends; so our end must go before the scope waits for it.
            let empty = empty;
            let made = thread::Builder::new().name("auditring-lines".to_owned()).spawn_scoped(scope, move || {
                let mut lines = Lines::new(dialect, set);
                for mut piece in &spare {
                    let more = fill(&mut lines, &mut piece);
                    let last = !matches!(more, Ok(true));
                    if full.send(more.map(|_| piece)).is_err() || last {
                        break;
                    }
                }
            });
            if made.is_err() {
                return Ok(false);
            }
            for piece in pieces {
                let piece = piece?;
                self.put(&piece)?;
                if let Err(unsent) = empty.try_send(piece) {
                    let (TrySendError::Full(piece) | TrySendError::Disconnected(piece)) = unsent;
                    self.spare.push(piece);
                }
            }
            Ok(true)
        })
    }

    /// Has the disk begin with what was written last. It asks for nothing: that would take an error of the disk away from the
    /// next who opens the file.
    #[cfg(target_os = "linux")]
    fn begin_early(&mut self) {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        let (end, len) = (i64::try_from(self.at), i64::try_from(self.since));
        if let (Ok(end), Ok(len)) = (end, len) {
            // Linux writes back what is dirty in the range, and keeps it in memory, as it is not clean yet. Only advice.
            let _ = posix_fadvise(&*self.file, end - len, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn begin_early(&mut self) {}

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
            self.begin_early();
            self.since = 0;
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
