//! A segment as a file: its name, and reading at a place without trusting what is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::batch::{self, Header, Parsed};
use crate::bytes::MOST;
use crate::error::{Error, Result};
use crate::files;
use crate::head::{self, SegmentHead};

/// The name of a segment, `<ordinal>-<first seq>.journal`; ordered as the segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Dense per process.
    pub ordinal: u64,
    /// The next seq when it was begun.
    pub first_seq: i64,
}

impl SegmentName {
    /// Reads a file name; `None` if it is not exactly a segment's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (ordinal, first_seq) = name.strip_suffix(".journal")?.split_once('-')?;
        let parsed = Self { ordinal: ordinal.parse().ok()?, first_seq: first_seq.parse().ok()? };
        // Only the canonical spelling, so that one segment has one name.
        let counted = parsed.ordinal <= MOST && (0..=MOST as i64).contains(&parsed.first_seq);
        (counted && parsed.file_name() == name).then_some(parsed)
    }

    /// The file name.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:016}-{:016}.journal", self.ordinal, self.first_seq)
    }
}

/// The segments in a process's directory, in order.
///
/// # Errors
/// If the directory cannot be listed. One that is not there has none.
pub fn segments(dir: &Path) -> Result<Vec<SegmentName>> {
    let mut found: Vec<_> = files::names(dir)?.iter().filter_map(|name| SegmentName::parse(name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// How much is read at first where nothing is known of the length.
const GUESS: usize = 4 << 10;

/// What stands at a place in a segment.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// It, checked.
    Whole(T),
    /// Nothing that is whole and valid. If the segment is still written this may change; else it is the end.
    Tail,
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) name: SegmentName,
    path: PathBuf,
    file: File,
}

impl SegmentFile {
    /// Opens it; `None` if it has gone.
    pub(crate) fn open(dir: &Path, name: SegmentName) -> Result<Option<Self>> {
        let path = dir.join(name.file_name());
        match files::open(&path) {
            Ok(file) => Ok(Some(Self { name, path, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How long the file is now.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|e| Error::io("look at", &self.path, e))?;
        Ok(metadata.len())
    }

    /// Reads the head. One that contradicts the file's name is as good as none.
    pub(crate) fn head(&self, len: u64, buf: &mut Vec<u8>) -> Result<Found<(SegmentHead, u64)>> {
        let mut have = self.fill(buf, 0, 0, GUESS, len)?;
        loop {
            match SegmentHead::parse(&buf[..have]) {
                Parsed::Whole((head, at))
                    if head.ordinal == self.name.ordinal && head.first_seq == self.name.first_seq =>
                {
                    return Ok(Found::Whole((head, at as u64)));
                }
                Parsed::Short(need) if need as u64 <= len && need > have => {
                    let more = self.fill(buf, 0, have, need, len)?;
                    if more < need {
                        return Ok(Found::Tail);
                    }
                    have = more;
                }
                Parsed::Version(found) => return Err(self.version(found, head::VERSION)),
                Parsed::Whole(_) | Parsed::Short(_) | Parsed::Invalid => return Ok(Found::Tail),
            }
        }
    }

    /// Reads the header of the batch at `at` in a file of length `len`, and with it `guess` bytes if so many are there.
    /// Beside the header: how many bytes of the batch are in `buf` now. The whole batch lies within `len`.
    pub(crate) fn batch(&self, at: u64, len: u64, guess: usize, buf: &mut Vec<u8>) -> Result<Found<(Header, usize)>> {
        let room = len.saturating_sub(at);
        if room < batch::FIXED as u64 {
            return Ok(Found::Tail);
        }
        let mut have = self.fill(buf, at, 0, guess.max(GUESS), room)?;
        loop {
            match batch::parse_header(&buf[..have]) {
                Parsed::Whole(header) if header.len() as u64 <= room && header.is_of(self.name.ordinal) => {
                    return Ok(Found::Whole((header, have)));
                }
                Parsed::Short(need) if need as u64 <= room && need > have => {
                    let more = self.fill(buf, at, have, need, room)?;
                    if more < need {
                        return Ok(Found::Tail);
                    }
                    have = more;
                }
                Parsed::Version(found) => return Err(self.version(found, batch::VERSION.into())),
                Parsed::Whole(_) | Parsed::Short(_) | Parsed::Invalid => return Ok(Found::Tail),
            }
        }
    }

    /// Reads what is still missing of a batch; false if the file has become shorter meanwhile.
    pub(crate) fn rest(&self, at: u64, header: &Header, have: usize, buf: &mut Vec<u8>) -> Result<bool> {
        let need = header.len();
        Ok(have >= need || self.fill(buf, at, have, need, need as u64)? >= need)
    }

    /// Makes the first `want` bytes (at most `room`) of what stands at `at` be in `buf`, of which `have` are there already.
    /// `buf` only grows, and never beyond what the file holds: so it is zeroed once and not for every batch.
    fn fill(&self, buf: &mut Vec<u8>, at: u64, have: usize, want: usize, room: u64) -> Result<usize> {
        let want = usize::try_from(room).map_or(want, |room| want.min(room));
        if buf.len() < want {
            buf.resize(want, 0);
        }
        let mut have = have;
        while have < want {
            match self.file.read_at(&mut buf[have..want], at + have as u64) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path, error)),
            }
        }
        Ok(have)
    }

    fn version(&self, found: u32, known: u32) -> Error {
        Error::Version { path: self.path.clone(), found, known }
    }
}
