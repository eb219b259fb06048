//! Turns `catalog.toml` into constants: the columns, the caps, and one `ActionSpec` per action.
//!
//! A catalog that could not be recorded faithfully does not build: codes and names are unique, no action has more fields
//! than the presence word has bits for, a column's type fits its field, and the largest event fits into a record.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const MAX_FIELDS: usize = 20;
const MAX_CODE: u16 = 767;
/// A ring takes no record of more than 64 KiB.
const MAX_RECORD: u64 = 64 << 10;
/// The ring's own word before each record.
const WORD: u64 = 8;
/// Record head, context presence and its two numbers, the end time, and padding.
const HEADS: u64 = 32 + 4 + 16 + 8 + 16;
/// Each string has a length word.
const LENGTH_WORD: u64 = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    caps: BTreeMap<String, u16>,
    session_caps: BTreeMap<String, u16>,
    sets: BTreeMap<String, Vec<Field>>,
    columns: toml::Table,
    action: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnEntry {
    r#type: String,
    #[serde(default)]
    required: bool,
    doc: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    code: u16,
    name: String,
    method: Option<String>,
    kroxylicious: Option<String>,
    category: String,
    scope: String,
    outcome: String,
    /// All that an action may end with whose name says how it ended; without it, anything.
    #[serde(default)]
    outcomes: Vec<String>,
    failure_status: Option<String>,
    denied_status: Option<String>,
    authority: Option<String>,
    stability: String,
    doc: String,
    #[serde(default = "yes")]
    emit: bool,
    origin: Option<String>,
    #[serde(default)]
    proxy: bool,
    #[serde(default)]
    constants: BTreeMap<String, String>,
    #[serde(default)]
    fields: Vec<Field>,
    set: Option<String>,
    #[serde(default)]
    more: Vec<Field>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    r#type: String,
    column: Option<String>,
    object_ref: Option<String>,
    context: Option<String>,
    #[serde(default)]
    required: bool,
    cap: Option<u16>,
    min: Option<i64>,
    max: Option<i64>,
    #[serde(default)]
    words: Vec<String>,
    /// With which field of a redaction the value goes, where its column does not tell.
    redact: Option<String>,
    doc: String,
}

fn yes() -> bool {
    true
}

fn main() {
    println!("cargo::rerun-if-changed=catalog.toml");
    println!("cargo::rerun-if-changed=build.rs");
    make(&std::fs::read_to_string("catalog.toml").expect("the catalog lies beside the manifest"));
}

/// Writes what a catalog says to where the crate includes it.
///
/// # Panics
/// If cargo's own directory is not there: then nothing can be built.
pub fn make(text: &str) {
    let made = toml::from_str::<Catalog>(text)
        .map_err(|e| e.to_string())
        .and_then(|mut catalog| join_sets(&mut catalog).map(|()| catalog))
        .and_then(|catalog| generate(&catalog));
    match made {
        Ok(code) => {
            let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
            std::fs::write(format!("{out}/catalog.rs"), code).expect("OUT_DIR is writable");
        }
        Err(why) => {
            println!("cargo::error=catalog.toml: {why}");
            std::process::exit(1);
        }
    }
}

/// Puts the fields of each action's set behind its own, and what was added later behind those.
fn join_sets(catalog: &mut Catalog) -> Result<(), String> {
    for action in &mut catalog.action {
        if let Some(set) = &action.set {
            let fields = catalog.sets.get(set).ok_or_else(|| format!("{}: there is no set `{set}`", action.name))?;
            action.fields.extend(fields.iter().cloned());
        }
        action.fields.append(&mut action.more);
    }
    Ok(())
}

/// `client_id` → `ClientId`, and a plain word → the enum variant of that name.
fn camel(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<Vec<_>>()
        })
        .collect()
}

/// `ClientSaslAuthSuccess` → `client_sasl_auth_success`; the package of a qualified name is left out.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.rsplit('.').next().unwrap_or(name).chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A number as people write it: `65_536`.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

