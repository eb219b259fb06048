//! Bytes that are read where they lie: records, rows, contexts, definitions, policies, and lines.

use std::sync::Arc;

use auditring_event::record::RecordView;
use auditring_event::row::{self, RowView};
use auditring_event::{Context, Definitions, RowRef, RowSet, json};
use auditring_policy::{Chooser, Key, Policy, Redactor, Who, redactions};
use fastrand::Rng;

use super::Seen;
use crate::Failure;
use crate::corpus::{World, context, definition, event};
use crate::harm;
use crate::oracle;

/// More rows than this are not looked at: bytes that are all zero but for lengths could be as many as there are words.
const MOST_ROWS: usize = 64;

pub(crate) struct Stock {
    records: Vec<Vec<u8>>,
    contexts: Vec<Vec<u8>>,
    definitions: Vec<u8>,
    policies: Vec<Vec<u8>>,
    /// Whole sets, each of a few rows.
    sets: Vec<RowSet>,
    lines: Vec<Vec<u8>>,
}

impl Stock {
    pub(crate) fn new(worlds: &[World]) -> Result<Self, Failure> {
        let mut definitions = Vec::new();
        definition().encode(&mut definitions);
        let mut other = definition();
        other.code += 1;
        other.name = "com.example.kms.KeyMade".into();
        other.encode(&mut definitions);
        let known = Definitions::decode(&definitions).map_err(|error| error.to_string())?;
        let mut sets = Vec::new();
        for world in worlds {
            let rows: Vec<_> = world.written.iter().collect();
            for some in rows.chunks(5) {
                let mut set = RowSet {
                    identity: Arc::new(world.identity.clone()),
                    definitions: Arc::new(known.clone()),
                    ..RowSet::default()
                };
                for (seq, written) in some {
                    let offset = set.data.len();
                    set.data.extend_from_slice(&written.row);
                    if let Some(context) = &written.context {
                        let at = set.contexts.len() as u32;
                        set.contexts.push(Arc::new(Context::decode(context).map_err(|error| error.to_string())?));
                        row::set_context(&mut set.data, offset, at);
                    }
                    set.rows.push(RowRef { seq: **seq, offset: offset as u32, weight: 1, count: 1 });
                }
                sets.push(set);
            }
        }
        let mut lines = Vec::new();
        for set in &sets {
            let mut out = Vec::new();
            json::lines(set, &mut out).map_err(|error| error.to_string())?;
            lines.extend(out.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        let mut policies: Vec<Vec<u8>> = [
            &br#"{"read":{"keep":"sample","one_in":10},"seed":7,"version":1,"write":{"keep":"off"}}"#[..],
            br#"{"version":3,"seed":7,"allow_blind_spots":false,"rules":[
                {"action":["Read"],"principal":["User:*"],"keep":"first","window_ns":10000000000,"by":["resource"]},
                {"category":["data"],"outcome":["success"],"peer":["10.0.0.0/8"],"keep":"sample","one_in":100,"by":["session"]}],
                "redact":[{"field":"context.tls.subject","how":"drop"},{"field":"client_id","how":"drop"}]}"#,
        ]
        .map(<[u8]>::to_vec)
        .into();
        for world in worlds {
            for (_, segment) in &world.segments {
                // As it stands in a head.
                let begin = segment.windows(2).position(|two| two == b"{\"").unwrap_or_default();
                let text = &segment[begin..segment.len().min(begin + 600)];
                let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>();
                if let Some(Ok(policy)) = stream.next() {
                    policies.push(serde_json::to_vec(&policy)?);
                }
            }
        }
        policies.sort();
        policies.dedup();
        Ok(Self {
            records: (0..36).map(|number| event(number).to_vec()).collect(),
            contexts: (0..8).map(context).collect(),
            definitions,
            policies,
            sets,
            lines,
        })
    }

    pub(crate) fn record(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut bytes = harm::pick(rng, &self.records).clone();
        if rng.u8(..4) == 0 {
            // What the head says of itself: presence, code, bits, flags, lengths.
            let (at, width) = (*harm::pick(rng, &[8, 12, 14, 15, 16, 24, 28]), *harm::pick(rng, &[1, 2, 4]));
            harm::number_at(rng, &mut bytes, at, width);
        }
        let donor = harm::pick(rng, &self.records);
        harm::some(rng, &mut bytes, donor);
        let mut seen = Seen { size: bytes.len(), forged: true, refused: true, ..Seen::default() };
        let Ok(record) = RecordView::parse(&bytes) else { return Ok(seen) };
        let valid = record.validate().is_ok();
        let mut set = RowSet { definitions: Arc::clone(&self.sets[0].definitions), ..RowSet::default() };
        let mut at = row::NO_CONTEXT;
        if let Ok(context) = Context::decode(record.context_bytes()) {
            set.contexts.push(Arc::new(context));
            at = 0;
        }
        row::from_record(&record, at, rng.i64(..), rng.i64(..), 0, &mut set.data);
        set.rows.push(RowRef { seq: 1, offset: 0, weight: 1, count: 1 });
        let whole = RowView::parse(&set.data).and_then(|row| row.validate());
        if valid && let Err(error) = whole {
            return Err(format!("a valid record makes a row that is not: {error}"));
        }
        seen.refused = !valid;
        seen.rows = u64::from(valid);
        oracle::shown(rng, &set).map(|()| seen)
    }

