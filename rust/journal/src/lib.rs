//! The journal: the one durable truth that every sink, reader and recovery is derived from.
//!
//! This crate owns every byte under `journal/` and `totals/` of an audit directory:
//!
//! ```text
//! journal/<process uuid>/
//!   owner                                     who this is, where its ring lies              process_dir
//!   lock                                      held by the living owner, or by who recovers  lock
//!   followers                                 which sinks hold segments back                followers
//!   <ordinal>-<first seq>.journal             the segments                                  head, batch, writer, reader
//!   <sink>.cursor, <sink>.lock                how far a sink has come; who drives it        cursor
//!                                             what of it was taken away is put back        vanish
//!   scopes                                    by what else its rows are counted            scopes
//! totals/<process uuid>                       last counters of a process that has gone      totals
//! totals/.sums                                what many of them add up to, for metrics      sums
//! ```
//!
//! What must always hold:
//! - **A batch is one atomic step of the state.** Rows, positions in the ring and counters move together or not at all; a
//!   batch that is not there to its last byte is not there.
//! - **A segment has one writer, and what follows a bad byte is never written.** A failed write ends the segment, so only the
//!   tail of a segment can be torn, and a segment whose successor exists never changes again.
//! - **One fold.** What a journal has come to ([`State`]) is computed by the same code in the writer, in recovery and in a
//!   reader from outside, from segment heads and batch headers alone.
//! - **Nothing is trusted for its length.** A length read from disk is held against the file before a byte is allocated for it.
//! - Files are 0600 and directories 0700 whatever the umask; a small file is only ever replaced as a whole.
//! - No link is followed, and what is no plain file or directory of ours is neither waited for nor touched.
//!
//! ```
//! use auditring_journal::{BatchFlags, BatchMeta, Reader, SegmentHead, Step, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let mut writer = Writer::create(dir, &SegmentHead::default())?;
//! let birth = BatchMeta { flags: BatchFlags::BIRTH, rows: 1, ..BatchMeta::default() };
//! writer.append(&birth, b"", b"", b"a row")?;
//!
//! let (mut reader, mut buf) = (Reader::open(dir, 0)?, Vec::new());
//! assert!(matches!(reader.next(&mut buf)?, Step::Segment(_)));
//! let Step::Batch(meta, sections) = reader.next(&mut buf)? else { panic!("it is there") };
//! assert_eq!((meta.first_seq, &buf[sections.rows]), (0, &b"a row"[..]));
//! assert!(matches!(reader.next(&mut buf)?, Step::NotYet));
//! # Ok(())
//! # }
//! ```
//!
//! Rows, contexts' bytes, definitions and the policy are opaque here. All integers on disk are little endian.

mod batch;
mod bytes;
pub mod contexts;
pub mod counters;
mod cursor;
mod document;
mod error;
mod files;
mod fold;
mod followers;
mod head;
mod lock;
mod memory;
mod process_dir;
mod reader;
mod retain;
mod scopes;
mod segment;
mod shown;
mod state;
mod sums;
mod tally;
mod totals;
mod vanish;
mod writer;

pub use batch::{Anchor, Batch, BatchFlags, BatchMeta, LaneRange, MAX_HEADER, MAX_PAYLOAD, Sections};
pub use counters::{Cell, Counters};
pub use cursor::{Cursor, MAX_STATE, SinkLock};
pub use error::{Error, Result};
pub use fold::{Walk, fold, fold_checked, time_of};
pub use followers::{Follower, Followers, Hold, Mark};
pub use head::{LanePosition, MAX_HEAD, SegmentHead};
pub use lock::Lock;
pub use memory::in_memory;
pub use process_dir::{
    Owner, ProcessDir, is_held, list, lock_is_gone, process_text, purge, remove_remains, require_own, strangers,
};
pub use reader::{Reader, Step};
pub use retain::{Deleted, bytes_held, delete_oldest, delete_oldest_before, delete_passed, free_bytes, holding};
pub use scopes::{OTHER, ScopeFile, Scopes};
pub use segment::{SegmentName, segments};
pub use shown::{Show, Shown};
pub use state::{Ending, Gap, State};
pub use sums::{Sample, Sums};
pub use tally::Tally;
pub use totals::Totals;
pub use vanish::{What, descriptors, vanished};
pub use writer::{SyncHandle, Writer, make_durable};
