//! A connection's bytes, and their chunks.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, MetadataRequest, MetadataResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
};

use super::fetch::{ask, brought};
use super::produce::{write, written};
use super::share_fetch;
use super::wire::{ID, answer, batch, frame, header, request, string};

/// A stretch of a connection, with requests of several kinds and their answers.
pub(crate) fn stretch() -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut broker) = (Vec::new(), Vec::new());
    for at in 0..4i32 {
        let id = 10 * at;
        let version = [3, 8, 9, 13][at as usize];
        let parts: Vec<_> = (0..=at).map(|part| (part, batch(0, part, part + 1, 700 * part as usize))).collect();
        client.extend(request(id, version, &write(-1, &[("orders", &parts), ("clicks", &parts)])));
        client.extend(request(id + 1, version, &write(0, &[("silent", &parts)])));
        let told: Vec<_> = (0..=at).map(|part| (part, [0, 29][part as usize % 2], 100 + i64::from(part))).collect();
        broker.extend(answer(id, version, &written(version, &[("orders", &told), ("clicks", &told)])));
        let version = [4, 11, 12, 17][at as usize];
        client.extend(request(id + 2, version, &ask(version)));
        let records = [batch(5, 1, 2, 900), batch(7, 0, 1, 0), batch(80, 0, 1, 3)].concat();
        let parts = [(0, 0, records.clone()), (1, 3, vec![]), (2, 0, records[..1000].to_vec())];
        broker.extend(answer(id + 2, version, &brought(version, &[("orders", &parts), ("t", &parts)])));
        client.extend(header(77 + 20 * at as i16, 3, id + 3));
        broker.extend(frame(&[&(id + 3).to_be_bytes()[..], &[9; 50]].concat()));
    }
    rare(&mut client, &mut broker);
    (client, broker)
}

/// Requests that are read beside their answers.
fn rare(client: &mut Vec<u8>, broker: &mut Vec<u8>) {
    let name = || TopicName(string("orders"));
    client.extend(request(100, 12, &MetadataRequest::default()));
    let topic = MetadataResponseTopic::default().with_name(Some(name())).with_topic_id(ID);
    broker.extend(answer(100, 12, &MetadataResponse::default().with_topics(vec![topic])));
    let topic = CreatableTopic::default().with_name(name()).with_num_partitions(3);
    client.extend(request(101, 5, &CreateTopicsRequest::default().with_topics(vec![topic])));
    let topic = CreatableTopicResult::default().with_name(name()).with_error_code(36);
    broker.extend(answer(101, 5, &CreateTopicsResponse::default().with_topics(vec![topic])));
    client.extend(request(102, 1, &share_fetch::ask()));
    broker.extend(answer(102, 1, &share_fetch::brought(&[(2, 0, batch(0, 4, 5, 300)), (1, 29, vec![])])));
    client.extend(request(103, 1, &SaslHandshakeRequest::default().with_mechanism(string("PLAIN"))));
    broker.extend(answer(103, 1, &SaslHandshakeResponse::default()));
    let proof = b"\0alice\0secret-password".to_vec();
    client.extend(request(104, 2, &SaslAuthenticateRequest::default().with_auth_bytes(proof.into())));
    broker.extend(answer(104, 2, &SaslAuthenticateResponse::default()));
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
