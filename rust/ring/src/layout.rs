//! Every byte of the ring file.
//!
//! ```text
//!        0 ┌──────────────────────────────────────────────────────────────────────────────┐
//!          │  0  magic "auditrng", stored last       8  u32 version    12  u32 clock kind │
//!          │ 16  u64 length of the file                                                   │
//!          │ 24  u32 lanes        28  u32 lane bytes 32  u32 greatest record              │
//!          │ 36  u32 reserve      40  u32 codes      44  u32 generation                   │
//!          │ 48  u32 pid          52  …0                                                  │
//!          │ 64  process UUID     80  boot id                                             │
//!          │ 96  birth: u64 stamp, i64 monotonic ns, i64 real ns   120 …0                 │
//!      128 ├──────────────────────────────────────────────────────────────────────────────┤
//!          │ u32 bell: counts wake-ups; what a sleeping consumer waits on                 │
//!      256 ├──────────────────────────────────────────────────────────────────────────────┤
//!          │ u64 published length of the definitions                                      │
//!     4096 ├─ per lane, up to 64 ─────────────────────────────────────────────────────────┤
//!          │ +0    u64 tail   {closed: 1, claims: 31, position ÷ 8: 32}                   │
//!          │ +128  u64 head   {     0: 1, claims: 31, position ÷ 8: 32}   u32 sleeping    │
//!    20480 ├──────────────────────────────────────────────────────────────────────────────┤
//!          │ definitions, 64 KiB, appended to; meaningless to this crate                  │
//!    86016 ├─ per lane ───────────────────────────────────────────────────────────────────┤
//!          │ touched: one bit a code: some counter of it is not 0                         │
//!          │ ordered counters: u64 [code][outcome: 8][off, dropped, refused]              │
//!          │ shared counters:  the same; a count is the sum of both                       │
//!     data ├─ on the next 64 KiB; per lane ───────────────────────────────────────────────┤
//!          │ lane bytes of records, each on 8 bytes:                                      │
//!          │ header {0: 1, ordinal: 31, ± length: 32}, payload, zeroes to a multiple of 8 │
//!          └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//! All integers are little endian. What different threads write to lies on lines of 128 bytes of its own (two cache
//! lines: processors fetch them in pairs). In memory each lane is followed by a second mapping of its own first bytes,
//! as many as the greatest record needs, so that no record is ever split.

use crate::clock::{Anchor, ClockKind};
use crate::edge;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"auditrng");
pub(crate) const VERSION: u32 = 1;
/// Bytes of the head that [`Head::encode`] writes.
pub(crate) const HEAD: usize = 128;
pub(crate) const BELL: usize = 128;
pub(crate) const DEFINITIONS_LENGTH: usize = 256;
const LANES: usize = 4096;
const LANE_LINES: usize = 256;
/// Of the head within a lane's lines.
pub(crate) const HEAD_LINE: usize = 128;
/// Of the `sleeping` word within a lane's lines.
pub(crate) const SLEEPING: usize = HEAD_LINE + 8;
const MAX_LANES: u32 = 64;
pub(crate) const DEFINITIONS: usize = LANES + MAX_LANES as usize * LANE_LINES;
pub(crate) const DEFINITIONS_BYTES: usize = 64 << 10;
const EDGE: usize = DEFINITIONS + DEFINITIONS_BYTES;
/// Lanes begin on, and are a multiple of, the largest page size in use.
pub(crate) const ALIGN: usize = 64 << 10;

/// The sizes of a ring. They are fixed at its birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Independent rings in the file, 1 to 64.
    pub lanes: u32,
    /// Bytes of records a lane holds: a power of two from 64 KiB to 1 GiB.
    pub lane_bytes: u32,
    /// Bytes of the longest record, its 8 bytes of header included: a multiple of 8, at most 64 KiB and a sixteenth of
    /// a lane.
    pub max_record: u32,
    /// Bytes of a lane that droppable records may not use: a multiple of 8.
    pub reserve: u32,
    /// Rows of the table of edge counters, at most 65,536.
    pub codes: u32,
}

