//! Every line validates against the upstream proposal's schema, formats included.
//!
//! The schema is read where it lies beside the repository; where it is not there the test says so and passes.

mod common;

use auditring_event::json;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/peers/kroxylicious_audit_action_v1.json");

static VALIDATOR: LazyLock<Option<Validator>> = LazyLock::new(|| {
    let Ok(text) = std::fs::read_to_string(SCHEMA) else {
        println!("skipped: the upstream schema is not there");
        return None;
    };
    let schema = serde_json::from_str(&text).expect("the schema is JSON");
    Some(jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is one"))
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_line_validates_upstream(set in common::sets(12)) {
        if let Some(validator) = VALIDATOR.as_ref() {
            let mut out = Vec::new();
            json::lines(&set, &mut out).expect("the rows are fine");
            for line in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Value = serde_json::from_slice(line).expect("a line is JSON");
                let errors: Vec<_> = validator.iter_errors(&line).map(|why| format!("{why} at {}", why.instance_path())).collect();
                prop_assert!(errors.is_empty(), "{errors:?} in {line}");
            }
        }
    }
}

#[test]
fn the_validator_knows_formats() {
    if let Some(validator) = VALIDATOR.as_ref() {
        let line = |time: &str, session: &str| serde_json::json!({"time": time, "action": "Read", "actor": {"type": "Client", "session": session}});
        let (time, session) = ("2026-11-23T20:15:00.123456789Z", "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60");
        assert!(validator.is_valid(&line(time, session)));
        assert!(!validator.is_valid(&line("yesterday", session)));
        assert!(!validator.is_valid(&line(time, "17")));
    }
}
