//! Kafka's error codes by their names, as of Apache Kafka 4.4.

/// The codes of an authorizer's refusals, by what they are about.
pub(crate) const TOPIC: i16 = 29;
pub(crate) const GROUP: i16 = 30;
pub(crate) const CLUSTER: i16 = 31;
pub(crate) const TRANSACTIONAL_ID: i16 = 53;
const DELEGATION_TOKEN: i16 = 65;
/// The code of a proof that was not taken.
pub(crate) const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// Whether the broker's authorizer has refused.
pub(crate) const fn is_denial(code: i16) -> bool {
    matches!(code, TOPIC | GROUP | CLUSTER | TRANSACTIONAL_ID | DELEGATION_TOKEN)
}

/// The name of a code, as a status.
pub(crate) fn name(code: i16) -> &'static str {
    match usize::try_from(code) {
        Ok(at) => NAMES.get(at).copied().unwrap_or("UnknownError"),
        Err(_) if code == -1 => "UnknownServerError",
        Err(_) => "UnknownError",
    }
}

/// Names by code.
const NAMES: [&str; 137] = [
    "None",
    "OffsetOutOfRange",
    "CorruptMessage",
    "UnknownTopicOrPartition",
    "InvalidFetchSize",
    "LeaderNotAvailable",
    "NotLeaderOrFollower",
    "RequestTimedOut",
    "BrokerNotAvailable",
    "ReplicaNotAvailable",
    "MessageTooLarge",
    "StaleControllerEpoch",
    "OffsetMetadataTooLarge",
    "NetworkException",
    "CoordinatorLoadInProgress",
    "CoordinatorNotAvailable",
    "NotCoordinator",
    "InvalidTopicException",
    "RecordListTooLarge",
    "NotEnoughReplicas",
    "NotEnoughReplicasAfterAppend",
    "InvalidRequiredAcks",
    "IllegalGeneration",
    "InconsistentGroupProtocol",
    "InvalidGroupId",
    "UnknownMemberId",
    "InvalidSessionTimeout",
    "RebalanceInProgress",
    "InvalidCommitOffsetSize",
    "TopicAuthorizationFailed",
    "GroupAuthorizationFailed",
    "ClusterAuthorizationFailed",
    "InvalidTimestamp",
    "UnsupportedSaslMechanism",
    "IllegalSaslState",
    "UnsupportedVersion",
    "TopicAlreadyExists",
    "InvalidPartitions",
    "InvalidReplicationFactor",
    "InvalidReplicaAssignment",
    "InvalidConfig",
    "NotController",
    "InvalidRequest",
    "UnsupportedForMessageFormat",
    "PolicyViolation",
    "OutOfOrderSequenceNumber",
    "DuplicateSequenceNumber",
    "InvalidProducerEpoch",
    "InvalidTxnState",
    "InvalidProducerIdMapping",
    "InvalidTransactionTimeout",
    "ConcurrentTransactions",
    "TransactionCoordinatorFenced",
    "TransactionalIdAuthorizationFailed",
    "SecurityDisabled",
    "OperationNotAttempted",
    "KafkaStorageError",
    "LogDirNotFound",
    "SaslAuthenticationFailed",
    "UnknownProducerId",
    "ReassignmentInProgress",
    "DelegationTokenAuthDisabled",
    "DelegationTokenNotFound",
    "DelegationTokenOwnerMismatch",
    "DelegationTokenRequestNotAllowed",
    "DelegationTokenAuthorizationFailed",
    "DelegationTokenExpired",
    "InvalidPrincipalType",
    "NonEmptyGroup",
    "GroupIdNotFound",
    "FetchSessionIdNotFound",
    "InvalidFetchSessionEpoch",
    "ListenerNotFound",
    "TopicDeletionDisabled",
    "FencedLeaderEpoch",
    "UnknownLeaderEpoch",
    "UnsupportedCompressionType",
    "StaleBrokerEpoch",
    "OffsetNotAvailable",
    "MemberIdRequired",
    "PreferredLeaderNotAvailable",
    "GroupMaxSizeReached",
    "FencedInstanceId",
    "EligibleLeadersNotAvailable",
    "ElectionNotNeeded",
    "NoReassignmentInProgress",
    "GroupSubscribedToTopic",
    "InvalidRecord",
    "UnstableOffsetCommit",
    "ThrottlingQuotaExceeded",
    "ProducerFenced",
    "ResourceNotFound",
    "DuplicateResource",
    "UnacceptableCredential",
    "InconsistentVoterSet",
    "InvalidUpdateVersion",
    "FeatureUpdateFailed",
    "PrincipalDeserializationFailure",
    "SnapshotNotFound",
    "PositionOutOfRange",
    "UnknownTopicId",
    "DuplicateBrokerRegistration",
    "BrokerIdNotRegistered",
    "InconsistentTopicId",
    "InconsistentClusterId",
    "TransactionalIdNotFound",
    "FetchSessionTopicIdError",
    "IneligibleReplica",
    "NewLeaderElected",
    "OffsetMovedToTieredStorage",
    "FencedMemberEpoch",
    "UnreleasedInstanceId",
    "UnsupportedAssignor",
    "StaleMemberEpoch",
    "MismatchedEndpointType",
    "UnsupportedEndpointType",
    "UnknownControllerId",
    "UnknownSubscriptionId",
    "TelemetryTooLarge",
    "InvalidRegistration",
    "TransactionAbortable",
    "InvalidRecordState",
    "ShareSessionNotFound",
    "InvalidShareSessionEpoch",
    "FencedStateEpoch",
    "InvalidVoterKey",
    "DuplicateVoter",
    "VoterNotFound",
    "InvalidRegularExpression",
    "RebootstrapRequired",
    "StreamsInvalidTopology",
    "StreamsInvalidTopologyEpoch",
    "StreamsTopologyFenced",
    "ShareSessionLimitReached",
    "GroupDeletionFailed",
    "StreamsTopologyDescriptionUpdateFailed",
    "ControllerIdNotRegistered",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_name_that_kafka_gives_it() {
        for (code, expected) in [
            (-1, "UnknownServerError"),
            (6, "NotLeaderOrFollower"),
            (29, "TopicAuthorizationFailed"),
            (54, "SecurityDisabled"),
            (100, "UnknownTopicId"),
            (136, "ControllerIdNotRegistered"),
            (137, "UnknownError"),
            (-2, "UnknownError"),
            (i16::MIN, "UnknownError"),
        ] {
            assert_eq!(expected, name(code), "{code}");
        }
    }

    #[test]
    fn the_codes_of_denials_are_those_that_are_called_so() {
        for code in -2..200 {
            assert_eq!(name(code).ends_with("AuthorizationFailed"), is_denial(code), "{code}");
        }
    }

    #[test]
    fn every_name_is_a_status() {
        assert!(NAMES.iter().all(|name| auditring_event::sanitize::status(name) == *name));
    }
}
