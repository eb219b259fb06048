//! The table of the APIs that the tap reads, and the names of all that there are, as of Apache Kafka 4.4.

use crate::admin::{acls, configs, scram, tokens, topics};
use crate::api::{Api, How, NEVER};
use crate::cursor::Step;
use crate::exchange::Exchange;
use crate::whole::{NAMING, WHOLE};
use crate::{cluster, groups, metadata, offsets, records, transactions};

/// Every API that is read, by ascending key.
pub static APIS: &[Api] = &[
    api(0, "Produce", 3, 13, 9, "Write", How::Produce),
    api(1, "Fetch", 4, 18, 12, "Read", How::Fetch),
    api(2, "ListOffsets", 1, 11, 6, "OperationDenied", look(offsets::list)),
    api(3, "Metadata", 0, 13, 9, "OperationDenied; names of topic ids", look(metadata::metadata)),
    api(8, "OffsetCommit", 2, 10, 8, "ResetOffsets without a generation; OperationDenied", change(offsets::commit)),
    api(9, "OffsetFetch", 1, 10, 6, "OperationDenied", look(offsets::fetch)),
    api(10, "FindCoordinator", 0, 6, 3, "OperationDenied", look(groups::find_coordinator)),
    api(11, "JoinGroup", 0, 9, 6, "OperationDenied", look(groups::join)),
    api(12, "Heartbeat", 0, 4, 4, "OperationDenied", look(groups::member)),
    api(13, "LeaveGroup", 0, 5, 4, "OperationDenied", look(groups::member)),
    api(14, "SyncGroup", 0, 5, 4, "OperationDenied", look(groups::member)),
    api(15, "DescribeGroups", 0, 6, 5, "OperationDenied", look(groups::describe)),
    api(17, "SaslHandshake", 0, 1, NEVER, "the mechanism", How::SaslHandshake),
    api(18, "ApiVersions", 0, 5, 3, "none", look(metadata::api_versions)),
    api(19, "CreateTopics", 2, 7, 5, "CreateTopics; names of topic ids", change(topics::create)),
    api(20, "DeleteTopics", 1, 6, 4, "DeleteTopics", change(topics::delete)),
    api(21, "DeleteRecords", 0, 2, 2, "Delete", change(records::delete)),
    api(22, "InitProducerId", 0, 6, 2, "OperationDenied", look(transactions::init_producer_id)),
    api(23, "OffsetForLeaderEpoch", 2, 4, 4, "OperationDenied", look(offsets::for_leader_epoch)),
    api(24, "AddPartitionsToTxn", 0, 5, 3, "OperationDenied", look(transactions::add_partitions)),
    api(25, "AddOffsetsToTxn", 0, 4, 3, "OperationDenied", look(transactions::add_offsets)),
    api(26, "EndTxn", 0, 5, 3, "OperationDenied", look(transactions::end)),
    api(27, "WriteTxnMarkers", 1, 2, 1, "OperationDenied", look(transactions::write_markers)),
    api(
        28,
        "TxnOffsetCommit",
        0,
        6,
        3,
        "ResetOffsets without a generation; OperationDenied",
        change(transactions::commit_offsets),
    ),
    api(29, "DescribeAcls", 1, 3, 2, "DescribeAcls", look(acls::describe)),
    api(30, "CreateAcls", 1, 3, 2, "CreateAcls", change(acls::create)),
    api(31, "DeleteAcls", 1, 3, 2, "DeleteAcls", change(acls::delete)),
    api(32, "DescribeConfigs", 1, 4, 4, "OperationDenied", look(configs::describe)),
    api(33, "AlterConfigs", 0, 2, 2, "AlterConfigs", change(configs::alter)),
    api(34, "AlterReplicaLogDirs", 1, 2, 2, "OperationDenied", look(cluster::alter_replica_log_dirs)),
    api(35, "DescribeLogDirs", 1, 5, 2, "OperationDenied", look(cluster::describe_log_dirs)),
    api(36, "SaslAuthenticate", 0, 2, 2, "ClientSaslAuthSuccess, ClientSaslAuthFailure", How::SaslAuthenticate),
    api(37, "CreatePartitions", 0, 3, 2, "CreatePartitions", change(topics::create_partitions)),
    api(38, "CreateDelegationToken", 1, 3, 2, "CreateDelegationToken", change(tokens::create)),
    api(39, "RenewDelegationToken", 1, 2, 2, "RenewDelegationToken", change(tokens::renew)),
    api(40, "ExpireDelegationToken", 1, 2, 2, "ExpireDelegationToken", change(tokens::expire)),
    api(41, "DescribeDelegationToken", 1, 3, 2, "DescribeDelegationToken", ask(tokens::describe)),
    api(42, "DeleteGroups", 0, 3, 2, "OperationDenied", look(groups::delete)),
    api(43, "ElectLeaders", 0, 2, 2, "OperationDenied", look(cluster::elect_leaders)),
    api(44, "IncrementalAlterConfigs", 0, 1, 1, "AlterConfigs", change(configs::incremental_alter)),
    api(45, "AlterPartitionReassignments", 0, 1, 0, "OperationDenied", look(cluster::alter_reassignments)),
    api(46, "ListPartitionReassignments", 0, 0, 0, "OperationDenied", look(cluster::list_reassignments)),
    api(47, "OffsetDelete", 0, 0, NEVER, "ResetOffsets", change(offsets::delete)),
    api(48, "DescribeClientQuotas", 0, 1, 1, "OperationDenied", look(cluster::describe_configs)),
    api(49, "AlterClientQuotas", 0, 1, 1, "OperationDenied", look(cluster::alter_quotas)),
    api(50, "DescribeUserScramCredentials", 0, 0, 0, "DescribeUserScramCredentials", ask(scram::describe)),
    api(51, "AlterUserScramCredentials", 0, 0, 0, "AlterUserScramCredentials", change(scram::alter)),
    api(55, "DescribeQuorum", 0, 2, 0, "OperationDenied", look(cluster::describe_quorum)),
    api(57, "UpdateFeatures", 0, 2, 0, "OperationDenied", look(cluster::alter)),
    api(60, "DescribeCluster", 0, 2, 0, "OperationDenied", look(cluster::alter)),
    api(61, "DescribeProducers", 0, 0, 0, "OperationDenied", look(transactions::describe_producers)),
    api(64, "UnregisterBroker", 0, 0, 0, "OperationDenied", look(cluster::alter)),
    api(65, "DescribeTransactions", 0, 0, 0, "OperationDenied", look(transactions::describe)),
    api(68, "ConsumerGroupHeartbeat", 0, 1, 0, "OperationDenied", look(groups::heartbeat)),
    api(69, "ConsumerGroupDescribe", 0, 1, 0, "OperationDenied", look(groups::describe_consumers)),
    api(74, "ListConfigResources", 0, 1, 0, "OperationDenied", look(cluster::describe_configs)),
    api(
        75,
        "DescribeTopicPartitions",
        0,
        0,
        0,
        "OperationDenied; names of topic ids",
        look(metadata::topic_partitions),
    ),
    api(76, "ShareGroupHeartbeat", 1, 1, 0, "OperationDenied", look(groups::heartbeat)),
    api(77, "ShareGroupDescribe", 1, 1, 0, "OperationDenied", look(groups::describe_shares)),
    api(78, "ShareFetch", 1, 2, 0, "Read", How::ShareFetch),
    api(79, "ShareAcknowledge", 1, 2, 0, "OperationDenied", look(groups::acknowledge)),
    api(80, "AddRaftVoter", 0, 1, 0, "OperationDenied", look(cluster::alter)),
    api(81, "RemoveRaftVoter", 0, 0, 0, "OperationDenied", look(cluster::alter)),
    api(82, "UpdateRaftVoter", 0, 0, 0, "OperationDenied", look(cluster::act)),
    api(88, "StreamsGroupHeartbeat", 0, 1, 0, "OperationDenied", look(groups::heartbeat)),
    api(90, "DescribeShareGroupOffsets", 0, 1, 0, "OperationDenied", look(offsets::describe_shares)),
    api(91, "AlterShareGroupOffsets", 0, 0, 0, "ResetOffsets", change(offsets::alter_shares)),
    api(92, "DeleteShareGroupOffsets", 0, 0, 0, "ResetOffsets", change(offsets::delete_shares)),
];

