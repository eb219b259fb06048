//! When the pump has to say that time has passed: rows may wait in a window, and nothing comes that would close it.
//!
//! What must always hold: each window that a row was journaled in is told of as over, by a later row or by an empty batch,
//! and once is enough; without a window in force there is nothing to tell.

use auditring_policy::{Policy, next_multiple, windows};

/// The windows in force at any sink, and where they end next.
#[derive(Debug)]
pub(crate) struct Ticks {
    /// The sinks' own policies; none for a sink that goes by the log's alone.
    own: Vec<Option<Policy>>,
    windows: Vec<i64>,
    /// The greatest age of a row.
    greatest_ns: i64,
    /// The ages at which windows end that hold rows.
    ends: Vec<i64>,
    /// Rows were journaled since the last cut that was asked for.
    uncut: bool,
}

impl Ticks {
    /// For the log's policy and the sinks'.
    pub(crate) fn new(log: &Policy, own: Vec<Option<Policy>>) -> Self {
        let mut ticks = Self { own, windows: Vec::new(), greatest_ns: 0, ends: Vec::new(), uncut: false };
        ticks.go_by(log);
        ticks
    }

    /// Others follow: the log's policy is as before.
    pub(crate) fn follow(&mut self, log: &Policy, own: Vec<Option<Policy>>) {
        self.own = own;
        self.go_by(log);
        // Rows of an earlier window may wait at those who came.
        self.rows(self.greatest_ns);
    }

    /// The log's policy is another one: the row that says so has ended all windows.
    pub(crate) fn go_by(&mut self, log: &Policy) {
        self.windows = windows(log, None);
        self.windows.extend(self.own.iter().flat_map(|own| windows(log, own.as_ref())));
        self.windows.sort_unstable();
        self.windows.dedup();
    }

    /// Rows up to this age are journaled.
    pub(crate) fn rows(&mut self, age_ns: i64) {
        self.greatest_ns = self.greatest_ns.max(age_ns);
        self.ends.clear();
        self.ends.extend(self.windows.iter().map(|window| next_multiple(self.greatest_ns, *window)));
        self.uncut = true;
    }

    /// Whether a window is over that nobody was told of.
    pub(crate) fn is_due(&self, age_ns: i64) -> bool {
        self.ends.iter().any(|end| *end <= age_ns)
    }

    /// A batch without rows tells of this age.
    pub(crate) fn told(&mut self, age_ns: i64) {
        self.ends.retain(|end| *end > age_ns);
    }

    /// Whether a cut would let followers commit more than they can without it; a second one would not.
    pub(crate) fn take_uncut(&mut self) -> bool {
        std::mem::take(&mut self.uncut) && !self.windows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(rules: &str) -> Ticks {
        let text = format!(r#"{{"version":3,"seed":1,"allow_blind_spots":false,"rules":[{rules}]}}"#);
        Ticks::new(&Policy::parse(text.as_bytes()).unwrap(), vec![None])
    }

    const TWO: &str = r#"{"action":["Read"],"keep":"coalesce","window_ns":1000000000},
        {"category":["plugin"],"keep":"first","window_ns":4000000000}"#;

    #[test]
    fn every_window_is_told_of_once_and_only_if_it_holds_a_row() {
        let mut ticks = ticks(TWO);
        assert!(!ticks.is_due(i64::MAX));
        ticks.rows(2_500_000_000);
        assert!(!ticks.is_due(2_999_999_999));
        assert!(ticks.is_due(3_000_000_000));
        ticks.told(3_000_000_000);
        assert!(!ticks.is_due(3_999_999_999));
        assert!(ticks.is_due(4_000_000_000));
        ticks.told(4_100_000_000);
        assert!(!ticks.is_due(i64::MAX));
        // A late row may be all that there is behind a cut: its window is over already.
        ticks.rows(2_900_000_000);
        assert!(ticks.is_due(4_200_000_000));
    }

    #[test]
    fn without_a_window_there_is_nothing_to_tell() {
        let mut ticks = ticks(r#"{"action":["Read"],"keep":"off"}"#);
        ticks.rows(1);
        assert!(!ticks.is_due(i64::MAX) && !ticks.take_uncut());
    }
}
