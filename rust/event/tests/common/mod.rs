//! Events made up by proptest: any action, any fields, any context, so that every path to a column is walked.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod schema;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, NO_CONTEXT};
use auditring_event::{
    ACTIONS, ActionSpec, Authority, Category, Context, Definition, Definitions, FREEFORM, Identity, Kind, Origin,
    Outcome, RowRef, RowSet,
};
use proptest::collection::{btree_map, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a test event says; the encoder does the rest.
#[derive(Clone, Debug)]
pub struct Made {
    pub action: usize,
    pub record: Vec<u8>,
    pub context: Option<usize>,
    pub time_ns: i64,
    pub age_ns: i64,
    pub weight: u32,
    pub count: u32,
}

/// Text as it may come off a wire, and some that is worth a try.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9._-]{1,12}",
        1 => any::<String>(),
        1 => select(vec!["", "\"\\\n\t\r\u{1}\u{7f}", "a:b:c", "User:x", "\u{0}", "é\u{1F600}", "{}"]).prop_map(str::to_owned),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON has no such number", |n| n.is_finite().then(|| Value::from(n))),
        any::<bool>().prop_map(Value::from),
    ]
}

pub fn context_map() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![
        text(),
        select(vec!["http.request.id", "causeSession", "auditring.cut", "trace_id", "vc"]).prop_map(str::to_owned)
    ];
    let value = prop_oneof![4 => scalar(), 1 => vec(scalar(), 0..4).prop_map(Value::from)];
    btree_map(key, value, 0..4).prop_map(|map| map.into_iter().collect())
}

pub fn object_ref_map() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![
        text(),
        select(vec!["vc", "topicName", "partition", "groupId", "addr", "nodeId"]).prop_map(str::to_owned)
    ];
    btree_map(key, text().prop_map(Value::from), 0..4).prop_map(|map| map.into_iter().collect())
}

pub fn context() -> impl Strategy<Value = Context> {
    let strings = vec(weighted(0.6, text()), 10);
    let session = of(prop_oneof![text(), Just("018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60".to_owned())]);
    let filter = of(filter_name());
    (strings, session, filter, of(0..65_536), of(any::<i32>()), vec(text(), 0..3), of(context_map())).prop_map(
        |(strings, session, filter, peer_port, node_id, principals, context)| {
            let [virtual_cluster, client_id, listener, peer_ip, server, server_local, principal, mechanism, tap, _] =
                <[Option<String>; 10]>::try_from(strings).expect("ten strings");
            let mut context = Context {
                session,
                virtual_cluster,
                client_id,
                listener,
                peer_ip,
                peer_port,
                server,
                server_local,
                node_id,
                principal,
                mechanism,
                tap,
                filter,
                principals,
                context: context.filter(|map| !map.is_empty()),
            };
            context.fit();
            context
        },
    )
}

fn filter_name() -> impl Strategy<Value = String> {
    prop_oneof![text(), Just("com.example.filter.Rename".to_owned()), Just("Client".to_owned())]
}

pub fn definitions() -> Definitions {
    let mut all = Definitions::NONE;
    assert!(all.insert(Definition {
        code: 768,
        name: "com.example.kms.KeyUsed".into(),
        category: Category::Plugin,
        outcome: Outcome::Success,
        object_ref: vec!["com.example.kek".into(), "vc".into()],
        context: vec!["alg".into(), "http.request.id".into()],
    }));
    assert!(all.insert(Definition {
        code: 1023,
        name: "com.example.Bare".into(),
        category: Category::Administration,
        outcome: Outcome::Denied,
        object_ref: Vec::new(),
        context: Vec::new(),
    }));
    all
}

fn field(encoder: &mut Encoder, spec: &'static ActionSpec, at: usize, text: &str, number: i64) {
    let field = &spec.fields[at];
    match field.kind {
        Kind::Str => encoder.text(field.name, text),
        Kind::Int => encoder.int(field.name, number.clamp(field.min, field.max)),
    };
}

type Common = (Option<String>, Option<String>, Option<String>, Option<String>, Option<String>, Option<i64>);