impl Default for Geometry {
    /// One lane of 16 MiB, a quarter of it reserved, records up to 64 KiB, 1,024 codes.
    fn default() -> Self {
        Self { lanes: 1, lane_bytes: 16 << 20, max_record: 64 << 10, reserve: 4 << 20, codes: 1024 }
    }
}

impl Geometry {
    /// Says what does not fit, if anything.
    pub(crate) const fn check(&self) -> Result<(), &'static str> {
        if self.lanes == 0 || self.lanes > MAX_LANES {
            return Err("a ring has 1 to 64 lanes");
        }
        if !self.lane_bytes.is_power_of_two() || self.lane_bytes < ALIGN as u32 || self.lane_bytes > 1 << 30 {
            return Err("a lane is a power of two of bytes, from 64 KiB to 1 GiB");
        }
        if !self.max_record.is_multiple_of(8) || self.max_record < 64 {
            return Err("the greatest record is a multiple of 8 bytes, at least 64");
        }
        if self.max_record > 64 << 10 || self.max_record > self.lane_bytes / 16 {
            return Err("the greatest record is at most 64 KiB, and a sixteenth of a lane");
        }
        if !self.reserve.is_multiple_of(8) || self.reserve > self.lane_bytes - self.max_record {
            return Err("the reserve is a multiple of 8 bytes, and leaves room for one record");
        }
        if self.codes == 0 || self.codes > 1 << 16 {
            return Err("there are 1 to 65,536 codes");
        }
        Ok(())
    }

    pub(crate) const fn lane_lines(lane: usize) -> usize {
        LANES + lane * LANE_LINES
    }

    pub(crate) const fn edge(&self, lane: usize) -> usize {
        EDGE + lane * 8 * edge::lane_words(self.codes as usize)
    }

    /// Where the lanes begin, and what comes before them ends.
    pub(crate) const fn data(&self) -> usize {
        self.edge(self.lanes as usize).next_multiple_of(ALIGN)
    }

    pub(crate) const fn lane(&self, lane: usize) -> usize {
        self.data() + lane * self.lane_bytes as usize
    }

    pub(crate) const fn file_bytes(&self) -> usize {
        self.lane(self.lanes as usize)
    }
}

/// Whose ring it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The UUID of the open log that writes into it.
    pub process: [u8; 16],
    /// The boot during which it was made; see [`boot_id`](crate::boot_id).
    pub boot_id: [u8; 16],
    /// Which of the log's rings it is. Positions mean nothing across generations.
    pub generation: u32,
    /// The operating system's number of the process. For people; a lock tells who lives.
    pub pid: u32,
}

/// What stands at the head of the file from its birth on.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) geometry: Geometry,
    pub(crate) identity: Identity,
    pub(crate) clock: ClockKind,
    pub(crate) birth: Anchor,
}

impl Head {
    /// The head's bytes, but for the magic: that is stored when all the rest of the file is in place.
    pub(crate) fn encode(&self) -> [u8; HEAD] {
        let (g, id) = (&self.geometry, &self.identity);
        let mut to = [0; HEAD];
        let mut put = |at: usize, bytes: &[u8]| to[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &VERSION.to_le_bytes());
        put(12, &(self.clock as u32).to_le_bytes());
        put(16, &(g.file_bytes() as u64).to_le_bytes());
        for (i, size) in
            [g.lanes, g.lane_bytes, g.max_record, g.reserve, g.codes, id.generation, id.pid].iter().enumerate()
        {
            put(24 + 4 * i, &size.to_le_bytes());
        }
        put(64, &id.process);
        put(80, &id.boot_id);
        put(96, &self.birth.stamp.to_le_bytes());
        put(104, &self.birth.mono_ns.to_le_bytes());
        put(112, &self.birth.real_ns.to_le_bytes());
        to
    }

