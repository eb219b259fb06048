//! Who it is that reads and writes in benches: clients of a Kafka proxy.

use auditring_event::Context;

/// Sessions.
pub const SESSIONS: usize = 200;
/// Topics.
pub const TOPICS: usize = 50;

/// The context of a session, encoded.
pub fn context(at: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let context = Context {
        session: Some(format!("018f4e6a-7c1d-7b3e-9d52-{at:012x}")),
        virtual_cluster: Some("payments".into()),
        client_id: Some(format!("consumer-{}", at % 20)),
        listener: Some("10.0.0.1:9092".into()),
        peer_ip: Some(format!("10.1.{}.{}", at / 250, at % 250)),
        peer_port: Some(40_000 + at as i32),
        principal: Some(format!("user-{}", at % 40)),
        ..Context::default()
    };
    context.encode(&mut bytes);
    bytes
}
