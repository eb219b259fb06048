//! From counters to `auditring.Balance` rows: what the log says of itself, so that anybody who has the rows can add it up.
//!
//! What must always hold: each row is true at its own place, itself included, so `journaled` is one more than its seq
//! (where no seq was left out); nothing is told while nothing has changed but by the telling.

use std::path::Path;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::named;
use auditring_event::record::Encoder;
use auditring_journal::counters::{self, Counters};
use auditring_journal::{Cursor, Followers};

/// What moves while anything happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    /// Claims of all time, those still in the ring included.
    pub(crate) claimed: u64,
    /// Off, dropped, refused.
    pub(crate) edge: [u64; 3],
    /// Rows born in the pump, but those that this module has made.
    pub(crate) born: u64,
}

/// When a row is due, and what the last ones told.
#[derive(Debug)]
pub(crate) struct Balance {
    period: Option<Duration>,
    told_at: Clockwork,
    told: Stand,
    /// Rows made so far.
    rows: u64,
    /// The same, as of the last batch that was written.
    written: (Clockwork, Stand, u64),
}

impl Default for Balance {
    fn default() -> Self {
        let now = Clockwork::now();
        Self { period: None, told_at: now, told: Stand::default(), rows: 0, written: (now, Stand::default(), 0) }
    }
}

impl Balance {
    /// Rows come no closer together; none: there are no rows.
    pub(crate) fn every(&mut self, period: Option<Duration>) {
        self.period = period;
    }

    /// Whether it is time to ask how things stand.
    pub(crate) fn is_time(&self, last: bool) -> bool {
        self.period.is_some_and(|period| last || self.told_at.elapsed() >= period)
    }

    /// Whether there is something to tell. `stand.born` has the rows of this module in it; `exempt` of what is off is of
    /// messages that an auditor makes of rows, of these too, or each would be the reason for another.
    pub(crate) fn begin(&mut self, stand: Stand, exempt: u64, last: bool) -> bool {
        let [off, dropped, refused] = stand.edge;
        let stand =
            Stand { born: stand.born - self.rows, edge: [off.saturating_sub(exempt), dropped, refused], ..stand };
        if stand == self.told && !last {
            return false;
        }
        self.told = stand;
        self.told_at = Clockwork::now();
        true
    }

    /// A row was made.
    pub(crate) fn made(&mut self) {
        self.rows += 1;
    }

    /// The batch is written.
    pub(crate) fn written(&mut self) {
        self.written = (self.told_at, self.told, self.rows);
    }

    /// The batch could not be written: its rows are told again.
    pub(crate) fn abandon(&mut self) {
        (self.told_at, self.told, self.rows) = self.written;
    }
}

/// The terms at one row.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) stand: Stand,
    /// Claims that are not taken out of the ring yet.
    pub(crate) in_ring: u64,
    /// Rows up to this one, itself included.
    pub(crate) journaled: u64,
    /// Of the last batch: what does not change between two.
    pub(crate) cells: &'a Counters,
}

impl Terms<'_> {
    /// The row of the process.
    pub(crate) fn row(&self) -> Vec<u8> {
        let Stand { claimed, edge: [off, dropped, refused], born } = self.stand;
        let torn = self.cells.get(counters::TORN);
        let mut row = Encoder::new(const { named("auditring.Balance") });
        for (name, value) in [
            ("offered", claimed + off + dropped + refused),
            ("claimed", claimed),
            ("accepted", claimed - torn),
            ("torn", torn),
            ("off", off),
            ("dropped", dropped),
            ("refused", refused),
            ("born", born),
            ("journaled", self.journaled),
            ("lost_unreadable", self.cells.get(counters::LOST_UNREADABLE)),
            ("lost_journal_gone", self.cells.get(counters::LOST_JOURNAL_GONE)),
            ("lost_ring_gone", self.cells.get(counters::LOST_RING_GONE)),
            ("in_ring", self.in_ring),
        ] {
            row.int(name, value as i64);
        }
        row.to_vec()
    }
}

/// The cursors of the sinks that follow a journal. One that cannot be read is told of by its follower, not here.
pub(crate) fn cursors(dir: &Path) -> Vec<(String, Cursor)> {
    let entries = Followers::load(dir).map(|followers| followers.entries).unwrap_or_default();
    let cursor = |name: &str| Cursor::load(dir, name).ok().map(Option::unwrap_or_default);
    entries.into_iter().filter_map(|entry| cursor(&entry.name).map(|cursor| (entry.name, cursor))).collect()
}

/// The row of a sink; `journaled` with the row itself.
pub(crate) fn sink(name: &str, cursor: &Cursor, journaled: u64) -> Vec<u8> {
    let mut row = Encoder::new(const { named("auditring.SinkBalance") });
    row.text("sink", name).int("cursor", cursor.seq).int("journaled", journaled as i64);
    let mut pending = journaled;
    for of in ["delivered", "merged", "sampled_out", "filtered_out", "lost_budget", "lost_corrupt", "lost_rejected"] {
        let value = cursor.totals.get(of).copied().unwrap_or(0);
        row.int(of, value as i64);
        pending = pending.saturating_sub(value);
    }
    row.int("pending", pending as i64);
    row.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(claimed: u64, born: u64) -> Stand {
        Stand { claimed, born, ..Stand::default() }
    }

    #[test]
    fn nothing_is_told_of_the_telling_but_at_the_end() {
        let mut balance = Balance::default();
        assert!(!balance.is_time(true), "nobody wants rows");
        balance.every(Some(Duration::ZERO));
        assert!(balance.is_time(false) && balance.begin(stand(5, 1), 0, false));
        balance.made();
        balance.written();
        assert!(!balance.begin(stand(5, 2), 0, false), "the one row is our own");
        assert!(balance.begin(stand(5, 2), 0, true));
        assert!(balance.begin(stand(5, 3), 0, false) && balance.begin(stand(6, 3), 0, false));
        balance.every(Some(Duration::from_secs(3600)));
        assert!(!balance.is_time(false) && balance.is_time(true));
    }

    #[test]
    fn what_was_not_written_is_told_again() {
        let mut balance = Balance::default();
        balance.every(Some(Duration::ZERO));
        assert!(balance.begin(stand(5, 1), 0, false));
        balance.made();
        balance.abandon();
        assert!(balance.begin(stand(5, 1), 0, false));
    }
}