    /// Reads a head, and believes nothing that does not fit together with the file's true length.
    pub(crate) fn decode(from: &[u8; HEAD], file_bytes: u64) -> Result<Self, &'static str> {
        let bytes16 = |at: usize| core::array::from_fn::<u8, 16, _>(|i| from[at + i]);
        let u64_at = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| from[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| from[at + i]));
        if u64_at(0) != MAGIC {
            return Err("it has no magic: not a ring, or one whose making was cut short");
        }
        if u32_at(8) != VERSION {
            return Err("its version is not ours");
        }
        let clock = ClockKind::from_number(u32_at(12)).ok_or("its clock is unknown")?;
        let [lanes, lane_bytes, max_record, reserve, codes, generation, pid] =
            core::array::from_fn(|i| u32_at(24 + 4 * i));
        let geometry = Geometry { lanes, lane_bytes, max_record, reserve, codes };
        geometry.check()?;
        if u64_at(16) != file_bytes || geometry.file_bytes() as u64 != file_bytes {
            return Err("its length is not what its sizes say");
        }
        Ok(Self {
            geometry,
            identity: Identity { process: bytes16(64), boot_id: bytes16(80), generation, pid },
            clock,
            birth: Anchor { stamp: u64_at(96), mono_ns: u64_at(104) as i64, real_ns: u64_at(112) as i64 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            geometry: Geometry::default(),
            identity: Identity { process: [1; 16], boot_id: [2; 16], generation: 3, pid: 4 },
            clock: ClockKind::Tsc,
            birth: Anchor { stamp: 5, mono_ns: -6, real_ns: 7 },
        }
    }

    fn finished(head: &Head) -> [u8; HEAD] {
        let mut bytes = head.encode();
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes
    }

    #[test]
    fn a_head_comes_back_as_it_was_written() {
        let head = head();
        let back = Head::decode(&finished(&head), head.geometry.file_bytes() as u64).unwrap();
        assert_eq!(
            (back.geometry, back.identity, back.clock, back.birth),
            (head.geometry, head.identity, head.clock, head.birth)
        );
    }

    #[test]
    fn a_head_without_magic_is_refused() {
        let head = head();
        assert!(Head::decode(&head.encode(), head.geometry.file_bytes() as u64).is_err());
    }

    #[test]
    fn every_single_damaged_size_is_refused_or_harmless() {
        let head = head();
        let length = head.geometry.file_bytes() as u64;
        for at in 8..44 {
            let mut bytes = finished(&head);
            bytes[at] ^= 0x55;
            if let Ok(found) = Head::decode(&bytes, length) {
                assert_eq!(found.geometry.file_bytes() as u64, length, "byte {at}");
                assert_eq!(found.geometry.check(), Ok(()), "byte {at}");
            }
        }
    }

    #[test]
    fn areas_lie_behind_each_other_on_lines_of_their_own() {
        let g = Geometry { lanes: 64, codes: 65, ..Geometry::default() };
        assert_eq!(Geometry::lane_lines(64), DEFINITIONS);
        assert!((0..64).all(|lane| g.edge(lane).is_multiple_of(128) && Geometry::lane_lines(lane).is_multiple_of(128)));
        assert!(g.edge(64) <= g.data() && g.data().is_multiple_of(ALIGN));
        assert_eq!(g.file_bytes(), g.data() + (64 << 24));
    }

    #[test]
    fn sizes_that_do_not_fit_together_are_refused() {
        let good = Geometry::default();
        assert_eq!(good.check(), Ok(()));
        for bad in [
            Geometry { lanes: 0, ..good },
            Geometry { lanes: 65, ..good },
            Geometry { lane_bytes: 3 << 20, ..good },
            Geometry { lane_bytes: 1 << 15, ..good },
            Geometry { max_record: 60, ..good },
            Geometry { max_record: (64 << 10) + 8, ..good },
            Geometry { lane_bytes: 1 << 18, ..good },
            Geometry { reserve: 16 << 20, ..good },
            Geometry { codes: 0, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
