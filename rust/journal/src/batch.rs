//! The batch: one atomic step of the state, as it stands in a segment.
//!
//! ```text
//!   0  [4]  "arBT"
//!   4  u16  version
//!   6  u16  flags                     birth 1, final-clean 2, final-recovered 4, seq jump 8, cut 16
//!   8  u32  header length             all up to and with the header CRC; a multiple of 8
//!  12  u32  contexts length      ┐
//!  16  u32  definitions length   │    each section is zero-padded to a multiple of 8; lengths are without padding
//!  20  u32  rows length          ┘
//!  24  u32  payload CRC               over the three sections with their padding
//!  28  u32  rows                      how many
//!  32  [16] process
//!  48  u64  batch number              dense per process, from 0
//!  56  i64  first seq
//!  64  u32  generation                of the ring that the positions are in
//!  68  u32  lanes
//!  72  u32  cells
//!  76  u32  segment               its ordinal + 1, modulo; 0 of a batch that does not say
//!  80  u64 stamp, i64 monotonic, i64 realtime      the anchor
//! 104  i64  least time     112  i64  greatest time
//! 120  i64  least age      128  i64  greatest age
//! 136  lanes × { u64 from, u64 from claims, u64 to, u64 to claims }
//!   …  cells × { u32 cell, u32 zero, u64 value }   absolute values of the counters that changed
//!   …  u32  zero
//!   …  u32  header CRC                over everything before it
//! ------ payload
//!      contexts, definitions, rows
//! ```
//!
//! A batch lies in one segment, because its rows name contexts by their position there: copied whole to another, it would give
//! them to somebody else.
//!
//! Positions and counters stand in the header and not in the payload: so a damaged payload costs its rows, by their exact
//! range, and never the state. The magic, the header length and the place of the header CRC stay the same in every version.

use std::ops::{BitOr, Range};

use crate::bytes::{MOST, Put, Take, ZEROS, padded, padding};
use crate::counters::Cell;

const MAGIC: [u8; 4] = *b"arBT";
pub(crate) const VERSION: u16 = 1;
/// Bytes before the lanes.
pub(crate) const FIXED: usize = 136;
const LANE: usize = 32;
const CELL: usize = 16;
const TRAILER: usize = 8;

/// The longest batch header; the widest counter tables fit several times.
pub const MAX_HEADER: usize = 16 << 20;
/// The longest payload of a batch. Batches are mostly 256 KiB to 1 MiB; the limit bounds what a damaged length can ask for.
pub const MAX_PAYLOAD: u64 = 64 << 20;

/// One instant on three clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The raw clock that events are stamped with.
    pub stamp: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub mono_ns: i64,
    /// Nanoseconds since the epoch.
    pub real_ns: i64,
}

impl Anchor {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.stamp);
        out.put_i64(self.mono_ns);
        out.put_i64(self.real_ns);
    }

    pub(crate) fn take(from: &mut Take<'_>) -> Option<Self> {
        Some(Self { stamp: from.u64()?, mono_ns: from.i64()?, real_ns: from.i64()? })
    }
}

/// What part of a lane a batch holds, in unwrapped bytes and in claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneRange {
    /// Where the batch begins.
    pub from_pos: u64,
    /// Claims before that.
    pub from_claims: u64,
    /// Where the batch ends; recovery begins here.
    pub to_pos: u64,
    /// Claims before that.
    pub to_claims: u64,
}

/// What is special about a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchFlags(u16);

impl BatchFlags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The first batch of a process. A journal without one has accepted nothing.
    pub const BIRTH: Self = Self(1);
    /// The last batch: the process closed its log.
    pub const FINAL_CLEAN: Self = Self(2);
    /// The last batch: recovery closed the log for the process.
    pub const FINAL_RECOVERED: Self = Self(4);
    /// `first_seq` leaves a gap on purpose (protocol 20). Nothing else may.
    pub const SEQ_JUMP: Self = Self(8);
    /// Nothing that a policy merges goes on past this batch, which has no rows (protocol 27).
    pub const CUT: Self = Self(16);
    /// Set by the reader and never on disk: the rows were given before (the batch was written again elsewhere), so only
    /// contexts and definitions come along, which later rows of this segment refer to.
    pub const PASSED: Self = Self(0x8000);
    const ON_DISK: u16 = 0x001f;

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether this is the last batch of its process, one way or the other.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.0 & (Self::FINAL_CLEAN.0 | Self::FINAL_RECOVERED.0) != 0
    }
}

