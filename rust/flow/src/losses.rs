//! From edge counters to `EventsLost` rows.
//!
//! What must always hold: the batch that carries a loss row also carries the *reported* values that it stands for, so
//! that recovery writes the row for exactly the rest; reports are rate-limited and never stop.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::record::Encoder;
use auditring_event::{Definitions, Outcome, droppable, named, spec};
use auditring_journal::counters::{self, Counters, edge_reported, edge_seen};
use auditring_ring::{Edge, EdgeCount, Kind};

use crate::timeline::Instant;

/// Rows about losses come no closer together.
const PERIOD: Duration = Duration::from_secs(1);

type Cell = (u32, u32, u32);

/// What was counted at the edge, what rows have told of, and what the batch being filled tells.
#[derive(Debug)]
pub(crate) struct Losses {
    seen: Vec<EdgeCount>,
    /// Dropped events that rows have told of.
    reported: HashMap<Cell, u64>,
    /// The same, with the rows of the batch being filled.
    telling: HashMap<Cell, u64>,
    /// Rows of a journal that nobody follows, deleted at the budget.
    unfollowed: u64,
    told_unfollowed: u64,
    reported_unfollowed: u64,
    /// Rows of segments that went at the budget before a sink had them, by sink, of which no row has told.
    let_go: BTreeMap<String, LetGo>,
    /// The same, of which rows of the batch being filled tell.
    telling_let_go: BTreeMap<String, LetGo>,
    /// End of the last report's interval.
    since_ns: Option<i64>,
    reported_since_ns: Option<i64>,
    last: Clockwork,
}

/// Rows that a sink lacks and will not get.
#[derive(Clone, Debug)]
struct LetGo {
    rows: u64,
    seqs: Range<i64>,
}

impl LetGo {
    fn row(&self, sink: &str) -> Vec<u8> {
        let mut event = Encoder::new(const { named("auditring.RowsLetGo") });
        event.text("sink", sink).int("rows", self.rows as i64);
        event.int("first_seq", self.seqs.start).int("last_seq", self.seqs.end - 1);
        event.to_vec()
    }
}

impl Default for Losses {
    fn default() -> Self {
        Self {
            seen: Vec::new(),
            reported: HashMap::new(),
            telling: HashMap::new(),
            unfollowed: 0,
            told_unfollowed: 0,
            reported_unfollowed: 0,
            let_go: BTreeMap::new(),
            telling_let_go: BTreeMap::new(),
            since_ns: None,
            reported_since_ns: None,
            last: Clockwork::now(),
        }
    }
}

impl Losses {
    /// Goes on where a process that died had come to: what it had counted and told is in its journal's counters.
    pub(crate) fn resumed(cells: &Counters, since_ns: i64) -> Self {
        let mut losses = Self { since_ns: Some(since_ns), ..Self::default() };
        for (cell, count) in cells.iter() {
            let counters::Name::Edge { reported, lane, code, outcome, kind } = counters::name(cell) else { continue };
            let (code, outcome) = (u32::from(code), u32::from(outcome));
            if reported {
                losses.telling.insert((lane, code, outcome), count);
            } else if let Some(kind) = Kind::from_number(kind) {
                losses.seen.push(EdgeCount { lane, code, outcome, kind, count });
            }
        }
        losses.reported.clone_from(&losses.telling);
        losses
    }

    /// What the ring itself has counted.
    pub(crate) fn see(&mut self, seen: Vec<EdgeCount>) {
        let before = std::mem::replace(&mut self.seen, seen);
        let which = |count: &EdgeCount| (count.lane, count.code, count.outcome, count.kind);
        let mut places: HashMap<_, _> = self.seen.iter().enumerate().map(|(at, now)| (which(now), at)).collect();
        for known in before {
            // A ring that died as it took over from another may not have its counts yet. No counter goes back.
            let at = *places.entry(which(&known)).or_insert(self.seen.len());
            match self.seen.get_mut(at) {
                Some(now) => now.count = now.count.max(known.count),
                None => self.seen.push(known),
            }
        }
    }

    /// Begin of the interval that the next report is about.
    pub(crate) fn since_ns(&self) -> i64 {
        self.since_ns.unwrap_or_default()
    }

    /// How many were dropped that no row has told of, and the row that tells, for each kind of event; the last report.
    pub(crate) fn rest(&mut self, definitions: &Definitions, now: Instant) -> Vec<(u64, Vec<u8>)> {
        let from_ns = self.since_ns.unwrap_or(now.time_ns.wrapping_sub(now.age_ns));
        self.drops(definitions, from_ns, now.time_ns)
    }

    fn drops(&mut self, definitions: &Definitions, from_ns: i64, to_ns: i64) -> Vec<(u64, Vec<u8>)> {
        let mut kinds: Vec<(EdgeCount, u64)> = Vec::new();
        for count in self.seen.iter().filter(|count| count.kind == Kind::Dropped) {
            let cell = (count.lane, count.code, count.outcome);
            let lost = count.count.saturating_sub(self.telling.get(&cell).copied().unwrap_or(0));
            if lost > 0 {
                self.telling.insert(cell, count.count);
                // In whichever lane: one row tells of all.
                match kinds.iter_mut().find(|(of, _)| (of.code, of.outcome) == (count.code, count.outcome)) {
                    Some((_, sum)) => *sum = sum.saturating_add(lost),
                    None => kinds.push((*count, lost)),
                }
            }
        }
        let row = |(count, lost)| (lost, dropped(&count, definitions, lost, from_ns, to_ns));
        kinds.into_iter().map(row).collect()
    }

