//! How a request went over the wire: the columns that most events of a tap share.

use auditring_event::ActionSpec;
use auditring_event::sanitize::Marks;

use crate::facts::Draft;

/// One request and, as far as it is known, its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'a> {
    /// The point of the chain at which the tap sits.
    pub(crate) tap: Option<&'a str>,
    pub(crate) api: &'static str,
    /// The client's id of the request.
    pub(crate) client: i32,
    /// The id under which it went on, where the proxy gave it another or an answer was seen.
    pub(crate) server: Option<i32>,
    /// From request to answer, where there is one.
    pub(crate) duration_ns: Option<i64>,
}

/// Where an action has those columns; made once, for the actions of the data path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) client: usize,
    pub(crate) server: usize,
    pub(crate) duration: usize,
    api: usize,
}

impl Places {
    pub(crate) const fn of(spec: &'static ActionSpec) -> Self {
        Self {
            client: spec.position("client_correlation_id"),
            server: spec.position("server_correlation_id"),
            duration: spec.position("duration_ns"),
            api: spec.position("api"),
        }
    }
}

impl Draft<'_> {
    /// What the wire says of it.
    #[inline]
    pub(crate) fn wire(&mut self, wire: &Wire<'_>, at: &Places) -> &mut Self {
        self.int_at(at.client, wire.client.into());
        if let Some(server) = wire.server {
            self.int_at(at.server, server.into());
        }
        if let Some(duration) = wire.duration_ns {
            self.int_at(at.duration, duration);
        }
        self.wire_texts(wire, at)
    }

    /// Those of its columns that are texts.
    #[inline]
    pub(crate) fn wire_texts(&mut self, wire: &Wire<'_>, at: &Places) -> &mut Self {
        self.safe_at(at.api, wire.api, Marks::default()).tap(wire.tap)
    }
}
