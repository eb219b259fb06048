//! Which of Kafka's APIs the tap reads, in which versions, and what it makes of them. The page of the documentation is
//! made from this table.

use crate::cursor::Step;
use crate::exchange::Exchange;

/// One API.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// Kafka's number of it.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// First version that is read.
    pub first: i16,
    /// Last version that is read.
    pub last: i16,
    /// From which version on lengths are compact and structures end with tagged fields.
    pub flexible: i16,
    /// What events come from it, for the documentation.
    pub events: &'static str,
    /// How it is read.
    pub(crate) how: How,
}

/// How an API is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// In steps as the bytes come: records are stepped over.
    Produce,
    /// In steps as the bytes come: records are stepped over.
    Fetch,
    /// In steps as the bytes come: records are stepped over.
    ShareFetch,
    /// The mechanism that a client asks for.
    SaslHandshake,
    /// Its proof.
    SaslAuthenticate,
    /// Request and answer side by side, once both are whole; `keep` where an unanswered one is an event too, because it
    /// may have changed something; `most` bytes of a request.
    Exchange { read: fn(&mut Exchange<'_>) -> Step<()>, keep: bool, most: usize },
}

impl Api {
    /// Whether this version is flexible.
    pub(crate) const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// Whether the header of an answer ends with tagged fields: never that of `ApiVersions`, which a client must be able to
    /// read before it knows what the broker speaks.
    pub(crate) const fn answer_has_tags(&self, version: i16) -> bool {
        self.is_flexible(version) && self.key != API_VERSIONS
    }
}

/// Key of `ApiVersions`.
pub(crate) const API_VERSIONS: i16 = 18;
/// Never flexible.
pub(crate) const NEVER: i16 = i16::MAX;
