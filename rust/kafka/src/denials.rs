//! The broker's refusals in APIs that have no event of their own: `OperationDenied`.
//!
//! What must always hold: a refusal is told once an answer, however many partitions repeat it; and of an answer that the
//! table has none is passed over, also where the code is one that this API should not answer with. Operations are those that
//! Kafka 4.4 asks its authorizer for.
//!
//! What the table has not: what brokers say among themselves; what cannot be refused (lists of groups and transactions just
//! leave out what may not be seen, and telemetry needs no right); and three of the newest, whose refusals are rows of
//! requests alone: `StreamsGroupDescribe`, `StreamsGroupTopologyDescriptionUpdate`, `UnregisterController`.

use std::collections::HashSet;

use auditring_event::{ActionSpec, named};

use crate::errors::{self, CLUSTER, GROUP, TOPIC, TRANSACTIONAL_ID};
use crate::exchange::{Exchange, Fate, Page};
use crate::facts::Facts;
use crate::wire::{Places, Wire};

const SPEC: &ActionSpec = named("OperationDenied");
const WIRE: Places = Places::of(SPEC);
/// What Kafka calls the one resource of type Cluster.
pub(crate) const CLUSTER_NAME: &[u8] = b"kafka-cluster";

/// What a code refuses: the operation, and on which resource of the code's type where that is known.
pub(crate) type Rule<'a> = (i16, &'static str, Option<&'a [u8]>);

/// The refusals of one answer.
pub(crate) struct Denials<'x> {
    wire: Wire<'x>,
    facts: &'x mut Facts,
    /// Of an exchange: each page finds anew what is told once.
    page: Option<&'x mut Page>,
    told: HashSet<(i16, Option<Vec<u8>>)>,
}

impl<'x> Denials<'x> {
    pub(crate) fn of<'a: 'x>(exchange: &'x mut Exchange<'a>) -> Self {
        Self { page: Some(&mut exchange.page), ..Self::new(exchange.wire, exchange.facts) }
    }

    /// Those of an answer that is read in another way, and refuses but as a whole.
    pub(crate) fn new(wire: Wire<'x>, facts: &'x mut Facts) -> Self {
        Self { wire, facts, page: None, told: HashSet::new() }
    }

    /// Tells of a code if it is a refusal that has not been told.
    pub(crate) fn tell(&mut self, code: i16, rules: &[Rule<'_>]) {
        if !errors::is_denial(code) {
            return;
        }
        let known = rules.iter().find(|(refused, ..)| *refused == code);
        let (operation, mut resource) =
            known.map_or(("UNKNOWN", None), |(_, operation, resource)| (*operation, *resource));
        if code == CLUSTER {
            resource = Some(CLUSTER_NAME);
        }
        if !self.told.insert((code, resource.map(Into::into))) {
            return;
        }
        if self.page.as_mut().is_some_and(|page| !page.takes(self.facts)) {
            return;
        }
        let mut draft = self.facts.draft(SPEC);
        draft.wire(&self.wire, &WIRE).fate(Fate::Answered(code));
        draft.text("operation", operation.as_bytes()).text("resource_type", kind(code));
        if let Some(resource) = resource {
            draft.text("resource", resource);
        }
        draft.finish();
    }
}

/// The type of resource that a code is about.
const fn kind(code: i16) -> &'static [u8] {
    match code {
        TOPIC => b"Topic",
        GROUP => b"Group",
        CLUSTER => b"Cluster",
        TRANSACTIONAL_ID => b"TransactionalId",
        _ => b"DelegationToken",
    }
}
