//! What all processes of an audit directory add up to, for a scrape that comes again and again: living, dead or gone.
//!
//! ```text
//! journal/<process>   read on from where the last look stopped; what could not be read keeps its last numbers
//! totals/<process>    read once, when its journal is gone, and added to what has gone before
//! totals/.sums        those sums, so that the next reader need not begin with the first process that ever was
//! ```
//! What must always hold:
//! - A process counts once: by its journal as long as that is there, and by its totals, which were written before it went, from
//!   then on. Journals are listed before totals, so nobody falls between.
//! - No counter goes back. What the files say is no less than before by itself; where something was taken away, or cannot be
//!   read, the last numbers stay, and it is told of; where there are no last numbers the look fails.
//! - Counters are what the journals say, not what a ring or a living process knows beyond them: so they are the same whoever
//!   looks, also after the process has died in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use auditring_event::{Definitions, Outcome, UNDECLARED, code_of, spec};
use auditring_journal::counters::{self, Counters, Name};
use auditring_journal::{
    Cursor, Followers, Owner, Sample, Scopes, State, Sums, Totals, Walk, bytes_held, is_held, list, time_of,
};
use auditring_ring::Ring;

use crate::Error;
use crate::outside::{Unreadable, terms};
use crate::pump::used;

/// A folder's mtime may hide later changes within one tick of the kernel's clock; far more than any tick.
const TICK_NS: i128 = 50_000_000;
/// Processes that have gone since the sums were stored, before they are stored again.
const WORTH: usize = 256;
/// Low bits of a lane's count of claims.
const CLAIMS: u64 = 0x7FFF_FFFF;

/// What is off because it is an auditor's own.
const EXEMPTED: u16 = code_of("auditring.Exempted");

/// Counters by name and labels.
type Samples = BTreeMap<Sample, u64>;

/// How many processes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Somebody holds their locks.
    pub writing: u64,
    /// Their journals have ended, and some sink still lacks rows.
    pub ended: u64,
    /// They have died, and nobody has recovered them yet.
    pub dead: u64,
    /// Their journals are gone: every sink has all of their rows.
    pub gone: u64,
    /// They were here and are not any more, without a trace.
    pub missing: u64,
}

/// How far a sink is behind, over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReading {
    /// Rows that it still has to see.
    pub pending: u64,
    /// When the first of them happened.
    pub oldest_ns: Option<i64>,
    /// When a cursor of it was stored last.
    pub last_success_ns: Option<i64>,
}

/// One look at a directory.
#[derive(Debug, Default)]
pub struct Reading {
    /// Counters: over all processes that ever were.
    pub samples: Samples,
    /// By name.
    pub sinks: BTreeMap<String, SinkReading>,
    /// By state.
    pub processes: Processes,
    /// Accepted events that are not journaled yet.
    pub in_ring: u64,
    /// Bytes of all rings.
    pub ring_bytes: u64,
    /// Bytes of them in use.
    pub ring_used: u64,
    /// Share of the fullest ring that is in use.
    pub pressure: f64,
    /// The most of one ring that was ever seen in use.
    pub ring_high_water: u64,
    /// Bytes of all journals.
    pub journal_bytes: u64,
    /// What cannot be read, with the reason; the last numbers of it stay.
    pub unreadable: Unreadable,
}

/// One process whose journal is there, as it was seen last.
#[derive(Debug, Default)]
struct One {
    walk: Walk,
    samples: Samples,
    /// All of it was read once.
    seen: bool,
    /// When the row at a sink's cursor happened: asked once for each place of the cursor.
    times: BTreeMap<String, (i64, i64)>,
    sinks: BTreeMap<String, SinkReading>,
}

/// An audit directory that is looked at again and again.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    known: BTreeMap<[u8; 16], One>,
    /// What the processes that have gone add up to; none before the first look.
    gone: Option<Sums>,
    /// Those that have totals and are not in there.
    waiting: BTreeSet<[u8; 16]>,
    /// The folder of totals as it was listed last, where that proves anything.
    listed_ns: Option<i128>,
    unsaved: usize,
}

