//! One recovery under way: from the ring into a segment behind all that are there.
//!
//! What must always hold: what is counted of a claim stands in the batch that moves the position over it, with its row or with
//! the row that tells of its loss.

use std::collections::BTreeMap;
use std::path::Path;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Definitions, SCHEMA_VERSION, named};
use auditring_journal::counters::{self, Counters};
use auditring_journal::{Anchor, BatchFlags, BatchMeta, LanePosition, Owner, ScopeFile, SegmentHead, State, Writer};
use auditring_policy::{Key, Policy, Redactor};
use auditring_ring::{EdgeCount, Found, Position, Ring};
use uuid::Uuid;

use super::Salvage;
use super::remains::cursors;
use super::times::Times;
use crate::Error;
use crate::fill::Fill;
use crate::losses::Losses;
use crate::pump::{lane, unreadable};
use crate::select::policy_at_end;
use crate::timeline::journaled;

/// A batch of recovered rows ends when it has reached this; killed, recovery goes on behind it.
const BATCH_BYTES: usize = 256 << 10;
/// Seqs that are left out where nobody knows how many there were: more than any file or cursor can be ahead.
const JUMP: i64 = 1 << 32;
/// Keeps everything: for a journal none of whose segments says by which policy it was kept.
const KEEP_ALL: &[u8] = br#"{"allow_blind_spots":true,"rules":[{"category":["*"],"keep":"all"}],"seed":0,"version":2}"#;

/// One recovery under way.
pub(super) struct Salvager {
    pub(super) writer: Writer,
    process: Uuid,
    generation: u32,
    times: Times,
    fill: Fill,
    /// Its records are of a version that is known here, so that one which does not hold is a damaged one.
    known: bool,
    losses: Losses,
    definitions: Definitions,
    /// What is journaled of each lane, and how far the batch in the making goes.
    lanes: Vec<(Position, Position)>,
    /// Counted since the last batch, by cell.
    counted: BTreeMap<counters::Cell, u64>,
    /// Seq of the first row.
    first_seq: i64,
    jump: bool,
    /// Why nobody knows how many were lost, where that is so.
    unknown: Option<&'static str>,
    salvage: Salvage,
}

impl Salvager {
    /// `into`: where the segment is written.
    pub(super) fn new(
        dir: &Path,
        into: &Path,
        owner: &Owner,
        process: Uuid,
        state: State,
        ring: Option<&Ring>,
        key: Option<&Key>,
    ) -> Result<Self, Error> {
        // Before anything is written: where it cannot be read, nobody knows what may be.
        let redactor = Redactor::of_another(&owner.redact, key)?;
        // No head can be read; or no batch behind it, also where it is of an earlier try of ours that died before its first.
        let damaged = state.head.is_none() || state.batch_no == 0;
        let mut head = state.next_head().unwrap_or_else(|| from_owner(owner, process, &state, ring));
        head.born = true;
        if let Some(last) = &state.head
            && let Some(policy) = policy_at_end(dir, last.first_seq)?
        {
            // What was changed since the last head holds for all that comes.
            head.policy_digest = Policy::digest(&policy);
            head.policy = policy;
        }
        let fresh = ring.is_some_and(|ring| ring.identity().generation > state.generation);
        if let Some(ring) = ring {
            head.definitions = ring.definitions();
            head.generation = ring.identity().generation;
            if fresh || damaged {
                head.lanes = Vec::new();
            }
        }
        let mut lanes = lanes(&head, ring, damaged);
        let times = Times::new(&state, &head, ring);
        let passed = cursors(dir)?;
        if passed > state.next_seq {
            delivered(&mut head, passed, ring, &mut lanes, damaged);
        }
        let behind = ring.is_some_and(|ring| (0..).zip(&lanes).any(|(lane, (at, _))| ring.is_behind(lane, *at)));
        // Where the journal's end is gone its seqs may be in sinks already: none is given out twice.
        let jump = ring.is_none() || damaged || behind || passed > state.next_seq || state.ends_in_a_gap();
        let unknown = if ring.is_none() || fresh {
            Some("ring_gone")
        } else {
            (damaged || (jump && !behind)).then_some("journal_gone")
        };
        let first_seq = if jump { state.next_seq.max(passed).saturating_add(JUMP) } else { state.next_seq };
        let known = head.schema_version <= SCHEMA_VERSION;
        let primary_tap = head.primary_tap.clone();
        let definitions = Definitions::decode(&head.definitions).unwrap_or_default();
        let losses = Losses::resumed(&state.cells, state.anchor.real_ns);
        let mut fill = Fill::new(primary_tap.as_deref(), redactor);
        fill.define(&definitions);
        // Names of scopes are no reason not to recover: without them rows count as before, by action and outcome alone.
        if let Ok(Some(scopes)) = ScopeFile::resume(dir, dir == into) {
            fill.scope_by(scopes);
        }
        let writer = Writer::resume(into, &head, state)?;
        Ok(Self {
            writer,
            process,
            generation: head.generation,
            times,
            fill,
            known,
            losses,
            definitions,
            lanes,
            counted: BTreeMap::new(),
            first_seq,
            jump,
            unknown,
            salvage: Salvage { ring_gone: ring.is_none() || fresh, ..Salvage::default() },
        })
    }

