//! What the inputs are made of: directories of processes that the library itself has written, of several kinds of lives, each
//! with what it had written, row by row.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::{self, RowView};
use auditring_event::{Category, Context, Definition, Identity, Outcome, by_name};
use auditring_flow::{Born, Change, Limits, Pump, Settings, Stated, recover};
use auditring_journal::{BatchFlags, ProcessDir, Reader, Step, contexts, process_text, segments};
use auditring_policy::{Key, compile};
use auditring_ring::{Clock, Kind, Ring};

use crate::Failure;

/// The sink that every process has.
pub(crate) const SINK: &str = "parquet";
const ALL: &str = r#"{"allow_blind_spots":false,"rules":[],"seed":1,"version":2}"#;
const SAMPLED: &str = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"sample","one_in":3},
    {"action":["Write"],"resource":["orders*"],"keep":"off"}],"seed":7,"version":2}"#;
const MERGING: &str = r#"{"allow_blind_spots":false,"rules":[{"action":["Read","Write"],"keep":"coalesce","window_ns":1000000000},
    {"action":["OperationAllowed"],"keep":"first","window_ns":1000000000,"by":["resource"]}],"seed":7,"version":3}"#;
const REDACT: &str = r#"[{"field":"client_id","how":"hash"},{"field":"peer","how":"drop"}]"#;
const KEY: &[u8] = b"a key that is long enough";

/// A row as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// Without the position of its context.
    pub(crate) row: Vec<u8>,
    /// Encoded; none where the row has none.
    pub(crate) context: Option<Vec<u8>>,
}

/// The directory of a process, and all that it had written.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) process: [u8; 16],
    pub(crate) identity: Identity,
    /// Its files but for the segments, by name.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// Its segments, by name.
    pub(crate) segments: Vec<(String, Vec<u8>)>,
    pub(crate) ring: Option<(PathBuf, Vec<u8>)>,
    pub(crate) written: BTreeMap<i64, Written>,
    /// What was put into its ring and not yet taken out, as rows begin: presence, code and bits, and the body.
    pub(crate) in_ring: HashSet<(u32, u16, u8, Vec<u8>)>,
    pub(crate) contexts: HashSet<Vec<u8>>,
    /// Rows become one, so what comes out need not be what went in.
    pub(crate) merges: bool,
    /// What recovery makes of what is in its ring is not what was put there.
    pub(crate) redacts: bool,
}

struct Rig {
    ring: Arc<Ring>,
    pump: Pump,
    dir: ProcessDir,
    in_ring: Vec<Vec<u8>>,
}

fn settings(folder: &Path, policy: Vec<u8>, own: &str) -> Settings {
    Settings {
        root: folder.join("audit"),
        instance: "proxy-1".into(),
        host: "host-1".into(),
        policy,
        sinks: vec![(SINK.into(), own.as_bytes().to_vec()), ("jsonl".into(), Vec::new())],
        required: vec![SINK.into()],
        by_agent: Vec::new(),
        primary_tap: Some("edge".into()),
        ring_dir: Some(folder.to_owned()),
        // The least that its table of counters leaves room beside.
        ring_bytes: 1 << 16,
        lanes: 1,
        startup: vec![("user".into(), "nobody".into())],
        key: Key::new(KEY),
    }
}

/// A session's context, of several shapes.
pub(crate) fn context(number: u64) -> Vec<u8> {
    let mut context = Context {
        session: Some(format!("session-{number}")),
        client_id: Some(format!("client-{}", number % 3)),
        peer_ip: Some("10.0.0.7".into()),
        peer_port: Some(40_000),
        ..Context::default()
    };
    if number.is_multiple_of(2) {
        context.principal = Some("alice".into());
        context.principals = vec!["User:alice".into(), "Group:staff".into()];
        context.tap = Some("edge".into());
        context.virtual_cluster = Some("payments".into());
        let details = serde_json::json!({"tls.subject": "CN=alice", "n": number});
        context.context = details.as_object().cloned();
    }
    let mut bytes = Vec::new();
    context.encode(&mut bytes);
    bytes
}

pub(crate) fn definition() -> Definition {
    Definition {
        code: auditring_event::FIRST_DECLARED,
        name: "com.example.kms.KeyUsed".into(),
        category: Category::Plugin,
        outcome: Outcome::Success,
        object_ref: vec!["com.example.kek".into()],
        context: vec!["alg".into(), "size".into()],
    }
}

