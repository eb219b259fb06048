//! Recovery: what a process that died had accepted, and its pump had not yet journaled, is taken out of its ring.
//!
//! Whoever holds the dead process's directory does it, and nobody else. What must always hold: each claim between what is
//! journaled and the ring's tail ends up as a row, as torn, or as lost under a name, once, also when recovery itself is
//! killed at any point: it goes on from the last whole batch. What is there is never cut: the next segment is opened. The
//! ring is removed only when the final batch is durable.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Definitions, named};
use auditring_journal::counters::{self, Counters};
use auditring_journal::{
    Anchor, BatchFlags, BatchMeta, Cursor, Followers, LanePosition, Owner, ProcessDir, SegmentHead, State, Writer,
    fold, segments,
};
use auditring_policy::{Key, Policy, Redactor};
use auditring_ring::{Clock, EdgeCount, Found, Position, Ring, RingError, boot_id};
use uuid::Uuid;

use crate::Error;
use crate::birth::{machine_id, ring_name, text};
use crate::fill::Fill;
use crate::losses::Losses;
use crate::pump::{lane, unreadable};
use crate::select::policy_at_end;
use crate::timeline::{Instant, Timeline, journaled, of_journal};

/// A batch of recovered rows ends when it has reached this; killed, recovery goes on behind it.
const BATCH_BYTES: usize = 256 << 10;
/// Seqs that are left out where nobody knows how many there were: more than any file or cursor can be ahead.
const JUMP: i64 = 1 << 32;
/// Keeps everything: for a journal none of whose segments says by which policy it was kept.
const KEEP_ALL: &[u8] = br#"{"allow_blind_spots":true,"rules":[{"category":["*"],"keep":"all"}],"seed":0,"version":2}"#;

/// What became of a dead process's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It had died before it was born: nothing was accepted, nothing is left.
    Unborn,
    /// Its journal had its final row already.
    Ended,
    /// It has it now.
    Recovered(Salvage),
}

/// What was found beside what the journal had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Rows taken out of the ring.
    pub rows: u64,
    /// Claims whose callers died before they returned.
    pub torn: u64,
    /// Claims behind something that no producer can have left.
    pub unreadable: u64,
    /// Claims that the pump had taken, and whose journal is gone.
    pub journal_gone: u64,
    /// There is no ring to be trusted: what it still held is unknown.
    pub ring_gone: bool,
    /// Calls that were dropped at the edge and of which no row told.
    pub dropped: u64,
}

/// Ends a dead process's journal. `by` is the process that does it, empty for a command; `key`, where it is the dead one's, is
/// that by which values are hashed, else they are left out. The hold is given up where nothing is left to hold.
///
/// # Errors
/// What journal, ring or system say; nothing is lost by it, and the same call may be made again.
pub fn recover(held: &mut Option<ProcessDir>, by: &str, key: Option<&Key>) -> Result<Recovery, Error> {
    let Some(dir) = held.as_ref().map(|dir| dir.path().to_owned()) else { return Ok(Recovery::Ended) };
    let owner = Owner::load(&dir)?;
    let process = process(&owner, &dir)?;
    let state = fold(&dir)?;
    if state.ending.is_some() {
        remove_ring(&owner, &process)?;
        return Ok(Recovery::Ended);
    }
    if owner.is_copied_to(&dir) {
        let why = format!("it is a copy of {}, and its ring is the original's", owner.dir.display());
        return Err(Error::NotOurs { dir, why });
    }
    if is_elsewhere(&owner) {
        return Err(Error::OtherMachine { dir, host: owner.host });
    }
    let ring = ring_of(&owner, &process, &state)?;
    if !was_born(&dir, &state, ring.as_ref())? {
        drop(ring);
        remove_ring(&owner, &process)?;
        if let Some(dir) = held.take() {
            dir.remove()?;
        }
        return Ok(Recovery::Unborn);
    }
    let mut salvager = Salvager::new(&dir, &dir, &owner, process, state, ring.as_ref(), key)?;
    let salvage = salvager.run(ring.as_ref(), by)?;
    // The ring is its only other copy.
    salvager.writer.sync_handle()?.sync()?;
    drop(ring);
    remove_ring(&owner, &process)?;
    Ok(Recovery::Recovered(salvage))
}

