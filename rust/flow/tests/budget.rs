//! A journal at its budget without Python: who is waited for, what goes, and that it is counted where it is missed.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditring_event::record::Encoder;
use auditring_event::{code_of, index_of, spec_at};
use auditring_flow::{Born, Declined, Error, Follower, Form, Held, Limits, Progress, Pump, Settings, forget};
use auditring_journal::{Cursor, ProcessDir, bytes_held, list, segments};
use auditring_ring::Ring;
use common::{emit, limits, settings};

const ALL: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;
const BUDGET: u64 = 16 << 10;

struct Rig {
    folder: tempfile::TempDir,
    ring: Arc<Ring>,
    pump: Pump,
    dir: ProcessDir,
}

fn rig(required: &[&str]) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let required = required.iter().map(|name| (*name).to_owned()).collect();
    let settings = Settings { required, ..settings(folder.path(), ALL, &[("tables", ""), ("lines", "")]) };
    let born = Born::new(&settings).unwrap();
    let ring = Arc::clone(&born.ring);
    let limits = Limits { segment_bytes: 4096, journal_bytes: BUDGET, ..limits() };
    let (pump, dir) = Pump::new(born, limits, true).unwrap();
    Rig { folder, ring, pump, dir }
}

impl Rig {
    fn reads(&mut self, count: usize) {
        for offset in 0..count {
            let mut event = Encoder::new(spec_at(index_of(code_of("Read"))));
            event.text("topic", "orders").int("partition", 0).int("first_offset", offset as i64);
            emit(&self.ring, &mut event);
            self.pump.run(Duration::ZERO).unwrap();
        }
    }

    fn follow(&self, sink: &str) -> Follower {
        let progress = Arc::<Progress>::default();
        Follower::open(self.dir.path(), sink, Declined::default(), Form::Rows, progress).unwrap()
    }

    fn end(&mut self) {
        self.ring.close();
        while !self.pump.run(Duration::from_millis(20)).unwrap() {}
    }
}

/// Takes all that is there, and makes it safe.
fn catch_up(follower: &mut Follower) {
    while follower.next(100, Duration::ZERO, true).unwrap().is_some() || follower.boundary() {
        follower.commit(Vec::new()).unwrap();
    }
    follower.commit(Vec::new()).unwrap();
}

fn total(dir: &Path, sink: &str, name: &str) -> u64 {
    Cursor::load(dir, sink).unwrap().and_then(|cursor| cursor.totals.get(name).copied()).unwrap_or(0)
}

#[test]
fn for_a_sink_that_is_not_required_segments_go_and_its_cursor_says_how_many_rows() {
    let mut rig = rig(&["tables"]);
    let mut tables = rig.follow("tables");
    let mut lines = rig.follow("lines");
    // It has rows in hand as the journal is filled behind it.
    assert!(lines.next(1, Duration::ZERO, true).unwrap().is_some());
    for _ in 0..20 {
        rig.reads(50);
        catch_up(&mut tables);
    }
    assert!(bytes_held(rig.dir.path()).unwrap() < BUDGET + 8192);
    assert!(rig.pump.progress().journaled().let_go > 0);
    rig.end();
    catch_up(&mut tables);
    catch_up(&mut lines);
    let journaled = rig.pump.progress().next_seq().unsigned_abs();
    let dir = rig.dir.path();
    assert_eq!((total(dir, "tables", "delivered"), total(dir, "tables", "lost_budget")), (journaled, 0));
    assert!(total(dir, "lines", "lost_budget") > 0);
    assert_eq!(total(dir, "lines", "delivered") + total(dir, "lines", "lost_budget"), journaled);
}

#[test]
fn a_required_sink_that_lags_stops_the_pump_though_another_one_is_dead() {
    let mut rig = rig(&["tables"]);
    rig.reads(1000);
    let stopped = rig.pump.progress().journaled();
    assert!(stopped.over_budget && stopped.accepted < 1000);
    assert_eq!(stopped.let_go, 0, "nothing goes for the one that the other may still need");
    let mut tables = rig.follow("tables");
    while rig.pump.progress().journaled().accepted < 1000 {
        catch_up(&mut tables);
        rig.pump.run(Duration::ZERO).unwrap();
    }
    catch_up(&mut tables);
    assert_eq!(total(rig.dir.path(), "tables", "lost_budget"), 0);
    assert!(rig.pump.progress().journaled().let_go > 0);
}

