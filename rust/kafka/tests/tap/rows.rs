//! What the rows of the data path share is said anew when it has changed, and only then; and what is off is counted.

use auditring_kafka::{DataOff, Off};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{GroupId, MetadataRequest, MetadataResponse, TopicName, TransactionalId};

use crate::messages::wire::{Connection, ID, ID_TEXT, answer, batch, request, string};
use crate::messages::{fetch, produce, share_fetch};

/// The value of a field of the last row, if it has one.
fn last<'l>(lines: &'l [String], field: &str) -> Option<&'l str> {
    let name = format!("{field}=");
    lines.last()?.split(' ').find_map(|word| word.strip_prefix(name.as_str()))
}

#[test]
fn a_row_names_the_transaction_of_its_own_request() {
    let mut seen = Connection::default();
    for transaction in [None, Some("one"), Some("two"), Some("two"), None] {
        for acks in [-1, 0] {
            let named = transaction.map(|name| TransactionalId(string(name)));
            let asked = produce::write(acks, &[("a", &[(0, batch(0, 0, 1, 9))])]).with_transactional_id(named);
            seen.client(&request(7, 12, &asked));
            if acks != 0 {
                seen.broker(&answer(7, 12, &produce::written(12, &[("a", &[(0, 0, 5)])])));
            }
            let rows = seen.events();
            assert_eq!((1, transaction), (rows.len(), last(&rows, "transactional_id")), "acks {acks}");
        }
    }
}

#[test]
fn a_row_names_the_group_of_its_own_request() {
    let mut seen = Connection::default();
    for group in ["one", "two", "two"] {
        let asked = share_fetch::ask().with_group_id(Some(GroupId(string(group))));
        seen.client(&request(5, 1, &asked));
        seen.broker(&answer(5, 1, &share_fetch::brought(&[(0, 0, batch(0, 0, 1, 9))])));
        assert_eq!(Some(group), last(&seen.events(), "group_id"));
    }
}

#[test]
fn a_topic_has_the_name_that_was_told_last_before_its_message() {
    let mut seen = Connection::default();
    for (told, name) in [(None, ID_TEXT), (Some("orders"), "orders"), (Some("renamed"), "renamed"), (None, "renamed")] {
        if let Some(told) = told {
            let topic = MetadataResponseTopic::default().with_name(Some(TopicName(string(told)))).with_topic_id(ID);
            seen.client(&request(1, 12, &MetadataRequest::default()));
            seen.broker(&answer(1, 12, &MetadataResponse::default().with_topics(vec![topic])));
        }
        seen.client(&request(5, 13, &fetch::ask(13)));
        seen.broker(&answer(5, 13, &fetch::brought(13, &[("", &[(0, 0, batch(0, 0, 1, 0))])])));
        seen.client(&request(6, 13, &produce::write(1, &[("", &[(0, batch(0, 0, 1, 9))])])));
        seen.broker(&answer(6, 13, &produce::written(13, &[("", &[(0, 0, 5)])])));
        let rows = seen.events();
        for row in 1..=2 {
            assert_eq!((Some(name), Some(ID_TEXT)), (last(&rows[..row], "topic"), last(&rows[..row], "topic_id")));
        }
    }
}

#[test]
fn a_name_and_an_id_that_alternate_are_told_apart() {
    let mut seen = Connection::default();
    for version in [12, 13, 12, 12, 13] {
        seen.client(&request(5, version, &fetch::ask(version)));
        seen.broker(&answer(5, version, &fetch::brought(version, &[(ID_TEXT, &[(0, 0, batch(0, 0, 1, 0))])])));
        let rows = seen.events();
        assert_eq!(
            (Some(ID_TEXT), (version == 13).then_some(ID_TEXT)),
            (last(&rows, "topic"), last(&rows, "topic_id"))
        );
    }
}

#[test]
fn what_is_off_is_counted_and_what_was_refused_is_told_all_the_same() {
    let mut seen = Connection::default();
    seen.facts.off = Off { reads: true, writes: true, forwarded: true };
    let parts = [(0, batch(0, 0, 1, 9)), (1, batch(0, 0, 1, 9)), (2, batch(0, 0, 1, 9))];
    let mut total = DataOff::default();
    for (asked, answered) in [
        (
            request(1, 12, &fetch::ask(12)),
            answer(1, 12, &fetch::brought(12, &[("a", &[(0, 0, batch(0, 0, 1, 9)), (1, 29, vec![])])])),
        ),
        (
            request(2, 12, &produce::write(-1, &[("a", &parts)])),
            answer(2, 12, &produce::written(12, &[("a", &[(0, 0, 5), (1, 29, -1)])])),
        ),
        (request(3, 12, &produce::write(0, &[("a", &parts)])), Vec::new()),
    ] {
        for (side, bytes) in [(0, asked), (1, answered)] {
            let taken = match side {
                0 => seen.tap.from_client(&bytes, &mut seen.facts),
                _ => seen.tap.from_broker(&bytes, &mut seen.facts),
            };
            assert_eq!(bytes.len(), taken);
            let DataOff { reads, writes, forwarded } = seen.facts.data_off;
            total = DataOff {
                reads: total.reads + reads,
                writes: total.writes + writes,
                forwarded: total.forwarded + forwarded,
            };
            seen.client(&[]);
        }
    }
    // The third partition of the Produce got no answer, and the three of the last one wanted none.
    assert_eq!(DataOff { reads: 1, writes: 1, forwarded: 4 }, total);
    assert_eq!(DataOff::default(), seen.facts.data_off);
    let rows: Vec<_> = seen.events().iter().map(|row| row.split(" topic").next().map(str::to_owned)).collect();
    assert_eq!([Some("Read denied".to_owned()), Some("Write denied".to_owned())], *rows);
}