fn common() -> impl Strategy<Value = Common> {
    let rarely = |text: BoxedStrategy<String>| weighted(0.25, text);
    let text = || rarely(text().boxed());
    (text(), text(), text(), rarely(filter_name().boxed()), text(), weighted(0.1, any::<i64>()))
}

/// One event; it names a context below `contexts`.
pub fn made(contexts: usize) -> impl Strategy<Value = Made> {
    let fields = vec((weighted(0.7, text()), weighted(0.7, any::<i64>())), 20);
    let words = (select(Outcome::ALL), of(select(Authority::ALL)), select(Origin::ALL), 0..16_u8, any::<[bool; 2]>());
    let maps = (weighted(0.2, object_ref_map()), weighted(0.2, context_map()));
    let times = (any::<i64>(), any::<i64>(), 1..1000_u32, prop_oneof![Just(1), 1..1000_u32]);
    (0..ACTIONS.len() + 2, fields, words, common(), maps, of(0..contexts.max(1)), times).prop_map(
        move |(action, fields, words, common, maps, context, (time_ns, age_ns, weight, merged))| {
            let definitions = definitions();
            let mut encoder = match ACTIONS.get(action) {
                Some(spec) if spec.code == FREEFORM => Encoder::freeform("com.example.Something"),
                Some(spec) => Encoder::new(spec),
                None => Encoder::declared(definitions.iter().nth(action - ACTIONS.len()).expect("two definitions")),
            };
            let spec = ACTIONS.get(action);
            let count = spec.map_or(if action == ACTIONS.len() { 4 } else { 0 }, |spec| spec.fields.len());
            for (at, (text, number)) in fields.iter().enumerate().take(count) {
                match (spec, text, number) {
                    (Some(spec), Some(text), Some(number)) => field(&mut encoder, spec, at, text, *number),
                    (None, Some(text), _) => drop(encoder.declared_text(at, text).to_vec()),
                    _ => {}
                }
            }
            let (outcome, authority, origin, flags, defaults) = words;
            if !defaults[0] {
                encoder.outcome(outcome).authority(authority);
            }
            if !defaults[1] {
                encoder.origin(origin);
            }
            encoder.flags(flags);
            let (status, reason, tap, filter, cause, end) = &common;
            status.as_deref().map(|status| encoder.status(status).to_vec());
            reason.as_deref().map(|reason| encoder.reason(reason).to_vec());
            tap.as_deref().map(|tap| encoder.tap(tap).to_vec());
            filter.as_deref().map(|filter| encoder.filter(filter).to_vec());
            cause.as_deref().map(|cause| encoder.cause_session(cause).to_vec());
            end.map(|end| encoder.end_time(end).to_vec());
            maps.0.as_ref().map(|map| encoder.object_ref(map).to_vec());
            maps.1.as_ref().map(|map| encoder.context_map(map).to_vec());
            let context = context.filter(|_| contexts > 0);
            Made { action, record: encoder.to_vec(), context, time_ns, age_ns, weight, count: merged }
        },
    )
}

/// The rows of events, as a follower would hand them over.
pub fn row_set(contexts: Vec<Context>, events: &[Made]) -> RowSet {
    let mut set = RowSet {
        identity: Arc::new(Identity {
            process: "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60".into(),
            instance: "proxy \"eu\" 1".into(),
            host: "host-1".into(),
        }),
        contexts: contexts.into_iter().map(Arc::new).collect(),
        definitions: Arc::new(definitions()),
        ..RowSet::default()
    };
    for (seq, event) in events.iter().enumerate() {
        let record = RecordView::parse(&event.record).expect("the encoder writes records");
        assert_eq!(Ok(()), record.validate());
        let context = event.context.map_or(NO_CONTEXT, |at| at as u32);
        set.rows.push(RowRef {
            seq: seq as i64,
            offset: set.data.len() as u32,
            weight: event.weight,
            count: event.count,
        });
        row::from_record(&record, context, event.time_ns, event.age_ns, 0, &mut set.data);
    }
    set
}

/// A set of rows with contexts.
pub fn sets(most: usize) -> impl Strategy<Value = RowSet> {
    vec(context(), 0..4).prop_flat_map(move |contexts| {
        vec(made(contexts.len()), 0..most).prop_map(move |events| row_set(contexts.clone(), &events))
    })
}
