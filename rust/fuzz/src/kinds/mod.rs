//! The kinds of inputs: what each is made of, and what reads it for real.

mod bytes;
mod documents;
mod flow;
mod journal;
mod ring;

use std::path::Path;

use fastrand::Rng;

use crate::Failure;
use crate::corpus::{World, worlds};

/// What became of one input.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Its bytes.
    pub(crate) size: usize,
    /// Its checksums were made anew, or it has none: whoever made it could say what he liked.
    pub(crate) forged: bool,
    /// Whole batches or files of it lie elsewhere, or are gone.
    pub(crate) spliced: bool,
    /// Rows that came out of it.
    pub(crate) rows: u64,
    /// What reads it said that it is not what was written.
    pub(crate) refused: bool,
}

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record,
    Rows,
    Context,
    Definitions,
    Policy,
    Line,
    Document,
    Ring,
    Segments,
    Follow,
    Recover,
}

impl Kind {
    /// All of them, and how many of a thousand inputs are of each: those that are cheap come more often.
    pub(crate) const ALL: [(Self, &'static str, u32); 11] = [
        (Self::Record, "record", 240),
        (Self::Rows, "rows", 120),
        (Self::Context, "context", 120),
        (Self::Definitions, "definitions", 100),
        (Self::Policy, "policy", 90),
        (Self::Line, "line", 90),
        (Self::Document, "document", 70),
        (Self::Ring, "ring", 70),
        (Self::Segments, "segments", 90),
        (Self::Follow, "follow", 6),
        (Self::Recover, "recover", 4),
    ];

    /// One of them, as often as it shall come.
    pub(crate) fn choose(rng: &mut Rng) -> Self {
        let mut at = rng.u32(..1000);
        for (kind, _, share) in Self::ALL {
            match at.checked_sub(share) {
                Some(left) => at = left,
                None => return kind,
            }
        }
        Self::Record
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, of, _)| *of == name).map(|(kind, ..)| *kind)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(of, ..)| *of == self).map_or("", |(_, name, _)| name)
    }
}

/// What inputs are made of, and where those lie that need a path.
pub(crate) struct Kinds {
    worlds: Vec<World>,
    bytes: bytes::Stock,
    documents: documents::Stock,
    ring: ring::Stock,
    segments: journal::Scratch,
}

impl Kinds {
    /// `folder` lies in memory, and is empty.
    pub(crate) fn new(folder: &Path) -> Result<Self, Failure> {
        let worlds = worlds(folder)?;
        Ok(Self {
            bytes: bytes::Stock::new(&worlds)?,
            documents: documents::Stock::new(&worlds, folder)?,
            ring: ring::Stock::new(folder)?,
            segments: journal::Scratch::new(folder)?,
            worlds,
        })
    }

    /// One input of a kind, made and read.
    pub(crate) fn one(&mut self, kind: Kind, rng: &mut Rng) -> Result<Seen, String> {
        match kind {
            Kind::Record => self.bytes.record(rng),
            Kind::Rows => self.bytes.rows(rng),
            Kind::Context => self.bytes.context(rng),
            Kind::Definitions => self.bytes.definitions(rng),
            Kind::Policy => self.bytes.policy(rng),
            Kind::Line => self.bytes.line(rng),
            Kind::Document => self.documents.one(rng),
            Kind::Ring => self.ring.one(rng),
            Kind::Segments => self.segments.one(rng, &self.worlds),
            Kind::Follow => flow::follow(rng, &self.worlds),
            Kind::Recover => flow::recovered(rng, &self.worlds),
        }
    }
}
