//! One direction's bytes as frames, in whatever chunks they come.
//!
//! ```text
//! size ─▶ unit ─▶ unit ─▶ … ─▶ stepped over ─▶ unit ─▶ … ─▶ size ─▶ …
//! ```
//!
//! A frame is read in units: a header, the head of a partition, of a batch, one tagged field. A unit that lies whole in a chunk
//! is read where it lies; of one that does not, what has come is kept until the rest does. What must always hold: nothing
//! beyond the end of a frame is read as part of it; what is kept is at most a unit, however long a frame says it is; and
//! the units, and what is made of them, are the same in whatever chunks the bytes come.

use crate::cursor::{Cursor, Step, Stop};

/// No unit is longer: a handful of numbers, and at most three strings of 32,767 bytes.
const UNIT: usize = 128 * 1024;
/// Bytes by which what is kept grows first.
const MORE: usize = 128;

/// Why there is no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Its end has not come yet.
    Wait,
    /// It never will be one.
    Malformed,
}

/// What comes after a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next unit.
    Unit,
    /// So many bytes that nobody reads.
    Skip(usize),
    /// The same, once there is room for more facts.
    Pause,
    /// Nothing that matters.
    End,
    /// It would be more than may be kept.
    TooLarge,
}

/// Where what is read goes to.
pub(crate) trait Room {
    /// Whether that should be taken out before more is read.
    fn is_full(&self) -> bool;
}

/// How far a message was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driven {
    /// As far as the bytes go.
    Wait,
    /// Until the facts were full.
    Full,
    /// To its end.
    End,
    /// Until it was no message.
    Malformed,
    /// Until it was more than may be kept.
    TooLarge,
}

/// Where one direction stands.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Bytes of the frame that are still to be read or stepped over, those that are kept included.
    left: usize,
    /// Bytes to be stepped over before the next unit.
    skip: usize,
    /// The begin of a unit whose end has not come.
    kept: Vec<u8>,
}

impl Frame {
    /// Begins a frame, or the four bytes that say how long one is.
    pub(crate) fn open(&mut self, len: usize) {
        debug_assert!(self.kept.is_empty());
        (self.left, self.skip) = (len, 0);
    }

    /// Bytes still to come.
    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// Nothing more of this frame matters.
    pub(crate) fn skip_rest(&mut self) {
        // What was kept is behind us already.
        self.left -= self.kept.len();
        self.kept.clear();
        self.skip = self.left;
    }

    /// Steps over what nobody reads; whether all of that has come.
    #[inline]
    pub(crate) fn pass(&mut self, input: &mut &[u8]) -> bool {
        let len = self.skip.min(input.len());
        *input = &input[len..];
        self.skip -= len;
        self.left -= len;
        self.skip == 0
    }

