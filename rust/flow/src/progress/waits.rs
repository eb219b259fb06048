//! Waits for the numbers, and what ends them.
//!
//! What must always hold: whoever waits is woken for what it waits for, for a nudge and for the end, and else left alone: each
//! waking costs, and the pump may write a hundred times a second.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Journaled, Progress, lock};

impl Progress {
    /// Changes the numbers and wakes whoever waits for what they have reached.
    pub fn publish(&self, change: impl FnOnce(&mut Journaled)) {
        let mut journaled = lock(&self.journaled);
        change(&mut journaled);
        let reached = journaled.over() || journaled.wanted.iter().any(|seq| *seq <= journaled.open_to());
        drop(journaled);
        if reached {
            self.moved.notify_all();
        }
    }

    /// Ends every wait, once.
    pub fn nudge(&self) {
        lock(&self.journaled).nudges += 1;
        self.moved.notify_all();
    }

    /// Nudges so far.
    #[must_use]
    pub fn nudges(&self) -> u64 {
        lock(&self.journaled).nudges
    }

    /// Waits for so long, or for a nudge that is not among those `seen`: whether there was one.
    pub(crate) fn pause(&self, time: Duration, seen: &mut u64) -> bool {
        let (_, journaled) = self.wait_locked(time, lock(&self.journaled), *seen, |_| false);
        let nudged = journaled.nudges != *seen;
        *seen = journaled.nudges;
        nudged
    }

    /// Waits until followers may have `seq` rows and `enough` holds, the end comes, the time is over, or there was a nudge that
    /// is not among those `seen` (also one before the call); returns whether it holds.
    pub fn wait(&self, timeout: Duration, seq: i64, seen: &mut u64, enough: impl Fn(&Journaled) -> bool) -> bool {
        let mut journaled = lock(&self.journaled);
        journaled.wanted.push(seq);
        let (held, mut journaled) =
            self.wait_locked(timeout, journaled, *seen, |j| j.over() || (j.open_to() >= seq && enough(j)));
        *seen = journaled.nudges;
        if let Some(at) = journaled.wanted.iter().position(|wanted| *wanted == seq) {
            journaled.wanted.swap_remove(at);
        }
        held
    }

    fn wait_locked<'a>(
        &self,
        timeout: Duration,
        mut journaled: MutexGuard<'a, Journaled>,
        seen: u64,
        enough: impl Fn(&Journaled) -> bool,
    ) -> (bool, MutexGuard<'a, Journaled>) {
        let deadline = Instant::now().checked_add(timeout);
        while !enough(&journaled) {
            if journaled.nudges != seen {
                return (false, journaled);
            }
            let left = deadline.map_or(Duration::from_secs(3600), |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return (false, journaled);
            }
            journaled = self.moved.wait_timeout(journaled, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (true, journaled)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_waiter_sees_what_is_published() {
        let progress = Arc::new(Progress::default());
        let other = Arc::clone(&progress);
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(30), 7, &mut 0, |_| true));
        progress.publish(|j| j.next_seq = 7);
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn where_only_the_durable_counts_a_waiter_and_the_end_wait_for_the_disk() {
        let progress = Progress::default();
        progress.only_durable();
        let follower = |seq| progress.wait(Duration::from_millis(1), seq, &mut 0, |_| true);
        progress.publish(|j| (j.next_seq, j.batches) = (7, 2));
        assert_eq!((follower(7), progress.open_batches()), (false, 0));
        progress.publish(|j| (j.durable_seq, j.durable_batches) = (5, 1));
        assert_eq!((follower(5), follower(7), progress.open_batches()), (true, false, 1));
        progress.publish(|j| j.ended = true);
        assert_eq!((follower(8), progress.end_is_held_back()), (false, true));
        progress.publish(|j| (j.durable_seq, j.durable_batches) = (7, 2));
        assert_eq!((follower(8), progress.end_is_held_back()), (true, false));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        assert!(!Progress::default().wait(Duration::from_millis(1), 1, &mut 0, |_| true));
    }

    #[test]
    fn a_nudge_before_the_wait_ends_it_once() {
        let (progress, mut seen) = (Progress::default(), 0);
        progress.nudge();
        assert!(!progress.wait(Duration::from_secs(3600), 1, &mut seen, |_| true));
        assert!(!progress.wait(Duration::from_millis(1), 1, &mut seen, |_| true));
        assert_eq!(seen, progress.nudges());
    }
}
