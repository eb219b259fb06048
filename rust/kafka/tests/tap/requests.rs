//! Rows about requests themselves.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, EndTxnResponse, FetchResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, InitProducerIdRequest, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;

use crate::messages::fetch::ask;
use crate::messages::produce::write;
use crate::messages::wire::{Connection, answer, frame, header, request, string, versions};

fn wanted() -> Connection {
    let mut seen = Connection::default();
    seen.facts.requests = true;
    seen
}

/// Columns of the group and transaction of a request's row.
fn party<R: Request>(version: i16, message: &R) -> String {
    let mut seen = wanted();
    seen.client(&request(1, version, message));
    let row = seen.events().remove(0);
    assert!(row.starts_with("RequestIngress success api="), "{row}");
    row.split(' ').filter(|part| part.contains("_id=") && !part.contains("correlation")).collect::<Vec<_>>().join(" ")
}

#[test]
fn groups_and_transactions_are_named() {
    let group = || GroupId(string("g"));
    let transaction = || TransactionalId(string("t"));
    for version in versions(8).filter(|version| *version < 10) {
        assert_eq!("group_id=g", party(version, &OffsetCommitRequest::default().with_group_id(group())));
    }
    for version in versions(11) {
        assert_eq!("group_id=g", party(version, &JoinGroupRequest::default().with_group_id(group())));
    }
    for version in versions(12) {
        assert_eq!("group_id=g", party(version, &HeartbeatRequest::default().with_group_id(group())));
    }
    for version in versions(22).filter(|version| *version < 6) {
        let asked = InitProducerIdRequest::default().with_transactional_id(Some(transaction()));
        assert_eq!("transactional_id=t", party(version, &asked));
        assert_eq!("", party(version, &InitProducerIdRequest::default().with_transactional_id(None)));
    }
    for version in versions(24) {
        let mut asked = AddPartitionsToTxnRequest::default();
        if version < 4 {
            asked.v3_and_below_transactional_id = transaction();
        } else {
            asked.transactions = vec![AddPartitionsToTxnTransaction::default().with_transactional_id(transaction())];
        }
        assert_eq!("transactional_id=t", party(version, &asked));
    }
    for version in versions(25) {
        let asked = AddOffsetsToTxnRequest::default().with_transactional_id(transaction()).with_group_id(group());
        assert_eq!("group_id=g transactional_id=t", party(version, &asked));
    }
    for version in versions(26) {
        assert_eq!(
            "transactional_id=t",
            party(version, &EndTxnRequest::default().with_transactional_id(transaction()))
        );
    }
    for version in versions(28).filter(|version| *version < 6) {
        let asked = TxnOffsetCommitRequest::default().with_transactional_id(transaction()).with_group_id(group());
        assert_eq!("group_id=g transactional_id=t", party(version, &asked));
    }
    assert_eq!("transactional_id=t", party(9, &write(1, &[]).with_transactional_id(Some(transaction()))));
}

#[test]
fn what_came_in_and_what_went_back_have_a_row_each() {
    let mut seen = wanted();
    let asked = request(7, 12, &ask(12));
    let told = answer(7, 12, &FetchResponse::default().with_error_code(70));
    seen.tap.rewrote(7, 900);
    let mut under = told.clone();
    under[4..8].copy_from_slice(&900i32.to_be_bytes());
    seen.client(&asked).broker(&under);
    let (came, went) = (asked.len(), told.len());
    let ids = "client_correlation_id=7 server_correlation_id=900";
    let expected = [
        format!("RequestIngress success api=Fetch api_version=12 client_correlation_id=7 bytes={came}"),
        format!(
            "ResponseEgress failure api=Fetch api_version=12 {ids} bytes={went} timed status=FetchSessionIdNotFound"
        ),
    ];
    assert_eq!(expected, *seen.events());
}

#[test]
fn an_error_for_the_whole_request_is_said() {
    let mut seen = wanted();
    for version in versions(11) {
        seen.client(&request(1, version, &JoinGroupRequest::default().with_group_id(GroupId(string("g")))));
        seen.broker(&answer(1, version, &JoinGroupResponse::default().with_error_code(25)));
        let last = seen.events().pop().unwrap_or_default();
        assert!(
            last.starts_with("ResponseEgress failure api=JoinGroup ")
                && last.ends_with(" group_id=g status=UnknownMemberId"),
            "{last}"
        );
    }
    for version in versions(12) {
        seen.client(&request(1, version, &HeartbeatRequest::default()));
        seen.broker(&answer(1, version, &HeartbeatResponse::default().with_error_code(30)));
        let last = seen.events().pop().unwrap_or_default();
        assert!(
            last.starts_with("ResponseEgress denied ") && last.ends_with(" status=GroupAuthorizationFailed"),
            "{last}"
        );
    }
    for version in versions(26) {
        seen.client(&request(1, version, &EndTxnRequest::default()));
        seen.broker(&answer(1, version, &EndTxnResponse::default()));
        assert!(seen.events().pop().unwrap_or_default().starts_with("ResponseEgress success api=EndTxn "));
    }
}

#[test]
fn what_is_not_read_has_its_rows_too() {
    let mut seen = wanted();
    seen.client(&header(77, 0, 1)).client(&header(300, 0, 2)).client(&request(3, 9, &write(0, &[])));
    seen.broker(&frame(&[&1i32.to_be_bytes()[..], &[9; 6]].concat()));
    let rows: Vec<_> = seen.events().iter().map(|row| row.split(" client").next().unwrap_or("").to_owned()).collect();
    let expected = [
        "auditring.TapBlind failure",
        "RequestIngress success api=ShareGroupDescribe api_version=0",
        "RequestIngress success api=Unknown(300) api_version=0",
        "RequestIngress success api=Produce api_version=9",
        "ResponseEgress success api=ShareGroupDescribe api_version=0",
    ];
    assert_eq!(expected, *rows);
}

#[test]
fn who_does_not_want_them_has_them_counted() {
    let mut seen = Connection::default();
    let bytes = [request(1, 12, &ask(12)), request(2, 9, &write(0, &[])), header(499, 0, 3)].concat();
    assert_eq!(bytes.len(), seen.tap.from_client(&bytes, &mut seen.facts));
    let told = answer(1, 12, &FetchResponse::default());
    assert_eq!(told.len(), seen.tap.from_broker(&told, &mut seen.facts));
    assert_eq!((3, 1), (seen.facts.ingress_off, seen.facts.egress_off));
    seen.facts.clear();
    assert_eq!((0, 0), (seen.facts.ingress_off, seen.facts.egress_off));
}
