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

mod batch;
mod room;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::record::{Encoder, RecordView};
use auditring_event::{Definitions, named};
use auditring_journal::counters;
use auditring_journal::{BatchFlags, Follower, Followers, LaneRange, ProcessDir, ScopeFile, Writer, free_bytes};
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
use crate::timeline::{Timeline, Told};

/// A batch ends when its rows have reached this.
const BATCH_BYTES: usize = 1 << 20;
/// With less than this in a batch there is time to sleep.
const BUSY_BYTES: usize = 256 << 10;
/// The backstop behind the producers' wake-up.
const NAP: Duration = Duration::from_millis(10);
/// The same while next to nothing comes: what a quiet host pays for the pump is its wake-ups.
const QUIET_NAP: Duration = Duration::from_millis(50);
/// Free space that the journal leaves for sealing, at most; a quarter of what is free at the start where that is less.
const RESERVE: u64 = 32 << 20;
/// How long a claim may stay open after the ring was closed.
const PATIENCE: Duration = Duration::from_secs(1);
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
    /// Bytes of the segment being written at that time.
    looked_at_len: u64,
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
            looked_at_len: 0,
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

    /// Those who follow from outside see it, too. What could not be shown is shown, or told of, when the journal is looked at.
    fn show(&self) {
        let _ = self.progress.show();
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
