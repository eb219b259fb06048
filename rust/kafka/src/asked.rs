//! What the header of a request says.

use std::borrow::Cow;

use crate::api::{Api, How};
use crate::cursor::{Cursor, Step, Stop};
use crate::table;
use crate::wire::Wire;

/// Kafka 4.4 has keys up to 94 and versions up to 18: what is far beyond is another protocol, and no frame has its length.
const LAST_KEY: i16 = 511;
const LAST_VERSION: i16 = 255;

/// One request, as its header has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) key: i16,
    pub(crate) version: i16,
    /// The client's id of the request.
    pub(crate) client: i32,
    /// The id under which it went on, where the proxy gave it another.
    pub(crate) server: Option<i32>,
    /// None where nothing but the header is read: the API is not in the table, or not in this version.
    pub(crate) api: Option<&'static Api>,
    /// An auditor's own message, and nothing else.
    pub(crate) exempt: bool,
}

impl Asked {
    /// Reads what is the same in all versions.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Step<Self> {
        let (key, version, client) = (cursor.i16()?, cursor.i16()?, cursor.i32()?);
        if !(0..=LAST_KEY).contains(&key) || !(0..=LAST_VERSION).contains(&version) {
            return Err(Stop::Malformed);
        }
        Ok(Self { key, version, client, server: None, api: table::by_key(key), exempt: false })
    }

    /// The id under which the broker answers it.
    #[inline]
    pub(crate) fn answered_as(&self) -> i32 {
        self.server.unwrap_or(self.client)
    }

    /// How its messages are read; none where only the header is.
    pub(crate) fn how(&self) -> Option<How> {
        self.api.map(|api| api.how)
    }

    pub(crate) fn is_flexible(&self) -> bool {
        self.api.is_some_and(|api| api.is_flexible(self.version))
    }

    /// Kafka's name of the API, or its number.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        table::name(self.key).map_or_else(|| format!("Unknown({})", self.key).into(), Cow::Borrowed)
    }

    /// The columns that its events share, until there is an answer.
    pub(crate) fn wire<'a>(&self, tap: Option<&'a str>) -> Wire<'a> {
        Wire {
            tap,
            api: self.api.map_or("", |api| api.name),
            client: self.client,
            server: self.server,
            duration_ns: None,
        }
    }
}
