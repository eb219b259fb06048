//! Redaction: what is left of a context and of a record, what a policy says of it, and what a rule may still ask.

use std::collections::HashSet;
use std::sync::Arc;

use auditring_event::event::{Cell, Event};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::rewrite::adds_up;
use auditring_event::{Column, Context, Definitions, RowRef, RowSet, by_name, row};
use auditring_policy::{Decision, Key, Policy, Redacted, Redactor, compile, key_id_of, redactions};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::common::{Sent, chooser, decide, definition};

const KEY: &[u8] = b"a key that is long enough";
const OTHER: &[u8] = b"another key, as long as that";

fn form(redact: &Value, rules: &Value) -> Vec<u8> {
    let form = json!({"version": 3, "seed": 7, "allow_blind_spots": false, "redact": redact, "rules": rules});
    serde_json::to_vec(&form).unwrap()
}

fn compiled(redact: &Value, rules: &Value) -> Policy {
    let form = form(redact, rules);
    Policy::parse(&form).unwrap().check().unwrap();
    let bytes = compile(&form, &serde_json::to_vec(redact).unwrap(), Key::new(KEY).as_ref()).unwrap();
    Policy::parse(&bytes).unwrap()
}

fn redactor(redact: &Value) -> Redactor {
    Redactor::new(&compiled(redact, &json!([])), Key::new(KEY)).expect("a key that fits")
}

fn hash(value: &str) -> String {
    let mut out = String::new();
    Key::new(KEY).unwrap().hash(value.as_bytes(), &mut out);
    out
}

fn everything() -> Value {
    let fields = ["peer", "principal", "client_id", "resource", "reason", "context.note", "object_ref.kek"];
    fields.iter().map(|field| json!({"field": field, "how": "hash"})).collect()
}

/// The event that a reader sees of a record and its context, once they are redacted as the pump does it.
fn shown(redactor: &mut Redactor, record: &[u8], context: &Context) -> Event {
    let mut bytes = Vec::new();
    context.encode(&mut bytes);
    let record = RecordView::parse(record).unwrap();
    let (body, also) = match redactor.record(&record) {
        Redacted::Untouched => (None, 0),
        Redacted::Body { presence, flags, marks } => (Some((presence, flags)), marks),
        Redacted::Unreadable => panic!("it can be read"),
    };
    let mut other = Vec::new();
    redactor.context(&bytes, also, &mut other);
    let mut set = RowSet { contexts: vec![Arc::new(Context::decode(&other).unwrap())], ..RowSet::default() };
    let view = body.map_or(record, |(presence, flags)| record.with(presence, flags, redactor.body()));
    row::from_record(&view, 0, 1, 1, 0, &mut set.data);
    set.rows.push(RowRef { seq: 0, offset: 0, weight: 1, count: 1 });
    let mut definitions = Definitions::default();
    definitions.insert(definition());
    set.definitions = Arc::new(definitions);
    Event::of(&set, &set.rows[0]).unwrap()
}

fn map(event: &Event, column: Column) -> Map<String, Value> {
    match event.get(column) {
        Some(Cell::Map(map)) => map.clone(),
        _ => Map::new(),
    }
}

fn session() -> Context {
    Context {
        session: Some("s".into()),
        client_id: Some("app-7".into()),
        peer_ip: Some("10.1.2.3".into()),
        peer_port: Some(40112),
        principal: Some("alice".into()),
        principals: vec!["User:alice".into(), "Group:staff".into(), "plain".into()],
        context: json!({"note": ["a", 7, true], "other": 1, "tls.subject": "CN=alice"}).as_object().cloned(),
        ..Context::default()
    }
}

