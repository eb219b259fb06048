//! A process that is about to die, what it left, and what becomes of that.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auditring_event::event::Event;
use auditring_event::record::Encoder;
use auditring_event::{Column, Context, RowRef, code_of, index_of, row, spec_at};
use auditring_flow::{Born, Declined, Follower, Form, Limits, Pump, Recovery, Salvage, adopt, outside, recover};
use auditring_journal::{Ending, ProcessDir, fold, segments};
use auditring_ring::Ring;

use super::{emit, limits, settings};

pub const SINK: &str = "parquet";
pub const SOON: Duration = Duration::from_millis(20);
pub const JUMP: i64 = 1 << 32;
pub const ALL: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;

/// A process that is about to die.
pub struct Rig {
    pub folder: tempfile::TempDir,
    pub ring: Arc<Ring>,
    pub pump: Pump,
    pub held: ProcessDir,
}

/// What it left.
pub struct Remains {
    pub folder: tempfile::TempDir,
    pub dir: PathBuf,
    pub ring: PathBuf,
}

pub fn born(folder: &Path) -> Born {
    Born::new(&settings(folder, ALL, &[(SINK, "")])).unwrap()
}

pub fn rig() -> Rig {
    rig_of(limits())
}

pub fn rig_of(limits: Limits) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let born = born(folder.path());
    let ring = Arc::clone(&born.ring);
    let (pump, held) = Pump::new(born, limits, true).unwrap();
    Rig { folder, ring, pump, held }
}

impl Rig {
    pub fn read(&self, offset: i64) {
        let mut context = Vec::new();
        Context { session: Some(format!("session-{}", offset % 3)), ..Context::default() }.encode(&mut context);
        let mut event = Encoder::new(spec_at(index_of(code_of("Read"))));
        event.text("topic", "orders").int("partition", 0).int("first_offset", offset);
        event.context(1 + offset as u64 % 3, &context);
        emit(&self.ring, &mut event);
    }

    pub fn reads(&self, offsets: std::ops::Range<i64>) {
        offsets.for_each(|offset| self.read(offset));
    }

    /// A caller that died between its claim and its commit.
    pub fn torn(&self, len: usize) {
        drop(self.ring.lane(0).claim(len, true).expect("the ring has room"));
    }

    pub fn pump(&mut self) {
        self.pump.run(Duration::ZERO).unwrap();
    }

    pub fn die(self) -> Remains {
        let Self { folder, ring, pump, held } = self;
        let (dir, ring) = (held.path().to_owned(), ring.path().to_owned());
        drop((pump, held));
        Remains { folder, dir, ring }
    }
}

/// (seq, offset) of the Reads, and the names of the other actions with what they say of losses.
pub type Story = (Vec<(i64, i64)>, Vec<(i64, String, Option<i64>, Option<String>)>);

impl Remains {
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    pub fn recover(&self) -> Salvage {
        match self.try_recover() {
            Recovery::Recovered(salvage) => salvage,
            other => panic!("{other:?}"),
        }
    }

    pub fn try_recover(&self) -> Recovery {
        let mut held = adopt(&self.dir).unwrap();
        assert!(held.is_some(), "nobody holds it");
        recover(&mut held, "another", None).unwrap()
    }

    /// All that a sink would be given, where nothing is damaged.
    pub fn story(&self) -> Story {
        let (story, lost) = self.damaged_story();
        assert_eq!(lost, 0);
        story
    }

