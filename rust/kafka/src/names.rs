//! How a message names a topic: by its name, and in the newer versions by its id.

use crate::cursor::{Cursor, Step, TopicId};
use crate::facts::Draft;
use crate::topics::{Topics, id_text};

/// The id that says that there is none.
pub(crate) const NO_ID: TopicId = [0; 16];

/// What a message calls a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic<'a> {
    Name(&'a [u8]),
    Id(TopicId),
}

impl<'a> Topic<'a> {
    /// Reads what it is called in this version.
    pub(crate) fn read(message: &mut Cursor<'a>, by_id: bool) -> Step<Self> {
        if by_id { message.uuid().map(Self::Id) } else { message.string().map(Self::Name) }
    }

    /// Its name; the id, as Kafka writes it, where nobody has said the name.
    pub(crate) fn spoken(&self, topics: &Topics) -> Vec<u8> {
        match self {
            Self::Name(name) => name.to_vec(),
            Self::Id(id) => topics.spoken(id, <[u8]>::to_vec),
        }
    }
}

impl Draft<'_> {
    /// The topic, and its id if it has one; the id stands in for a name that nobody has said.
    pub(crate) fn called(&mut self, topic: &Topic<'_>, topics: &Topics) -> &mut Self {
        self.text("topic", &topic.spoken(topics));
        match topic {
            Topic::Name(_) => self,
            Topic::Id(id) => self.text("topic_id", &id_text(id)),
        }
    }

    /// The topic's id, if it is one.
    pub(crate) fn topic_id(&mut self, id: &TopicId) -> &mut Self {
        if *id == NO_ID { self } else { self.text("topic_id", &id_text(id)) }
    }
}