#[test]
fn every_place_of_a_field_is_redacted_and_the_row_says_which_were() {
    let mut redactor = redactor(&everything());
    let mut acl = Encoder::new(by_name("CreateAcls").unwrap());
    acl.text("resource_type", "Topic").text("resource", "orders").text("acl_principal", "User:bob").reason("bob may");
    acl.text("acl_host", "10.9.9.9").text("acl_operation", "READ");
    acl.object_ref(json!({"kek": "k-1", "groupId": "g", "plain": "p"}).as_object().unwrap());
    acl.context_map(json!({"note": 5, "token.owner": "User:carol", "plain": "q"}).as_object().unwrap());
    let event = shown(&mut redactor, &acl.to_vec(), &session());
    assert_eq!(event.text(Column::PeerIp), Some(&*hash("10.1.2.3")));
    assert_eq!(event.int(Column::PeerPort), None);
    assert_eq!(event.text(Column::Principal), Some(&*hash("alice")));
    let principals = [format!("User:{}", hash("alice")), format!("Group:{}", hash("staff")), hash("plain")];
    assert_eq!(event.get(Column::Principals), Some(&Cell::Texts(principals.to_vec())));
    assert_eq!(event.text(Column::ClientId), Some(&*hash("app-7")));
    assert_eq!(event.text(Column::Resource), Some(&*hash("orders")));
    assert_eq!(event.text(Column::Reason), Some(&*hash("bob may")));
    let expected = json!({"kek": hash("k-1"), "groupId": hash("g"), "plain": "p"});
    assert_eq!(Value::Object(map(&event, Column::ObjectRef)), expected);
    let fields = ["peer", "principal", "client_id", "resource", "reason", "context.note", "object_ref.kek"];
    let expected = json!({
        "note": hash("5"), "other": 1, "plain": "q", "tls.subject": hash("CN=alice"), "acl.operation": "READ",
        "acl.principal": format!("User:{}", hash("bob")), "acl.host": hash("10.9.9.9"),
        "token.owner": format!("User:{}", hash("carol")),
        "auditring.redacted": fields, "auditring.key_id": Key::new(KEY).unwrap().id(),
    });
    assert_eq!(Value::Object(map(&event, Column::Context)), expected);
    assert_eq!((event.text(Column::Session), event.text(Column::Status)), (Some("s"), None));
}

#[test]
fn only_what_was_there_is_said_to_be_redacted() {
    let mut redactor = redactor(&everything());
    let mut event = Encoder::new(by_name("RequestIngress").unwrap());
    let bare = Context { session: Some("s".into()), ..Context::default() };
    assert!(map(&shown(&mut redactor, &event.text("api", "FETCH").to_vec(), &bare), Column::Context).is_empty());
    event.text("group_id", "g");
    let shown = shown(&mut redactor, &event.to_vec(), &bare);
    assert_eq!(map(&shown, Column::Context)["auditring.redacted"], json!(["resource"]));
}

#[test]
fn the_users_that_administration_is_about_are_principals() {
    let mut redactor = redactor(&json!([{"field": "principal", "how": "hash"}]));
    let bare = Context::default();
    let mut scram = Encoder::new(by_name("AlterUserScramCredentials").unwrap());
    scram.text("user", "bob");
    assert_eq!(shown(&mut redactor, &scram.to_vec(), &bare).text(Column::Resource), Some(&*hash("bob")));
    let mut failed = Encoder::new(by_name("ClientSaslAuthFailure").unwrap());
    failed.text("attempted_principal", "bob");
    assert_eq!(shown(&mut redactor, &failed.to_vec(), &bare).text(Column::AttemptedPrincipal), Some(&*hash("bob")));
    for (kind, resource) in [("User", hash("bob")), ("USER", hash("bob")), ("Topic", "bob".to_owned())] {
        let mut denied = Encoder::new(by_name("OperationDenied").unwrap());
        denied.text("operation", "DESCRIBE").text("resource_type", kind).text("resource", "bob");
        assert_eq!(shown(&mut redactor, &denied.to_vec(), &bare).text(Column::Resource), Some(&*resource));
    }
}

