//! A segment, or a small file, taken apart into what its checksums cover, and put together again: with the checksums as they
//! were, or with new ones over what was done to it, so that a forgery gets past them.

use std::ops::Range;

/// Where a batch header says how long it is, and where the lengths of its sections and the payload's checksum stand.
const HEADER_LEN: Range<usize> = 8..12;
const SECTIONS: [Range<usize>; 3] = [12..16, 16..20, 20..24];
const PAYLOAD_CRC: Range<usize> = 24..28;
/// Where a segment's head says how long it is.
const HEAD_LEN: Range<usize> = 12..16;

/// A segment's head, or one batch.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    Head(Vec<u8>),
    Batch {
        header: Vec<u8>,
        payload: Vec<u8>,
    },
    /// What is no block: a torn tail.
    Rest(Vec<u8>),
}

fn u32_at(bytes: &[u8], at: Range<usize>) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at)?.try_into().ok()?) as usize)
}

/// Puts the checksum where the length at `len_at` says that it stands; nowhere if that is not within the bytes.
fn seal_by(bytes: &mut [u8], len_at: Range<usize>) {
    let Some(len) = u32_at(bytes, len_at).filter(|len| (8..=bytes.len()).contains(len)) else { return };
    let crc = crc32fast::hash(&bytes[..len - 4]);
    bytes[len - 4..len].copy_from_slice(&crc.to_le_bytes());
}

/// Takes a segment apart.
pub(crate) fn apart(mut bytes: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let take = |bytes: &mut &[u8]| -> Option<Block> {
        if bytes.starts_with(b"auditjnl") {
            let (head, rest) = bytes.split_at_checked(u32_at(bytes, HEAD_LEN).filter(|len| *len > 0)?)?;
            *bytes = rest;
            return Some(Block::Head(head.to_vec()));
        }
        let (header, rest) = bytes.split_at_checked(u32_at(bytes, HEADER_LEN).filter(|len| *len > 0)?)?;
        let payload: usize = SECTIONS.into_iter().map(|at| u32_at(header, at)).sum::<Option<usize>>()?;
        let padded = SECTIONS.into_iter().filter_map(|at| u32_at(header, at)).map(|len| len.next_multiple_of(8)).sum();
        debug_assert!(payload <= padded);
        let (payload, rest) = rest.split_at_checked(padded)?;
        *bytes = rest;
        Some(Block::Batch { header: header.to_vec(), payload: payload.to_vec() })
    };
    while !bytes.is_empty() {
        let Some(block) = take(&mut bytes) else {
            blocks.push(Block::Rest(bytes.to_vec()));
            break;
        };
        blocks.push(block);
    }
    blocks
}

/// Puts a segment together.
pub(crate) fn together(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks {
        match block {
            Block::Head(head) => bytes.extend_from_slice(head),
            Block::Batch { header, payload } => {
                bytes.extend_from_slice(header);
                bytes.extend_from_slice(payload);
            }
            Block::Rest(rest) => bytes.extend_from_slice(rest),
        }
    }
    bytes
}

impl Block {
    /// New checksums over whatever it holds now.
    pub(crate) fn seal(&mut self) {
        match self {
            Self::Head(head) => seal_by(head, HEAD_LEN),
            Self::Batch { header, payload } => {
                if let Some(place) = header.get_mut(PAYLOAD_CRC) {
                    place.copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
                }
                seal_by(header, HEADER_LEN);
            }
            Self::Rest(_) => {}
        }
    }

    /// Makes the lengths say what there is: a forgery that was made with care.
    pub(crate) fn measure(&mut self) {
        match self {
            Self::Head(head) => {
                head.resize(head.len().next_multiple_of(8), 0);
                let len = head.len() as u32;
                if let Some(place) = head.get_mut(HEAD_LEN) {
                    place.copy_from_slice(&len.to_le_bytes());
                }
            }
            Self::Batch { header, payload } => {
                header.resize(header.len().next_multiple_of(8), 0);
                payload.resize(payload.len().next_multiple_of(8), 0);
                let len = header.len() as u32;
                let sections: Option<Vec<usize>> = SECTIONS.into_iter().map(|at| u32_at(header, at)).collect();
                if let Some(place) = header.get_mut(HEADER_LEN) {
                    place.copy_from_slice(&len.to_le_bytes());
                }
                // The rows take what the other two leave.
                let Some([contexts, definitions, _]) = sections.as_deref() else { return };
                let before = contexts.next_multiple_of(8).saturating_add(definitions.next_multiple_of(8));
                if let (Some(rows), Some(place)) = (payload.len().checked_sub(before), header.get_mut(20..24)) {
                    place.copy_from_slice(&(rows as u32).to_le_bytes());
                }
            }
            Self::Rest(_) => {}
        }
    }
}

/// New checksum and length in the first line of a small file.
pub(crate) fn seal_document(bytes: &mut Vec<u8>) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let kind: Vec<&str> = line.split(' ').take(3).collect();
    let body = bytes.split_off(end + 1);
    *bytes = format!("{} {:08x} {}\n", kind.join(" "), crc32fast::hash(&body), body.len()).into_bytes();
    bytes.extend_from_slice(&body);
}
