//! Answers to `ShareFetch`, as they come.
//!
//! ```text
//! [tags] throttle │ error, message │ lock timeout │ topics: id │ partitions: index, error, message, the same of what was
//! acknowledged, leader, records, acquired ranges │ … tags
//! ```
//!
//! A member of a share group is given whole batches, of which it has acquired some records: what it was given is what it
//! read.

use crate::batches::Batches;
use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::{GROUP, TOPIC};
use crate::frame::Next;
use crate::reads::{Out, Reads};
use crate::tags::Tags;

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    Header(Tags),
    Head,
    Topic,
    Partition,
    Leader,
    LeaderEnd(Tags),
    Records,
    Batches(Batches),
    Acquired(usize, Tags),
    PartitionEnd(Tags),
    TopicEnd(Tags),
}

/// The answer in hand.
#[derive(Debug)]
pub(crate) struct Answer {
    at: At,
    /// Topics still to come, and partitions of the present one.
    topics: usize,
    partitions: usize,
    /// The error for the whole of it.
    pub(crate) error: i16,
    pub(crate) reads: Reads,
}

impl Default for Answer {
    fn default() -> Self {
        Self { at: At::Head, topics: 0, partitions: 0, error: 0, reads: Reads::default() }
    }
}

impl Answer {
    /// Begins an answer to a member of this group.
    pub(crate) fn begin(&mut self, group: Option<Vec<u8>>) {
        (self.at, self.error) = (At::Header(Tags::Count), 0);
        self.reads.begin(group);
    }

    /// Reads the next unit.
    pub(crate) fn step(&mut self, cursor: &mut Cursor<'_>, out: &mut Out<'_>) -> Step<Next> {
        match &mut self.at {
            At::Header(tags) => match tags.step(cursor)? {
                Some(next) => return Ok(next),
                None => self.at = At::Head,
            },
            At::Head => {
                let (_throttle, error, _message) = (cursor.i32()?, cursor.i16()?, cursor.nullable_string()?);
                let _lock_timeout = cursor.i32()?;
                self.topics = cursor.count()?.unwrap_or(0);
                self.error = error;
                if error != 0 {
                    let rules = [(GROUP, "READ", self.reads.group()), (TOPIC, "READ", None)];
                    Denials::new(out.wire, out.facts).tell(error, &rules);
                }
                return Ok(self.topic_or_end());
            }
            At::Topic => {
                let id = cursor.uuid()?;
                self.partitions = cursor.count()?.unwrap_or(0);
                self.reads.topic_id(&id, out.topics);
                self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
            }
            At::Partition => {
                let (index, error, _message) = (cursor.i32()?, cursor.i16()?, cursor.nullable_string()?);
                self.reads.partition(index, NO_LOG_START);
                if error != 0 {
                    self.reads.refused(error, out);
                }
                self.at = At::Leader;
            }
            At::Leader => {
                let (_acknowledged, _message) = (cursor.i16()?, cursor.nullable_string()?);
                let _leader_and_epoch = cursor.take(8)?;
                self.at = At::LeaderEnd(Tags::Count);
            }
            At::LeaderEnd(tags) => match tags.step(cursor)? {
                Some(next) => return Ok(next),
                None => self.at = At::Records,
            },
            At::Records => self.at = At::Batches(Batches::new(cursor.count()?.unwrap_or(0))),
            At::Batches(batches) if batches.is_empty() => {
                let acquired = cursor.count()?.unwrap_or(0);
                self.reads.flush(out);
                self.at = At::Acquired(acquired, Tags::Left(0));
            }
            At::Batches(batches) => {
                let (batch, skip) = batches.step(cursor)?;
                if let Some(batch) = batch {
                    self.reads.batch(batch, out);
                }
                return Ok(Next::Skip(skip));
            }
            At::Acquired(left, tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                if *left == 0 {
                    self.at = At::PartitionEnd(Tags::Count);
                } else {
                    let _offsets_and_deliveries = cursor.take(18)?;
                    (*left, *tags) = (*left - 1, Tags::Count);
                }
            }
            At::PartitionEnd(tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                self.partitions -= 1;
                self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
            }
            At::TopicEnd(tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                self.topics -= 1;
                return Ok(self.topic_or_end());
            }
        }
        Ok(Next::Unit)
    }

    fn topic_or_end(&mut self) -> Next {
        if self.topics == 0 {
            return Next::End;
        }
        self.at = At::Topic;
        Next::Unit
    }
}

/// These answers do not say where a log begins.
const NO_LOG_START: i64 = -1;