#[test]
fn truncation_leaves_the_network_or_the_first_characters_with_a_mark() {
    let mut redactor = redactor(&json!([
        {"field": "peer", "how": "truncate", "ipv4": 24, "ipv6": 48},
        {"field": "principal", "how": "truncate", "length": 2},
        {"field": "client_id", "how": "drop"},
    ]));
    let mut ping = Encoder::new(by_name("RequestIngress").unwrap());
    ping.text("api", "FETCH");
    for (peer, network) in [
        ("10.1.2.3", Some("10.1.2.0/24")),
        ("::ffff:10.1.2.3", Some("10.1.2.0/24")),
        ("2001:db8:1:2::3", Some("2001:db8:1::/48")),
        ("fe80::1%eth0", Some("fe80::/48")),
        ("/run/proxy.sock", None),
    ] {
        let context = Context { peer_ip: Some(peer.into()), ..session() };
        let event = shown(&mut redactor, &ping.to_vec(), &context);
        assert_eq!((event.text(Column::PeerIp), event.text(Column::ClientId)), (network, None));
        assert_eq!(event.text(Column::Principal), Some("al…"));
        let names = ["User:al…", "Group:st…", "pl…"].map(str::to_owned).to_vec();
        assert_eq!(event.get(Column::Principals), Some(&Cell::Texts(names)));
        let marks = map(&event, Column::Context);
        assert_eq!(marks["auditring.redacted"], json!(["peer", "principal", "client_id"]));
        assert!(!marks.contains_key("auditring.key_id"));
    }
}

#[test]
fn without_the_key_a_hashed_value_is_left_out_and_marked_and_the_others_are_as_ever() {
    let redact = json!([{"field": "principal", "how": "hash"}, {"field": "client_id", "how": "truncate", "length": 3}]);
    let policy = compiled(&redact, &json!([]));
    assert!(Redactor::new(&policy, None).is_none() && Redactor::new(&policy, Key::new(OTHER)).is_none());
    let bytes = compile(&form(&redact, &json!([])), &serde_json::to_vec(&redact).unwrap(), Key::new(KEY).as_ref());
    let said = redactions(&bytes.unwrap()).unwrap();
    assert!(Redactor::of_another("", None).unwrap().is_none() && Redactor::of_another("[{}]", None).is_err());
    let another = |key: Option<Key>| Redactor::of_another(&said, key.as_ref()).unwrap().unwrap();
    let mut theirs = another(Key::new(KEY));
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    session().encode(&mut plain);
    theirs.context(&plain, 0, &mut out);
    assert_eq!(Context::decode(&out).unwrap().principal, Some(hash("alice")));
    let mut redactor = another(Key::new(OTHER));
    let mut login = Encoder::new(by_name("ClientSaslAuthSuccess").unwrap());
    login.text("principal", "alice");
    let event = shown(&mut redactor, &login.to_vec(), &session());
    assert_eq!((event.text(Column::Principal), event.get(Column::Principals)), (None, None));
    assert_eq!(event.text(Column::ClientId), Some("app…"));
    let marks = map(&event, Column::Context);
    assert_eq!(marks["auditring.redacted"], json!(["principal", "client_id"]));
    assert!(!marks.contains_key("auditring.key_id") && !marks.contains_key("tls.subject"));
}

#[test]
fn what_cannot_be_read_is_left_out_and_marked() {
    let mut redactor = redactor(&everything());
    let mut out = Vec::new();
    let secret = b"\xff\xff\xff\xffsecret";
    assert_ne!(0, redactor.context(secret, 0, &mut out));
    let context = Context::decode(&out).unwrap();
    assert_eq!(context.context.unwrap()["auditring.redacted"].as_array().unwrap().len(), 7);
    assert!(!out.windows(6).any(|some| some == b"secret"));

    // A string that is no text, and a map that is no map.
    let mut read = Encoder::new(by_name("Read").unwrap());
    read.text("topic", "secret").context_text("secret".into()).object_ref_text("[\"secret\"]".into());
    let mut bytes = read.to_vec();
    let at = bytes.windows(6).position(|some| some == b"secret").unwrap();
    bytes[at] = 0xff;
    let record = RecordView::parse(&bytes).unwrap();
    let Redacted::Body { presence, marks, .. } = redactor.record(&record) else { panic!("it is redacted") };
    let record = record.with(presence, 0, redactor.body());
    assert_eq!((0, 0, 0), (record.presence(), record.body().len(), marks.count_ones() / 7));

    // A body that does not add up is nothing at all.
    let whole = Encoder::new(by_name("ProxyCleanShutdown").unwrap()).to_vec();
    let bad = RecordView::parse(&whole).unwrap();
    assert_eq!(redactor.record(&bad.with(0, 0, b"secret")), Redacted::Unreadable);
    assert_eq!(redactor.record(&bad.with(1, 0, b"secret")), Redacted::Unreadable);
}

