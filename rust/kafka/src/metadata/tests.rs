use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
    describe_topic_partitions_response as partitions,
};

use crate::testing::{id, seen_with, string, topic};
use crate::topics::Topics;

fn denied(resource: &str) -> String {
    format!("OperationDenied denied TopicAuthorizationFailed operation=DESCRIBE resource_type=Topic{resource}")
}

#[test]
fn metadata_teach_the_names_of_ids_and_say_what_may_not_be_seen() {
    for version in 0..=13 {
        let brokers = [1, 2].map(|node| {
            MetadataResponseBroker::default().with_node_id(node.into()).with_host(string("h")).with_rack(None)
        });
        let partition = MetadataResponsePartition::default()
            .with_replica_nodes(vec![1.into(), 2.into()])
            .with_isr_nodes(vec![1.into()])
            .with_offline_replicas(if version >= 5 { vec![2.into()] } else { vec![] });
        let of = |name: Option<&'static str>, byte, code| {
            MetadataResponseTopic::default()
                .with_name(name.or((version < 12).then_some("")).map(topic))
                .with_topic_id(id(if version >= 10 { byte } else { 0 }))
                .with_error_code(code)
                .with_partitions(vec![partition.clone(), partition.clone()])
        };
        let answer = MetadataResponse::default().with_brokers(brokers.into()).with_topics(vec![
            of(Some("a"), 1, 0),
            of(Some("b"), 0, 29),
            of(None, 3, 29),
            of(None, 9, 29),
            of(Some("d"), 4, 3),
        ]);
        let topics = Topics::new(8);
        topics.learn(&[3; 16], b"c");
        let mut expected = vec![denied(" resource=b")];
        match version {
            0..10 => expected.push(denied("")),
            _ => expected.extend([denied(" resource=c"), denied(" resource=CQkJCQkJCQkJCQkJCQkJCQ")]),
        }
        assert_eq!(
            expected,
            seen_with(&topics, "Metadata", version, &MetadataRequest::default(), Some(&answer)),
            "{version}"
        );
        let learnt = topics.name(&[1; 16]).map(|name| name.to_vec());
        assert_eq!((version >= 10).then(|| b"a".to_vec()), learnt);
    }
}

#[test]
fn so_does_the_description_of_a_topic_s_partitions() {
    let partition = partitions::DescribeTopicPartitionsResponsePartition::default()
        .with_replica_nodes(vec![1.into(), 2.into()])
        .with_eligible_leader_replicas(None)
        .with_last_known_elr(Some(vec![3.into()]));
    let of = |name, byte, code| {
        partitions::DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic(name)))
            .with_topic_id(id(byte))
            .with_error_code(code)
            .with_partitions(vec![partition.clone(), partition.clone()])
    };
    let answer = DescribeTopicPartitionsResponse::default().with_topics(vec![of("a", 0, 29), of("b", 2, 0)]);
    let topics = Topics::new(8);
    assert_eq!(
        vec![denied(" resource=a")],
        seen_with(&topics, "DescribeTopicPartitions", 0, &DescribeTopicPartitionsRequest::default(), Some(&answer))
    );
    assert_eq!(Some(&b"b"[..]), topics.name(&[2; 16]).as_deref());
}
