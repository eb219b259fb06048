//! The pump: takes records out of the ring, numbers every one, and appends them to the journal in batches.
//!
//! It drops, merges and samples nothing, and it decides nothing but what of a value may reach the disk, which the policy
//! says. What must always hold:
//! - journal write complete → records zeroed → head stored, in that order;
//! - what the pump knows (next seq, batch number, counters) is what the writer's state knows, and that changes only after
//!   a write returned in full; a failed batch is encoded anew, with the same number and seqs, into a new segment;
//! - a segment's head names the policy that is in force at its first row: a change counts once its row is written.

mod batch;
mod lanes;
mod rings;
mod room;
mod tell;
mod turn;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::Definitions;
use auditring_journal::{BatchFlags, Follower, Followers, ProcessDir, ScopeFile, Writer, free_bytes};
use auditring_policy::Policy;
use auditring_ring::{Clock, OwnedConsumer, Ring, consumer_of};

pub(crate) use self::batch::unreadable;
pub(crate) use self::lanes::lane;
pub use self::lanes::used;
use self::turn::Behind;
use crate::Error;
use crate::balance::Balance;
use crate::birth::Born;
use crate::carry::Carry;
use crate::fill::Fill;
use crate::keep::{Keep, Vanished};
use crate::losses::Losses;
use crate::mailbox::Mailbox;
use crate::policies::{Policies, Stated};
use crate::progress::Progress;
use crate::rolls::Rolls;
use crate::syncer::{Syncer, Unsynced};
use crate::ticks::Ticks;
use crate::timeline::{Timeline, Told};

/// Free space that the journal leaves for sealing, at most; a quarter of what is free at the start where that is less.
const RESERVE: u64 = 32 << 20;

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

    fn born(&mut self, startup: &[u8]) -> Result<(), Error> {
        self.syncer.begin(self.writer.sync_handle(), (0, self.writer.state().next_seq));
        self.keep.begin(self.writer.sync_handle());
        self.own(startup);
        self.write(BatchFlags::BIRTH, 0)
    }
}

/// The sinks' own policies; none for one that goes by the log's alone.
fn own_policies(followers: &Followers) -> Result<Vec<Option<Policy>>, Error> {
    let parsed = |entry: &Follower| (!entry.policy.is_empty()).then(|| Policy::parse(&entry.policy)).transpose();
    Ok(followers.entries.iter().map(parsed).collect::<Result<_, _>>()?)
}
