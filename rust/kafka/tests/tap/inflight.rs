//! Which answer belongs to which request.

use crate::messages::produce::{write, written};
use crate::messages::wire::{Connection, answer, batch, header, request};

fn ask(id: i32, topic: &str) -> Vec<u8> {
    request(id, 9, &write(1, &[(topic, &[(0, batch(0, 0, 1, 0))])]))
}

fn told(id: i32, topic: &str, base: i64) -> Vec<u8> {
    answer(id, 9, &written(9, &[(topic, &[(0, 0, base)])]))
}

/// Topic, first offset and both ids of each row.
fn ids(seen: &mut Connection) -> Vec<String> {
    let keep = ["topic=", "first_offset=", "client_correlation_id=", "server_correlation_id="];
    let value = |part: &str| part.split_once('=').map_or(String::new(), |(_, value)| value.to_owned());
    let row = |line: &String| {
        let parts = line.split(' ').filter(|part| keep.iter().any(|key| part.starts_with(key)));
        parts.map(value).collect::<Vec<_>>().join(" ")
    };
    seen.events().iter().map(row).collect()
}

#[test]
fn a_proxy_may_say_before_or_behind_the_request_that_it_goes_on_under_another_id() {
    let mut seen = Connection::default();
    seen.tap.rewrote(1, 901);
    seen.client(&ask(1, "a")).client(&ask(2, "b"));
    seen.tap.rewrote(2, 902);
    // In the midst of it.
    let third = ask(3, "c");
    seen.client(&third[..50]);
    seen.tap.rewrote(3, 903);
    seen.client(&third[50..]);
    seen.broker(&told(901, "a", 10)).broker(&told(902, "b", 20)).broker(&told(903, "c", 30));
    assert_eq!(["a 10 1 901", "b 20 2 902", "c 30 3 903"], *ids(&mut seen));
    assert_eq!(0, seen.tap.in_flight());
}

#[test]
fn requests_of_one_id_are_answered_in_their_order() {
    let mut seen = Connection::default();
    seen.client(&ask(7, "a")).client(&ask(7, "b"));
    seen.broker(&told(7, "a", 10)).broker(&told(7, "b", 20));
    assert_eq!(["a 10 7 7", "b 20 7 7"], *ids(&mut seen));
    seen.client(&ask(7, "a")).client(&ask(7, "b"));
    seen.tap.rewrote(7, 901);
    seen.tap.rewrote(7, 902);
    seen.broker(&told(902, "b", 20)).broker(&told(901, "a", 10));
    assert_eq!(["b 20 7 902", "a 10 7 901"], *ids(&mut seen));
}

#[test]
fn what_the_proxy_answers_is_forgotten_whether_it_says_so_before_or_behind() {
    let mut seen = Connection::default();
    seen.client(&ask(1, "a")).client(&ask(2, "b"));
    seen.tap.answered(1);
    seen.tap.answered(3);
    seen.client(&ask(3, "c"));
    assert_eq!(1, seen.tap.in_flight());
    seen.broker(&told(2, "b", 20)).close();
    assert_eq!(["b 20 2 2"], *ids(&mut seen));
}

#[test]
fn ids_of_requests_without_an_answer_are_not_kept() {
    let mut seen = Connection::default();
    for id in 0..5000 {
        seen.client(&request(id, 9, &write(0, &[("a", &[(0, vec![])])])));
        seen.tap.rewrote(id, 100_000 + id);
    }
    // A note that was kept would be taken for this one's.
    seen.client(&ask(3, "c")).broker(&told(3, "c", 30));
    assert_eq!("c 30 3 3", ids(&mut seen)[5000]);
}

#[test]
fn an_answer_to_nothing_ends_the_reading() {
    let mut seen = Connection::default();
    seen.client(&ask(1, "a"));
    seen.broker(&told(2, "a", 20)).broker(&told(1, "a", 10));
    assert!(seen.tap.is_opaque());
    let expected = [
        "auditring.TapBlind failure from=broker blind=connection status=UnexpectedResponse",
        "Write forwarded topic=a partition=0 client_correlation_id=1 records=1 bytes=61 api=Produce",
    ];
    assert_eq!(expected, *seen.close().events());
}

#[test]
fn of_too_many_requests_the_oldest_go_and_their_answers_are_no_surprise() {
    let mut seen = Connection::default();
    let most = 16 * 1024;
    for id in 0..most + 10 {
        seen.client(&ask(id, "a"));
    }
    assert_eq!(most as usize, seen.tap.in_flight());
    let events = seen.events();
    assert_eq!(10, events.len());
    assert_eq!(
        "auditring.TapBlind failure client_correlation_id=9 api_version=9 api=Produce from=client blind=request \
         status=InFlightOverflow",
        events[9]
    );
    for id in 0..most + 10 {
        seen.broker(&told(id, "a", 5));
    }
    assert_eq!((most as usize, 0, false), (seen.events().len(), seen.tap.in_flight(), seen.tap.is_opaque()));
}

#[test]
fn of_too_many_bytes_the_oldest_keep_none() {
    let mut seen = Connection::default();
    let parts: Vec<_> = (0..60_000).map(|part| (part, vec![])).collect();
    let asked = request(1, 9, &write(1, &[("a", &parts)]));
    for _ in 0..6 {
        seen.client(&asked);
    }
    assert_eq!(6, seen.tap.in_flight());
    let events = seen.events();
    assert!(!events.is_empty() && events.iter().all(|line| line.ends_with("status=InFlightOverflow")), "{events:?}");
    for _ in 0..6 {
        seen.broker(&told(1, "a", 5));
    }
    assert_eq!((false, 0), (seen.tap.is_opaque(), seen.tap.in_flight()));
    let answered = seen.events().iter().filter(|line| line.starts_with("Write success")).count();
    assert_eq!(6 - events.len(), answered);
}

#[test]
fn unknown_requests_are_paired_with_their_answers_too() {
    let mut seen = Connection::default();
    seen.client(&header(499, 3, 1)).client(&ask(2, "a"));
    assert_eq!(2, seen.tap.in_flight());
    seen.broker(&[&[0, 0, 0, 4][..], &1i32.to_be_bytes()].concat()).broker(&told(2, "a", 5));
    assert_eq!(["a 5 2 2"], *ids(&mut seen));
}
