//! Lines as people read them: who is the actor, what is the object, what became of a value.

mod common;

use auditring_event::json::{lines, session_uuid};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, NO_CONTEXT};
use auditring_event::{Context, Origin, Outcome, RowRef, by_name};
use serde_json::{Map, Value, json};

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().expect("a map").clone()
}

/// The line of an event in a session of alice's.
fn line(encoder: &Encoder) -> Value {
    let context = Context {
        session: Some("conn-7".into()),
        virtual_cluster: Some("payments".into()),
        peer_ip: Some("10.1.2.3".into()),
        peer_port: Some(40_112),
        principals: vec!["User:alice".into(), "Group:sales".into()],
        context: Some(map(&json!({"tls.version": "1.3"}))),
        ..Context::default()
    };
    let mut set = common::row_set(vec![context], &[]);
    let record = encoder.to_vec();
    row::from_record(&RecordView::parse(&record).expect("a record"), 0, 0, 0, 0, &mut set.data);
    set.rows.push(RowRef { seq: 1, offset: 0, weight: 1, count: 1 });
    let mut out = Vec::new();
    lines(&set, &mut out).expect("the row is fine");
    serde_json::from_slice(&out).expect("a line is JSON")
}

fn action(name: &str) -> Encoder {
    Encoder::new(by_name(name).expect("in the catalog"))
}

#[test]
fn a_client_is_an_actor_with_all_its_principals() {
    let mut denied = action("OperationDenied");
    denied.text("operation", "WRITE").text("resource_type", "Topic").text("resource", "salaries");
    let line = line(&denied);
    let principals = json!([{"type": "User", "name": "alice"}, {"type": "Group", "name": "sales"}]);
    let session = session_uuid("conn-7");
    let actor = json!({"type": "Client", "srcAddr": "10.1.2.3", "session": session, "principals": principals});
    assert_eq!(actor, line["actor"]);
    assert_eq!(("conn-7", 40_112), (line["session"].as_str().unwrap(), line["peerPort"].as_i64().unwrap()));
    assert_eq!(json!({"vc": "payments", "topicName": "salaries"}), line["objectRef"]);
    assert_eq!(
        ("denied", "AuthorizationFailed"),
        (line["outcome"].as_str().unwrap(), line["status"].as_str().unwrap())
    );
    assert_eq!("decision", line["authority"]);
    assert_eq!(json!({"tls.version": "1.3"}), line["context"]);
}

#[test]
fn a_filter_is_never_taken_for_the_client() {
    let mut event = Encoder::freeform("com.example.kms.KeyUsed");
    event.origin(Origin::Filter).filter("com.example.kms.Encryption").cause_session("conn-9");
    let seen = line(&event);
    assert_eq!(json!({"type": "com.example.kms.Encryption"}), seen["actor"]);
    assert_eq!(json!(["User:alice", "Group:sales"]), seen["principals"]);
    assert_eq!(("filter", "10.1.2.3"), (seen["origin"].as_str().unwrap(), seen["peerIp"].as_str().unwrap()));
    assert_eq!("conn-9", seen["context"]["causeSession"]);

    event.filter("encryption");
    let process = "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60";
    assert_eq!(json!({"type": "Proxy", "executionId": process}), line(&event)["actor"]);
}

#[test]
fn a_request_has_its_own_principal_and_details() {
    let mut request = action("HttpRequest");
    request.text("method", "GET").text("path", "/v1/items").int("status_code", 403).text("principal", "bob");
    request.text("request_id", "r-1").outcome(Outcome::Denied);
    let line = line(&request);
    assert_eq!(json!([{"type": "User", "name": "bob"}]), line["actor"]["principals"]);
    let context = json!({"tls.version": "1.3", "http.response.status_code": 403, "http.request.id": "r-1"});
    assert_eq!(context, line["context"]);
    assert_eq!(
        ["GET", "Route", "/v1/items"],
        ["operation", "resourceType", "resource"].map(|name| line[name].as_str().unwrap())
    );
    assert_eq!("HttpDenied", line["status"]);
}

#[test]
fn what_the_caller_says_of_the_object_stands() {
    let mut event = Encoder::freeform("com.example.Renamed");
    event.object_ref(&map(&json!({"vc": "other", "com.example.kek": "kek-7"})));
    let line = line(&event);
    assert_eq!(json!({"vc": "other", "com.example.kek": "kek-7"}), line["objectRef"]);
    assert_eq!(json!(["vc"]), line["objectRefGiven"]);
    assert_eq!("payments", line["virtualCluster"]);
}

#[test]
fn marks_say_what_was_done() {
    let mut event = Encoder::freeform("com.example.Long");
    event.reason(&"x".repeat(5000)).text("resource", "a\0b");
    let context = json!({"tls.version": "1.3", "auditring.altered": true, "auditring.cut": true});
    assert_eq!(context, line(&event)["context"]);
}

#[test]
fn a_session_that_is_no_uuid_has_one_for_upstream() {
    let uuid = "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60";
    assert_eq!(uuid, session_uuid(uuid));
    assert_eq!(session_uuid("conn-7"), session_uuid("conn-7"));
    assert_ne!(session_uuid("conn-7"), session_uuid("conn-8"));
    assert_eq!(36, session_uuid("").len());
}

#[test]
fn a_declared_event_without_its_definition_is_shown_all_the_same() {
    let mut set = common::row_set(Vec::new(), &[]);
    let mut event = Encoder::declared(common::definitions().get(768).expect("declared"));
    event.declared_text(0, "kek-7").declared_text(9, "more");
    let record = event.to_vec();
    row::from_record(&RecordView::parse(&record).expect("a record"), NO_CONTEXT, 0, 0, 0, &mut set.data);
    set.rows.push(RowRef { seq: 1, offset: 0, weight: 1, count: 1 });
    let shown = |set: &auditring_event::RowSet| {
        let mut out = Vec::new();
        lines(set, &mut out).expect("the row is fine");
        let line: Value = serde_json::from_slice(&out).expect("a line is JSON");
        [line["action"].clone(), line["objectRef"].clone(), line["context"].clone()]
    };
    assert_eq!(
        [json!("com.example.kms.KeyUsed"), json!({"com.example.kek": "kek-7"}), json!({"field9": "more"})],
        shown(&set)
    );
    set.definitions = std::sync::Arc::default();
    assert_eq!([json!("auditring.Undeclared"), json!(null), json!({"field0": "kek-7", "field9": "more"})], shown(&set));
}
