//! How far a sink has come, and who drives it.
//!
//! `<sink>.cursor` is replaced as a whole at every checkpoint: next seq, what the sink needs to resume, its running totals move
//! together. The lock is `<sink>.lock`, never the file that is replaced.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bytes::MOST;
use crate::document;
use crate::error::{Error, Result};
use crate::files;
use crate::lock::Lock;

const KIND: &str = "cursor";

/// The most that a sink may keep in its cursor.
pub const MAX_STATE: usize = 4096;

/// Where a sink goes on. Everything before `seq` is safe with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The next seq to read.
    pub seq: i64,
    /// What the sink's commit returned; opaque here, at most [`MAX_STATE`] bytes.
    #[serde(with = "document::hex")]
    pub state: Vec<u8>,
    /// Running totals by name: delivered, merged, sampled out, filtered, lost.
    pub totals: BTreeMap<String, u64>,
}

impl Cursor {
    /// The cursor of a sink in a process's directory; `None` if it has none yet.
    ///
    /// # Errors
    /// If it cannot be read or is damaged. A damaged cursor is never taken for none: that would deliver everything again.
    pub fn load(dir: &Path, sink: &str) -> Result<Option<Self>> {
        let path = cursor_path(dir, sink)?;
        let cursor: Option<Self> = document::load(&path, KIND)?;
        match cursor {
            Some(cursor) if !is_seq(cursor.seq) => Err(Error::damaged(&path, format!("{} is no seq", cursor.seq))),
            cursor => Ok(cursor),
        }
    }

    /// Replaces the cursor, durably. Only the holder of the sink's lock may.
    ///
    /// # Errors
    /// If the state is too long or the system refuses. Who must know which cursor is in force then takes the two steps.
    pub fn store(&self, dir: &Path, sink: &str) -> Result<()> {
        self.place(dir, sink)?;
        Self::make_durable(dir)
    }

    /// The first step: the cursor is in force, for all who read it, and a loss of power may bring the old one back.
    ///
    /// # Errors
    /// If the state is too long or the system refuses; the old cursor is in force then.
    pub fn place(&self, dir: &Path, sink: &str) -> Result<()> {
        let path = cursor_path(dir, sink)?;
        if self.state.len() > MAX_STATE {
            let what = format!("{} bytes of sink state, and at most {MAX_STATE} fit", self.state.len());
            return Err(Error::TooLarge { path, what });
        }
        document::place(&path, KIND, self)
    }

    /// The second step. One that failed proves nothing when it is taken again: then begin with the first.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn make_durable(dir: &Path) -> Result<()> {
        files::sync_dir(dir)
    }

    /// Whether a sink has a cursor, whatever is in it.
    ///
    /// # Errors
    /// If a sink cannot be called so.
    pub fn is_there(dir: &Path, sink: &str) -> Result<bool> {
        Ok(cursor_path(dir, sink)?.exists())
    }

    /// When the cursor of a sink was replaced last, in nanoseconds since the epoch: when its sink last worked.
    ///
    /// # Errors
    /// If the system refuses. One that is not there never was.
    pub fn stored_ns(dir: &Path, sink: &str) -> Result<Option<i64>> {
        let meta = files::look(&cursor_path(dir, sink)?)?;
        Ok(meta.map(|meta| meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())))
    }

    /// Removes the cursor of a sink, so that it holds nothing and begins anew if it ever comes back.
    ///
    /// # Errors
    /// If the system refuses. One that is not there is fine.
    pub fn remove(dir: &Path, sink: &str) -> Result<()> {
        files::remove(&cursor_path(dir, sink)?)
    }
}

/// Held by the one follower that drives a sink over a journal.
#[derive(Debug)]
pub struct SinkLock(Lock);

impl SinkLock {
    /// Takes it without waiting; `None` if another follower has it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn try_take(dir: &Path, sink: &str) -> Result<Option<Self>> {
        let path = sink_file(dir, sink, "lock")?;
        Ok(Lock::try_take(&path, true)?.map(Self))
    }

    /// Whether some follower has it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn is_held(dir: &Path, sink: &str) -> Result<bool> {
        Lock::is_held(&sink_file(dir, sink, "lock")?)
    }

    /// See [`Lock::renew`].
    ///
    /// # Errors
    /// If the system refuses.
    pub fn renew(&self) -> Result<bool> {
        self.0.renew()
    }

    /// See [`Lock::close_in_child`].
    pub fn close_in_child(&self) {
        self.0.close_in_child();
    }
}

fn cursor_path(dir: &Path, sink: &str) -> Result<PathBuf> {
    sink_file(dir, sink, "cursor")
}

/// Sinks' names become file names, so they may not lead anywhere else.
fn sink_file(dir: &Path, sink: &str, extension: &str) -> Result<PathBuf> {
    check_name(sink)?;
    Ok(dir.join(format!("{sink}.{extension}")))
}

/// Whether a number can be the seq of a row, or the next one.
pub(crate) fn is_seq(seq: i64) -> bool {
    (0..=MOST as i64).contains(&seq)
}

pub(crate) fn check_name(sink: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&sink.len()) && !sink.starts_with('.') && sink.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::SinkName { name: sink.to_owned() })
    }
}