    /// All that a sink would be given, and how many rows it is told to be lost.
    pub fn damaged_story(&self) -> (Story, u64) {
        let mut follower = Follower::open(&self.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
        let (mut reads, mut others, mut lost) = (Vec::new(), Vec::new(), 0);
        while !follower.ended() {
            if let Some(batch) = follower.next(1 << 20, SOON, true).unwrap() {
                lost += batch.lost;
                let (first, last) = (batch.first_seq, batch.last_seq);
                let kept = batch.rows as u64 + batch.merged;
                let passed = kept + batch.sampled_out + batch.filtered_out + batch.lost;
                assert_eq!(passed, first.abs_diff(last) + 1, "no jump within a file");
                for at in &batch.set.rows {
                    let view = batch.set.row(at).unwrap();
                    if view.code() == code_of("Read") {
                        assert!(batch.set.context(&view).is_some() && view.age_ns() >= 0 && view.time_ns() > 0);
                        reads.push((at.seq, row::int_field(&view, 2).unwrap()));
                    } else {
                        others.push(other(&batch.set, at));
                    }
                }
            }
            if follower.boundary() {
                // A jump: what lies before it is a checkpoint of its own.
                follower.commit(Vec::new()).unwrap();
            }
        }
        ((reads, others), lost)
    }

    /// A sink has taken, safely, what is before a seq.
    pub fn deliver(&self, to: i64) {
        let mut follower = Follower::open(&self.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
        while follower.position() < to {
            let most = usize::try_from(to - follower.position()).unwrap();
            follower.next(most, SOON, true).unwrap();
        }
        follower.commit(Vec::new()).unwrap();
    }

    /// A sink takes all that it still lacks, safely.
    pub fn deliver_all(&self) {
        let mut follower = Follower::open(&self.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
        while !follower.ended() {
            follower.next(1 << 20, SOON, true).unwrap();
            if follower.boundary() {
                follower.commit(Vec::new()).unwrap();
            }
        }
        follower.commit(Vec::new()).unwrap();
    }

    /// The equations, from the files alone.
    pub fn balanced(&self) {
        let state = fold(&self.dir).unwrap();
        assert_eq!(state.ending, Some(Ending::Recovered));
        let (all, _) = outside(&self.root()).unwrap();
        let one = all.iter().find(|one| self.dir.ends_with(&one.process)).unwrap();
        let term = |name: &str| one.terms[name];
        let lost: u64 = one.lost.values().sum();
        assert_eq!(term("claimed"), term("accepted") + term("torn"), "{one:?}");
        assert_eq!(term("accepted") + term("born"), term("journaled") + lost, "{one:?}");
    }

    /// Every file as it is now.
    pub fn photograph(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.push(self.ring.clone());
        files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    }

    pub fn restore(&self, files: &[(PathBuf, Vec<u8>)]) {
        for entry in fs::read_dir(&self.dir).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, bytes) in files {
            fs::write(path, bytes).unwrap();
        }
    }

    pub fn segment(&self) -> PathBuf {
        self.dir.join(segments(&self.dir).unwrap().last().unwrap().file_name())
    }
}

pub fn other(set: &auditring_event::RowSet, at: &RowRef) -> (i64, String, Option<i64>, Option<String>) {
    let event = Event::of(set, at).unwrap();
    let text = |column| event.text(column).map(str::to_owned);
    let context = event.get(Column::Context).map(|cell| format!("{cell:?}"));
    (at.seq, text(Column::Action).unwrap(), event.int(Column::Lost), context)
}

pub fn actions(others: &[(i64, String, Option<i64>, Option<String>)]) -> Vec<&str> {
    others.iter().map(|(_, action, _, _)| action.as_str()).collect()
}

/// Dense from 1 (0 is `ProxyStartup`), in order.
pub fn dense(offsets: std::ops::Range<i64>) -> Vec<(i64, i64)> {
    offsets.clone().zip(offsets).map(|(at, offset)| (at + 1, offset)).collect()
}

/// Nobody knows what the ring held: a row says so, behind a jump that no seq of any sink can have reached.
pub fn ring_gone(remains: &Remains, rows: i64) {
    let salvage = remains.recover();
    assert!(salvage.ring_gone && salvage.rows == 0, "{salvage:?}");
    let (reads, others) = remains.story();
    assert_eq!(reads, dense(0..rows));
    assert_eq!(actions(&others), ["ProxyStartup", "auditring.EventsLost", "auditring.Recovered"]);
    assert_eq!((others[1].0, others[1].2), (rows + 1 + JUMP, None));
    assert!(others[1].3.as_ref().unwrap().contains("ring_gone"), "{others:?}");
    remains.balanced();
}

pub fn with_ten_journaled_and_ten_in_the_ring() -> Remains {
    let mut rig = rig();
    rig.reads(0..10);
    rig.pump();
    rig.reads(10..20);
    rig.die()
}
