//! What is merged, what is not, and where it ends.

use std::time::Duration;

use auditring_event::json;
use auditring_flow::{Form, Snapshot};
use auditring_journal::BatchFlags;

use crate::journal::{Journal, Row, S, Sent, drained, rows};

pub(crate) const COALESCE: &str = r#"{"version":3,"seed":7,"allow_blind_spots":false,"rules":[
    {"action":["Read","Write"],"keep":"coalesce","window_ns":1000000000}]}"#;
const MS: i64 = 1_000_000;
const NOW: Duration = Duration::ZERO;

/// The rows of a log that ends after these events, but for the one that says so.
fn made(policy: &str, events: &[Sent]) -> Vec<Row> {
    let mut journal = Journal::of(policy, events);
    journal.end(events.iter().map(|event| event.age_ns).max().unwrap_or_default());
    let mut rows = drained(&mut journal.follow("parquet", Form::Rows));
    assert_eq!(rows.pop().unwrap().action, "ProxyCleanShutdown");
    rows
}

/// Seq, count and offsets.
type Range = (i64, i64, Option<(i64, i64)>);

fn ranges(policy: &str, events: &[Sent]) -> Vec<Range> {
    made(policy, events).iter().map(|row| (row.seq, row.count, row.offsets)).collect()
}

#[test]
fn ranges_that_touch_become_one_row_with_all_that_is_added_up() {
    let event = |n: i64| Sent { correlation: Some(n), ..Sent::read(n * MS, n * 10, n * 10 + 9) };
    let rows = made(COALESCE, &(0..7).map(event).collect::<Vec<_>>());
    let expected = Row {
        seq: 0,
        count: 7,
        action: "Read".into(),
        session: Some("s1".into()),
        topic: Some("orders".into()),
        partition: Some(0),
        offsets: Some((0, 69)),
        records: Some(70),
        correlation: None,
        begin_ns: 0,
        end_ns: Some(6 * MS),
    };
    assert_eq!(rows, [expected]);
}

#[test]
fn a_consumer_that_reads_on_takes_a_fiftieth_of_the_rows_and_the_same_offsets() {
    let (partitions, seconds, each) = (8, 30, 100);
    let mut events = Vec::new();
    for n in 0..seconds * each {
        for partition in 0..partitions {
            let age = n * S / each + partition;
            let correlation = Some(n % 1000);
            events.push(Sent { partition, correlation, ..Sent::read(age, n * 5, n * 5 + 4) });
        }
    }
    let rows = made(COALESCE, &events);
    assert!(rows.len() * 50 <= events.len(), "{} rows of {} events", rows.len(), events.len());
    assert_eq!(rows.iter().map(|row| row.count).sum::<i64>(), events.len() as i64);
    assert_eq!(rows.iter().filter_map(|row| row.records).sum::<i64>(), events.len() as i64 * 5);
    for partition in 0..partitions {
        let mut ranges: Vec<_> =
            rows.iter().filter(|row| row.partition == Some(partition)).filter_map(|row| row.offsets).collect();
        ranges.sort_unstable();
        assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, seconds * each * 5 - 1));
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
    }
}

#[test]
fn a_correlation_id_stays_where_it_is_that_of_all() {
    let event = |n: i64| Sent { correlation: Some(5), ..Sent::read(n, n, n) };
    assert_eq!(made(COALESCE, &[event(0), event(1)])[0].correlation, Some(5));
    let without = Sent { correlation: None, ..event(1) };
    assert_eq!(made(COALESCE, &[event(0), without])[0].correlation, None);
}

#[test]
fn nothing_is_merged_across_another_event_of_the_session_on_the_partition() {
    let one = Some((0, 0));
    for between in [
        Sent { offsets: Some((0, 5)), ..Sent::new("Delete", 1) },
        Sent { offsets: Some((50, 50)), ..Sent::new("Write", 1) },
        Sent { failed: true, ..Sent::new("Read", 1) },
        Sent::read(1, 2, 2),
        Sent { touch: true, ..Sent::read(1, 9, 9) },
        Sent::new("Read", 1),
        Sent { broker: 1, ..Sent::read(1, 7, 7) },
    ] {
        let rows = ranges(COALESCE, &[Sent::read(0, 0, 0), between.clone(), Sent::read(2, 1, 1)]);
        let expected = [(0, 1, one), (1, 1, between.offsets), (2, 1, Some((1, 1)))];
        assert_eq!(rows, expected, "{between:?}");
    }
}

