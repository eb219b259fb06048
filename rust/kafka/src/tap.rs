//! One connection, as it is seen from the side.
//!
//! What must always hold: every byte that is given is taken, sooner or later; after the tap has lost its way it looks at none;
//! and what is kept between two calls is bounded, whatever the bytes are.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use auditring_event::{TAP_CAP, sanitize};

use crate::asked::Asked;
use crate::blind::{Blind, From, Why, blind};
use crate::broker::BrokerSide;
use crate::client::ClientSide;
use crate::facts::Facts;
use crate::guard::{Guard, Told};
use crate::inflight::InFlight;
use crate::sasl::Sasl;
use crate::topics::Topics;

/// Watches one connection between a client and a broker.
pub struct Tap {
    shared: Shared,
    client: ClientSide,
    broker: BrokerSide,
    closed: bool,
}

/// What both directions know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: Option<String>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) exempted: Told,
    pub(crate) inflight: InFlight,
    pub(crate) sasl: Sasl,
    /// What the client called itself last.
    pub(crate) client_id: Vec<u8>,
    /// Keys of the APIs of which a version was met that is not in the table.
    pub(crate) unsupported: Vec<i16>,
    opaque: bool,
    /// When the present call was made; read when it is first asked for.
    now: Option<Instant>,
}

impl Shared {
    /// One time for all that a call brings.
    #[inline]
    pub(crate) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    /// Whether it has given up reading.
    #[inline]
    pub(crate) fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// A message could not be read; what comes after it can be.
    pub(crate) fn blind(&self, facts: &mut Facts, why: Why, from: From, asked: &Asked) {
        blind(facts, self.name.as_deref(), why, from, Blind::Request, Some(asked), None);
    }

    /// The same of a message of more bytes than may be kept.
    pub(crate) fn too_large(&self, facts: &mut Facts, from: From, asked: &Asked, bytes: usize) {
        blind(facts, self.name.as_deref(), Why::FrameTooLarge, from, Blind::Request, Some(asked), Some(bytes));
    }

    /// Where a message ends, or whose answer it is, is not known any more.
    pub(crate) fn give_up(&mut self, facts: &mut Facts, why: Why, from: From, asked: Option<&Asked>) {
        blind(facts, self.name.as_deref(), why, from, Blind::Connection, asked, None);
        self.opaque = true;
    }
}

impl Tap {
    /// A tap for a connection that has not carried a byte yet. Its name is the point of the proxy's chain at which it sits.
    #[must_use]
    pub fn new(name: Option<&str>, topics: Arc<Topics>) -> Self {
        let shared = Shared {
            name: name.map(|name| sanitize::text(name.as_bytes(), TAP_CAP).0.into_owned()),
            topics,
            guard: Arc::default(),
            exempted: Told::default(),
            inflight: InFlight::default(),
            sasl: Sasl::default(),
            client_id: Vec::new(),
            unsupported: Vec::new(),
            opaque: false,
            now: None,
        };
        Self { shared, client: ClientSide::default(), broker: BrokerSide::default(), closed: false }
    }

    /// Lets the messages of auditors pass that this knows.
    #[must_use]
    pub fn guarded(mut self, guard: Arc<Guard>) -> Self {
        self.shared.guard = guard;
        self
    }

    /// The client has sent these. Returns how many were taken: fewer than given only where the facts are full, and then the
    /// rest is to be given again when they have been taken out.
    pub fn from_client(&mut self, bytes: &[u8], facts: &mut Facts) -> usize {
        let mut rest = bytes;
        self.shared.now = None;
        if !self.is_idle() {
            self.client.feed(&mut rest, &mut self.shared, facts);
        }
        if self.is_idle() { bytes.len() } else { bytes.len() - rest.len() }
    }

    /// The broker has sent these; likewise.
    pub fn from_broker(&mut self, bytes: &[u8], facts: &mut Facts) -> usize {
        let mut rest = bytes;
        self.shared.now = None;
        if !self.is_idle() {
            self.broker.feed(&mut rest, &mut self.shared, facts);
        }
        if self.is_idle() { bytes.len() } else { bytes.len() - rest.len() }
    }

    /// Whether it has more to say of what was shown when the facts have been taken out: feed it once more, if with nothing.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.is_idle() && self.broker.has_more()
    }

    fn is_idle(&self) -> bool {
        self.shared.opaque || self.closed
    }

    /// A request goes on under another correlation id. May be said before or after the client's bytes are shown.
    pub fn rewrote(&mut self, client: i32, server: i32) {
        if !self.is_idle() {
            self.shared.inflight.rewrote(client, server);
        }
    }

    /// The proxy answers a request itself: the broker never sees it. May be said before or after it is shown, but before the
    /// broker's answer to a later one is: the last of this id that is shown and goes on under no other is meant, or the next.
    pub fn answered(&mut self, client: i32) {
        if !self.closed {
            self.shared.sasl.taken_over(client);
            self.shared.inflight.answered(client);
        }
    }

    /// The connection has ended. What may have changed something and got no answer becomes rows with outcome `forwarded`;
    /// returns whether that is all, or the facts are full and it is to be called again.
    pub fn close(&mut self, facts: &mut Facts) -> bool {
        self.closed = true;
        self.client.close();
        self.shared.sasl.end(self.shared.name.as_deref(), facts);
        loop {
            if facts.is_full() {
                return false;
            }
            if self.broker.end(&mut self.shared, facts) {
                let Some(entry) = self.shared.inflight.pop() else { return true };
                self.broker.unanswered(entry);
            }
        }
    }

    /// Whether it has given up reading; an event said why.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.shared.opaque
    }

    /// How many requests wait for their answers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.inflight.len()
    }
}

impl fmt::Debug for Tap {
    /// Without what is kept of messages: there are credentials among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.shared.name;
        f.debug_struct("Tap").field("name", name).field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}
