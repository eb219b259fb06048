//! Frames in any chunks, and what is no frame.

use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::proptest;

use crate::fetch::{ask, brought};
use crate::produce::{write, written};
use crate::wire::{Connection, answer, batch, frame, header, request, request_of};

/// A stretch of a connection, with requests of several kinds and their answers.
pub(crate) fn stretch() -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut broker) = (Vec::new(), Vec::new());
    for at in 0..4i32 {
        let id = 10 * at;
        let version = [3, 8, 9, 13][at as usize];
        let parts: Vec<_> = (0..at + 1).map(|part| (part, batch(0, part, part + 1, 700 * part as usize))).collect();
        client.extend(request(id, version, &write(-1, &[("orders", &parts), ("clicks", &parts)])));
        client.extend(request(id + 1, version, &write(0, &[("silent", &parts)])));
        let told: Vec<_> = (0..at + 1).map(|part| (part, [0, 29][part as usize % 2], 100 + i64::from(part))).collect();
        broker.extend(answer(id, version, &written(version, &[("orders", &told), ("clicks", &told)])));
        let version = [4, 11, 12, 17][at as usize];
        client.extend(request(id + 2, version, &ask(version)));
        let records = [batch(5, 1, 2, 900), batch(7, 0, 1, 0), batch(80, 0, 1, 3)].concat();
        let parts = [(0, 0, records.clone()), (1, 3, vec![]), (2, 0, records[..1000].to_vec())];
        broker.extend(answer(id + 2, version, &brought(version, &[("orders", &parts), ("t", &parts)])));
        client.extend(header(77 + 20 * at as i16, 3, id + 3));
        broker.extend(frame(&[&(id + 3).to_be_bytes()[..], &[9; 50]].concat()));
    }
    (client, broker)
}

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
    client.chunks(1).for_each(|byte| drop(seen.client(byte)));
    broker.chunks(1).for_each(|byte| drop(seen.broker(byte)));
    assert_eq!(whole(), seen.events());
}

/// Cuts a stream into chunks.
pub(crate) fn chunks(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut out, mut rest, mut sizes) = (Vec::new(), bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
        out.push(chunk.to_vec());
        rest = behind;
    }
    out
}

proptest! {
    #[test]
    fn any_chunks_are_the_same(one in vec(1usize..3000, 1..20), other in vec(1usize..3000, 1..20)) {
        let (client, broker) = stretch();
        let mut seen = Connection::default();
        chunks(&client, &one).iter().for_each(|chunk| drop(seen.client(chunk)));
        chunks(&broker, &other).iter().for_each(|chunk| drop(seen.broker(chunk)));
        assert_eq!(whole(), seen.events());
    }
}
