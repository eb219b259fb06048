//! A ring file: its head, its positions, and what lies in its lanes, scanned and consumed. It has no checksums: whoever could
//! write to it could write anything, so what comes out of it need only be within it, and counted right.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use auditring_ring::{Anchor, ClockKind, Found, Geometry, Identity, Kind, Position, Ring};
use fastrand::Rng;

use super::Seen;
use crate::Failure;
use crate::corpus::event;
use crate::harm;

/// Numbers in the head of the file: where they are, and how wide.
const HEAD: [(usize, usize); 13] = [
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 8),
    (24, 4),
    (28, 4),
    (32, 4),
    (36, 4),
    (40, 4),
    (44, 4),
    (64, 8),
    (80, 8),
    (256, 8),
];
/// Where a lane's tail and head stand, and how far apart lanes do.
const LANES: usize = 4096;
const LANE_LINES: usize = 256;
const HEAD_LINE: usize = 128;
/// Where the edge counters begin.
const EDGE: usize = 86_016;
const LANE_BYTES: u32 = 1 << 16;

/// Changes to a whole ring, by where they are.
pub(crate) type Patches = Vec<(usize, Vec<u8>)>;

pub(crate) struct Stock {
    path: PathBuf,
    file: File,
    whole: Vec<u8>,
    lanes: u32,
    /// Where records begin.
    records: Vec<usize>,
}

/// Where the records of a ring begin, in the file: of each lane, from its head.
pub(crate) fn records(whole: &[u8], lanes: u32, lane_bytes: u32) -> Vec<usize> {
    let data = whole.len() - lanes as usize * lane_bytes as usize;
    let word = |at: usize| whole.get(at..at + 8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    let mut found = Vec::new();
    for lane in 0..lanes as usize {
        let line = |at: usize| word(LANES + lane * LANE_LINES + at).unwrap_or_default() as u32;
        let (tail, mut at) = (line(0), line(HEAD_LINE));
        while at != tail && found.len() < 10_000 {
            let place = data + lane * lane_bytes as usize + (at as usize * 8) % lane_bytes as usize;
            found.push(place);
            let len = word(place).unwrap_or_default() as i32;
            at = at.wrapping_add(len.unsigned_abs().div_ceil(8).max(1));
        }
    }
    found
}

/// What is done to a ring.
pub(crate) fn harmed(rng: &mut Rng, whole: &[u8], lanes: u32, records: &[usize]) -> Patches {
    let mut patches: Patches = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let lane = rng.usize(..lanes as usize);
        let mut overwrite = |rng: &mut Rng, at: usize, width: usize| {
            let mut bytes = whole.get(at..at + width).unwrap_or_default().to_vec();
            harm::number_at(rng, &mut bytes, 0, width);
            patches.push((at, bytes));
        };
        match rng.u8(..16) {
            0..3 => {
                let (at, width) = HEAD[rng.usize(..HEAD.len())];
                overwrite(rng, at, width);
            }
            3..6 => {
                let at = LANES + lane * LANE_LINES + [0, 4, HEAD_LINE, HEAD_LINE + 4][rng.usize(..4)];
                let width = *harm::pick(rng, &[4, 8]);
                overwrite(rng, at, width.min(8 - at % 8));
            }
            6 => {
                let at = EDGE + 8 * rng.usize(..64);
                overwrite(rng, at, 8);
            }
            7 => {
                let at = rng.usize(..whole.len() - 8);
                overwrite(rng, at, 8);
            }
            // A record's header, or its bytes, or another record over it.
            _ if records.is_empty() => {}
            8..11 => {
                let at = records[rng.usize(..records.len())];
                let (part, width) = [(0, 4), (4, 4), (0, 8)][rng.usize(..3)];
                overwrite(rng, at + part, width);
            }
            11..14 => {
                let at = records[rng.usize(..records.len())];
                let mut bytes = whole[at..(at + 200).min(whole.len())].to_vec();
                harm::some(rng, &mut bytes, whole.get(at..at + 512).unwrap_or_default());
                bytes.truncate(whole.len() - at);
                patches.push((at, bytes));
            }
            _ => {
                let (one, two) = (records[rng.usize(..records.len())], records[rng.usize(..records.len())]);
                let len = rng.usize(8..300).min(whole.len() - one.max(two));
                patches.push((one, whole[two..two + len].to_vec()));
            }
        }
    }
    patches
}

