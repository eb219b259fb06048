//! The head of a segment: all that a reader needs who has no other segment, and all that the fold needs to begin here.
//!
//! ```text
//!   0  [8]  "auditjnl"
//!   8  u32  version
//!  12  u32  head length              all up to and with the CRC; a multiple of 8
//!  16  u64  ordinal
//!  24  i64  first seq                the next seq to come; dense: only a batch jumps
//!  32  u64  batch number             the next one to come
//!  40  [16] process
//!  56  [16] boot id
//!  72  u32  schema version
//!  76  u32  generation
//!  80  u32  pid
//!  84  u32  clock kind
//!  88  u64 stamp, i64 monotonic, i64 realtime      birth anchor
//! 112  u64 stamp, i64 monotonic, i64 realtime      anchor of the last batch before
//! 136  [32] policy digest
//! 168  u32  instance length
//! 172  u32  host length
//! 176  u32  primary tap length       u32::MAX: none
//! 180  u32  policy length
//! 184  u32  definitions length
//! 188  u32  lanes
//! 192  u32  cells
//! 196  u32  flags                    1: the birth batch is in an earlier segment
//! 200  instance, host, primary tap, policy, definitions; together zero-padded to a multiple of 8
//!   …  lanes × { u64 position, u64 claims }        what has been journaled of each lane
//!   …  cells × { u32 cell, u32 zero, u64 value }   all counters
//!   …  u32  zero
//!   …  u32  CRC                      over everything before it
//! ```
//!
//! Counters and positions are those of the last batch *before* the segment, never of what is yet to be written: a segment
//! that died with its head changes nothing. The magic, the length and the place of the CRC stay the same in every version.

use crate::batch::{Anchor, Parsed, put_cells, take_cells};
use crate::bytes::{MOST, Put, Take, ZEROS, padding};
use crate::counters::Cell;

const MAGIC: [u8; 8] = *b"auditjnl";
pub(crate) const VERSION: u32 = 1;
/// Bytes before the strings.
pub(crate) const FIXED: usize = 200;
const LANE: usize = 16;
const CELL: usize = 16;
const TRAILER: usize = 8;
const BORN: u32 = 1;
const NO_TAP: u32 = u32::MAX;

/// The longest segment head.
pub const MAX_HEAD: usize = 32 << 20;

/// How far a lane has been journaled, in unwrapped bytes and in claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanePosition {
    /// Bytes.
    pub pos: u64,
    /// Claims.
    pub claims: u64,
}

/// What stands at the head of a segment. [`State::next_head`](crate::State::next_head) makes the one that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentHead {
    /// Dense per process, from 0.
    pub ordinal: u64,
    /// The next seq to come.
    pub first_seq: i64,
    /// The next batch to come.
    pub batch_no: u64,
    /// The birth batch is in an earlier segment.
    pub born: bool,
    /// Version of the rows' schema.
    pub schema_version: u32,
    /// Whose journal this is.
    pub process: [u8; 16],
    /// Which boot it ran in.
    pub boot_id: [u8; 16],
    /// The proxy's name.
    pub instance: String,
    /// The machine's name.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// Which clock stamps are of, as the ring numbers them.
    pub clock: u32,
    /// The ring in use at the roll.
    pub generation: u32,
    /// Age 0.
    pub birth: Anchor,
    /// The anchor of the last batch before; birth's in the first segment.
    pub anchor: Anchor,
    /// The log's policy in force.
    pub policy: Vec<u8>,
    /// Its digest.
    pub policy_digest: [u8; 32],
    /// The tap that totals count.
    pub primary_tap: Option<String>,
    /// All declared events.
    pub definitions: Vec<u8>,
    /// What has been journaled of each lane.
    pub lanes: Vec<LanePosition>,
    /// All counters.
    pub cells: Vec<(Cell, u64)>,
}

impl SegmentHead {
    /// Whether a reader would believe its numbers.
    pub(crate) fn is_countable(&self) -> bool {
        let positions = || self.lanes.iter().flat_map(|lane| [lane.pos, lane.claims]);
        let counts = [self.ordinal, self.batch_no, self.first_seq as u64];
        counts.into_iter().chain(positions()).all(|count| count <= MOST)
    }

