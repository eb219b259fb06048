//! Events as their readers see them: a line made of the columns alone, and a line for people.

mod common;

use auditring_event::event::{Cell, Event};
use auditring_event::visible::acts;
use auditring_event::{Column, RowSet, json, terminal};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

fn events(set: &RowSet) -> Vec<Event> {
    set.rows.iter().map(|at| Event::of(set, at).expect("the row is fine")).collect()
}

fn shown(event: &Event, colour: bool) -> String {
    let mut out = Vec::new();
    terminal::line(event, colour, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_line_made_of_the_columns_is_the_rows_own(
        set in common::sets(12),
        dialect in select(vec![json::Dialect::Own, json::Dialect::KroxyliciousV1]),
    ) {
        let mut lines = Vec::new();
        json::lines_in(dialect, &set, &mut lines).expect("the rows are fine");
        let parse = |line: &[u8]| serde_json::from_slice::<Value>(line).expect("JSON");
        let own: Vec<Value> = lines.split_inclusive(|byte| *byte == b'\n').map(parse).collect();
        let made: Vec<Value> = events(&set).iter().map(|event| {
            let mut line = Vec::new();
            json::line(dialect, event, &mut line);
            let whole = line.ends_with(b"}\n");
            prop_assert!(whole);
            Ok(parse(&line))
        }).collect::<Result<_, TestCaseError>>()?;
        prop_assert_eq!(own, made);
    }

    #[test]
    fn a_row_is_shown_to_people_as_its_event(set in common::sets(12), colour: bool) {
        let mut lines = Vec::new();
        terminal::lines(&set, colour, &mut lines).expect("the rows are fine");
        let made: String = events(&set).iter().map(|event| shown(event, colour)).collect();
        prop_assert_eq!(made, String::from_utf8(lines).expect("UTF-8"));
    }

    #[test]
    fn a_line_for_people_is_one_line_and_nothing_in_it_acts(set in common::sets(12)) {
        for event in events(&set) {
            let line = shown(&event, false);
            prop_assert!(line.ends_with('\n'));
            prop_assert!(!line.trim_end_matches('\n').chars().any(acts), "{line:?}");
            prop_assert_eq!(1, line.lines().count());
        }
    }
}

#[test]
fn people_see_when_what_who_and_on_which_object() {
    let mut event = Event::default();
    let mut set = |column, cell| event.set(column, Some(cell));
    let text = |text: &str| Cell::Text(text.into());
    set(Column::TimeNs, Cell::Int(1_795_464_900_123_456_789));
    set(Column::Outcome, text("denied"));
    set(Column::Action, text("OperationDenied"));
    set(Column::Principal, text("alice"));
    set(Column::Operation, text("WRITE"));
    set(Column::ResourceType, text("Topic"));
    set(Column::Resource, text("a b\u{202e}"));
    set(Column::Partition, Cell::Int(3));
    set(Column::FirstOffset, Cell::Int(10));
    set(Column::LastOffset, Cell::Int(19));
    set(Column::Status, text("AuthorizationFailed"));
    set(Column::Origin, text("client"));
    set(Column::PeerIp, text("10.1.2.3"));
    set(Column::PeerPort, Cell::Int(50_412));
    let line = "2026-11-23T20:15:00.123456Z denied    OperationDenied        alice        WRITE Topic \"a b\\u202e\"[3] \
                10..19 status=AuthorizationFailed peer=10.1.2.3:50412\n";
    assert_eq!(line, shown(&event, false));
    let coloured = shown(&event, true);
    assert!(coloured.contains("\x1b[1;31mdenied\x1b[0m"), "{coloured:?}");
    let plain =
        ["\x1b[2m", "\x1b[1;31m", "\x1b[36m", "\x1b[0m"].iter().fold(coloured, |line, code| line.replace(code, ""));
    assert_eq!(line, plain);
}

#[test]
fn no_value_passes_for_a_field() {
    let mut event = Event::default();
    event.set(Column::Status, Some(Cell::Text("x peer=10.0.0.1".into())));
    event.set(Column::Reason, Some(Cell::Text("say \"no\"".into())));
    let line = shown(&event, false);
    assert!(line.contains(r#" status="x peer=10.0.0.1" reason="say \"no\"""#), "{line}");
    // Neither by a backslash before a quote, which would end the value, nor by a space of another script.
    event.set(Column::Status, Some(Cell::Text("\\\" peer=10.0.0.1".into())));
    event.set(Column::Reason, Some(Cell::Text("no\u{a0}peer:10.0.0.1".into())));
    let line = shown(&event, false);
    assert!(line.contains(r#" status="\\\" peer=10.0.0.1" reason="no"#), "{line}");
    assert!(line.contains("reason=\"no\u{a0}peer:10.0.0.1\""), "{line}");
}

/// An event of the catalog or a plugin's, by its columns alone.
fn event_of(category: &str, origin: &str) -> Event {
    let mut event = Event::default();
    event.set(Column::Category, Some(Cell::Text(category.into())));
    event.set(Column::Origin, Some(Cell::Text(origin.into())));
    event
}

#[test]
fn no_name_that_a_plugin_gives_passes_for_a_field_of_the_line() {
    let given =
        serde_json::json!({"peer": "10.9.9.9:1", "session": "victim", "by": "Client", "x peer": "1", "a=b": "2"});
    let mut event = event_of("plugin", "client");
    event.set(Column::ObjectRef, given.as_object().cloned().map(Cell::Map));
    event.set(Column::PeerIp, Some(Cell::Text("10.1.2.3".into())));
    event.set(Column::Session, Some(Cell::Text("s-1".into())));
    let line = shown(&event, false);
    assert!(line.ends_with(" peer=10.1.2.3 session=s-1\n"), "{line}");
    for field in ["ref.peer=10.9.9.9:1", "ref.session=victim", "ref.by=Client", "ref.\"x peer\"=1", "ref.\"a=b\"=2"] {
        assert!(line.contains(&format!(" {field} ")), "{field}: {line}");
    }
    for name in [" peer=", " session=", " by="] {
        assert!(line.matches(name).count() <= 1, "{name}: {line}");
    }
    assert!(shown(&event, true).contains("\x1b[2mref.peer=\x1b[0m10.9.9.9:1"));
}

#[test]
fn a_name_that_is_the_sign_of_nobody_is_quoted() {
    let mut event = event_of("data", "client");
    event.set(Column::Partition, Some(Cell::Int(3)));
    let nobody = shown(&event, false);
    assert!(nobody.contains(" -            -[3]"), "{nobody}");
    event.set(Column::Principal, Some(Cell::Text("-".into())));
    event.set(Column::Resource, Some(Cell::Text("-".into())));
    let somebody = shown(&event, false);
    assert!(somebody.contains(" \"-\"          \"-\"[3]"), "{somebody}");
}

#[test]
fn a_line_says_what_was_the_cause_and_who_judged() {
    let mut event = event_of("plugin", "filter");
    event.set(Column::Filter, Some(Cell::Text("rotation".into())));
    event.set(Column::Authority, Some(Cell::Text("witness".into())));
    let context = serde_json::json!({"causeSession": "s-1", "peer": "10.9.9.9"});
    event.set(Column::Context, context.as_object().cloned().map(Cell::Map));
    let line = shown(&event, false);
    assert!(line.contains(" by=rotation cause=s-1"), "{line}");
    assert!(!line.contains("authority=") && !line.contains("10.9.9.9"), "{line}");
    for (category, authority) in [("authentication", "decision"), ("authorization", "witness")] {
        let mut event = event_of(category, "client");
        event.set(Column::Authority, Some(Cell::Text(authority.into())));
        let line = shown(&event, false);
        assert!(line.contains(&format!(" authority={authority}")) && !line.contains("cause="), "{line}");
    }
}
