//! What closes, when, and for want of what room.

use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{RowView, from_record};
use auditring_event::{Context, by_name};

use super::*;

/// A Read of a session's partition.
fn row(partition: i64, offset: i64) -> Vec<u8> {
    let mut read = Encoder::new(by_name("Read").unwrap());
    read.text("topic", "orders").int("partition", partition).int("first_offset", offset);
    let record = read.int("last_offset", offset).int("records", 1).to_vec();
    let mut bytes = Vec::new();
    from_record(&RecordView::parse(&record).unwrap(), 0, offset, offset, 0, &mut bytes);
    bytes
}

fn whose() -> Arc<Whose> {
    let context = Context { session: Some("s".into()), ..Context::default() };
    Arc::new(Whose::new(Arc::new(context), b"s"))
}

/// What closes: seq and count.
fn fed(merger: &mut Merger, events: &[(i64, i64)]) -> Vec<(i64, u32)> {
    let (mut closed, whose) = (Vec::new(), whose());
    for (seq, (partition, offset)) in events.iter().enumerate() {
        let bytes = row(*partition, *offset);
        let view = RowView::parse(&bytes).unwrap();
        let event = Event { row: &view, bytes: &bytes, seq: seq as i64, whose: Some(&whose), shown: true };
        assert!(merger.coalesce(&event, 1));
        merger.take(|one, _| closed.push((one.seq, one.count)));
        assert!(merger.len() <= merger.most);
    }
    merger.close_all();
    merger.take(|one, _| closed.push((one.seq, one.count)));
    closed
}

#[test]
fn where_there_is_no_room_the_least_recently_used_closes() {
    // The third partition pushes out the second, which was not touched since.
    let events = [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)];
    assert_eq!(fed(&mut Merger::new(2), &events), [(1, 1), (3, 1), (0, 3), (5, 1)]);
    assert_eq!(fed(&mut Merger::new(3), &events), [(0, 3), (1, 2), (3, 1)]);
}

/// A later version's, or a forgery's.
#[test]
fn a_row_of_a_code_beyond_all_that_are_known_is_merged_with_nothing() {
    let (mut merger, whose) = (Merger::default(), whose());
    let bytes = row(0, 0);
    let view = RowView::parse(&bytes).unwrap();
    assert!(merger.coalesce(&Event { row: &view, bytes: &bytes, seq: 0, whose: Some(&whose), shown: true }, 1));
    for code in [auditring_event::CODES as u16, u16::MAX] {
        let mut strange = bytes.clone();
        strange[8..10].copy_from_slice(&code.to_le_bytes());
        let view = RowView::parse(&strange).unwrap();
        let event = Event { row: &view, bytes: &strange, seq: 1, whose: Some(&whose), shown: true };
        merger.interrupt(&event);
        assert!(!merger.coalesce(&event, 1));
        assert!(!merger.first(&event, 1, b"a kind") || code == u16::MAX);
    }
    merger.close_all();
    let mut counts = Vec::new();
    merger.take(|one, _| counts.push((one.seq, one.count)));
    assert_eq!(counts[0], (0, 1), "it is not in the Read's row");
}

#[test]
fn what_comes_after_the_first_of_its_kind_is_bounded_in_bytes_too() {
    let (mut merger, whose) = (Merger::default(), whose());
    let mut bytes = Vec::new();
    let mut plugin = Encoder::new(by_name("Read").unwrap());
    let record = plugin.text("topic", "orders").context_text(format!(r#"{{"x":"{}"}}"#, "x".repeat(8 << 10))).to_vec();
    from_record(&RecordView::parse(&record).unwrap(), 0, 0, 0, 0, &mut bytes);
    let view = RowView::parse(&bytes).unwrap();
    let (mut rows, mut events) = (0, 0);
    for round in 0..3 {
        for kind in 0..6000_u32 {
            let seq = i64::from(round * 6000 + kind);
            let event = Event { row: &view, bytes: &bytes, seq, whose: Some(&whose), shown: true };
            rows += usize::from(!merger.first(&event, 1, &kind.to_le_bytes()));
            merger.take(|one, _| events += one.count);
            assert!(merger.bytes <= MOST_BYTES, "{} bytes wait", merger.bytes);
        }
    }
    merger.close_all();
    merger.take(|one, _| events += one.count);
    assert_eq!((rows + events as usize, merger.bytes), (18_000, 0));
}

#[test]
fn the_others_of_a_kind_are_shown_to_whoever_wants_to_see_one_of_them() {
    let (mut merger, whose, bytes) = (Merger::default(), whose(), row(0, 0));
    let view = RowView::parse(&bytes).unwrap();
    for (seq, shown) in [(0, false), (1, false), (2, true), (3, false)] {
        let event = Event { row: &view, bytes: &bytes, seq, whose: Some(&whose), shown };
        assert_eq!(merger.first(&event, 1, b"kind"), seq > 0);
    }
    merger.close_all();
    let mut closed = Vec::new();
    merger.take(|one, _| closed.push((one.seq, one.count, one.shown)));
    assert_eq!(closed, [(1, 3, true)]);
}

#[test]
fn what_was_before_the_table_was_empty_makes_no_difference() {
    let mut used = Merger::new(50);
    let events: Vec<_> = (0..5000).map(|n: i64| (n * n % 83, n / 10)).collect();
    let fresh = fed(&mut Merger::new(50), &events);
    for _ in 0..3 {
        assert_eq!(fed(&mut used, &events), fresh);
        assert!(used.is_empty() && used.bytes == 0 && used.sessions.is_empty());
        assert_eq!((used.newest, used.oldest, used.free.len()), (NONE, NONE, used.slots.len()));
    }
    assert_eq!(fresh.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(), 5000);
}