    /// The rows for what was lost since the last report, if one is due (or this is the last).
    pub(crate) fn rows(&mut self, edge: Edge<'_>, definitions: &Definitions, now: Instant, last: bool) -> Vec<Vec<u8>> {
        self.seen.clear();
        edge.visit(|count| self.seen.push(count));
        let mut rows = Vec::new();
        if !last && self.last.elapsed() < PERIOD {
            return rows;
        }
        let from_ns = self.since_ns.unwrap_or(now.time_ns.wrapping_sub(now.age_ns));
        rows.extend(self.drops(definitions, from_ns, now.time_ns).into_iter().map(|(_, row)| row));
        if self.unfollowed > self.told_unfollowed {
            rows.push(row("journal_budget", self.unfollowed - self.told_unfollowed, from_ns, now.time_ns).to_vec());
            self.told_unfollowed = self.unfollowed;
        }
        // A batch that is written between two reports has told of none.
        self.telling_let_go = std::mem::take(&mut self.let_go);
        rows.extend(self.telling_let_go.iter().map(|(sink, gone)| gone.row(sink)));
        self.last = Clockwork::now();
        self.since_ns = Some(now.time_ns);
        rows
    }

    /// The row that tells of claims which were accepted and cannot be read.
    pub(crate) fn unreadable(&self, claims: u64, now_ns: i64) -> Vec<u8> {
        row("unreadable", claims, self.since_ns(), now_ns).to_vec()
    }

    /// Off, dropped and refused, as they were seen for this batch.
    pub(crate) fn edge(&self) -> [u64; 3] {
        let of = |kind| {
            let seen = self.seen.iter().filter(|count| count.kind == kind);
            seen.fold(0, |sum: u64, count| sum.saturating_add(count.count))
        };
        [of(Kind::Off), of(Kind::Dropped), of(Kind::Refused)]
    }

    /// What is counted as off because it is of an auditor's own messages: it moves with every row that is told.
    pub(crate) fn exempt(&self) -> u64 {
        let code = u32::from(const { named("auditring.Exempted") }.code);
        let seen = self.seen.iter().filter(|count| count.code == code && count.kind == Kind::Off);
        seen.fold(0, |sum: u64, count| sum.saturating_add(count.count))
    }

    /// The counters as the batch carries them.
    pub(crate) fn cells(&self, cells: &mut Counters) {
        for count in &self.seen {
            let (code, outcome) = (count.code as u16, count.outcome as u8);
            cells.set(edge_seen(count.lane, code, outcome, count.kind as u8), count.count);
        }
        for ((lane, code, outcome), told) in &self.telling {
            cells.set(edge_reported(*lane, *code as u16, *outcome as u8, Kind::Dropped as u8), *told);
        }
    }

    /// The batch is written.
    pub(crate) fn written(&mut self) {
        self.reported.clone_from(&self.telling);
        self.reported_unfollowed = self.told_unfollowed;
        self.reported_since_ns = self.since_ns;
        self.telling_let_go.clear();
    }

    /// The batch could not be written: its rows are told again.
    pub(crate) fn abandon(&mut self) {
        self.telling.clone_from(&self.reported);
        self.told_unfollowed = self.reported_unfollowed;
        self.since_ns = self.reported_since_ns;
        for (sink, gone) in std::mem::take(&mut self.telling_let_go) {
            self.let_go(&sink, gone.rows, gone.seqs);
        }
        self.last = self.last.checked_sub(PERIOD).unwrap_or(self.last);
    }

    /// Rows were deleted that nobody follows.
    pub(crate) fn unfollowed(&mut self, rows: u64) {
        self.unfollowed += rows;
    }

    /// Rows were deleted that a sink had not made safe.
    pub(crate) fn let_go(&mut self, sink: &str, rows: u64, seqs: Range<i64>) {
        let known = self.let_go.entry(sink.to_owned()).or_insert_with(|| LetGo { rows: 0, seqs: seqs.clone() });
        known.rows += rows;
        known.seqs = known.seqs.start.min(seqs.start)..known.seqs.end.max(seqs.end);
    }
}

fn row(cause: &str, lost: u64, from_ns: i64, to_ns: i64) -> Encoder {
    let mut event = Encoder::new(const { named("auditring.EventsLost") });
    event
        .int("lost", i64::try_from(lost).unwrap_or(i64::MAX))
        .text("cause", cause)
        .int("from_ns", from_ns)
        .end_time(to_ns);
    event
}

fn dropped(count: &EdgeCount, definitions: &Definitions, lost: u64, from_ns: i64, to_ns: i64) -> Vec<u8> {
    let outcome = Outcome::from_number(count.outcome as u8).unwrap_or(Outcome::Failure);
    let mut event = row("dropped", lost, from_ns, to_ns);
    let known = match (spec(count.code as u16), definitions.get(count.code as u16)) {
        (Some(spec), _) => Some((spec.name, spec.category)),
        (None, definition) => definition.map(|of| (of.name.as_str(), of.category)),
    };
    let class = if known.is_some_and(|(_, category)| droppable(category, outcome)) { "droppable" } else { "protected" };
    event.text("class", class).text("lost_outcome", outcome.word());
    if let Some((name, _)) = known {
        event.text("lost_action", name);
    }
    event.to_vec()
}