#[test]
fn what_happens_elsewhere_does_not_come_between() {
    for between in [
        Sent { partition: 1, ..Sent::read(1, 7, 7) },
        Sent { topic: "other", ..Sent::read(1, 7, 7) },
        Sent { session: 2, ..Sent::read(1, 7, 7) },
        Sent { session: 0, ..Sent::read(1, 7, 7) },
        Sent { tap: Some("inner"), ..Sent::read(1, 7, 7) },
        Sent { session: 2, ..Sent::new("ClientClose", 1) },
        Sent { broker: 1, ..Sent::new("BrokerClose", 1) },
        Sent::new("OperationAllowed", 1),
    ] {
        let rows = ranges(COALESCE, &[Sent::read(0, 0, 0), between.clone(), Sent::read(2, 1, 1)]);
        let merged = rows.iter().find(|(seq, ..)| *seq == 0);
        assert_eq!(merged, Some(&(0, 2, Some((0, 1)))), "{between:?}");
    }
}

#[test]
fn what_says_another_thing_is_another_row() {
    for second in [
        Sent { group: Some("g"), ..Sent::read(1, 1, 1) },
        Sent { broker: 1, ..Sent::read(1, 1, 1) },
        Sent { records: None, ..Sent::read(1, 1, 1) },
    ] {
        assert_eq!(ranges(COALESCE, &[Sent::read(0, 0, 0), second.clone()]).len(), 2, "{second:?}");
    }
    let grouped = |n: i64| Sent { group: Some("g"), ..Sent::read(n, n, n) };
    assert_eq!(ranges(COALESCE, &[grouped(0), grouped(1)]), [(0, 2, Some((0, 1)))]);
}

#[test]
fn a_sessions_rows_close_with_it_and_a_connections_with_that() {
    let of = |broker: usize, age: i64, at: i64| Sent { broker, partition: broker as i64, ..Sent::read(age, at, at) };
    let actions = |last: Sent| {
        let events = [of(0, 0, 0), of(1, 1, 0), of(0, 2, 1), of(1, 3, 1), last];
        made(COALESCE, &events).into_iter().map(|row| (row.action, row.count)).collect::<Vec<_>>()
    };
    let row = |action: &str, count| (action.to_owned(), count);
    assert_eq!(actions(Sent::new("ClientClose", 4)), [row("Read", 2), row("Read", 2), row("ClientClose", 1)]);
    let broker = Sent { broker: 1, ..Sent::new("BrokerClose", 4) };
    assert_eq!(actions(broker), [row("Read", 2), row("BrokerClose", 1), row("Read", 2)]);
}

#[test]
fn first_touches_are_rows_of_their_own() {
    let touch = Sent { touch: true, ..Sent::read(0, 0, 0) };
    let rows = ranges(COALESCE, &[touch, Sent::read(1, 1, 1), Sent::read(2, 2, 2)]);
    assert_eq!(rows, [(0, 1, Some((0, 0))), (1, 2, Some((1, 2)))]);
}

#[test]
fn windows_tumble_on_the_age_and_a_late_row_belongs_to_the_one_then_open() {
    let events = [
        Sent::read(900 * MS, 0, 0),
        Sent::read(999 * MS, 1, 1),
        Sent::read(1000 * MS, 2, 2),
        Sent::read(998 * MS, 3, 3),
        Sent::read(1999 * MS, 4, 4),
        Sent::read(2000 * MS, 5, 5),
    ];
    let rows = ranges(COALESCE, &events);
    assert_eq!(rows, [(0, 2, Some((0, 1))), (2, 3, Some((2, 4))), (5, 1, Some((5, 5)))]);
}

