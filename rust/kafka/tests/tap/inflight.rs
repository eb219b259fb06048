//! Which answer belongs to which request.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse, TopicName,
};

use crate::messages::fetch::ask as fetch;
use crate::messages::produce::{write, written};
use crate::messages::wire::{Connection, answer, batch, frame, header, request, string};

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
    seen.broker(&told(901, "a", 10)).broker(&told(902, "b", 20));
    assert_eq!(["a 10 7 901", "b 20 7 902"], *ids(&mut seen));
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
fn of_too_many_requests_the_oldest_keep_their_ids_and_their_turn() {
    let mut seen = Connection::default();
    let most = 16 * 1024;
    for _ in 0..most {
        seen.client(&ask(7, "a"));
    }
    // The same id for one whose rows would be taken for theirs.
    for _ in 0..10 {
        seen.client(&ask(7, "b"));
    }
    assert_eq!(most + 10, seen.tap.in_flight());
    let events = seen.events();
    assert_eq!(10, events.len());
    assert_eq!(
        "auditring.TapBlind failure client_correlation_id=7 api_version=9 api=Produce from=client blind=request \
         status=InFlightOverflow",
        events[9]
    );
    for _ in 0..most {
        seen.broker(&told(7, "a", 5));
    }
    let rows = seen.events();
    assert!(rows.len() == most - 10 && rows.iter().all(|row| row.starts_with("Write success topic=a ")));
    for _ in 0..10 {
        seen.broker(&told(7, "b", 5));
    }
    let rows = seen.events();
    assert!(rows.len() == 10 && rows.iter().all(|row| row.starts_with("Write success topic=b ")));
    assert_eq!((0, false), (seen.tap.in_flight(), seen.tap.is_opaque()));
}

#[test]
fn of_too_many_even_for_their_ids_none_is_told_from_the_other() {
    let mut seen = Connection::default();
    let most = 64 * 1024 - 1;
    let one = header(499, 0, 1);
    seen.client(&one.repeat(most));
    assert_eq!((most, false), (seen.tap.in_flight(), seen.tap.is_opaque()));
    assert_eq!([""; 0], *seen.events());
    seen.client(&one);
    assert!(seen.tap.is_opaque());
    let blind = "auditring.TapBlind failure from=client blind=connection status=InFlightOverflow";
    assert_eq!([blind], *seen.close().events());
}

#[test]
fn who_a_client_says_it_is_is_kept_whatever_else_it_sends() {
    let mut seen = Connection::default();
    let shake = SaslHandshakeRequest::default().with_mechanism(string("PLAIN"));
    let shaken = SaslHandshakeResponse::default().with_mechanisms(vec![string("PLAIN")]);
    let proof = SaslAuthenticateRequest::default().with_auth_bytes((&b"\0alice\0secret"[..]).into());
    seen.client(&request(1, 1, &shake)).broker(&answer(1, 1, &shaken));
    seen.client(&request(2, 2, &proof)).client(&header(18, 0, 3).repeat(20_000));
    seen.broker(&answer(2, 2, &SaslAuthenticateResponse::default()));
    let events = seen.events();
    assert!(events.iter().any(|row| row.starts_with("ClientSaslAuthSuccess success ")), "{:?}", events.last());
}

/// A request for no answer of which the tap cannot know that.
fn ghost(id: i32) -> Vec<u8> {
    header(0, 99, id)
}

#[test]
fn who_perhaps_gets_no_answer_takes_none_of_another() {
    let blind = "auditring.TapBlind failure from=broker blind=connection status=UnexpectedResponse";
    for ghosts in [1, 2, 1024, 1025, 3000] {
        let mut seen = Connection::default();
        seen.client(&ghost(7).repeat(ghosts)).client(&ask(7, "a"));
        seen.events();
        // Whose it is cannot be known, and so none of those that come after can be.
        seen.broker(&told(7, "a", 10)).close();
        let rows = seen.events();
        assert!(rows.len() == 2 && rows[0] == blind && rows[1].starts_with("Write forwarded topic=a "), "{rows:?}");
    }
    let mut seen = Connection::default();
    seen.client(&ghost(7)).client(&ghost(8)).client(&ask(9, "a")).client(&ask(8, "b"));
    seen.events();
    seen.broker(&frame(&8i32.to_be_bytes())).broker(&told(9, "a", 10)).broker(&told(8, "b", 20));
    assert_eq!(["a 10 9 9", "b 20 8 8"], *ids(&mut seen));
    assert_eq!((0, false), (seen.tap.in_flight(), seen.tap.is_opaque()));
}