    /// Reads one unit. `parse` is called anew with more bytes until it has enough, so it must change nothing before.
    #[inline]
    pub(crate) fn unit<T>(
        &mut self,
        input: &mut &[u8],
        flexible: bool,
        mut parse: impl FnMut(&mut Cursor<'_>) -> Step<T>,
    ) -> Result<T, Halt> {
        if !self.kept.is_empty() {
            return self.gathered(input, flexible, parse);
        }
        let seen = &input[..input.len().min(self.left)];
        let mut cursor = Cursor::new(seen, flexible);
        match parse(&mut cursor) {
            Ok(unit) if cursor.at() <= UNIT => {
                *input = &input[cursor.at()..];
                self.left -= cursor.at();
                Ok(unit)
            }
            Err(Stop::Short) if seen.len() < self.left && seen.len() <= UNIT => {
                self.kept.extend_from_slice(seen);
                *input = &input[seen.len()..];
                Err(Halt::Wait)
            }
            _ => Err(Halt::Malformed),
        }
    }

    /// The same where a part of it has come before.
    #[inline(never)]
    fn gathered<T>(
        &mut self,
        input: &mut &[u8],
        flexible: bool,
        mut parse: impl FnMut(&mut Cursor<'_>) -> Step<T>,
    ) -> Result<T, Halt> {
        let mut more = MORE;
        while !input.is_empty() {
            let before = self.kept.len();
            let (added, rest) = input.split_at(more.min(input.len()).min(self.left - before));
            self.kept.extend_from_slice(added);
            let mut cursor = Cursor::new(&self.kept, flexible);
            match parse(&mut cursor) {
                Ok(unit) if cursor.at() <= UNIT => {
                    let at = cursor.at();
                    // It did not end in what was there before, or it would have been read then.
                    *input = &input[at.saturating_sub(before)..];
                    self.left -= at;
                    // What lies behind it may be a secret, and is none of ours.
                    self.kept[at..].fill(0);
                    self.kept.clear();
                    return Ok(unit);
                }
                Err(Stop::Short) if self.kept.len() < self.left && self.kept.len() <= UNIT => *input = rest,
                _ => {
                    *input = rest;
                    return Err(Halt::Malformed);
                }
            }
            more *= 2;
        }
        Err(Halt::Wait)
    }

    /// Reads a length or an id.
    #[inline]
    pub(crate) fn number(&mut self, input: &mut &[u8]) -> Result<i32, Halt> {
        fn number(cursor: &mut Cursor<'_>) -> Step<i32> {
            cursor.i32()
        }
        self.unit(input, false, number)
    }

    /// Reads units and steps over what lies between them, for as long as there are bytes and room for facts.
    #[inline]
    pub(crate) fn drive<R: Room>(
        &mut self,
        input: &mut &[u8],
        flexible: bool,
        room: &mut R,
        mut step: impl FnMut(&mut Cursor<'_>, &mut R) -> Step<Next>,
    ) -> Driven {
        loop {
            if !self.pass(input) {
                return Driven::Wait;
            }
            // What takes no further byte is said at once: the next one may be long in coming.
            if room.is_full() && !input.is_empty() {
                return Driven::Full;
            }
            let next = if self.kept.is_empty() {
                self.units(input, flexible, room, &mut step)
            } else {
                self.gathered(input, flexible, |cursor| step(cursor, room))
            };
            match next {
                Ok(Next::Unit) => {}
                Ok(Next::Skip(len)) if len <= self.left => self.skip = len,
                Ok(Next::Pause) => return Driven::Full,
                Ok(Next::End) => return Driven::End,
                Ok(Next::TooLarge) => return Driven::TooLarge,
                Err(Halt::Wait) => return Driven::Wait,
                Ok(Next::Skip(_)) | Err(Halt::Malformed) => return Driven::Malformed,
            }
        }
    }

    /// Reads one unit behind the other, and steps over what lies between them, where all of that lies in the chunk: most do,
    /// and so each costs no more than its own numbers. Returns what comes after the last one.
    #[inline]
    fn units<R: Room>(
        &mut self,
        input: &mut &[u8],
        flexible: bool,
        room: &mut R,
        step: &mut impl FnMut(&mut Cursor<'_>, &mut R) -> Step<Next>,
    ) -> Result<Next, Halt> {
        let seen = &input[..input.len().min(self.left)];
        let mut cursor = Cursor::new(seen, flexible);
        let (next, read) = loop {
            let begin = cursor.at();
            match step(&mut cursor, room) {
                Ok(_) if cursor.at() - begin > UNIT => break (Err(Halt::Malformed), begin),
                Ok(Next::Unit) if !room.is_full() => {}
                Ok(Next::Skip(len)) if !room.is_full() && cursor.take(len).is_ok() => {}
                Ok(next) => break (Ok(next), cursor.at()),
                Err(Stop::Short) if seen.len() < self.left && seen.len() - begin <= UNIT => {
                    self.kept.extend_from_slice(&seen[begin..]);
                    *input = &input[seen.len()..];
                    self.left -= begin;
                    return Err(Halt::Wait);
                }
                Err(_) => break (Err(Halt::Malformed), begin),
            }
        };
        *input = &input[read..];
        self.left -= read;
        next
    }

    /// What has come of the rest of the frame.
    pub(crate) fn part<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        let (now, rest) = input.split_at(input.len().min(self.left));
        *input = rest;
        self.left -= now.len();
        now
    }

    /// The rest of the frame as a whole: where it lies, if it has come at once, else out of `gathered`, which grows with
    /// what comes. None until all has come.
    pub(crate) fn whole<'a, 'i: 'a>(&mut self, input: &mut &'i [u8], gathered: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let now = self.part(input);
        if self.left == 0 && gathered.is_empty() {
            return Some(now);
        }
        gathered.extend_from_slice(now);
        (self.left == 0).then_some(gathered)
    }
}
