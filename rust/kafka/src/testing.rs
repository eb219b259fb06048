//! For the tests of what reads request and answer: messages as another implementation writes them, and facts as text.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, GroupId, TopicName, TransactionalId};
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

use auditring_event::Kind;
use auditring_event::record::{STATUS, TAP};

use crate::api::How;
use crate::cursor::{Cursor, Step};
use crate::exchange::{Exchange, Page};
use crate::facts::{Fact, Facts, Item};
use crate::topics::Topics;
use crate::wire::Wire;

/// What is no message, where a test sends none.
pub(crate) const NO_ANSWER: Option<&kafka_protocol::messages::RequestHeader> = None;

pub(crate) fn string(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

pub(crate) fn topic(text: &'static str) -> TopicName {
    TopicName(string(text))
}

pub(crate) fn group(text: &'static str) -> GroupId {
    GroupId(string(text))
}

pub(crate) fn transaction(text: &'static str) -> TransactionalId {
    TransactionalId(string(text))
}

/// A topic's id of one repeated byte.
pub(crate) fn id(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

/// The versions of an API that the other implementation knows too.
pub(crate) fn versions(name: &str) -> RangeInclusive<i16> {
    let api = crate::APIS.iter().find(|api| api.name == name).expect("the API is in the table");
    let known = ApiKey::try_from(api.key).expect("the other implementation knows it").valid_versions();
    api.first..=api.last.min(known.max)
}

pub(crate) fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes, version).expect("the version has these fields");
    bytes
}

/// What is seen of a request and its answer.
pub(crate) fn seen(name: &str, version: i16, request: &impl Encodable, answer: Option<&impl Encodable>) -> Vec<String> {
    seen_with(&Topics::new(8), name, version, request, answer)
}

/// The same, where names of ids are shared.
pub(crate) fn seen_with(
    topics: &Topics,
    name: &str,
    version: i16,
    request: &impl Encodable,
    answer: Option<&impl Encodable>,
) -> Vec<String> {
    let answer = answer.map(|answer| encoded(answer, version));
    let (step, seen) = read(topics, name, version, &encoded(request, version), answer.as_deref());
    assert_eq!(Ok(()), step, "{name} {version}");
    seen
}

/// The same for bytes of any kind, and whether they could be read.
pub(crate) fn read(
    topics: &Topics,
    name: &str,
    version: i16,
    request: &[u8],
    answer: Option<&[u8]>,
) -> (Step<()>, Vec<String>) {
    let api = crate::APIS.iter().find(|api| api.name == name).expect("the API is in the table");
    assert!((api.first..=api.last).contains(&version), "{name} {version}");
    let How::Exchange { read, .. } = api.how else { panic!("{name} is read in steps") };
    let flexible = api.is_flexible(version);
    let mut facts = Facts::default();
    let mut exchange = Exchange {
        wire: Wire {
            tap: Some("edge"),
            api: api.name,
            client: 7,
            server: answer.map(|_| 8),
            duration_ns: answer.map(|_| 9),
        },
        version,
        request: Cursor::new(request, flexible),
        answer: answer.map(|answer| Cursor::new(answer, flexible)),
        topics,
        facts: &mut facts,
        page: Page::default(),
    };
    let step = read(&mut exchange);
    let seen = facts.items().iter().map(|item| text(&facts, item, api.name, answer.is_some())).collect();
    (step, seen)
}

/// Action, outcome, status and fields; those of the wire are checked here and left out.
fn text(facts: &Facts, item: &Item, api: &str, answered: bool) -> String {
    let Item::Event(fact) = item else { panic!("{item:?}") };
    let mut fields = fields(facts, fact);
    let mut take = |name: &str| {
        let at = fields.iter().position(|(field, _)| *field == name)?;
        Some(fields.remove(at).1)
    };
    assert_eq!(Some("7"), take("client_correlation_id").as_deref());
    assert_eq!(answered.then_some("8"), take("server_correlation_id").as_deref());
    assert_eq!(answered.then_some("9"), take("duration_ns").as_deref());
    assert_eq!((Some(api), Some("edge")), (take("api").as_deref(), take("tap").as_deref()));
    let mut words = vec![fact.spec.name.to_owned(), fact.outcome.word().to_owned()];
    let named = |(name, value): (&str, String)| if name == "status" { value } else { format!("{name}={value}") };
    words.extend(fields.into_iter().map(named));
    words.join(" ")
}

/// Fields by name, read as the record lays them down: numbers first.
fn fields(facts: &Facts, fact: &Fact) -> Vec<(&'static str, String)> {
    let mut body = facts.body(fact);
    let mut fields = Vec::new();
    let name = |bit: u32| match 1 << bit {
        STATUS => "status",
        TAP => "tap",
        _ => fact.spec.fields[bit as usize].name,
    };
    let bits = (0..32).filter(|bit| fact.presence & 1 << bit != 0);
    let (numbers, strings): (Vec<_>, Vec<_>) =
        bits.partition(|bit| fact.spec.fields.get(*bit as usize).is_some_and(|field| matches!(field.kind, Kind::Int)));
    for bit in numbers {
        let (number, rest) = body.split_first_chunk().expect("a number is there");
        let (number, field) = (i64::from_le_bytes(*number), &fact.spec.fields[bit as usize]);
        assert!((field.min..=field.max).contains(&number), "{} is {number}", field.name);
        fields.push((name(bit), number.to_string()));
        body = rest;
    }
    for bit in strings {
        let (len, rest) = body.split_first_chunk().expect("a length is there");
        let (text, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)));
        fields.push((name(bit), String::from_utf8(text.to_vec()).expect("text is UTF-8")));
        body = rest;
    }
    assert!(body.is_empty());
    // Status first, then in the order of the catalog.
    fields.sort_by_key(|(name, _)| (*name != "status", fact.spec.field(name)));
    fields
}