impl Directory {
    /// Of an audit directory; nothing is read yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, known: BTreeMap::new(), gone: None, waiting: BTreeSet::new(), listed_ns: None, unsaved: 0 }
    }

    /// Looks at everything once.
    ///
    /// # Errors
    /// If the directory, or what it holds, cannot be listed, or a process cannot be read that never was. One that was is no
    /// error: see [`Reading::unreadable`].
    pub fn read(&mut self) -> Result<Reading, Error> {
        let mut reading = Reading::default();
        let root = self.root.clone();
        let failed = |source| Error::Io { what: "look at", path: root.clone(), source };
        if !std::fs::metadata(&self.root).map_err(failed)?.is_dir() {
            return Err(failed(std::io::ErrorKind::NotADirectory.into()));
        }
        // The first look, or one after a panic has taken them.
        self.listed_ns = self.listed_ns.filter(|_| self.gone.is_some());
        let mut gone = self.gone.take().unwrap_or_else(|| {
            let path = self.root.join("totals");
            Sums::load(&self.root).unwrap_or_else(|error| {
                reading.unreadable.push((path, error.into()));
                Sums::default()
            })
        });
        let result = self.look(&mut gone, &mut reading);
        self.gone = Some(gone);
        result.map(|()| reading)
    }

    fn look(&mut self, gone: &mut Sums, reading: &mut Reading) -> Result<(), Error> {
        let mut here = BTreeSet::new();
        for (process, dir) in list(&self.root)? {
            if gone.processes.contains(&process) {
                continue; // brought back from somewhere: it is counted
            }
            let one = self.known.entry(process).or_default();
            let seen = one.look(&process, &dir, reading);
            if !dir.exists() {
                continue; // removed while it was read, also where that looked like a journal with nothing in it
            }
            here.insert(process);
            match seen {
                Ok(()) => one.seen = true,
                Err(error) if one.seen => reading.unreadable.push((dir, error)),
                // There are no last numbers, and without any a sum would be less than it was to whoever asked before.
                Err(error) => return Err(error),
            }
        }
        self.bury(gone, &here, reading)?;
        self.known.retain(|process, one| {
            let counted = !gone.processes.contains(process);
            // One that had accepted nothing leaves nothing behind.
            counted && (here.contains(process) || one.samples.values().any(|value| *value > 0))
        });
        reading.processes.missing = self.known.keys().filter(|process| !here.contains(*process)).count() as u64;
        reading.processes.gone = gone.processes.len() as u64;
        reading.samples = gone.samples.clone();
        for one in self.known.values() {
            add(&mut reading.samples, &one.samples);
        }
        for (process, one) in &self.known {
            if here.contains(process) {
                one.sinks.iter().for_each(|(name, sink)| reading.sinks.entry(name.clone()).or_default().join(sink));
            }
        }
        Ok(())
    }

    /// Adds the totals of those whose journals have gone.
    fn bury(&mut self, gone: &mut Sums, here: &BTreeSet<[u8; 16]>, reading: &mut Reading) -> Result<(), Error> {
        let changed_ns = Sums::changed_ns(&self.root)?;
        if changed_ns != self.listed_ns || changed_ns.is_none() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as i128);
            self.waiting = gone.missing(&self.root)?.into_iter().collect();
            self.listed_ns = changed_ns.filter(|changed| now - changed > TICK_NS);
        }
        let ready: Vec<_> = self.waiting.difference(here).copied().collect();
        for process in ready {
            match Totals::load(&self.root, &process) {
                Ok(Some(totals)) => {
                    let mut samples = samples_of(&totals);
                    if let Some(one) = self.known.remove(&process) {
                        raise(&mut samples, one.samples);
                    }
                    add(&mut gone.samples, &samples);
                    gone.processes.insert(process);
                    self.unsaved += 1;
                }
                Ok(None) => {}
                Err(error) if self.known.contains_key(&process) => {
                    reading.unreadable.push((self.root.join("totals"), error.into()));
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.waiting.remove(&process);
        }
        if self.unsaved >= WORTH {
            self.unsaved = 0;
            if let Err(error) = gone.store(&self.root) {
                reading.unreadable.push((self.root.join("totals"), error.into()));
            }
        }
        Ok(())
    }
}