    /// The bytes, or `None` if they would be more than [`MAX_HEAD`].
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let tap = self.primary_tap.as_deref();
        let strings: [&[u8]; 5] = [
            self.instance.as_bytes(),
            self.host.as_bytes(),
            tap.unwrap_or_default().as_bytes(),
            &self.policy,
            &self.definitions,
        ];
        let text: usize = strings.iter().map(|bytes| bytes.len()).sum();
        let len = FIXED + text + padding(text) + self.lanes.len() * LANE + self.cells.len() * CELL + TRAILER;
        if len > MAX_HEAD {
            return None;
        }
        let mut out = Vec::with_capacity(len);
        out.put(&MAGIC);
        out.put_u32(VERSION);
        out.put_u32(len as u32);
        out.put_u64(self.ordinal);
        out.put_i64(self.first_seq);
        out.put_u64(self.batch_no);
        out.put(&self.process);
        out.put(&self.boot_id);
        for value in [self.schema_version, self.generation, self.pid, self.clock] {
            out.put_u32(value);
        }
        self.birth.put(&mut out);
        self.anchor.put(&mut out);
        out.put(&self.policy_digest);
        out.put_u32(self.instance.len() as u32);
        out.put_u32(self.host.len() as u32);
        out.put_u32(tap.map_or(NO_TAP, |tap| tap.len() as u32));
        out.put_u32(self.policy.len() as u32);
        out.put_u32(self.definitions.len() as u32);
        out.put_u32(self.lanes.len() as u32);
        out.put_u32(self.cells.len() as u32);
        out.put_u32(if self.born { BORN } else { 0 });
        for bytes in strings {
            out.put(bytes);
        }
        out.put(&ZEROS[..padding(text)]);
        for lane in &self.lanes {
            out.put_u64(lane.pos);
            out.put_u64(lane.claims);
        }
        put_cells(&self.cells, &mut out);
        out.put_u32(0);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        Some(out)
    }

    /// Reads the head at the start of `bytes`; beside it, its length.
    pub(crate) fn parse(bytes: &[u8]) -> Parsed<(Self, usize)> {
        if bytes.len() < FIXED {
            return Parsed::Short(FIXED);
        }
        if bytes[..8] != MAGIC {
            return Parsed::Invalid;
        }
        let len = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
        if !(FIXED + TRAILER..=MAX_HEAD).contains(&len) || !len.is_multiple_of(8) {
            return Parsed::Invalid;
        }
        let Some(bytes) = bytes.get(..len) else { return Parsed::Short(len) };
        let (body, crc) = bytes.split_at(len - 4);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Parsed::Invalid;
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != VERSION {
            return Parsed::Version(version);
        }
        Self::decode(body).map_or(Parsed::Invalid, |head| Parsed::Whole((head, len)))
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut from = Take::new(body);
        from.bytes(16)?;
        let ordinal = from.count()?;
        let first_seq = from.count()? as i64;
        let batch_no = from.count()?;
        let process = from.array()?;
        let boot_id = from.array()?;
        let [schema_version, generation, pid, clock] = [from.u32()?, from.u32()?, from.u32()?, from.u32()?];
        let birth = Anchor::take(&mut from)?;
        let anchor = Anchor::take(&mut from)?;
        let policy_digest = from.array()?;
        let (instance, host, tap) = (from.u32()?, from.u32()?, from.u32()?);
        let (policy, definitions) = (from.u32()?, from.u32()?);
        let (lanes, cells, flags) = (from.u32()? as usize, from.u32()? as usize, from.u32()?);
        let before = from.remaining();
        let instance = text(from.bytes(instance as usize)?)?;
        let host = text(from.bytes(host as usize)?)?;
        let primary_tap = if tap == NO_TAP { None } else { Some(text(from.bytes(tap as usize)?)?) };
        let policy = from.bytes(policy as usize)?.to_vec();
        let definitions = from.bytes(definitions as usize)?.to_vec();
        from.bytes(padding(before - from.remaining()))?;
        if from.remaining() < lanes.checked_mul(LANE)? {
            return None;
        }
        let lanes = (0..lanes)
            .map(|_| Some(LanePosition { pos: from.count()?, claims: from.count()? }))
            .collect::<Option<Vec<_>>>()?;
        let cells = take_cells(&mut from, cells)?;
        if from.remaining() != 4 {
            return None;
        }
        Some(Self {
            ordinal,
            first_seq,
            batch_no,
            born: flags & BORN != 0,
            schema_version,
            process,
            boot_id,
            instance,
            host,
            pid,
            clock,
            generation,
            birth,
            anchor,
            policy,
            policy_digest,
            primary_tap,
            definitions,
            lanes,
            cells,
        })
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
