//! An exchange that names very many resources, or is refused for very many: each has its event, and what waits to be taken out stays small.

use std::sync::Arc;

use auditring_kafka::{Facts, Item, Tap, Topics};

const PARTITIONS: i32 = 200_000;
/// What a page holds, and one event beyond it.
const MOST: usize = 8 * 1024 * 1024 + 8 * 1024;

fn text(bytes: &mut Vec<u8>, len: u16) {
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(len), b'x');
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// `OffsetDelete`, version 0, of one topic's partitions; names as long as Kafka would never take them.
fn request() -> Vec<u8> {
    let mut body = vec![0, 47, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF];
    text(&mut body, 1024);
    body.extend_from_slice(&1i32.to_be_bytes());
    text(&mut body, 1024);
    body.extend_from_slice(&PARTITIONS.to_be_bytes());
    (0..PARTITIONS).for_each(|index| body.extend_from_slice(&index.to_be_bytes()));
    framed(&body)
}

/// Takes out what is there and counts it, for as long as there is more.
fn drain(facts: &mut Facts, mut more: impl FnMut(&mut Facts) -> bool) -> usize {
    let mut seen = 0;
    loop {
        let done = more(facts);
        let bytes: usize = facts
            .items()
            .iter()
            .map(|item| if let Item::Event(fact) = item { facts.body(fact).len() } else { 0 })
            .sum();
        assert!(bytes <= MOST, "{bytes}");
        seen += facts.items().len();
        facts.clear();
        if done {
            return seen;
        }
    }
}

fn shown() -> (Tap, Facts) {
    let (mut tap, mut facts) = (Tap::new(None, Arc::new(Topics::new(9))), Facts::default());
    let request = request();
    assert_eq!(request.len(), tap.from_client(&request, &mut facts));
    facts.clear();
    (tap, facts)
}

#[test]
fn every_resource_of_an_answered_request_is_told_once() {
    let (mut tap, mut facts) = shown();
    // No error, no throttling, and nothing said of any partition; then the answer to nothing that ends the reading.
    let answer = framed(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut rest = &answer[..];
    let told = drain(&mut facts, |facts| {
        rest = &rest[tap.from_broker(rest, facts)..];
        rest.is_empty() && !tap.has_more()
    });
    assert_eq!(PARTITIONS as usize, told);
    assert_eq!(0, tap.in_flight());
    assert!(drain(&mut facts, |facts| tap.close(facts)) == 0);
}

#[test]
fn every_resource_of_an_unanswered_request_is_told_once() {
    let (mut tap, mut facts) = shown();
    assert_eq!(PARTITIONS as usize, drain(&mut facts, |facts| tap.close(facts)));
}

#[test]
fn a_connection_that_ends_between_two_pages_loses_none() {
    let (mut tap, mut facts) = shown();
    let answer = framed(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answer.len(), tap.from_broker(&answer, &mut facts));
    assert!(tap.has_more());
    let first = facts.items().len();
    facts.clear();
    assert_eq!(PARTITIONS as usize, first + drain(&mut facts, |facts| tap.close(facts)));
}

#[test]
fn every_refusal_of_an_answer_is_told_once() {
    let (mut tap, mut facts) = (Tap::new(None, Arc::new(Topics::new(9))), Facts::default());
    // `Metadata`, version 0, of all topics; each is refused, and each twice.
    let request = framed(&[0, 3, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF, 0, 0, 0, 0]);
    assert_eq!(request.len(), tap.from_client(&request, &mut facts));
    let count = 200_000u32;
    let mut answer = [&[0, 0, 0, 1, 0, 0, 0, 0][..], &(2 * count).to_be_bytes()].concat();
    for at in (0..count).chain(0..count) {
        let name = format!("{at:06}");
        answer.extend([&[0, 29, 0, 6], name.as_bytes(), &[0; 4]].concat());
    }
    let answer = framed(&answer);
    let mut rest = &answer[..];
    let told = drain(&mut facts, |facts| {
        rest = &rest[tap.from_broker(rest, facts)..];
        rest.is_empty() && !tap.has_more()
    });
    assert_eq!(count as usize, told);
}

#[test]
fn what_has_an_event_for_each_name_is_kept_up_to_a_mebibyte() {
    // Users of version 0, and owners of version 1; both ask about names, and change nothing.
    for (head, name) in [
        (&[0, 50, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF, 0][..], &[2, b'u', 0][..]),
        (&[0, 41, 0, 1, 0, 0, 0, 1, 0xFF, 0xFF], &[0, 1, b'U', 0, 1, b'u']),
    ] {
        let (mut tap, mut facts) = (Tap::new(None, Arc::new(Topics::new(9))), Facts::default());
        let request = framed(&[head, &name.repeat(400_000)].concat());
        assert_eq!(request.len(), tap.from_client(&request, &mut facts));
        let [Item::Event(blind)] = facts.items() else { panic!("{:?}", facts.items()) };
        assert_eq!("auditring.TapBlind", blind.spec.name);
    }
}
