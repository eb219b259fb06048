use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ShareAcknowledgeRequest,
    ShareAcknowledgeResponse, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, SyncGroupRequest,
    SyncGroupResponse, consumer_group_describe_response as consumers, delete_groups_response as deleted,
    describe_groups_response as described, find_coordinator_response as found, share_acknowledge_response as shared,
};

use crate::testing::{NO_ANSWER, group, id, seen, seen_with, string, topic, versions};
use crate::topics::Topics;

fn denied(code: &str, operation: &str, kind: &str, resource: &str) -> String {
    format!("OperationDenied denied {code} operation={operation} resource_type={kind} resource={resource}")
}

fn group_denied(operation: &str, name: &str) -> String {
    denied("GroupAuthorizationFailed", operation, "Group", name)
}

#[test]
fn what_a_member_may_not_do_names_the_group() {
    let row = vec![group_denied("READ", "g")];
    for version in 0..=9 {
        let request = JoinGroupRequest::default().with_group_id(group("g"));
        let answer = JoinGroupResponse::default().with_error_code(30).with_protocol_name(Some(string("")));
        assert_eq!(row, seen("JoinGroup", version, &request, Some(&answer)));
        let answer = JoinGroupResponse::default().with_error_code(79).with_protocol_name(Some(string("")));
        assert_eq!(Vec::<String>::new(), seen("JoinGroup", version, &request, Some(&answer)));
        assert_eq!(Vec::<String>::new(), seen("JoinGroup", version, &request, NO_ANSWER));
    }
    for version in 0..=4 {
        let request = HeartbeatRequest::default().with_group_id(group("g"));
        assert_eq!(row, seen("Heartbeat", version, &request, Some(&HeartbeatResponse::default().with_error_code(30))));
    }
    for version in 0..=5 {
        let request = LeaveGroupRequest::default().with_group_id(group("g"));
        assert_eq!(
            row,
            seen("LeaveGroup", version, &request, Some(&LeaveGroupResponse::default().with_error_code(30)))
        );
        let request = SyncGroupRequest::default().with_group_id(group("g"));
        assert_eq!(row, seen("SyncGroup", version, &request, Some(&SyncGroupResponse::default().with_error_code(30))));
    }
    for version in 0..=1 {
        let request = ConsumerGroupHeartbeatRequest::default().with_group_id(group("g"));
        let answer = |code| ConsumerGroupHeartbeatResponse::default().with_error_code(code);
        assert_eq!(row, seen("ConsumerGroupHeartbeat", version, &request, Some(&answer(30))));
        // One of its topics; which, nobody says.
        assert_eq!(
            vec!["OperationDenied denied TopicAuthorizationFailed operation=DESCRIBE resource_type=Topic"],
            seen("ConsumerGroupHeartbeat", version, &request, Some(&answer(29)))
        );
    }
    let request = ShareGroupHeartbeatRequest::default().with_group_id(group("g"));
    let answer = ShareGroupHeartbeatResponse::default().with_error_code(30);
    assert_eq!(row, seen("ShareGroupHeartbeat", 1, &request, Some(&answer)));
}

#[test]
fn a_coordinator_is_refused_by_the_kind_of_its_key() {
    for version in 0..=3 {
        let request = FindCoordinatorRequest::default().with_key(string("k"));
        let answer = |code| FindCoordinatorResponse::default().with_error_code(code);
        assert_eq!(vec![group_denied("DESCRIBE", "k")], seen("FindCoordinator", version, &request, Some(&answer(30))));
        assert_eq!(
            vec![denied("TransactionalIdAuthorizationFailed", "DESCRIBE", "TransactionalId", "k")],
            seen("FindCoordinator", version, &request, Some(&answer(53)))
        );
    }
    for version in 4..=6 {
        let said = |key, code| found::Coordinator::default().with_key(string(key)).with_error_code(code);
        let answer = FindCoordinatorResponse::default().with_coordinators(vec![
            said("a", 30),
            said("b", 0),
            said("c", 30),
            said("d", 31),
            said("e", 31),
        ]);
        let keys = ["a", "b", "c", "d", "e"].map(string);
        let request = FindCoordinatorRequest::default().with_coordinator_keys(keys.into());
        assert_eq!(
            vec![
                group_denied("DESCRIBE", "a"),
                group_denied("DESCRIBE", "c"),
                denied("ClusterAuthorizationFailed", "CLUSTER_ACTION", "Cluster", "kafka-cluster"),
            ],
            seen("FindCoordinator", version, &request, Some(&answer))
        );
    }
}