impl Stock {
    pub(crate) fn new(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("ring");
        let lanes = 2;
        let geometry = Geometry { lanes, lane_bytes: LANE_BYTES, max_record: 4096, reserve: 1 << 14, codes: 64 };
        let identity = Identity { process: [7; 16], boot_id: [8; 16], generation: 1, pid: 9 };
        let birth = Anchor { stamp: 1_000, mono_ns: 50, real_ns: 1_050 };
        // Where it wraps, in bytes and in claims.
        let near = Position { pos: u64::from(LANE_BYTES) - 4096, claims: (1 << 31) - 12 };
        let ring = Ring::create_at(&path, &geometry, &identity, ClockKind::Tsc, &birth, near)?;
        for number in 0..60 {
            let bytes = event(number).to_vec();
            let mut claim = ring.lane((number % 2) as u32).claim(bytes.len(), false)?;
            if number % 13 != 12 {
                claim.write(|room| room[..bytes.len()].copy_from_slice(&bytes));
                claim.commit();
            }
            if number == 5 {
                let mut consumer = ring.consumer().ok_or("somebody consumes")?;
                consumer.poll(0);
                while consumer.next(0).is_some() {}
                consumer.release(0);
            }
        }
        ring.edge().bump(1, 3, 0, Kind::Dropped);
        ring.definitions_append(b"definitions")?;
        drop(ring);
        let whole = fs::read(&path)?;
        let file = File::options().write(true).open(&path)?;
        let records = records(&whole, lanes, LANE_BYTES);
        Ok(Self { path, file, whole, lanes, records })
    }

    pub(crate) fn one(&self, rng: &mut Rng) -> Result<Seen, String> {
        let patches = harmed(rng, &self.whole, self.lanes, &self.records);
        let len = self.whole.len() as u64;
        // Half of a page, or pages, are missing, or there are more.
        let cut = (rng.u8(..12) == 0).then(|| harm::edge(rng, len).min(len + (1 << 20)));
        let put = |at: usize, bytes: &[u8]| self.file.write_all_at(bytes, at as u64).map_err(|error| error.to_string());
        for (at, bytes) in &patches {
            put(*at, &bytes[..bytes.len().min(self.whole.len() - at)])?;
        }
        let resize = |len: u64| self.file.set_len(len).map_err(|error| error.to_string());
        if let Some(cut) = cut {
            resize(cut)?;
        }
        let read = self.read(rng);
        if cut.is_some() {
            resize(0)?;
            put(0, &self.whole)?;
        }
        for (at, bytes) in &patches {
            put(*at, &self.whole[*at..(at + bytes.len()).min(self.whole.len())])?;
        }
        read
    }

    fn read(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut seen = Seen { size: self.whole.len(), forged: true, refused: true, ..Seen::default() };
        let Ok(ring) = Ring::open(&self.path) else { return Ok(seen) };
        seen.refused = false;
        let most = self.whole.len() / 8;
        ring.edge().visit(|_| {});
        let _definitions = (ring.definitions(), ring.definitions_since(harm::edge(rng, 16) as usize));
        for lane in 0..ring.geometry().lanes {
            // Where a journal says that it ended: at the head, or anywhere.
            let head = ring.head(lane);
            let from = match rng.u8(..3) {
                0 => Position { pos: harm::edge(rng, head.pos), claims: harm::edge(rng, head.claims) },
                _ => head,
            };
            let _behind = ring.is_behind(lane, from);
            let mut scan = ring.scan(lane, from).ok_or("somebody consumes")?;
            let (mut steps, mut claims) = (0, 0_u64);
            while let Some(found) = scan.step() {
                steps += 1;
                let here = match found {
                    Found::Record(payload) => {
                        seen.rows += 1;
                        // Every byte of it is read.
                        let _sum = payload.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
                        1
                    }
                    Found::Torn(claims) | Found::Gone(claims) | Found::Unreadable(claims) => claims,
                };
                claims = claims.checked_add(here).ok_or("more claims than can be counted")?;
                if steps > most {
                    return Err("a scan that does not end".into());
                }
            }
            if claims > 1 << 32 {
                return Err(format!("{claims} claims in a lane"));
            }
            // The rest is where the tail is: again from there is nothing.
            let end = scan.position();
            drop(scan);
            if ring.scan(lane, end).and_then(|mut scan| scan.step().map(|_| ())).is_some() {
                return Err("a scan that goes on behind its end".into());
            }
        }
        let mut consumer = ring.consumer().ok_or("somebody consumes")?;
        for lane in 0..ring.geometry().lanes {
            let _more = consumer.poll(lane);
            let mut records = 0;
            while let Some(payload) = consumer.next(lane) {
                let _sum = payload.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
                records += 1;
                if records > most {
                    return Err("a lane without an end".into());
                }
            }
            let _state = (consumer.backlog(lane), consumer.stuck(lane), consumer.position(lane));
            consumer.rewind(lane);
        }
        let _drained = consumer.drained();
        Ok(seen)
    }
}
