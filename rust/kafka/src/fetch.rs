//! Answers to Fetch, as they come.
//!
//! ```text
//! [tags] throttle │ [error, session] │ topics: name or id │ partitions: index, error, high watermark, stable offset,
//! [log start], aborted transactions, [preferred replica], records │ … tags
//! ```

use crate::batches::Batches;
use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::{CLUSTER, TOPIC};
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
    Aborted(usize, Tags),
    Records,
    Batches(Batches),
    PartitionEnd(Tags),
    TopicEnd(Tags),
}

/// The answer in hand.
#[derive(Debug)]
pub(crate) struct Answer {
    at: At,
    version: i16,
    /// Topics still to come, and partitions of the present one.
    topics: usize,
    partitions: usize,
    /// The error for the whole of it.
    pub(crate) error: i16,
    pub(crate) reads: Reads,
}

impl Default for Answer {
    fn default() -> Self {
        Self { at: At::Head, version: 0, topics: 0, partitions: 0, error: 0, reads: Reads::default() }
    }
}

impl Answer {
    pub(crate) fn begin(&mut self, version: i16) {
        (self.at, self.version, self.error) = (At::Header(Tags::Count), version, 0);
        self.reads.begin(None);
    }

    /// Reads the next unit.
    #[inline]
    pub(crate) fn step(&mut self, cursor: &mut Cursor<'_>, out: &mut Out<'_>) -> Step<Next> {
        match &mut self.at {
            At::Header(tags) => match tags.step(cursor)? {
                Some(next) => return Ok(next),
                None => self.at = At::Head,
            },
            At::Head => {
                let _throttle = cursor.i32()?;
                let error = if self.version >= 7 { cursor.i16()? } else { 0 };
                if self.version >= 7 {
                    let _session = cursor.i32()?;
                }
                self.topics = cursor.count()?.unwrap_or(0);
                self.error = error;
                if error != 0 {
                    Denials::new(out.wire, out.facts)
                        .tell(error, &[(CLUSTER, "CLUSTER_ACTION", None), (TOPIC, "READ", None)]);
                }
                return Ok(self.topic_or_end());
            }
            At::Topic => {
                if self.version >= 13 {
                    let id = cursor.uuid()?;
                    self.partitions = cursor.count()?.unwrap_or(0);
                    self.reads.topic_id(&id, out.topics);
                } else {
                    let name = cursor.string()?;
                    self.partitions = cursor.count()?.unwrap_or(0);
                    self.reads.topic_name(name);
                }
                self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
            }
            At::Partition => {
                let (index, error) = (cursor.i32()?, cursor.i16()?);
                let _watermarks = cursor.take(16)?;
                let log_start = if self.version >= 5 { cursor.i64()? } else { -1 };
                let aborted = cursor.count()?.unwrap_or(0);
                self.reads.partition(index, log_start);
                if error != 0 {
                    self.reads.refused(error, out);
                }
                self.at = if aborted == 0 { At::Records } else { At::Aborted(aborted, Tags::Left(0)) };
            }
            At::Aborted(left, tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                if *left == 0 {
                    self.at = At::Records;
                } else {
                    let _producer_and_offset = cursor.take(16)?;
                    (*left, *tags) = (*left - 1, Tags::Count);
                }
            }
            At::Records => {
                if self.version >= 11 {
                    let _preferred = cursor.i32()?;
                }
                self.at = At::Batches(Batches::new(cursor.count()?.unwrap_or(0)));
            }
            At::Batches(batches) if batches.is_empty() => {
                self.reads.flush(out);
                let mut tags = Tags::Count;
                if let Some(next) = tags.step(cursor)? {
                    self.at = At::PartitionEnd(tags);
                    return Ok(next);
                }
                self.partition_end();
            }
            At::Batches(batches) => {
                let (batch, skip) = batches.step(cursor)?;
                if let Some(batch) = batch {
                    self.reads.batch(batch, out);
                }
                return Ok(Next::Skip(skip));
            }
            At::PartitionEnd(tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                self.partition_end();
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

    #[inline]
    fn partition_end(&mut self) {
        self.partitions -= 1;
        self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
    }

    fn topic_or_end(&mut self) -> Next {
        if self.topics == 0 {
            return Next::End;
        }
        self.at = At::Topic;
        Next::Unit
    }
}