fn one_of(what: &str, value: &str, of: &[&str]) -> Result<(), String> {
    if of.contains(&value) { Ok(()) } else { Err(format!("{what} `{value}` is none of {of:?}")) }
}

fn generate(catalog: &Catalog) -> Result<String, String> {
    let mut out = String::new();
    let columns = columns(catalog, &mut out)?;
    caps(catalog, &mut out)?;
    let mut codes = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut methods = BTreeSet::new();
    let mut largest = 0;
    writeln!(out, "/// Every action of the catalog, by ascending code.\npub const ACTIONS: &[ActionSpec] = &[")
        .unwrap();
    let mut last = None;
    for action in &catalog.action {
        let name = &action.name;
        if action.code == 0 || action.code > MAX_CODE {
            return Err(format!("{name}: code {} is not in 1..={MAX_CODE}", action.code));
        }
        if !codes.insert(action.code) {
            return Err(format!("{name}: code {} is given twice", action.code));
        }
        if last.is_some_and(|last| last > action.code) {
            return Err(format!("{name}: actions are in order of their codes"));
        }
        last = Some(action.code);
        if !names.insert(name.clone()) {
            return Err(format!("{name}: the name is given twice"));
        }
        let method = action.method.clone().unwrap_or_else(|| snake(name));
        if !methods.insert(method.clone()) {
            return Err(format!("{name}: the method `{method}` is given twice"));
        }
        let size = write_action(action, &method, &columns, &mut out).map_err(|why| format!("{name}: {why}"))?;
        // What the log says of itself is handed to the pump, and never lies in a ring.
        if action.category != "audit" || action.scope == "session" {
            largest = largest.max(size);
        }
    }
    writeln!(out, "];").unwrap();

    let declared = u64::from(catalog.caps["declared_field"]) + LENGTH_WORD;
    let total = largest.max(MAX_FIELDS as u64 * declared)
        + HEADS
        + catalog
            .caps
            .values()
            .chain(catalog.session_caps.values())
            .map(|cap| u64::from(*cap) + LENGTH_WORD)
            .sum::<u64>();
    if total + WORD > MAX_RECORD {
        return Err(format!("the caps add up to {total} bytes, more than a record's {MAX_RECORD}"));
    }
    let total = total.next_multiple_of(8);
    writeln!(out, "/// No record is longer: the sum of all caps.\npub const MAX_RECORD: usize = {total};").unwrap();
    Ok(out)
}

