use kafka_protocol::messages::{
    AddRaftVoterResponse, AlterClientQuotasResponse, AlterPartitionReassignmentsResponse, AlterReplicaLogDirsResponse,
    DescribeClientQuotasResponse, DescribeClusterResponse, DescribeLogDirsResponse, DescribeQuorumResponse,
    ElectLeadersResponse, ListConfigResourcesResponse, ListPartitionReassignmentsResponse, RemoveRaftVoterResponse,
    UnregisterBrokerResponse, UpdateFeaturesResponse, UpdateRaftVoterResponse, WriteTxnMarkersResponse,
    alter_client_quotas_response as quotas, alter_replica_log_dirs_response as log_dirs,
    elect_leaders_response as leaders, write_txn_markers_response as markers,
};

use crate::testing::{encoded, read, string, topic, versions};
use crate::topics::Topics;

/// A refusal in each version, and the absence of one in a success; nothing of the request is read.
fn refused(name: &str, operation: &str, answer: impl Fn(i16, i16) -> Option<Vec<u8>>) {
    for version in versions(name) {
        for code in [0, 31, 42] {
            let Some(answer) = answer(version, code) else { continue };
            let row = format!(
                "OperationDenied denied ClusterAuthorizationFailed operation={operation} resource_type=Cluster \
                 resource=kafka-cluster"
            );
            let expected = if code == 31 { vec![row] } else { vec![] };
            assert_eq!(
                (Ok(()), expected),
                read(&Topics::new(1), name, version, &[], Some(&answer)),
                "{name} {version} {code}"
            );
        }
        assert_eq!((Ok(()), vec![]), read(&Topics::new(1), name, version, &[], None));
    }
}

#[test]
fn an_error_of_the_whole_answer_is_found_where_it_stands() {
    macro_rules! whole {
        ($name:literal $operation:literal $response:ident) => {
            refused($name, $operation, |version, code| {
                Some(encoded(&$response::default().with_error_code(code), version))
            });
        };
    }
    whole!("UpdateFeatures" "ALTER" UpdateFeaturesResponse);
    whole!("UnregisterBroker" "ALTER" UnregisterBrokerResponse);
    whole!("AddRaftVoter" "ALTER" AddRaftVoterResponse);
    whole!("RemoveRaftVoter" "ALTER" RemoveRaftVoterResponse);
    whole!("UpdateRaftVoter" "CLUSTER_ACTION" UpdateRaftVoterResponse);
    whole!("DescribeCluster" "ALTER" DescribeClusterResponse);
    whole!("ListPartitionReassignments" "DESCRIBE" ListPartitionReassignmentsResponse);
    whole!("AlterPartitionReassignments" "ALTER" AlterPartitionReassignmentsResponse);
    whole!("DescribeClientQuotas" "DESCRIBE_CONFIGS" DescribeClientQuotasResponse);
    whole!("ListConfigResources" "DESCRIBE_CONFIGS" ListConfigResourcesResponse);
    whole!("DescribeQuorum" "DESCRIBE" DescribeQuorumResponse);
    refused("DescribeLogDirs", "DESCRIBE", |version, code| {
        // Before version 3 there is no such error.
        (version >= 3).then(|| encoded(&DescribeLogDirsResponse::default().with_error_code(code), version))
    });
}

#[test]
fn an_error_that_each_part_repeats_is_told_once() {
    refused("WriteTxnMarkers", "CLUSTER_ACTION", |version, code| {
        let at = markers::WritableTxnMarkerPartitionResult::default().with_error_code(code);
        let of = |name| {
            markers::WritableTxnMarkerTopicResult::default()
                .with_name(topic(name))
                .with_partitions(vec![at.clone(), at.clone()])
        };
        let marker = markers::WritableTxnMarkerResult::default().with_topics(vec![of("a"), of("b")]);
        Some(encoded(&WriteTxnMarkersResponse::default().with_markers(vec![marker.clone(), marker]), version))
    });
    refused("AlterReplicaLogDirs", "ALTER", |version, code| {
        let at = log_dirs::AlterReplicaLogDirPartitionResult::default().with_error_code(code);
        let of = |name| {
            log_dirs::AlterReplicaLogDirTopicResult::default()
                .with_topic_name(topic(name))
                .with_partitions(vec![at.clone(), at.clone()])
        };
        Some(encoded(&AlterReplicaLogDirsResponse::default().with_results(vec![of("a"), of("b")]), version))
    });
    refused("ElectLeaders", "ALTER", |version, code| {
        let at = leaders::PartitionResult::default().with_error_code(code);
        let of = |name| {
            leaders::ReplicaElectionResult::default()
                .with_topic(topic(name))
                .with_partition_result(vec![at.clone(), at.clone()])
        };
        let answer = ElectLeadersResponse::default().with_replica_election_results(vec![of("a"), of("b")]);
        Some(encoded(&if version >= 1 { answer.with_error_code(code) } else { answer }, version))
    });
    refused("AlterClientQuotas", "ALTER_CONFIGS", |version, code| {
        let part = quotas::EntityData::default().with_entity_type(string("user")).with_entity_name(None);
        let entry = quotas::EntryData::default().with_error_code(code).with_entity(vec![part.clone(), part]);
        Some(encoded(&AlterClientQuotasResponse::default().with_entries(vec![entry.clone(), entry]), version))
    });
}