impl One {
    /// Reads on. What is found before an error counts.
    fn look(&mut self, process: &[u8; 16], dir: &Path, reading: &mut Reading) -> Result<(), Error> {
        let alive = is_held(dir)?;
        // Cursors first: read after the journal, one could be ahead of it.
        let mut cursors = Vec::new();
        for entry in Followers::load(dir)?.entries {
            let cursor = Cursor::load(dir, &entry.name)?.unwrap_or_default();
            let seq = cursor.seq.max(entry.since_seq);
            cursors.push((Cursor::stored_ns(dir, &entry.name)?, Cursor { seq, ..cursor }, entry.name));
        }
        self.walk.advance(dir)?;
        let scopes = Scopes::load(dir)?;
        if !dir.exists() {
            // Removed meanwhile, and the file of the scopes may have been gone before it was read: then rows would count once
            // with their scope, of the last look or of the totals, and once more without.
            return Ok(());
        }
        let state = self.walk.state();
        let processes = &mut reading.processes;
        match (alive, state.ending) {
            (true, _) => processes.writing += 1,
            (false, Some(_)) => processes.ended += 1,
            (false, None) => processes.dead += 1,
        }
        let definitions = Definitions::decode(self.walk.definitions()).unwrap_or_default();
        let name = |code| definitions.get(code).map(|one| one.name.as_str());
        let mut samples = counted(&state.cells, name, scopes.as_ref());
        for (_, cursor, name) in &cursors {
            of_sink(name, &cursor.totals, &mut samples);
        }
        raise(&mut self.samples, samples);
        reading.journal_bytes += bytes_held(dir)?;
        let high_water = state.cells.get(counters::RING_HIGH_WATER);
        reading.ring_high_water = reading.ring_high_water.max(if alive { high_water } else { 0 });
        // Before its birth batch a process has a ring that is still being made.
        if state.ending.is_none()
            && state.born
            && let Err(error) = ring(process, dir, state, reading)
        {
            // No counter hangs on it.
            reading.unreadable.push((dir.to_owned(), error));
        }
        let next_seq = state.next_seq;
        self.sinks.clear();
        for (last_success_ns, cursor, name) in cursors {
            let pending = (next_seq - cursor.seq).max(0) as u64;
            let oldest_ns = if pending == 0 { None } else { self.time_of(dir, &name, cursor.seq)? };
            self.sinks.insert(name, SinkReading { pending, oldest_ns, last_success_ns });
        }
        Ok(())
    }

    fn time_of(&mut self, dir: &Path, sink: &str, seq: i64) -> Result<Option<i64>, Error> {
        if let Some((known, time_ns)) = self.times.get(sink)
            && *known == seq
        {
            return Ok(Some(*time_ns));
        }
        let time_ns = time_of(dir, seq)?;
        if let Some(time_ns) = time_ns {
            self.times.insert(sink.to_owned(), (seq, time_ns));
        }
        Ok(time_ns)
    }
}

impl SinkReading {
    fn join(&mut self, other: &Self) {
        self.pending += other.pending;
        self.oldest_ns = [self.oldest_ns, other.oldest_ns].into_iter().flatten().min();
        self.last_success_ns = self.last_success_ns.max(other.last_success_ns);
    }
}

