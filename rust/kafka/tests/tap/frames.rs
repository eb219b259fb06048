//! Frames in any chunks, and what is no frame.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, MetadataRequest, TopicName};
use proptest::collection::vec;
use proptest::proptest;

use crate::messages::fetch::{ask, brought};
use crate::messages::produce::{write, written};
use crate::messages::stretch::{chunks, stretch};
use crate::messages::wire::{Connection, answer, batch, frame, header, request, request_of, string};

fn whole() -> Vec<String> {
    let (client, broker) = stretch();
    let mut seen = Connection::default();
    seen.client(&client).broker(&broker);
    assert!(!seen.tap.is_opaque());
    assert_eq!(0, seen.tap.in_flight());
    seen.events()
}

#[test]
fn byte_by_byte_is_the_same() {
    let (client, broker) = stretch();
    let mut seen = Connection::default();
    for byte in client.chunks(1) {
        seen.client(byte);
    }
    for byte in broker.chunks(1) {
        seen.broker(byte);
    }
    assert_eq!(whole(), seen.events());
}

proptest! {
    #[test]
    fn any_chunks_are_the_same(one in vec(1usize..3000, 1..20), other in vec(1usize..3000, 1..20)) {
        let (client, broker) = stretch();
        let mut seen = Connection::default();
        for chunk in &chunks(&client, &one) {
            seen.client(chunk);
        }
        for chunk in &chunks(&broker, &other) {
            seen.broker(chunk);
        }
        assert_eq!(whole(), seen.events());
    }
}

/// What a client's bytes make a tap say, whether it has given up, and that it has taken all of them and of more.
fn after(bytes: &[u8], given_up: bool) -> Vec<String> {
    let mut seen = Connection::default();
    seen.client(bytes);
    assert_eq!(given_up, seen.tap.is_opaque());
    if given_up {
        let said = seen.said.len();
        seen.client(&stretch().0).broker(&stretch().1);
        assert_eq!(said, seen.said.len());
    }
    seen.close().events()
}

#[test]
fn lengths_that_no_frame_has_end_the_reading() {
    for len in [-1, 0, 7, i32::MIN] {
        let blind = "auditring.TapBlind failure from=client blind=connection status=MalformedFrame";
        assert_eq!([blind], *after(&len.to_be_bytes(), true));
    }
    for len in [-1, 0, 3] {
        let mut seen = Connection::default();
        seen.client(&request(1, 12, &ask(12))).broker(&i32::to_be_bytes(len));
        assert_eq!(["auditring.TapBlind failure from=broker blind=connection status=MalformedFrame"], *seen.events());
    }
}

#[test]
fn a_header_that_is_none_ends_the_reading() {
    let blind = ["auditring.TapBlind failure from=client blind=connection status=MalformedRequest"];
    for header in [&[0xFF, 0xFF, 0, 9, 0, 0, 0, 1, 0, 0][..], &[0, 0, 0xFF, 0xFF, 0, 0, 0, 1, 0, 0], &[9; 9]] {
        assert_eq!(blind, *after(&frame(header), true));
    }
}

#[test]
fn a_client_that_says_a_name_that_is_none_loses_only_that_request() {
    let blind = "auditring.TapBlind failure client_correlation_id=1 api_version=9 api=Produce from=client blind=request \
                 status=MalformedRequest";
    for name in [&[][..], &[0], &[0, 9, b'x'], &[0x7F, 0xFF]] {
        let fine = request(2, 12, &ask(12));
        let client = [frame(&[&[0, 0, 0, 9, 0, 0, 0, 1][..], name].concat()), fine].concat();
        for size in [1, 7, client.len()] {
            let mut seen = Connection::default();
            for chunk in client.chunks(size) {
                seen.client(chunk);
            }
            assert_eq!([blind], *seen.events(), "{name:?}");
            assert_eq!((2, false), (seen.tap.in_flight(), seen.tap.is_opaque()));
        }
    }
}

