//! As much of JSON Schema (draft 2020-12) as the upstream proposal uses, formats as assertions. A keyword that is not known
//! here fails the test, so that nothing of the schema is passed over.

use regex_lite::Regex;
use serde_json::{Map, Value};

/// What is wrong with a value; empty when it is valid.
pub fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    check(schema, value, "", &mut all);
    all
}

/// Keywords that are not wrong, say nothing, or are looked at with the members.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "description",
    "properties",
    "items",
    "additionalProperties",
    "type",
    "const",
    "pattern",
    "format",
    "minProperties",
];

fn check(schema: &Value, value: &Value, at: &str, all: &mut Vec<String>) {
    let mut wrong = |what: String| all.push(format!("{at}: {what}: {value}"));
    let map = schema.as_object().expect("a schema is an object");
    for (keyword, of) in map {
        match keyword.as_str() {
            "type" if !has_type(of, value) => wrong(format!("is no {of}")),
            "const" if of != value => wrong(format!("is not {of}")),
            "pattern" if value.as_str().is_some_and(|text| !matches(of, text)) => wrong(format!("does not match {of}")),
            "format" if value.as_str().is_some_and(|text| !has_format(of, text)) => wrong(format!("is no {of}")),
            "minProperties" if value.as_object().is_some_and(|map| (map.len() as u64) < number(of)) => {
                wrong(format!("has fewer members than {of}"));
            }
            "oneOf" => {
                let branches = of.as_array().expect("oneOf has branches");
                let matching = branches.iter().filter(|branch| errors(branch, value).is_empty()).count();
                if matching != 1 {
                    wrong(format!("matches {matching} branches"));
                }
            }
            known if KEYWORDS.contains(&known) => {}
            unknown => panic!("the keyword {unknown} is not known here"),
        }
    }
    if let Value::Object(members) = value {
        check_members(map, members, at, all);
    }
    if let (Value::Array(list), Some(of)) = (value, map.get("items")) {
        for (i, item) in list.iter().enumerate() {
            check(of, item, &format!("{at}/{i}"), all);
        }
    }
}

fn check_members(schema: &Map<String, Value>, members: &Map<String, Value>, at: &str, all: &mut Vec<String>) {
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, value) in members {
        let of = known.and_then(|known| known.get(name)).or(schema.get("additionalProperties"));
        if let Some(of) = of {
            check(of, value, &format!("{at}/{name}"), all);
        }
    }
}

fn has_type(of: &Value, value: &Value) -> bool {
    if let Some(any) = of.as_array() {
        return any.iter().any(|of| has_type(of, value));
    }
    match of.as_str().expect("a type is a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        unknown => panic!("the type {unknown} is not known here"),
    }
}

fn matches(pattern: &Value, text: &str) -> bool {
    Regex::new(pattern.as_str().expect("a pattern is text")).expect("a pattern").is_match(text)
}

fn has_format(format: &Value, text: &str) -> bool {
    let pattern = match format.as_str().expect("a format is a word") {
        "date-time" => {
            r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]\d{2}:\d{2})$"
        }
        "uuid" => "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        unknown => panic!("the format {unknown} is not known here"),
    };
    Regex::new(pattern).expect("a pattern").is_match(text)
}

fn number(of: &Value) -> u64 {
    of.as_u64().expect("a number")
}
