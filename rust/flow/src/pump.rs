//! The pump: takes records out of the ring, numbers every one, and appends them to the journal in batches.
//!
//! It drops, merges and samples nothing, and it decides nothing but what of a value may reach the disk, which the policy
//! says. What must always hold:
//! - journal write complete → records zeroed → head stored, in that order;
//! - what the pump knows (next seq, batch number, counters) is what the writer's state knows, and that changes only after
//!   a write returned in full; a failed batch is encoded anew, with the same number and seqs, into a new segment;
//! - a segment's head names the policy that is in force at its first row: a change counts once its row is written;
//! - rows that wait in a window are told when it is over: by a later row, else by a batch without rows;
//! - the anchor is taken after the tail was loaded, so every stamp of the batch lies before it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Definitions, named};
use auditring_journal::counters;
use auditring_journal::{
    BatchFlags, BatchMeta, Follower, Followers, LaneRange, ProcessDir, ScopeFile, Writer, bytes_held,
    delete_oldest_before, delete_passed, free_bytes, holding, segments,
};
use auditring_policy::Policy;
use auditring_ring::{Clock, OwnedConsumer, Position, Ring, consumer_of};
use xxhash_rust::xxh3::xxh3_128;

use crate::Error;
use crate::balance::{Balance, Stand, Terms, cursors, sink};
use crate::birth::Born;
use crate::carry::Carry;
use crate::fill::Fill;
use crate::keep::{Keep, Vanished};
use crate::losses::Losses;
use crate::mailbox::Mailbox;
use crate::policies::{Policies, Stated};
use crate::progress::Progress;
use crate::rolls::Rolls;
use crate::select::policy_in;
use crate::syncer::{Syncer, Unsynced, Untold};
use crate::ticks::Ticks;
use crate::timeline::{Timeline, Told, journaled};

/// A batch ends when its rows have reached this.
const BATCH_BYTES: usize = 1 << 20;
/// With less than this in a batch there is time to sleep.
const BUSY_BYTES: usize = 256 << 10;
/// The backstop behind the producers' wake-up.
const NAP: Duration = Duration::from_millis(10);
/// The same while next to nothing comes: what a quiet host pays for the pump is its wake-ups.
const QUIET_NAP: Duration = Duration::from_millis(50);
/// How often budget and disk are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Free space that the journal leaves for sealing, at most; a quarter of what is free at the start where that is less.
const RESERVE: u64 = 32 << 20;
/// `ENOSPC`, the same number wherever this runs.
const ENOSPC: i32 = 28;
/// How long a claim may stay open after the ring was closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the list of followers may be in somebody's hands before the journal's budget is kept all the same: whoever is
/// stopped in the middle of a change must not let the journal grow without an end.
const HOLD_UP: Duration = Duration::from_secs(5);
/// Bits of a lane's count of claims.
const CLAIMS: u32 = u32::MAX >> 1;
/// Less than this in a batch is next to nothing.
const QUIET_BYTES: usize = 16 << 10;

/// When segments roll, and how much journal there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment ends past so many bytes.
    pub segment_bytes: u64,
    /// A segment ends past this age.
    pub segment_age: Duration,
    /// The journal's budget in bytes.
    pub journal_bytes: u64,
}

/// The pump of one process.
#[allow(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Pump {
    ring: Arc<Ring>,
    consumer: OwnedConsumer,
    clock: Clock,
    dir: PathBuf,
    writer: Writer,
    limits: Limits,
    timeline: Timeline,
    clocks: Told,
    fill: Fill,
    /// The lane that comes first in the next batch; the same one where that has to be tried again.
    first: u32,
    losses: Losses,
    balance: Balance,
    /// Bytes of the ring's definitions that the segment is known to hold: a ring that follows another begins with the
    /// same ones.
    defined: usize,
    /// What rows about losses call declared events, and how many bytes of the ring's definitions that took in.
    definitions: Definitions,
    learnt: usize,
    mailbox: Arc<Mailbox>,
    policies: Arc<Policies>,
    /// The policy that a row of the batch being filled brings into force.
    changing: Option<Vec<u8>>,
    /// Where a change that waits in the mailbox belongs.
    behind: Option<Behind>,
    ticks: Ticks,
    progress: Arc<Progress>,
    syncer: Syncer,
    keep: Keep,
    /// Rows before this seq were let go of where nobody follows.
    unfollowed: i64,
    rolls: Rolls,
    /// The segment being written cannot be made durable: it ends here, so that it can be written again.
    distrusted: bool,
    /// Bytes of all segments but the one being written.
    sealed_bytes: u64,
    free_bytes: u64,
    /// What is kept back for sealing, or a full disk would never free itself.
    reserve: u64,
    looked_at_bytes: Clockwork,
    /// Bytes of segments that have ended since a cut was made for the budget's sake.
    uncut_bytes: u64,
    /// Rows before this seq were let go for the budget's sake.
    let_go: i64,
    /// Nothing is written for now: the budget is used up.
    over: bool,
    stuck_since: Option<Clockwork>,
    /// Since when nothing can go for the list of followers' sake: somebody is changing it.
    held_up: Option<Clockwork>,
    /// Since when something lies in front of a lane that is no record, and what that is.
    damaged: Option<(Clockwork, String)>,
    /// Claims behind it, in the batch being filled.
    unreadable: u64,
    /// The ring that goes on when this one is drained.
    successor: Option<Arc<Ring>>,
    /// What was counted in the rings before.
    carried: Vec<Carry>,
    ended: bool,
}

