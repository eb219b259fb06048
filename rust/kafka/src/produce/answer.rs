//! The answer, as it comes.
//!
//! ```text
//! [tags] topics: name or id │ partitions: index, error, base offset, append time, [log start], [errors of records,
//! message], [tags] │ [tags] │ throttle │ [tags]
//! ```

use crate::cursor::{Cursor, Step};
use crate::exchange::Fate;
use crate::frame::Next;
use crate::reads::Out;
use crate::tags::Tags;

use super::{Rows, Writes};

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    Header(Tags),
    Head,
    Topic,
    Partition,
    /// Which records were at fault; so many are left.
    Errors(usize, Tags),
    Message,
    PartitionEnd(Tags),
    TopicEnd(Tags),
    /// Those partitions of the request that the answer does not name.
    Missing,
}

/// The answer in hand.
#[derive(Debug)]
pub(crate) struct Answer {
    at: At,
    version: i16,
    /// Topics still to come, and partitions of the present one.
    topics: usize,
    partitions: usize,
    /// The topic as the answer names it, and its rows.
    topic: Vec<u8>,
    rows: Rows,
}

impl Default for Answer {
    fn default() -> Self {
        let (topic, rows) = Default::default();
        Self { at: At::Head, version: 0, topics: 0, partitions: 0, topic, rows }
    }
}

impl Answer {
    pub(crate) fn begin(&mut self, version: i16) {
        (self.at, self.version) = (At::Header(Tags::Count), version);
    }

    /// Reads the next unit.
    #[inline]
    pub(crate) fn step(&mut self, cursor: &mut Cursor<'_>, writes: &mut Writes, out: &mut Out<'_>) -> Step<Next> {
        match &mut self.at {
            At::Header(tags) => match tags.step(cursor)? {
                Some(next) => return Ok(next),
                None => self.at = At::Head,
            },
            At::Head => {
                self.topics = cursor.count()?.unwrap_or(0);
                self.topic_or_missing();
            }
            At::Topic => {
                let topic = if writes.by_id { cursor.take(16)? } else { cursor.string()? };
                self.partitions = cursor.count()?.unwrap_or(0);
                self.topic.clear();
                self.topic.extend_from_slice(topic);
                self.rows.topic(topic, writes.by_id, out.topics);
                self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
            }
            At::Partition => {
                let (index, error, base) = (cursor.i32()?, cursor.i16()?, cursor.i64()?);
                let _append_time = cursor.i64()?;
                if self.version >= 5 {
                    let _log_start = cursor.i64()?;
                }
                let errors = if self.version >= 8 { cursor.count()?.unwrap_or(0) } else { 0 };
                self.at = match errors {
                    _ if self.version < 8 => At::PartitionEnd(Tags::Count),
                    0 => At::Message,
                    _ => At::Errors(errors, Tags::Left(0)),
                };
                if let Some(at) = writes.find(&self.topic, index) {
                    let base = (error == 0).then_some(base);
                    let (part, transaction) = (&writes.parts[at], writes.transaction.as_deref());
                    // What a broker refuses is told of, whoever wrote it.
                    if error == 0 && writes.is_exempt(part) {
                        out.facts.let_pass();
                    } else {
                        self.rows.tell(part, transaction, Fate::Answered(error), base, out);
                    }
                }
            }
            At::Errors(left, tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                if *left == 0 {
                    self.at = At::Message;
                } else {
                    let (_record, _message) = (cursor.i32()?, cursor.nullable_string()?);
                    (*left, *tags) = (*left - 1, Tags::Count);
                }
            }
            At::Message => {
                let _message = cursor.nullable_string()?;
                let mut tags = Tags::Count;
                if let Some(next) = tags.step(cursor)? {
                    self.at = At::PartitionEnd(tags);
                    return Ok(next);
                }
                self.partition_end();
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
                self.topic_or_missing();
            }
            At::Missing => return Ok(if writes.unanswered(out) { Next::End } else { Next::Pause }),
        }
        Ok(Next::Unit)
    }

    #[inline]
    fn partition_end(&mut self) {
        self.partitions -= 1;
        self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
    }

    fn topic_or_missing(&mut self) {
        self.at = if self.topics == 0 { At::Missing } else { At::Topic };
    }
}