#[test]
fn a_list_of_sinks_that_is_taken_away_lets_nothing_go() {
    let mut rig = rig(&["tables"]);
    rig.reads(1000);
    let stopped = rig.pump.progress().journaled();
    std::fs::remove_file(rig.dir.path().join("followers")).unwrap();
    for _ in 0..10 {
        // Longer than it looks at its bytes again.
        rig.pump.run(Duration::from_millis(50)).unwrap();
    }
    let now = rig.pump.progress().journaled();
    assert!(stopped.over_budget && now.over_budget);
    assert_eq!((now.accepted, segments(rig.dir.path()).unwrap()[0].first_seq), (stopped.accepted, 0));
    let (found, result) = rig.pump.keep(&rig.dir);
    assert!(result.is_ok() && found.len() == 1, "{found:?}");
}

#[test]
fn with_no_required_sink_the_pump_never_stops() {
    let mut rig = rig(&[]);
    rig.reads(1000);
    let journaled = rig.pump.progress().journaled();
    assert!(!journaled.over_budget && journaled.accepted == 1000);
    assert!(bytes_held(rig.dir.path()).unwrap() < BUDGET + 8192);
    let mut lines = rig.follow("lines");
    rig.end();
    catch_up(&mut lines);
    let all = rig.pump.progress().next_seq().unsigned_abs();
    assert_eq!(total(rig.dir.path(), "lines", "delivered") + total(rig.dir.path(), "lines", "lost_budget"), all);
}

#[test]
fn a_damaged_cursor_of_one_sink_is_no_trouble_of_the_others() {
    let mut rig = rig(&["tables"]);
    let mut tables = rig.follow("tables");
    std::fs::write(rig.dir.path().join("lines.cursor"), "no cursor").unwrap();
    for _ in 0..20 {
        rig.reads(50);
        catch_up(&mut tables);
    }
    // At the very end the required one may be behind once more.
    for _ in 0..10 {
        catch_up(&mut tables);
        rig.pump.run(Duration::ZERO).unwrap();
    }
    assert_eq!(rig.pump.progress().journaled().accepted, 1000);
}

#[test]
fn a_refused_row_is_counted_as_lost_and_the_rest_comes_again() {
    let mut rig = rig(&["tables"]);
    rig.reads(10);
    rig.end();
    let mut lines = rig.follow("lines");
    assert_eq!(lines.next(100, Duration::ZERO, true).unwrap().unwrap().rows, 12);
    assert_eq!(lines.reject([3, 4, 3, 100]), 2, "once each, and only what was given");
    lines.rewind().unwrap();
    let batch = lines.next(100, Duration::ZERO, true).unwrap().unwrap();
    assert_eq!((batch.rows, batch.lost), (10, 2));
    assert!(batch.set.rows.iter().all(|row| row.seq != 3 && row.seq != 4));
    lines.commit(Vec::new()).unwrap();
    assert_eq!(total(rig.dir.path(), "lines", "lost_rejected"), 2);
}

#[test]
fn a_sink_is_forgotten_of_the_dead_alone_and_in_one_step() -> Result<(), Error> {
    let mut rig = rig(&["tables"]);
    rig.reads(10);
    let root = rig.folder.path().join("audit");
    assert_eq!(forget(&root, "lines", true)?[0].held, Held::Living);
    let mut tables = rig.follow("tables");
    rig.end();
    catch_up(&mut tables);
    drop(tables);
    let Rig { folder: _folder, pump, dir, .. } = rig;
    drop((pump, dir));
    let asked = forget(&root, "lines", false)?;
    assert_eq!((asked[0].held, asked[0].rows, asked[0].removed), (Held::Ended, 12, false));
    assert_eq!(forget(&root, "lines", false)?.len(), 1, "asking changes nothing");
    assert!(forget(&root, "lines", true)?[0].removed);
    assert!(list(&root)?.is_empty() && forget(&root, "lines", true)?.is_empty());
    let (_, totals) = auditring_journal::Totals::load_all(&root)?.remove(0);
    assert_eq!(totals.sinks["lines"]["lost_forgotten"], 12);
    Ok(())
}
