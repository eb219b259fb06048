//! What can go wrong, always with the path it went wrong at.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that touches a file.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the journal. Each names the file, so that an operator knows where to look.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. A failed append leaves the segment poisoned: go on in the next one.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// What stands there is no file or directory of ours: a link, a pipe, a device, another user's. Nothing was done to it.
    #[error("{path} is left alone: {what}")]
    Foreign {
        /// What stands there.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Written by a release that this one does not know.
    #[error("{path} has format version {found}, and this build reads {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: u32,
        /// The version that this build reads.
        known: u32,
    },
    /// An earlier write to this segment failed; only a new segment can go on.
    #[error("{path} is closed by a failed write; go on in the next segment")]
    Poisoned {
        /// The segment.
        path: PathBuf,
    },
    /// The caller's next step does not follow from the last one. Nothing was written.
    #[error("{path} cannot take this: {what}")]
    Order {
        /// The segment or file.
        path: PathBuf,
        /// What does not follow.
        what: String,
    },
    /// More than the format holds. Nothing was written.
    #[error("too large for {path}: {what}")]
    TooLarge {
        /// The segment or file.
        path: PathBuf,
        /// What is too large.
        what: String,
    },
    /// A sink's name has to be usable as a file name.
    #[error("{name:?} cannot name a sink: 1 to 64 of a-z A-Z 0-9 . _ -, and no dot at the start")]
    SinkName {
        /// The name given.
        name: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// A file that is not what was written.
    pub fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn foreign(path: &Path, what: impl Into<String>) -> Self {
        Self::Foreign { path: path.to_owned(), what: what.into() }
    }

    /// The kind of the system's error, or `InvalidData` where the system had no part in it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::Foreign { .. } => io::ErrorKind::PermissionDenied,
            Self::Poisoned { .. } => io::ErrorKind::BrokenPipe,
            Self::Order { .. } | Self::TooLarge { .. } | Self::SinkName { .. } => io::ErrorKind::InvalidInput,
            Self::Damaged { .. } | Self::Version { .. } => io::ErrorKind::InvalidData,
        }
    }

    /// Whether more room on the disk (or in the quota) would help.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}
