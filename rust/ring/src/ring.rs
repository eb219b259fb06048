//! The ring: owns the file, its mapping and the right to consume.
//!
//! What must always hold: a file at the path is whole as soon as it has its magic, and one that could not be finished
//! is removed again; the mapping lives as long as the ring; at most one consumer exists.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::{Anchor, ClockKind};
use crate::edge::{Edge, EdgeTable};
use crate::error::RingError;
use crate::lane::{Lane, Parts};
use crate::layout::{self, BELL, Geometry, HEAD, Head, Identity, MAGIC};
use crate::map::{self, Access, Map};
use crate::sleep::Bell;
use crate::sync::Words;
use crate::word::Position;

/// A ring in a mapped file. See the [crate's documentation](crate).
///
/// Shared between threads as it is; dropping it takes down the mapping and leaves the file.
pub struct Ring {
    path: PathBuf,
    file: File,
    head: Head,
    lanes: Box<[Parts]>,
    pub(crate) edges: EdgeTable,
    /// Serialises who appends; readers go by the published length.
    pub(crate) definitions: Mutex<()>,
    pub(crate) consumed: AtomicBool,
    /// Where the next consumer goes on: what the last one released, unwrapped.
    pub(crate) resume: Mutex<Vec<Position>>,
    // Last: the parts above point into it.
    pub(crate) map: Map,
}

impl Ring {
    /// Makes a ring at a path where nothing is yet, all of its pages in memory, ready for claims.
    ///
    /// # Errors
    /// The sizes do not fit together, the path exists, or the file system has no room. No file is left behind.
    pub fn create(
        path: &Path,
        g: &Geometry,
        id: &Identity,
        clock: ClockKind,
        birth: &Anchor,
    ) -> Result<Self, RingError> {
        Self::create_at(path, g, id, clock, birth, Position::default())
    }

    /// As [`create`](Self::create), with lanes whose counting begins elsewhere than at 0. For tests of what wraps.
    #[doc(hidden)]
    pub fn create_at(
        path: &Path,
        g: &Geometry,
        id: &Identity,
        clock: ClockKind,
        birth: &Anchor,
        start: Position,
    ) -> Result<Self, RingError> {
        g.check().map_err(RingError::Geometry)?;
        let head = Head { geometry: *g, identity: *id, clock, birth: *birth };
        let file = map::create(path, g.file_bytes())?;
        let made = Map::new(path, &file, g, Access::Shared).map(|map| {
            map.fault_in();
            Self::assemble(path, file, head, map, vec![start; g.lanes as usize])
        });
        if made.is_err() {
            map::discard(path);
        }
        let ring = made?;
        let bytes = head.encode();
        // SAFETY: the head's bytes are the first of the mapping, and without the magic nobody reads them.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), ring.map.byte(0), HEAD) };
        for parts in &ring.lanes {
            parts.tail().store(start.word(), Ordering::Relaxed);
            parts.head().store(start.word(), Ordering::Relaxed);
        }
        ring.magic().store(MAGIC, Ordering::Release);
        Ok(ring)
    }

    /// Opens a ring that was made before, to consume it, to scan it, or to look at its counters. How often its
    /// positions had wrapped is not in the file: a consumer counts from what the head's word holds, a scan from where
    /// it is told to begin.
    ///
    /// # Errors
    /// There is none, or one that may not be trusted: a link, somebody else's, another version, unfinished, the wrong
    /// length.
    pub fn open(path: &Path) -> Result<Self, RingError> {
        Self::opened(path, Access::Shared)
    }

    /// The same for whoever only scans it, or looks at its counters, and need not be allowed to write to the file: nothing
    /// that is done to this one is seen by anybody else.
    ///
    /// # Errors
    /// As [`Ring::open`].
    pub fn look(path: &Path) -> Result<Self, RingError> {
        Self::opened(path, Access::Private)
    }