#[test]
fn nothing_of_a_declared_event_is_shown_before_its_definition_is_there() {
    let mut redactor = redactor(&json!([{"field": "object_ref.com.example.kek", "how": "hash"}]));
    let mut used = Encoder::declared(&definition());
    used.declared_text(0, "kek-7");
    let event = shown(&mut redactor, &used.to_vec(), &Context::default());
    assert!(map(&event, Column::ObjectRef).is_empty() && !format!("{event:?}").contains("kek-7"));
    let mut definitions = Definitions::default();
    definitions.insert(definition());
    redactor.define(&definitions);
    let event = shown(&mut redactor, &used.to_vec(), &Context::default());
    assert_eq!(map(&event, Column::ObjectRef)["com.example.kek"], json!(hash("kek-7")));
}

#[test]
fn a_rule_asks_for_exact_values_of_hashed_fields_and_the_journal_has_their_hashes() {
    let redact = json!([{"field": "principal", "how": "hash"}, {"field": "peer", "how": "hash"}]);
    let rules = json!([
        {"principal": ["alice"], "keep": "off"},
        {"principal": ["User:bob"], "keep": "off"},
        {"peer": ["10.1.2.3/32", "::ffff:10.1.2.4"], "keep": "off"},
    ]);
    let bytes = compile(&form(&redact, &rules), &serde_json::to_vec(&redact).unwrap(), Key::new(KEY).as_ref()).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(!["alice", "bob", "10.1.2"].iter().any(|plain| text.contains(plain)), "{text}");
    assert_eq!(bytes, compile(&bytes, &serde_json::to_vec(&redact).unwrap(), Key::new(KEY).as_ref()).unwrap());
    let mut chooser = chooser(Policy::parse(&bytes).unwrap(), None);
    let mut redactor = redactor(&redact);
    let mut of = |principal: &str, peer: &str| {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let context = Context { principal: Some(principal.into()), peer_ip: Some(peer.into()), ..Context::default() };
        context.encode(&mut plain);
        redactor.context(&plain, 0, &mut out);
        let sent = Sent { context: Some(Context::decode(&out).unwrap()), ..Sent::new("Read").on("orders") };
        decide(&mut chooser, &sent, 1) == Decision::FilteredOut
    };
    let found = [("alice", "::1"), ("bob", "::1"), ("carol", "10.1.2.3"), ("carol", "10.1.2.4"), ("carol", "10.1.2.5")];
    assert_eq!(found.map(|(principal, peer)| of(principal, peer)), [true, true, true, true, false]);
}

#[test]
fn the_policy_of_a_sink_has_the_hashes_of_its_log_and_no_redactions() {
    let redact = br#"[{"field":"resource","how":"hash"}]"#;
    let own = br#"{"allow_blind_spots":false,"rules":[{"keep":"off","resource":["a\\*b"]}],"seed":7,"version":2}"#;
    let bytes = compile(own, redact, Key::new(KEY).as_ref()).unwrap();
    let expected = json!({
        "version": 3, "seed": 7, "allow_blind_spots": false, "rules": [{"keep": "off", "resource": [hash("a*b")]}]
    });
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expected);
    Policy::parse(&bytes).unwrap();
}

