//! Redaction in the pump: what comes out of the ring, and that nothing of it is in a file of the journal.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditring_event::event::{Cell, Event};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Category, Column, Context, Definition, Outcome, by_name};
use auditring_flow::{Born, Declined, Error, Follower, Form, Progress, Pump, Recovery, Settings, recover};
use auditring_journal::{Batch, ProcessDir, Reader, Step, contexts, in_memory, segments};
use auditring_policy::{Key, compile};
use auditring_ring::{Clock, Ring};

const KEY: &[u8] = b"a key that is long enough";
const SHM: &str = "/dev/shm";

struct Rig {
    folder: Option<tempfile::TempDir>,
    ring: Arc<Ring>,
    /// None of one that has died.
    pump: Option<Pump>,
    _dir: ProcessDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.pump.is_some() {
            let _ = self.ring.unlink();
        }
    }
}

fn redacting(folder: &Path, redact: &str, key: Option<&[u8]>) -> Settings {
    let form = format!(r#"{{"version":3,"seed":1,"allow_blind_spots":false,"rules":[],"redact":{redact}}}"#);
    let policy = compile(form.as_bytes(), redact.as_bytes(), Key::new(KEY).as_ref()).unwrap();
    Settings {
        ring_dir: Some(SHM.into()),
        key: key.and_then(Key::new),
        ..common::settings(folder, policy, &[("rows", "")])
    }
}

/// None where this machine has no tmpfs to test with.
fn rig(redact: &str) -> Option<Rig> {
    if !in_memory(Path::new(SHM)) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let born = Born::new(&redacting(folder.path(), redact, Some(KEY))).unwrap();
    let ring = Arc::clone(&born.ring);
    let (pump, dir) = Pump::new(born, common::limits(), true).unwrap();
    Some(Rig { folder: Some(folder), ring, pump: Some(pump), _dir: dir })
}

fn hash(value: &str) -> String {
    let mut out = String::new();
    Key::new(KEY).unwrap().hash(value.as_bytes(), &mut out);
    out
}

fn session(client: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let context = Context { session: Some("s".into()), client_id: Some(client.into()), ..Context::default() };
    context.encode(&mut bytes);
    bytes
}

impl Rig {
    fn put(&self, record: &[u8]) {
        let mut claim = self.ring.lane(0).claim(record.len(), false).expect("the ring has room");
        claim.write(|room| room[..record.len()].copy_from_slice(record));
        claim.commit();
    }

    fn event(&self, action: &str) -> Encoder {
        let mut event = Encoder::new(by_name(action).unwrap());
        event.stamp(Clock::new(self.ring.clock()).stamp());
        event
    }

    fn end(&mut self) {
        self.ring.close();
        while !self.pump.as_mut().unwrap().run(Duration::from_millis(20)).unwrap() {}
    }

    fn leaks(&self, secret: &str) -> bool {
        leaks(self.pump.as_ref().unwrap().dir(), secret)
    }

    fn of(&self, action: &str) -> Vec<Event> {
        let pump = self.pump.as_ref().unwrap();
        of(pump.dir(), action, pump.progress())
    }

    fn die(mut self) -> Dead {
        let dir = self.pump.take().unwrap().dir().to_owned();
        Dead { _folder: self.folder.take().unwrap(), dir }
    }
}

/// What a process leaves behind.
struct Dead {
    _folder: tempfile::TempDir,
    dir: std::path::PathBuf,
}

/// Whether any file of a journal has these bytes.
fn leaks(dir: &Path, secret: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(secret.len()).any(|some| some == secret.as_bytes())
    })
}

fn of(dir: &Path, action: &str, progress: Arc<Progress>) -> Vec<Event> {
    let mut rows = Follower::open(dir, "rows", Declined::default(), Form::Rows, progress).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = rows.next(1 << 20, Duration::from_millis(20), true).unwrap() {
        all.extend(batch.set.rows.iter().map(|at| Event::of(&batch.set, at).unwrap()));
    }
    all.retain(|event| event.text(Column::Action) == Some(action));
    all
}

fn marks(event: &Event) -> String {
    let Some(Cell::Map(map)) = event.get(Column::Context) else { return String::new() };
    map.get("auditring.redacted").map_or_else(String::new, ToString::to_string)
}