/// What recovery would add to a dead process's journal, written into an empty folder of the caller's: for readers that may not
/// write, or do not want to. Nothing where there is nothing to add.
///
/// # Errors
/// What journal, ring or system say.
pub(crate) fn preview(dir: &Path, into: &Path) -> Result<bool, Error> {
    let owner = Owner::load(dir)?;
    let process = process(&owner, dir)?;
    let state = fold(dir)?;
    if state.ending.is_some() || owner.is_copied_to(dir) || is_elsewhere(&owner) {
        return Ok(false);
    }
    let ring = ring_of(&owner, &process, &state)?;
    if !was_born(dir, &state, ring.as_ref())? {
        return Ok(false);
    }
    Salvager::new(dir, into, &owner, process, state, ring.as_ref(), None)?.run(ring.as_ref(), "")?;
    Ok(true)
}

fn process(owner: &Owner, dir: &Path) -> Result<Uuid, Error> {
    let named = dir.file_name().is_some_and(|name| name.to_string_lossy() == owner.process);
    Uuid::try_parse(&owner.process)
        .ok()
        .filter(|_| named)
        .ok_or_else(|| Error::NotOurs { dir: dir.to_owned(), why: format!("its owner says {:?}", owner.process) })
}

/// Whether its directory is on a file system that machines share, and its ring in the memory of another one.
fn is_elsewhere(owner: &Owner) -> bool {
    !owner.machine_id.is_empty() && owner.machine_id != machine_id()
}

/// Whether a process was born: also one of whose birth no segment tells, where the batch that told is damaged, and not only torn
/// by the death of its writer.
fn was_born(dir: &Path, state: &State, ring: Option<&Ring>) -> Result<bool, Error> {
    // Nobody emits before the birth is journaled; so whatever was emitted or followed proves it.
    if state.born || ring.is_some_and(is_used) || cursors(dir)? > 0 {
        return Ok(true);
    }
    // Beside a head without the birth batch a second segment says nothing: that batch may have failed, and been tried again.
    Ok(state.head.is_none() && segments(dir)?.len() > 1)
}

/// Whether anybody has emitted into a ring, or tried to.
fn is_used(ring: &Ring) -> bool {
    let mut used = (0..ring.geometry().lanes).any(|lane| ring.lane(lane).claims() > 0);
    ring.edge().visit(|count| used |= count.count > 0);
    used
}

/// The greatest seq that any sink is known to have passed.
fn cursors(dir: &Path) -> Result<i64, Error> {
    let mut greatest = 0;
    for entry in Followers::load(dir)?.entries {
        greatest = greatest.max(Cursor::load(dir, &entry.name)?.map_or(0, |cursor| cursor.seq));
    }
    Ok(greatest)
}