impl BitOr for BatchFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Everything a batch says beside its sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchMeta {
    /// What is special about it.
    pub flags: BatchFlags,
    /// Whose it is.
    pub process: [u8; 16],
    /// Dense per process, from 0.
    pub batch_no: u64,
    /// Which ring the lanes' positions are in.
    pub generation: u32,
    /// What it holds of each lane, by lane.
    pub lanes: Vec<LaneRange>,
    /// The seq of its first row; the next one to come if it has none.
    pub first_seq: i64,
    /// How many rows.
    pub rows: u32,
    /// Taken after the tails were loaded.
    pub anchor: Anchor,
    /// Least wall time of its rows.
    pub min_time_ns: i64,
    /// Greatest wall time of its rows.
    pub max_time_ns: i64,
    /// Least age of its rows.
    pub min_age_ns: i64,
    /// Greatest age of its rows.
    pub max_age_ns: i64,
    /// Absolute values of the counters that changed.
    pub cells: Vec<(Cell, u64)>,
}

impl BatchMeta {
    /// Whether a reader would believe its numbers.
    pub(crate) fn is_countable(&self) -> bool {
        let of = |lane: &LaneRange| [lane.from_pos, lane.from_claims, lane.to_pos, lane.to_claims];
        let positions = || self.lanes.iter().flat_map(of);
        self.batch_no <= MOST && self.first_seq as u64 <= MOST && positions().all(|position| position <= MOST)
    }

    /// The seq after its last row.
    #[must_use]
    pub fn end_seq(&self) -> i64 {
        self.first_seq.saturating_add(i64::from(self.rows))
    }
}

/// Where a batch's sections lie in the buffer that it was read into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Entries as in [`crate::contexts`].
    pub contexts: Range<usize>,
    /// Declared events, as the pump wrote them.
    pub definitions: Range<usize>,
    /// The rows, one behind the other.
    pub rows: Range<usize>,
}

/// A batch and its sections.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// What it says of itself.
    pub meta: BatchMeta,
    /// Entries as in [`crate::contexts`].
    pub contexts: &'a [u8],
    /// Declared events, as the pump wrote them.
    pub definitions: &'a [u8],
    /// The rows, one behind the other.
    pub rows: &'a [u8],
}

impl<'a> Batch<'a> {
    /// A batch as [`Reader::next`](crate::Reader::next) left it in `buf`.
    #[must_use]
    pub fn new(meta: BatchMeta, sections: &Sections, buf: &'a [u8]) -> Self {
        Self {
            meta,
            contexts: &buf[sections.contexts.clone()],
            definitions: &buf[sections.definitions.clone()],
            rows: &buf[sections.rows.clone()],
        }
    }
}

/// The CRC of a payload.
pub(crate) fn payload_crc(sections: [&[u8]; 3]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for section in sections {
        crc.update(section);
        crc.update(&ZEROS[..padding(section.len())]);
    }
    crc.finalize()
}

/// The length of a header with so many lanes and cells.
pub(crate) fn header_len(lanes: usize, cells: usize) -> usize {
    FIXED + lanes * LANE + cells * CELL + TRAILER
}

/// What a batch says of the segment that it lies in.
pub(crate) const fn segment_mark(ordinal: u64) -> u32 {
    (ordinal as u32).wrapping_add(1)
}

/// Writes the header of a batch in the segment `ordinal` to `out`, which it clears first.
pub(crate) fn encode_header(meta: &BatchMeta, ordinal: u64, lens: [usize; 3], payload_crc: u32, out: &mut Vec<u8>) {
    let len = header_len(meta.lanes.len(), meta.cells.len());
    out.clear();
    out.reserve(len);
    out.put(&MAGIC);
    out.put_u16(VERSION);
    out.put_u16(meta.flags.0 & BatchFlags::ON_DISK);
    out.put_u32(len as u32);
    for len in lens {
        out.put_u32(len as u32);
    }
    out.put_u32(payload_crc);
    out.put_u32(meta.rows);
    out.put(&meta.process);
    out.put_u64(meta.batch_no);
    out.put_i64(meta.first_seq);
    out.put_u32(meta.generation);
    out.put_u32(meta.lanes.len() as u32);
    out.put_u32(meta.cells.len() as u32);
    out.put_u32(segment_mark(ordinal));
    meta.anchor.put(out);
    for bound in [meta.min_time_ns, meta.max_time_ns, meta.min_age_ns, meta.max_age_ns] {
        out.put_i64(bound);
    }
    for lane in &meta.lanes {
        out.put_u64(lane.from_pos);
        out.put_u64(lane.from_claims);
        out.put_u64(lane.to_pos);
        out.put_u64(lane.to_claims);
    }
    put_cells(&meta.cells, out);
    out.put_u32(0);
    let crc = crc32fast::hash(out);
    out.put_u32(crc);
}

