use kafka_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use kafka_protocol::messages::describe_user_scram_credentials_request::{
    DescribeUserScramCredentialsRequest, UserName,
};
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};

use crate::testing::{NO_ANSWER, seen, string};

#[test]
fn credentials_are_told_by_user_mechanism_and_strength() {
    let upsert = |name, mechanism, iterations| {
        ScramCredentialUpsertion::default()
            .with_name(string(name))
            .with_mechanism(mechanism)
            .with_iterations(iterations)
            .with_salt(b"hush".to_vec().into())
            .with_salted_password(b"hush hush".to_vec().into())
    };
    let request = AlterUserScramCredentialsRequest::default()
        .with_deletions(vec![ScramCredentialDeletion::default().with_name(string("alice")).with_mechanism(2)])
        .with_upsertions(vec![upsert("bob", 1, 8192), upsert("carol", 9, -5)]);
    let said = |name, code| {
        AlterUserScramCredentialsResult::default()
            .with_user(string(name))
            .with_error_code(code)
            .with_error_message(Some(string("hush")))
    };
    let answer = AlterUserScramCredentialsResponse::default().with_results(vec![said("carol", 33), said("alice", 0)]);
    assert_eq!(
        vec![
            "AlterUserScramCredentials success user=alice scram_mechanism=SCRAM-SHA-512 change=delete",
            "AlterUserScramCredentials forwarded user=bob scram_mechanism=SCRAM-SHA-256 change=upsert iterations=8192",
            "AlterUserScramCredentials failure UnsupportedSaslMechanism user=carol scram_mechanism=UNKNOWN \
             change=upsert",
        ],
        seen("AlterUserScramCredentials", 0, &request, Some(&answer))
    );
    assert_eq!(3, seen("AlterUserScramCredentials", 0, &request, NO_ANSWER).len());
}

#[test]
fn who_asks_for_credentials_names_users_or_means_everybody() {
    let credential = CredentialInfo::default().with_mechanism(1).with_iterations(4096);
    let said = |name, code| {
        DescribeUserScramCredentialsResult::default()
            .with_user(string(name))
            .with_error_code(code)
            .with_error_message(None)
            .with_credential_infos(vec![credential.clone()])
    };
    let answer = DescribeUserScramCredentialsResponse::default()
        .with_error_message(None)
        .with_results(vec![said("bob", 91), said("alice", 0)]);
    let refusal = DescribeUserScramCredentialsResponse::default().with_error_code(31).with_error_message(None);
    let users = ["alice", "bob"].map(|name| UserName::default().with_name(string(name)));
    let named = DescribeUserScramCredentialsRequest::default().with_users(Some(users.into()));
    let name = "DescribeUserScramCredentials";
    assert_eq!(
        vec![format!("{name} success user=alice"), format!("{name} failure ResourceNotFound user=bob")],
        seen(name, 0, &named, Some(&answer))
    );
    assert_eq!(
        ["alice", "bob"].map(|user| format!("{name} denied ClusterAuthorizationFailed user={user}")).to_vec(),
        seen(name, 0, &named, Some(&refusal))
    );
    for everybody in [None, Some(vec![])] {
        let request = DescribeUserScramCredentialsRequest::default().with_users(everybody);
        assert_eq!(vec![format!("{name} success")], seen(name, 0, &request, Some(&answer)));
    }
}
