//! Rows as the journal has them, and the columns that a reader sees.

use auditring_event::event::{Cell, Event};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, RowView};
use auditring_event::{
    Authority, Category, Column, Context, Definition, Definitions, FREEFORM, Origin, Outcome, RowRef, RowSet, by_name,
};
use auditring_policy::{Chooser, Decision, Facts, Policy, Who, address, session_hash};
use std::sync::Arc;

pub(crate) const PROCESS: [u8; 16] = [7; 16];

/// A policy of these rules, as JSON.
pub(crate) fn policy(rules: &str) -> Policy {
    seeded(7, rules)
}

pub(crate) fn seeded(seed: u64, rules: &str) -> Policy {
    let text = format!(r#"{{"version":2,"seed":{seed},"allow_blind_spots":false,"rules":[{rules}]}}"#);
    Policy::parse(text.as_bytes()).unwrap()
}

pub(crate) fn blind(rules: &str) -> Policy {
    Policy { allow_blind_spots: true, ..policy(rules) }
}

pub(crate) fn definition() -> Definition {
    Definition {
        code: 768,
        name: "com.example.kms.KeyUsed".into(),
        category: Category::Plugin,
        outcome: Outcome::Success,
        object_ref: vec!["com.example.kek".into()],
        context: Vec::new(),
    }
}

/// An event and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) action: &'static str,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) authority: Option<Authority>,
    pub(crate) origin: Origin,
    pub(crate) status: bool,
    pub(crate) resource: Option<String>,
    pub(crate) tap: Option<&'static str>,
    pub(crate) filter: Option<&'static str>,
    pub(crate) principal: Option<&'static str>,
    pub(crate) partition: i64,
    pub(crate) first_touch: bool,
    pub(crate) context: Option<Context>,
}

impl Sent {
    pub(crate) fn new(action: &'static str) -> Self {
        Self {
            action,
            outcome: None,
            authority: None,
            origin: Origin::Client,
            status: false,
            resource: None,
            tap: None,
            filter: None,
            principal: None,
            partition: 0,
            first_touch: false,
            context: None,
        }
    }

    pub(crate) fn on(self, resource: &str) -> Self {
        Self { resource: Some(resource.to_owned()), ..self }
    }

    pub(crate) fn of(self, session: &str) -> Self {
        Self { context: Some(Context { session: Some(session.to_owned()), ..Context::default() }), ..self }
    }

    fn encoder(&self) -> Encoder {
        match by_name(self.action) {
            Some(spec) => {
                let mut encoder = Encoder::new(spec);
                for field in spec.fields {
                    let text = match field.target {
                        auditring_event::Target::Column(Column::Resource) => self.resource.as_deref(),
                        auditring_event::Target::Column(Column::Principal) => self.principal,
                        _ => None,
                    };
                    if let Some(text) = text {
                        encoder.text(field.name, text);
                    }
                }
                if matches!(self.action, "Read" | "Write") {
                    encoder.int("partition", self.partition);
                }
                encoder
            }
            None if self.action == definition().name => Encoder::declared(&definition()),
            None => {
                let mut encoder = Encoder::freeform(self.action);
                if let Some(resource) = &self.resource {
                    encoder.text("resource", resource);
                }
                encoder
            }
        }
    }

    /// The row, of the context with number 0.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut encoder = self.encoder();
        encoder.origin(self.origin).authority(self.authority);
        if let Some(outcome) = self.outcome {
            encoder.outcome(outcome);
        }
        if self.status {
            encoder.status("Odd");
        }
        if let Some(tap) = self.tap {
            encoder.tap(tap);
        }
        if let Some(filter) = self.filter {
            encoder.filter(filter);
        }
        let record = encoder.to_vec();
        let (mut data, context) = (Vec::new(), if self.context.is_some() { 0 } else { row::NO_CONTEXT });
        let flags = u8::from(self.first_touch);
        row::from_record(&RecordView::parse(&record).unwrap(), context, 1, 1, flags, &mut data);
        data
    }

    /// The event with all its columns, as Arrow and JSON have it.
    pub(crate) fn columns(&self) -> Event {
        let mut definitions = Definitions::default();
        definitions.insert(definition());
        let set = RowSet {
            contexts: self.context.iter().cloned().map(Arc::new).collect(),
            data: self.row(),
            rows: vec![RowRef { seq: 0, offset: 0, weight: 1, count: 1 }],
            definitions: Arc::new(definitions),
            ..RowSet::default()
        };
        Event::of(&set, &set.rows[0]).unwrap()
    }
}

/// What a rule may look at, from what a reader sees.
pub(crate) fn facts(event: &Event, status: bool) -> Facts<'_> {
    let word = |column| event.text(column).unwrap_or_default();
    let principals = match event.get(Column::Principals) {
        Some(Cell::Texts(list)) => list.iter().map(|one| one.as_str().into()).collect(),
        _ => Vec::new(),
    };
    Facts {
        action: word(Column::Action),
        category: Category::from_word(word(Column::Category)).unwrap(),
        outcome: Outcome::from_word(word(Column::Outcome)).unwrap(),
        authority: event.text(Column::Authority).and_then(Authority::from_word),
        origin: Origin::from_word(word(Column::Origin)).unwrap(),
        status,
        filter: event.text(Column::Filter),
        tap: event.text(Column::Tap),
        resource: event.text(Column::Resource),
        principals,
        virtual_cluster: event.text(Column::VirtualCluster),
        peer: event.text(Column::PeerIp).and_then(address),
        peer_hash: event.text(Column::PeerIp).filter(|peer| auditring_policy::key_id_of(peer).is_some()),
    }
}

pub(crate) fn chooser(log: Policy, own: Option<Policy>) -> Chooser {
    let mut chooser = Chooser::new(log, own, &PROCESS);
    let mut definitions = Definitions::default();
    definitions.insert(definition());
    chooser.define(&definitions);
    chooser
}

/// What a chooser makes of an event; its context is a new one.
pub(crate) fn decide(chooser: &mut Chooser, sent: &Sent, seq: i64) -> Decision {
    chooser.segment();
    again(chooser, sent, seq)
}

/// What a chooser makes of an event of the same context as the one before.
pub(crate) fn again(chooser: &mut Chooser, sent: &Sent, seq: i64) -> Decision {
    let data = sent.row();
    let view = RowView::parse(&data).unwrap();
    assert!(view.code() != FREEFORM || sent.action.contains('.'));
    let who = sent
        .context
        .as_ref()
        .map(|context| Who { context, session: session_hash(context.session.as_deref().unwrap_or_default()) });
    chooser.decide(&view, view.context(), who, seq)
}