/// The dead process's ring, if it is one that may be trusted.
fn ring_of(owner: &Owner, process: &Uuid, state: &State) -> Result<Option<Ring>, Error> {
    // Zeroes are no boot's: where the system does not tell, no ring is trusted.
    if boot_id() == [0; 16] || owner.boot_id != text(boot_id()) {
        return Ok(None);
    }
    match Ring::open(&owner.ring_path) {
        Ok(ring) => {
            let who = ring.identity();
            let ours = who.process == *process.as_bytes() && who.boot_id == boot_id();
            Ok((ours && who.generation >= state.generation).then_some(ring))
        }
        Err(RingError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // What the system refuses for now may be there the next time; what is no ring never will be.
        Err(error @ RingError::Io { .. }) if !is_link(&owner.ring_path) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Removes what lies where the ring was, if it is a plain file of ours under the ring's own name.
fn remove_ring(owner: &Owner, process: &Uuid) -> Result<(), Error> {
    let path = &owner.ring_path;
    let named = path.file_name().is_some_and(|name| name.to_string_lossy() == ring_name(process));
    let ours = |meta: std::fs::Metadata| meta.is_file() && meta.uid() == auditring_ring::own_uid();
    if !named || !std::fs::symlink_metadata(path).is_ok_and(ours) {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { what: "remove the ring", path: path.clone(), source })
        }
        _ => Ok(()),
    }
}

/// The times of rows: between the dead pump's last anchor and now, or, over a reboot, the best that is known.
enum Times {
    Line(Timeline),
    Fixed(Instant, Anchor),
}

impl Times {
    fn new(state: &State, head: &SegmentHead, ring: Option<&Ring>) -> Self {
        let Some(ring) = ring else {
            let now = Clock::detect().anchor();
            let age_ns = state.max_age_ns.max(state.anchor.mono_ns - head.birth.mono_ns).max(0);
            return Self::Fixed(Instant { age_ns, time_ns: now.real_ns }, state.anchor);
        };
        let mut line = Timeline::new(ring.clock(), *ring.birth());
        line.anchor(of_journal(state.anchor));
        // After whatever is in the ring: stamps lie between this one and the dead pump's last.
        line.anchor(Clock::new(ring.clock()).anchor());
        Self::Line(line)
    }

    fn at(&mut self, stamp: u64) -> Instant {
        match self {
            Self::Line(line) => line.at(stamp),
            Self::Fixed(instant, _) => *instant,
        }
    }

    fn now(&self) -> Instant {
        match self {
            Self::Line(line) => line.now(),
            Self::Fixed(instant, _) => *instant,
        }
    }

    fn anchor(&self) -> Anchor {
        match self {
            Self::Line(line) => journaled(line.last()),
            Self::Fixed(_, anchor) => *anchor,
        }
    }
}

/// One recovery under way.
struct Salvager {
    writer: Writer,
    process: Uuid,
    generation: u32,
    times: Times,
    fill: Fill,
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
    fn new(
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
        let lanes = lanes(&head, ring, damaged);
        let times = Times::new(&state, &head, ring);
        let passed = cursors(dir)?;
        let mut counted = BTreeMap::new();
        if ring.is_none() && passed > state.next_seq {
            // Sinks are on the disk before the journal is: what the machine took of this is in them, so it was journaled. To a
            // sink that is behind it is damaged.
            let taken = passed.abs_diff(state.next_seq);
            head.first_seq = passed;
            counted.extend([counters::CLAIMED, counters::ACCEPTED, counters::JOURNALED].map(|cell| (cell, taken)));
        }
        let behind = ring.is_some_and(|ring| (0..).zip(&lanes).any(|(lane, (at, _))| ring.is_behind(lane, *at)));
        // Where the journal's end is gone its seqs may be in sinks already: none is given out twice.
        let jump = ring.is_none() || damaged || behind || passed > state.next_seq;
        let unknown = if ring.is_none() || fresh {
            Some("ring_gone")
        } else {
            (damaged || (jump && !behind)).then_some("journal_gone")
        };
        let first_seq = if jump { state.next_seq.max(passed).saturating_add(JUMP) } else { state.next_seq };
        let primary_tap = head.primary_tap.clone();
        let definitions = Definitions::decode(&head.definitions).unwrap_or_default();
        let losses = Losses::resumed(&state.cells, state.anchor.real_ns);
        let mut fill = Fill::new(primary_tap.as_deref(), redactor);
        fill.define(&definitions);
        let writer = Writer::resume(into, &head, state)?;
        Ok(Self {
            writer,
            process,
            generation: head.generation,
            times,
            fill,
            losses,
            definitions,
            lanes,
            counted,
            first_seq,
            jump,
            unknown,
            salvage: Salvage { ring_gone: ring.is_none() || fresh, ..Salvage::default() },
        })
    }

    fn run(&mut self, ring: Option<&Ring>, by: &str) -> Result<Salvage, Error> {
        if let Some(cause) = self.unknown {
            self.tell(cause, None);
            self.count(counters::LOST_UNKNOWN, 1);
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
                    self.salvage.torn += claims;
                }
                Some(Found::Gone(claims)) => {
                    self.lost(counters::LOST_JOURNAL_GONE, "journal_gone", claims);
                    self.salvage.journal_gone += claims;
                }
                Some(Found::Unreadable(claims)) => {
                    self.lost(counters::LOST_UNREADABLE, "unreadable", claims);
                    self.salvage.unreadable += claims;
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
            let at = self.times.at(record.stamp());
            self.fill.push(&record, at)
        });
        if !taken {
            // It was accepted, and a row in its place says how long it was.
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
        *self.counted.entry(cell).or_default() += n;
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
            event.int("lost", lost as i64);
        }
        event.text("cause", cause).int("from_ns", self.losses.since_ns()).end_time(self.times.now().time_ns);
        self.own(&event.to_vec());
    }

    /// The last batch: what was lost, and that this is the end.
    fn finish(&mut self, ring: Option<&Ring>, by: &str) -> Result<Salvage, Error> {
        let counted = |cell| self.writer.state().cells.get(cell) + self.counted.get(&cell).copied().unwrap_or(0);
        let now = self.times.now();
        let torn = counted(counters::TORN);
        if let Some(ring) = ring {
            let mut seen: Vec<EdgeCount> = Vec::new();
            ring.edge().visit(|count| seen.push(count));
            self.losses.see(seen);
        }
        for (lost, row) in self.losses.rest(&self.definitions, now) {
            self.salvage.dropped += lost;
            self.own(&row);
        }
        let mut event = Encoder::new(named("auditring.Recovered"));
        event.int("rows", self.salvage.rows as i64).int("torn", torn as i64);
        event.int("unreadable", self.salvage.unreadable as i64);
        if !by.is_empty() {
            event.text("by_process", by);
        }
        self.own(&event.to_vec());
        self.write(BatchFlags::FINAL_RECOVERED)?;
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
