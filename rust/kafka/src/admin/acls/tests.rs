use kafka_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use kafka_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use kafka_protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use kafka_protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsResponse,
};
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use crate::testing::{NO_ANSWER, seen, string};

#[test]
fn each_new_acl_is_answered_in_its_place() {
    for version in 1..=3 {
        let acl = |kind, name, pattern, operation, permission| {
            AclCreation::default()
                .with_resource_type(kind)
                .with_resource_name(string(name))
                .with_resource_pattern_type(pattern)
                .with_principal(string("User:bob"))
                .with_host(string("*"))
                .with_operation(operation)
                .with_permission_type(permission)
        };
        let request = CreateAclsRequest::default().with_creations(vec![
            acl(2, "orders", 3, 3, 3),
            acl(5, "tx-", 4, 15, 2),
            acl(4, "kafka-cluster", 3, 100, -1),
            acl(7, "bob", 3, 13, 3),
        ]);
        let said = |code| AclCreationResult::default().with_error_code(code).with_error_message(Some(string("hush")));
        let answer = CreateAclsResponse::default().with_results(vec![said(0), said(31), said(42)]);
        let rest = "acl_principal=User:bob acl_operation";
        assert_eq!(
            vec![
                format!(
                    "CreateAcls success resource_type=Topic resource=orders {rest}=READ acl_permission=ALLOW \
                     acl_pattern=LITERAL acl_host=*"
                ),
                format!(
                    "CreateAcls denied ClusterAuthorizationFailed resource_type=TransactionalId resource=tx- \
                     {rest}=TWO_PHASE_COMMIT acl_permission=DENY acl_pattern=PREFIXED acl_host=*"
                ),
                format!(
                    "CreateAcls failure InvalidRequest resource_type=Cluster resource=kafka-cluster {rest}=UNKNOWN \
                     acl_permission=UNKNOWN acl_pattern=LITERAL acl_host=*"
                ),
                format!(
                    "CreateAcls forwarded resource_type=User resource=bob {rest}=CREATE_TOKENS acl_permission=ALLOW \
                     acl_pattern=LITERAL acl_host=*"
                ),
            ],
            seen("CreateAcls", version, &request, Some(&answer))
        );
        assert_eq!(4, seen("CreateAcls", version, &request, NO_ANSWER).len());
    }
}

#[test]
fn what_was_deleted_is_told_acl_by_acl_and_a_filter_that_met_none_by_itself() {
    for version in 1..=3 {
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(1)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(1)
            .with_principal_filter(Some(string("User:bob")))
            .with_host_filter(None)
            .with_operation(1)
            .with_permission_type(1);
        let request = DeleteAclsRequest::default().with_filters(vec![filter; 4]);
        let acl = |code, name| {
            DeleteAclsMatchingAcl::default()
                .with_error_code(code)
                .with_error_message(None)
                .with_resource_type(2)
                .with_resource_name(string(name))
                .with_pattern_type(3)
                .with_principal(string("User:bob"))
                .with_host(string("10.0.0.1"))
                .with_operation(4)
                .with_permission_type(3)
        };
        let said = |code, acls| DeleteAclsFilterResult::default().with_error_code(code).with_matching_acls(acls);
        let answer = DeleteAclsResponse::default().with_filter_results(vec![
            said(0, vec![acl(0, "a"), acl(54, "b")]),
            said(31, vec![]),
            said(0, vec![]),
        ]);
        let any = "resource_type=Any acl_principal=User:bob acl_operation=ANY acl_permission=ANY acl_pattern=ANY";
        let rest = "acl_principal=User:bob acl_operation=WRITE acl_permission=ALLOW acl_pattern=LITERAL \
                    acl_host=10.0.0.1";
        assert_eq!(
            vec![
                format!("DeleteAcls success resource_type=Topic resource=a {rest}"),
                format!("DeleteAcls failure SecurityDisabled resource_type=Topic resource=b {rest}"),
                format!("DeleteAcls denied ClusterAuthorizationFailed {any}"),
                format!("DeleteAcls success {any}"),
                format!("DeleteAcls forwarded {any}"),
            ],
            seen("DeleteAcls", version, &request, Some(&answer))
        );
        assert_eq!(vec![format!("DeleteAcls forwarded {any}"); 4], seen("DeleteAcls", version, &request, NO_ANSWER));
    }
}

#[test]
fn who_looks_at_acls_is_told_by_the_filter() {
    for version in 1..=3 {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(3)
            .with_resource_name_filter(Some(string("g")))
            .with_pattern_type_filter(2)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(8)
            .with_permission_type(1);
        for (code, end) in [(0, "success"), (31, "denied ClusterAuthorizationFailed"), (54, "failure SecurityDisabled")]
        {
            let answer = DescribeAclsResponse::default().with_error_code(code).with_error_message(None);
            let row = format!(
                "DescribeAcls {end} resource_type=Group resource=g acl_operation=DESCRIBE acl_permission=ANY \
                 acl_pattern=MATCH"
            );
            assert_eq!(vec![row], seen("DescribeAcls", version, &request, Some(&answer)));
        }
    }
}
