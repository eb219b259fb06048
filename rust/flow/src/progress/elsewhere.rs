//! The progress of a process that lives elsewhere ([`Progress::of_living`]).
//!
//! Of such a one nobody tells: what matters of its numbers is read from what it shows, and whether there are more rows is for
//! the journal to say. What must always hold: where it shows nothing no batch may be read.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use auditring_journal::{Shown, bytes_held, free_bytes, holding, segments};

use super::{Progress, lock};

/// How often what another process's journal weighs is looked at, and how often what it shows.
const WEIGH: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_millis(5);
/// Less than this on a disk is as good as a journal at its budget: the process keeps about as much back.
const SCARCE: u64 = 32 << 20;

/// A process that lives elsewhere.
#[derive(Debug)]
pub(super) struct Elsewhere {
    dir: PathBuf,
    seen: Mutex<Seen>,
}

/// What was seen of it, and when.
#[derive(Debug, Default)]
struct Seen {
    shown: Option<Shown>,
    glanced: Option<Instant>,
    weighed: Option<Instant>,
    /// Whoever follows had better commit what there is.
    urgent: bool,
}

impl Progress {
    /// The progress of a process that lives elsewhere, as its directory shows it.
    #[must_use]
    pub fn of_living(dir: &Path) -> Self {
        let elsewhere = Elsewhere { dir: dir.to_owned(), seen: Mutex::default() };
        let progress = Self { elsewhere: Some(elsewhere), ..Self::default() };
        // Until it is known how far: no further than nowhere.
        progress.only_durable();
        // Somebody there puts back what is taken away.
        progress.keep();
        progress
    }

    /// Whether it is of a process that lives elsewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Looks at what a process that lives elsewhere shows by now, unless that was done a moment ago.
    pub(crate) fn glance(&self) -> auditring_journal::Result<()> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        let mut seen = lock(&elsewhere.seen);
        if seen.glanced.is_some_and(|at| at.elapsed() < GLANCE) {
            return Ok(());
        }
        let shown = Shown::load(&elsewhere.dir)?;
        seen.glanced = Some(Instant::now());
        if seen.shown != shown {
            seen.shown = shown;
            self.publish(|journaled| {
                // Nothing that was open is closed again: a file that was taken away had said so truly.
                journaled.durable_batches = journaled.durable_batches.max(shown.map_or(0, |shown| shown.batches));
                journaled.let_go = journaled.let_go.max(shown.map_or(0, |shown| shown.let_go));
                journaled.over_budget = shown.is_some_and(|shown| shown.over_budget);
            });
        }
        if let Some(shown) = shown
            && seen.weighed.is_none_or(|at| at.elapsed() >= WEIGH)
        {
            seen.weighed = Some(Instant::now());
            seen.urgent = shown.over_budget || free_bytes(&elsewhere.dir)? < SCARCE;
            self.weigh(&elsewhere.dir, shown.journal_bytes / 2)?;
        }
        Ok(())
    }

    /// The same that the pump does for the followers of its own log.
    fn weigh(&self, dir: &Path, half: u64) -> auditring_journal::Result<()> {
        let held = if bytes_held(dir)? >= half { holding(dir, half)? } else { None };
        // How far the journal is stands in no name; where its last segment begins is as good.
        let last = segments(dir)?.last().map_or(0, |name| name.first_seq);
        self.press(held, held.map_or(0, |seq| last.saturating_sub(seq)));
        Ok(())
    }

    /// Whether a process that lives elsewhere shows how far it may be read; one that is not there does not.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.elsewhere.as_ref().is_none_or(|elsewhere| lock(&elsewhere.seen).shown.is_some())
    }

    /// Whether its journal or its disk has no room, so that whatever can be made safe had better be.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| lock(&elsewhere.seen).urgent)
    }
}