/// How full the ring of a process is; nothing where it has none any more, as after a reboot.
fn ring(process: &[u8; 16], dir: &Path, state: &State, reading: &mut Reading) -> Result<(), Error> {
    let path = Owner::load(dir)?.ring_path;
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let ring = match Ring::look(&path) {
        Ok(ring) if ring.identity().process == *process => ring,
        Ok(_) => return Ok(()),
        // Removed meanwhile.
        Err(_) if path.symlink_metadata().is_err() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let geometry = ring.geometry();
    let bytes = u64::from(geometry.lane_bytes) * u64::from(geometry.lanes);
    let used = used(&ring);
    reading.ring_bytes += bytes;
    reading.ring_used += used;
    reading.pressure = reading.pressure.max(used as f64 / bytes as f64);
    if ring.identity().generation == state.generation {
        let journaled = |lane: u32| state.lanes.get(lane as usize).map_or(0, |lane| lane.claims);
        let waiting = |lane| u64::from(ring.lane(lane).claims()).wrapping_sub(journaled(lane)) & CLAIMS;
        // What the pump has journaled and not given back yet, and what it has done since the journal was read, is no more.
        reading.in_ring += (0..geometry.lanes).map(waiting).sum::<u64>();
    }
    Ok(())
}

/// No number falls below what it was.
fn raise(to: &mut Samples, from: Samples) {
    for (sample, value) in from {
        let known = to.entry(sample).or_default();
        *known = value.max(*known);
    }
}

fn add(to: &mut Samples, from: &Samples) {
    for (sample, value) in from {
        match to.get_mut(sample) {
            Some(sum) => *sum = sum.saturating_add(*value),
            None => _ = to.insert(sample.clone(), *value),
        }
    }
}

fn sample(name: &str, labels: &[(&str, &str)]) -> Sample {
    let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    Sample { name: name.to_owned(), labels: labels.collect() }
}

fn samples_of(totals: &Totals) -> Samples {
    let cells: Vec<_> = totals.cells.iter().map(|(cell, value)| (*cell, *value)).collect();
    let name = |code| totals.declared.get(&code).map(String::as_str);
    let mut samples = counted(&Counters::from_cells(&cells), name, totals.scopes.as_ref());
    for (sink, totals) in &totals.sinks {
        of_sink(sink, totals, &mut samples);
    }
    samples
}

fn of_sink(sink: &str, totals: &BTreeMap<String, u64>, samples: &mut Samples) {
    for term in ["delivered", "merged", "sampled_out", "filtered_out"] {
        let value = totals.get(term).copied().unwrap_or(0);
        samples.insert(sample(&format!("sink_{term}"), &[("sink", sink)]), value);
    }
    for (name, value) in totals {
        if let Some(cause) = name.strip_prefix("lost_") {
            samples.insert(sample("sink_lost", &[("cause", cause), ("sink", sink)]), *value);
        }
    }
}

/// The counters of one process.
fn counted<'a>(cells: &Counters, declared: impl Fn(u16) -> Option<&'a str>, scopes: Option<&Scopes>) -> Samples {
    let (terms, lost) = terms(cells);
    let mut samples: Samples = terms.into_iter().map(|(term, value)| (sample(term, &[]), value)).collect();
    samples.extend(lost.into_iter().map(|(cause, value)| (sample("lost", &[("cause", cause)]), value)));
    samples.insert(sample("waits", &[]), cells.get(counters::WAITS));
    samples.insert(sample("blocked_ns", &[]), cells.get(counters::BLOCKED_NS));
    let (mut all, mut folded) = (BTreeMap::<(u16, u8), u64>::new(), 0_u64);
    let exempt = cells.sum(|name| matches!(name, Name::Edge { reported: false, code: EXEMPTED, kind: 0, .. }));
    samples.insert(sample("exempt", &[]), exempt);
    let mut scoped = Vec::new();
    for (cell, value) in cells.iter() {
        match counters::name(cell) {
            Name::Journaled { code, outcome, primary: true }
            | Name::Edge { reported: false, code, outcome, kind: 0 | 1, .. } => {
                let sum = all.entry((code, outcome)).or_default();
                *sum = sum.saturating_add(value);
            }
            Name::Scoped { code, outcome, scope } => scoped.push((code, outcome, scope, value)),
            _ => {}
        }
    }
    let labels = |code, outcome| {
        let action = spec(code).map(|spec| spec.name).or_else(|| declared(code)).unwrap_or(UNDECLARED).to_owned();
        let outcome = Outcome::from_number(outcome).map_or("?", Outcome::word).to_owned();
        vec![("action".to_owned(), action), ("outcome".to_owned(), outcome)]
    };
    let mut events = |labels, value: u64| {
        let sum = samples.entry(Sample { name: "events".to_owned(), labels }).or_default();
        *sum = sum.saturating_add(value);
    };
    if let Some(scopes) = scopes {
        for (code, outcome, scope, value) in scoped {
            let values = scopes.get(scope);
            if values.is_none() {
                folded += value;
            }
            let mut labels = labels(code, outcome);
            labels.extend(scopes.labels.iter().enumerate().map(|(at, (label, _))| {
                let value = values.and_then(|values| values.get(at)).map_or("other", String::as_str);
                (label.clone(), value.to_owned())
            }));
            labels.retain(|(_, value)| !value.is_empty());
            events(labels, value);
            let rest = all.entry((code, outcome)).or_default();
            *rest = rest.saturating_sub(value);
        }
    }
    for ((code, outcome), rest) in all {
        events(labels(code, outcome), rest);
    }
    if scopes.is_some() {
        samples.insert(sample("scope_folded", &[]), folded);
    }
    samples
}
