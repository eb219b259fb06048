//! Produce.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, TopicName};

use super::wire::{ID, Topics, string};

/// Topics by their name, or by the one id, each with partitions and their records.
pub(crate) fn write(acks: i16, topics: &Topics<'_, (i32, Vec<u8>)>) -> ProduceRequest {
    let partition = |(index, records): &(i32, Vec<u8>)| {
        PartitionProduceData::default().with_index(*index).with_records(Some(records.clone().into()))
    };
    let topic = |(name, partitions): &(&str, &[_])| {
        TopicProduceData::default()
            .with_name(TopicName(string(name)))
            .with_topic_id(ID)
            .with_partition_data(partitions.iter().map(partition).collect())
    };
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(topics.iter().map(topic).collect())
}

/// Topics, each with partitions, errors and base offsets; with all that an answer may carry besides.
pub(crate) fn written(version: i16, topics: &Topics<'_, (i32, i16, i64)>) -> ProduceResponse {
    let partition = |(index, error, base): &(i32, i16, i64)| {
        let mut partition = PartitionProduceResponse::default()
            .with_index(*index)
            .with_error_code(*error)
            .with_base_offset(*base)
            .with_log_append_time_ms(-1);
        if version >= 5 {
            partition = partition.with_log_start_offset(3);
        }
        if version >= 8 && *error != 0 {
            let fault = |at| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(at)
                    .with_batch_index_error_message(Some(string("bad")))
            };
            partition = partition.with_record_errors(vec![fault(0), fault(1)]).with_error_message(Some(string("no")));
        }
        if version >= 10 && *error != 0 {
            partition = partition
                .with_current_leader(LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(9))
                .with_unknown_tagged_field(77, vec![1, 2, 3].into());
        }
        partition
    };
    let topic = |(name, partitions): &(&str, &[_])| {
        TopicProduceResponse::default()
            .with_name(TopicName(string(name)))
            .with_topic_id(ID)
            .with_partition_responses(partitions.iter().map(partition).collect())
    };
    let answer = ProduceResponse::default().with_responses(topics.iter().map(topic).collect());
    if version < 10 {
        return answer;
    }
    let endpoint = NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(string("b2")).with_port(9092);
    answer.with_node_endpoints(vec![endpoint])
}
