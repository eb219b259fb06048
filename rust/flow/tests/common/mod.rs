//! What tests of a whole log share: its settings, its limits, and how an event comes into its ring.
#![allow(dead_code, reason = "each file of tests takes what it needs")]

pub mod dead;

use std::path::Path;
use std::time::Duration;

use auditring_event::record::Encoder;
use auditring_flow::{Limits, Settings};
use auditring_ring::{Clock, Ring};

/// A log in `folder`, its ring beside it; each sink with its own policy, empty without one. The first is required.
pub fn settings(folder: &Path, policy: impl Into<Vec<u8>>, sinks: &[(&str, &str)]) -> Settings {
    Settings {
        root: folder.join("audit"),
        instance: "proxy-1".into(),
        host: "host-1".into(),
        policy: policy.into(),
        sinks: sinks.iter().map(|(name, own)| ((*name).to_owned(), own.as_bytes().to_vec())).collect(),
        required: sinks.iter().take(1).map(|(name, _)| (*name).to_owned()).collect(),
        by_agent: Vec::new(),
        primary_tap: None,
        ring_dir: Some(folder.to_owned()),
        ring_bytes: 1 << 20,
        lanes: 1,
        startup: Vec::new(),
        key: None,
    }
}

/// No segment rolls by itself.
pub fn limits() -> Limits {
    Limits { segment_bytes: 64 << 20, segment_age: Duration::from_secs(3600), journal_bytes: 4 << 30 }
}

/// Puts an event into the ring as of now.
pub fn emit(ring: &Ring, event: &mut Encoder) {
    emit_into(ring, 0, event);
}

/// The same into one of its lanes.
pub fn emit_into(ring: &Ring, lane: u32, event: &mut Encoder) {
    event.stamp(Clock::new(ring.clock()).stamp());
    let bytes = event.to_vec();
    let mut claim = ring.lane(lane).claim(bytes.len(), true).expect("the ring has room");
    claim.write(|room| room[..bytes.len()].copy_from_slice(&bytes));
    claim.commit();
}
