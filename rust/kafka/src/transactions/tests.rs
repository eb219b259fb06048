use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse, add_partitions_to_txn_response as added, describe_producers_response as producers,
    describe_transactions_response as transactions, txn_offset_commit_request as committing,
    txn_offset_commit_response as committed,
};

use crate::testing::{NO_ANSWER, group, read, seen, string, topic, transaction};
use crate::topics::Topics;

fn denied(kind: &str, operation: &str, resource: &str) -> String {
    format!(
        "OperationDenied denied {kind}AuthorizationFailed operation={operation} resource_type={kind} resource={resource}"
    )
}

#[test]
fn a_producer_s_id_is_refused_for_its_transaction_or_for_the_cluster() {
    // This crate knows no version 6, which adds fields behind those that are read.
    for version in 0..=5 {
        let named = InitProducerIdRequest::default().with_transactional_id(Some(transaction("t")));
        let idempotent = InitProducerIdRequest::default().with_transactional_id(None);
        let answer = |code| InitProducerIdResponse::default().with_error_code(code);
        let seen = |request, code| seen("InitProducerId", version, request, Some(&answer(code)));
        assert_eq!(vec![denied("TransactionalId", "WRITE", "t")], seen(&named, 53));
        assert_eq!(vec![denied("Cluster", "IDEMPOTENT_WRITE", "kafka-cluster")], seen(&idempotent, 31));
        assert_eq!(Vec::<String>::new(), seen(&named, 0));
    }
}

#[test]
fn partitions_of_a_transaction_are_refused_by_topic_and_the_transaction_once() {
    let at = |code| added::AddPartitionsToTxnPartitionResult::default().with_partition_error_code(code);
    let of = |name, codes: [i16; 2]| {
        added::AddPartitionsToTxnTopicResult::default()
            .with_name(topic(name))
            .with_results_by_partition(codes.map(at).into())
    };
    for version in 0..=3 {
        let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(transaction("t"));
        let answer = |topics| AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics);
        let seen = |topics| seen("AddPartitionsToTxn", version, &request, Some(&answer(topics)));
        assert_eq!(
            vec![denied("Topic", "WRITE", "a"), denied("Topic", "WRITE", "c")],
            seen(vec![of("a", [29, 29]), of("b", [55, 55]), of("c", [55, 29])])
        );
        assert_eq!(vec![denied("TransactionalId", "WRITE", "t")], seen(vec![of("a", [53, 53]), of("b", [53, 53])]));
    }
    for version in 4..=5 {
        let transactions = |code, topic_code| {
            let of_one = |name, topics| {
                added::AddPartitionsToTxnResult::default()
                    .with_transactional_id(transaction(name))
                    .with_topic_results(topics)
            };
            AddPartitionsToTxnResponse::default().with_error_code(code).with_results_by_transaction(vec![
                of_one("t", vec![of("a", [topic_code, topic_code])]),
                of_one("u", vec![of("a", [29, topic_code])]),
            ])
        };
        let request = AddPartitionsToTxnRequest::default();
        let seen = |answer| seen("AddPartitionsToTxn", version, &request, Some(&answer));
        assert_eq!(
            vec![
                denied("Cluster", "CLUSTER_ACTION", "kafka-cluster"),
                denied("TransactionalId", "WRITE", "t"),
                denied("Topic", "WRITE", "a"),
                denied("TransactionalId", "WRITE", "u"),
            ],
            seen(transactions(31, 53))
        );
        assert_eq!(vec![denied("Topic", "WRITE", "a")], seen(transactions(0, 29)));
    }
}

#[test]
fn the_rest_of_a_transaction_names_what_it_may_not_write_or_read() {
    for version in 0..=4 {
        let request =
            AddOffsetsToTxnRequest::default().with_transactional_id(transaction("t")).with_group_id(group("g"));
        let answer = |code| AddOffsetsToTxnResponse::default().with_error_code(code);
        let seen = |code| seen("AddOffsetsToTxn", version, &request, Some(&answer(code)));
        assert_eq!(vec![denied("TransactionalId", "WRITE", "t")], seen(53));
        assert_eq!(vec![denied("Group", "READ", "g")], seen(30));
    }
    for version in 0..=5 {
        let request = EndTxnRequest::default().with_transactional_id(transaction("t"));
        let answer = EndTxnResponse::default().with_error_code(53);
        assert_eq!(vec![denied("TransactionalId", "WRITE", "t")], seen("EndTxn", version, &request, Some(&answer)));
    }
}

/// A commit of three partitions.
fn commit(generation: i32) -> TxnOffsetCommitRequest {
    let at = |index, offset| {
        committing::TxnOffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(string("hush")))
    };
    let of = |name, partitions| {
        committing::TxnOffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(partitions)
    };
    TxnOffsetCommitRequest::default()
        .with_transactional_id(transaction("t"))
        .with_group_id(group("g"))
        .with_generation_id(generation)
        .with_topics(vec![of("a", vec![at(0, 10), at(1, 0)]), of("b", vec![at(0, 30)])])
}

