use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse, add_partitions_to_txn_response as added, describe_producers_response as producers,
    describe_transactions_response as transactions, txn_offset_commit_response as committed,
};

use crate::testing::{group, seen, string, topic, transaction};

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

        let request =
            TxnOffsetCommitRequest::default().with_transactional_id(transaction("t")).with_group_id(group("g"));
        let at = |code| committed::TxnOffsetCommitResponsePartition::default().with_error_code(code);
        let of = |name, codes: [i16; 2]| {
            committed::TxnOffsetCommitResponseTopic::default()
                .with_name(topic(name))
                .with_partitions(codes.map(at).into())
        };
        let seen = |topics| {
            let answer = TxnOffsetCommitResponse::default().with_topics(topics);
            seen("TxnOffsetCommit", version, &request, Some(&answer))
        };
        assert_eq!(vec![denied("Group", "READ", "g")], seen(vec![of("a", [30, 30]), of("b", [30, 30])]));
        assert_eq!(vec![denied("Topic", "READ", "b")], seen(vec![of("a", [0, 0]), of("b", [29, 29])]));
        assert_eq!(vec![denied("TransactionalId", "WRITE", "t")], seen(vec![of("a", [53, 53])]));
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