const fn api(
    key: i16,
    name: &'static str,
    first: i16,
    last: i16,
    flexible: i16,
    events: &'static str,
    how: How,
) -> Api {
    Api { key, name, first, last, flexible, events, how }
}

/// What changes nothing.
const fn look(read: fn(&mut Exchange<'_>) -> Step<()>) -> How {
    How::Exchange { read, keep: false, most: WHOLE }
}

/// What changes nothing, and has an event for each name that it asks about.
const fn ask(read: fn(&mut Exchange<'_>) -> Step<()>) -> How {
    How::Exchange { read, keep: false, most: NAMING }
}

/// What may have changed something, also where no answer came.
const fn change(read: fn(&mut Exchange<'_>) -> Step<()>) -> How {
    How::Exchange { read, keep: true, most: NAMING }
}

/// Positions in the table by key; 255 where there is none.
const BY_KEY: [u8; NAMES.len()] = {
    assert!(APIS.len() < 255);
    let mut positions = [u8::MAX; NAMES.len()];
    let mut at = 0;
    while at < APIS.len() {
        positions[APIS[at].key as usize] = at as u8;
        at += 1;
    }
    positions
};

/// The API of a key, if it is one that is read.
#[must_use]
pub fn by_key(key: i16) -> Option<&'static Api> {
    let position = *BY_KEY.get(usize::try_from(key).ok()?)?;
    APIS.get(usize::from(position))
}

/// Kafka's name of a key, whether it is read or not.
pub(crate) fn name(key: i16) -> Option<&'static str> {
    NAMES.get(usize::try_from(key).ok()?).copied()
}

/// Names by key.
const NAMES: [&str; 95] = [
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "LeaderAndIsr",
    "StopReplica",
    "UpdateMetadata",
    "ControlledShutdown",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "SaslHandshake",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "EndTxn",
    "WriteTxnMarkers",
    "TxnOffsetCommit",
    "DescribeAcls",
    "CreateAcls",
    "DeleteAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "AlterReplicaLogDirs",
    "DescribeLogDirs",
    "SaslAuthenticate",
    "CreatePartitions",
    "CreateDelegationToken",
    "RenewDelegationToken",
    "ExpireDelegationToken",
    "DescribeDelegationToken",
    "DeleteGroups",
    "ElectLeaders",
    "IncrementalAlterConfigs",
    "AlterPartitionReassignments",
    "ListPartitionReassignments",
    "OffsetDelete",
    "DescribeClientQuotas",
    "AlterClientQuotas",
    "DescribeUserScramCredentials",
    "AlterUserScramCredentials",
    "Vote",
    "BeginQuorumEpoch",
    "EndQuorumEpoch",
    "DescribeQuorum",
    "AlterPartition",
    "UpdateFeatures",
    "Envelope",
    "FetchSnapshot",
    "DescribeCluster",
    "DescribeProducers",
    "BrokerRegistration",
    "BrokerHeartbeat",
    "UnregisterBroker",
    "DescribeTransactions",
    "ListTransactions",
    "AllocateProducerIds",
    "ConsumerGroupHeartbeat",
    "ConsumerGroupDescribe",
    "ControllerRegistration",
    "GetTelemetrySubscriptions",
    "PushTelemetry",
    "AssignReplicasToDirs",
    "ListConfigResources",
    "DescribeTopicPartitions",
    "ShareGroupHeartbeat",
    "ShareGroupDescribe",
    "ShareFetch",
    "ShareAcknowledge",
    "AddRaftVoter",
    "RemoveRaftVoter",
    "UpdateRaftVoter",
    "InitializeShareGroupState",
    "ReadShareGroupState",
    "WriteShareGroupState",
    "DeleteShareGroupState",
    "ReadShareGroupStateSummary",
    "StreamsGroupHeartbeat",
    "StreamsGroupDescribe",
    "DescribeShareGroupOffsets",
    "AlterShareGroupOffsets",
    "DeleteShareGroupOffsets",
    "StreamsGroupTopologyDescriptionUpdate",
    "UnregisterController",
];

#[cfg(test)]
mod tests;