/// Writes `enum Column` and returns the type of each column.
fn columns(catalog: &Catalog, out: &mut String) -> Result<BTreeMap<String, String>, String> {
    let mut types = BTreeMap::new();
    let mut variants = String::new();
    let mut rows = String::new();
    for (name, entry) in &catalog.columns {
        let entry: ColumnEntry = entry.clone().try_into().map_err(|e| format!("column {name}: {e}"))?;
        one_of("type", &entry.r#type, &["timestamp", "int64", "int32", "dict", "text", "texts"])
            .map_err(|why| format!("column {name}: {why}"))?;
        let variant = camel(name);
        writeln!(variants, "    /// {}\n    {variant},", entry.doc).unwrap();
        writeln!(
            rows,
            "    ColumnSpec {{ column: Column::{variant}, name: {name:?}, kind: ColumnType::{}, required: {}, doc: {:?} }},",
            camel(&entry.r#type),
            entry.required,
            entry.doc,
        )
        .unwrap();
        types.insert(name.clone(), entry.r#type);
    }
    writeln!(out, "/// The table's columns.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(u8)]\npub enum Column {{\n{variants}}}").unwrap();
    writeln!(out, "/// The table's columns, in order.\npub const COLUMNS: &[ColumnSpec] = &[\n{rows}];").unwrap();
    Ok(types)
}

fn caps(catalog: &Catalog, out: &mut String) -> Result<(), String> {
    let common =
        ["status", "reason", "tap", "filter", "object_ref", "context", "name", "cause_session", "declared_field"];
    let session = [
        "session",
        "virtual_cluster",
        "client_id",
        "listener",
        "peer_ip",
        "server",
        "server_local",
        "principal",
        "mechanism",
        "tap",
        "filter",
        "principals",
        "context",
    ];
    for (table, prefix, known, given) in
        [("caps", "", &common[..], &catalog.caps), ("session_caps", "SESSION_", &session[..], &catalog.session_caps)]
    {
        if let Some(unknown) = given.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("{table}: `{unknown}` is not known"));
        }
        for name in known {
            let cap = given.get(*name).ok_or_else(|| format!("{table}: `{name}` is missing"))?;
            let constant = format!("{prefix}{}_CAP", name.to_uppercase());
            writeln!(out, "/// Most bytes of `{name}` in `[{table}]`.\npub const {constant}: usize = {cap};").unwrap();
        }
    }
    Ok(())
}

/// Checks the outcomes: its own is among those that it may have.
fn outcomes(action: &Action) -> Result<(), String> {
    let known = ["success", "failure", "denied", "allowed", "forwarded"];
    one_of("outcome", &action.outcome, &known)?;
    let mut seen = BTreeSet::new();
    for outcome in &action.outcomes {
        one_of("outcome", outcome, &known)?;
        if !seen.insert(outcome) {
            return Err(format!("`outcomes` has `{outcome}` twice"));
        }
    }
    if !seen.is_empty() && !seen.contains(&action.outcome) {
        return Err(format!("`outcomes` lacks its own outcome `{}`", action.outcome));
    }
    Ok(())
}

/// Writes one `ActionSpec` and returns the most bytes that its fields take.
fn write_action(
    action: &Action,
    method: &str,
    columns: &BTreeMap<String, String>,
    out: &mut String,
) -> Result<u64, String> {
    one_of(
        "category",
        &action.category,
        &[
            "lifecycle",
            "connection",
            "authentication",
            "authorization",
            "administration",
            "data",
            "request",
            "plugin",
            "audit",
        ],
    )?;
    one_of("scope", &action.scope, &["process", "session"])?;
    outcomes(action)?;
    one_of("stability", &action.stability, &["stable", "evolving"])?;
    if let Some(authority) = &action.authority {
        one_of("authority", authority, &["decision", "witness"])?;
    }
    let origin = action.origin.as_deref().unwrap_or(if action.scope == "process" { "proxy" } else { "client" });
    one_of("origin", origin, &["client", "filter", "proxy"])?;
    match action.outcome.as_str() {
        "failure" if action.failure_status.is_none() => return Err("a failure needs a `failure_status`".into()),
        "denied" if action.denied_status.is_none() => return Err("a denial needs a `denied_status`".into()),
        _ => {}
    }
    if action.fields.len() > MAX_FIELDS {
        return Err(format!("{} fields, at most {MAX_FIELDS}", action.fields.len()));
    }
    if let Some(theirs) = &action.kroxylicious {
        let plain =
            theirs.starts_with(|c: char| c.is_ascii_uppercase()) && theirs.bytes().all(|b| b.is_ascii_alphanumeric());
        let by_operation = theirs == "{operation}"
            && action.fields.iter().any(|field| field.required && field.column.as_deref() == Some("operation"));
        if !plain && !by_operation {
            return Err(format!("`{theirs}` is no name, nor that of an operation that the event always has"));
        }
    }
    let mut size = 0;
    let mut fields = String::new();
    let mut names = BTreeSet::new();
    let mut targets = BTreeSet::new();
    for field in &action.fields {
        if !names.insert(&field.name) {
            return Err(format!("field `{}` is given twice", field.name));
        }
        let (text, target, bytes) =
            write_field(field, columns).map_err(|why| format!("field `{}`: {why}", field.name))?;
        if !targets.insert(target) {
            return Err(format!("field `{}`: its target is taken", field.name));
        }
        size += bytes;
        fields.push_str(&text);
    }
    let mut constants = String::new();
    for (column, value) in &action.constants {
        if columns.get(column).map(String::as_str) != Some("dict")
            || !targets.insert(format!("Target::Column(Column::{})", camel(column)))
        {
            return Err(format!("constant `{column}` is no free column of strings"));
        }
        write!(constants, "(Column::{}, {value:?}), ", camel(column)).unwrap();
    }
    writeln!(
        out,
        "    ActionSpec {{ code: {}, name: {:?}, method: {method:?}, category: Category::{}, scope: Scope::{}, outcome: Outcome::{}, outcomes: &[{}], \
         failure_status: {:?}, denied_status: {:?}, authority: {}, stability: Stability::{}, doc: {:?}, fields: &[\n{fields}    ], \
         constants: &[{constants}], emit: {}, origin: Origin::{}, proxy: {}, kroxylicious: {:?} }},",
        action.code,
        action.name,
        camel(&action.category),
        camel(&action.scope),
        camel(&action.outcome),
        action.outcomes.iter().map(|word| format!("Outcome::{}", camel(word))).collect::<Vec<_>>().join(", "),
        action.failure_status,
        action.denied_status,
        action.authority.as_ref().map_or("None".into(), |a| format!("Some(Authority::{})", camel(a))),
        camel(&action.stability),
        action.doc,
        action.emit,
        camel(origin),
        action.proxy,
        action.kroxylicious,
    )
    .unwrap();
    Ok(size)
}

/// The text of one `FieldSpec`, its target, and the most bytes that it takes.
fn write_field(field: &Field, columns: &BTreeMap<String, String>) -> Result<(String, String, u64), String> {
    one_of("type", &field.r#type, &["str", "int"])?;
    let is_str = field.r#type == "str";
    let mut range = (i64::MIN, i64::MAX);
    let target = match (&field.column, &field.object_ref, &field.context) {
        (Some(column), None, None) => {
            let kind = columns.get(column).ok_or_else(|| format!("there is no column `{column}`"))?;
            match (kind.as_str(), is_str) {
                ("dict" | "text", true) | ("int64", false) => {}
                ("int32", false) => range = (i64::from(i32::MIN), i64::from(i32::MAX)),
                _ => return Err(format!("its type does not fit column `{column}` of type {kind}")),
            }
            format!("Target::Column(Column::{})", camel(column))
        }
        (None, Some(key), None) if is_str => format!("Target::ObjectRef({key:?})"),
        (None, None, Some(key)) => format!("Target::Context({key:?})"),
        _ => return Err("needs exactly one of column, object_ref (strings only), context".into()),
    };
    let cap = match (is_str, field.cap) {
        (true, Some(cap)) => cap,
        (false, None) => 0,
        (true, None) => return Err("a string needs a `cap`".into()),
        (false, Some(_)) => return Err("a number has no `cap`".into()),
    };
    let (min, max) = (field.min.unwrap_or(range.0), field.max.unwrap_or(range.1));
    if min > max || min < range.0 || max > range.1 || (is_str && (field.min, field.max) != (None, None)) {
        return Err("`min` and `max` are no range of its type".into());
    }
    if !is_str && !field.words.is_empty() {
        return Err("a number has no `words`".into());
    }
    let (min, max) = if is_str { (0, 0) } else { (min, max) };
    if let Some(redact) = &field.redact {
        one_of("redact", redact, &["peer", "principal", "principals"])?;
        if !is_str || field.column.is_some() && field.column.as_deref() != Some("resource") {
            return Err("only strings have `redact`, and of the columns only the resource".into());
        }
    }
    let text = format!(
        "        FieldSpec {{ name: {:?}, kind: Kind::{}, target: {target}, required: {}, cap: {cap}, min: {}, max: {}, words: &{:?}, redact: {:?}, doc: {:?} }},\n",
        field.name,
        camel(&field.r#type),
        field.required,
        grouped(min),
        grouped(max),
        field.words,
        field.redact,
        field.doc,
    );
    let bytes = if is_str { u64::from(cap) + LENGTH_WORD } else { 8 };
    Ok((text, target, bytes))
}
