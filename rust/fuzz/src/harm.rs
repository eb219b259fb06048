//! What is done to bytes: cut, flipped, spliced, and overwritten by the numbers that lengths and counts break at.

use fastrand::Rng;

/// Values at which a check that is off by one, a signed comparison or a multiplication gives way.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    9,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff8,
    0xffff_ffff,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// A number at an edge, or close to `near`, or any.
pub(crate) fn edge(rng: &mut Rng, near: u64) -> u64 {
    match rng.u8(..8) {
        0..4 => EDGES[rng.usize(..EDGES.len())],
        4..6 => near.wrapping_add(rng.u64(..17)).wrapping_sub(8),
        6 => near.wrapping_mul(rng.u64(1..5)),
        _ => rng.u64(..) >> rng.u32(..64),
    }
}

/// One of them.
pub(crate) fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}

/// Overwrites a number of 1, 2, 4 or 8 bytes, mostly where one may lie.
pub(crate) fn number(rng: &mut Rng, bytes: &mut [u8]) {
    let width = [1, 2, 4, 4, 8, 8][rng.usize(..6)];
    if bytes.len() < width {
        return;
    }
    let at = rng.usize(..=bytes.len() - width);
    let at = if rng.u8(..8) == 0 { at } else { at - at % width };
    number_at(rng, bytes, at, width);
}

/// Overwrites the number at a place.
pub(crate) fn number_at(rng: &mut Rng, bytes: &mut [u8], at: usize, width: usize) {
    let Some(place) = bytes.get_mut(at..at + width) else { return };
    let mut now = [0; 8];
    now[..width].copy_from_slice(place);
    let new = edge(rng, u64::from_le_bytes(now));
    place.copy_from_slice(&new.to_le_bytes()[..width]);
}

/// Flips a few bits.
pub(crate) fn flip(rng: &mut Rng, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
    }
}

/// A range of `len` bytes.
fn range(rng: &mut Rng, len: usize, most: usize) -> std::ops::Range<usize> {
    let first = rng.usize(..=len);
    first..first + rng.usize(..=(len - first).min(most))
}

/// One harm of any kind; `donor` is what is spliced in.
pub(crate) fn one(rng: &mut Rng, bytes: &mut Vec<u8>, donor: &[u8]) {
    match rng.u8(..16) {
        0..5 => flip(rng, bytes),
        5..10 => number(rng, bytes),
        10 => bytes.truncate(rng.usize(..=bytes.len())),
        11 => drop(bytes.drain(range(rng, bytes.len(), 256))),
        12 => {
            let again = bytes[range(rng, bytes.len(), 256)].to_vec();
            let at = rng.usize(..=bytes.len());
            bytes.splice(at..at, again);
        }
        13 => {
            let other = &donor[range(rng, donor.len(), 512)];
            let at = rng.usize(..=bytes.len());
            let over = rng.usize(..=(bytes.len() - at).min(other.len()));
            bytes.splice(at..at + over, other.iter().copied());
        }
        14 => {
            let at = range(rng, bytes.len(), 64);
            let byte = [0, 0xff, b'"', b'{', b'\n'][rng.usize(..5)];
            bytes[at].fill(byte);
        }
        _ => {
            let more = rng.usize(1..40);
            let at = rng.usize(..=bytes.len());
            bytes.splice(at..at, std::iter::repeat_with(|| 0).take(more));
            rng.fill(&mut bytes[at..at + more]);
        }
    }
}

/// A few of them; now and then none at all.
pub(crate) fn some(rng: &mut Rng, bytes: &mut Vec<u8>, donor: &[u8]) {
    for _ in 0..[0, 1, 1, 1, 1, 2, 2, 3, 4, 6][rng.usize(..10)] {
        one(rng, bytes, donor);
    }
}