/// An event of one of many kinds.
pub(crate) fn event(number: u64) -> Encoder {
    let named = |name| Encoder::new(by_name(name).expect("the catalog has it"));
    let offset = number as i64;
    let mut event = match number % 9 {
        0 => named("Write"),
        1 => named("OperationDenied"),
        2 => Encoder::freeform("com.example.vault.Opened"),
        3 => Encoder::declared(&definition()),
        4 => named("OperationAllowed"),
        5 => named("ClientSaslAuthFailure"),
        _ => named("Read"),
    };
    match number % 9 {
        1 | 4 => {
            event.text("operation", "READ").text("resource_type", "Topic").text("resource", "salaries");
        }
        2 => {
            let map = serde_json::json!({"com.example.door": "7", "n": "1"});
            event.object_ref(map.as_object().expect("an object")).reason("no reason");
        }
        3 => {
            event.declared_text(0, "kek-7").declared_text(1, "AES");
        }
        5 => {
            event
                .text("mechanism", "PLAIN")
                .text("attempted_principal", "mallory")
                .status("kafka.SASL_AUTHENTICATION_FAILED");
        }
        _ => {
            let topic = if number.is_multiple_of(4) { "orders" } else { "clicks" };
            event.text("topic", topic).int("partition", 0).int("first_offset", offset).int("last_offset", offset);
            event.int("records", 1);
        }
    }
    if number.is_multiple_of(7) {
        event.tap("edge").filter("com.example.Filter").end_time(1 << 60);
    }
    if number % 10 < 8 {
        let who = number % 4;
        event.context(1 + who, &context(who));
    }
    event
}

impl Rig {
    fn new(settings: &Settings, segment_bytes: u64) -> Result<Self, Failure> {
        let born = Born::new(settings)?;
        let ring = Arc::clone(&born.ring);
        let limits = Limits { segment_bytes, segment_age: Duration::from_secs(3600), journal_bytes: 4 << 30 };
        let (pump, dir) = Pump::new(born, limits, true)?;
        let mut bytes = Vec::new();
        definition().encode(&mut bytes);
        ring.definitions_append(&bytes).map_err(|error| error.to_string())?;
        Ok(Self { ring, pump, dir, in_ring: Vec::new() })
    }

    fn emit(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let mut event = event(number);
            event.stamp(Clock::new(self.ring.clock()).stamp());
            let bytes = event.to_vec();
            let Ok(mut claim) = self.ring.lane(0).claim(bytes.len(), false) else { return };
            claim.write(|room| room[..bytes.len()].copy_from_slice(&bytes));
            claim.commit();
            self.in_ring.push(bytes);
        }
    }

    fn pump(&mut self) -> Result<(), Failure> {
        self.pump.run(Duration::ZERO)?;
        self.in_ring.clear();
        Ok(())
    }

    fn change(&mut self, policy: &str) -> Result<(), Failure> {
        let stated = Stated::parse(policy.into()).map_err(|error| error.to_string())?;
        let change = self.pump.policies().bring(stated, "another", &self.pump.mailbox());
        assert!(matches!(change, Change::Coming(_)));
        self.pump()
    }

    /// Claims whose callers died, and calls that were dropped and of which no row tells.
    fn torn(&mut self) {
        for len in [100, 0, 333] {
            drop(self.ring.lane(0).claim(len, false));
        }
        for _ in 0..5 {
            self.ring.edge().bump(0, 1, 0, Kind::Dropped);
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.ring.close();
        while !self.pump.run(Duration::from_millis(1))? {}
        self.in_ring.clear();
        Ok(())
    }

    fn die(self, folder: &Path, merges: bool) -> Result<World, Failure> {
        let Self { ring, pump, dir, in_ring } = self;
        let (path, ring) = (dir.path().to_owned(), ring.path().to_owned());
        drop((pump, dir));
        World::of(folder, &path, &ring, &in_ring, merges)
    }
}

impl World {
    fn of(folder: &Path, dir: &Path, ring: &Path, in_ring: &[Vec<u8>], merges: bool) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, fs::read(&path)?));
        }
        files.sort();
        let (segments, files) = files.into_iter().partition(|(name, _)| name.ends_with(".journal"));
        let (process, identity, written) = written(dir)?;
        let mut known: HashSet<Vec<u8>> = written.values().filter_map(|row| row.context.clone()).collect();
        let mut bodies = HashSet::new();
        for bytes in in_ring {
            let record = RecordView::parse(bytes).map_err(|error| error.to_string())?;
            bodies.insert((record.presence(), record.code(), record.bits(), record.body().to_vec()));
            known.insert(record.context_bytes().to_vec());
        }
        Ok(Self {
            root: folder.join("audit"),
            dir: dir.to_owned(),
            process,
            identity,
            files,
            segments,
            ring: fs::read(ring).ok().map(|bytes| (ring.to_owned(), bytes)),
            written,
            in_ring: bodies,
            contexts: known,
            merges,
            redacts: false,
        })
    }
}

/// A row without the position of its context, which is local to where it lies.
pub(crate) fn bare(row: &[u8]) -> Vec<u8> {
    let mut bytes = row.to_vec();
    row::set_context(&mut bytes, 0, row::NO_CONTEXT);
    bytes
}

type Life = ([u8; 16], Identity, BTreeMap<i64, Written>);

