//! The ring: a mapped file that producers put whole records into and one consumer takes them out of.
//!
//! The file outlives the process. A record is in it for good as soon as [`Claim::commit`] returns: `kill -9` cannot
//! take it back, and [`Ring::scan`] finds it afterwards, together with the exact number of claims that died half-way.
//!
//! What must always hold:
//! - **A refusal has no side effect**, and nothing between claim and commit allocates, blocks or panics.
//! - **Claims are counted by the tail itself**: every claim has an ordinal, so `claimed = committed + torn` to the
//!   unit.
//! - **Free space is zero.** The consumer zeroes what it consumed before it gives the space back, so the first word
//!   that is not zero behind a record boundary is always a record's header.
//! - **One consumer**, and it gives space back only when told to: the caller says so once a batch is safe elsewhere.
//!
//! The crate knows neither events nor Python: a record is bytes, an event is a row number in the table of edge
//! counters.
//!
//! | file | owns |
//! |---|---|
//! | `layout` | every byte of the file |
//! | `word` | the bits of a position word and of a record header |
//! | `lane` | the producers' side: claim, write, commit |
//! | `reader`, `consumer` | the consumer's side: poll, next, release, rewind |
//! | `sleep`, `futex` | how the consumer sleeps and is woken |
//! | `edge`, `definitions` | counters of what never entered, and the declared events |
//! | `scan` | reading a dead process's ring |
//! | `map`, `ring` | the file, the mapping, who owns it |
//! | `clock`, `boot` | stamps, anchors, which boot this is |
//! | `sync`, `model` | the model checker's stand-ins, and the lane that it checks |
//!
//! # Example
//!
//! ```
//! use auditring_ring::{Clock, Geometry, Identity, Kind, Refusal, Ring};
//!
//! let folder = tempfile::tempdir()?;
//! let clock = Clock::detect();
//! let boot_id = auditring_ring::boot_id()?;
//! let identity = Identity { process: [7; 16], boot_id, generation: 0, pid: std::process::id() };
//! let geometry = Geometry { lanes: 1, lane_bytes: 1 << 16, max_record: 1 << 12, reserve: 1 << 14, codes: 1024 };
//! let ring = Ring::create(&folder.path().join("ring"), &geometry, &identity, clock.kind(), &clock.anchor())?;
//!
//! // A producer: any thread, any number of them.
//! let lane = ring.lane(0);
//! match lane.claim(5, true) {
//!     Ok(mut claim) => {
//!         claim.write(|room| room.copy_from_slice(b"hello"));
//!         claim.commit(); // from here on the record survives the process
//!     }
//!     Err(Refusal::Full) => ring.edge().bump(0, 42, 0, Kind::Dropped),
//!     Err(refusal) => panic!("{refusal}"),
//! }
//!
//! // The consumer: one at a time.
//! let mut consumer = ring.consumer().expect("nobody else consumes");
//! assert!(consumer.poll(0));
//! assert_eq!(consumer.next(0), Some(&b"hello"[..]));
//! assert_eq!(consumer.next(0), None);
//! consumer.release(0); // once the record is safe elsewhere
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(
    unsafe_code,
    reason = "a ring in mapped memory is pointers and atomics; here is where the workspace keeps them"
)]
#![allow(clippy::inline_always, reason = "the producers' path is tens of instructions, and a call would double it")]
#![cfg_attr(loom, allow(dead_code, missing_docs, reason = "the model builds the core alone, without file and mapping"))]

#[cfg(target_endian = "big")]
compile_error!("the bytes of the ring are little endian, and are read and written in place");
#[cfg(not(target_has_atomic = "64"))]
compile_error!("tail and head are one 64-bit word each, changed in one step");

mod futex;
mod lane;
mod reader;
mod sleep;
mod sync;
mod word;

#[cfg(loom)]
pub mod model;

#[cfg(not(loom))]
mod boot;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod consumer;
#[cfg(not(loom))]
mod definitions;
#[cfg(not(loom))]
mod edge;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod scan;

#[cfg(all(test, not(loom)))]
#[path = "../tests/common/tsan.rs"]
mod tsan;

pub use lane::{Claim, Lane, Refusal};
pub use word::Position;

#[cfg(not(loom))]
pub use boot::boot_id;
#[cfg(not(loom))]
pub use clock::{Anchor, Clock, ClockKind, Scale};
#[cfg(not(loom))]
pub use consumer::{Consumer, OwnedConsumer, consumer_of};
#[cfg(not(loom))]
pub use definitions::Full;
#[cfg(not(loom))]
pub use edge::{Edge, EdgeCount, Kind, OUTCOMES};
#[cfg(not(loom))]
pub use error::RingError;
#[cfg(not(loom))]
pub use layout::{Geometry, Identity};
#[cfg(not(loom))]
pub use map::own_uid;
#[cfg(not(loom))]
pub use ring::Ring;
#[cfg(not(loom))]
pub use scan::{Found, Scan};
