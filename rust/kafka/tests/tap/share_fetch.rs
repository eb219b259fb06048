//! ShareFetch: what a member of a share group was given.

use kafka_protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareFetchableTopicResponse,
};
use kafka_protocol::messages::{BrokerId, GroupId, ShareFetchRequest, ShareFetchResponse};
use uuid::Uuid;

use crate::wire::{Connection, answer, batch, request, string};

const ID: Uuid = Uuid::from_u128(0x9770_a24e_a5aa_414a_a65f_b896_d03f_4071);

pub(crate) fn ask() -> ShareFetchRequest {
    ShareFetchRequest::default()
        .with_group_id(Some(GroupId(string("readers"))))
        .with_member_id(Some(string("member")))
        .with_unknown_tagged_field(5, vec![1; 200].into())
}

/// One topic of these partitions, each with its error and records.
pub(crate) fn brought(partitions: &[(i32, i16, Vec<u8>)]) -> ShareFetchResponse {
    let acquired = |at| AcquiredRecords::default().with_first_offset(at).with_last_offset(at).with_delivery_count(1);
    let partition = |(index, error, records): &(i32, i16, Vec<u8>)| {
        PartitionData::default()
            .with_partition_index(*index)
            .with_error_code(*error)
            .with_error_message((*error != 0).then(|| string("no")))
            .with_acknowledge_error_code(3)
            .with_acknowledge_error_message(Some(string("gone")))
            .with_current_leader(LeaderIdAndEpoch::default().with_unknown_tagged_field(4, vec![7; 9].into()))
            .with_records(Some(records.clone().into()))
            .with_acquired_records((0..i64::from(*index)).map(acquired).collect())
            .with_unknown_tagged_field(8, vec![].into())
    };
    let topic = ShareFetchableTopicResponse::default()
        .with_topic_id(ID)
        .with_partitions(partitions.iter().map(partition).collect());
    let endpoint = NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(string("b2")).with_port(9092);
    ShareFetchResponse::default().with_responses(vec![topic]).with_node_endpoints(vec![endpoint])
}

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