/// A change of the policy stands behind all that was recorded before anybody asked for it.
#[derive(Clone, Debug)]
struct Behind {
    /// The number of its posting.
    number: u64,
    /// Of the ring.
    generation: u32,
    /// So many claims of each of its lanes.
    claims: Vec<u64>,
}

/// What one look at the ring came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Nothing,
    /// There is no room to write to: the ring may be full, so nobody will ring.
    Stalled,
    Bytes(usize),
    All,
}

impl Pump {
    /// Takes over a process that has just been born, and writes its birth batch. It promises to survive the death of the
    /// process alone.
    ///
    /// # Errors
    /// If the batch cannot be written.
    pub fn new(born: Born, limits: Limits, followed: bool) -> Result<(Self, ProcessDir), Error> {
        Self::durable(born, limits, followed, None)
    }

    /// The same; with `interval` what was written is made durable after so long at most, and followers have nothing before it
    /// is.
    ///
    /// # Errors
    /// If the batch cannot be written.
    pub fn durable(
        born: Born,
        limits: Limits,
        followed: bool,
        interval: Option<Duration>,
    ) -> Result<(Self, ProcessDir), Error> {
        let Born { dir, ring, clock, writer, startup, redactor, .. } = born;
        let head = writer.state().head.as_ref();
        let primary_tap = head.and_then(|head| head.primary_tap.clone());
        let policy = Stated::parse(head.map_or_else(Vec::new, |head| head.policy.clone()))?;
        let ticks = Ticks::new(&policy.policy, own_policies(&Followers::load(dir.path())?)?);
        let consumer = consumer_of(Arc::clone(&ring)).ok_or(Error::TwoPumps)?;
        let progress = Arc::<Progress>::default();
        if interval.is_some() {
            progress.only_durable();
        }
        let syncer = Syncer::start(Arc::clone(&progress), interval, followed).map_err(|source| Error::Io {
            what: "start the thread that syncs",
            path: dir.path().to_owned(),
            source,
        })?;
        let mut pump = Self {
            timeline: Timeline::new(ring.clock(), *ring.birth()),
            clocks: Told::default(),
            fill: Fill::new(primary_tap.as_deref(), redactor),
            first: 0,
            losses: Losses::default(),
            balance: Balance::default(),
            defined: 0,
            definitions: Definitions::NONE,
            learnt: 0,
            mailbox: Arc::default(),
            policies: Arc::new(Policies::new(policy)),
            changing: None,
            behind: None,
            ticks,
            progress,
            syncer,
            rolls: Rolls::default(),
            distrusted: false,
            keep: Keep::new(dir.path())?,
            unfollowed: 0,
            sealed_bytes: 0,
            free_bytes: u64::MAX,
            reserve: RESERVE.min(free_bytes(dir.path())? / 4),
            looked_at_bytes: Clockwork::now(),
            uncut_bytes: 0,
            let_go: 0,
            over: false,
            stuck_since: None,
            damaged: None,
            unreadable: 0,
            successor: None,
            carried: Vec::new(),
            ended: false,
            dir: dir.path().to_owned(),
            ring,
            consumer,
            clock,
            writer,
            limits: Limits { segment_bytes: limits.segment_bytes.min(limits.journal_bytes / 4), ..limits },
            held_up: None,
        };
        pump.progress.keep();
        pump.progress.show_in(dir.path(), limits.journal_bytes)?;
        pump.born(&startup)?;
        Ok((pump, dir))
    }

    /// What producers and followers look at.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Where the library's own events are handed in.
    #[must_use]
    pub fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// The log's policy, and what comes to be it.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    /// The process's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What of the journal is not yet durable.
    #[must_use]
    pub fn unsynced(&self) -> Arc<Unsynced> {
        self.syncer.unsynced()
    }

    /// Rows that say how the balance stands come no closer together, and once at the end; none: there are no such rows.
    pub fn balance_every(&mut self, period: Option<Duration>) {
        self.balance.every(period);
    }

    /// From now on rows are counted by scope, too: each label with the column that it shows; past `limit` scopes all others
    /// are one.
    ///
    /// # Errors
    /// If the file that names the scopes cannot be made.
    pub fn scope_by(&mut self, labels: Vec<(String, String)>, limit: u16) -> Result<(), Error> {
        self.fill.scope_by(ScopeFile::create(&self.dir, labels, limit)?);
        self.publish();
        Ok(())
    }

