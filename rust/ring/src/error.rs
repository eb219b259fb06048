//! What can go wrong in making, opening and removing a ring. Claims have their own, [`Refusal`](crate::Refusal).

use std::io;
use std::path::PathBuf;

/// A ring could not be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The sizes asked for, or found in a file, do not fit together.
    #[error("ring geometry: {0}")]
    Geometry(&'static str),
    /// The file is no ring that may be trusted: somebody else's, of another version, unfinished or damaged.
    #[error("{path} is not a usable ring: {reason}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("{path}: cannot {what}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done, as a verb.
        what: &'static str,
        /// Its reason.
        source: io::Error,
    },
}