#[test]
fn what_is_older_than_what_is_answered_gets_no_answer() {
    let topic = CreatableTopic::default().with_name(TopicName(string("new"))).with_num_partitions(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    let mut seen = Connection::default();
    seen.client(&ghost(1)).client(&request(2, 5, &create)).client(&request(3, 12, &fetch(12))).client(&ask(4, "a"));
    seen.events();
    seen.broker(&told(4, "a", 10));
    let rows: Vec<_> = seen.events().iter().map(|row| row.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "auditring.TapBlind failure client_correlation_id=2",
        "CreateTopics forwarded topic=new",
        "auditring.TapBlind failure client_correlation_id=3",
        "Write success topic=a",
    ];
    assert_eq!(expected, *rows);
    // That the proxy had answered it is no news about the next of its id.
    seen.tap.answered(2);
    seen.client(&ask(2, "b")).broker(&told(2, "b", 20));
    assert_eq!((["b 20 2 2"].map(str::to_owned).to_vec(), 0), (ids(&mut seen), seen.tap.in_flight()));
}

#[test]
fn rows_of_what_gets_no_answer_come_in_pages_and_at_the_end() {
    let parts: Vec<_> = (0..5000).map(|part| (part, vec![])).collect();
    for whole in [true, false] {
        let mut seen = Connection::default();
        for id in 0..3 {
            seen.client(&request(id, 9, &write(1, &[("a", &parts)])));
        }
        seen.client(&ask(3, "b"));
        let answer = told(3, "b", 10);
        if whole {
            seen.broker(&answer);
        } else {
            // The connection ends before there was room for all of it.
            assert!(seen.tap.from_broker(&answer, &mut seen.facts) < answer.len() && seen.tap.has_more());
            seen.close();
        }
        let rows = seen.events();
        let count = |begin: &str| rows.iter().filter(|row| row.starts_with(begin)).count();
        assert_eq!((3, 15_000), (count("auditring.TapBlind"), count("Write forwarded topic=a ")));
        assert_eq!(
            (usize::from(whole), usize::from(!whole)),
            (count("Write success"), count("Write forwarded topic=b"))
        );
    }
}

#[test]
fn a_proxy_answers_the_last_of_an_id() {
    let mut seen = Connection::default();
    seen.client(&ask(7, "a")).client(&ask(7, "b"));
    seen.tap.answered(7);
    seen.broker(&told(7, "a", 10));
    assert_eq!(["a 10 7 7"], *ids(&mut seen));
    // One for no answer is the last, too; and one that goes on under another id is not what it answers.
    seen.client(&ask(7, "a")).client(&request(7, 9, &write(0, &[])));
    seen.tap.answered(7);
    seen.broker(&told(7, "a", 20));
    seen.client(&ask(7, "a"));
    seen.tap.rewrote(7, 900);
    seen.tap.answered(7);
    seen.client(&ask(7, "b")).broker(&told(900, "a", 30));
    assert_eq!(["a 20 7 7", "a 30 7 900"], *ids(&mut seen));
    assert_eq!(0, seen.tap.in_flight());
}

#[test]
fn what_is_said_of_requests_without_an_answer_is_not_taken_for_the_next_ones() {
    let mut seen = Connection::default();
    let silent: Vec<_> = (0..4096).flat_map(|id| request(id, 9, &write(0, &[]))).collect();
    seen.client(&silent);
    (0..4096).for_each(|id| seen.tap.answered(id));
    for id in 0..4096 {
        seen.client(&ask(id, "a")).broker(&told(id, "a", 5));
    }
    assert_eq!(4096, seen.events().len());
}

#[test]
fn another_id_that_is_said_behind_a_request_without_an_answer_may_be_of_the_next() {
    let silent = || request(7, 9, &write(0, &[]));
    // Of the next; of the one before; of each.
    for (under, then) in [(100, None), (7, None), (101, Some(101))] {
        let mut seen = Connection::default();
        seen.client(&silent());
        seen.tap.rewrote(7, 100);
        seen.client(&ask(7, "a"));
        if let Some(server) = then {
            seen.tap.rewrote(7, server);
        }
        seen.broker(&told(under, "a", 5));
        assert_eq!([format!("a 5 7 {under}")], *ids(&mut seen));
    }
}

#[test]
fn produce_of_a_version_before_those_that_are_read_is_known_for_its_acks() {
    for size in [1, 13, 1 << 20] {
        let mut seen = Connection::default();
        for acks in [0i16, 1, 0] {
            let mut asked = header(0, 2, 5).split_off(4);
            asked.extend_from_slice(&acks.to_be_bytes());
            asked.extend_from_slice(&[0; 8]);
            for chunk in frame(&asked).chunks(size) {
                seen.client(chunk);
            }
        }
        assert_eq!((1, 1), (seen.tap.in_flight(), seen.events().len()));
    }
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