    /// Whether a ring waits until the one before is drained: there may be no third one as long, or nobody would drain it.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        self.successor.is_some()
    }

    /// Whether somebody has scribbled over the ring, so that a lane of it will never get on: it wants another one.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.is_some() && self.progress.journaled().damaged.is_some()
    }

    /// Goes on with another ring once this one, which the caller has closed, is drained. Seqs, birth and counters go on.
    /// Not while the pump [is replacing](Self::is_replacing) one.
    /// `refused`: why it could not be made at first.
    pub fn replace(&mut self, ring: Arc<Ring>, carry: Carry, refused: Option<&str>) {
        self.carried.push(carry);
        let why = self.damaged.as_ref().map_or("the ring's file was deleted", |(_, what)| what);
        let cause = refused.map_or(why.to_owned(), |refused| format!("{why}; at first: {refused}"));
        let mut event = Encoder::new(named("auditring.RingReplaced"));
        event.int("generation", i64::from(ring.identity().generation)).text("cause", &cause);
        // A full mailbox has told of worse.
        let _ = self.mailbox.post(event.to_vec());
        self.successor = Some(ring);
    }

    /// Looks whether the journal is still where it was, and puts back what was taken away of it: nothing of that is lost, as
    /// long as this process lives. Returns what was found, and why something could not be put back.
    pub fn keep(&mut self, held: &ProcessDir) -> (Vec<Vanished>, Result<(), Error>) {
        let (mut found, mut result) = self.keep.look(held, &self.progress, self.unfollowed.max(self.let_go));
        result = result.and_then(|()| {
            found.extend(self.fill.keep()?);
            Ok(())
        });
        result = result.and_then(|()| Ok(self.progress.show()?));
        if !self.ended {
            result = result.and_then(|()| self.followed_by());
        }
        if !self.ended && found.iter().any(|one| one.path == self.writer.path()) {
            // What is written from now on goes where it can be found.
            self.writer.poison();
            result = result.and_then(|()| self.roll());
        }
        if !found.is_empty() {
            // Who waits for rows in what was taken away looks again.
            self.progress.nudge();
        }
        (found, result)
    }

    /// An agent may have entered sinks of its own: their windows are to be told of as over, too.
    fn followed_by(&mut self) -> Result<(), Error> {
        if let Some(followers) = self.keep.changed() {
            self.syncer.unsynced().follow(!followers.entries.is_empty());
            self.ticks.follow(&self.policies.in_force().policy, own_policies(&followers)?);
        }
        Ok(())
    }

    fn succeed(&mut self) -> Result<(), Error> {
        let Some(ring) = self.successor.take() else { return Ok(()) };
        self.consumer = consumer_of(Arc::clone(&ring)).ok_or(Error::TwoPumps)?;
        self.ring = ring;
        self.damaged = None;
        // All of the ring before is journaled: whoever waits for that need not wait for the first batch of this one.
        self.progress.publish(|journaled| {
            journaled.generation = self.ring.identity().generation;
            journaled.lanes.clear();
            journaled.damaged = None;
        });
        Ok(())
    }

    fn born(&mut self, startup: &[u8]) -> Result<(), Error> {
        self.syncer.begin(self.writer.sync_handle(), (0, self.writer.state().next_seq));
        self.keep.begin(self.writer.sync_handle());
        self.own(startup);
        self.write(BatchFlags::BIRTH, 0)
    }

    /// Moves records until `timeout` is over; `true` once the final batch is written. Returns early on an error, after
    /// which everything is as before the batch: the next call tries again, in a new segment.
    ///
    /// # Errors
    /// If a batch cannot be written.
    pub fn run(&mut self, timeout: Duration) -> Result<bool, Error> {
        let end = Clockwork::now() + timeout;
        loop {
            match self.step()? {
                Moved::All => return Ok(true),
                Moved::Bytes(bytes) if bytes >= BUSY_BYTES => {}
                moved => {
                    let quiet = !matches!(moved, Moved::Bytes(bytes) if bytes >= QUIET_BYTES);
                    let left = end.saturating_duration_since(Clockwork::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    if moved == Moved::Stalled {
                        std::thread::sleep(left.min(NAP));
                        continue;
                    }
                    self.consumer.sleep(left.min(if quiet { QUIET_NAP } else { NAP }));
                }
            }
            if Clockwork::now() >= end {
                return Ok(false);
            }
        }
    }

    /// One look at ring, mailbox and edge: at most one batch.
    fn step(&mut self) -> Result<Moved, Error> {
        // Whatever fails before a write leaves in the mailbox what was looked at.
        self.look().inspect_err(|_| self.mailbox.left())
    }

    fn look(&mut self) -> Result<Moved, Error> {
        if self.ended {
            return Ok(Moved::All);
        }
        if self.over_budget()? {
            return Ok(Moved::Stalled);
        }
        if let Some(Untold { error, current }) = self.syncer.failed() {
            self.distrusted |= current;
            return Err(Error::Sync(error));
        }
        if self.successor.is_some() && self.consumer.drained() {
            self.succeed()?;
        }
        // The tails first, then the anchor: whatever is in front of them was stamped before it.
        let mut waiting = false;
        for lane in self.lanes() {
            waiting |= self.consumer.poll(lane);
        }
        if waiting {
            self.progress.in_use(used(&self.ring));
        }
        let posted = self.mailbox.peek();
        if self.must_roll(waiting || !posted.is_empty()) {
            match self.roll() {
                // A segment that is whole takes more; the next batch tries again to begin another.
                Err(error) if !self.writer.is_poisoned() => self.rolls.failed(&error, &self.progress),
                result => result?,
            }
        }
        let (anchor, within_ns) = self.clock.anchor_within();
        self.clocks.see(self.timeline.anchor(anchor, within_ns));
        let change = posted.iter().position(|(_, record)| changes(record).is_some());
        let (first, rest) = posted.split_at(change.unwrap_or(posted.len()));
        for (_, record) in first {
            self.own(record);
        }
        self.look_behind(rest.first().map(|(number, _)| *number));
        self.fill_from_ring();
        self.look_for_damage();
        let mut taken = first.len();
        if let Some(number) = self.behind.as_ref().filter(|behind| self.is_past(behind)).map(|behind| behind.number) {
            for (_, record) in rest.iter().take_while(|(posted, _)| *posted == number) {
                self.own(record);
                taken += 1;
            }
            self.changing = rest.first().and_then(|(_, record)| changes(record));
        }
        let last = self.successor.is_none() && self.consumer.drained() && self.mailbox.len() == taken;
        self.learn();
        let newest = self.successor.as_ref().unwrap_or(&self.ring);
        self.carried.iter_mut().for_each(|carry| carry.on(newest));
        for row in self.clocks.rows(last) {
            self.own(&row);
        }
        for row in self.losses.rows(self.ring.edge(), &self.definitions, self.timeline.now(), last) {
            self.own(&row);
        }
        if self.balance.is_time(last) {
            self.tell_balance(last);
        }
        let bytes = self.fill.rows.len();
        if last {
            self.own(&Encoder::new(named("ProxyCleanShutdown")).to_vec());
            self.write(BatchFlags::FINAL_CLEAN, taken)?;
            self.ended = true;
            self.progress.publish(|journaled| journaled.ended = true);
            self.syncer.unsynced().hasten();
            return Ok(Moved::All);
        }
        if self.fill.count == 0 {
            if self.ticks.is_due(self.timeline.now().age_ns) {
                // A change may wait behind a claim that is open: it stays where it is.
                self.write(BatchFlags::NONE, taken)?;
            }
            self.mailbox.left();
            self.look_for_open_claim()?;
            return Ok(Moved::Nothing);
        }
        self.write(BatchFlags::NONE, taken)?;
        Ok(Moved::Bytes(bytes))
    }

    /// How things stand at the row that comes next, and so the rows of process and sinks that say so.
    fn tell_balance(&mut self, last: bool) {
        let (stand, in_ring, journaled) = self.stand();
        if !self.balance.begin(stand, self.losses.exempt(), last) {
            return;
        }
        let stand = Stand { born: stand.born + 1, ..stand };
        let row = Terms { stand, in_ring, journaled: journaled + 1, cells: &self.writer.state().cells }.row();
        self.own(&row);
        self.balance.made();
        for (name, cursor) in cursors(&self.dir) {
            let (_, _, journaled) = self.stand();
            self.own(&sink(&name, &cursor, journaled + 1));
            self.balance.made();
        }
    }

    /// What moves, with the batch being filled; claims still in the ring; rows.
    fn stand(&self) -> (Stand, u64, u64) {
        let cells = &self.writer.state().cells;
        let taken: u64 = self.ranges().iter().map(claims).sum();
        let rows = u64::from(self.fill.count);
        let next: u64 =
            self.successor.iter().flat_map(|ring| lanes(ring).map(|lane| u64::from(ring.lane(lane).claims()))).sum();
        let in_ring = self.lanes().map(|lane| self.waiting(lane)).sum::<u64>() + next;
        let stand = Stand {
            claimed: cells.get(counters::CLAIMED) + taken + in_ring,
            edge: self.losses.edge(),
            born: cells.get(counters::BORN) + rows + self.unreadable - taken,
        };
        (stand, in_ring, cells.get(counters::JOURNALED) + rows)
    }

    /// Notes where a change of this number belongs, the first time that it is seen.
    fn look_behind(&mut self, change: Option<u64>) {
        let generation = self.ring.identity().generation;
        let known = self.behind.take().filter(|known| Some(known.number) == change && known.generation == generation);
        self.behind = known.or_else(|| {
            // What is in the ring that follows this one may be older, too.
            let end = |lane| if self.successor.is_some() { u64::MAX } else { self.end(lane) };
            change.map(|number| Behind { number, generation, claims: self.lanes().map(end).collect() })
        });
    }

    /// Whether all is read that a change stands behind.
    fn is_past(&self, behind: &Behind) -> bool {
        self.lanes().zip(&behind.claims).all(|(lane, claims)| self.consumer.position(lane).claims >= *claims)
    }

    fn lanes(&self) -> Range<u32> {
        lanes(&self.ring)
    }

    /// Claims of a lane that are not read yet.
    fn waiting(&self, lane: u32) -> u64 {
        let read = self.consumer.position(lane).claims;
        u64::from(self.ring.lane(lane).claims().wrapping_sub(read as u32) & CLAIMS)
    }

    /// Claims of a lane so far.
    fn end(&self, lane: u32) -> u64 {
        self.consumer.position(lane).claims + self.waiting(lane)
    }

    /// What is read of each lane and not given back.
    fn ranges(&self) -> Vec<LaneRange> {
        self.lanes().map(|at| lane(self.consumer.released(at), self.consumer.position(at))).collect()
    }

    fn fill_from_ring(&mut self) {
        if self.fill.redacts() {
            // What is in front of the tail that was loaded had been declared before: it must be known to be redacted.
            self.learn();
            self.fill.define(&self.definitions);
        }
        // Each lane comes to its share of a batch, then whoever has more.
        let count = self.ring.geometry().lanes;
        for turn in 0..count {
            self.take((self.first + turn) % count, BATCH_BYTES * (turn as usize + 1) / count as usize);
        }
        for turn in 0..count {
            self.take((self.first + turn) % count, BATCH_BYTES);
        }
    }

    /// Takes records out of a lane until the batch has so many bytes.
    fn take(&mut self, lane: u32, bytes: usize) {
        while self.fill.bytes() < bytes {
            let Some(payload) = self.consumer.next(lane) else { break };
            let taken = RecordView::parse(payload).is_ok_and(|record| {
                let at = self.timeline.at(record.stamp());
                self.fill.push(&record, at)
            });
            if !taken {
                // Decoding is a pure function: a second try would fail alike.
                let row = unreadable(payload);
                self.own(&row);
            }
        }
    }

    /// Adds a row that was never in the ring, stamped now.
    fn own(&mut self, record: &[u8]) {
        if let Ok(record) = RecordView::parse(record) {
            self.fill.push(&record, self.timeline.now());
        }
    }

    /// Writes the batch that is filled, then gives the ring's space back and tells everybody.
    fn write(&mut self, flags: BatchFlags, posted: usize) -> Result<(), Error> {
        let result = self.append(flags);
        if let Err(error) = result {
            self.lanes().for_each(|lane| self.consumer.rewind(lane));
            self.fill.abandon();
            self.timeline.abandon();
            self.losses.abandon();
            self.balance.abandon();
            self.unreadable = 0;
            self.changing = None;
            return Err(error);
        }
        self.lanes().for_each(|lane| self.consumer.release(lane));
        self.mailbox.taken(posted);
        self.first = (self.first + 1) % self.ring.geometry().lanes;
        let (rows, age_ns) = (self.fill.count > 0, self.fill.age.1);
        self.fill.clear();
        self.clocks.written();
        self.losses.written();
        self.balance.written();
        self.unreadable = 0;
        if let Some(policy) = self.changing.take() {
            self.policies.settle(&policy);
            self.ticks.go_by(&self.policies.in_force().policy);
            self.fill.forget_touches();
        }
        if rows {
            self.ticks.rows(age_ns);
        } else {
            self.ticks.told(self.timeline.now().age_ns);
        }
        self.progress.space();
        self.publish();
        self.syncer.written();
        if !rows {
            // No number has moved, but what waits may have closed.
            self.progress.nudge();
        }
        Ok(())
    }

    fn append(&mut self, flags: BatchFlags) -> Result<(), Error> {
        let lanes = self.ranges();
        let state = self.writer.state();
        let mut cells = state.cells.clone();
        let claims: u64 = lanes.iter().map(claims).sum();
        cells.add(counters::CLAIMED, claims);
        cells.add(counters::ACCEPTED, claims);
        cells.add(counters::LOST_UNREADABLE, self.unreadable);
        cells.add(counters::BORN, u64::from(self.fill.count) + self.unreadable - claims);
        cells.add(counters::JOURNALED, u64::from(self.fill.count));
        self.fill.tally.drain(&mut cells);
        self.losses.cells(&mut cells);
        let (waits, blocked_ns) = self.progress.waits();
        let high_water = self.progress.most_in_use();
        for (cell, value) in
            [(counters::RING_HIGH_WATER, high_water), (counters::WAITS, waits), (counters::BLOCKED_NS, blocked_ns)]
        {
            cells.set(cell, value);
        }
        let ((min_time_ns, max_time_ns), (min_age_ns, max_age_ns)) = self.fill.span(self.timeline.now());
        let meta = BatchMeta {
            flags,
            process: self.ring.identity().process,
            batch_no: state.batch_no,
            generation: self.ring.identity().generation,
            lanes,
            first_seq: state.next_seq,
            rows: self.fill.count,
            anchor: journaled(self.timeline.last()),
            min_time_ns,
            max_time_ns,
            min_age_ns,
            max_age_ns,
            cells: cells.changed(),
        };
        // Read after the records were: whoever used a code had appended its definition before.
        let definitions = self.ring.definitions_since(self.defined);
        self.writer.append(&meta, &self.fill.contexts, &definitions, &self.fill.rows)?;
        self.defined += definitions.len();
        Ok(())
    }

    /// Takes in what was declared since the last look.
    fn learn(&mut self) {
        let definitions = self.ring.definitions_since(self.learnt);
        self.learnt += definitions.len();
        for one in Definitions::decode(&definitions).unwrap_or_default().iter() {
            self.definitions.insert(one.clone());
        }
    }

    /// Whether the next batch belongs into a new segment. A segment without a batch is never rolled for its age or size.
    fn must_roll(&self, something: bool) -> bool {
        let due = self.writer.len() >= self.limits.segment_bytes || self.writer.age() >= self.limits.segment_age;
        self.writer.is_poisoned() || self.distrusted || (something && due && !self.fresh())
    }

    fn roll(&mut self) -> Result<(), Error> {
        // A segment that was begun for a batch that could not be written holds nothing that the next one does not.
        let empty = self.fresh().then(|| self.writer.path().to_owned());
        let mut head = self.writer.next_head();
        head.definitions = self.ring.definitions();
        let stated = self.policies.in_force();
        if head.policy != stated.bytes {
            head.policy_digest = Policy::digest(&stated.bytes);
            head.policy.clone_from(&stated.bytes);
        }
        let ended = self.writer.len();
        while let Err(error) = self.writer.roll(&head) {
            // A name that a try left, which failed and could not even remove it, is passed over.
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error.into());
            }
            head.ordinal += 1;
        }
        if let Some(row) = self.rolls.done(&self.progress) {
            // A full mailbox has told of worse.
            let _ = self.mailbox.post(row);
        }
        self.uncut_bytes += ended;
        self.defined = head.definitions.len();
        // Directly behind: whatever fails next, the new segment holds no context yet.
        self.fill.begin_segment();
        self.distrusted = false;
        if let Some(empty) = empty {
            // It is only in the way, and goes with those around it at the latest.
            if let Err(source) = std::fs::remove_file(&empty) {
                let path = empty.clone();
                let error = Error::Io { what: "remove a segment that was never of use", path, source };
                self.rolls.failed(&error, &self.progress);
            }
            self.syncer.removed(&empty);
            self.keep.forget(&empty);
        }
        self.syncer.begin(self.writer.sync_handle(), (head.batch_no, head.first_seq));
        self.keep.begin(self.writer.sync_handle());
        self.look_at_bytes();
        Ok(())
    }

    /// Whether the segment holds no batch yet.
    fn fresh(&self) -> bool {
        let state = self.writer.state();
        state.head.as_ref().is_some_and(|head| head.batch_no == state.batch_no)
    }

    /// What the journal and the disk have room for. A question that is refused leaves the last answer.
    fn look_at_bytes(&mut self) {
        self.looked_at_bytes = Clockwork::now();
        if let Ok(bytes) = bytes_held(&self.dir) {
            self.sealed_bytes = bytes.saturating_sub(self.writer.len());
        }
        self.free_bytes = free_bytes(&self.dir).unwrap_or(self.free_bytes);
        let half = self.limits.journal_bytes / 2;
        let held = if self.is_half() { holding(&self.dir, half).unwrap_or(None) } else { None };
        let rows = held.map_or(0, |seq| self.writer.state().next_seq - seq.min(self.writer.state().next_seq));
        self.progress.press(held, rows);
    }

    fn publish(&mut self) {
        let state = self.writer.state();
        let cells = &state.cells;
        let lost = [
            ("unreadable", counters::LOST_UNREADABLE),
            ("journal_gone", counters::LOST_JOURNAL_GONE),
            ("ring_gone", counters::LOST_RING_GONE),
        ];
        self.progress.publish(|journaled| {
            journaled.next_seq = state.next_seq;
            journaled.batches = state.batch_no;
            journaled.claimed = cells.get(counters::CLAIMED);
            journaled.lanes.clear();
            journaled.lanes.extend(state.lanes.iter().map(|lane| lane.claims));
            journaled.generation = state.generation;
            journaled.accepted = cells.get(counters::ACCEPTED);
            journaled.torn = cells.get(counters::TORN);
            journaled.born = cells.get(counters::BORN);
            journaled.lost.clear();
            journaled.lost.extend(lost.map(|(name, cell)| (name, cells.get(cell))));
            journaled.bytes = self.sealed_bytes + self.writer.len();
            journaled.let_go = self.let_go;
            journaled.actions.clear();
            journaled.actions.extend(cells.iter().filter_map(|(cell, count)| match counters::name(cell) {
                counters::Name::Journaled { code, outcome, primary: true } => Some((code, outcome, count)),
                _ => None,
            }));
            journaled.scoped.clear();
            if let Some(scopes) = self.fill.scopes() {
                if scopes.values.len() != journaled.scopes.values.len() || journaled.scopes.labels.is_empty() {
                    journaled.scopes = Arc::new(scopes.clone());
                }
                journaled.scoped.extend(cells.iter().filter_map(|(cell, count)| match counters::name(cell) {
                    counters::Name::Scoped { code, outcome, scope } => Some((code, outcome, scope, count)),
                    _ => None,
                }));
            }
        });
    }

    /// At the budget, or where the disk has only what sealing needs, nothing more is written until every required sink has
    /// passed a segment: the ring fills, and `when_full` speaks. For sinks that are not required the oldest segments go; what
    /// such a sink lacks then its follower counts, by the journal's own names, when it comes there. A log that is closing
    /// goes on, so that it can end.
    fn over_budget(&mut self) -> Result<bool, Error> {
        if self.looked_at_bytes.elapsed() >= LOOK {
            self.look_at_bytes();
        }
        if self.is_half() && self.uncut_bytes >= self.slack() && self.ticks.take_uncut() {
            // Whoever holds the journal back may wait for a window's end to commit at.
            self.cut()?;
        }
        if !self.is_over() {
            return Ok(self.show_over(false));
        }
        self.make_room()?;
        let large = self.writer.len() >= self.slack() || self.writer.len() >= self.sealed_bytes;
        if self.is_over() && large && !self.fresh() && !self.writer.is_poisoned() {
            // The segment being written could never go: it ends here, so that it goes once it is passed.
            self.roll()?;
            self.make_room()?;
        }
        let full = self.free_bytes < self.reserve;
        let followers = self.followers()?;
        // Where no sink is required the budget is kept by deleting alone: there is nothing that waiting would bring.
        let waits = followers.entries.iter().any(|entry| entry.required) || (!followers.entries.is_empty() && full);
        let over = self.is_over() && waits && !self.ring.is_closed();
        if over {
            // Followers may be waiting for the disk.
            self.syncer.unsynced().hasten();
        }
        if over && self.ticks.take_uncut() {
            // Followers commit at cuts, and nothing goes before they have: they are not kept waiting for a window's end.
            self.cut()?;
        }
        if over && full {
            return Err(Error::Io {
                what: "write a batch and leave the sinks room to seal their files in",
                path: self.dir.clone(),
                source: io::Error::from_raw_os_error(ENOSPC),
            });
        }
        Ok(self.show_over(over))
    }

    /// Whom the journal is kept for. Where the file was taken away nothing goes on that account: it will be put back.
    fn followers(&self) -> Result<Followers, Error> {
        let followers = Followers::load(&self.dir)?;
        Ok(if followers.entries.is_empty() { self.keep.followers() } else { followers })
    }

    /// Deletes what every sink has passed, then, while that is not enough, what every required one has.
    fn make_room(&mut self) -> Result<(), Error> {
        let hold = Followers::hold(&self.dir)?;
        if hold.is_some() {
            self.held_up = None;
        } else if self.held_up.get_or_insert_with(Clockwork::now).elapsed() < HOLD_UP {
            // It is being changed: a moment later it is known for whom what is kept.
            return Ok(());
        }
        let followers = self.followers()?;
        let marks = followers.marks(&self.dir)?;
        if let Some(passed) = marks.iter().map(|mark| mark.seq).min() {
            delete_passed(&self.dir, passed, 1)?;
            self.look_at_bytes();
        }
        let before = marks.iter().filter(|mark| mark.required).map(|mark| mark.seq).min().unwrap_or(i64::MAX);
        // Some room at a time, or each batch would have to wait for a little of it.
        while self.is_over_with(self.slack()) {
            // Before it goes: whoever misses it asks whether it was on purpose.
            let let_go = self.let_go;
            if let [_, next, ..] = segments(&self.dir)?[..]
                && next.first_seq <= before
                && marks.iter().any(|mark| !mark.required && mark.seq < next.first_seq)
            {
                self.show_let_go(let_go.max(next.first_seq));
            }
            let Some(gone) = delete_oldest_before(&self.dir, before)? else {
                self.show_let_go(let_go);
                break;
            };
            let end = gone.first_seq.saturating_add_unsigned(gone.rows);
            for mark in marks.iter().filter(|mark| !mark.required && mark.seq < end) {
                let from = mark.seq.max(gone.first_seq);
                self.losses.let_go(&mark.name, from.abs_diff(end), from..end);
                self.show_let_go(self.let_go.max(end));
            }
            if marks.is_empty() {
                self.unfollowed = end;
                self.show_let_go(self.let_go.max(end));
                self.losses.unfollowed(gone.rows);
            }
            self.look_at_bytes();
        }
        Ok(())
    }

    fn show_let_go(&mut self, seq: i64) {
        if self.let_go != seq {
            self.let_go = seq;
            self.progress.publish(|journaled| journaled.let_go = seq);
            self.show();
        }
    }

    /// Those who follow from outside see it, too. What could not be shown is shown, or told of, when the journal is looked at.
    fn show(&self) {
        let _ = self.progress.show();
    }

    /// A batch without rows at which followers may commit.
    fn cut(&mut self) -> Result<(), Error> {
        self.uncut_bytes = 0;
        self.write(BatchFlags::CUT, 0)
    }

    fn is_half(&self) -> bool {
        self.sealed_bytes + self.writer.len() >= self.limits.journal_bytes / 2
    }

    fn is_over(&self) -> bool {
        self.is_over_with(0)
    }

    fn is_over_with(&self, slack: u64) -> bool {
        self.sealed_bytes + self.writer.len() + slack >= self.limits.journal_bytes || self.free_bytes < self.reserve
    }

    /// A part of the budget that is worth making room for.
    fn slack(&self) -> u64 {
        self.limits.journal_bytes / 8
    }

    fn show_over(&mut self, over: bool) -> bool {
        if self.over != over {
            self.over = over;
            self.progress.publish(|journaled| journaled.over_budget = over);
            self.show();
            if over {
                // Who waits for a few thousand rows more would wait in vain.
                self.progress.nudge();
            }
        }
        over
    }

    /// What no producer can have left in front of a lane stays there for ever. It is declared, so that the host goes on with
    /// another ring; once this one takes no more, all behind it is given up, counted and told in one batch.
    fn look_for_damage(&mut self) {
        let Some(lane) = self.lanes().find(|lane| self.consumer.is_damaged(*lane)) else {
            self.damaged = None;
            return;
        };
        let at = self.consumer.position(lane).pos;
        let what = || format!("what lies in lane {lane} of the ring at byte {at} is no record: it was written over");
        let since = self.damaged.get_or_insert_with(|| (Clockwork::now(), what())).0;
        if since.elapsed() < PATIENCE {
            return;
        }
        if self.ring.is_closed() {
            let claims = self.consumer.give_up(lane);
            self.unreadable += claims;
            let now = self.timeline.now().time_ns;
            let row = self.losses.unreadable(claims, now);
            self.own(&row);
        } else if let Some((_, what)) = &self.damaged {
            self.progress.publish(|journaled| journaled.damaged = Some(what.clone()));
        }
    }

    /// A closed ring ends when it is drained; a claim that stays open (a writer off the processor, or a damaged header)
    /// is told of, and left to recovery.
    fn look_for_open_claim(&mut self) -> Result<(), Error> {
        if !self.ring.is_closed() || !self.lanes().any(|lane| self.consumer.stuck(lane)) {
            self.stuck_since = None;
            return Ok(());
        }
        if self.stuck_since.get_or_insert_with(Clockwork::now).elapsed() < PATIENCE {
            return Ok(());
        }
        Err(Error::OpenClaim)
    }
}

