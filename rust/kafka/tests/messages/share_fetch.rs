//! `ShareFetch`.

use kafka_protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareFetchableTopicResponse,
};
use kafka_protocol::messages::{BrokerId, GroupId, ShareFetchRequest, ShareFetchResponse};

use super::wire::{ID, string};

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
