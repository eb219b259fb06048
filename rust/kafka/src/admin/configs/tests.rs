use kafka_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsResponse, incremental_alter_configs_request as incremental,
    incremental_alter_configs_response as incremental_answered,
};

use crate::testing::{NO_ANSWER, seen, string};

fn answer() -> AlterConfigsResponse {
    let said = |kind, name, code| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(kind)
            .with_resource_name(string(name))
            .with_error_code(code)
            .with_error_message(Some(string("hush")))
    };
    // A topic and a broker of the same name are two resources.
    AlterConfigsResponse::default().with_responses(vec![said(4, "1", 31), said(99, "x", 42), said(2, "1", 0)])
}

const ALTERED: [&str; 4] = [
    "AlterConfigs success resource_type=Topic resource=1 settings=retention.ms,sasl.jaas.config",
    "AlterConfigs denied ClusterAuthorizationFailed resource_type=Broker resource=1",
    "AlterConfigs failure InvalidRequest resource_type=Unknown resource=x settings=retention.ms,sasl.jaas.config",
    "AlterConfigs forwarded resource_type=ClientMetrics resource=m settings=retention.ms,sasl.jaas.config",
];

fn validated(only: bool) -> [String; 4] {
    ALTERED.map(|row| format!("{row} validate_only={}", i32::from(only)))
}

#[test]
fn settings_are_told_by_name_and_never_by_value() {
    for version in 0..=2 {
        let config = |name| AlterableConfig::default().with_name(string(name)).with_value(Some(string("hush")));
        let alter = |kind, name, configs| {
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(string(name))
                .with_configs(configs)
        };
        let both = || vec![config("retention.ms"), config("sasl.jaas.config")];
        let request = AlterConfigsRequest::default()
            .with_resources(vec![
                alter(2, "1", both()),
                alter(4, "1", vec![]),
                alter(99, "x", both()),
                alter(16, "m", both()),
            ])
            .with_validate_only(version == 1);
        assert_eq!(validated(version == 1).to_vec(), seen("AlterConfigs", version, &request, Some(&answer())));
    }
}

/// The same of the other kind, which has other flexible versions.
fn incremental_answer() -> IncrementalAlterConfigsResponse {
    let said = answer().responses.into_iter().map(|said| {
        incremental_answered::AlterConfigsResourceResponse::default()
            .with_resource_type(said.resource_type)
            .with_resource_name(said.resource_name)
            .with_error_code(said.error_code)
            .with_error_message(said.error_message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(said.collect())
}

#[test]
fn settings_that_are_changed_one_by_one_are_the_same_event() {
    for version in 0..=1 {
        let config = |name, operation| {
            incremental::AlterableConfig::default()
                .with_name(string(name))
                .with_config_operation(operation)
                .with_value((operation == 0).then_some(string("hush")))
        };
        let alter = |kind, name, configs| {
            incremental::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(string(name))
                .with_configs(configs)
        };
        let both = || vec![config("retention.ms", 1), config("sasl.jaas.config", 0)];
        let request = incremental::IncrementalAlterConfigsRequest::default()
            .with_resources(vec![
                alter(2, "1", both()),
                alter(4, "1", vec![]),
                alter(99, "x", both()),
                alter(16, "m", both()),
            ])
            .with_validate_only(true);
        assert_eq!(
            validated(true).to_vec(),
            seen("IncrementalAlterConfigs", version, &request, Some(&incremental_answer()))
        );
        let unanswered = seen("IncrementalAlterConfigs", version, &request, NO_ANSWER);
        assert!(unanswered.iter().all(|row| row.starts_with("AlterConfigs forwarded ")), "{unanswered:?}");
        assert_eq!(4, unanswered.len());
    }
}

#[test]
fn many_settings_are_told_as_far_as_there_is_room() {
    let config = AlterableConfig::default().with_name(string("a.setting.with.a.long.name"));
    let resource = AlterConfigsResource::default().with_resource_type(8).with_configs(vec![config; 10_000]);
    let seen = seen("AlterConfigs", 2, &AlterConfigsRequest::default().with_resources(vec![resource]), NO_ANSWER);
    assert!(seen[0].contains("settings=a.setting.with.a.long.name,a.setting"));
    assert!((4000..4300).contains(&seen[0].len()));
}

#[test]
fn a_refusal_to_show_settings_is_a_denial() {
    for version in 1..=4 {
        let config = DescribeConfigsResourceResult::default().with_name(string("a")).with_value(Some(string("hush")));
        let synonym = DescribeConfigsSynonym::default().with_name(string("b")).with_value(Some(string("hush")));
        let said = |code, kind, name| {
            DescribeConfigsResult::default()
                .with_error_code(code)
                .with_error_message(None)
                .with_resource_type(kind)
                .with_resource_name(string(name))
                .with_configs(vec![config.clone().with_synonyms(vec![synonym.clone()]), config.clone()])
        };
        let answer = DescribeConfigsResponse::default().with_results(vec![
            said(0, 2, "open"),
            said(29, 2, "closed"),
            said(31, 4, "1"),
            said(31, 4, "2"),
            said(30, 32, "g"),
        ]);
        assert_eq!(
            vec![
                "OperationDenied denied TopicAuthorizationFailed operation=DESCRIBE_CONFIGS resource_type=Topic \
                 resource=closed",
                "OperationDenied denied ClusterAuthorizationFailed operation=DESCRIBE_CONFIGS resource_type=Cluster \
                 resource=kafka-cluster",
                "OperationDenied denied GroupAuthorizationFailed operation=DESCRIBE_CONFIGS resource_type=Group \
                 resource=g",
            ],
            seen("DescribeConfigs", version, &DescribeConfigsRequest::default(), Some(&answer))
        );
    }
}
