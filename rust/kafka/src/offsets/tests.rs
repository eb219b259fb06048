use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetFetchRequest, OffsetFetchResponse,
    alter_share_group_offsets_request as alter, alter_share_group_offsets_response as altered,
    delete_share_group_offsets_request as delete, delete_share_group_offsets_response as deleted,
    list_offsets_response as listed, offset_fetch_request as fetch, offset_fetch_response as fetched,
};

use crate::testing::{NO_ANSWER, group, id, read, seen, seen_with, string, topic, versions};
use crate::topics::Topics;

/// Commits of three partitions, in a version that this crate knows.
fn commit(generation: i32, member: &'static str) -> OffsetCommitRequest {
    let at = |index, offset| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(string("hush")))
    };
    let of = |name, partitions| OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(partitions);
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(string(member))
        .with_topics(vec![of("a", vec![at(0, 10), at(1, 0)]), of("b", vec![at(0, 30)])])
}

fn committed(a: [i16; 2], b: i16) -> OffsetCommitResponse {
    let at = |index, code| OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code);
    let of = |name, partitions| OffsetCommitResponseTopic::default().with_name(topic(name)).with_partitions(partitions);
    OffsetCommitResponse::default().with_topics(vec![of("b", vec![at(0, b)]), of("a", vec![at(1, a[1]), at(0, a[0])])])
}

#[test]
fn a_commit_without_a_generation_resets_offsets() {
    for version in 2..=9 {
        for member in ["", "no member of any generation"] {
            assert_eq!(
                vec![
                    "ResetOffsets success group_id=g topic=a partition=0 offset=10",
                    "ResetOffsets failure OffsetMetadataTooLarge group_id=g topic=a partition=1 offset=0",
                    "ResetOffsets denied TopicAuthorizationFailed group_id=g topic=b partition=0 offset=30",
                ],
                seen("OffsetCommit", version, &commit(-1, member), Some(&committed([0, 12], 29)))
            );
        }
        let unanswered = seen("OffsetCommit", version, &commit(-1, ""), NO_ANSWER);
        assert_eq!("ResetOffsets forwarded group_id=g topic=a partition=0 offset=10", unanswered[0]);
        assert_eq!(3, unanswered.len());
    }
}

#[test]
fn a_member_s_commit_is_an_event_only_where_it_is_refused() {
    for version in 2..=9 {
        let refused = |answer| seen("OffsetCommit", version, &commit(5, "m"), Some(&answer));
        assert_eq!(Vec::<String>::new(), refused(committed([0, 22], 0)));
        assert_eq!(
            vec![
                "OperationDenied denied TopicAuthorizationFailed operation=READ resource_type=Topic resource=b",
                "OperationDenied denied TopicAuthorizationFailed operation=READ resource_type=Topic resource=a",
            ],
            refused(committed([29, 29], 29))
        );
        assert_eq!(
            vec!["OperationDenied denied GroupAuthorizationFailed operation=READ resource_type=Group resource=g"],
            refused(committed([30, 30], 30))
        );
        assert_eq!(Vec::<String>::new(), seen("OffsetCommit", version, &commit(0, "m"), NO_ANSWER));
    }
}