#[test]
fn a_name_of_any_negative_length_is_none() {
    for len in [-1i16, -2, i16::MIN] {
        let asked = [&[0, 0, 0, 9, 0, 0, 0, 1][..], &len.to_be_bytes(), &write_body()].concat();
        let mut seen = Connection::default();
        seen.client(&frame(&asked)).broker(&answer(1, 9, &written(9, &[("a", &[(0, 0, 5)])])));
        let rows = seen.events();
        assert!(rows.len() == 1 && rows[0].starts_with("Write success topic=a "), "{rows:?}");
    }
}

/// A Produce request of version 9 behind the name of the client.
fn write_body() -> Vec<u8> {
    request(1, 9, &write(1, &[("a", &[(0, batch(0, 0, 1, 0))])])).split_off(4 + 8 + 2 + "app".len())
}

#[test]
fn whose_message_is_none_is_said_once() {
    let topic = CreatableTopic::default().with_name(TopicName(string("new"))).with_num_partitions(1);
    let asked = request(1, 5, &CreateTopicsRequest::default().with_topics(vec![topic]));
    let told = |name: &str| {
        let topic = CreatableTopicResult::default().with_name(TopicName(string(name)));
        answer(1, 5, &CreateTopicsResponse::default().with_topics(vec![topic]))
    };
    let cut = |message: &[u8]| frame(&message[4..message.len() - 7]);
    let blind = |from, status| {
        format!(
            "auditring.TapBlind failure client_correlation_id=1 api_version=5 api=CreateTopics from={from} blind=request \
             status={status}"
        )
    };
    let said = |asked: &[u8], told: &[u8]| {
        let mut seen = Connection::default();
        seen.client(asked).broker(told);
        seen.events().into_iter().filter(|row| row.contains("TapBlind")).collect::<Vec<_>>()
    };
    assert_eq!([""; 0], *said(&asked, &told("new")));
    assert_eq!([blind("client", "MalformedRequest")], *said(&cut(&asked), &told("new")));
    assert_eq!([blind("client", "MalformedRequest")], *said(&cut(&asked), &cut(&told("new"))));
    assert_eq!([blind("broker", "MalformedResponse")], *said(&asked, &cut(&told("new"))));
}

#[test]
fn a_message_that_is_none_is_passed_over_with_its_answer() {
    let fine = request(2, 9, &write(0, &[("a", &[(0, batch(0, 0, 1, 0))])]));
    let whole = request(1, 9, &write(1, &[("a", &[(0, batch(0, 0, 1, 0))])]));
    let mut cut = whole[..whole.len() - 30].to_vec();
    cut[..4].copy_from_slice(&(whole.len() as u32 - 34).to_be_bytes());
    let client = [cut, fine].concat();
    // Whatever of it lies in an earlier chunk than what shows it to be none.
    for size in [1, 7, 33, client.len()] {
        let mut seen = Connection::default();
        for chunk in client.chunks(size) {
            seen.client(chunk);
        }
        seen.broker(&frame(&[0, 0, 0, 1, 9, 9, 9]));
        let events = seen.events();
        let blind = "auditring.TapBlind failure client_correlation_id=1 api_version=9 api=Produce from=client \
                     blind=request status=MalformedRequest";
        assert_eq!(blind, events[0]);
        assert!(events.len() == 2 && events[1].starts_with("Write forwarded "), "{events:?}");
        assert_eq!((0, false), (seen.tap.in_flight(), seen.tap.is_opaque()));
    }
}