/// The sinks' own policies; none for one that goes by the log's alone.
fn own_policies(followers: &Followers) -> Result<Vec<Option<Policy>>, Error> {
    let parsed = |entry: &Follower| (!entry.policy.is_empty()).then(|| Policy::parse(&entry.policy)).transpose();
    Ok(followers.entries.iter().map(parsed).collect::<Result<_, _>>()?)
}

/// The policy that a record brings into force.
fn changes(record: &[u8]) -> Option<Vec<u8>> {
    policy_in(&RecordView::parse(record).ok()?)
}

fn lanes(ring: &Ring) -> Range<u32> {
    0..ring.geometry().lanes
}

/// Bytes of a ring that are in use.
pub fn used(ring: &Ring) -> u64 {
    lanes(ring).map(|lane| ring.lane(lane).used()).sum()
}

/// Claims that a batch holds of a lane.
fn claims(range: &LaneRange) -> u64 {
    range.to_claims - range.from_claims
}

/// What a batch holds of a lane.
pub(crate) fn lane(from: Position, to: Position) -> LaneRange {
    LaneRange { from_pos: from.pos, from_claims: from.claims, to_pos: to.pos, to_claims: to.claims }
}

/// The row in place of a record that cannot be read.
pub(crate) fn unreadable(payload: &[u8]) -> Vec<u8> {
    let mut event = Encoder::new(named("auditring.Unreadable"));
    event.int("length", payload.len() as i64).text("digest", &format!("{:032x}", xxh3_128(payload)));
    event.to_vec()
}