    pub(super) fn run(&mut self, ring: Option<&Ring>, by: &str) -> Result<Salvage, Error> {
        if let Some(cause) = self.unknown {
            self.tell(cause, None);
            self.count(counters::LOST_UNKNOWN, 1);
        }
        for row in self.times.told() {
            self.own(&row);
        }
        if let Some(ring) = ring {
            for lane in 0..ring.geometry().lanes {
                self.lane(ring, lane)?;
            }
        }
        self.finish(ring, by)
    }

    /// Everything of one lane, up to its tail.
    fn lane(&mut self, ring: &Ring, lane: u32) -> Result<(), Error> {
        let at = lane as usize;
        let mut scan = ring.scan(lane, self.lanes[at].0).ok_or(Error::TwoPumps)?;
        loop {
            match scan.step() {
                None => break,
                Some(Found::Record(payload)) => {
                    self.record(payload);
                    self.count(counters::CLAIMED, 1);
                    self.count(counters::ACCEPTED, 1);
                    self.salvage.rows += 1;
                }
                Some(Found::Torn(claims)) => {
                    self.count(counters::CLAIMED, claims);
                    self.count(counters::TORN, claims);
                    self.salvage.torn = self.salvage.torn.saturating_add(claims);
                }
                // All of them are journaled, as a sink knows; the row says why seqs are left out.
                Some(Found::Gone(0)) => self.tell("journal_gone", Some(0)),
                Some(Found::Gone(claims)) => {
                    self.lost(counters::LOST_JOURNAL_GONE, "journal_gone", claims);
                    self.salvage.journal_gone = self.salvage.journal_gone.saturating_add(claims);
                }
                Some(Found::Unreadable(claims)) => {
                    self.lost(counters::LOST_UNREADABLE, "unreadable", claims);
                    self.salvage.unreadable = self.salvage.unreadable.saturating_add(claims);
                }
            }
            self.lanes[at].1 = scan.position();
            if self.fill.bytes() >= BATCH_BYTES {
                self.write(BatchFlags::NONE)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, payload: &[u8]) {
        let taken = RecordView::parse(payload).is_ok_and(|record| {
            if self.known && record.validate().is_err() {
                return false;
            }
            let at = self.times.at(record.stamp());
            self.fill.push(&record, at)
        });
        if !taken {
            // It was accepted, and a row in its place says how long it was. No sink could take what it says.
            if let Ok(record) = RecordView::parse(&unreadable(payload)) {
                self.fill.push(&record, self.times.now());
            }
        }
    }

    /// A row that was never in the ring.
    fn own(&mut self, record: &[u8]) {
        if let Ok(record) = RecordView::parse(record) {
            self.fill.push(&record, self.times.now());
            self.count(counters::BORN, 1);
        }
    }

    fn count(&mut self, cell: counters::Cell, n: u64) {
        let counted = self.counted.entry(cell).or_default();
        *counted = counted.saturating_add(n);
    }

    /// Claims that were accepted and are gone: counted, and told, in one batch.
    fn lost(&mut self, cell: counters::Cell, cause: &str, claims: u64) {
        self.count(counters::CLAIMED, claims);
        self.count(counters::ACCEPTED, claims);
        self.count(cell, claims);
        self.tell(cause, Some(claims));
    }

    fn tell(&mut self, cause: &str, lost: Option<u64>) {
        let mut event = Encoder::new(named("auditring.EventsLost"));
        if let Some(lost) = lost {
            event.int("lost", i64::try_from(lost).unwrap_or(i64::MAX));
        }
        event.text("cause", cause).int("from_ns", self.losses.since_ns()).end_time(self.times.now().time_ns);
        self.own(&event.to_vec());
    }

    /// The last batch: what was lost, and that this is the end.
    fn finish(&mut self, ring: Option<&Ring>, by: &str) -> Result<Salvage, Error> {
        let state = self.writer.state();
        let counted = |cell| state.cells.get(cell).saturating_add(self.counted.get(&cell).copied().unwrap_or(0));
        let now = self.times.now();
        let torn = counted(counters::TORN);
        if let Some(ring) = ring {
            let mut seen: Vec<EdgeCount> = Vec::new();
            ring.edge().visit(|count| seen.push(count));
            self.losses.see(seen);
        }
        for (lost, row) in self.losses.rest(&self.definitions, now) {
            // A damaged table of counters says what it likes.
            self.salvage.dropped = self.salvage.dropped.saturating_add(lost);
            self.own(&row);
        }
        let mut event = Encoder::new(named("auditring.Recovered"));
        event.int("rows", self.salvage.rows as i64).int("torn", i64::try_from(torn).unwrap_or(i64::MAX));
        event.int("unreadable", self.salvage.unreadable as i64);
        if !by.is_empty() {
            event.text("by_process", by);
        }
        self.own(&event.to_vec());
        self.write(BatchFlags::FINAL_RECOVERED)?;
        self.salvage.unhashed = self.fill.unhashed;
        Ok(self.salvage)
    }

    /// One batch: rows, positions and counters in one step.
    fn write(&mut self, flags: BatchFlags) -> Result<(), Error> {
        let state = self.writer.state();
        let mut cells: Counters = state.cells.clone();
        cells.add(counters::JOURNALED, u64::from(self.fill.count));
        for (cell, n) in std::mem::take(&mut self.counted) {
            cells.add(cell, n);
        }
        self.fill.tally.drain(&mut cells);
        if flags.is_final() {
            self.losses.cells(&mut cells);
        }
        let ((min_time_ns, max_time_ns), (min_age_ns, max_age_ns)) = self.fill.span(self.times.now());
        let meta = BatchMeta {
            flags: if std::mem::take(&mut self.jump) { flags | BatchFlags::SEQ_JUMP } else { flags },
            process: *self.process.as_bytes(),
            batch_no: state.batch_no,
            generation: self.generation,
            lanes: self.lanes.iter().map(|&(from, to)| lane(from, to)).collect(),
            first_seq: self.first_seq.max(state.next_seq),
            rows: self.fill.count,
            anchor: self.times.anchor(),
            min_time_ns,
            max_time_ns,
            min_age_ns,
            max_age_ns,
            cells: cells.changed(),
        };
        self.writer.append(&meta, &self.fill.contexts, &[], &self.fill.rows)?;
        for (from, to) in &mut self.lanes {
            *from = *to;
        }
        self.fill.clear();
        Ok(())
    }
}

/// A sink has come to seq `passed`, where the journal ends before it: what lies between was journaled, and is safe there. To a
/// sink that is behind it is damaged. Which of it came out of the ring, and which the library itself made, nobody knows any
/// more: as much as can be is taken for the first, so that what is told as lost is lost, at least. It stands in the head, so
/// that it is counted once, whenever this is killed.
fn delivered(
    head: &mut SegmentHead,
    passed: i64,
    ring: Option<&Ring>,
    lanes: &mut [(Position, Position)],
    damaged: bool,
) {
    let taken = passed.abs_diff(head.first_seq);
    let mut born = taken;
    match ring {
        // Nobody knows how many claims there were.
        None => born = 0,
        Some(ring) => {
            for (lane, (from, to)) in (0..).zip(&mut *lanes) {
                let gone = if damaged { from.claims } else { ring.gone(lane, *from) };
                let known = gone.min(born);
                born -= known;
                if !damaged {
                    from.claims = from.claims.saturating_add(known);
                    *to = *from;
                }
            }
            if !damaged {
                head.lanes = lanes.iter().map(|(at, _)| LanePosition { pos: at.pos, claims: at.claims }).collect();
            }
        }
    }
    let mut cells = Counters::from_cells(&head.cells);
    for (cell, n) in [
        (counters::CLAIMED, taken - born),
        (counters::ACCEPTED, taken - born),
        (counters::BORN, born),
        (counters::JOURNALED, taken),
    ] {
        cells.add(cell, n);
    }
    head.cells = cells.all();
    head.first_seq = passed;
}

/// Where the scan of each lane begins.
fn lanes(head: &SegmentHead, ring: Option<&Ring>, damaged: bool) -> Vec<(Position, Position)> {
    let Some(ring) = ring else {
        return head
            .lanes
            .iter()
            .map(|lane| Position { pos: lane.pos, claims: lane.claims })
            .map(|at| (at, at))
            .collect();
    };
    (0..ring.geometry().lanes)
        .map(|lane| {
            let at = match head.lanes.get(lane as usize) {
                Some(LanePosition { pos, claims }) => Position { pos: *pos, claims: *claims },
                // Nobody knows what was journaled: what the pump had given back is the best that there is.
                None if damaged => ring.head(lane),
                None => Position::default(),
            };
            (at, at)
        })
        .collect()
}

/// The head of a journal that has none which can be read.
fn from_owner(owner: &Owner, process: Uuid, state: &State, ring: Option<&Ring>) -> SegmentHead {
    let birth = ring.map_or_else(Anchor::default, |ring| journaled(*ring.birth()));
    SegmentHead {
        ordinal: state.last_ordinal.map_or(0, |ordinal| ordinal + 1),
        born: true,
        schema_version: auditring_event::SCHEMA_VERSION,
        process: *process.as_bytes(),
        boot_id: Uuid::try_parse(&owner.boot_id).unwrap_or_default().into_bytes(),
        instance: owner.instance.clone(),
        host: owner.host.clone(),
        pid: owner.pid,
        birth,
        anchor: birth,
        policy: KEEP_ALL.to_vec(),
        policy_digest: Policy::digest(KEEP_ALL),
        ..SegmentHead::default()
    }
}
