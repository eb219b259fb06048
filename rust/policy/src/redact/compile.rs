//! Rules over redacted values: an exact value of a hashed field becomes its hash, so that a policy says nothing that its
//! rows do not.

use ipnet::IpNet;
use serde_json::Value;

use super::value::typed;
use super::{Field, Form, How, Key, Redaction, key_id_of};
use crate::facts::address;
use crate::pattern::Pattern;
use crate::policy::{Policy, PolicyError};
use crate::rule::{Names, Peer, Rule};

/// The policy of a log that redacts, or of one of its sinks, as it stands in the journal: `redact` is the log's, in JSON.
///
/// # Errors
/// [`PolicyError`] where a rule asks for what nobody will know any more, or the key is not there.
pub fn compile(policy: &[u8], redact: &[u8], key: Option<&Key>) -> Result<Vec<u8>, PolicyError> {
    let parsed = Policy::parse(policy)?;
    let redact = read_all(serde_json::from_slice(redact)?)?;
    refuse(&parsed.rules, &redact)?;
    let key = match key {
        None if redact.iter().any(|one| one.how == How::Hash) => return Err(PolicyError::Key("is not there")),
        key => key,
    };
    let mut form: Value = serde_json::from_slice(policy)?;
    form["version"] = 3.into();
    if let Some(key) = key {
        for one in form
            .get_mut("redact")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter(|one| one["how"] == "hash")
        {
            one["key_id"] = key.id().into();
        }
        for rule in form.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            for (name, field) in [("principal", Field::Principal), ("resource", Field::Resource), ("peer", Field::Peer)]
            {
                if !redact.iter().any(|one| one.field == field && one.how == How::Hash) {
                    continue;
                }
                if let Some(values) = rule.get_mut(name).and_then(Value::as_array_mut) {
                    let given: Vec<_> = values.drain(..).filter_map(|one| one.as_str().map(str::to_owned)).collect();
                    values.extend(given.iter().flat_map(|one| hashed(&field, one, key)).map(Value::String));
                }
            }
        }
    }
    Ok(serde_json::to_vec(&form)?)
}

/// What a policy redacts, as it stands in the journal; empty where it redacts nothing.
///
/// # Errors
/// [`PolicyError`] where the bytes are no policy.
pub fn redactions(policy: &[u8]) -> Result<String, PolicyError> {
    if Policy::parse(policy)?.redact.is_empty() {
        return Ok(String::new());
    }
    Ok(serde_json::from_slice::<Value>(policy)?["redact"].to_string())
}

/// The patterns that stand for a rule's value.
fn hashed(field: &Field, text: &str, key: &Key) -> Vec<String> {
    if *field == Field::Peer {
        return hashes(field, text.split_once('/').map_or(text, |(one, _)| one), key);
    }
    let pattern = Pattern::new(text);
    hashes(field, pattern.exact().unwrap_or(text), key)
}

/// What stands for a value of a field: one text, or several where it may be meant in several ways, as one with a `:` may
/// be a principal's name or a `Type:name`. What is a hash by this key already stays.
#[must_use]
pub fn hashes(field: &Field, value: &str, key: &Key) -> Vec<String> {
    let hash = |value: &str| {
        if key_id_of(value) == Some(key.id()) {
            return value.to_owned();
        }
        let mut out = String::new();
        key.hash(value.as_bytes(), &mut out);
        out
    };
    match field {
        Field::Peer => vec![hash(&address(value).map_or_else(|| value.to_owned(), |one| one.to_string()))],
        Field::Principal => match typed(value) {
            ("", name) => vec![hash(name)],
            (kind, name) if key_id_of(name) == Some(key.id()) => vec![format!("{kind}{name}")],
            (kind, name) => vec![format!("{kind}{}", hash(name)), hash(value)],
        },
        _ => vec![hash(value)],
    }
}

/// Reads redactions.
pub(crate) fn read_all(forms: Vec<Form>) -> Result<Vec<Redaction>, PolicyError> {
    if forms.len() > super::MOST {
        let why = format!("a policy has at most {}", super::MOST);
        return Err(PolicyError::Redact { at: super::MOST + 1, why });
    }
    let mut all: Vec<Redaction> = Vec::with_capacity(forms.len());
    for (at, form) in forms.into_iter().enumerate() {
        let at = at + 1;
        let one = Redaction::read(form).map_err(|why| PolicyError::Redact { at, why })?;
        if all.iter().any(|other| other.field == one.field) {
            return Err(PolicyError::Redact { at, why: format!("{:?} is redacted already", one.field.name()) });
        }
        all.push(one);
    }
    Ok(all)
}

/// Whether no rule asks for a value that will not be there.
pub(crate) fn refuse(rules: &[Rule], redact: &[Redaction]) -> Result<(), PolicyError> {
    for (at, rule) in rules.iter().enumerate() {
        for one in redact {
            let fine = match one.field {
                Field::Principal => names("principal", rule.principal.as_ref(), &one.how),
                Field::Resource => names("resource", rule.resource.as_ref(), &one.how),
                Field::Peer => peers(rule.peer.as_deref(), &one.how),
                _ => Ok(()),
            };
            fine.map_err(|why| PolicyError::Rule { at: at + 1, why })?;
        }
    }
    Ok(())
}

fn names(what: &str, names: Option<&Names>, how: &How) -> Result<(), String> {
    names.iter().flat_map(|names| &names.0).try_for_each(|pattern| match pattern.exact() {
        Some(_) => exact(what, &pattern.text, how),
        None => Err(format!(
            "{what} is redacted, and {:?} is a pattern over values that nobody will have; {}",
            pattern.text,
            advice(what, how)
        )),
    })
}

fn peers(peers: Option<&[Peer]>, how: &How) -> Result<(), String> {
    peers.into_iter().flatten().try_for_each(|peer| match peer {
        Peer::Within(net) if net.prefix_len() < net.max_prefix_len() => Err(format!(
            "peer is redacted, and {:?} is a network of addresses that nobody will have; {}",
            net.to_string(),
            advice("peer", how)
        )),
        Peer::Within(net) => exact("peer", &IpNet::addr(net).to_string(), how),
        Peer::Hashed(text) => exact("peer", text, how),
    })
}

fn exact(what: &str, value: &str, how: &How) -> Result<(), String> {
    match how {
        How::Hash => Ok(()),
        _ => Err(format!("{what} is dropped or truncated, so no event will say {value:?}; {}", advice(what, how))),
    }
}

fn advice(what: &str, how: &How) -> String {
    match how {
        How::Hash => format!("name exact values, or do not redact {what}"),
        _ => format!("hash it and name exact values, or do not redact {what}"),
    }
}
