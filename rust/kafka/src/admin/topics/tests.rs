use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use crate::cursor::Stop;
use crate::testing::{NO_ANSWER, encoded, id, read, seen, seen_with, string, topic};
use crate::topics::Topics;

fn creation() -> CreateTopicsRequest {
    let config = CreatableTopicConfig::default().with_name(string("a.setting")).with_value(Some(string("hush")));
    let assigned =
        |at| CreatableReplicaAssignment::default().with_partition_index(at).with_broker_ids(vec![1.into(), 2.into()]);
    CreateTopicsRequest::default().with_topics(vec![
        CreatableTopic::default().with_name(topic("a")).with_num_partitions(3).with_replication_factor(2),
        CreatableTopic::default()
            .with_name(topic("b"))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(vec![config]),
        CreatableTopic::default()
            .with_name(topic("c"))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![assigned(0), assigned(1), assigned(2)]),
    ])
}

#[test]
fn created_topics_have_the_numbers_of_the_answer_where_it_gives_them() {
    for version in 2..=7 {
        let config = CreatableTopicConfigs::default().with_name(string("a.setting")).with_value(Some(string("hush")));
        let mut results = vec![
            CreatableTopicResult::default().with_name(topic("c")).with_error_code(36),
            CreatableTopicResult::default().with_name(topic("b")).with_error_message(None),
            CreatableTopicResult::default()
                .with_name(topic("a"))
                .with_error_code(29)
                .with_error_message(Some(string("hush"))),
        ];
        if version >= 5 {
            let done = &mut results[1];
            (done.num_partitions, done.replication_factor, done.configs) = (12, 3, Some(vec![config]));
            done.topic_config_error_code = 29;
        }
        if version >= 7 {
            results[1].topic_id = id(1);
        }
        let topics = Topics::new(8);
        let answer = CreateTopicsResponse::default().with_topics(results);
        let request = creation().with_validate_only(version == 4);
        let validated = i32::from(version == 4);
        let (numbers, named) = match version {
            2..=4 => ("partitions=-1 replication_factor=-1", ""),
            5..=6 => ("partitions=12 replication_factor=3", ""),
            _ => ("partitions=12 replication_factor=3", " topic_id=AQEBAQEBAQEBAQEBAQEBAQ"),
        };
        assert_eq!(
            vec![
                format!(
                    "CreateTopics denied TopicAuthorizationFailed topic=a partitions=3 replication_factor=2 \
                     validate_only={validated}"
                ),
                format!("CreateTopics success topic=b {numbers}{named} validate_only={validated}"),
                format!(
                    "CreateTopics failure TopicAlreadyExists topic=c partitions=3 replication_factor=2 \
                     validate_only={validated}"
                ),
            ],
            seen_with(&topics, "CreateTopics", version, &request, Some(&answer))
        );
        assert_eq!(usize::from(version >= 7), topics.len());
    }
}

#[test]
fn what_no_answer_speaks_of_went_on_to_the_broker() {
    let forwarded: Vec<_> = [("a", 3, 2), ("b", -1, -1), ("c", 3, 2)]
        .map(|(name, partitions, replicas)| {
            format!(
                "CreateTopics forwarded topic={name} partitions={partitions} replication_factor={replicas} \
                 validate_only=0"
            )
        })
        .into();
    assert_eq!(forwarded, seen("CreateTopics", 7, &creation(), NO_ANSWER));
    assert_eq!(forwarded, seen("CreateTopics", 7, &creation(), Some(&CreateTopicsResponse::default())));
}

#[test]
fn an_answer_that_breaks_off_says_what_it_had_said() {
    let results = ["a", "b", "c"].map(|name| CreatableTopicResult::default().with_name(topic(name)));
    let answer = encoded(&CreateTopicsResponse::default().with_topics(results.into()), 7);
    let request = encoded(&creation(), 7);
    let topics = Topics::new(8);
    let mut answered = 0;
    for len in 0..answer.len() - 1 {
        let (step, seen) = read(&topics, "CreateTopics", 7, &request, Some(&answer[..len]));
        assert_eq!(Err(Stop::Short), step, "{len}");
        let outcomes: Vec<_> = seen.iter().map(|row| row.split(' ').nth(1)).collect();
        answered += usize::from(outcomes.get(answered) == Some(&Some("success")));
        let expected = [[Some("success")].repeat(answered), [Some("forwarded")].repeat(3 - answered)].concat();
        assert_eq!(expected, outcomes, "{len}");
    }
    assert_eq!(3, answered);
}