#[test]
fn groups_that_may_not_be_described_or_deleted_are_named() {
    let request = DescribeGroupsRequest::default();
    for version in 0..=6 {
        let member = described::DescribedGroupMember::default()
            .with_member_id(string("m"))
            .with_member_metadata(b"hush".to_vec().into());
        let of = |name, code| {
            described::DescribedGroup::default()
                .with_group_id(group(name))
                .with_error_code(code)
                .with_members(vec![member.clone(), member.clone()])
        };
        let answer = DescribeGroupsResponse::default().with_groups(vec![of("a", 0), of("b", 30), of("c", 69)]);
        assert_eq!(vec![group_denied("DESCRIBE", "b")], seen("DescribeGroups", version, &request, Some(&answer)));
    }
    for version in 0..=1 {
        let partitions = consumers::TopicPartitions::default().with_topic_name(topic("t")).with_partitions(vec![1, 2]);
        let assignment = consumers::Assignment::default().with_topic_partitions(vec![partitions]);
        let member = consumers::Member::default()
            .with_subscribed_topic_names(vec![topic("t"), topic("u")])
            .with_assignment(assignment.clone())
            .with_target_assignment(assignment);
        let of = |name, code| {
            consumers::DescribedGroup::default()
                .with_group_id(group(name))
                .with_error_code(code)
                .with_members(vec![member.clone(), member.clone()])
        };
        let answer = ConsumerGroupDescribeResponse::default().with_groups(vec![of("a", 0), of("b", 30), of("c", 30)]);
        assert_eq!(
            vec![group_denied("DESCRIBE", "b"), group_denied("DESCRIBE", "c")],
            seen("ConsumerGroupDescribe", version, &ConsumerGroupDescribeRequest::default(), Some(&answer))
        );
    }
    for version in 0..=2 {
        let of = |name, code| deleted::DeletableGroupResult::default().with_group_id(group(name)).with_error_code(code);
        let answer = DeleteGroupsResponse::default().with_results(vec![of("a", 68), of("b", 30)]);
        assert_eq!(
            vec![group_denied("DELETE", "b")],
            seen("DeleteGroups", version, &DeleteGroupsRequest::default(), Some(&answer))
        );
    }
}

#[test]
fn refused_acknowledgements_name_group_or_topic() {
    let topics = Topics::new(8);
    topics.learn(id(1).as_bytes(), b"a");
    let request = ShareAcknowledgeRequest::default().with_group_id(Some(group("g"))).with_member_id(Some(string("m")));
    for version in versions("ShareAcknowledge") {
        let at = |code| shared::PartitionData::default().with_error_code(code);
        let of = |byte, code| {
            shared::ShareAcknowledgeTopicResponse::default()
                .with_topic_id(id(byte))
                .with_partitions(vec![at(0), at(code)])
        };
        let answer = |code| {
            ShareAcknowledgeResponse::default().with_error_code(code).with_responses(vec![
                of(2, 29),
                of(3, 0),
                of(1, 29),
            ])
        };
        let topic = |name| denied("TopicAuthorizationFailed", "READ", "Topic", name);
        assert_eq!(
            vec![topic("AgICAgICAgICAgICAgICAg"), topic("a")],
            seen_with(&topics, "ShareAcknowledge", version, &request, Some(&answer(0)))
        );
        assert_eq!(
            vec![group_denied("READ", "g"), topic("AgICAgICAgICAgICAgICAg"), topic("a")],
            seen_with(&topics, "ShareAcknowledge", version, &request, Some(&answer(30)))
        );
    }
}
