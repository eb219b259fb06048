//! What moves: the pump (ring → journal), followers (journal → sinks), readers from outside.
//!
//! Knows ring, event, policy and journal, and nothing of Python. What must always hold stands at the head of each file.

mod balance;
mod birth;
mod carry;
mod directory;
mod fill;
mod follower;
mod forget;
mod keep;
mod lines;
mod losses;
mod mailbox;
mod outside;
mod policies;
mod progress;
mod pump;
mod recovery;
mod retire;
mod rolls;
mod scoping;
mod select;
mod sieve;
mod snapshot;
mod syncer;
mod tail;
mod ticks;
mod timeline;

pub use birth::{Born, Settings};
pub use carry::Carry;
pub use directory::{Directory, Processes, Reading, SinkReading};
pub use follower::{Batch, Follower, Form};
pub use forget::{Forgotten, Held, forget};
pub use keep::Vanished;
pub use lines::{Line, Lines, Style, lines, lines_each};
pub use mailbox::{Mailbox, Withdrawn};
pub use outside::{Cursors, Outside, SinkOutside, Unreadable, cursors, outside};
pub use policies::{Change, Policies, Stated};
pub use progress::{Journaled, Progress};
pub use pump::{Limits, Pump, used};
pub use recovery::{Recovery, Salvage, adopt, key_for, recover};
pub use retire::retire;
pub use scoping::scope_columns;
pub use select::Declined;
pub use sieve::Filter;
pub use snapshot::{Sealed, Snapshot};
pub use syncer::Unsynced;
pub use tail::{Missed, Tail};
pub use timeline::{Break, Instant, Restart, Seen, Step, Timeline};

/// Why something here could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the journal.
    #[error(transparent)]
    Journal(#[from] auditring_journal::Error),
    /// Of the journal, on its way to the disk; others may be told of it, too.
    #[error(transparent)]
    Sync(std::sync::Arc<auditring_journal::Error>),
    /// Of the ring.
    #[error(transparent)]
    Ring(#[from] auditring_ring::RingError),
    /// Of a policy.
    #[error(transparent)]
    Policy(#[from] auditring_policy::PolicyError),
    /// Of the operating system.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A ring holds what is to be redacted in the clear.
    #[error("redaction wants the ring in memory alone, and {path} is not on tmpfs", path = .0.display())]
    NotInMemory(std::path::PathBuf),
    /// Values cannot be hashed.
    #[error("the policy redacts by a key that is not the one that was given, or none was")]
    RedactionKey,
    /// A claim is neither committed nor given up.
    #[error("a claim in the closed ring stays open: its writer is off the processor, or its header is damaged")]
    OpenClaim,
    /// A ring has one consumer.
    #[error("this ring is being pumped already")]
    TwoPumps,
    /// Somebody else drives the sink.
    #[error("sink {sink:?} of {dir} is being driven by somebody else", dir = dir.display())]
    SinkHeld {
        /// The sink.
        sink: String,
        /// The directory of the process whose rows it takes.
        dir: std::path::PathBuf,
    },
    /// On a file system that machines share.
    #[error("{dir} is of another machine, {host:?}, which alone can recover it: its ring is in that one's memory", dir = dir.display())]
    OtherMachine {
        /// The process's directory.
        dir: std::path::PathBuf,
        /// What that machine is called.
        host: String,
    },
    /// Nobody can tell any more whether its owner lives.
    #[error(
        "{dir} has no lock file any more, so nobody can tell whether its process lives (it was {pid} on {host:?}); once it \
         certainly does not, make the file anew, `touch {dir}/lock`, and recover again",
        dir = dir.display()
    )]
    NoLock {
        /// The process's directory.
        dir: std::path::PathBuf,
        /// Its machine.
        host: String,
        /// Its OS process.
        pid: u32,
    },
    /// What is there is no process's directory.
    #[error("{dir} cannot be recovered: {why}", dir = dir.display())]
    NotOurs {
        /// The process's directory.
        dir: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// A row's checksum held, and it says what no row can say.
    #[error("rows could not be converted: {0}")]
    Convert(String),
    /// Rows of this range may still be merged with what follows.
    #[error("seq {0} is in the middle of a window: a checkpoint ends at a cut")]
    MidWindow(i64),
    /// There is nothing between the cursor and this seq, or what became of it is told in terms that there are not.
    #[error("seq {0} is not ahead of the cursor, or a term of it is none of a sink's")]
    NotAhead(i64),
    /// The final row is written, and may not be had before it is durable.
    #[error("the end of the journal does not get onto the disk: {0}")]
    HeldBack(String),
    /// An earlier call failed half-way.
    #[error("{0}")]
    Spoilt(String),
}

impl Error {
    pub(crate) fn convert(error: impl std::fmt::Display) -> Self {
        Self::Convert(error.to_string())
    }
}