#[test]
fn deleted_topics_have_both_names_as_far_as_anybody_said_them() {
    let topics = Topics::new(8);
    topics.learn(id(4).as_bytes(), b"d");
    let by_name = |name| DeleteTopicState::default().with_name(Some(topic(name)));
    let by_id = |byte| DeleteTopicState::default().with_name(None).with_topic_id(id(byte));
    let request = DeleteTopicsRequest::default().with_topics(vec![
        by_name("a"),
        by_name("b"),
        by_id(3),
        by_id(4),
        by_id(5),
        by_id(6),
    ]);
    let said = |name: Option<_>, byte, code| {
        let name = name.map(topic);
        DeletableTopicResult::default().with_name(name).with_topic_id(id(byte)).with_error_code(code)
    };
    let answer = DeleteTopicsResponse::default().with_responses(vec![
        said(None, 5, 100),
        said(None, 4, 29),
        said(Some("c"), 3, 0),
        said(Some("b"), 0, 3),
        said(Some("a"), 1, 0),
    ]);
    assert_eq!(
        vec![
            "DeleteTopics success topic=a topic_id=AQEBAQEBAQEBAQEBAQEBAQ",
            "DeleteTopics failure UnknownTopicOrPartition topic=b",
            "DeleteTopics success topic=c topic_id=AwMDAwMDAwMDAwMDAwMDAw",
            "DeleteTopics denied TopicAuthorizationFailed topic=d topic_id=BAQEBAQEBAQEBAQEBAQEBA",
            "DeleteTopics failure UnknownTopicId topic=BQUFBQUFBQUFBQUFBQUFBQ topic_id=BQUFBQUFBQUFBQUFBQUFBQ",
            "DeleteTopics forwarded topic=BgYGBgYGBgYGBgYGBgYGBg topic_id=BgYGBgYGBgYGBgYGBgYGBg",
        ],
        seen_with(&topics, "DeleteTopics", 6, &request, Some(&answer))
    );
}

#[test]
fn older_versions_delete_by_name() {
    for version in 1..=5 {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![topic("a"), topic("b")]);
        let said = |name, code| DeletableTopicResult::default().with_name(Some(topic(name))).with_error_code(code);
        let answer = DeleteTopicsResponse::default().with_responses(vec![said("b", 41), said("a", 0)]);
        assert_eq!(
            vec!["DeleteTopics success topic=a", "DeleteTopics failure NotController topic=b"],
            seen("DeleteTopics", version, &request, Some(&answer))
        );
        assert_eq!(
            vec!["DeleteTopics forwarded topic=a", "DeleteTopics forwarded topic=b"],
            seen("DeleteTopics", version, &request, NO_ANSWER)
        );
    }
}

#[test]
fn more_partitions_are_told_per_topic() {
    for version in 0..=3 {
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![1.into(), 2.into()]);
        let grow = |name, count| CreatePartitionsTopic::default().with_name(topic(name)).with_count(count);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![
                grow("a", 6).with_assignments(Some(vec![assignment])),
                grow("b", 2).with_assignments(None),
                grow("c", 9),
            ])
            .with_validate_only(true);
        let said = |name, code| CreatePartitionsTopicResult::default().with_name(topic(name)).with_error_code(code);
        let answer = CreatePartitionsResponse::default().with_results(vec![said("b", 37), said("a", 0)]);
        assert_eq!(
            vec![
                "CreatePartitions success topic=a partitions=6 validate_only=1",
                "CreatePartitions failure InvalidPartitions topic=b partitions=2 validate_only=1",
                "CreatePartitions forwarded topic=c partitions=9 validate_only=1",
            ],
            seen("CreatePartitions", version, &request, Some(&answer))
        );
    }
}
