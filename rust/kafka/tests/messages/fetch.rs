//! Fetch.

use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId, TopicName};

use super::wire::{ID, Topics, string};

pub(crate) fn ask(version: i16) -> FetchRequest {
    let asked = FetchRequest::default().with_max_wait_ms(100);
    if version >= 7 { asked.with_session_id(9).with_session_epoch(1) } else { asked }
}

/// Partitions with errors and records; with all that an answer may carry besides.
pub(crate) fn brought(version: i16, topics: &Topics<'_, (i32, i16, Vec<u8>)>) -> FetchResponse {
    let partition = |(index, error, records): &(i32, i16, Vec<u8>)| {
        let aborted = |at| AbortedTransaction::default().with_producer_id(ProducerId(at)).with_first_offset(at);
        let mut partition = PartitionData::default()
            .with_partition_index(*index)
            .with_error_code(*error)
            .with_high_watermark(500)
            .with_last_stable_offset(400)
            .with_aborted_transactions(Some((0..i64::from(*index)).map(aborted).collect()))
            .with_records(Some(records.clone().into()));
        if version >= 5 {
            partition = partition.with_log_start_offset(11);
        }
        if version >= 11 {
            partition = partition.with_preferred_read_replica(BrokerId(-1));
        }
        if version >= 12 {
            partition = partition
                .with_diverging_epoch(EpochEndOffset::default().with_epoch(4).with_end_offset(5))
                .with_unknown_tagged_field(99, vec![7; 300].into());
        }
        partition
    };
    let topic = |(name, partitions): &(&str, &[_])| {
        FetchableTopicResponse::default()
            .with_topic(TopicName(string(name)))
            .with_topic_id(ID)
            .with_partitions(partitions.iter().map(partition).collect())
    };
    let mut answer = FetchResponse::default().with_responses(topics.iter().map(topic).collect());
    if version >= 7 {
        answer = answer.with_session_id(9);
    }
    if version < 16 {
        return answer;
    }
    let endpoint = NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(string("b2")).with_port(9092);
    answer.with_node_endpoints(vec![endpoint])
}
