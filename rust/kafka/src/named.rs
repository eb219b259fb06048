//! The topic in hand, as rows name it: made safe once, for all its partitions.

use auditring_event::sanitize::{self, Marks};
use auditring_event::{ActionSpec, index_of, spec_at};

use crate::cursor::TopicId;
use crate::facts::Draft;
use crate::topics::{Topics, id_text};

const READ: &ActionSpec = spec_at(index_of(64));
/// Longest name of a topic.
const CAP: usize = READ.fields[READ.position("topic")].cap as usize;

/// Its buffers are used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Named {
    name: String,
    marks: Marks,
    /// Empty where the message names no id.
    id: String,
}

/// Where an action has a topic's columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicPlaces {
    pub(crate) topic: usize,
    pub(crate) topic_id: usize,
}

impl Named {
    /// It was named.
    pub(crate) fn by_name(&mut self, name: &[u8]) {
        let (text, marks) = sanitize::text(name, CAP);
        self.name.clear();
        self.name.push_str(&text);
        self.marks = marks;
        self.id.clear();
    }

    /// Its id was given; the id stands in for a name that no answer to Metadata has told.
    pub(crate) fn by_id(&mut self, id: &TopicId, topics: &Topics) {
        topics.spoken(id, |name| self.by_name(name));
        self.id.extend(id_text(id).map(char::from));
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

impl Draft<'_> {
    /// Which topic.
    #[inline]
    pub(crate) fn named(&mut self, topic: &Named, at: &TopicPlaces) -> &mut Self {
        self.safe_at(at.topic, &topic.name, topic.marks);
        if !topic.id.is_empty() {
            self.safe_at(at.topic_id, &topic.id, Marks::default());
        }
        self
    }
}
