//! Produce: a row for each partition that was written to, as the broker answered.

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::TransactionalId;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use crate::messages::produce::{write, written};
use crate::messages::wire::{Connection, ID_TEXT, answer, batch, message, request, string, versions};

#[test]
fn each_version_has_rows_with_the_offsets_that_the_broker_gave() {
    for version in versions(0) {
        let mut seen = Connection::default();
        let name = if version < 13 { "orders" } else { ID_TEXT };
        let id = if version < 13 { String::new() } else { format!(" topic_id={ID_TEXT}") };
        let asked = write(-1, &[("orders", &[(3, batch(0, 4, 5, 100)), (1, batch(0, 0, 1, 10))])]);
        seen.client(&request(43, version, &asked));
        assert_eq!((Vec::<String>::new(), 1), (seen.events(), seen.tap.in_flight()));
        seen.broker(&answer(43, version, &written(version, &[("orders", &[(3, 0, 1100), (1, 0, 7)])])));
        let row = |partition, first, last, records, bytes| {
            format!(
                "Write success topic={name} partition={partition} first_offset={first} last_offset={last} \
                 client_correlation_id=43 server_correlation_id=43 records={records} bytes={bytes} timed api=Produce{id}"
            )
        };
        assert_eq!(vec![row(3, 1100, 1104, 5, 161), row(1, 7, 7, 1, 71)], seen.events(), "version {version}");
        assert_eq!(0, seen.tap.in_flight());
    }
}

#[test]
fn errors_are_denials_where_the_authorizer_gave_them_and_failures_else() {
    for version in versions(0) {
        let mut seen = Connection::default();
        let asked = write(1, &[("a", &[(0, batch(0, 0, 1, 9)), (1, batch(0, 0, 1, 9)), (2, batch(0, 0, 1, 9))])]);
        seen.client(&request(1, version, &asked));
        seen.broker(&answer(1, version, &written(version, &[("a", &[(0, 29, -1), (1, 6, -1), (2, 0, 5)])])));
        let ends: Vec<_> = seen.events().iter().map(|line| short(line)).collect();
        assert_eq!(
            ["denied TopicAuthorizationFailed", "failure NotLeaderOrFollower", "success"],
            *ends,
            "version {version}"
        );
    }
}

/// Outcome and status of a line.
fn short(line: &str) -> String {
    let outcome = line.split(' ').nth(1).unwrap_or_default();
    line.split_once("status=").map_or(outcome.to_owned(), |(_, status)| format!("{outcome} {status}"))
}

#[test]
fn without_acknowledgement_rows_come_at_once_and_no_answer_is_waited_for() {
    for version in versions(0) {
        let mut seen = Connection::default();
        let asked =
            write(0, &[("a", &[(3, batch(0, 4, 5, 100))])]).with_transactional_id(Some(TransactionalId(string("tx"))));
        seen.client(&request(8, version, &asked));
        let name = if version < 13 { "a" } else { ID_TEXT };
        let id = if version < 13 { String::new() } else { format!(" topic_id={ID_TEXT}") };
        let row = format!(
            "Write forwarded topic={name} partition=3 client_correlation_id=8 records=5 bytes=161 api=Produce \
             transactional_id=tx{id}"
        );
        assert_eq!((vec![row], 0), (seen.events(), seen.tap.in_flight()), "version {version}");
    }
}

#[test]
fn the_answer_may_have_another_order_and_partitions_that_nobody_named() {
    let mut seen = Connection::default();
    let parts = |range: std::ops::Range<i32>| range.map(|at| (at, batch(0, 0, 1, at as usize))).collect::<Vec<_>>();
    let (a, b) = (parts(0..40), parts(5..30));
    seen.client(&request(1, 9, &write(1, &[("a", &a), ("b", &b)])));
    let told = |range: std::ops::Range<i32>| range.rev().map(|at| (at, 0, 100 + i64::from(at))).collect::<Vec<_>>();
    seen.broker(&answer(1, 9, &written(9, &[("b", &told(0..29)), ("c", &told(0..3)), ("a", &told(0..40))])));
    let rows: Vec<String> = seen.events();
    assert_eq!(65, rows.len());
    assert!(rows[0].starts_with("Write success topic=b partition=28 first_offset=128 last_offset=128 "), "{}", rows[0]);
    assert!(rows[63].starts_with("Write success topic=a partition=0 first_offset=100 "), "{}", rows[63]);
    // The one that the answer has nothing of.
    assert!(rows[64].starts_with("Write forwarded topic=b partition=29 client_correlation_id=1 "), "{}", rows[64]);
}

