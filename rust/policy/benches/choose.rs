//! What the decision for one row costs: by action alone, and by fifty rules that ask for names, globs and networks.
//!
//! The rows are a Kafka proxy's: Reads of 200 sessions on 50 topics.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

mod fifty;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, RowView};
use auditring_event::{Context, by_name};
use auditring_policy::{Chooser, Decision, Policy, Who, session_hash};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const ROWS: usize = 100_000;
const SESSIONS: usize = 200;
const TOPICS: usize = 50;

fn contexts() -> Vec<(Context, u64)> {
    let context = |at: usize| {
        let session = format!("018f4e6a-7c1d-7b3e-9d52-{at:012x}");
        let hash = session_hash(&session);
        let context = Context {
            session: Some(session),
            virtual_cluster: Some("payments".into()),
            peer_ip: Some(format!("10.1.{}.{}", at / 250, at % 250)),
            principal: Some(format!("user-{}", at % 40)),
            ..Context::default()
        };
        (context, hash)
    };
    (0..SESSIONS).map(context).collect()
}

fn rows() -> Vec<u8> {
    let read = by_name("Read").expect("the catalog has Read");
    let mut data = Vec::new();
    for at in 0..ROWS {
        let mut encoder = Encoder::new(read);
        encoder.text("topic", &format!("orders-{:02}", at * at % TOPICS)).int("partition", (at % 12) as i64);
        let record = encoder.int("first_offset", at as i64).to_vec();
        let record = RecordView::parse(&record).expect("the encoder writes records");
        row::from_record(&record, (at * 7 % SESSIONS) as u32, at as i64, at as i64, 0, &mut data);
    }
    data
}

/// Fifty rules, of which the last drops all.
fn fifty() -> String {
    let rules = fifty::rules();
    format!(r#"{{"version":2,"seed":7,"allow_blind_spots":false,"rules":[{rules}]}}"#)
}

const BY_ACTION: &str =
    r#"{"version":2,"seed":7,"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"off"}]}"#;
const STORIES: &str =
    r#"{"version":2,"seed":7,"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"sample","one_in":100}]}"#;
const ALL: &str = r#"{"version":2,"seed":7,"allow_blind_spots":false,"rules":[]}"#;

fn benches(criterion: &mut Criterion) {
    let (contexts, data) = (contexts(), rows());
    let mut group = criterion.benchmark_group("choose");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, policy, expected) in [
        ("keep all", ALL.to_owned(), Some(ROWS)),
        ("off by action", BY_ACTION.to_owned(), Some(0)),
        ("sample of stories", STORIES.to_owned(), None),
        ("off by the last of fifty rules", fifty(), Some(0)),
    ] {
        let policy = Policy::parse(policy.as_bytes()).expect("a policy");
        let mut chooser = Chooser::new(policy, None, &[7; 16]);
        let mut pass = || {
            let (mut rest, mut seq, mut kept) = (&data[..], 0, 0);
            while let Ok(view) = RowView::parse(rest) {
                let (context, session) = &contexts[view.context() as usize];
                let who = Who { context, session: *session };
                kept +=
                    usize::from(matches!(chooser.decide(&view, view.context(), Some(who), seq), Decision::Keep { .. }));
                rest = &rest[view.len()..];
                seq += 1;
            }
            kept
        };
        let kept = pass();
        assert!(expected.is_none_or(|expected| expected == kept), "{name} kept {kept}");
        group.bench_function(name, |b| b.iter(|| black_box(pass())));
    }
    group.finish();
}

criterion_group!(choose, benches);
criterion_main!(choose);
