//! What becomes of one value.

use std::collections::HashMap;

use auditring_event::flat::FlatMap;
use ipnet::IpNet;
use serde_json::Value;

use super::field::Sort;
use super::{How, Key};
use crate::facts::address;

/// Hashes that are remembered of each sort of value: topics and principals come again and again.
const REMEMBERED: usize = 4096;
/// Longer values are hashed anew each time.
const LONGEST: usize = 256;

/// The key, if it is there, and the hashes made with it last.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    key: Option<Key>,
    known: [HashMap<Box<str>, Box<str>>; 3],
}

impl Hasher {
    pub(super) fn new(key: Option<Key>) -> Self {
        Self { key, known: Default::default() }
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.key.as_ref().map(Key::id)
    }

    /// Appends the hash of a value; without a key there is none.
    pub(super) fn hash(&mut self, sort: Sort, value: &str, out: &mut String) -> bool {
        let Some(key) = &self.key else { return false };
        let known = &mut self.known[sort as usize];
        if let Some(hash) = known.get(value) {
            out.push_str(hash);
            return true;
        }
        let begin = out.len();
        match sort {
            Sort::Address => {
                let plain = address(value).map(|address| address.to_string());
                key.hash(plain.as_deref().unwrap_or(value).as_bytes(), out);
            }
            Sort::Text => key.hash(value.as_bytes(), out),
            Sort::Typed => {
                let (kind, name) = typed(value);
                out.push_str(kind);
                key.hash(name.as_bytes(), out);
            }
        }
        if value.len() <= LONGEST {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(value.into(), out[begin..].into());
        }
        true
    }

    /// Appends what stands for a text. False: nothing does.
    pub(super) fn text(&mut self, how: &How, sort: Sort, value: &str, out: &mut String) -> bool {
        match how {
            How::Drop => false,
            How::Hash => self.hash(sort, value, out),
            How::Truncate(length) => {
                let (kind, name) = if sort == Sort::Typed { typed(value) } else { ("", value) };
                out.push_str(kind);
                out.extend(name.chars().take(*length));
                out.push('…');
                true
            }
            How::Network(ipv4, ipv6) => {
                let Some(address) = address(value) else { return false };
                let bits = if address.is_ipv4() { *ipv4 } else { *ipv6 };
                let Ok(network) = IpNet::new(address, bits) else { return false };
                out.push_str(&network.trunc().to_string());
                true
            }
        }
    }

    /// What stands for a value of a map; none: nothing does.
    fn value(&mut self, how: &How, sort: Sort, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => {
                let mut out = String::new();
                self.text(how, sort, text, &mut out).then_some(Value::String(out))
            }
            Value::Array(list) => Some(list.iter().filter_map(|one| self.value(how, sort, one)).collect::<Vec<_>>())
                .filter(|list| !list.is_empty())
                .map(Value::Array),
            // Of a number no first characters stay: it is as long as it is great.
            Value::Number(_) | Value::Bool(_) if *how == How::Hash => {
                let mut out = String::new();
                self.hash(Sort::Text, &value.to_string(), &mut out).then_some(Value::String(out))
            }
            _ => None,
        }
    }

    /// Redacts the values of a map; `of` says which: by key, the rule's number, what is done, and to what sort of value.
    /// Returns the rules that found something.
    pub(super) fn map<'r>(&mut self, map: &mut FlatMap, of: impl Fn(&str) -> Option<(u8, &'r How, Sort)>) -> u64 {
        let mut marks = 0;
        for (key, value) in std::mem::take(map) {
            let Some((rule, how, sort)) = of(&key) else {
                map.insert(key, value);
                continue;
            };
            marks |= 1 << rule;
            if let Some(value) = self.value(how, sort, &value) {
                map.insert(key, value);
            }
        }
        marks
    }
}

/// `Type:` and the name. What stands before a `:` is a type where it looks like one, `User` or `ServiceAccount`; else it may
/// be anything off the wire, and is part of the name.
pub(super) fn typed(value: &str) -> (&str, &str) {
    let is_type = |kind: &str| {
        kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|c| c.is_ascii_alphabetic())
    };
    value.split_at(value.find(':').filter(|at| is_type(&value[..*at])).map_or(0, |at| at + 1))
}