#[test]
fn a_partition_that_is_named_twice_has_two_rows() {
    let mut seen = Connection::default();
    seen.client(&request(1, 9, &write(1, &[("a", &[(0, batch(0, 0, 1, 9)), (0, batch(0, 1, 2, 9))])])));
    seen.broker(&answer(1, 9, &written(9, &[("a", &[(0, 0, 5), (0, 0, 6), (0, 0, 7)])])));
    let records: Vec<_> = seen.events().iter().map(|line| line.contains("first_offset=6 last_offset=7")).collect();
    assert_eq!(vec![false, true], records);
}

#[test]
fn what_got_no_answer_is_forwarded_when_the_connection_ends() {
    let mut seen = Connection::default();
    let asked = write(1, &[("a", &[(0, batch(0, 0, 1, 9)), (1, batch(0, 0, 1, 9))])]);
    seen.client(&request(1, 9, &asked)).client(&request(2, 9, &asked));
    seen.tap.rewrote(2, 900);
    let told = answer(1, 9, &written(9, &[("a", &[(0, 0, 5), (1, 0, 6)])]));
    // It breaks off behind the first partition.
    seen.broker(&told[..told.len() - 20]).close();
    let rows: Vec<_> =
        seen.events().iter().map(|line| line.split(" records").next().unwrap_or("").to_owned()).collect();
    let expected = [
        "Write success topic=a partition=0 first_offset=5 last_offset=5 client_correlation_id=1 server_correlation_id=1",
        "Write forwarded topic=a partition=1 client_correlation_id=1 server_correlation_id=1",
        "Write forwarded topic=a partition=0 client_correlation_id=2 server_correlation_id=900",
        "Write forwarded topic=a partition=1 client_correlation_id=2 server_correlation_id=900",
    ];
    assert_eq!(expected, *rows);
}

#[test]
fn batches_are_read_as_the_encoder_of_another_lays_them_out() {
    let record = |offset: i64| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: 7,
        producer_epoch: 1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_700_000_000_000,
        key: Some(b"key".to_vec().into()),
        value: Some(b"value".to_vec().into()),
        headers: IndexMap::default(),
    };
    let records: Vec<_> = (0..3).map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut bytes = Vec::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a batch");
    let len = bytes.len();
    let mut seen = Connection::default();
    seen.client(&request(1, 9, &write(0, &[("a", &[(0, bytes)])])));
    assert_eq!(
        vec![format!("Write forwarded topic=a partition=0 client_correlation_id=1 records=3 bytes={len} api=Produce")],
        seen.events()
    );
}

#[test]
fn what_the_heads_do_not_say_is_not_guessed() {
    let cases = [
        (message(1, 0, false, 9), Some((1, "first_offset=70 last_offset=70"))),
        ([message(0, 0, false, 9), message(0, 1, false, 9)].concat(), Some((2, "first_offset=70 last_offset=71"))),
        (message(1, 4, true, 9), None),
        (batch(0, -5, 1, 9), None),
        (batch(0, 0, -1, 9), None),
        (vec![9; 100], None),
    ];
    for (records, known) in cases {
        let mut seen = Connection::default();
        let len = records.len();
        seen.client(&request(1, 9, &write(1, &[("a", &[(0, records)])])));
        seen.broker(&answer(1, 9, &written(9, &[("a", &[(0, 0, 70)])])));
        let row = seen.events().remove(0);
        assert!(row.contains(&format!(" bytes={len} ")), "{row}");
        match known {
            Some((records, offsets)) => {
                assert!(row.contains(&format!(" records={records} ")) && row.contains(offsets), "{row}");
            }
            None => assert!(!row.contains(" records=") || !row.contains(" last_offset="), "{row}"),
        }
    }
}
