//! Whether a name still means the file that was opened by it.
//!
//! What must always hold: an open file is compared by device and inode, which nobody gets while it is open; so what was
//! deleted, moved away or replaced is told apart from what only changed.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use crate::error::{Error, Result};

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The file has no name any more.
    Deleted,
    /// It has one somewhere else.
    Moved,
    /// Another one lies in its place.
    Replaced,
}

impl What {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Moved => "moved",
            Self::Replaced => "replaced",
        }
    }
}

/// How many descriptors this process may have open.
#[must_use]
pub fn descriptors() -> usize {
    const USUAL: usize = 1024;
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft);
    soft.map_or(USUAL, |soft| usize::try_from(soft).unwrap_or(usize::MAX))
}

pub(crate) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What became of the name `path` of an open file or directory; none: it still means this one.
///
/// # Errors
/// If the system refuses to say.
pub fn vanished(file: &File, path: &Path) -> Result<Option<What>> {
    let ours = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if identity(&there) == identity(&ours) => Ok(None),
        Ok(_) => Ok(Some(What::Replaced)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Some(if ours.nlink() == 0 { What::Deleted } else { What::Moved }))
        }
        Err(error) => Err(Error::io("look at", path, error)),
    }
}
