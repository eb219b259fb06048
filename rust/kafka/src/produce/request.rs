//! The request, as it comes.
//!
//! ```text
//! [tags] transactional id │ acks │ timeout │ topics: name or id │ partitions: index, records, [tags] │ [tags] │ [tags]
//! ```

use crate::batches::Batches;
use crate::cursor::{Cursor, Step};
use crate::exchange::Fate;
use crate::frame::Next;
use crate::reads::Out;
use crate::tags::Tags;

use super::{BY_ID, MOST, Part, Rows, Writes};

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    Header(Tags),
    Head,
    Topic,
    Partition,
    Batches(Batches),
    PartitionEnd(Tags),
    TopicEnd(Tags),
}

/// The request in hand.
#[derive(Debug)]
pub(crate) struct Request {
    at: At,
    /// Topics still to come, and partitions of the present one.
    topics: usize,
    partitions: usize,
    part: Part,
    /// Whether nobody will answer: the client asked for no acknowledgement.
    pub(crate) silent: bool,
    pub(crate) writes: Box<Writes>,
    rows: Rows,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            at: At::Head,
            topics: 0,
            partitions: 0,
            part: Part::default(),
            silent: false,
            writes: Box::default(),
            rows: Rows::default(),
        }
    }
}

impl Request {
    pub(crate) fn begin(&mut self, version: i16) {
        (self.at, self.silent) = (At::Header(Tags::Count), false);
        self.writes.clear();
        self.writes.by_id = version >= BY_ID;
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
                let transaction = cursor.nullable_string()?;
                let acks = cursor.i16()?;
                let _timeout = cursor.i32()?;
                self.topics = cursor.count()?.unwrap_or(0);
                self.silent = acks == 0;
                self.writes.transaction = transaction.map(Into::into);
                return Ok(self.topic_or_end());
            }
            At::Topic => {
                let topic = if self.writes.by_id { cursor.take(16)? } else { cursor.string()? };
                self.partitions = cursor.count()?.unwrap_or(0);
                self.topic(topic, out);
                self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
                return Ok(self.unit_or_too_large());
            }
            At::Partition => {
                let index = cursor.i32()?;
                let len = cursor.count()?.unwrap_or(0);
                let topic = self.writes.topics.len().saturating_sub(1) as u32;
                self.part = Part { topic, index, bytes: len as i64, records: Some(0), span: Some(0), told: false };
                self.at = At::Batches(Batches::new(len));
            }
            At::Batches(batches) if batches.is_empty() => {
                let mut tags = Tags::Count;
                if let Some(next) = tags.step(cursor)? {
                    self.at = At::PartitionEnd(tags);
                    return Ok(next);
                }
                return Ok(self.partition_end(out));
            }
            At::Batches(batches) => {
                let (batch, skip) = batches.step(cursor)?;
                if let Some(batch) = batch {
                    let sum = |one: Option<i64>, other: Option<i64>| one?.checked_add(other?);
                    let span = batch.first.zip(batch.last).and_then(|(first, last)| (last - first).checked_add(1));
                    self.part.records = sum(self.part.records, batch.records);
                    self.part.span = sum(self.part.span, span);
                }
                return Ok(Next::Skip(skip));
            }
            At::PartitionEnd(tags) => {
                if let Some(next) = tags.step(cursor)? {
                    return Ok(next);
                }
                return Ok(self.partition_end(out));
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
    fn partition_end(&mut self, out: &mut Out<'_>) -> Next {
        self.partitions -= 1;
        self.at = if self.partitions == 0 { At::TopicEnd(Tags::Count) } else { At::Partition };
        if self.silent {
            let transaction = self.writes.transaction.as_deref();
            self.rows.tell(&self.part, transaction, Fate::Unanswered, None, out);
        } else {
            self.writes.parts.push(self.part);
        }
        self.unit_or_too_large()
    }

    fn topic(&mut self, topic: &[u8], out: &Out<'_>) {
        if self.silent {
            self.rows.topic(topic, self.writes.by_id, out.topics);
        } else {
            self.writes.names.extend_from_slice(topic);
            self.writes.topics.push(self.writes.names.len() as u32);
        }
    }

    fn unit_or_too_large(&self) -> Next {
        if self.writes.bytes() > MOST { Next::TooLarge } else { Next::Unit }
    }

    fn topic_or_end(&mut self) -> Next {
        if self.topics == 0 {
            return Next::End;
        }
        self.at = At::Topic;
        Next::Unit
    }
}