#[test]
fn a_rule_over_values_that_nobody_will_have_is_refused() {
    for (redact, rule, says) in [
        (json!({"field": "principal", "how": "hash"}), json!({"principal": ["svc-*"]}), "\"svc-*\" is a pattern"),
        (
            json!({"field": "resource", "how": "hash"}),
            json!({"resource": ["a?"]}),
            "name exact values, or do not redact",
        ),
        (json!({"field": "peer", "how": "hash"}), json!({"peer": ["10.0.0.0/8"]}), "\"10.0.0.0/8\" is a network"),
        (
            json!({"field": "peer", "how": "drop"}),
            json!({"peer": ["10.0.0.1"]}),
            "no event will say \"10.0.0.1\"; hash it",
        ),
        (
            json!({"field": "principal", "how": "truncate", "length": 2}),
            json!({"principal": ["alice"]}),
            "no event will say \"alice\"",
        ),
    ] {
        let mut rule = rule;
        rule["keep"] = "off".into();
        let text = form(&json!([redact]), &json!([{"keep": "all", "action": ["Read"]}, rule]));
        let said = Policy::parse(&text).unwrap().check().unwrap_err().to_string();
        assert!(said.starts_with("rule 2: ") && said.contains(says), "{said}");
    }
}

#[test]
fn a_redaction_that_cannot_be_says_which_and_why() {
    for (redact, says) in [
        (
            json!([{"field": "principle", "how": "drop"}]),
            "redact 1: there is no field \"principle\" to redact; did you mean \"principal\"?",
        ),
        (json!([{"field": "peer_ip", "how": "drop"}]), "did you mean \"peer\"?"),
        (json!([{"field": "acl.principal", "how": "drop"}]), "did you mean \"context.acl.principal\"?"),
        (json!([{"field": "context.auditring.cut", "how": "drop"}]), "is not the host's"),
        (json!([{"field": "context.", "how": "drop"}]), "which key?"),
        (json!([{"field": "peer", "how": "hsah"}]), "did you mean \"hash\"?"),
        (json!([{"field": "peer", "how": "truncate", "length": 3}]), "to its network"),
        (json!([{"field": "peer", "how": "truncate", "ipv4": 33, "ipv6": 48}]), "0 to 32 bits"),
        (json!([{"field": "reason", "how": "truncate"}]), "to a length"),
        (json!([{"field": "reason", "how": "truncate", "length": 0}]), "1 to 1024"),
        (json!([{"field": "reason", "how": "hash", "length": 1}]), "has no length"),
        (json!([{"field": "reason", "how": "hash", "key_id": "secret"}]), "8 hexadecimal digits"),
        (
            json!([{"field": "peer", "how": "drop"}, {"field": "peer", "how": "hash"}]),
            "redact 2: \"peer\" is redacted already",
        ),
    ] {
        let said = Policy::parse(&form(&redact, &json!([]))).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_hash_needs_its_key_when_a_policy_is_compiled() {
    let redact = json!([{"field": "peer", "how": "hash"}]);
    let (form, list) = (form(&redact, &json!([])), serde_json::to_vec(&redact).unwrap());
    assert_eq!(compile(&form, &list, None).unwrap_err().to_string(), "the key is not there");
}

#[test]
fn marks_find_room_in_a_full_context() {
    let mut redactor = redactor(&everything());
    let full: Map<String, Value> = (0..400).map(|n| (format!("key-{n:04}"), "x".repeat(30).into())).collect();
    let mut plain = Vec::new();
    Context { context: Some(full), ..session() }.encode(&mut plain);
    let mut out = Vec::new();
    redactor.context(&plain, u64::MAX >> 57, &mut out);
    let map = Context::decode(&out).unwrap().context.unwrap();
    assert_eq!(map["auditring.redacted"].as_array().unwrap().len(), 7);
    assert!(map.contains_key("auditring.key_id") && map["auditring.cut"] == json!(true) && map.len() > 150);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[a-z:*é\"\\\\]{1,12}", ".{1,40}"].prop_map(|text| format!("S3CRET{text}"))
}

proptest! {
    #[test]
    fn no_byte_of_a_redacted_value_is_left_and_equal_values_stay_equal(
        names in proptest::collection::vec(name(), 6),
        hows in proptest::collection::vec(0..3_u8, 7),
        plain in "[a-z]{1,8}",
    ) {
        let fields = ["peer", "principal", "client_id", "resource", "reason", "context.note", "object_ref.kek"];
        let how = |(field, how): (&&str, &u8)| match (how, *field) {
            (0, field) => json!({"field": field, "how": "drop"}),
            (1, "peer") => json!({"field": "peer", "how": "truncate", "ipv4": 24, "ipv6": 48}),
            (1, field) => json!({"field": field, "how": "truncate", "length": 5}),
            (_, field) => json!({"field": field, "how": "hash"}),
        };
        let redact: Value = fields.iter().zip(&hows).map(how).collect();
        let mut redactor = redactor(&redact);
        let context = Context {
            session: Some(plain.clone()), peer_ip: Some(names[0].clone()), peer_port: Some(1), principal: Some(names[1].clone()),
            principals: vec![format!("User:{}", names[1]), names[1].clone()], client_id: Some(names[2].clone()),
            context: json!({"note": [names[4], names[4]], "plain": plain}).as_object().cloned(), ..Context::default()
        };
        let mut acl = Encoder::new(by_name("CreateAcls").unwrap());
        acl.text("resource_type", "Topic").text("resource", &names[3]).text("acl_principal", &format!("User:{}", names[1]));
        acl.text("acl_host", &names[0]).reason(&names[5]).text("acl_pattern", &plain);
        acl.object_ref(json!({"kek": names[5], "topicName": names[3], "plain": plain}).as_object().unwrap());
        acl.context_map(json!({"note": names[4], "token.owner": names[1]}).as_object().unwrap());
        let record = acl.to_vec();
        let event = shown(&mut redactor, &record, &context);
        let all = format!("{event:?}");
        prop_assert!(!all.contains("S3CRET"), "{}", all);
        prop_assert_eq!(event.text(Column::Session), Some(&*plain));
        let (context_map, object_ref) = (map(&event, Column::Context), map(&event, Column::ObjectRef));
        prop_assert_eq!(context_map["acl.pattern"].as_str(), Some(&*plain));
        prop_assert_eq!(object_ref["plain"].as_str(), Some(&*plain));
        prop_assert_eq!(event.text(Column::ResourceType), Some("Topic"));
        // The same redactions elsewhere come to the same.
        prop_assert_eq!(&event, &shown(&mut self::redactor(&redact), &record, &context));
        if hows[1] == 2 && hows[3] == 2 {
            let of_acl = context_map["acl.principal"].as_str().and_then(|text| text.split(':').next_back());
            prop_assert_eq!(event.text(Column::Principal), of_acl);
            prop_assert_eq!(event.text(Column::Resource), object_ref["topicName"].as_str());
            prop_assert!(key_id_of(event.text(Column::Resource).unwrap()).is_some());
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_comes_out_adds_up(
        code in prop_oneof![0_u16..1100, Just(64_u16), Just(85), Just(767), Just(768)],
        presence in any::<u32>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        context in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut redactor = redactor(&everything());
        let record = Encoder::new(by_name("Read").unwrap()).to_vec();
        let mut bytes = record[..12].to_vec();
        bytes[8..12].copy_from_slice(&presence.to_le_bytes());
        bytes.extend_from_slice(&code.to_le_bytes());
        bytes.extend_from_slice(&record[14..28]);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        let record = RecordView::parse(&bytes).unwrap();
        prop_assert_eq!((code, presence), (record.code(), record.presence()));
        if let Redacted::Body { presence, .. } = redactor.record(&record) {
            prop_assert!(adds_up(code, presence, redactor.body()));
        }
        let mut out = Vec::new();
        redactor.context(&context, presence.into(), &mut out);
        Context::decode(&out).unwrap();
    }

    #[test]
    fn other_values_and_other_keys_have_other_hashes(values in proptest::collection::hash_set(".{0,20}", 1..20)) {
        let mut hashes = HashSet::new();
        for key in [KEY, OTHER] {
            for value in &values {
                let mut out = String::new();
                Key::new(key).unwrap().hash(value.as_bytes(), &mut out);
                prop_assert!(hashes.insert(out));
            }
        }
    }
}
