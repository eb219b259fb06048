//! What a rule may look at of one event.

use std::net::IpAddr;

use auditring_event::{Authority, Category, Context, Origin, Outcome};

use crate::redact::key_id_of;
use crate::rule::Kind;

/// One event. What is none is matched by no rule that names it.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The action's name.
    pub action: &'a str,
    /// Its category.
    pub category: Category,
    /// How it ended.
    pub outcome: Outcome,
    /// Who decided it.
    pub authority: Option<Authority>,
    /// Who started it.
    pub origin: Origin,
    /// Whether the call carried a status.
    pub status: bool,
    /// Which filter.
    pub filter: Option<&'a str>,
    /// Where in the chain.
    pub tap: Option<&'a str>,
    /// Which resource.
    pub resource: Option<&'a str>,
    /// The principals as `Type:name`.
    pub principals: Vec<std::borrow::Cow<'a, str>>,
    /// The virtual cluster.
    pub virtual_cluster: Option<&'a str>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// The keyed hash that stands for it, where peers are hashed.
    pub peer_hash: Option<&'a str>,
}

impl<'a> Facts<'a> {
    pub(crate) fn kind(&self) -> Kind<'a> {
        Kind { action: Some(self.action), category: self.category, outcome: self.outcome }
    }

    /// What a session says of whoever it belongs to, where the row itself does not.
    #[must_use]
    pub fn of_session(mut self, session: &'a Context) -> Self {
        self.filter = self.filter.or(session.filter.as_deref());
        self.tap = self.tap.or(session.tap.as_deref());
        self.virtual_cluster = self.virtual_cluster.or(session.virtual_cluster.as_deref());
        if self.principals.is_empty() {
            self.principals = session.all_principals();
        }
        if let Some(peer) = session.peer_ip.as_deref() {
            self.peer = self.peer.or_else(|| address(peer));
            self.peer_hash = self.peer_hash.or_else(|| key_id_of(peer).map(|_| peer));
        }
        self
    }
}

/// An address as the table has it: a zone is left aside, and IPv4 within IPv6 is IPv4.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
