//! Broken bytes are told from whole ones, and nothing that reads them panics.

mod common;

use auditring_event::event::Event;
use auditring_event::record::{self, Encoder, RecordView};
use auditring_event::row::{self, RowView};
use auditring_event::{Context, Definitions, Malformed, RowRef, RowSet, arrow, by_name, json, sanitize};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What is done to whole bytes.
#[derive(Clone, Debug)]
enum Harm {
    Cut(Index),
    Flip(Index, u8),
    Grow(Vec<u8>),
}

fn harm() -> impl Strategy<Value = Vec<Harm>> {
    let one = prop_oneof![
        1 => any::<Index>().prop_map(Harm::Cut),
        6 => (any::<Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => vec(any::<u8>(), 1..20).prop_map(Harm::Grow),
    ];
    vec(one, 1..6)
}

fn harmed(mut bytes: Vec<u8>, harm: &[Harm]) -> Vec<u8> {
    for one in harm {
        match one {
            Harm::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Harm::Flip(at, bits) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Harm::Flip(..) => {}
            Harm::Grow(more) => bytes.extend_from_slice(more),
        }
    }
    bytes
}

/// Reads everything there is to read. What is valid can be shown, and only that.
fn read_all(set: &RowSet) {
    let mut out = Vec::new();
    let lines = json::lines(set, &mut out);
    assert!(lines.is_ok() || out.is_empty());
    let batch = arrow::record_batch(set);
    let all_valid = set.rows.iter().all(|at| set.row(at).and_then(|row| row.validate()).is_ok());
    for at in &set.rows {
        let _event = Event::of(set, at);
        if let Ok(row) = set.row(at) {
            let _values = (row::resource(&row), row::tap(&row), row::int_field(&row, 3), row::str_field(&row, 99));
        }
    }
    if all_valid {
        assert_eq!(Ok(()), lines);
        batch.expect("valid rows");
        for line in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            json::parse(line).expect("valid rows give our own lines");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn a_harmed_record_never_panics(event in common::made(0), harm in harm()) {
        let bytes = harmed(event.record, &harm);
        if let Ok(record) = RecordView::parse(&bytes) {
            let valid = record.validate();
            let mut set = common::row_set(Vec::new(), &[]);
            row::from_record(&record, row::NO_CONTEXT, 1, 2, 0, &mut set.data);
            set.rows.push(RowRef { seq: 1, offset: 0, weight: 1, count: 1 });
            if valid.is_ok() {
                prop_assert_eq!(Ok(()), RowView::parse(&set.data).and_then(|row| row.validate()));
            }
            read_all(&set);
        }
    }

    #[test]
    fn harmed_rows_never_panic(set in common::sets(6), harm in harm()) {
        let mut set = set;
        set.data = harmed(std::mem::take(&mut set.data), &harm);
        read_all(&set);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _record = RecordView::parse(&bytes).map(|record| record.validate());
        let _row = RowView::parse(&bytes).map(|row| row.validate());
        let _context = Context::decode(&bytes);
        let _definitions = Definitions::decode(&bytes);
        let _line = json::parse(&bytes);
    }

    #[test]
    fn a_harmed_context_never_panics(context in common::context(), harm in harm()) {
        let mut bytes = Vec::new();
        context.encode(&mut bytes);
        let _context = Context::decode(&harmed(bytes, &harm));
    }

    #[test]
    fn harmed_definitions_never_panic(harm in harm()) {
        let mut bytes = Vec::new();
        common::definitions().encode(&mut bytes);
        prop_assert_eq!(Ok(common::definitions()), Definitions::decode(&bytes));
        let _definitions = Definitions::decode(&harmed(bytes, &harm));
    }

    #[test]
    fn any_bytes_become_safe_text(bytes in vec(any::<u8>(), 0..60), cap in 0..40_usize) {
        let (text, marks) = sanitize::text(&bytes, cap);
        prop_assert!(text.len() <= cap && !text.contains('\0'));
        prop_assert!(marks.any() || text.as_bytes() == bytes);
    }

    #[test]
    fn any_text_becomes_a_status(text in any::<String>()) {
        let status = sanitize::status(&text);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        prop_assert!(status.split('.').all(|part| !part.is_empty() && part.chars().all(word)), "{status}");
    }
}

fn a_read() -> Encoder {
    let mut encoder = Encoder::new(by_name("Read").unwrap());
    encoder.text("topic", "orders").int("partition", 3);
    encoder
}

fn verdict(bytes: &[u8]) -> Result<(), Malformed> {
    RecordView::parse(bytes)?.validate()
}

#[test]
fn each_fault_has_its_name() {
    let whole = a_read().to_vec();
    assert_eq!(Ok(()), verdict(&whole));
    assert_eq!(Err(Malformed::Short), verdict(&whole[..whole.len() - 8]));
    assert_eq!(Err(Malformed::LeftOver), verdict(&[&whole[..], &[0; 8]].concat()));
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        verdict(&bytes)
    };
    assert_eq!(Err(Malformed::UnknownCode(9)), with(record::CODE_AT, 9));
    assert_eq!(Err(Malformed::UnknownWord(7)), with(record::BITS_AT, 7));
    assert_eq!(Err(Malformed::UnknownBits(1 << 31)), with(record::PRESENCE_AT + 3, 0x80));
    assert_eq!(Err(Malformed::Range), with(record::HEAD + 4, 1));
    assert_eq!(Err(Malformed::Text), with(record::HEAD + 10, 0xFF));
    assert_eq!(Err(Malformed::NoContext(0)), with(record::CONTEXT_ID_AT, 1));
}

/// A row has the record's body and its own padding: together they may not look like one more field.
#[test]
fn a_valid_record_makes_a_valid_row_whatever_stands_behind_its_fields() {
    let whole = a_read().to_vec();
    let body = u32::from_le_bytes(whole[28..32].try_into().unwrap());
    for more in 0..16 {
        let mut bytes = whole[..record::HEAD + body as usize].to_vec();
        bytes.resize(bytes.len() + more, 0);
        bytes[28..32].copy_from_slice(&(body + more as u32).to_le_bytes());
        let record = RecordView::parse(&bytes).unwrap();
        let mut row = Vec::new();
        row::from_record(&record, row::NO_CONTEXT, 1, 2, 0, &mut row);
        let row = RowView::parse(&row).and_then(|row| row.validate());
        assert_eq!(record.validate(), row, "{more} bytes more");
    }
}

#[test]
fn what_is_too_long_is_cut_and_marked() {
    let mut encoder = a_read();
    encoder.text("topic", &"x".repeat(1 << 20)).reason("a\0b");
    let bytes = encoder.to_vec();
    let record = RecordView::parse(&bytes).unwrap();
    assert_eq!(record::CUT | record::ALTERED, record.flags());
    assert_eq!(Some(1024), record.fields().text(1).map(str::len));
    assert_eq!(Some("a\u{FFFD}b"), record.fields().text(record::REASON));
}

#[test]
fn lone_surrogates_are_one_character_each() {
    let (text, marks) = sanitize::text(b"a\xED\xA0\x80b\xED\xBF\xBFc", 64);
    assert_eq!("a\u{FFFD}b\u{FFFD}c", text);
    assert!(marks.altered && !marks.cut);
}

#[test]
fn a_status_keeps_what_it_can() {
    assert_eq!("kafka.NOT_LEADER", sanitize::status("kafka.NOT_LEADER"));
    assert_eq!("Bad_gateway_", sanitize::status("Bad gateway!"));
    assert_eq!("_.a._", sanitize::status(".a."));
    assert_eq!("_", sanitize::status(""));
}

#[test]
fn only_qualified_names_that_are_not_ours_are_names() {
    for fine in ["com.example.KeyUsed", "a.B", "a_1.b.C_d"] {
        assert!(sanitize::action_name_ok(fine), "{fine}");
    }
    for wrong in ["KeyUsed", "com.example.keyUsed", "Com.example.KeyUsed", "com..K", "auditring.Read", "a.B\n", ""] {
        assert!(!sanitize::action_name_ok(wrong), "{wrong:?}");
    }
}

#[test]
fn the_largest_event_fits_into_a_record() {
    let huge = "x".repeat(1 << 17);
    let mut map = serde_json::Map::new();
    map.insert("key".into(), huge.clone().into());
    let mut context = Context { context: Some(map.clone()), principals: vec![huge.clone(); 20], ..Context::default() };
    for place in [&mut context.session, &mut context.client_id, &mut context.server, &mut context.principal] {
        *place = Some(huge.clone());
    }
    let mut bytes = Vec::new();
    context.encode(&mut bytes);
    assert!(bytes.len() <= auditring_event::context::MAX_CONTEXT);
    // What the log says of itself never lies in a ring.
    let own = |spec: &auditring_event::ActionSpec| {
        spec.category == auditring_event::Category::Audit && spec.scope == auditring_event::Scope::Process
    };
    for spec in auditring_event::ACTIONS.iter().filter(|spec| !own(spec)) {
        let mut encoder = Encoder::new(spec);
        for field in spec.fields {
            match field.kind {
                auditring_event::Kind::Str => encoder.text(field.name, &huge),
                auditring_event::Kind::Int => encoder.int(field.name, field.max),
            };
        }
        encoder.reason(&huge).tap(&huge).filter(&huge).cause_session(&huge).status(&huge);
        encoder.object_ref(&map).context_map(&map).context(1, &bytes).end_time(0);
        assert!(encoder.to_vec().len() <= auditring_event::MAX_RECORD, "{}", spec.name);
    }
}
