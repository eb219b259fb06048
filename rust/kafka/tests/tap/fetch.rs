//! Fetch: a row for each contiguous range of the batches that a client was given.

use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};

use crate::messages::fetch::{ask, brought};
use crate::messages::wire::{Connection, ID, ID_TEXT, answer, batch, message, request, string, versions};

#[test]
fn each_version_has_a_row_for_each_contiguous_range() {
    for version in versions(1) {
        let records = [batch(100, 9, 10, 50), batch(110, 0, 1, 5), batch(200, 4, 3, 7)].concat();
        let partial = [batch(0, 1, 2, 3), batch(2, 5, 6, 40)[..70].to_vec()].concat();
        let mut seen = Connection::default();
        seen.client(&request(5, version, &ask(version)));
        seen.broker(&answer(
            5,
            version,
            &brought(version, &[("orders", &[(0, 0, records), (2, 0, partial), (3, 0, vec![])])]),
        ));
        let (name, id) =
            if version < 13 { ("orders", String::new()) } else { (ID_TEXT, format!(" topic_id={ID_TEXT}")) };
        let row = |partition, first, last, records, bytes, start: &str| {
            let start = if version >= 5 { start } else { "" };
            format!(
                "Read success topic={name} partition={partition} first_offset={first} last_offset={last} \
                 client_correlation_id=5 server_correlation_id=5 records={records} bytes={bytes} timed api=Fetch{id}{start}"
            )
        };
        let expected = vec![
            row(0, 100, 110, 11, 177, " log_start_offset=11"),
            row(0, 200, 204, 3, 68, ""),
            row(2, 0, 1, 2, 64, " log_start_offset=11"),
        ];
        assert_eq!(expected, seen.events(), "version {version}");
    }
}

#[test]
fn the_log_start_is_noted_on_the_first_read_of_a_partition_alone() {
    let mut seen = Connection::default();
    let mut noted = |topic: &str, partition: i32, error: i16| {
        seen.client(&request(5, 12, &ask(12)));
        seen.broker(&answer(5, 12, &brought(12, &[(topic, &[(partition, error, batch(0, 0, 1, 0))])])));
        seen.events().iter().any(|line| line.contains("log_start_offset"))
    };
    let asked = [("a", 0, 0), ("a", 0, 0), ("a", 1, 0), ("b", 0, 0), ("a", 1, 0), ("b", 0, 0)];
    assert_eq!(
        [true, false, true, true, false, false],
        asked.map(|(topic, partition, error)| noted(topic, partition, error))
    );
}

#[test]
fn errors_of_partitions_are_rows_without_offsets() {
    for version in versions(1) {
        let mut seen = Connection::default();
        seen.client(&request(5, version, &ask(version)));
        seen.broker(&answer(5, version, &brought(version, &[("a", &[(0, 29, vec![]), (1, 1, vec![])])])));
        let (name, id) = if version < 13 { ("a", String::new()) } else { (ID_TEXT, format!(" topic_id={ID_TEXT}")) };
        let row = |outcome, partition, status| {
            format!(
                "Read {outcome} topic={name} partition={partition} client_correlation_id=5 server_correlation_id=5 timed \
                 api=Fetch{id} status={status}"
            )
        };
        let expected = [row("denied", 0, "TopicAuthorizationFailed"), row("failure", 1, "OffsetOutOfRange")];
        assert_eq!(expected, *seen.events(), "version {version}");
    }
}

#[test]
fn what_the_old_formats_do_not_say_is_not_guessed() {
    let cases = [
        (
            [message(1, 7, false, 9), message(1, 8, false, 9)].concat(),
            vec!["first_offset=7 last_offset=8 records=2 bytes=86"],
        ),
        (
            [message(0, 7, false, 9), message(1, 12, true, 9), batch(13, 1, 2, 0)].concat(),
            vec![
                "first_offset=7 last_offset=7 records=1 bytes=35",
                "last_offset=12 bytes=43",
                "first_offset=13 last_offset=14 records=2 bytes=61",
            ],
        ),
        (
            [batch(3, 0, 1, 0), vec![0xFF; 90]].concat(),
            vec!["first_offset=3 last_offset=3 records=1 bytes=61", "bytes=90"],
        ),
        ([batch(3, 0, 1, 0), vec![0xFF; 16]].concat(), vec!["first_offset=3 last_offset=3 records=1 bytes=61"]),
        (batch(i64::MAX, 1, 1, 0), vec!["records=1 bytes=61"]),
    ];
    for (records, expected) in cases {
        let mut seen = Connection::default();
        seen.client(&request(5, 4, &ask(4)));
        seen.broker(&answer(5, 4, &brought(4, &[("a", &[(0, 0, records)])])));
        let keep =
            |part: &&str| ["first_offset", "last_offset", "records", "bytes"].iter().any(|key| part.starts_with(key));
        let rows: Vec<_> =
            seen.events().iter().map(|line| line.split(' ').filter(keep).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(expected, rows);
    }
}

#[test]
fn what_an_answer_brought_before_it_broke_off_was_read() {
    let mut seen = Connection::default();
    seen.client(&request(5, 12, &ask(12)));
    let bytes = answer(5, 12, &brought(12, &[("a", &[(0, 0, [batch(0, 4, 5, 100), batch(5, 0, 1, 400)].concat())])]));
    seen.broker(&bytes[..bytes.len() - 500]);
    assert_eq!(Vec::<String>::new(), seen.events());
    let rows = seen.close().events();
    assert!(rows.len() == 1 && rows[0].contains("first_offset=0 last_offset=5 "), "{rows:?}");
}

#[test]
fn a_topic_goes_by_the_name_that_metadata_gave_its_id() {
    let mut seen = Connection::default();
    seen.client(&request(1, 12, &MetadataRequest::default()));
    let topic = MetadataResponseTopic::default().with_name(Some(TopicName(string("orders")))).with_topic_id(ID);
    seen.broker(&answer(1, 12, &MetadataResponse::default().with_topics(vec![topic])));
    assert_eq!(1, seen.topics.len());
    seen.client(&request(5, 13, &ask(13)));
    seen.broker(&answer(5, 13, &brought(13, &[("", &[(0, 0, batch(0, 0, 1, 0))])])));
    let row = seen.events().remove(0);
    assert!(
        row.starts_with("Read success topic=orders partition=0 ") && row.contains(" topic_id=l3CiTqWqQUqmX7iW0D9AcQ "),
        "{row}"
    );
}