#[test]
fn rows_and_contexts_are_redacted_and_each_row_tells_of_its_own() {
    let redact = r#"[{"field":"client_id","how":"hash"},{"field":"resource","how":"hash"}]"#;
    let Some(mut rig) = rig(redact) else { return };
    for (topic, context) in [("SECRET-t", 1), ("SECRET-t", 1), ("SECRET-u", 1), ("SECRET-t", 2)] {
        rig.put(
            &rig.event("Read").text("topic", topic).int("partition", 0).context(context, &session("SECRET-c")).to_vec(),
        );
    }
    rig.put(&rig.event("ClientClose").text("initiator", "FETCH").context(1, &session("SECRET-c")).to_vec());
    // Of no session.
    rig.put(&rig.event("Write").text("topic", "SECRET-t").int("partition", 0).to_vec());
    rig.put(&rig.event("VirtualClusterShutdown").text("virtual_cluster", "vc").to_vec());
    rig.end();
    assert!(!rig.leaks("SECRET"));
    let reads = rig.of("Read");
    let topics: Vec<_> = reads.iter().map(|read| read.text(Column::Resource).unwrap().to_owned()).collect();
    assert_eq!(topics, ["SECRET-t", "SECRET-t", "SECRET-u", "SECRET-t"].map(hash));
    for read in &reads {
        assert_eq!(read.text(Column::ClientId), Some(&*hash("SECRET-c")));
        assert_eq!(marks(read), r#"["client_id","resource"]"#);
    }
    assert_eq!(marks(&rig.of("ClientClose")[0]), r#"["client_id"]"#);
    let write = &rig.of("Write")[0];
    assert_eq!((write.text(Column::Session), &*marks(write)), (None, r#"["resource"]"#));
    assert_eq!(marks(&rig.of("VirtualClusterShutdown")[0]), "");
    // Each context once for each set of redactions: of 1 with and without, of 2, of none.
    let mut reader = Reader::open(rig.pump.as_ref().unwrap().dir(), 0).unwrap();
    let (mut seen, mut buf) = (0, Vec::new());
    loop {
        match reader.next(&mut buf).unwrap() {
            Step::Segment(_) => {}
            Step::Batch(meta, sections) => {
                seen += contexts::iter(Batch::new(meta, &sections, &buf).contexts).flatten().count();
            }
            _ => break,
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn the_first_record_of_a_declared_event_is_redacted_by_its_definition() {
    let Some(mut rig) = rig(r#"[{"field":"object_ref.kek","how":"hash"}]"#) else { return };
    let definition = Definition {
        code: 768,
        name: "com.example.KeyUsed".into(),
        category: Category::Plugin,
        outcome: Outcome::Success,
        object_ref: vec!["kek".into(), "zone".into()],
        context: Vec::new(),
    };
    let mut bytes = Vec::new();
    definition.encode(&mut bytes);
    rig.ring.definitions_append(&bytes).unwrap();
    let mut event = Encoder::declared(&definition);
    event.declared_text(0, "SECRET").declared_text(1, "eu").stamp(Clock::new(rig.ring.clock()).stamp());
    rig.put(&event.to_vec());
    rig.end();
    assert!(!rig.leaks("SECRET"));
    let Some(Cell::Map(map)) = rig.of("com.example.KeyUsed")[0].get(Column::ObjectRef).cloned() else {
        panic!("a map")
    };
    assert_eq!((map["kek"].as_str(), map["zone"].as_str()), (Some(&*hash("SECRET")), Some("eu")));
}

#[test]
fn what_cannot_be_read_is_an_unreadable_row_or_a_null_and_never_what_it_was() {
    let Some(mut rig) = rig(r#"[{"field":"client_id","how":"hash"}]"#) else { return };
    let mut broken = rig.event("ClientClose").text("initiator", "SECRET").to_vec();
    let at = broken.windows(6).position(|some| some == b"SECRET").unwrap();
    broken[at - 2] = 200;
    rig.put(&broken);
    let mut context = session("SECRET");
    context[0] |= 1;
    rig.put(&rig.event("ClientClose").text("initiator", "FETCH").context(1, &context).to_vec());
    rig.end();
    assert!(!rig.leaks("SECRET"));
    assert_eq!(rig.of("auditring.Unreadable").len(), 1);
    let event = &rig.of("ClientClose")[0];
    assert_eq!((event.text(Column::ClientId), &*marks(event)), (None, r#"["client_id"]"#));
    assert!(RecordView::parse(&broken).is_ok());
}

#[test]
fn whoever_ends_a_dead_ones_journal_redacts_as_it_did_and_without_its_key_leaves_out_what_it_hashed() {
    let redact = r#"[{"field":"client_id","how":"hash"},{"field":"resource","how":"truncate","length":2}]"#;
    let hashed = hash("SECRET-c");
    for (key, damage, client) in [
        (Some(KEY), false, Some(&*hashed)),
        (None, false, None),
        (Some(&b"another key, as long as that"[..]), false, None),
        (None, true, None),
    ] {
        let Some(rig) = rig(redact) else { return };
        let read =
            rig.event("Read").text("topic", "SECRET-t").int("partition", 0).context(1, &session("SECRET-c")).to_vec();
        rig.put(&read);
        // As a death leaves them: nothing of it was in the journal, nobody holds the directory, the ring stays.
        let Dead { _folder, dir } = rig.die();
        if damage {
            for name in segments(&dir).unwrap() {
                std::fs::write(dir.join(name.file_name()), b"damaged").unwrap();
            }
        }
        let mut held = ProcessDir::adopt(&dir).unwrap();
        let found = recover(&mut held, "another", key.and_then(Key::new).as_ref()).unwrap();
        assert!(matches!(found, Recovery::Recovered(salvage) if salvage.rows == 1), "{found:?}");
        assert!(!leaks(&dir, "SECRET"));
        let read = of(&dir, "Read", Arc::default()).remove(0);
        assert_eq!((read.text(Column::ClientId), read.text(Column::Resource)), (client, Some("SE…")));
        assert_eq!(marks(&read), r#"["client_id","resource"]"#);
    }
}

#[test]
fn a_process_that_redacts_is_born_only_with_its_key_and_a_ring_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let redact = r#"[{"field":"client_id","how":"hash"}]"#;
    for key in [None, Some(&b"another key, as long as that"[..])] {
        let refused = Born::new(&redacting(folder.path(), redact, key));
        assert!(matches!(refused, Err(Error::RedactionKey)));
    }
    assert!(!folder.path().join("audit").exists());
    if in_memory(folder.path()) {
        return;
    }
    let elsewhere =
        Settings { ring_dir: Some(folder.path().to_owned()), ..redacting(folder.path(), redact, Some(KEY)) };
    assert!(matches!(Born::new(&elsewhere), Err(Error::NotInMemory(_))));
    let left = |dir: &Path| std::fs::read_dir(dir).unwrap().flatten().filter(|one| one.path().is_file()).count();
    assert_eq!(left(folder.path()), 0);
    assert!(segments(&folder.path().join("audit/journal")).is_ok_and(|none| none.is_empty()));
}