#[test]
fn a_commit_by_topic_ids_has_ids_and_the_names_that_are_known() {
    // Version 10, as its schema has it: compact, and each structure ends with a byte for its tagged fields.
    let topics = Topics::new(8);
    topics.learn(&[1; 16], b"a");
    let partition = |index: u8, offset: u8| [0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0, offset, 0, 0, 0, 0, 0, 0];
    let known = [&[1; 16][..], &[2], &partition(0, 10), &[0]].concat();
    let unknown = [&[2; 16][..], &[2], &partition(3, 11), &[0]].concat();
    let generation = |member: u8| [&b"\x02g"[..], &[if member == 0 { 0xFF } else { 0 }; 4], &[1, 0]].concat();
    let request = |member| [&generation(member)[..], &[3], &known, &unknown, &[0]].concat();
    let said = |byte: u8, index: u8, code: u8| [&[byte; 16][..], &[2, 0, 0, 0, index, 0, code, 0, 0]].concat();
    let answer = |code| [&[0, 0, 0, 0, 3][..], &said(2, 3, code), &said(1, 0, 0), &[0]].concat();
    assert_eq!(
        (
            Ok(()),
            vec![
                "ResetOffsets success group_id=g topic=a partition=0 offset=10 topic_id=AQEBAQEBAQEBAQEBAQEBAQ".into(),
                "ResetOffsets failure UnknownTopicId group_id=g topic=AgICAgICAgICAgICAgICAg partition=3 offset=11 \
                 topic_id=AgICAgICAgICAgICAgICAg"
                    .into(),
            ]
        ),
        read(&topics, "OffsetCommit", 10, &request(0), Some(&answer(100)))
    );
    assert_eq!(
        (
            Ok(()),
            vec![
                "OperationDenied denied TopicAuthorizationFailed operation=READ resource_type=Topic \
                 resource=AgICAgICAgICAgICAgICAg"
                    .into()
            ]
        ),
        read(&topics, "OffsetCommit", 10, &request(1), Some(&answer(29)))
    );
}

#[test]
fn deleted_offsets_are_reset_to_nothing() {
    let of = |name, indexes: &[i32]| {
        let at = |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
        let partitions = indexes.iter().map(at).collect();
        OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(partitions)
    };
    let request =
        OffsetDeleteRequest::default().with_group_id(group("g")).with_topics(vec![of("a", &[0, 1]), of("b", &[2])]);
    let at = |index, code| OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code);
    let said = OffsetDeleteResponseTopic::default().with_name(topic("a")).with_partitions(vec![at(1, 86), at(0, 0)]);
    let answer = OffsetDeleteResponse::default().with_topics(vec![said]);
    assert_eq!(
        vec![
            "ResetOffsets success group_id=g topic=a partition=0",
            "ResetOffsets failure GroupSubscribedToTopic group_id=g topic=a partition=1",
            "ResetOffsets forwarded group_id=g topic=b partition=2",
        ],
        seen("OffsetDelete", 0, &request, Some(&answer))
    );
    let answer = OffsetDeleteResponse::default().with_error_code(30);
    assert_eq!(
        [("a", 0), ("a", 1), ("b", 2)]
            .map(|(name, index)| {
                format!("ResetOffsets denied GroupAuthorizationFailed group_id=g topic={name} partition={index}")
            })
            .to_vec(),
        seen("OffsetDelete", 0, &request, Some(&answer))
    );
}

#[test]
fn positions_of_share_groups_are_reset_too() {
    let at = |index, offset| {
        alter::AlterShareGroupOffsetsRequestPartition::default().with_partition_index(index).with_start_offset(offset)
    };
    let of = alter::AlterShareGroupOffsetsRequestTopic::default()
        .with_topic_name(topic("a"))
        .with_partitions(vec![at(0, 5), at(1, 6)]);
    let request = AlterShareGroupOffsetsRequest::default().with_group_id(group("g")).with_topics(vec![of]);
    let done = altered::AlterShareGroupOffsetsResponsePartition::default().with_error_message(None);
    let said = altered::AlterShareGroupOffsetsResponseTopic::default()
        .with_topic_name(topic("a"))
        .with_topic_id(id(1))
        .with_partitions(vec![done]);
    let answer = AlterShareGroupOffsetsResponse::default().with_error_message(None).with_responses(vec![said]);
    assert_eq!(
        vec![
            "ResetOffsets success group_id=g topic=a partition=0 offset=5 topic_id=AQEBAQEBAQEBAQEBAQEBAQ",
            "ResetOffsets forwarded group_id=g topic=a partition=1 offset=6",
        ],
        seen("AlterShareGroupOffsets", 0, &request, Some(&answer))
    );

    let of = |name| delete::DeleteShareGroupOffsetsRequestTopic::default().with_topic_name(topic(name));
    let request =
        DeleteShareGroupOffsetsRequest::default().with_group_id(group("g")).with_topics(vec![of("a"), of("b")]);
    let said = |name, code| {
        deleted::DeleteShareGroupOffsetsResponseTopic::default().with_topic_name(topic(name)).with_error_code(code)
    };
    let answer = DeleteShareGroupOffsetsResponse::default().with_responses(vec![said("b", 29), said("a", 0)]);
    assert_eq!(
        vec![
            "ResetOffsets success group_id=g topic=a",
            "ResetOffsets denied TopicAuthorizationFailed group_id=g topic=b",
        ],
        seen("DeleteShareGroupOffsets", 0, &request, Some(&answer))
    );
}

