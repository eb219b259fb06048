//! Windows of time, and the cuts at which they all end.
//!
//! Windows tumble on the process's age. A row closes its window when the greatest age seen since the last cut reaches a
//! multiple of it, so a row that is late belongs to the window then open. A cut lies before the first row, or the empty
//! batch, whose age reaches a multiple of the longest window, before every seq that is a multiple of 2²⁰, and around a
//! change of policy and the final row. What must always hold: at a cut nothing is left of what was before it, so whoever
//! begins there comes to the same rows as who comes by.

use auditring_event::code_of;

use crate::merger::Merger;

/// The longest window of a row that is coalesced.
pub(crate) const MOST_COALESCE: i64 = 60_000_000_000;
/// The longest window of what comes first.
pub(crate) const MOST_FIRST: i64 = 300_000_000_000;
/// The shortest window.
const LEAST: i64 = 1_000_000;
/// Seqs between two cuts, at most.
const CUT_SEQS: i64 = 1 << 20;

const POLICY_CHANGED: u16 = code_of("auditring.PolicyChanged");
const SHUTDOWN: u16 = code_of("ProxyCleanShutdown");
const RECOVERED: u16 = code_of("auditring.Recovered");

/// A window that can be.
pub(crate) fn within(window_ns: i64, most: i64) -> Result<i64, String> {
    if (LEAST..=most).contains(&window_ns) {
        return Ok(window_ns);
    }
    let (least, most) = (seconds(LEAST), seconds(most));
    Err(format!("a window is {least} to {most} seconds, not {}", seconds(window_ns)))
}

/// Whether a window divides the longest one, or which would.
pub(crate) fn divides(window_ns: i64, longest: i64) -> Result<(), String> {
    if longest % window_ns == 0 {
        return Ok(());
    }
    // The nearest number of parts that divides the longest window into whole nanoseconds; one part always does.
    let parts = longest / window_ns;
    let near =
        (0..=parts).flat_map(|far| [parts - far, parts + 1 + far]).find(|parts| *parts > 0 && longest % parts == 0);
    Err(format!(
        "its window of {} seconds does not divide the longest in force, {} seconds, so they cannot end together; {} would do",
        seconds(window_ns),
        seconds(longest),
        seconds(longest / near.unwrap_or(1)),
    ))
}

/// A time in seconds, as a person writes it.
fn seconds(ns: i64) -> String {
    format!("{}", ns as f64 / 1e9)
}

/// The first multiple of a window that lies beyond an age.
#[must_use]
pub const fn next_multiple(age_ns: i64, window_ns: i64) -> i64 {
    age_ns.div_euclid(window_ns).saturating_add(1).saturating_mul(window_ns)
}

/// Whether a cut lies before and behind a row of this code, wherever it stands.
const fn is_edge(code: u16) -> bool {
    matches!(code, POLICY_CHANGED | SHUTDOWN | RECOVERED)
}

/// The windows of one policy, and the rows that wait in them.
#[derive(Debug)]
pub struct Windows {
    /// Each with the age at which it ends next; the longest last.
    open: Vec<(i64, i64)>,
    /// The least of these ages.
    next: i64,
    /// There was a row since the last cut.
    begun: bool,
    /// What waits.
    pub merger: Merger,
}

impl Windows {
    /// Windows of these lengths, the longest last; none for none.
    #[must_use]
    pub fn new(windows: &[i64]) -> Option<Self> {
        windows.last()?;
        let open = windows.iter().map(|window| (*window, i64::MAX)).collect();
        Some(Self { open, next: i64::MAX, begun: false, merger: Merger::default() })
    }

    /// Whether this is a cut: nothing waits, and nothing is remembered.
    #[must_use]
    pub fn at_cut(&self) -> bool {
        !self.begun
    }

    fn end(&self) -> i64 {
        self.open.last().map_or(i64::MAX, |(_, end)| *end)
    }

    /// Whether a cut lies before this row.
    #[inline]
    #[must_use]
    pub fn cuts(&self, age_ns: i64, seq: i64, code: u16) -> bool {
        self.begun && (age_ns >= self.end() || seq % CUT_SEQS == 0 || is_edge(code))
    }

    /// A row comes that no cut lies before: shorter windows that it ends are closed.
    #[inline]
    pub fn come(&mut self, age_ns: i64) {
        if !self.begun {
            self.begin(age_ns);
        } else if age_ns >= self.next {
            self.reach(age_ns);
        }
    }

    #[cold]
    fn begin(&mut self, age_ns: i64) {
        self.begun = true;
        for (window, end) in &mut self.open {
            *end = next_multiple(age_ns, *window);
        }
        self.next = self.open.iter().map(|(_, end)| *end).min().unwrap_or(i64::MAX);
    }

    #[cold]
    fn reach(&mut self, age_ns: i64) {
        let merger = &mut self.merger;
        for (window, end) in self.open.iter_mut().filter(|(_, end)| *end <= age_ns) {
            merger.close_window(*window);
            *end = next_multiple(age_ns, *window);
        }
        self.next = self.open.iter().map(|(_, end)| *end).min().unwrap_or(i64::MAX);
    }

    /// Whether a cut lies behind a row of this code.
    #[inline]
    #[must_use]
    pub fn ends_with(&self, code: u16) -> bool {
        is_edge(code)
    }

    /// No row came, but time has passed.
    pub fn pass(&mut self, age_ns: i64) {
        if !self.begun {
            // Whatever the time is, it is the next row's.
        } else if age_ns >= self.end() {
            self.cut();
        } else if age_ns >= self.next {
            self.reach(age_ns);
        }
    }

    /// A cut: everything is closed.
    pub fn cut(&mut self) {
        self.merger.close_all();
        self.begun = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lie_where_the_longest_window_ends_at_round_seqs_and_around_edges() {
        let mut windows = Windows::new(&[5, 20]).unwrap();
        assert!(windows.at_cut() && !windows.cuts(40, CUT_SEQS, SHUTDOWN), "behind a cut there is nothing to cut off");
        windows.come(3);
        assert!(!windows.at_cut());
        for (age, seq, code, cut) in [
            (19, 1, 0, false),
            (20, 1, 0, true),
            (3, CUT_SEQS, 0, true),
            (3, 3 * CUT_SEQS, 0, true),
            (3, CUT_SEQS + 1, 0, false),
            (3, 1, POLICY_CHANGED, true),
            (3, 1, RECOVERED, true),
        ] {
            assert_eq!(windows.cuts(age, seq, code), cut, "{age} {seq} {code}");
        }
        // A late row that begins behind a cut has its own window's end.
        windows.cut();
        windows.come(2);
        assert!(windows.cuts(20, 7, 0));
        windows.pass(19);
        assert!(!windows.at_cut());
        windows.pass(20);
        assert!(windows.at_cut());
    }
}
