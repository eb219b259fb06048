//! What a living process shows to those who follow its journal from outside: how far they may read, and what they will not find.
//!
//! ```text
//! .shown (64 bytes, little endian)
//!   0 "auditshw"
//!   8 batches that followers may read; all ones: all that are written (no loss of power is provided for)
//!  16 rows before this seq were let go of at the budget
//!  24 the journal's budget in bytes
//!  32 flags: 1 the budget is used up, and nothing is written for now
//!  40 CRC of what is before
//! ```
//! What must always hold: a number of batches stands here only when they are on the disk; so after a loss of power nothing here
//! is ahead of the journal, and who reads no further than this has nothing that a loss of power takes back. Where the file is
//! not there nothing may be read: its process is of a release without it, or it was taken away and will be put back. It is
//! written in place, by one writer: who reads it half-written sees that by its CRC, and looks again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::files;
use crate::vanish::vanished;

/// No sink can be called so.
const FILE: &str = ".shown";
const MAGIC: &[u8; 8] = b"auditshw";
const LEN: usize = 64;
const CRC: usize = 40;
const OVER: u64 = 1;
/// How often a file that is being written is looked at anew: at once, and then so long after, for its writer may have lost
/// its processor in the middle.
const TRIES: u32 = 120;
const AT_ONCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// So many batches may be read.
    pub batches: u64,
    /// Rows before this seq were let go of.
    pub let_go: i64,
    /// The journal's budget.
    pub journal_bytes: u64,
    /// It is used up.
    pub over_budget: bool,
}

impl Shown {
    /// What the process of a directory shows; `None`: nothing.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        for attempt in 0..TRIES {
            let Some(bytes) = files::read(&path, LEN as u64)? else { return Ok(None) };
            if bytes.is_empty() {
                // It was made a moment ago, and its writer has not come to write it.
                return Ok(None);
            }
            if let Some(shown) = Self::decode(&bytes) {
                return Ok(Some(shown));
            }
            if attempt < AT_ONCE { std::thread::yield_now() } else { std::thread::sleep(PAUSE) }
        }
        Err(Error::damaged(&path, "its checksum is wrong"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let good = bytes.starts_with(MAGIC) && word(CRC)? == u64::from(crc32fast::hash(&bytes[..CRC]));
        good.then_some(Self {
            batches: word(8)?,
            let_go: word(16)?.cast_signed(),
            journal_bytes: word(24)?,
            over_budget: word(32)? & OVER != 0,
        })
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(MAGIC);
        let flags = if self.over_budget { OVER } else { 0 };
        for (at, word) in [(8, self.batches), (16, self.let_go.cast_unsigned()), (24, self.journal_bytes), (32, flags)]
        {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let crc = u64::from(crc32fast::hash(&bytes[..CRC]));
        bytes[CRC..CRC + 8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The one who shows it.
#[derive(Debug)]
pub struct Show {
    path: PathBuf,
    /// The file, and what it says; none where that is not certain.
    written: Mutex<Option<(File, Shown)>>,
}

impl Show {
    /// Begins to show, in the directory of a process that is ours.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn begin(dir: &Path, shown: Shown) -> Result<Self> {
        let show = Self { path: dir.join(FILE), written: Mutex::new(None) };
        show.show(shown)?;
        Ok(show)
    }

    /// Shows it, where it is not what is shown already; also where the file was taken away.
    ///
    /// # Errors
    /// If the system refuses; the next call tries again, whatever it shows.
    pub fn show(&self, shown: Shown) -> Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, before)) = written.take()
            && vanished(&file, &self.path)?.is_none()
        {
            if before != shown {
                put(&file, &self.path, shown)?;
            }
            *written = Some((file, shown));
            return Ok(());
        }
        // What lies there is not what we have open; whoever reads it meanwhile finds nothing.
        files::remove(&self.path)?;
        let file = files::create_new(&self.path)?;
        put(&file, &self.path, shown)?;
        *written = Some((file, shown));
        Ok(())
    }
}

fn put(file: &File, path: &Path, shown: Shown) -> Result<()> {
    file.write_all_at(&shown.encode(), 0).map_err(|e| Error::io("write", path, e))
}