fn committed(of: Vec<(&'static str, [i16; 2])>) -> TxnOffsetCommitResponse {
    let at = |(index, code): (i32, &i16)| {
        committed::TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(*code)
    };
    let of_one = |(name, codes): (_, [i16; 2])| {
        committed::TxnOffsetCommitResponseTopic::default()
            .with_name(topic(name))
            .with_partitions((0..).zip(&codes).map(at).collect())
    };
    TxnOffsetCommitResponse::default().with_topics(of.into_iter().map(of_one).collect())
}

#[test]
fn a_commit_in_a_transaction_without_a_generation_resets_offsets() {
    // The first versions know none.
    for version in 0..=5 {
        let request = commit(-1);
        let seen = |answer: Option<&_>| seen("TxnOffsetCommit", version, &request, answer);
        assert_eq!(
            vec![
                "ResetOffsets success group_id=g topic=a partition=0 offset=10 transactional_id=t",
                "ResetOffsets failure OffsetMetadataTooLarge group_id=g topic=a partition=1 offset=0 transactional_id=t",
                "ResetOffsets denied TopicAuthorizationFailed group_id=g topic=b partition=0 offset=30 transactional_id=t",
            ],
            seen(Some(&committed(vec![("b", [29, 0]), ("a", [0, 12])])))
        );
        let unanswered = seen(None);
        assert_eq!("ResetOffsets forwarded group_id=g topic=a partition=0 offset=10 transactional_id=t", unanswered[0]);
        assert_eq!(3, unanswered.len());
    }
}

#[test]
fn a_commit_in_a_transaction_by_topic_ids_has_ids_and_the_names_that_are_known() {
    // Version 6, as its schema has it: compact, and each structure ends with a byte for its tagged fields.
    let topics = Topics::new(8);
    topics.learn(&[1; 16], b"a");
    let at = |index: u8, offset: u8| [0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0, offset, 0, 0, 0, 0, 0, 0];
    let of = |topic: u8, partition: &[u8]| [&[topic; 16][..], &[2], partition, &[0]].concat();
    let request = |generation: i32| {
        let who = [&[2, b't', 2, b'g'][..], &[0; 10], &generation.to_be_bytes(), &[1, 0]].concat();
        [&who[..], &[3], &of(1, &at(3, 7)), &of(2, &at(4, 8)), &[0]].concat()
    };
    let said = |index: u8, code: u8| [0, 0, 0, index, 0, code, 0];
    let answer = [&[0, 0, 0, 0, 3][..], &of(2, &said(4, 29)), &of(1, &said(3, 0)), &[0]].concat();
    let read = |generation| read(&topics, "TxnOffsetCommit", 6, &request(generation), Some(&answer));
    let (a, b) = ("AQEBAQEBAQEBAQEBAQEBAQ", "AgICAgICAgICAgICAgICAg");
    let reset = "ResetOffsets success group_id=g topic=a partition=3 offset=7";
    let refused = "ResetOffsets denied TopicAuthorizationFailed group_id=g";
    assert_eq!(
        (
            Ok(()),
            vec![
                format!("{reset} topic_id={a} transactional_id=t"),
                format!("{refused} topic={b} partition=4 offset=8 topic_id={b} transactional_id=t"),
            ]
        ),
        read(-1)
    );
    assert_eq!((Ok(()), vec![denied("Topic", "READ", b)]), read(5));
}

#[test]
fn a_member_s_commit_in_a_transaction_is_an_event_only_where_it_is_refused() {
    for version in 3..=5 {
        let seen = |of| seen("TxnOffsetCommit", version, &commit(0), Some(&committed(of)));
        assert_eq!(vec![denied("Group", "READ", "g")], seen(vec![("a", [30, 30]), ("b", [30, 30])]));
        assert_eq!(vec![denied("Topic", "READ", "b")], seen(vec![("a", [0, 0]), ("b", [29, 29])]));
        assert_eq!(vec![denied("TransactionalId", "WRITE", "t")], seen(vec![("a", [53, 53])]));
        assert_eq!(Vec::<String>::new(), seen(vec![("a", [0, 22])]));
        assert_eq!(Vec::<String>::new(), crate::testing::seen("TxnOffsetCommit", version, &commit(0), NO_ANSWER));
    }
}

#[test]
fn a_refused_look_at_producers_and_transactions_names_them() {
    let producer = producers::ProducerState::default();
    let at = |code| {
        producers::PartitionResponse::default().with_error_code(code).with_active_producers(vec![producer.clone(); 2])
    };
    let of = |name, code| {
        producers::TopicResponse::default().with_name(topic(name)).with_partitions(vec![at(0), at(code), at(code)])
    };
    let answer = DescribeProducersResponse::default().with_topics(vec![of("a", 29), of("b", 3), of("c", 29)]);
    assert_eq!(
        vec![denied("Topic", "READ", "a"), denied("Topic", "READ", "c")],
        seen("DescribeProducers", 0, &DescribeProducersRequest::default(), Some(&answer))
    );
    let topics = transactions::TopicData::default().with_topic(topic("a")).with_partitions(vec![1, 2, 3]);
    let of = |name, code| {
        transactions::TransactionState::default()
            .with_transactional_id(transaction(name))
            .with_transaction_state(string("Ongoing"))
            .with_error_code(code)
            .with_topics(vec![topics.clone(), topics.clone()])
    };
    let answer = DescribeTransactionsResponse::default().with_transaction_states(vec![of("t", 0), of("u", 53)]);
    assert_eq!(
        vec![denied("TransactionalId", "DESCRIBE", "u")],
        seen("DescribeTransactions", 0, &DescribeTransactionsRequest::default(), Some(&answer))
    );
}