/// Everything that a whole journal has, by seq.
fn written(dir: &Path) -> Result<Life, Failure> {
    let mut reader = Reader::open(dir, 0)?;
    let (mut process, mut identity) = ([0; 16], Identity::default());
    let (mut rows, mut known, mut buf) = (BTreeMap::new(), HashMap::new(), Vec::new());
    loop {
        match reader.next(&mut buf)? {
            Step::Segment(head) => {
                process = head.process;
                identity = Identity {
                    process: process_text(&head.process),
                    instance: head.instance.clone(),
                    host: head.host.clone(),
                };
                known.clear();
            }
            Step::Batch(meta, sections) => {
                for entry in contexts::iter(&buf[sections.contexts]).flatten() {
                    known.insert(entry.index, entry.bytes.to_vec());
                }
                let (mut left, mut seq) = (&buf[sections.rows], meta.first_seq);
                while let Ok(view) = RowView::parse(left) {
                    let (row, rest) = left.split_at(view.len());
                    rows.insert(seq, Written { row: bare(row), context: known.get(&view.context()).cloned() });
                    (left, seq) = (rest, seq + 1);
                }
                assert!(meta.flags.contains(BatchFlags::SEQ_JUMP) || seq == meta.end_seq());
            }
            Step::NotYet | Step::End => return Ok((process, identity, rows)),
            Step::Corrupt { .. } | Step::Gone { .. } => return Err("a whole journal has a gap".into()),
        }
    }
}

/// Lives of several kinds; `folder` is in memory.
pub(crate) fn worlds(folder: &Path) -> Result<Vec<World>, Failure> {
    let mut worlds = Vec::new();
    let home = |name: &str| -> Result<PathBuf, Failure> {
        let home = folder.join(name);
        fs::create_dir(&home)?;
        Ok(home)
    };
    // Killed under load: several segments, rows in the ring, torn claims, untold drops.
    let at = home("killed")?;
    let mut rig = Rig::new(&settings(&at, ALL.into(), ""), 2_500)?;
    for batch in 0..8 {
        rig.emit(batch * 6..batch * 6 + 6);
        rig.pump()?;
    }
    rig.emit(48..60);
    rig.torn();
    rig.emit(60..64);
    worlds.push(rig.die(&at, false)?);
    // Ended as it should, in one segment.
    let at = home("closed")?;
    let mut rig = Rig::new(&settings(&at, ALL.into(), SAMPLED), 64 << 20)?;
    rig.emit(0..30);
    rig.pump()?;
    rig.end()?;
    worlds.push(rig.die(&at, false)?);
    // Changes of the policy, in the middle of a segment.
    let at = home("changed")?;
    let mut rig = Rig::new(&settings(&at, ALL.into(), ""), 6_000)?;
    for (batch, policy) in (0..).zip([SAMPLED, ALL, SAMPLED]) {
        rig.emit(batch * 8..batch * 8 + 8);
        rig.pump()?;
        rig.change(policy)?;
    }
    rig.emit(30..40);
    worlds.push(rig.die(&at, false)?);
    // Rows that become one.
    let at = home("merging")?;
    let mut rig = Rig::new(&settings(&at, MERGING.into(), ""), 4_000)?;
    for batch in 0..4 {
        rig.emit(batch * 12..batch * 12 + 12);
        rig.pump()?;
    }
    rig.emit(48..52);
    worlds.push(rig.die(&at, true)?);
    // Redacted, where this machine has memory for such a ring.
    let at = home("redacted")?;
    if auditring_journal::in_memory(&at) {
        let form = r#"{"version":3,"seed":1,"allow_blind_spots":false,"rules":[],"redact":"#.to_owned() + REDACT + "}";
        let policy =
            compile(form.as_bytes(), REDACT.as_bytes(), Key::new(KEY).as_ref()).map_err(|error| error.to_string())?;
        let mut rig = Rig::new(&settings(&at, policy, ""), 3_000)?;
        for batch in 0..4 {
            rig.emit(batch * 6..batch * 6 + 6);
            rig.pump()?;
        }
        rig.emit(24..30);
        worlds.push(World { redacts: true, ..rig.die(&at, false)? });
    }
    // A jump in seq: recovered without a ring.
    let at = home("jumped")?;
    let mut rig = Rig::new(&settings(&at, ALL.into(), ""), 4_000)?;
    rig.emit(0..12);
    rig.pump()?;
    let (dir, ring) = (rig.dir.path().to_owned(), rig.ring.path().to_owned());
    drop(rig);
    fs::remove_file(&ring)?;
    let mut held = ProcessDir::adopt(&dir)?;
    recover(&mut held, "another", None)?;
    drop(held);
    worlds.push(World::of(&at, &dir, &ring, &[], false)?);
    assert!(worlds.iter().all(|world| segments(&world.dir).is_ok_and(|all| all.len() == world.segments.len())));
    Ok(worlds)
}