pub(crate) fn put_cells(cells: &[(Cell, u64)], out: &mut Vec<u8>) {
    for &(cell, value) in cells {
        out.put_u32(cell);
        out.put_u32(0);
        out.put_u64(value);
    }
}

/// The caller has made sure that so many cells are there, which bounds the allocation.
pub(crate) fn take_cells(from: &mut Take<'_>, count: usize) -> Option<Vec<(Cell, u64)>> {
    if from.remaining() < count.checked_mul(CELL)? {
        return None;
    }
    (0..count)
        .map(|_| {
            let cell = from.u32()?;
            from.u32()?;
            Some((cell, from.u64()?))
        })
        .collect()
}

/// A batch header that has been checked.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) meta: BatchMeta,
    /// Places relative to the first byte of the header.
    pub(crate) sections: Sections,
    /// The whole payload with its padding, likewise.
    pub(crate) payload: Range<usize>,
    pub(crate) payload_crc: u32,
    segment: u32,
}

impl Header {
    /// Whether it can be of the segment `ordinal`.
    pub(crate) fn is_of(&self, ordinal: u64) -> bool {
        self.segment == 0 || self.segment == segment_mark(ordinal)
    }

    /// Length of the whole batch.
    pub(crate) fn len(&self) -> usize {
        self.payload.end
    }
}

/// What some bytes at the place of a batch turned out to be.
#[derive(Debug)]
pub(crate) enum Parsed<T> {
    /// A good header.
    Whole(T),
    /// Perhaps one, if there are so many bytes.
    Short(usize),
    /// None: the tail of a segment.
    Invalid,
    /// A good header of a version that is not ours.
    Version(u32),
}

/// Reads the header at the start of `bytes`. Allocates no more than in proportion to `bytes`.
pub(crate) fn parse_header(bytes: &[u8]) -> Parsed<Header> {
    if bytes.len() < FIXED {
        return Parsed::Short(FIXED);
    }
    if bytes[..4] != MAGIC {
        return Parsed::Invalid;
    }
    let len = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    if !(FIXED + TRAILER..=MAX_HEADER).contains(&len) || !len.is_multiple_of(8) {
        return Parsed::Invalid;
    }
    let Some(bytes) = bytes.get(..len) else { return Parsed::Short(len) };
    let (body, crc) = bytes.split_at(len - 4);
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Parsed::Invalid;
    }
    let version = u16::from_le_bytes([bytes[4], bytes[5]]);
    if version != VERSION {
        return Parsed::Version(u32::from(version));
    }
    decode(body, len).map_or(Parsed::Invalid, Parsed::Whole)
}

fn decode(body: &[u8], header_len: usize) -> Option<Header> {
    let mut from = Take::new(body);
    from.bytes(6)?;
    let flags = BatchFlags(from.u16()?);
    from.u32()?;
    let lens = [from.u32()?, from.u32()?, from.u32()?].map(u64::from);
    let payload_crc = from.u32()?;
    let rows = from.u32()?;
    let process = from.array()?;
    let batch_no = from.count()?;
    let first_seq = from.count()? as i64;
    let generation = from.u32()?;
    let (lanes, cells) = (from.u32()? as usize, from.u32()? as usize);
    let segment = from.u32()?;
    let anchor = Anchor::take(&mut from)?;
    let [min_time_ns, max_time_ns, min_age_ns, max_age_ns] = [from.i64()?, from.i64()?, from.i64()?, from.i64()?];
    // The table sizes have to fill the header exactly, which bounds both.
    let tables = (lanes as u64) * LANE as u64 + (cells as u64) * CELL as u64;
    let total: u64 = lens.iter().map(|&len| padded(len)).sum();
    let fits = tables + TRAILER as u64 == from.remaining() as u64 + 4;
    if !fits || total > MAX_PAYLOAD {
        return None;
    }
    let lanes = (0..lanes)
        .map(|_| {
            Some(LaneRange {
                from_pos: from.count()?,
                from_claims: from.count()?,
                to_pos: from.count()?,
                to_claims: from.count()?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let cells = take_cells(&mut from, cells)?;
    let mut at = header_len;
    let [contexts, definitions, rows_at] = lens.map(|len| {
        let section = at..at + len as usize;
        at += padded(len) as usize;
        section
    });
    Some(Header {
        meta: BatchMeta {
            flags,
            process,
            batch_no,
            generation,
            lanes,
            first_seq,
            rows,
            anchor,
            min_time_ns,
            max_time_ns,
            min_age_ns,
            max_age_ns,
            cells,
        },
        sections: Sections { contexts, definitions, rows: rows_at },
        payload: header_len..at,
        payload_crc,
        segment,
    })
}