#[test]
fn an_answer_that_is_none_is_passed_over() {
    let broker = [frame(&[0, 0, 0, 1, 0, 9, 9]), frame(&[0, 0, 0, 2, 0, 0, 0, 0, 0])].concat();
    for size in [1, 7, 10, broker.len()] {
        let mut seen = Connection::default();
        seen.client(&request(1, 9, &write(1, &[("a", &[(0, vec![])])]))).client(&request(2, 12, &ask(12)));
        for chunk in broker.chunks(size) {
            seen.broker(chunk);
        }
        let rows: Vec<_> =
            seen.events().iter().map(|row| row.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
        let expected = [
            "auditring.TapBlind failure client_correlation_id=1",
            "Write forwarded topic=a",
            "auditring.TapBlind failure client_correlation_id=2",
        ];
        assert_eq!(expected, *rows);
        assert!(!seen.tap.is_opaque());
    }
}

#[test]
fn versions_that_the_table_lacks_are_said_once_an_api() {
    let mut seen = Connection::default();
    for id in 0..3 {
        seen.client(&header(0, 99, id)).client(&header(1, 0, 10 + id));
        seen.broker(&frame(&id.to_be_bytes())).broker(&frame(&(10 + id).to_be_bytes()));
    }
    let blind = |api, version, id| {
        format!(
            "auditring.TapBlind failure client_correlation_id={id} api_version={version} api={api} from=client \
             blind=request status=UnsupportedVersion"
        )
    };
    assert_eq!([blind("Produce", 99, 0), blind("Fetch", 0, 10)], *seen.events());
}

#[test]
fn what_is_too_large_to_be_kept_is_passed_over() {
    let asked = MetadataRequest::default().with_unknown_tagged_field(9, vec![0; 9 << 20].into());
    let mut seen = Connection::default();
    let asked = request(1, 12, &asked);
    for chunk in asked.chunks(65536) {
        seen.client(chunk);
    }
    let blind = format!(
        "auditring.TapBlind failure client_correlation_id=1 api_version=12 api=Metadata from=client blind=request \
         bytes={} status=FrameTooLarge",
        asked.len()
    );
    assert_eq!([blind], *seen.events());
    // Of an answer, what was asked for is still known.
    let topic = CreatableTopic::default().with_name(TopicName(string("new"))).with_num_partitions(1);
    seen.client(&request(2, 5, &CreateTopicsRequest::default().with_topics(vec![topic])));
    seen.broker(&frame(&1i32.to_be_bytes())).broker(&frame(&[&2i32.to_be_bytes()[..], &vec![0; 9 << 20]].concat()));
    let rows: Vec<_> = seen.events().iter().map(|row| row.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(["auditring.TapBlind failure client_correlation_id=2", "CreateTopics forwarded topic=new"], *rows);
    assert_eq!((0, false), (seen.tap.in_flight(), seen.tap.is_opaque()));
}

#[test]
fn facts_are_taken_out_before_they_are_many_and_none_is_left_behind() {
    let parts: Vec<_> = (0..5000).map(|part| (part, batch(0, 0, 1, 0))).collect();
    let told: Vec<_> = (0..2500).map(|part| (part, 0, 5)).collect();
    let mut seen = Connection::default();
    seen.client(&request(1, 3, &write(1, &[("a", &parts)]))).broker(&answer(1, 3, &written(3, &[("a", &told)])));
    let rows = seen.events();
    assert_eq!((5000, 0), (rows.len(), seen.tap.in_flight()));
    assert_eq!(2500, rows.iter().filter(|row| row.starts_with("Write forwarded ")).count());
    let parts: Vec<_> = (0..5000).map(|part| (part, 0, batch(0, 0, 1, 0))).collect();
    seen.client(&request(2, 4, &ask(4))).broker(&answer(2, 4, &brought(4, &[("a", &parts)])));
    assert_eq!(5000, seen.events().len());
    seen.client(&request(3, 3, &write(0, &[("a", &[(0, vec![])])])));
    let parts: Vec<_> = (0..5000).map(|part| (part, vec![])).collect();
    seen.client(&request(3, 3, &write(0, &[("a", &parts)])));
    assert_eq!(5001, seen.events().len());
    // One call never brings more than a message's worth beyond the bound.
    let bytes = request(4, 3, &write(0, &[("a", &parts)]));
    assert!(seen.tap.from_client(&bytes, &mut seen.facts) < bytes.len());
    assert!(seen.facts.is_full() && seen.facts.items().len() < 2000);
}

#[test]
fn what_a_client_calls_itself_is_said_at_first_and_when_it_changes() {
    let mut seen = Connection::default();
    for name in ["", "app", "app", "other\0", "app"] {
        seen.client(&request_of(name, 1, 12, &ask(12)));
    }
    assert_eq!(["ClientId app", "ClientId other\u{FFFD}", "ClientId app"], *seen.said);
}