#[test]
fn a_refused_look_at_offsets_is_told_once_a_topic() {
    for version in versions("ListOffsets") {
        let at = |code| listed::ListOffsetsPartitionResponse::default().with_error_code(code);
        let of = |name, codes: [i16; 2]| {
            listed::ListOffsetsTopicResponse::default().with_name(topic(name)).with_partitions(codes.map(at).into())
        };
        let answer =
            ListOffsetsResponse::default().with_topics(vec![of("a", [29, 29]), of("b", [0, 3]), of("c", [0, 29])]);
        let row = |name| {
            format!(
                "OperationDenied denied TopicAuthorizationFailed operation=DESCRIBE resource_type=Topic resource={name}"
            )
        };
        assert_eq!(
            vec![row("a"), row("c")],
            seen("ListOffsets", version, &ListOffsetsRequest::default(), Some(&answer))
        );
    }
}

#[test]
fn refused_fetches_of_offsets_name_group_or_topic() {
    let topics = Topics::new(8);
    topics.learn(id(1).as_bytes(), b"a");
    let rows = [
        "OperationDenied denied TopicAuthorizationFailed operation=DESCRIBE resource_type=Topic resource=a",
        "OperationDenied denied GroupAuthorizationFailed operation=DESCRIBE resource_type=Group resource=g",
    ];
    for version in 1..=7 {
        let at = |code| fetched::OffsetFetchResponsePartition::default().with_metadata(None).with_error_code(code);
        // Version 1 has no error of its own for the group.
        let second = if version == 1 { 30 } else { 0 };
        let of = fetched::OffsetFetchResponseTopic::default().with_name(topic("a")).with_partitions(vec![
            at(29),
            at(second),
            at(29),
        ]);
        let mut answer = OffsetFetchResponse::default().with_topics(vec![of]);
        answer.error_code = if version == 1 { 0 } else { 30 };
        let request = OffsetFetchRequest::default().with_group_id(group("g"));
        assert_eq!(rows.to_vec(), seen("OffsetFetch", version, &request, Some(&answer)));
    }
    // That crate's request has no version 10.
    for version in 8..=9 {
        let at = |code| fetched::OffsetFetchResponsePartitions::default().with_metadata(None).with_error_code(code);
        let mut of = fetched::OffsetFetchResponseTopics::default().with_partitions(vec![at(0), at(29)]);
        (of.name, of.topic_id) = if version < 10 { (topic("a"), id(0)) } else { (topic(""), id(1)) };
        let open = fetched::OffsetFetchResponseGroup::default().with_group_id(group("o")).with_topics(vec![of]);
        let closed = fetched::OffsetFetchResponseGroup::default().with_group_id(group("g")).with_error_code(30);
        let answer = OffsetFetchResponse::default().with_groups(vec![open, closed]);
        let asked = ["o", "g"].map(|name| fetch::OffsetFetchRequestGroup::default().with_group_id(group(name)));
        let request = OffsetFetchRequest::default().with_groups(asked.into());
        assert_eq!(rows.to_vec(), seen_with(&topics, "OffsetFetch", version, &request, Some(&answer)));
    }
}