    fn opened(path: &Path, access: Access) -> Result<Self, RingError> {
        let invalid = |reason| RingError::Invalid { path: path.to_owned(), reason };
        let (file, length) = map::open(path, access)?;
        let mut bytes = [0; HEAD];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => invalid("it is too short"),
            _ => RingError::Io { path: path.to_owned(), what: "read", source },
        })?;
        let head = Head::decode(&bytes, length).map_err(invalid)?;
        let map = Map::new(path, &file, &head.geometry, access)?;
        let mut ring = Self::assemble(path, file, head, map, Vec::new());
        let resume = ring.lanes.iter().map(|parts| Position::default().unwrapped(parts.head().load(Ordering::Acquire)));
        ring.resume = Mutex::new(resume.collect());
        Ok(ring)
    }

    fn assemble(path: &Path, file: File, head: Head, map: Map, resume: Vec<Position>) -> Self {
        let g = &head.geometry;
        let words = |bytes: u32| bytes / 8;
        let lanes = (0..g.lanes as usize).map(|lane| {
            let lines = Geometry::lane_lines(lane);
            Parts {
                tail: map.word(lines),
                head: map.word(lines + layout::HEAD_LINE),
                sleeping: map.word(lines + layout::SLEEPING).cast(),
                bell: map.word(BELL).cast(),
                // SAFETY: the map has the lane's words there, with the mirror behind them, and lives as long as the
                // ring.
                words: unsafe { Words::new(map.lane(lane), words(g.lane_bytes)) },
                room: [words(g.lane_bytes), words(g.lane_bytes - g.reserve)],
                crowd: words(g.lane_bytes / 8),
                max_payload: g.max_record - crate::word::HEADER as u32,
            }
        });
        Self {
            path: path.to_owned(),
            lanes: lanes.collect(),
            edges: EdgeTable::new(&map, g),
            definitions: Mutex::new(()),
            consumed: AtomicBool::new(false),
            resume: Mutex::new(resume),
            file,
            head,
            map,
        }
    }

    /// A lane's producers' side.
    ///
    /// # Panics
    /// There is no such lane.
    #[inline(always)]
    #[must_use]
    pub fn lane(&self, i: u32) -> Lane<'_> {
        Lane::new(&self.lanes[i as usize])
    }

    /// The counters of what never entered the ring.
    #[inline(always)]
    #[must_use]
    pub fn edge(&self) -> Edge<'_> {
        Edge::new(&self.edges)
    }

    pub(crate) fn parts(&self) -> &[Parts] {
        &self.lanes
    }

    pub(crate) fn bell(&self) -> &Bell {
        self.lanes[0].bell()
    }

    /// Ends the current or next [`sleep`](crate::Consumer::sleep) of the consumer. From any thread.
    pub fn wake(&self) {
        self.bell().ring();
    }

    /// Lets no further claim in, in any lane, and wakes the consumer so that it drains. Again is no different.
    pub fn close(&self) {
        for parts in &self.lanes {
            parts.close();
        }
        self.wake();
    }

    /// Whether no lane takes a claim any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        (0..self.geometry().lanes).all(|lane| self.lane(lane).is_closed())
    }

    /// Where the file was made or opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its sizes.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.head.geometry
    }

    /// Whose it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.head.identity
    }

    /// The anchor of the log's birth. A ring that replaces another carries on the same.
    #[must_use]
    pub const fn birth(&self) -> &Anchor {
        &self.head.birth
    }

    /// The clock that the stamps in its records are of.
    #[must_use]
    pub const fn clock(&self) -> ClockKind {
        self.head.clock
    }

    /// Whether the path still names this ring's file. Session managers and containers delete what lies in `/dev/shm`.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        let (Ok(named), Ok(ours)) = (std::fs::symlink_metadata(&self.path), self.file.metadata()) else { return false };
        (named.dev(), named.ino()) == (ours.dev(), ours.ino())
    }

    /// What a consumer had given back, as far as the file says: how often its positions had wrapped is not in it.
    ///
    /// # Panics
    /// There is no such lane.
    #[must_use]
    pub fn head(&self, lane: u32) -> Position {
        Position::default().unwrapped(self.lanes[lane as usize].head().load(Ordering::Acquire))
    }

    /// Whether the consumer of a lane had given back more than what lies before `at`.
    ///
    /// # Panics
    /// There is no such lane.
    #[must_use]
    pub fn is_behind(&self, lane: u32, at: Position) -> bool {
        let ahead = at.unwrapped(self.lanes[lane as usize].head().load(Ordering::Acquire)).pos.wrapping_sub(at.pos);
        // Modulo: a head that is behind `at` looks as if it were far ahead.
        ahead > 0 && ahead < 8 << 31
    }

    /// How many claims the consumer of a lane had given back beyond what lies before `at`.
    ///
    /// # Panics
    /// There is no such lane.
    #[must_use]
    pub fn gone(&self, lane: u32, at: Position) -> u64 {
        let head = at.unwrapped(self.lanes[lane as usize].head().load(Ordering::Acquire));
        if self.is_behind(lane, at) { head.claims - at.claims } else { 0 }
    }

    /// Whether the producers of a lane had come as far as `at`. If not, this is an earlier copy of the ring in which they had.
    ///
    /// # Panics
    /// There is no such lane.
    #[must_use]
    pub fn has_reached(&self, lane: u32, at: Position) -> bool {
        // Modulo, as above: a tail that is behind `at` looks as if it were far ahead.
        self.lanes[lane as usize].tail_from(at).pos - at.pos < 8 << 31
    }

    /// Removes the path's name for this ring. A path that no longer names it is left alone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn unlink(&self) -> io::Result<()> {
        if !self.is_linked() {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn magic(&self) -> &AtomicU64 {
        // SAFETY: the first word of the mapping, which lives as long as we.
        unsafe { &*self.map.word(0) }
    }

    /// Where a consumer goes on that takes up the work now.
    pub(crate) fn resume(&self) -> std::sync::MutexGuard<'_, Vec<Position>> {
        self.resume.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("path", &self.path)
            .field("geometry", self.geometry())
            .field("identity", self.identity())
            .finish_non_exhaustive()
    }
}
