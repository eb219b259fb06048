//! A small ring in a folder of its own.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(unsafe_code, reason = "a name that the sanitizer's runtime looks for")]

mod tsan;

use std::path::PathBuf;

use auditring_ring::{Anchor, ClockKind, Geometry, Identity, Position, Ring};
use tempfile::TempDir;

pub const SMALL: Geometry =
    Geometry { lanes: 1, lane_bytes: 1 << 16, max_record: 1 << 12, reserve: 1 << 14, codes: 1024 };
pub const IDENTITY: Identity = Identity { process: [0xab; 16], boot_id: [0xcd; 16], generation: 7, pid: 4711 };
pub const BIRTH: Anchor = Anchor { stamp: 11, mono_ns: 22, real_ns: 33 };

/// A folder, and the path of a ring in it.
pub fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ring");
    (folder, path)
}

/// A ring whose counting begins at `start`. It outlives its folder: the mapping needs no name.
pub fn ring_at(geometry: &Geometry, start: Position) -> Ring {
    let (_folder, path) = place();
    Ring::create_at(&path, geometry, &IDENTITY, ClockKind::Monotonic, &BIRTH, start).expect("a ring")
}

pub fn ring(geometry: &Geometry) -> Ring {
    ring_at(geometry, Position::default())
}
