//! `ShareFetch`: what a member of a share group was given.

use crate::messages::share_fetch::{ask, brought};
use crate::messages::wire::{Connection, answer, batch, request};

#[test]
fn rows_name_the_group_and_the_batches_that_came() {
    let records = [batch(100, 9, 10, 50), batch(110, 0, 1, 5), batch(200, 4, 3, 7)].concat();
    let answered = answer(5, 1, &brought(&[(0, 0, records), (2, 29, vec![]), (3, 0, vec![])]));
    let row = |outcome, partition, values: &str, status| {
        format!(
            "Read {outcome} topic=l3CiTqWqQUqmX7iW0D9AcQ partition={partition}{values}api=ShareFetch group_id=readers \
             topic_id=l3CiTqWqQUqmX7iW0D9AcQ{status}"
        )
    };
    let ids = "client_correlation_id=5 server_correlation_id=5";
    let expected = vec![
        row("success", 0, &format!(" first_offset=100 last_offset=110 {ids} records=11 bytes=177 timed "), ""),
        row("success", 0, &format!(" first_offset=200 last_offset=204 {ids} records=3 bytes=68 timed "), ""),
        row("denied", 2, &format!(" {ids} timed "), " status=TopicAuthorizationFailed"),
    ];
    let asked = request(5, 1, &ask());
    for size in [1, 7, 100_000] {
        let mut seen = Connection::default();
        for chunk in asked.chunks(size) {
            seen.client(chunk);
        }
        for chunk in answered.chunks(size) {
            seen.broker(chunk);
        }
        assert_eq!(expected, seen.events(), "chunks of {size}");
        assert!(!seen.tap.is_opaque());
    }
}
