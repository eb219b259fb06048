//! Every line validates against the upstream proposal's schema, formats included.
//!
//! The schema is read where it lies beside the repository; where it is not there the test says so and passes.

mod common;

use auditring_event::json::{self, Dialect};
use common::schema;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/peers/kroxylicious_audit_action_v1.json");

static SCHEMA: LazyLock<Option<Value>> = LazyLock::new(|| {
    let Ok(text) = std::fs::read_to_string(PATH) else {
        println!("skipped: the upstream schema is not there");
        return None;
    };
    Some(serde_json::from_str(&text).expect("the schema is JSON"))
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_line_validates_upstream(set in common::sets(12)) {
        if let Some(schema) = SCHEMA.as_ref() {
            let mut out = Vec::new();
            json::lines(&set, &mut out).expect("the rows are fine");
            json::lines_in(Dialect::KroxyliciousV1, &set, &mut out).expect("the rows are fine");
            for line in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Value = serde_json::from_slice(line).expect("a line is JSON");
                prop_assert_eq!(Vec::<String>::new(), schema::errors(schema, &line));
            }
        }
    }
}

#[test]
fn the_validator_tells_wrong_lines() {
    let Some(schema) = SCHEMA.as_ref() else { return };
    let line = json!({
        "time": "2026-11-23T20:15:00.123456789Z",
        "action": "com.example.KeyUsed",
        "status": "kafka.NOT_LEADER",
        "actor": {"type": "Client", "session": "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60", "principals": [{"name": "a"}]},
        "objectRef": {"vc": "payments"},
        "context": {"a": [1, "b", true]},
    });
    assert_eq!(Vec::<String>::new(), schema::errors(schema, &line));
    for (pointer, wrong) in [
        ("/time", json!("yesterday")),
        ("/action", json!("read")),
        ("/status", json!("Bad gateway")),
        ("/actor/type", json!("Somebody")),
        ("/actor/type", json!(7)),
        ("/actor/session", json!("17")),
        ("/actor/principals", json!({"name": "a"})),
        ("/objectRef", json!({})),
        ("/objectRef/vc", json!(1)),
        ("/context/a", json!([[1]])),
        ("/context/a", json!(null)),
    ] {
        let mut line = line.clone();
        *line.pointer_mut(pointer).expect("it is there") = wrong;
        assert!(!schema::errors(schema, &line).is_empty(), "{line}");
    }
}