#[test]
fn a_batch_without_rows_ends_a_window_that_nothing_else_ends() {
    let mut journal = Journal::of(COALESCE, &[Sent::read(10 * MS, 0, 0), Sent::read(20 * MS, 1, 1)]);
    let mut follower = journal.follow("parquet", Form::Rows);
    let open = follower.next(100, NOW, true).unwrap().unwrap();
    assert_eq!((rows(&open).len(), open.last_seq, follower.at_cut()), (0, 1, false));
    assert!(follower.commit(Vec::new()).is_err());
    journal.batch(&[], 999 * MS, BatchFlags::NONE);
    assert!(follower.next(100, NOW, true).unwrap().is_none());
    journal.batch(&[], 1000 * MS, BatchFlags::NONE);
    let closed = follower.next(100, NOW, true).unwrap().unwrap();
    assert_eq!((rows(&closed)[0].count, closed.first_seq, closed.last_seq), (2, 2, 1));
    assert!(follower.at_cut());
    follower.commit(Vec::new()).unwrap();
    assert_eq!(follower.cursor().totals["merged"], 1);
    // Seen again behind the cut it says nothing.
    drop(follower);
    journal.batch(&[], 5 * S, BatchFlags::NONE);
    assert!(journal.follow("parquet", Form::Rows).next(100, NOW, true).unwrap().is_none());
}

#[test]
fn a_batch_that_asks_for_a_cut_is_one() {
    let mut journal = Journal::of(COALESCE, &[Sent::read(10 * MS, 0, 0), Sent::read(20 * MS, 1, 1)]);
    journal.batch(&[], 30 * MS, BatchFlags::CUT);
    for form in [Form::Rows, Form::Table] {
        let mut follower = journal.follow("parquet", form);
        let batch = follower.next_to(100, NOW, false, true).unwrap().unwrap();
        assert_eq!((batch.rows, batch.merged, follower.at_cut()), (1, 1, true));
    }
}

#[test]
fn a_batch_to_the_next_cut_ends_there_and_nowhere_else() {
    let events: Vec<_> = (0..500).map(|n| Sent::read(n * 10 * MS, n, n)).collect();
    let journal = Journal::of(COALESCE, &events);
    for (sink, form) in [("jsonl", Form::Rows), ("parquet", Form::Table)] {
        let mut follower = journal.follow(sink, form);
        for second in 0..4 {
            let batch = follower.next_to(1000, NOW, false, true).unwrap().unwrap();
            assert!(follower.at_cut());
            assert_eq!((batch.rows, batch.merged, batch.last_seq), (1, 99, second * 100 + 99));
            follower.commit(Vec::new()).unwrap();
        }
        assert!(follower.next_to(1000, NOW, false, true).unwrap().is_none());
    }
}

#[test]
fn a_date_ends_the_checkpoint_at_the_next_cut() {
    // Midnight is at a thousand seconds; windows of 300 ms end at 999.9 and 1000.2.
    let ages = [999_100, 999_300, 999_600, 999_990, 1_000_010, 1_000_400, 1_000_500, 1_000_600];
    let events: Vec<_> = ages.iter().zip(0..).map(|(age, n)| Sent::read(age * MS, n, n)).collect();
    let late = Journal::of(&COALESCE.replace("1000000000", "300000000"), &events);
    let mut follower = late.follow("parquet", Form::Rows);
    let mut seqs = Vec::new();
    loop {
        let batch = follower.next(100, NOW, true).unwrap();
        if follower.boundary() {
            assert!(follower.at_cut());
            seqs.push(follower.position());
            follower.commit(Vec::new()).unwrap();
        } else if batch.is_none() {
            break;
        }
    }
    // The first cut behind midnight lies before the row at 1000.4.
    assert_eq!(seqs, [5]);
}

