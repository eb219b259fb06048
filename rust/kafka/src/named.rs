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
    /// The id, and the edition of the names by which it was spoken.
    known: Option<(TopicId, u64)>,
}

/// Where an action has a topic's columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicPlaces {
    pub(crate) topic: usize,
    pub(crate) topic_id: usize,
}

impl Named {
    /// It was named. Whether that is another name than before.
    pub(crate) fn by_name(&mut self, name: &[u8]) -> bool {
        // A client reads and writes the same few topics again and again.
        if !self.marks.any() && self.id.is_empty() && !name.is_empty() && self.name.as_bytes() == name {
            return false;
        }
        self.known = None;
        self.id.clear();
        self.call(name);
        true
    }

    /// Its id was given; the id stands in for a name that no answer to Metadata has told. Whether that is another topic, or
    /// perhaps another name, than before.
    pub(crate) fn by_id(&mut self, id: &TopicId, topics: &Topics) -> bool {
        let known = Some((*id, topics.edition()));
        if self.known == known {
            return false;
        }
        self.known = known;
        topics.spoken(id, |name| self.call(name));
        self.id.clear();
        self.id.extend(id_text(id).map(char::from));
        true
    }

    fn call(&mut self, name: &[u8]) {
        let (text, marks) = sanitize::text(name, CAP);
        self.name.clear();
        self.name.push_str(&text);
        self.marks = marks;
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
