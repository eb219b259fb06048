//! The catalog of a later version: what is there, and what compatibility allows to add.

#[allow(dead_code, reason = "its `main` is the real catalog's")]
#[path = "../../build.rs"]
mod real;

const CATALOG: &str = "../../catalog.toml";

/// What is put in, each before the first place where the text stands.
const ADDED: &[(&str, &str)] = &[
    ("[[action]]\n", "rack = { type = \"dict\", doc = \"Where the client stands.\" }\n\n"),
    (
        "[[action]]\ncode = 80\n",
        r#"[[action]]
code = 67
name = "Peek"
category = "data"
scope = "session"
outcome = "success"
failure_status = "PeekFailed"
denied_status = "AuthorizationFailed"
stability = "evolving"
doc = "Records were looked at."
constants = { operation = "PEEK" }
fields = [
  { name = "topic", type = "str", column = "resource", cap = 1024, required = true, doc = "The topic." },
  { name = "rack", type = "str", column = "rack", cap = 64, doc = "From where." },
]

"#,
    ),
    (
        "]\n\n[[action]]\ncode = 65\n",
        "  { name = \"rack\", type = \"str\", column = \"rack\", cap = 64, doc = \"Where the client stands.\" },\n",
    ),
];

fn main() {
    println!("cargo::rerun-if-changed={CATALOG}");
    println!("cargo::rerun-if-changed=../../build.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let mut text = std::fs::read_to_string(CATALOG).expect("the catalog is there");
    for (place, added) in ADDED {
        let at = text.find(place).expect("the catalog has such a place");
        text.insert_str(at, added);
    }
    real::make(&text);
}