#[test]
fn merged_rows_say_so_as_lines_and_in_a_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("journal").join("07070707-0707-0707-0707-070707070707");
    std::fs::create_dir_all(&folder).unwrap();
    let journal = Journal::of(COALESCE, &[Sent::read(0, 0, 9), Sent::read(1, 10, 19), Sent::read(2, 30, 39)]);
    let batch = journal.follow("parquet", Form::Rows);
    drop(batch);
    for file in std::fs::read_dir(journal.dir()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let fresh = Snapshot::open(root.path()).unwrap().fresh(&[]).unwrap();
    let mut text = Vec::new();
    json::lines(&fresh[0].set, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<_> = text.lines().collect();
    // The window is not over: it shows as it stands.
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains(r#""offsets":{"first":0,"last":19},"records":20,"#), "{text}");
    assert!(lines[0].contains(r#""count":2,"weight":1,"endTime":"2024-10-03T23:43:20.000000001Z""#), "{text}");
    assert!(lines[1].contains(r#""count":1,"weight":1}"#), "{text}");
}

const FIRST: &str = r#"{"version":3,"seed":7,"allow_blind_spots":false,"rules":[
    {"action":["OperationAllowed","Read"],"keep":"first","window_ns":10000000000,"by":["resource"]}]}"#;

#[test]
fn the_first_of_a_kind_is_kept_and_the_others_are_one_row() {
    let allowed = |session, topic, age| Sent { session, topic, ..Sent::new("OperationAllowed", age) };
    let events = [
        allowed(1, "a", 0),
        allowed(1, "b", 1),
        allowed(1, "a", 2),
        allowed(2, "a", 3),
        allowed(2, "b", 4),
        allowed(1, "a", 10 * S),
    ];
    let seen = |row: &Row| (row.seq, row.count, row.session.clone(), row.topic.clone(), row.end_ns);
    let rows: Vec<_> = made(FIRST, &events).iter().map(seen).collect();
    let row = |seq, count, session: Option<&str>, topic: &str, end| {
        (seq, count, session.map(str::to_owned), Some(topic.to_owned()), end)
    };
    let expected = [
        row(0, 1, Some("s1"), "a", None),
        row(1, 1, Some("s1"), "b", None),
        row(2, 2, None, "a", Some(3)),
        row(4, 1, Some("s2"), "b", None),
        row(5, 1, Some("s1"), "a", None),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn the_row_of_the_others_says_what_they_have_in_common() {
    let event = |n: i64| Sent { correlation: Some(9), group: Some("g"), ..Sent::read(n, n * 2, n * 2 + 1) };
    let events = [event(0), event(1), Sent { partition: 1, ..event(2) }, Sent { touch: true, ..event(3) }];
    let rows = made(FIRST, &events);
    let seen: Vec<_> = rows.iter().map(|row| (row.seq, row.count, row.partition, row.offsets, row.records)).collect();
    let expected =
        [(0, 1, Some(0), Some((0, 1)), Some(2)), (3, 1, Some(0), Some((6, 7)), Some(2)), (1, 2, None, None, Some(4))];
    assert_eq!(seen, expected);
    assert_eq!((rows[2].correlation, rows[2].begin_ns, rows[2].end_ns), (None, 1, Some(2)));
}

#[test]
fn shorter_windows_end_within_the_longest_and_cuts_only_with_that() {
    let policy = r#"{"version":3,"seed":7,"allow_blind_spots":false,"rules":[
        {"action":["Read"],"keep":"coalesce","window_ns":1000000000},
        {"action":["Write"],"keep":"coalesce","window_ns":4000000000}]}"#;
    let mut events = Vec::new();
    for n in 0..80 {
        let age = n * 100 * MS;
        events.push(Sent::read(age, n, n));
        events.push(Sent { action: "Write", partition: 1, ..Sent::read(age, n, n) });
    }
    let journal = Journal::of(policy, &events);
    let mut follower = journal.follow("parquet", Form::Rows);
    let batch = follower.next_to(1000, NOW, false, true).unwrap().unwrap();
    let rows = rows(&batch);
    let counts =
        |action: &str| -> Vec<i64> { rows.iter().filter(|row| row.action == action).map(|row| row.count).collect() };
    assert_eq!((counts("Read"), counts("Write")), (vec![10; 4], vec![40]));
    assert_eq!(batch.last_seq, 79);
}

#[test]
fn topics_of_which_redaction_has_left_the_front_are_not_merged() {
    // They may be of two topics, whose offsets just happen to follow each other.
    let event = |n: i64| Sent { topic: "orders…", ..Sent::read(n * MS, n, n) };
    let expected: Vec<_> = (0..4).map(|n| (n, 1, Some((n, n)))).collect();
    assert_eq!(ranges(COALESCE, &(0..4).map(event).collect::<Vec<_>>()), expected);
}
