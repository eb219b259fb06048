//! A topic, as rows name it.

use crate::cursor::TopicId;
use crate::facts::Draft;
use crate::topics::{self, Topics};

/// The topic in hand; its buffer is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Named {
    name: Vec<u8>,
    id: Option<[u8; 22]>,
}

/// Where an action has a topic's columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicPlaces {
    pub(crate) topic: usize,
    pub(crate) topic_id: usize,
}

impl Named {
    /// It was named.
    #[inline]
    pub(crate) fn by_name(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.id = None;
    }

    /// Its id was given; the id stands in for a name that no answer to Metadata has told.
    pub(crate) fn by_id(&mut self, id: &TopicId, topics: &Topics) {
        let text = topics::id_text(id);
        self.name.clear();
        match topics.name(id) {
            Some(name) => self.name.extend_from_slice(&name),
            None => self.name.extend_from_slice(&text),
        }
        self.id = Some(text);
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Draft<'_> {
    /// Which topic.
    #[inline]
    pub(crate) fn named(&mut self, topic: &Named, at: &TopicPlaces) -> &mut Self {
        self.text_at(at.topic, &topic.name);
        if let Some(id) = &topic.id {
            self.text_at(at.topic_id, id);
        }
        self
    }
}