    pub(crate) fn rows(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut set = harm::pick(rng, &self.sets).clone();
        let donor = &harm::pick(rng, &self.sets).data;
        if rng.u8(..3) == 0 {
            let at = harm::pick(rng, &set.rows).offset as usize;
            let (part, width) = (*harm::pick(rng, &[0, 4, 8, 10, 12, 16]), *harm::pick(rng, &[1, 2, 4]));
            harm::number_at(rng, &mut set.data, at + part, width);
        }
        harm::some(rng, &mut set.data, donor);
        let mut seen = Seen { size: set.data.len(), forged: true, refused: true, ..Seen::default() };
        if rng.bool() {
            // As a journal is read: one behind the other, wherever they now begin.
            set.rows.clear();
            let mut at = 0;
            while let Ok(view) = RowView::parse(&set.data[at..])
                && set.rows.len() < MOST_ROWS
            {
                set.rows.push(RowRef { seq: at as i64, offset: at as u32, weight: 1, count: 1 });
                at += view.len();
            }
        }
        seen.rows = set.rows.len() as u64;
        seen.refused = set.rows.iter().any(|at| set.row(at).and_then(|row| row.validate()).is_err());
        oracle::shown(rng, &set).map(|()| seen)
    }

    pub(crate) fn context(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut bytes = harm::pick(rng, &self.contexts).clone();
        if rng.u8(..4) == 0 {
            harm::number_at(rng, &mut bytes, 0, 4);
        }
        let donor = harm::pick(rng, &self.contexts);
        harm::some(rng, &mut bytes, donor);
        let refused = Context::decode(&bytes).is_err();
        let seen = Seen { size: bytes.len(), forged: true, refused, ..Seen::default() };
        oracle::context(&bytes).map(|()| seen)
    }

    pub(crate) fn definitions(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut bytes = self.definitions.clone();
        harm::some(rng, &mut bytes, &self.definitions);
        let seen = Seen { size: bytes.len(), forged: true, refused: true, ..Seen::default() };
        let Ok(definitions) = Definitions::decode(&bytes) else { return Ok(seen) };
        let mut again = Vec::new();
        definitions.encode(&mut again);
        if Definitions::decode(&again).as_ref() != Ok(&definitions) {
            return Err("definitions that were decoded are others when they are encoded".into());
        }
        if definitions.iter().any(|one| !one.is_valid()) {
            return Err("a definition that may stand in no log".into());
        }
        // And rows of these events, whatever they are called now.
        let mut set = harm::pick(rng, &self.sets).clone();
        set.definitions = Arc::new(definitions);
        oracle::shown(rng, &set).map(|()| Seen { refused: false, rows: set.rows.len() as u64, ..seen })
    }

    pub(crate) fn policy(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut bytes = harm::pick(rng, &self.policies).clone();
        let donor = harm::pick(rng, &self.policies);
        harm::some(rng, &mut bytes, donor);
        let mut seen = Seen { size: bytes.len(), forged: true, refused: true, ..Seen::default() };
        let said = redactions(&bytes);
        let Ok(policy) = Policy::parse(&bytes) else { return Ok(seen) };
        let key = Key::new(b"a key that is long enough");
        let said = said.map_err(|error| format!("a policy that can be read redacts what cannot: {error}"))?;
        let _redactor = Redactor::of_another(&said, key.as_ref());
        let _checked = policy.check();
        seen.refused = false;
        let set = harm::pick(rng, &self.sets);
        let mut chooser = Chooser::new(policy, None, &[7; 16]);
        chooser.define(&set.definitions);
        let _windows = chooser.windows();
        for at in &set.rows {
            let view = set.row(at).map_err(|error| error.to_string())?;
            let who = set.context(&view).map(|context| Who { context, session: 1 });
            let _decision = chooser.decide(&view, view.context(), who, at.seq);
            seen.rows += 1;
        }
        Ok(seen)
    }

    pub(crate) fn line(&self, rng: &mut Rng) -> Result<Seen, String> {
        let mut bytes = harm::pick(rng, &self.lines).clone();
        let donor = harm::pick(rng, &self.lines);
        harm::some(rng, &mut bytes, donor);
        let mut seen = Seen { size: bytes.len(), forged: true, refused: true, ..Seen::default() };
        let Ok(event) = json::parse(&bytes) else { return Ok(seen) };
        let mut again = Vec::new();
        json::line(json::Dialect::Own, &event, &mut again);
        if let Err(error) = json::parse(&again) {
            return Err(format!("a line made of what was read is not ours: {error}"));
        }
        (seen.refused, seen.rows) = (false, 1);
        Ok(seen)
    }
}
