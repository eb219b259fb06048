use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::testing::{NO_ANSWER, seen, topic};

#[test]
fn the_last_offset_deleted_is_the_one_before_the_low_watermark() {
    for version in 0..=2 {
        let before = |index, offset| DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset);
        let from = |name, partitions| DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(partitions);
        let request = DeleteRecordsRequest::default().with_topics(vec![
            from("a", vec![before(0, 100), before(1, -1), before(2, 0), before(3, 5)]),
            from("b", vec![before(0, 7), before(1, 8)]),
        ]);
        let low = |index, low, code| {
            DeleteRecordsPartitionResult::default()
                .with_partition_index(index)
                .with_low_watermark(low)
                .with_error_code(code)
        };
        let said =
            |name, partitions| DeleteRecordsTopicResult::default().with_name(topic(name)).with_partitions(partitions);
        let answer = DeleteRecordsResponse::default().with_topics(vec![
            said("b", vec![low(1, -1, 1), low(0, -1, 29)]),
            said("a", vec![low(2, 0, 0), low(1, 5000, 0), low(0, 120, 0)]),
        ]);
        assert_eq!(
            vec![
                "Delete success topic=a partition=0 last_offset=119",
                "Delete success topic=a partition=1 last_offset=4999",
                "Delete success topic=a partition=2",
                "Delete forwarded topic=a partition=3",
                "Delete denied TopicAuthorizationFailed topic=b partition=0",
                "Delete failure OffsetOutOfRange topic=b partition=1",
            ],
            seen("DeleteRecords", version, &request, Some(&answer))
        );
        assert_eq!(6, seen("DeleteRecords", version, &request, NO_ANSWER).len());
    }
}
