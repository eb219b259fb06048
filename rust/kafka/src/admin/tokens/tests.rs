use kafka_protocol::messages::create_delegation_token_request::{CreatableRenewers, CreateDelegationTokenRequest};
use kafka_protocol::messages::describe_delegation_token_request::{
    DescribeDelegationTokenOwner, DescribeDelegationTokenRequest,
};
use kafka_protocol::messages::describe_delegation_token_response::{
    DescribeDelegationTokenResponse, DescribedDelegationToken,
};
use kafka_protocol::messages::{
    CreateDelegationTokenResponse, ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};

use crate::testing::{NO_ANSWER, seen, string};

const CREATE: &str = "CreateDelegationToken";

#[test]
fn a_new_token_has_its_id_and_whom_it_stands_for() {
    for version in 1..=3 {
        let renewer = CreatableRenewers::default().with_principal_type(string("User")).with_principal_name(string("r"));
        let mut request = CreateDelegationTokenRequest::default().with_renewers(vec![renewer]);
        let mut answer = CreateDelegationTokenResponse::default()
            .with_principal_type(string("User"))
            .with_principal_name(string("alice"))
            .with_expiry_timestamp_ms(1234)
            .with_max_timestamp_ms(9999)
            .with_token_id(string("t-1"))
            .with_hmac(b"hush".to_vec().into());
        if version >= 3 {
            request.owner_principal_type = Some(string("User"));
            request.owner_principal_name = Some(string("alice"));
            answer.token_requester_principal_type = string("User");
            answer.token_requester_principal_name = string("root");
        }
        let (owner, requester) = if version >= 3 { (" owner=User:alice", " requester=User:root") } else { ("", "") };
        assert_eq!(
            vec![format!("{CREATE} success token_id=t-1 owner=User:alice{requester} expires_ms=1234")],
            seen(CREATE, version, &request, Some(&answer))
        );
        assert_eq!(vec![format!("{CREATE} forwarded{owner}")], seen(CREATE, version, &request, NO_ANSWER));
        // A refusal names nobody, so it is about whom the request names.
        let refusal = CreateDelegationTokenResponse::default().with_error_code(65);
        assert_eq!(
            vec![format!("{CREATE} denied DelegationTokenAuthorizationFailed{owner}")],
            seen(CREATE, version, &request, Some(&refusal))
        );
    }
}

#[test]
fn a_requester_who_is_the_owner_is_not_told_twice() {
    let answer = CreateDelegationTokenResponse::default()
        .with_principal_type(string("User"))
        .with_principal_name(string("alice"))
        .with_token_requester_principal_type(string("User"))
        .with_token_requester_principal_name(string("alice"))
        .with_token_id(string("t-1"));
    let request =
        CreateDelegationTokenRequest::default().with_owner_principal_type(None).with_owner_principal_name(None);
    assert_eq!(
        vec![format!("{CREATE} success token_id=t-1 owner=User:alice expires_ms=0")],
        seen(CREATE, 3, &request, Some(&answer))
    );
}

#[test]
fn a_token_that_is_named_by_its_hmac_has_no_name() {
    for version in 1..=2 {
        let request = RenewDelegationTokenRequest::default().with_hmac(b"hush".to_vec().into());
        let answer = |code| RenewDelegationTokenResponse::default().with_error_code(code).with_expiry_timestamp_ms(77);
        let name = "RenewDelegationToken";
        assert_eq!(vec![format!("{name} success expires_ms=77")], seen(name, version, &request, Some(&answer(0))));
        assert_eq!(
            vec![format!("{name} failure DelegationTokenOwnerMismatch")],
            seen(name, version, &request, Some(&answer(63)))
        );
        let request = ExpireDelegationTokenRequest::default().with_hmac(b"hush".to_vec().into());
        let answer = ExpireDelegationTokenResponse::default().with_expiry_timestamp_ms(78);
        let name = "ExpireDelegationToken";
        assert_eq!(vec![format!("{name} success expires_ms=78")], seen(name, version, &request, Some(&answer)));
        assert_eq!(vec![format!("{name} forwarded")], seen(name, version, &request, NO_ANSWER));
    }
}

#[test]
fn who_looks_at_tokens_names_owners_or_means_everybody() {
    for version in 1..=3 {
        let owner = |name| {
            DescribeDelegationTokenOwner::default()
                .with_principal_type(string("User"))
                .with_principal_name(string(name))
        };
        let token = DescribedDelegationToken::default().with_token_id(string("t")).with_hmac(b"hush".to_vec().into());
        let answer =
            |code| DescribeDelegationTokenResponse::default().with_error_code(code).with_tokens(vec![token.clone()]);
        let asked = |owners| DescribeDelegationTokenRequest::default().with_owners(owners);
        let name = "DescribeDelegationToken";
        assert_eq!(
            vec![format!("{name} success owner=User:a"), format!("{name} success owner=User:b")],
            seen(name, version, &asked(Some(vec![owner("a"), owner("b")])), Some(&answer(0)))
        );
        assert_eq!(
            vec![format!("{name} failure DelegationTokenAuthDisabled")],
            seen(name, version, &asked(None), Some(&answer(61)))
        );
        assert_eq!(Vec::<String>::new(), seen(name, version, &asked(Some(vec![])), Some(&answer(0))));
    }
}
